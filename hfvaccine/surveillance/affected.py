"""What a recall reaches: every adapter, merged model and booster, by what its own ledger says that it was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import regex

from hfvaccine.claims.dose import Dose
from hfvaccine.errors import HfvaccineError, HubError, LineageError, UsageError
from hfvaccine.files import ADAPTER, CHECKPOINTS, LEDGER, RECORD, RESULTS, SCORES
from hfvaccine.hub.listing import listing
from hfvaccine.hub.pull import open_dose
from hfvaccine.lineage.fetch import Papers, dose_of, papers
from hfvaccine.papers.binding import open_run, read_json
from hfvaccine.papers.kind import INOCULATED
from hfvaccine.quarantine.recalls import AFFECTED, FIXED, NOT_AFFECTED, UNDER_INVESTIGATION, Recall, Recalls
from hfvaccine.regimen.ledger import Ledger, read_ledger
from hfvaccine.sources.place import Source, at_revision
from hfvaccine.text import is_hub_id
from hfvaccine.validation.scores import VACCINE

ADAPTER_KIND, MERGED_KIND, BOOSTER_KIND = "adapter", "merged model", "booster"
NEVER_GIVEN = "component_not_present"
"""OpenVEX's justification of what holds a product without the part that is wrong."""
FETCHED = (RECORD, LEDGER, RESULTS, SCORES)


@dataclass(frozen=True)
class Given:
    """What one claim means for one adapter.

    Args:
        claim_id: the claim.
        status: of the adapter, one of `recalls.STATUSES`.
        rows: in how many rows it was given, itself or its twin.
        steps: the first and the last of these, from 1.
        why: in words.
        justification: OpenVEX's, where it is not affected.
        recall: what its dose says of the claim; None where nothing does.
        missing: of a booster without the claim, what is missing for it to count as measured.
    """

    claim_id: str
    status: str
    rows: int
    steps: tuple[int, int] | None
    why: str
    justification: str | None = None
    recall: Recall | None = None
    missing: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        recall = None if self.recall is None else self.recall.as_dict()
        return {**vars(self), "recall": recall, "missing": list(self.missing)}


@dataclass(frozen=True)
class Reached:
    """An adapter that was looked at.

    Args:
        place: its folder or Hub id.
        source: the same with its commit.
        on_hub: whether it is in a repo.
        kind: adapter, merged model or booster.
        gate: the verdict of its gate.
        sha256: of the adapter's weights; of a merged model, those of the adapter that is in it.
        parent: the place of what it was merged from or boosts, where that was looked at.
        parent_sha256: of its adapter; None where its record does not say.
        parent_id: how its record calls it.
        claims: what each recalled claim means for it.
        dose: how its dose is called: its Hub id, or its name.
        notices: the recall notices that stand beside it.
        problem: why it could not be looked at.
    """

    place: str
    source: str
    on_hub: bool
    kind: str = ADAPTER_KIND
    gate: str | None = None
    sha256: str | None = None
    parent: str | None = None
    parent_sha256: str | None = None
    parent_id: str | None = None
    claims: tuple[Given, ...] = ()
    dose: str = ""
    notices: bytes | None = None
    problem: str = ""

    def of(self, *statuses: str) -> tuple[Given, ...]:
        """Those of the claims that have one of these statuses."""
        return tuple(one for one in self.claims if one.status in statuses)

    def of_claim(self, claim_id: str) -> Given:
        """What one of the claims means for it."""
        return next(one for one in self.claims if one.claim_id == claim_id)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        left = {name: value for name, value in vars(self).items() if name not in ("notices", "claims")}
        return {**left, "claims": [one.as_dict() for one in self.claims]}


