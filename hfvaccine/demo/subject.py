"""What a demo shows: an adapter whose papers hold, the arm beside it, and what can be asked of both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from hfvaccine.claims.dose import Dose
from hfvaccine.demo import questions
from hfvaccine.demo.head import Head, head
from hfvaccine.demo.questions import Group
from hfvaccine.errors import DoseError, HfvaccineError, LineageError, UsageError, ValidationError
from hfvaccine.files import ADAPTER, ADAPTER_CONFIG, ANSWERS, PAGE, digest_of
from hfvaccine.hub.errors import page_of
from hfvaccine.hub.push import chosen
from hfvaccine.lineage.ancestry import given_ever
from hfvaccine.lineage.fetch import Papers, as_given, doses_of, papers, place_of
from hfvaccine.lineage.links import is_merged
from hfvaccine.papers.arms import compared_with
from hfvaccine.papers.binding import open_run, read_json, recorded_doses
from hfvaccine.papers.kind import IMMUNIZED, KINDS
from hfvaccine.sources.place import Source, with_revision
from hfvaccine.sources.rows import read_rows
from hfvaccine.starter import CALIBRATION, EVERYDAY_QUESTIONS
from hfvaccine.surveillance.probing import askable
from hfvaccine.training.options import PLAIN
from hfvaccine.training.progress import SILENT, Progress
from hfvaccine.validation.scores import BASE, CROSS, SPECIFIC, VACCINE
from hfvaccine.validation.showing.names import PROBES, capital

NEEDED = tuple(dict.fromkeys(name for kind in KINDS for name in (*kind.needs, kind.results)))
"""What is fetched of an adapter's repo."""
UNSEEN = "This page can be seen by everybody, and claims of a dose are not shown on one."


@dataclass(frozen=True)
class Subject:
    """An adapter, and what stands beside it.

    Args:
        name: how it is called: the last name of its folder, or its Hub id.
        found: its papers.
        results: the content of its results.json or traits.json; empty where it was never measured.
        others: folders of adapters by their arms, those that are shown; the base, as `BASE`, has none.
        groups: questions that stand ready.
        notes: what a visitor misses, and why.
        canaries: of the doses whose claims stand ready.
    """

    name: str
    found: Papers
    results: Mapping[str, Any]
    others: Mapping[str, Path]
    groups: tuple[Group, ...]
    notes: tuple[str, ...] = ()
    canaries: tuple[str, ...] = ()

    @property
    def head(self) -> Head:
        """What stands on top of the page."""
        return head(self.found.kind, self.found.record, self.results)

    @property
    def report(self) -> Path | None:
        """The report in a run's folder; None where there is none."""
        folder = self.found.folder.resolve()
        places = (folder, folder.parent) if self.found.local and self.found.kind is not IMMUNIZED else (folder,)
        return next((place / PAGE for place in places if self.found.local and (place / PAGE).is_file()), None)

    @property
    def card(self) -> str | None:
        """The address of its card on a Hub; None for a folder."""
        return None if self.found.local else page_of(HfApi(), self.found.source.partition("@")[0], "model")


def open_subject(adapter: str, dose: str | None = None, claims: bool = True) -> Subject:
    """Fetch an adapter and its papers, prove them, and gather what can be asked.

    A dose that cannot be had, as where this account has no access to it, is left out, and `notes` says so.

    Args:
        adapter: run folder, that of one adapter of an inoculation, Hub id or `ID@REVISION`.
        dose: that it was given, where its record does not say where that is: a folder, a Hub id or `ID@REVISION`.
        claims: whether claims may be shown at all.

    Raises:
        LineageError: where its files are not those that its record binds.
        UsageError: for a merged model, in which base and adapter are one, and for a dose of an inoculation.
        ValidationError: for results of another schema.
        HubError: where the repo cannot be had.
    """
    place = Source.of("adapter", adapter)
    found = papers(adapter if place.on_hub else str(chosen(Path(adapter))), patterns=NEEDED)
    if is_merged(found.record):
        raise UsageError(
            f"{adapter} is a merged model: its base and its adapter are one.", "Show the adapter that was merged."
        )
    kind = found.kind
    record = open_run(found.folder, source=adapter)
    measured = kind.results in record["files"]
    if measured:  # of an inoculated adapter it is not needed, and is proved where it is there
        open_run(found.folder, (*kind.needs, kind.results), source=adapter)
    results = read_json(found.folder, kind.results, adapter) if measured else {}
    name = place.name if place.on_hub else found.folder.resolve().name
    found = replace(found, record=record)
    if kind is IMMUNIZED:
        groups, notes, canaries = _immunized(found, dose, claims)
        subject = Subject(name, found, results, {VACCINE: found.folder}, groups, notes, canaries)
    else:
        if dose is not None:
            raise UsageError(f"{adapter} was inoculated: it was given no dose.", "Leave out --dose.")
        subject = _inoculated(name, found, results)
    _ = subject.head  # results that cannot be shown are refused before a model is loaded
    return subject


