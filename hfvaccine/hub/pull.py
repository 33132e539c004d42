"""Fetch a dose from wherever it is, and prove every file of it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled

from hfvaccine import starter
from hfvaccine.claims import journal
from hfvaccine.claims.dose import DOSE_FILES, MANIFEST, Dose, proved_recalls, read_journal
from hfvaccine.errors import DoseError, HfvaccineError, SignatureError
from hfvaccine.files import RECALLS, SIGNATURE, VEX, whole_file, whole_folder
from hfvaccine.hub.errors import as_hub_error, page_of, require_repo_id
from hfvaccine.hub.signature import Expected
from hfvaccine.quarantine.recalls import refuse_recalled
from hfvaccine.sources.place import STARTER, Source, at_revision
from hfvaccine.text import clean


def pull_dose(
    repo_id: str,
    *,
    revision: str | None = None,
    local_dir: Path | str | None = None,
    allow_recalled: bool = False,
    signer: Expected | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> Dose:
    """Fetch a dose into the Hub cache, prove every file of it, and copy it where it is wanted.

    Args:
        repo_id: its dataset repo, as ID or `ID@REVISION`.
        revision: branch, tag or commit, where the id does not name it; the newest by default.
        local_dir: folder to copy it to, whole or not at all; a dose that is there already stays if it
            is the same one. By default it is left in the cache.
        allow_recalled: take it also where its policy refuses a dose with recalled claims.
        signer: who should have signed it; None where that does not matter.
        token: Hub token, by default the one huggingface_hub finds.
        endpoint: the Hub, by default the one huggingface_hub talks to.

    Returns:
        The dose, with `source` and `revision` (always a commit) saying where it came from, and with the newest recalls
        also of an older revision: a fact-check changes later.

    Raises:
        HubError: without access, naming where to ask for it, or where the Hub cannot be reached.
        DoseError: where the repo does not hold a dose as it was sealed, a claim of it was recalled, or `local_dir`
            holds anything else.
        SignatureError: where it is not what the signer signed.
    """
    repo_id, revision = at_revision(repo_id, revision)
    require_repo_id(repo_id)
    api = HfApi(endpoint=endpoint, token=token)
    with as_hub_error(api, repo_id, "dataset"):
        wanted = None if signer else [*DOSE_FILES, RECALLS, VEX]  # a signature is over all that is there
        cached = api.snapshot_download(repo_id, repo_type="dataset", revision=revision, allow_patterns=wanted)
        # A snapshot comes from the cache where no Hub answers, without a word.
        asked, newest = True, None
        try:
            newest = newest_recalls(api, repo_id, "dataset")
        except (HTTPError, OfflineModeIsEnabled, ConnectionError, TimeoutError) as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
                raise
            asked = False
    folder = Path(cached)
    if signer:
        _prove_signature(signer, folder, repo_id)
    if not (folder / MANIFEST).is_file():
        raise DoseError(
            f"{repo_id} has no {MANIFEST}, so it holds no dose.", f"See {page_of(api, repo_id, 'dataset')}."
        )
    dose = replace(Dose.load(folder), source=repo_id, revision=folder.name, recalls_asked=asked)
    if newest is not None:
        dose = replace(dose, recalls=proved_recalls(newest, repo_id))
    if not allow_recalled:
        refuse_recalled(dose)
    return dose if local_dir is None else _copied(dose, Path(local_dir))


def _prove_signature(signer: Expected, folder: Path, repo_id: str) -> None:
    """Hold what was fetched against the signature beside it.

    Raises:
        SignatureError: where it is not theirs.
    """
    names = tuple(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    signature = (folder / SIGNATURE).read_bytes() if SIGNATURE in names else None
    if wrong := signer.objection(folder, names, signature):
        raise SignatureError(
            f"{repo_id} at commit {folder.name[:12]} is not what {signer.name} signed: {clean(wrong)}.",
            "Do not give it; ask whoever should have signed it.",
        )


def open_dose(source: Source, token: str | None = None) -> Dose:
    """The packaged dose, one in a folder, or one on a Hub.

    Args:
        source: which one.
        token: Hub token, by default the one huggingface_hub finds.

    Raises:
        DoseError: for a folder that is not a sealed dose.
        HubError: for a dataset that cannot be had.
    """
    if source.name == STARTER:
        return replace(Dose.load(starter.sealed()), source=STARTER)
    if not source.on_hub:
        return Dose.load(source.name)
    # Whoever gives it holds its recalls against its policy; whoever looks at it wants to see them.
    return pull_dose(source.name, revision=source.revision, allow_recalled=True, token=token)


def newest_recalls(api: HfApi, repo_id: str, kind: str) -> bytes | None:
    """The recalls or recall notices that a repo holds now; None where it holds none.

    Args:
        api: of the Hub that has it.
        repo_id: the repo.
        kind: "dataset" or "model".

    Raises:
        HTTPError, OfflineModeIsEnabled: where the Hub cannot be asked; a cache is never taken for its answer.
    """
    if not api.get_paths_info(repo_id, [RECALLS], repo_type=kind):
        return None
    return Path(api.hf_hub_download(repo_id, RECALLS, repo_type=kind)).read_bytes()


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
        if dose.recalls != there.recalls == dose.recalls[: len(there.recalls)]:
            _put_recalls(dose, into)
        return replace(there, source=dose.source, revision=dose.revision, recalls=dose.recalls)
    cached = dose.path
    assert cached is not None  # it was loaded from there
    with whole_folder(into) as staging:
        for name in (*dose.manifest["files"], MANIFEST):
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(cached / name, staging / name)
        _put_recalls(dose, staging)
        copied = Dose.load(staging)
        staging.chmod(0o755)
    return replace(copied, path=into, source=dose.source, revision=dose.revision, recalls=dose.recalls)


def _put_recalls(dose: Dose, folder: Path) -> None:
    """Write the recalls of a fetched dose beside its copy, unless they go on with another version."""
    if dose.recalls and dose.recalls[0].before in {entry.hash() for entry in read_journal(folder)}:
        cached = dose.path
        assert cached is not None  # it was loaded from there
        with whole_file(folder / RECALLS) as staged:
            staged.write_text(journal.dumps(dose.recalls), encoding="utf-8")
        if (cached / VEX).is_file() and Dose.load(cached).recalls == dose.recalls:
            shutil.copyfile(cached / VEX, folder / VEX)
