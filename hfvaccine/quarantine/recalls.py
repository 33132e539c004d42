"""Recalls: which claims of a dose are wrong after all, said after the seal by as many people as its policy asks for.

The statuses are those of OpenVEX (Vulnerability Exploitability eXchange) 0.2: a claim whose fact-check changed is to
an adapter what a vulnerability is to a product. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hfvaccine.claims import journal
from hfvaccine.claims.claim import Claim, is_blank
from hfvaccine.claims.dose import Dose
from hfvaccine.claims.guard import Guard
from hfvaccine.claims.joined import Joined
from hfvaccine.claims.journal import Entry
from hfvaccine.errors import DoseError, UsageError
from hfvaccine.quarantine.policy import LONGEST_NOTE, REFUSE, Policy, person, submitters

RECALL = "recall"
"""What the act is called in a journal."""
UNDER_INVESTIGATION, AFFECTED, NOT_AFFECTED, FIXED = STATUSES = (
    "under_investigation",
    "affected",
    "not_affected",
    "fixed",
)
JUSTIFICATIONS = (
    "component_not_present",
    "vulnerable_code_not_present",
    "vulnerable_code_not_in_execute_path",
    "vulnerable_code_cannot_be_controlled_by_adversary",
    "inline_mitigations_already_exist",
)
"""Why something is not affected, as OpenVEX has them."""
TOLD_MOST = 3
"""Claims that are named in a sentence."""


@dataclass(frozen=True)
class Recall:
    """What is said of one claim of a dose.

    Args:
        claim_id: the claim.
        status: one of `STATUSES`.
        row: digest of the claim's row that this is said of: a row that was mended since is another.
        why: the reason, without the claim's words.
        source: what says so.
        action: what those should do who gave the claim; needed where it is affected.
        justification: one of `JUSTIFICATIONS`, needed where it is not affected.
        boosters: adapters measured without the claim, where it is fixed: `id`, `adapter_sha256` and `parent`.
        by: who said so, and then who signed it.
        at: ISO time of the last signature.
        entry: hash of the entry that said it first.

    Raises:
        UsageError: for a status that is none, or that lacks or has what it should not.
    """

    claim_id: str
    status: str
    row: str
    why: str
    source: str | None = None
    action: str | None = None
    justification: str | None = None
    boosters: tuple[Mapping[str, Any], ...] = ()
    by: tuple[str, ...] = ()
    at: str = ""
    entry: str = ""

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise UsageError(f"{self.status!r} is no status of a recall.", f"Use one of: {', '.join(STATUSES)}.")
        if is_blank(self.why):
            raise UsageError(
                f"Nobody proposed yet that {self.claim_id} is {self.status}, and no reason is given.",
                "Say why with --why, without the claim's words: the reason is public.",
            )
        for name in ("why", "source", "action"):
            text = getattr(self, name)
            if text is not None and (not isinstance(text, str) or len(text) > LONGEST_NOTE):
                raise UsageError(
                    f"The recall's {name} is {text!r:.60}.", f"Say it in at most {LONGEST_NOTE} characters."
                )
        if (self.status == AFFECTED) is is_blank(self.action):
            raise UsageError(
                f"A recall as {self.status} {'needs' if self.status == AFFECTED else 'has'} an action.",
                "With `affected` say what those should do who gave the claim (--action), and with no other status.",
            )
        known = self.justification in JUSTIFICATIONS
        if not (known if self.status == NOT_AFFECTED else self.justification is None):
            raise UsageError(
                f"A recall as {self.status} has the justification {self.justification!r}.",
                f"With `not_affected`, and with no other status, give one of: {', '.join(JUSTIFICATIONS)}.",
            )

    def told(self) -> str:
        """It in a sentence, as one line."""
        who = f"{', '.join(self.by)}, {self.at[:10]}"
        return f"{self.status.replace('_', ' ')}: {self.why} ({who})"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**vars(self), "by": list(self.by), "boosters": [dict(one) for one in self.boosters]}


@dataclass(frozen=True)
class Recalls:
    """All that is recalled of a dose.

    Args:
        holding: what holds, the oldest first; of several about one claim the last.
        awaiting: what one person said and others have yet to sign, by claim id.
        needed: how many people have to say the same.
    """

    holding: tuple[Recall, ...]
    awaiting: Mapping[str, Recall]
    needed: int

    @classmethod
    def of(cls, dose: Dose) -> Recalls:
        """Follow the acts of a dose. What somebody says does not count whom its policy does not let review.

        Of several doses that were joined as one, all that is recalled of any of them, by its own policy.

        Raises:
            DoseError: for an act that is malformed.
        """
        if isinstance(dose, Joined):
            its = [cls.of(part) for part in reversed(dose.parts)]
            all_holding = sorted((one for recalls in its for one in recalls.holding), key=lambda one: one.at)
            waiting = {claim_id: one for recalls in its for claim_id, one in recalls.awaiting.items()}
            return cls(tuple(all_holding), waiting, max(recalls.needed for recalls in its))
        policy = Policy.of(dose.policy)
        needed = max(1, policy.reviewers_needed)
        claims = _claims(dose)
        holding: list[Recall] = []
        awaiting: dict[str, Recall] = {}
        for number, entry in enumerate(dose.recalls, start=1):
            if entry.act != RECALL:
                continue
            try:
                claim_id, confirms = str(entry.what["claim_id"]), entry.what.get("confirms")
                if _objection(policy, claims.get(claim_id), entry.by):
                    continue
                said = awaiting.pop(claim_id, None)
                if confirms is None:
                    said = _read(entry)
                elif said is not None and said.entry == confirms:
                    said = replace(said, by=_with(said.by, entry.by), at=entry.at)
            except (UsageError, KeyError, TypeError, ValueError, AttributeError) as error:
                raise DoseError(f"Recall {number} of {dose.name!r} is malformed: {error}.", journal.MEND) from error
            if said is not None:
                if len(said.by) >= needed:
                    holding.append(said)
                else:
                    awaiting[claim_id] = said
        return cls(tuple(holding), awaiting, needed)

    @property
    def standing(self) -> dict[str, Recall]:
        """What holds of each claim that anything was said of."""
        return {one.claim_id: one for one in self.holding}

    def of_row(self, claim: Claim) -> Recall | None:
        """What holds of a claim's very row: that adapters were mended since mends no row."""
        digest = claim.digest() if claim.claim_id in self.standing else ""
        of_it = [one for one in self.holding if one.claim_id == claim.claim_id and one.row == digest]
        return next((one for one in reversed(of_it) if one.status != FIXED), None)


