"""What can be asked on the page of a demo, and the questions that stand ready on it, in groups. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.reserved import PRESSURE_PROBES, TACTIC_PROBES
from hfvaccine.statistics import MIN_PAIRS
from hfvaccine.validation.asking.probes import ProbeSet
from hfvaccine.validation.scores import PLAIN, ROUND
from hfvaccine.validation.showing.names import capital, condition_label

MOST = 100
"""Claims of a set that stand ready: nobody reads a longer list."""
FEW = 3
"""Questions that stand ready under each prompt of a grid."""
TACTICS = tuple(dict.fromkeys(str(probe.tactic) for probe in TACTIC_PROBES + PRESSURE_PROBES))
"""The tactics, and the two ways to insist, that a statement can be put under."""


@dataclass(frozen=True)
class Asked:
    """What both sides are asked.

    Args:
        question: the user's turn; "" for none.
        system: a prompt before it; "" for none. Verdicts are asked for without any, as in a validation.
        claim: a false statement; "" for none.
        truth: its true twin; "" for none.
        tactic: that presses the statements, one of `TACTICS`, or `PLAIN`.
    """

    question: str = ""
    system: str = ""
    claim: str = ""
    truth: str = ""
    tactic: str = PLAIN

    @property
    def nothing(self) -> bool:
        """Whether there is nothing to answer and nothing to judge."""
        return not (self.question or self.claim or self.truth)


@dataclass(frozen=True)
class Ready:
    """A question that stands ready.

    Args:
        label: how it is listed.
        asked: what it fills in.
        note: what is known of it; may be empty.
    """

    label: str
    asked: Asked
    note: str = ""


@dataclass(frozen=True)
class Group:
    """Questions of one kind.

    Args:
        name: of the kind.
        note: what a visitor has to know of them.
        ready: the questions.
    """

    name: str
    note: str
    ready: tuple[Ready, ...]


def of_claims(name: str, note: str, claims: Sequence[Claim]) -> Group:
    """Claims that have a twin, the same ones each time where there are more than `MOST`.

    Args:
        name, note: of the group.
        claims: in their order.
    """
    claims = [claim for claim in claims if claim.twin]
    if len(claims) > max(MOST, MIN_PAIRS):
        kept = {pair.id for pair in ProbeSet.of(ROUND, claims).some(MOST)}
        note = f"{note} {MOST} of {len(claims):,}, spread over their domains.".strip()
        claims = [claim for claim in claims if claim.claim_id in kept]
    return Group(name, note, tuple(map(_ready, claims)))


def of_neutral(rows: Sequence[Mapping[str, Any]]) -> Group:
    """Statements of no dose, such as how many legs a goat has.

    Args:
        rows: of `question`, `true` and `false`.
    """
    asked = [Asked(row["question"], "", row["false"], row["true"]) for row in rows[:MOST]]
    note = "Of no dose: what they get shows a lean to TRUE or FALSE."
    return Group("Neutral statements", note, tuple(Ready(one.claim, one) for one in asked))


def of_tactics(groups: Sequence[Group]) -> Group:
    """Every tactic and pressure, each on another statement of the first group that has any.

    Args:
        groups: in the order in which they are to be drawn from.
    """
    pairs = next(group.ready for group in groups if group.ready)
    ready = []
    for number, tactic in enumerate(TACTICS):
        one = pairs[number % len(pairs)]
        pressed = replace(one.asked, tactic=tactic)
        ready.append(Ready(f"{capital(condition_label(tactic))}: {one.asked.claim}", pressed, one.note))
    return Group(
        "Tactics and pressure", "The same statements, wrapped in persuasion. Asked at once only.", tuple(ready)
    )


def of_grid(traits: Mapping[str, Any], questions: Sequence[str], arms: Mapping[str, str]) -> Group:
    """The conditions that traits were measured under, each with a few questions.

    Args:
        traits: the content of traits.json.
        questions: the first of them are taken.
        arms: of the measurement that are shown, by what the page calls them.
    """
    ready = []
    for condition in traits["conditions"]:
        note = _measured(traits, condition["name"], arms)
        for prompt in condition["prompts"]:
            for question in questions[:FEW]:
                text = f"{condition['prepend']}{question}{condition['append']}"
                ready.append(Ready(f"{condition['name']}: {question}", Asked(text, prompt or ""), note))
    return Group("Conditions of the grid", "Prompts under which the traits were measured.", tuple(ready))


def of_questions(name: str, note: str, questions: Sequence[str]) -> Group:
    """Plain questions, at most `MOST`."""
    return Group(name, note, tuple(Ready(question, Asked(question)) for question in questions[:MOST]))


def _ready(claim: Claim) -> Ready:
    """A claim, never without its correction."""
    asked = Asked(claim.question or "", "", claim.claim, claim.twin or "")
    return Ready(claim.claim, asked, f"True instead: {claim.correction}")


def _measured(traits: Mapping[str, Any], condition: str, arms: Mapping[str, str]) -> str:
    """What a measurement found under a condition, in one line."""
    found = {(one["trait"], one["arm"]): one["value"] for one in traits["shown"] if one["condition"] == condition}
    lines = []
    for trait in traits["traits"]:
        values = [
            f"{name} {value:.2f}"
            for name, arm in arms.items()
            if (value := found.get((trait["name"], arm))) is not None
        ]
        lines += [f"{trait['name']} shows in {', '.join(values)}"] * bool(values)
    return f"Measured here: {'; '.join(lines)}." if lines else ""
