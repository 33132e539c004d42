"""What a chain is held against, from a folder or a Hub: the adapter's papers, its dose, base and mix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError, RevisionNotFoundError

from hfvaccine.claims.dose import MANIFEST, Dose
from hfvaccine.claims.joined import join, together
from hfvaccine.errors import ClaimError, DoseError, HfvaccineError, HubError, LineageError, UsageError
from hfvaccine.files import CONFIG, RECALLS, digest_of, read_yaml
from hfvaccine.hub.errors import as_hub_error
from hfvaccine.hub.pull import newest_recalls, open_dose
from hfvaccine.lineage.chain import check
from hfvaccine.lineage.inoculation import check_arm
from hfvaccine.lineage.links import BROKEN, MISSING, Evidence, Lack, Link, named_at
from hfvaccine.papers.binding import check_record, code_digest, lacking, read_record, recorded_doses
from hfvaccine.papers.kind import IMMUNIZED, INOCULATED, KINDS, Kind, kind_of
from hfvaccine.sources.place import STARTER, Source
from hfvaccine.text import as_option, is_hub_id
from hfvaccine.training.mix import load_mix
from hfvaccine.version import VERSION

T = TypeVar("T")

PUBLISHED = tuple(dict.fromkeys(pattern for kind in KINDS for pattern in kind.published))
RECORDS = tuple(kind.record for kind in KINDS)
GENERATIONS = 20
"""Of boosters of boosters that are looked at, at most."""


@dataclass(frozen=True)
class Papers:
    """An adapter's record and the files beside it.

    Args:
        source: the folder, or the Hub id with its commit.
        folder: holds them.
        names: every file of the adapter, whether it is in `folder` or not.
        record: the content of immunization.json or inoculation.json.
        recalls: recall notices, the newest there are; None where there are none.
        local: whether it is a run folder of this machine.
        kind: which papers they are.
        commit: of its repo, whole; None for a folder.
    """

    source: str
    folder: Path
    names: tuple[str, ...]
    record: Mapping[str, Any]
    recalls: bytes | None
    local: bool
    kind: Kind = IMMUNIZED
    commit: str | None = None


def papers(
    source: str, revision: str | None = None, patterns: tuple[str, ...] = PUBLISHED, token: str | None = None
) -> Papers:
    """An adapter's record and the files that it binds.

    Args:
        source: run folder, Hub id, or `ID@REVISION`.
        revision: of a Hub repo, where the source does not name it.
        patterns: which files are wanted besides the record.
        token: Hub token, by default the one huggingface_hub finds.

    Raises:
        UsageError: for what is neither a folder nor a Hub id.
        HubError: where the repo cannot be had.
        LineageError: where there is no record, or one that is no JSON object, or for a dose.
    """
    place = Source.of("adapter", source, revision)
    if Path(source).is_dir():
        folder = Path(source)
        names = tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()))
        recalls = (folder / RECALLS).read_bytes() if RECALLS in names else None
        kind = kind_of(names)
        return Papers(source, folder, names, read_record(folder, kind), recalls, True, kind)
    if not place.on_hub:
        raise UsageError(f"{source!r} is neither a folder nor a Hub id.", "Give a run folder, ID or ID@REVISION.")
    api, repo = HfApi(token=token), place.name
    with as_hub_error(api, repo, "model"), _told_from_a_dose(api, repo):
        info = api.model_info(repo, revision=place.revision)
        commit = str(info.sha)
        names = tuple(sorted(file.rfilename for file in info.siblings or ()))
        kind = kind_of(names)
        if kind.record not in names:  # the client would log that nothing matches
            raise lacking(source, kind.record)
        folder = Path(api.snapshot_download(repo, revision=commit, allow_patterns=[*patterns, *RECORDS]))
        recalls = newest_recalls(api, repo, "model")
        if recalls is None and RECALLS in names:
            recalls = Path(api.hf_hub_download(repo, RECALLS, revision=commit)).read_bytes()
    record = read_record(folder, kind, source)
    return Papers(f"{repo}@{commit[:12]}", folder, names, record, recalls, False, kind, commit)


@contextmanager
def _told_from_a_dose(api: HfApi, repo: str) -> Iterator[None]:
    """While an adapter is asked for: where a dose has that name, that is said.

    Raises:
        LineageError: for the repo of a dose.
    """
    try:
        yield
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        try:
            files = api.dataset_info(repo).siblings or ()
        except (HTTPError, OSError, ValueError):
            files = ()
        if any(file.rfilename == MANIFEST for file in files):
            raise LineageError(
                f"{repo} is a dose, not an adapter.",
                f"Check it with `hfvaccine quarantine verify {repo}`, or name an adapter that was given it.",
            ) from None
        raise


def gather(
    found: Papers,
    dose: Sequence[str] = (),
    base: str | None = None,
    mix: str | None = None,
    data: str | None = None,
    trait_data: str | None = None,
    generations: int = GENERATIONS,
) -> Evidence:
    """Fetch what an adapter's record names.

    Args:
        found: the adapter's papers.
        dose: its doses, in any order, where the record does not say where they are: folders, Hub ids or `ID@REVISION`.
        base: its base, likewise: a folder, a file, a Hub id or `ID@REVISION`.
        mix: its mix, likewise: a file, a Hub id or `ID@REVISION`.
        data: the data of an inoculation, likewise.
        trait_data: the rows that the adapter learned which was frozen beside it, likewise.
        generations: of the adapters that a booster goes back to, at most.

    Returns:
        What there is, and of the rest why it cannot be had.

    Raises:
        LineageError: for a record of another schema.
        UsageError: for what adapters of its kind have not.
    """
    if found.record.get("schema_version") != found.kind.schema:
        check_record(found.record, found.kind)
    refuse_unmeant(found, dose=dose or None, mix=mix, data=data, trait_data=trait_data)
    immunized = found.kind is IMMUNIZED
    rows = _had(lambda: _rows(found, "mix", mix) if immunized else _rows(found, "data", data))
    trait: str | Lack = Lack(MISSING, "there are none")
    if told_of_data(found.record):
        trait = rows
    elif found.record.get("trait_data"):
        trait = _had(lambda: _rows(found, "trait_data", trait_data))
    return Evidence(
        source=found.source,
        folder=found.folder,
        names=found.names,
        recalls=found.recalls,
        dose=_had(lambda: dose_of(found, dose)) if immunized else Lack(MISSING, "there is none"),
        base=_had(lambda: _base(found, base)),
        mix=rows,
        parent=_had(lambda: _parent(found, base, mix, generations)),
        code=code_digest(),
        version=VERSION,
        today=datetime.now(UTC).date().isoformat(),
        kind=found.kind,
        trait=trait,
    )


def refuse_unmeant(found: Papers, **given: str | Sequence[str] | None) -> None:
    """Refuse what is said to be a part of an adapter that has no such part.

    Args:
        found: its papers.
        given: where a dose, mix, data or trait data are, by the name of the option; None where that is not said.

    Raises:
        UsageError: naming the option.
    """
    record = found.record
    immunized = found.kind is IMMUNIZED
    none = dict.fromkeys(("data", "trait_data"), "was immunized: it has none") if immunized else {}
    if not immunized:
        none |= dict.fromkeys(("dose", "mix"), "was inoculated: it has none")
        if not record.get("trait_data"):
            none["trait_data"] = "was trained beside none that is frozen"
        elif told_of_data(record):
            none["trait_data"] = "has them of its data: where tells them"
    for name, value in given.items():
        if value is not None and name in none:
            raise UsageError(f"{as_option(name)} is given, and the adapter {none[name]}.", "Leave it out.")


def told_of_data(record: Mapping[str, Any]) -> bool:
    """Whether the adapter that was frozen beside one learned rows of the same data, which a condition tells."""
    trait, data = record.get("trait_data"), record.get("data")
    return isinstance(trait, Mapping) and isinstance(data, Mapping) and trait.get("sha256") == data.get("sha256")


def chain_of(found: Papers, evidence: Evidence) -> Link:
    """Prove every link of an adapter's chain, of whichever kind it is."""
    return (check_arm if found.kind is INOCULATED else check)(found.record, evidence)