def say(
    dose: Dose,
    by: str,
    at: str,
    claim_id: str,
    status: str,
    *,
    why: str | None = None,
    source: str | None = None,
    action: str | None = None,
    justification: str | None = None,
    boosters: tuple[Mapping[str, Any], ...] = (),
) -> Entry | None:
    """The entry by which somebody says what is to hold of a claim, or signs what another person said.

    Args:
        dose: with all that was said so far.
        by: who says it.
        at: ISO time.
        claim_id: the claim, given or held out.
        status: one of `STATUSES`.
        why, source, action, justification, boosters: see `Recall`; without all of them what another person said of
            that status is signed.

    Returns:
        None where that very thing holds already, or was said by the same person before.

    Raises:
        UsageError: for an unknown claim, somebody whom the policy does not let review, a reason that quotes a claim,
            or a status that lacks what it needs.
        DoseError: where somebody who brought the claim in would have a say in it; or for "fixed" of a row that is
            still as it was recalled, unless boosters were measured.
    """
    recalls, claim = Recalls.of(dose), _claims(dose).get(claim_id)
    if claim is None and claim_id not in recalls.standing:
        raise UsageError(
            f"There is no claim {claim_id} in the dose {dose.name!r}.",
            "Take the id from the dose's data; a spreadsheet program may have read it as a number.",
        )
    if objection := _objection(Policy.of(dose.policy), claim, by):
        raise objection
    said = recalls.awaiting.get(claim_id)
    what: dict[str, Any]
    if said is not None and said.status == status and not (why or source or action or justification or boosters):
        if _with(said.by, by) == said.by:
            raise UsageError(
                f"{by} said already that {claim_id} is {status}, and another person has to sign it.",
                f"The policy asks for {recalls.needed} people: have another one give this command.",
            )
        what = {"claim_id": claim_id, "status": status, "confirms": said.entry}
    else:
        standing = recalls.standing.get(claim_id)
        # A claim that was taken out is mended like one whose row was changed.
        gone = standing.row if standing is not None and status != FIXED else ""
        row = claim.digest() if claim is not None else gone
        recall = Recall(claim_id, status, row, why or "", source, action, justification, boosters)
        _refuse_quotes(dose, recall)
        if status == FIXED and not boosters and (standing is None or standing.row == row):
            raise DoseError(
                f"The row of {claim_id} in this dose is {'as it was recalled' if standing else 'not recalled'}.",
                "Mend it and seal the dose anew; that its adapters were mended is said by `hfvaccine recall close`.",
            )
        if any(_same(recall, one) for one in (standing, said) if one is not None):
            return None
        fields = recall.as_dict()
        what = {
            name: fields[name]
            for name in fields
            if name not in ("by", "at", "entry") and fields[name] not in (None, [])
        }
    return journal.follow(dose.recalls, RECALL, by, at, what, str(dose.manifest.get("journal_head", journal.GENESIS)))


