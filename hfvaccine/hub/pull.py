"""Fetch a dose from wherever it is, and prove every file of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi

from hfvaccine import starter
from hfvaccine.claims.dose import DOSE_FILES, MANIFEST, Dose
from hfvaccine.errors import DoseError, HfvaccineError
from hfvaccine.files import whole_folder
from hfvaccine.hub.errors import as_hub_error, page_of, require_repo_id
from hfvaccine.sources.place import STARTER, Source, at_revision


def pull_dose(
    repo_id: str,
    *,
    revision: str | None = None,
    local_dir: Path | str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> Dose:
    """Fetch a dose into the Hub cache, prove every file of it, and copy it where it is wanted.

    Args:
        repo_id: its dataset repo, as ID or `ID@REVISION`.
        revision: branch, tag or commit, where the id does not name it; the newest by default.
        local_dir: folder to copy it to, whole or not at all; a dose that is there already stays if it
            is the same one. By default it is left in the cache.
        token: Hub token, by default the one huggingface_hub finds.
        endpoint: the Hub, by default the one huggingface_hub talks to.

    Returns:
        The dose, with `source` and `revision` (always a commit) saying where it came from.

    Raises:
        HubError: without access, naming where to ask for it, or where the Hub cannot be reached.
        DoseError: where the repo does not hold a dose as it was sealed, or `local_dir` holds anything else.
    """
    repo_id, revision = at_revision(repo_id, revision)
    require_repo_id(repo_id)
    api = HfApi(endpoint=endpoint, token=token)
    with as_hub_error(api, repo_id, "dataset"):
        cached = api.snapshot_download(
            repo_id, repo_type="dataset", revision=revision, allow_patterns=list(DOSE_FILES)
        )
    folder = Path(cached)
    if not (folder / MANIFEST).is_file():
        raise DoseError(
            f"{repo_id} has no {MANIFEST}, so it holds no dose.", f"See {page_of(api, repo_id, 'dataset')}."
        )
    dose = replace(Dose.load(folder), source=repo_id, revision=folder.name)
    return dose if local_dir is None else _copied(dose, Path(local_dir))


def open_dose(source: Source) -> Dose:
    """The packaged dose, one in a folder, or one on a Hub.

    Args:
        source: which one.

    Raises:
        DoseError: for a folder that is not a sealed dose.
        HubError: for a dataset that cannot be had.
    """
    if source.name == STARTER:
        return replace(Dose.load(starter.sealed()), source=STARTER)
    return pull_dose(source.name, revision=source.revision) if source.on_hub else Dose.load(source.name)


def _copied(dose: Dose, into: Path) -> Dose:
    """The dose in a folder of its own: made beside it and moved there at the end."""
    if into.exists() and not (into.is_dir() and not any(into.iterdir())):
        try:
            there = Dose.load(into)
        except HfvaccineError as error:
            raise DoseError(
                f"{into} exists and is not this dose: {error.message}", "Choose a folder that is not there yet."
            ) from error
        if there.digest() != dose.digest():
            raise DoseError(
                f"{into} holds another dose, {there.name!r} or another version of this one.",
                "Choose a folder that is not there yet: a dose is never overwritten.",
            )
        return replace(there, source=dose.source, revision=dose.revision)
    cached = dose.path
    assert cached is not None  # it was loaded from there
    with whole_folder(into) as staging:
        for name in (*dose.manifest["files"], MANIFEST):
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(cached / name, staging / name)
        copied = Dose.load(staging)
        staging.chmod(0o755)
    return replace(copied, path=into, source=dose.source, revision=dose.revision)