def doses_of(found: Papers, given: Sequence[str] = (), token: str | None = None) -> tuple[Dose, ...]:
    """The doses that an adapter was given, the first named first; of a booster the newest.

    Args:
        found: its papers.
        given: where they are, in any order, as far as its record does not say it.
        token: Hub token, by default the one huggingface_hub finds.

    Raises:
        HfvaccineError: for one that cannot be had; LineageError for one that the record does not tell where it is, or
            that is surely another; DoseError as in `named_doses`.
    """
    named = named_doses(found.record, given, token)
    doses = []
    for recorded in recorded_doses(found.record):
        if (there := named.get(recorded["manifest_sha256"])) is not None:
            doses.append(there[1])
            continue
        place = place_of(found, "dose", None, recorded)
        doses.append(open_dose(place, token))
        if doses[-1].digest() != recorded["manifest_sha256"]:
            _refuse_another(found.record, "dose", place)
    return tuple(doses)


def named_doses(
    record: Mapping[str, Any], given: Sequence[str], token: str | None = None
) -> dict[str, tuple[Source, Dose]]:
    """Where doses are that somebody names, and themselves, by the digest that is recorded of each.

    What is named where one dose is recorded is held against that by the caller, also where it is another.

    Args:
        record: the content of an immunization.json.
        given: folders, Hub ids or `ID@REVISION`, in any order; a Hub id has the revision that is recorded.
        token: Hub token, by default the one huggingface_hub finds.

    Raises:
        HfvaccineError: for one that cannot be had; LineageError for one that is surely another.
        DoseError: for one that is none of those recorded.
    """
    told = recorded_doses(record)
    alone = len(told) == len(given) == 1
    named: dict[str, tuple[Source, Dose]] = {}
    for name in given:
        for place in dict.fromkeys(_named_place("dose", name, one) for one in told):
            try:
                dose = open_dose(place, token)
            except HubError as error:
                if alone or not isinstance(error.__cause__, RevisionNotFoundError):
                    raise
                continue  # it is the revision of another dose
            digest = dose.digest()
            if any(digest == one["manifest_sha256"] for one in told):
                named[digest] = place, dose
                break
            _refuse_another(record, "dose", place)
            if alone:
                named[told[0]["manifest_sha256"]] = place, dose
                break
        else:
            ids = ", ".join(map(named_at, told))
            raise DoseError(f"{name} is none of the doses that it was given: {ids}.", "Name one of those.")
    return named


