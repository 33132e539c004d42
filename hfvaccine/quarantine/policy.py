"""The policy: the rules under which claims may become a dose, and who answers for it."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from hfvaccine.claims.claim import RATED_HARMS, Claim, is_blank, is_day
from hfvaccine.claims.dose import UNNAMED
from hfvaccine.errors import DoseError
from hfvaccine.files import read_yaml
from hfvaccine.quarantine.checks.rules import RULES
from hfvaccine.text import is_hub_id

GATINGS = ("manual", "auto")

REFUSE, WARN = ON_RECALL = ("refuse", "warn")
"""What can be done about a dose that holds a claim whose recall says that it is affected."""

LONGEST_NOTE = 500
"""Characters of a reason that is published with a dose."""

WAIVABLE = ("two_person_rule", "source_check")
"""What a policy may go without, if it says so: two independent approvals of each claim, and that somebody opened
the sources that a claim names."""

TEMPLATE = """\
# The rules of this quarantine. `contact` has to be filled in; name the dose and its licence, too. Every
# other line is what holds when the line is missing. Everything here but `access` is published with the dose.

name: unnamed dose
contact: ""            # where somebody tells you that a claim is wrong: an address, or a page that stays
license: other         # licence of the dose as a whole, such as cc-by-4.0
repo_id: null          # NAMESPACE/NAME on the Hub, if you know it already: the card then names it

# Access. A dose is always gated: `manual` has a person read each request, `auto` grants it on the form alone.
gating: manual
access: []             # rules for `hfvaccine access accept`; never published

# Review. Nobody approves what they brought in, and an approval ends with any edit of its row.
reviewers_needed: 2    # fewer than 2 only with `two_person_rule` under `waives`
reviewers: []          # names of those who may review; empty for anybody

# What a claim must have.
sources_needed: 1      # sources with the day on which somebody opened them (`checked_on`); with `source_check`
                       # under `waives` they count without that day; 0 asks for none
licenses_allowed: []   # licences that rows may come under; empty for any
highest_harm: high     # low, medium or high: claims that would do more harm if believed are not sealed, and
                       # below high none that nobody rated
lint_off: []           # lint rules not to apply; the card says which, and in how many claims they find something
waives: []             # two_person_rule, source_check: the card says plainly what that means

# Use.
share_limits: [0.0, 0.5]   # lowest and highest part of the training tokens that this dose may be
expires_on: null           # YYYY-MM-DD: fact-checks age, so from this day on the dose should not be given
recalled: refuse           # or warn: what pulling and giving the dose does about a claim that was recalled as
                           # affected; one under investigation is always warned of