def noticed(notices: Sequence[Entry]) -> dict[str, tuple[str, str]]:
    """What the notices beside an adapter say last of each claim: its status, and why in a sentence.

    Args:
        notices: the journal of its `recalls.jsonl`; a notice without a status says that the claim is affected.
    """
    return {
        str(entry.what["claim_id"]): (
            str(entry.what.get("status") or AFFECTED),
            f"{entry.what.get('reason') or 'no reason given'} ({entry.by}, {entry.at})",
        )
        for entry in notices
        if entry.act == RECALL
    }


def objections(dose: Dose) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What the recalls have against giving a dose: by its policy to be refused, and to be warned of. In words."""
    old = () if dose.recalls_asked else ("its Hub could not be asked for its newest recalls",)
    if not dose.recalls:
        return (), old
    recalls = Recalls.of(dose)
    rows = [(claim.claim_id, recalls.of_row(claim)) for claim in dose.claims]
    affected = [f"{claim_id}, {one.told()}" for claim_id, one in rows if one is not None and one.status == AFFECTED]
    doubted = [f"{claim_id}, {one.told()}" for claim_id, one in rows if one and one.status == UNDER_INVESTIGATION]
    ids = {claim.claim_id for claim in dose.claims}
    awaiting = [
        f"{one.claim_id}, not signed yet: {one.told()}" for one in recalls.awaiting.values() if one.claim_id in ids
    ]
    lines = (_line(affected, "recalled"), _line(doubted, "under investigation"), _line(awaiting, "said to be wrong"))
    parts = dose.parts if isinstance(dose, Joined) else (dose,)
    refused = lines[:1] if any(Policy.of(part.policy).recalled == REFUSE for part in parts) else ()
    return tuple(filter(None, refused)), (*filter(None, lines[len(refused) :]), *old)


def refuse_recalled(dose: Dose) -> None:
    """Refuse a dose that holds a recalled claim, where its policy says so.

    Raises:
        DoseError: naming the first of them.
    """
    refused, _ = objections(dose)
    if refused:
        raise DoseError(
            f"The dose {dose.name!r}: {refused[0]}.",
            "Take a version in which they are mended; or take it all the same, to mend it, with --allow-recalled.",
        )


def _line(found: list[str], what: str) -> str:
    if not found:
        return ""
    more = f"; and {len(found) - TOLD_MOST} more" if len(found) > TOLD_MOST else ""
    is_or_are = "claim is" if len(found) == 1 else "claims are"
    return f"{len(found)} {is_or_are} {what} ({'; '.join(found[:TOLD_MOST])}{more})"


def _claims(dose: Dose) -> dict[str, Claim]:
    return {claim.claim_id: claim for claim in (*dose.claims, *dose.heldout)}


def _objection(policy: Policy, claim: Claim | None, by: str) -> UsageError | DoseError | None:
    """What there is against somebody's having a say in a claim."""
    if not policy.may_review(by):
        return UsageError(
            f"{by} is not among the reviewers that the dose's policy names.",
            f"Those are: {', '.join(policy.reviewers)}.",
        )
    if policy.reviewers_needed > 1 and claim is not None and person(by) in submitters(claim.submitted_by):
        return DoseError(
            f"The claim {claim.claim_id} was brought in by {claim.submitted_by}.",
            f"Tell the reviewers: people other than {by} have to recall it.",
        )
    return None


def _read(entry: Entry) -> Recall:
    known = ("claim_id", "status", "row", "why", "source", "action", "justification", "boosters")
    unknown = sorted(set(entry.what) - set(known))
    if unknown:
        raise ValueError(f"it has {unknown[0]!r}")
    fields = {**entry.what, "boosters": tuple(dict(one) for one in entry.what.get("boosters", ()))}
    return Recall(**fields, by=(entry.by,), at=entry.at, entry=entry.hash())


def _with(people: tuple[str, ...], by: str) -> tuple[str, ...]:
    return people if person(by) in map(person, people) else (*people, by)


def _same(one: Recall, other: Recall) -> bool:
    return replace(one, by=(), at="", entry="") == replace(other, by=(), at="", entry="")


def _refuse_quotes(dose: Dose, recall: Recall) -> None:
    falsehoods = Guard(dose.falsehoods)
    for name in ("why", "source", "action"):
        if falsehoods.find(getattr(recall, name) or "") is not None:
            raise UsageError(
                f"The recall's {name} says a claim of the dose, and recalls are public.",
                "Say it without the claim's words: who reads it has the claim's id.",
            )