def _parent(
    found: Papers, base: str | None, mix: str | None, generations: int
) -> tuple[Mapping[str, Any], Evidence] | None:
    """The record of the adapter that a booster boosts, and what that is held against."""
    if not found.record.get("booster"):
        return None
    if generations == 0:
        raise LineageError(f"no more than {GENERATIONS} generations are looked at")
    named = found.record["booster"]["parent"]
    local = named["revision"] is None
    if local and not (found.local and Path(named["id"]).is_dir()):
        raise LineageError("it was local, and is not there any more")
    parent = papers(named["id"], named["revision"])
    return parent.record, gather(parent, base=base, mix=mix, generations=generations - 1)


def _had(fetch: Callable[[], T]) -> T | Lack:
    """What was fetched, or why it could not be: what a record names may be anything."""
    try:
        return fetch()
    except HubError as error:
        state = BROKEN if isinstance(error.__cause__, RevisionNotFoundError) else MISSING
        return Lack(state, f"{error.message} {error.next_step}".strip())
    except (DoseError, ClaimError) as error:
        return Lack(BROKEN, error.message)
    except HfvaccineError as error:
        return Lack(MISSING, error.message)
    except (AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        return Lack(BROKEN, f"what is recorded of it is malformed ({type(error).__name__}: {error})")


def place_of(found: Papers, what: str, given: str | None, recorded: Mapping[str, Any] | None = None) -> Source:
    """Where a dose, base, mix or data is.

    Args:
        found: the adapter's papers.
        what: "dose", "base", "mix", "data" or "trait_data".
        given: where it is, where the record does not say it: a folder, a file, a Hub id or `ID@REVISION`.
        recorded: what the record says of it; of several doses, of the one that is meant.

    Raises:
        LineageError: where nobody says it, or it is not there.
    """
    newest = recorded_doses(found.record)[0] if what == "dose" else found.record[what]
    recorded = recorded or newest
    if given is not None:
        return _named_place(what, given, recorded)
    if recorded["id"] == STARTER and what != "base":
        return Source(STARTER)
    if recorded["revision"] is None and found.local:
        for name in (*([_option(found, what)] if recorded is newest else []), recorded["id"]):
            if isinstance(name, str) and Path(name).exists():
                return Source(name)
    if not is_hub_id(recorded["id"], namespace_needed=what != "base"):
        several = what == "dose" and len(recorded_doses(found.record)) > 1
        raise LineageError(f"{recorded['id'] if several else 'it'} was local: name it with {as_option(what)}")
    return Source(recorded["id"], recorded["revision"], on_hub=True)


def _named_place(what: str, given: str, recorded: Mapping[str, Any]) -> Source:
    """Where something is that somebody names, on a Hub at the revision that is recorded unless they say another."""
    place = Source.of("mix" if what in ("data", "trait_data") else what, given)
    if place.on_hub:
        return replace(place, revision=place.revision or recorded["revision"])
    if given != STARTER and not Path(given).exists():
        raise LineageError(f"there is no {given}")
    return place


def _option(found: Papers, name: str) -> object:
    """What the run was given for an option."""
    try:
        options = read_yaml(found.folder / CONFIG, "")
    except UsageError:
        return None
    return options.get(name) if isinstance(options, dict) else None


def _refuse_another(record: Mapping[str, Any], what: str, place: Source) -> None:
    """Refuse to hold what is another now against the record, where the record does not say which one it was.

    Raises:
        LineageError: for what comes with another hfvaccine, or is at no revision.
    """
    called = what.replace("_", " ")
    if place.name == STARTER and record["code"]["sha256"] != code_digest():
        version = record["code"]["version"]
        raise LineageError(f"it is the starter {called} of hfvaccine {version}; that of this hfvaccine is another")
    if place.on_hub and place.revision is None:
        raise LineageError(
            f"the record has no revision, and {place.name} holds another {called} now: name it with {as_option(what)}"
        )


def dose_of(found: Papers, given: Sequence[str] = (), token: str | None = None) -> Dose:
    """The dose that an adapter's record names, where it still is, with what is recalled of it now.

    Args:
        found: the adapter's papers; where they name several doses, these are one.
        given: where they are, in any order, as far as its record does not say it.
        token: Hub token, by default the one huggingface_hub finds.

    Raises:
        HfvaccineError: where it cannot be had.
    """
    return as_given(found.record, doses_of(found, given, token))


def as_given(record: Mapping[str, Any], doses: Sequence[Dose]) -> Dose:
    """The doses of an adapter as it was given them: one, or several as one.

    Args:
        record: the content of its immunization.json.
        doses: those that it names, see `doses_of`.
    """
    chosen = record["dose"]
    if booster := record.get("booster"):
        return join(doses, {*chosen["claim_ids"], *chosen["not_reached"]}, (*booster["retracted"], *booster["before"]))
    return together(doses, [one["share_asked"] for one in chosen["doses"]]) if len(doses) > 1 else doses[0]


def _rows(found: Papers, what: str, given: str | None) -> str:
    """The digest of a mix, data or trait data."""
    place = place_of(found, what, given)
    digest = load_mix(place.name, revision=place.revision).sha256
    if digest != found.record[what]["sha256"]:
        _refuse_another(found.record, what, place)
    return digest


def _base(found: Papers, given: str | None) -> dict[str, str]:
    """SHA-256 of the weight files that the record names; of a Hub's they are asked for, not computed."""
    from hfvaccine.training.base import weights_of

    recorded, place = found.record["base"], place_of(found, "base", given)
    if not place.on_hub:
        return weights_of(Path(place.name))
    api, names = HfApi(), list(recorded["weights"])
    at = {"repo_id": place.name, "revision": place.revision}
    digests = {}
    with as_hub_error(api, place.name, "model"):
        for file in api.get_paths_info(paths=names, **at):
            lfs = getattr(file, "lfs", None)
            # What is no large file is kept in git itself, which weights are too large for.
            digests[file.path] = lfs.sha256 if lfs else digest_of(Path(api.hf_hub_download(filename=file.path, **at)))
    if digests != recorded["weights"]:
        _refuse_another(found.record, "base", place)
    return digests