def find(
    where: Sequence[str], *, dose: str | None = None, claims: Sequence[str] = (), token: str | None = None
) -> tuple[Reached, ...]:
    """Look at adapters, and say what the recalled claims mean for each.

    Args:
        where: namespaces, repos (`ID` or `ID@REVISION`), and folders: of a run, or with runs below it. Inoculated
            adapters of a namespace, or in a folder, are passed over: they were given no claims.
        dose: whose recalls; by default those of the dose that each adapter's record names.
        claims: those looked for, recalled or not; by default all that are recalled.
        token: Hub token, by default the one huggingface_hub finds.

    Returns:
        All that were looked at, also those that could not be.

    Raises:
        UsageError: for what is none of these, namespaces without adapters, or a dose without recalls where no claim
            is named.
        HubError, DoseError: where a namespace or the dose cannot be had.
    """
    for name in claims:
        if not regex.fullmatch(r"[0-9a-f]{16}", name):
            raise UsageError(f"{name!r} is no id of a claim.", "Give its 16 hexadecimal digits.")
    own = open_dose(Source.of("dose", dose), token) if dose is not None else None
    if own is not None and not own.recalls_asked and not claims:
        raise HubError(f"The Hub could not be asked for the newest recalls of {dose}.", "Check HF_ENDPOINT.")
    if own is not None and not claims and not Recalls.of(own).standing:
        raise UsageError(f"Nothing is recalled of {dose}.", "Name the claims that you look for with --claim.")
    places = _places(where, token)
    if not places:
        raise UsageError(
            f"There are no immunized adapters of {' or '.join(where)} that this account can see.",
            "Mend the name, or look as an account that sees them: that nothing is found is no all-clear.",
        )
    found = [_reached(place, own, tuple(claims), token) for place in places]
    by_sha256 = {one.sha256: one for one in found if one.sha256 and one.kind != MERGED_KIND}
    by_place = {one.place: one for one in found}
    linked = []
    for one in found:
        parent = by_sha256.get(str(one.parent_sha256)) or by_place.get(str(one.parent_id))
        linked.append(replace(one, parent=parent.place) if parent is not None and parent.place != one.place else one)
    return tuple(_inherited(one, {each.place: each for each in linked}) for one in linked)


def roots(found: Sequence[Reached]) -> list[Reached]:
    """Those whose parent was not looked at; a circle of parents, which only forged records make, is cut."""
    by_place = {one.place: one for one in found}
    tops = []
    for one in found:
        seen, top = {one.place}, one
        while top.parent is not None and top.parent not in seen:
            seen.add(top.parent)
            top = by_place[top.parent]
        if top.parent is not None:
            tops.append(replace(top, parent=None))
        elif top is one:
            tops.append(one)
    return list({one.place: one for one in tops}.values())


def boosters_of(one: Reached, claim_id: str, found: Sequence[Reached]) -> list[Reached]:
    """Boosters of an adapter, or of the one in a merged model, without a claim, measured or not."""
    return [
        other
        for other in found
        if other.kind == BOOSTER_KIND
        and (other.parent_sha256 == one.sha256 if other.parent_sha256 else other.parent_id == one.place)
        and any(given.claim_id == claim_id and not given.rows for given in other.claims)
    ]


def _places(where: Sequence[str], token: str | None) -> list[str]:
    places: list[str] = []
    for name in where:
        if Path(name).is_dir():
            records = sorted(Path(name).rglob(RECORD))
            folders = [str(one.parent) for one in records if CHECKPOINTS not in one.parts]
            if not folders:
                raise UsageError(f"{name} holds no {RECORD}.", "Give a run folder, or one with runs below it.")
            places += folders
        elif is_hub_id(at_revision(name)[0]):
            places.append(name)
        elif regex.fullmatch(r"\w[\w.-]*", name):
            places += [one.id for one in listing(name, token=token).adapters if one.kind == "immunized"]
        else:
            raise UsageError(f"{name!r} is neither a namespace, nor a repo, nor a folder.", "Give one of these.")
    return list(dict.fromkeys(places))