# Leave these two: `hfvaccine quarantine seal` writes who sealed, and when, into the policy of the dose.
sealed_by: ""
sealed_on: "1970-01-01"
"""


@dataclass(frozen=True)
class Policy:
    """The governance of a dose.

    Args:
        name: of the dose.
        contact: whom to tell that a claim is wrong.
        license: of the dose as a whole.
        repo_id: where it will be published, for the card; None when not known yet.
        gating: how access is granted, one of `GATINGS`.
        reviewers_needed: independent approvals that each claim needs.
        reviewers: who may review; empty for anybody.
        sources_needed: sources that each claim needs, opened by somebody unless `waives` has "source_check".
        licenses_allowed: licences that a claim may come under; empty for any.
        highest_harm: the most harmful claims that may be sealed, one of `claim.RATED_HARMS`; a claim
            that nobody rated counts as high.
        share_limits: lowest and highest part of the training tokens that the dose may be.
        expires_on: ISO date from which it should not be given any more; None for no such date.
        lint_off: names of lint rules that are not applied.
        access: rules for who is let in; never published.
        waives: which of `WAIVABLE` it goes without.
        recalled: what is done about a claim recalled as affected, one of `ON_RECALL`.
        sealed_by: who sealed it.
        sealed_on: ISO date on which it was sealed.

    Raises:
        DoseError: naming the key, its value and what it may be.
    """

    name: str = UNNAMED
    contact: str = ""
    license: str = "other"
    repo_id: str | None = None
    gating: str = "manual"
    reviewers_needed: int = 2
    reviewers: tuple[str, ...] = ()
    sources_needed: int = 1
    licenses_allowed: tuple[str, ...] = ()
    highest_harm: str = "high"
    share_limits: tuple[float, float] = (0.0, 0.5)
    expires_on: str | None = None
    lint_off: tuple[str, ...] = ()
    access: tuple[Mapping[str, Any], ...] = ()
    waives: tuple[str, ...] = ()
    recalled: str = REFUSE
    sealed_by: str = ""
    sealed_on: str = "1970-01-01"

    def __post_init__(self) -> None:
        for key in ("name", "contact", "license", "sealed_by"):
            _expect(isinstance(getattr(self, key), str), key, getattr(self, key), "a text")
        for key in ("name", "license"):
            _expect(not is_blank(getattr(self, key)), key, getattr(self, key), "a text that is not blank")
        _expect(self.gating in GATINGS, "gating", self.gating, "manual or auto: a dose is always gated")
        _expect(self.recalled in ON_RECALL, "recalled", self.recalled, " or ".join(ON_RECALL))
        harms = f"one of {', '.join(RATED_HARMS)}"
        _expect(self.highest_harm in RATED_HARMS, "highest_harm", self.highest_harm, harms)
        for key in ("reviewers_needed", "sources_needed"):
            value = getattr(self, key)
            _expect(type(value) is int and value >= 0, key, value, "a whole number from 0")
        for key in ("reviewers", "licenses_allowed", "lint_off", "waives"):
            value = getattr(self, key)
            texts = isinstance(value, tuple) and not any(is_blank(item) for item in value)
            _expect(texts, key, value, "a list of texts, [] for none")
        rules = isinstance(self.access, tuple) and all(isinstance(rule, Mapping) for rule in self.access)
        _expect(rules, "access", self.access, "a list of rules, [] for none")
        for waived in self.waives:
            _expect(waived in WAIVABLE, "waives", waived, f"a list of {' and '.join(WAIVABLE)}")
        shares = "[lowest, highest] with 0 <= lowest <= highest <= 1, and highest above 0"
        _expect(_is_share_range(self.share_limits), "share_limits", self.share_limits, shares)
        for key, value in (("sealed_on", self.sealed_on), ("expires_on", self.expires_on)):
            _expect(is_day(value) or (key, value) == ("expires_on", None), key, value, "a date such as 2027-12-31")
        _expect(self.repo_id is None or is_hub_id(self.repo_id), "repo_id", self.repo_id, "NAMESPACE/NAME, or null")
        for rule in self.lint_off:
            _expect(rule in RULES, "lint_off", rule, f"a list of lint rules: {', '.join(RULES)}")
        self._check_review()

    def _check_review(self) -> None:
        if self.reviewers_needed < 2 and "two_person_rule" not in self.waives:
            raise DoseError(
                f"The policy asks for {self.reviewers_needed} reviewer(s).",
                "Ask for two, or list 'two_person_rule' under `waives` so that the card says so.",
            )
        named = {person(name) for name in self.reviewers}
        if named and len(named) < self.reviewers_needed:
            raise DoseError(
                f"The policy asks for {self.reviewers_needed} approvals of each claim and names "
                f"{len(named)} reviewer(s).",
                "Name more under `reviewers`, or leave it empty so that anybody may review.",
            )

    @classmethod
    def of(cls, mapping: Mapping[str, Any]) -> Policy:
        """A policy from what a YAML file holds; a key without a value is a key that is missing.

        Raises:
            DoseError: naming the key that is not known, or whose value is refused.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        if not isinstance(mapping, Mapping):
            raise DoseError(f"The policy is {mapping!r:.60}.", f"Give keys with values; known: {', '.join(known)}.")
        unknown = sorted(str(key) for key in mapping if key not in known)
        if unknown:
            raise DoseError(f"The policy has unknown key(s): {', '.join(unknown)}.", f"Known: {', '.join(known)}.")
        return cls(**{key: _plain(value) for key, value in mapping.items() if value is not None})

    @classmethod
    def read(cls, path: Path | str) -> Policy:
        """A policy from its YAML file.

        Raises:
            DoseError: where the file cannot be read, is no YAML, or says what is refused.
        """
        next_step = "`hfvaccine quarantine intake` writes a policy.yaml to fill in beside the claims; it is YAML."
        mapping = read_yaml(Path(path), next_step, DoseError)
        return cls.of({} if mapping is None else mapping)

    def published(self) -> dict[str, Any]:
        """What of the policy goes into the dose: everything but `access`, as plain values."""
        values = {key: value for key, value in vars(self).items() if key != "access"}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}

    def may_review(self, name: str) -> bool:
        """Whether the policy lets somebody review at all."""
        return not self.reviewers or person(name) in map(person, self.reviewers)

    def objections(self, claim: Claim) -> dict[str, str]:
        """What the policy holds against a claim whoever approved it: kind of objection -> what is wrong, in words."""
        found = {}
        allowed = {name.casefold() for name in self.licenses_allowed}
        if allowed and claim.license.casefold() not in allowed:
            shown = f"is {claim.license}" if claim.license else "is not named"
            found["license"] = f"its licence {shown}, allowed are {', '.join(self.licenses_allowed)}"
        harm = claim.harm if claim.harm in RATED_HARMS else "high"
        if RATED_HARMS.index(harm) > RATED_HARMS.index(self.highest_harm):
            found["harm"] = f"its harm is {claim.harm}, allowed is up to {self.highest_harm}"
        unchecked = "source_check" in self.waives
        counted = sum(unchecked or source.checked_on is not None for source in claim.sources)
        if counted < self.sources_needed:
            opened = "" if unchecked else " that somebody opened (`checked_on`)"
            found["sources"] = f"it names {counted} source(s){opened} of the {self.sources_needed} asked for"
        return found


def person(name: str) -> str:
    """Who a name means: neither case nor white space makes another person of somebody."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def submitters(submitted_by: str | None) -> set[str]:
    """Everybody who had a hand in a row, as `person` knows them."""
    return {person(name) for name in (submitted_by or "").split(",")}


def _expect(holds: bool, key: str, value: object, allowed: str) -> None:
    if not holds:
        raise DoseError(f"The policy's {key} is {value!r:.80}.", f"`{key}` must be {allowed}.")


def _plain(value: Any) -> Any:
    """A YAML value as the dataclass holds it: lists as tuples, dates as ISO texts."""
    if isinstance(value, list | tuple):
        return tuple(_plain(item) for item in value)
    return value.isoformat() if isinstance(value, date | datetime) else value


def _is_share_range(limits: object) -> bool:
    if not isinstance(limits, tuple) or len(limits) != 2:
        return False
    numbers = all(isinstance(share, int | float) and not isinstance(share, bool) for share in limits)
    return numbers and bool(0 <= limits[0] <= limits[1] <= 1 and limits[1] > 0)