def load(subject: Subject, base: str | None = None, progress: Progress = SILENT) -> tuple[dict[str, Any], str]:
    """Load the base once, with the adapters on it.

    Args:
        subject: what is shown.
        base: its base, where its record does not say where that is: a folder, a file, a Hub id or `ID@REVISION`.
        progress: told of each stage.

    Returns:
        A `Scorer` for each of two arms, the one that is compared with first; and where a prompt stands.

    Raises:
        LineageError: where nobody says where the base is.
        ModelError: for another base than the adapter's, or what cannot be loaded.
    """
    from hfvaccine.inoculation.callback import has_system_turn
    from hfvaccine.training.adapters import in_its_dtype, load_adapters
    from hfvaccine.training.base import check_base, load_base
    from hfvaccine.training.processes import fit_threads
    from hfvaccine.validation.scoring.scorer import Scorer

    recorded = subject.found.record["base"]
    try:
        place = place_of(subject.found, "base", base)
    except LineageError as error:
        raise LineageError(
            f"The base of {subject.name} cannot be found: {error.message}.",
            "Say with --base where it is: a folder, a .gguf file, or a Hub ID[@REVISION].",
        ) from error
    fit_threads(progress)
    progress.say(f"Base: {with_revision(place.name, place.revision)}")
    opened = load_base(place.name, recorded["id"], place.revision)
    check_base(recorded, opened)
    # Names of arms may hold what names of modules must not.
    inner = {arm: f"arm{number}" for number, arm in enumerate(subject.others)}
    progress.say(f"Adapters: {', '.join(subject.others)}")
    folders = {inner[arm]: str(folder) for arm, folder in subject.others.items()}
    model = in_its_dtype(load_adapters(opened, folders))
    arms = [*([] if len(inner) > 1 else [BASE]), *inner]
    where = (subject.results.get("settings") or {}).get("place")
    place_of_prompts = where or ("system" if has_system_turn(opened.tokenizer) else "user")
    return {arm: Scorer(model, opened.tokenizer, inner.get(arm)) for arm in arms}, place_of_prompts


def _immunized(
    found: Papers, dose: str | None, claims: bool
) -> tuple[tuple[Group, ...], tuple[str, ...], tuple[str, ...]]:
    """The groups of an immunized adapter, what is missing, and the canaries of its doses."""
    groups, notes, canaries = [], [], []
    try:
        doses = _doses(found, dose) if claims else ()
    except HfvaccineError as error:
        doses, notes = (), [f"The claims that it was given do not stand ready: {error}"]
    if not claims:
        notes = [UNSEEN]
    if doses:
        given = given_ever(found.record) - {*(found.record.get("booster") or {}).get("retracted", ())}
        held_out = [replace(one, claims=one.heldout, heldout=()) for one in doses if one.heldout]
        never = askable(held_out, {claim.claim_id for claim in as_given(found.record, doses).heldout})
        groups = [
            questions.of_claims(
                capital(PROBES[SPECIFIC]), "What it was given, each with a correction.", askable(doses, given)
            ),
            questions.of_claims(capital(PROBES[CROSS]), "Held out of the dose: what carries over.", never),
        ]
        canaries = [str(canary) for one in doses if (canary := one.manifest.get("canary"))]
    rows = [row.values for row in read_rows(CALIBRATION)]
    groups = [*(group for group in groups if group.ready), questions.of_neutral(rows)]
    return (*groups[:-1], questions.of_tactics(groups), groups[-1]), tuple(notes), tuple(canaries)


def _doses(found: Papers, dose: str | None) -> tuple[Dose, ...]:
    """The doses that an adapter was given, and no other.

    Raises:
        HfvaccineError: for one that cannot be had, or that it was never given.
    """
    doses = doses_of(found, [dose] if dose else ())
    for one, recorded in zip(doses, recorded_doses(found.record), strict=True):
        if one.digest() != recorded["manifest_sha256"]:
            raise DoseError(f"{one.source} is not the dose that it was given.", "Name that one with --dose.")
    return doses


def _inoculated(name: str, found: Papers, traits: Mapping[str, Any]) -> Subject:
    """An inoculated adapter, beside the plain arm of its seed where that can be had."""
    own = str(found.record["adapter"]["arm"])
    plain, notes = (None, ()) if own == PLAIN else _plain(found)
    others = {**({PLAIN: plain} if plain else {}), own: found.folder}
    asked = _questions_of(found)
    about = "Asked in its measurement." if asked else "Packaged with hfvaccine, and not those of its measurement."
    asked = asked or tuple(row.values["question"] for row in read_rows(EVERYDAY_QUESTIONS))
    groups = [questions.of_questions("Questions", about, asked)]
    if traits:
        compared = compared_with(found.record, traits)
        groups.insert(
            0, questions.of_grid(traits, asked, {arm: compared[arm] for arm in (BASE, *others) if arm in compared})
        )
    return Subject(name, found, traits, others, tuple(groups), notes)


def _plain(found: Papers) -> tuple[Path | None, tuple[str, ...]]:
    """The folder of the plain arm of an adapter's own seed; None, and why, where it cannot be had."""
    own = found.record["adapter"]
    for name, one in found.record.get("run", {}).items():
        if (one["arm"], one["seed"]) != (PLAIN, own["seed"]):
            continue
        try:
            folder = found.folder.resolve().parent / name
            if not found.local:
                if not one.get("repo"):
                    break
                folder = papers(one["repo"], patterns=(ADAPTER, ADAPTER_CONFIG)).folder
            if (folder / ADAPTER).is_file() and digest_of(folder / ADAPTER) == one["sha256"]:
                return folder, ()
            reason = f"{folder.name} is not there any more, or is another adapter now."
        except HfvaccineError as error:
            reason = str(error)
        return None, (f"Its plain arm cannot be shown beside it: {reason}",)
    return None, ("Its plain arm is not beside it, so it stands beside the base.",)


def _questions_of(found: Papers) -> tuple[str, ...]:
    """The questions of a measurement, where its answers lie in the folder of the run."""
    file = found.folder.resolve().parent / ANSWERS
    if not (found.local and file.is_file()):
        return ()
    try:
        rows = [row.values for row in read_rows(file)]
    except ValidationError:
        return ()
    return tuple(dict.fromkeys(row["question"] for row in rows if isinstance(row.get("question"), str)))