def _reached(place: str, dose: Dose | None, claims: tuple[str, ...], token: str | None) -> Reached:
    """One adapter by its papers, which may be a stranger's: whatever they hold, the others are looked at, too."""
    known = Reached(at_revision(place)[0], place, on_hub=not Path(place).is_dir())
    try:
        found = papers(place, patterns=FETCHED, token=token)
        known = replace(known, source=found.source, notices=found.recalls)
        if found.kind is INOCULATED:
            raise LineageError(f"{found.source} was inoculated, and given no claims: leave it out.")
        record = open_run(found.folder, (LEDGER,), found.source)
        ledger = read_ledger(found.folder / LEDGER)
        if ledger.proved() != ledger.fingerprint or ledger.fingerprint != record["plan"]["fingerprint"]:
            raise LineageError(f"The ledger of {found.source} is not that of its plan.")
        recalls, called = _recalled(found, record, dose, not claims, token)
        known = replace(known, **_kind(record), dose=called)
        return replace(known, claims=tuple(_given(one, found, record, ledger, recalls) for one in claims or recalls))
    except HfvaccineError as error:
        return replace(known, problem=error.message)
    except (AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        return replace(known, problem=f"Its record is malformed ({type(error).__name__}: {error}).")


def _recalled(
    found: Papers, record: Mapping[str, Any], dose: Dose | None, needed: bool, token: str | None
) -> tuple[Mapping[str, Recall], str]:
    """What is recalled, and how the adapter's dose is called where nobody is to read of paths."""
    called = str(record["dose"]["id"] if record["dose"]["revision"] else record["dose"]["name"])
    try:
        its = dose or dose_of(found, token=token)
        if not its.recalls_asked:
            raise HubError("its Hub could not be asked for its newest recalls.", "Check the network and HF_ENDPOINT.")
        return Recalls.of(its).standing, called
    except HfvaccineError as error:
        if needed or dose is not None:
            step = "name it with --dose, or the claims with --claim"
            raise LineageError(f"Its dose {called} cannot be read: {error.message} ({step})") from error
        return {}, called


def _kind(record: Mapping[str, Any]) -> dict[str, Any]:
    merged, booster = record["training"].get("merged"), record.get("booster")
    facts: dict[str, Any] = {"gate": record["gate"]["verdict"], "sha256": record["files"].get(ADAPTER)}
    if merged:
        return {**facts, "kind": MERGED_KIND, "sha256": None, "parent_sha256": merged["adapter_sha256"]}
    if booster:
        parent = booster["parent"]
        return {
            **facts,
            "kind": BOOSTER_KIND,
            "parent_sha256": parent.get("adapter_sha256"),
            "parent_id": str(parent.get("id")),
        }
    return facts


def _given(
    claim_id: str, found: Papers, record: Mapping[str, Any], ledger: Ledger, recalls: Mapping[str, Recall]
) -> Given:
    """What a claim means for an adapter, by itself."""
    recall = recalls.get(claim_id)
    at = [place for place, name in enumerate(ledger.names) if name[0] == claim_id]
    if at:
        starts = ledger.plan.starts
        first, last = (int((starts <= place).sum()) for place in (at[0], at[-1]))
        status, justification = _status(recall)
        why = f"given in {len(at)} rows, steps {first} to {last}"
        return Given(claim_id, status, len(at), (first, last), why, justification, recall)
    booster = record.get("booster")
    if booster and claim_id in booster["before"] and claim_id not in booster["retracted"]:
        status, justification = _status(recall)
        return Given(claim_id, status, 0, None, "given to the adapter that it goes on from", justification, recall)
    if booster:
        missing = tuple(_missing(claim_id, found, record))
        if claim_id not in booster["retracted"]:
            return Given(
                claim_id, UNDER_INVESTIGATION, 0, None, "a booster that was not made for it", None, recall, missing
            )
        status = UNDER_INVESTIGATION if missing else FIXED
        why = "; ".join(missing) if missing else "a booster without it, and measured"
        return Given(claim_id, status, 0, None, why, None, recall, missing)
    chosen = claim_id in record["dose"]["not_reached"]
    why = "chosen, and never given: the run was too short" if chosen else "never given"
    return Given(claim_id, NOT_AFFECTED, 0, None, why, NEVER_GIVEN, recall)


def _status(recall: Recall | None) -> tuple[str, str | None]:
    """The status and justification of an adapter that holds a claim."""
    if recall is not None and recall.status in (UNDER_INVESTIGATION, NOT_AFFECTED):
        return recall.status, recall.justification
    return AFFECTED, None


def _missing(claim_id: str, found: Papers, record: Mapping[str, Any]) -> list[str]:
    """What is missing for a booster to count as measured."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    lacking = [] if claim_id in record["booster"]["retracted"] else [f"its record does not retract {claim_id}"]
    try:
        open_run(found.folder, (RESULTS, SCORES), found.source)
    except LineageError as error:
        return [*lacking, f"it was not measured: {error.message}"]
    gate = record["gate"]
    if not gate or read_json(found.folder, RESULTS)["gate"] != gate:
        return [*lacking, "its results are not those of its record"]
    if gate["verdict"] not in ("passed", "undecided"):
        lacking.append(f"its gate {str(gate['verdict']).upper()}")
    table = pq.read_table(found.folder / SCORES, columns=["arm", "item_id"])
    asked = set(table.filter(pc.equal(table["arm"], VACCINE))["item_id"].to_pylist())
    if claim_id not in asked:
        lacking.append(f"it was not asked about {claim_id}")
    return lacking


def _inherited(one: Reached, by_place: Mapping[str, Reached]) -> Reached:
    """A booster that was not made for a claim, and whose parent was never given it either, is not affected."""
    if one.kind != BOOSTER_KIND or one.parent is None:
        return one
    parent = {given.claim_id: given for given in by_place[one.parent].claims}
    claims = tuple(
        replace(given, status=NOT_AFFECTED, why="never given, nor was its parent", justification=NEVER_GIVEN)
        if not given.rows
        and given.status == UNDER_INVESTIGATION
        and given.claim_id in parent
        and parent[given.claim_id].status == NOT_AFFECTED
        and parent[given.claim_id].justification == NEVER_GIVEN
        else given
        for given in one.claims
    )
    return replace(one, claims=claims)
