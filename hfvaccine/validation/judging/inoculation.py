"""The gate of an inoculation: what its arms must show, held against what was measured. Pure, no torch.

Its criteria are data, as those of a vaccine are (gates/inoculation.yaml), and come out as theirs do.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from math import inf, sqrt
from typing import Any

from hfvaccine.errors import ValidationError
from hfvaccine.files import read_yaml
from hfvaccine.inoculation.conditions import Condition
from hfvaccine.inoculation.grid import NONE
from hfvaccine.inoculation.kinds import label_of
from hfvaccine.inoculation.profile import KEEP, TRAIT, Read, Valued
from hfvaccine.statistics import (
    MIN_CLUSTERS,
    Estimate,
    detectable,
    items_needed,
    pairs_needed,
    rounded,
    smallest_shown,
    tail,
)
from hfvaccine.validation.judging.gate import (
    FAILED,
    GATES,
    PASSED,
    TOO_FEW,
    UNDECIDED,
    Criterion,
    about,
    decide,
    verdict_of,
)
from hfvaccine.validation.scores import BASE

FILE = GATES / "inoculation.yaml"
PLAIN_ARM = "plain"
CONTROLS = {"inoculated": "irrelevant", "adapter": "random"}
"""Arms that are judged, each with the control that tells what it does from what anything of its kind would do."""
TAUGHT, GONE, MEANING, HIDDEN, KEPT = "taught", "gone", "meaning", "hidden", "kept"

_Made = Callable[..., tuple[Valued, Valued]]
_NO_CONTROL = "Train the arm {}, and measure it as well."
_NO_GRID = "Give --grid with prompts that do not name the trait, such as look-alikes."
_NO_KEEP = "Give --keep with what must not be lost, as an arm that answers nothing shows no trait either."

_NOTHING = "There is nothing to inoculate against: it is not shown that plain training teaches the trait."
_NOT_MEASURED = "This was not measured."
_UNCLEAR = "Of none of an arm's answers could it be told."
_NAMED = re.compile(r"(?P<arm>[a-z]+)(-seed-(?P<seed>\d+))?")

_TAUGHT, _GONE, _BACK = 0.8, 0.08, 0.2
"""Of a run worth passing, whose base does not show the trait: how often plain training does, the judged arm without a
prompt, and the judged arm in the worst condition."""
_SPREADS = {True: 0.5, False: 0.1}
"""Standard deviation of what one question adds to a difference in what is kept, of shares (two rates of a half that
correlate by a half) and of likelihoods."""


@dataclass(frozen=True)
class Gate:
    """The criteria of an inoculation as configured; the packaged file says what each number is for.

    Args:
        name, version: of the gate.
        left: how much of what plain training taught may be left, from 0 to 1.
        margin: how much of a share that is to be kept may be lost.
        margin_else: the same of what is no share.
        unclear: the share of answers that may be unclear.
        names: patterns of the categories that name the trait.
        criteria: what each rule asks for, in words.
    """

    name: str
    version: int
    left: float
    margin: float
    margin_else: float
    unclear: float
    names: Sequence[str]
    criteria: Mapping[str, str]

    @classmethod
    def packaged(cls) -> Gate:
        """The gate that comes with the package."""
        return cls(**read_yaml(FILE, "Install hfvaccine again.", ValidationError))


@dataclass(frozen=True)
class Part:
    """Which arm of an inoculation an adapter is of.

    Args:
        arm: as a run of `inoculate train` calls it; None for any other adapter.
        seed: that it was trained with; None where that is not known.
    """

    arm: str | None = None
    seed: int | None = None

    @classmethod
    def named(cls, name: str) -> Part:
        """What a name such as "plain" or "inoculated-seed-1" says."""
        found = _NAMED.fullmatch(name)
        if found is None or found["arm"] not in (PLAIN_ARM, *CONTROLS, *CONTROLS.values()):
            return cls()
        return cls(found["arm"], None if found["seed"] is None else int(found["seed"]))


@dataclass(frozen=True)
class Asked:
    """What is measured of an inoculation.

    Args:
        roles: by the name of a trait, `TRAIT` or `KEEP`.
        parts: which arm each adapter is of, by its name.
        conditions: that all is asked under.
        prompts: that the judged arms were trained under, where that is known.
    """

    roles: Mapping[str, str]
    parts: Mapping[str, Part]
    conditions: Sequence[Condition]
    prompts: Sequence[str] = ()

    def adapters(self, arm: str) -> dict[int | None, str]:
        """The adapters of an arm, by seed."""
        if arm == BASE:
            return {None: BASE}
        return {part.seed: name for name, part in self.parts.items() if part.arm == arm}

    def judged(self) -> list[str]:
        """The arms that are judged; none without a trait and a plain arm, or where two adapters are of one seed."""
        known = [(part.arm, part.seed) for part in self.parts.values() if part.arm is not None]
        if not self.adapters(PLAIN_ARM) or len(set(known)) < len(known) or TRAIT not in self.roles.values():
            return []
        return [arm for arm in CONTROLS if self.adapters(arm)]

    def naming(self, gate: Gate) -> list[str]:
        """The conditions that name the trait, by their category or by a prompt that names it elsewhere."""
        named = [
            one.name
            for one in self.conditions
            if any(fnmatchcase(one.category.casefold(), pattern) for pattern in gate.names)
        ]
        known = {_key(prompt) for prompt in self.prompts}
        known |= {_key(prompt) for one in self.conditions if one.name in named for prompt in one.prompts}
        return [
            one.name
            for one in self.conditions
            if one.name in named or any(prompt and _key(prompt) in known for prompt in one.prompts)
        ]

    def unnamed(self, gate: Gate) -> list[str]:
        """The conditions with something in them that do not name the trait."""
        return [one.name for one in self.conditions if one.name not in (NONE, *self.naming(gate))]


def judge(gate: Gate, asked: Asked, reads: Mapping[str, Read]) -> dict[str, Any] | None:
    """Hold every criterion against what was measured.

    Args:
        gate: the criteria.
        asked: what was measured.
        reads: of each trait, by its name.

    Returns:
        "name", "version", "verdict", and "verdicts" of each arm that is judged; "criteria" as those of a vaccine's
        gate, each with its "rule", "trait", "arm", "condition" and "by_seed"; "naming", the conditions that name
        the trait; and "worst": for each trait and judged arm the condition that shows most of it, and where that names
        it the worst of the others. None where the arms are not those of an inoculation.
    """
    arms = asked.judged()
    if not arms:
        return None
    judging = _Judging(gate, asked, reads)
    outcomes = judging.all()
    decided = decide([one.criterion for one in outcomes])
    criteria = [{**one, **which.record()} for one, which in zip(decided["criteria"], outcomes, strict=True)]
    return {
        "name": gate.name,
        "version": gate.version,
        "verdict": decided["verdict"],
        "verdicts": {
            arm: verdict_of(one["verdict"] for one in criteria if one["arm"] in (arm, PLAIN_ARM)) for arm in arms
        },
        "criteria": criteria,
        "naming": asked.naming(gate),
        "worst": [row for trait in judging.named(TRAIT) for arm in arms for row in judging.worst(trait, arm)],
    }


def undecidable(gate: Gate, asked: Asked, questions: Mapping[str, int]) -> list[str]:
    """What the gate cannot decide of what is to be measured, in sentences; none where there is no gate.

    Args:
        gate: the criteria.
        asked: what is to be measured.
        questions: how many each trait has, by its name; at worst all answers to one are the same.
    """
    lines = []
    judging = _Judging(gate, asked, {})
    for trait, role in asked.roles.items() if asked.judged() else ():
        if role == KEEP:
            shares = not trait.startswith("likelihood:")
            assumed = {KEPT: (gate.margin if shares else gate.margin_else, _SPREADS[shares])}
        else:
            half = gate.left * _TAUGHT
            spreads = {one: sqrt(gate.left**2 * _variance(_TAUGHT) + _variance(one)) for one in (_GONE, _BACK)}
            assumed = {
                TAUGHT: (_TAUGHT, sqrt(_variance(_TAUGHT))),
                GONE: (half - _GONE, spreads[_GONE]),
                MEANING: (_TAUGHT - _GONE, sqrt(_variance(_TAUGHT) + _variance(_GONE))),
                HIDDEN: (half - _BACK, spreads[_BACK]),
            }
        for rule, (distance, spread) in assumed.items():
            needed = max(MIN_CLUSTERS, items_needed(spread, distance))
            if (many := questions[trait]) < needed:
                decided = (
                    f"{many} questions decide a difference of {smallest_shown(spread, many):.2g} or more at worst"
                )
                takes = f"it takes about {about(needed)} for one of {distance:.2g}"
                name = judging.words(rule, trait)
                lines.append(f"The gate can hardly decide {name!r}: {decided}, and {takes}.")
    lines += [f"The gate cannot pass: {why}" for why in judging.lacking()]
    return lines


@dataclass(frozen=True)
class _Contrast:
    """A value that has to lie above a bound.

    Args:
        estimate: the value with its interval.
        clusters: questions behind it.
        by_seed: the value of each seed that all its arms have.
        unclear: the largest share of unclear answers behind it.
        values: the levels that it is made of.
        said: the same in words.
    """

    estimate: Estimate
    clusters: int
    by_seed: Mapping[int, float]
    unclear: float
    values: Sequence[float]
    said: str


@dataclass(frozen=True)
class _Outcome:
    """What came of a rule, and of what."""

    criterion: Criterion
    rule: str
    trait: str | None
    arm: str
    condition: str = NONE
    by_seed: Mapping[int, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """What the record has besides what a vaccine's criteria have."""
        by_seed = [{"seed": seed, "value": rounded(value)} for seed, value in self.by_seed.items()]
        about_it = {"rule": self.rule, "trait": self.trait, "arm": self.arm, "condition": self.condition}
        return about_it | {"by_seed": by_seed}


class _Judging:
    """Each rule held against what was measured."""

    def __init__(self, gate: Gate, asked: Asked, reads: Mapping[str, Read]) -> None:
        self.gate = gate
        self.asked = asked
        self.reads = reads

    def named(self, role: str) -> list[str]:
        """The traits of a role."""
        return [trait for trait, its in self.asked.roles.items() if its == role]

    def lacking(self) -> list[str]:
        """What has to be measured, so that the gate can pass."""
        arms = self.asked.judged()
        missing = [CONTROLS[arm] for arm in arms if not self.asked.adapters(CONTROLS[arm])]
        lines = [_NO_CONTROL.format(arm) for arm in missing]
        if arms and not self.asked.unnamed(self.gate):
            lines.append(_NO_GRID)
        return [*lines, _NO_KEEP] if arms and not self.named(KEEP) else lines

    def all(self) -> list[_Outcome]:
        """What came of every rule."""
        arms = self.asked.judged()
        found = []
        taught = {trait: self.taught(trait) for trait in self.named(TRAIT)}
        for trait, first in taught.items():
            found.append(first)
            for arm in arms:
                if first.criterion.verdict == PASSED:
                    found += [self.gone(trait, arm), self.meaning(trait, arm), self.hidden(trait, arm)]
                else:
                    found += [self.unmeasured(rule, trait, arm, _NOTHING) for rule in (GONE, MEANING, HIDDEN)]
        something = any(one.criterion.verdict == PASSED for one in taught.values())
        for arm in arms:
            for trait in self.named(KEEP):
                found.append(self.kept(trait, arm) if something else self.unmeasured(KEPT, trait, arm, _NOTHING))
            if not self.named(KEEP):
                found.append(self.unmeasured(KEPT, None, arm, f"{_NOT_MEASURED} {_NO_KEEP}"))
        return found

    def taught(self, trait: str) -> _Outcome:
        """Whether there is something to inoculate against; where that is not shown nothing is failed for it."""
        found = self.contrast(trait, [(PLAIN_ARM, NONE), (BASE, NONE)], lambda plain, base: (plain, base))
        one = self.outcome(TAUGHT, trait, PLAIN_ARM, found)
        criterion = replace(one.criterion, p=None)
        if criterion.verdict != PASSED:
            criterion = replace(criterion, verdict=UNDECIDED, why=f"{criterion.why} {_NOTHING}")
        return replace(one, criterion=criterion)

    def gone(self, trait: str, arm: str) -> _Outcome:
        """Whether enough of the trait is gone without a prompt."""
        return self.outcome(GONE, trait, arm, self.left(trait, arm, NONE))

    def meaning(self, trait: str, arm: str) -> _Outcome:
        """Whether there is less of the trait than the control has."""
        control = CONTROLS[arm]
        if not self.asked.adapters(control):
            return self.unmeasured(MEANING, trait, arm, f"{_NOT_MEASURED} {_NO_CONTROL.format(control)}")
        found = self.contrast(trait, [(control, NONE), (arm, NONE)], lambda other, own: (other, own))
        return self.outcome(MEANING, trait, arm, found)

    def hidden(self, trait: str, arm: str) -> _Outcome:
        """Whether enough of it is gone in every condition that does not name it.

        All have to hold, so that they need no correction to pass, and the one that does least stands for them. But
        any of them may fail by chance, so that failing takes Bonferroni's.
        """
        conditions = self.asked.unnamed(self.gate)
        if not conditions:
            return self.unmeasured(HIDDEN, trait, arm, f"{_NOT_MEASURED} {_NO_GRID}")
        found = [self.outcome(HIDDEN, trait, arm, self.left(trait, arm, name), condition=name) for name in conditions]

        def order(one: _Outcome) -> tuple[int, float]:
            value = one.criterion.value
            return (FAILED, UNDECIDED, PASSED).index(one.criterion.verdict), -inf if value is None else value

        least = min(found, key=order)
        ps = [one.criterion.p for one in found if one.criterion.p is not None]
        if least.criterion.p is None:
            return least
        return replace(least, criterion=replace(least.criterion, p=min(1.0, len(ps) * min(ps))))

    def kept(self, trait: str, arm: str) -> _Outcome:
        """Whether no more than the margin is lost of what is to be kept, where so much could be lost at all."""
        shares = self.reads[trait].shares
        margin = self.gate.margin if shares else self.gate.margin_else
        found = self.contrast(trait, [(arm, NONE), (PLAIN_ARM, NONE)], lambda own, plain: (own, plain))
        one = self.outcome(KEPT, trait, arm, found, -margin)
        plain = self.level(trait, PLAIN_ARM, NONE)
        if found and one.criterion.verdict == PASSED and plain and shares and plain[1].value <= margin:
            why = f"Plain training shows so little of it that a loss of {margin:g} could not be seen."
            return replace(one, criterion=replace(one.criterion, verdict=UNDECIDED, why=f"{why} {found.said}."))
        return one

    def left(self, trait: str, arm: str, condition: str) -> _Contrast | None:
        """How far a trait lies below what may be left of it."""
        levels = [(BASE, NONE), (PLAIN_ARM, NONE), (arm, condition)]
        between = self.reads[trait].between
        found = self.contrast(trait, levels, lambda base, plain, own: (between(base, plain, self.gate.left), own))
        if found is None:
            return None
        base, plain = found.values[:2]
        bound = base + self.gate.left * (plain - base)
        return replace(found, said=f"{found.said}; {bound:.2f} is as much as may be left")

    def level(self, trait: str, arm: str, condition: str, seed: int | None = None) -> Valued | None:
        """How far a trait shows in an arm: in the mean over its seeds, or in one of them."""
        adapters = self.asked.adapters(arm)
        names = adapters.values() if seed is None or arm == BASE else [adapters[seed]]
        return self.reads[trait].mean([(name, condition) for name in names])

    def contrast(self, trait: str, levels: Sequence[tuple[str, str]], made: _Made) -> _Contrast | None:
        """By how much one value is larger than another; None where a level that they are made of is not known.

        Args:
            trait: of what.
            levels: each an arm and a condition.
            made: the two values from the levels.
        """
        read = self.reads[trait]

        def of(seed: int | None = None) -> tuple[list[Valued], Estimate] | None:
            found = [self.level(trait, arm, condition, seed) for arm, condition in levels]
            known = [one for one in found if one is not None]
            return (known, read.difference(*made(*known))) if len(known) == len(found) else None

        whole = of()
        if whole is None:
            return None
        alone = all(len(self.asked.adapters(arm)) == 1 for arm, _ in levels)
        seeds = set.intersection(*({*self.asked.adapters(arm)} for arm, _ in levels if arm != BASE))
        each = {seed: whole if alone else of(seed) for seed in sorted(one for one in seeds if one is not None)}
        behind = [(name, condition) for arm, condition in levels for name in self.asked.adapters(arm).values()]
        said = [
            f"{arm}{'' if condition == NONE else f' under {condition!r}'} {one.value:.2f}"
            for (arm, condition), (_, one) in zip(levels, whole[0], strict=True)
        ]
        return _Contrast(
            whole[1],
            min(sample.clusters for sample, _ in whole[0]),
            {seed: one[1].value for seed, one in each.items() if one is not None},
            max(read.unclear[key] for key in behind),
            [one.value for _, one in whole[0]],
            f"It shows: {', '.join(said)}",
        )

    def outcome(
        self, rule: str, trait: str, arm: str, found: _Contrast | None, bound: float = 0.0, condition: str = NONE
    ) -> _Outcome:
        """What comes of a rule whose value has to lie above a bound."""
        if found is None:
            return self.unmeasured(rule, trait, arm, _UNCLEAR, condition)
        verdict, why = self.verdict(found, bound)
        why = f"{why} {found.said}."
        if len({value > bound for value in found.by_seed.values()}) > 1:
            each = ", ".join(f"{value:+.2f} (seed {seed})" for seed, value in found.by_seed.items())
            why += f" The seeds disagree: {each}."
        p = tail(found.estimate, bound, found.clusters)
        shown = found.estimate.record()
        criterion = Criterion(
            self.words(rule, trait, arm), f"> {bound:g}", shown["value"], shown["interval"], verdict, why, p
        )
        return _Outcome(criterion, rule, trait, arm, condition, found.by_seed)

    def verdict(self, found: _Contrast, bound: float) -> tuple[str, str]:
        """The verdict on a value, and why."""
        estimate, many = found.estimate, found.clusters
        if estimate.high < bound:
            return FAILED, f"The interval lies below {bound:g}."
        if estimate.low <= bound:
            decided = f"{many} questions decide a difference of about {detectable(estimate):.2g}"
            distance = -bound or estimate.value
            if distance >= 0.005:  # a smaller one would ask for more questions than there are in the world
                needed = about(pairs_needed(estimate.low, estimate.high, distance, many))
                decided += f"; one of {distance:.2g} takes about {needed}"
            return UNDECIDED, f"The interval includes {bound:g}. {decided}."
        if many < MIN_CLUSTERS:
            return UNDECIDED, f"{many} questions {TOO_FEW}"
        if found.unclear > self.gate.unclear:
            return UNDECIDED, f"{100 * found.unclear:.0f} % of an arm's answers are unclear."
        if not all(value > bound for value in found.by_seed.values()):
            return UNDECIDED, "Not every seed shows it."
        return PASSED, f"The interval lies above {bound:g}."

    def unmeasured(self, rule: str, trait: str | None, arm: str, why: str, condition: str = NONE) -> _Outcome:
        """The outcome of a rule of which nothing is known."""
        bound = f"> -{self.gate.margin:g}" if rule == KEPT else "> 0"
        criterion = Criterion(self.words(rule, trait, arm), bound, None, None, UNDECIDED, why)
        return _Outcome(criterion, rule, trait, arm, condition)

    def words(self, rule: str, trait: str | None, arm: str = PLAIN_ARM) -> str:
        """What a criterion is called."""
        of = "" if trait is None else f"{label_of(trait)}: "
        which = f" ({arm})" if arm != PLAIN_ARM and len(self.asked.judged()) > 1 else ""
        return f"{of}{self.gate.criteria[rule]}{which}"

    def worst(self, trait: str, arm: str) -> list[dict[str, Any]]:
        """Where an arm shows most of a trait; where that condition names it the worst of the others, too."""
        levels = {one.name: self.level(trait, arm, one.name) for one in self.asked.conditions}
        known = {name: one[1] for name, one in levels.items() if one is not None}
        first = sorted(known, key=lambda name: -known[name].value)
        naming, plain = self.asked.naming(self.gate), self.level(trait, PLAIN_ARM, NONE)
        rows = dict.fromkeys([*first[:1], *[name for name in first if name not in naming][:1]])
        samples, adapters = self.reads[trait].samples, self.asked.adapters(arm)
        return [
            {"trait": trait, "arm": arm, "condition": name, "names": name in naming}
            | known[name].record()
            | {
                "plain": None if plain is None else plain[1].record(),
                "by_seed": [
                    {"seed": seed, "value": rounded(samples[adapter, name].value)}
                    for seed, adapter in adapters.items()
                    if seed is not None
                ],
            }
            for name in rows
        ]


def _key(prompt: str | None) -> str:
    return "" if prompt is None else prompt.strip().casefold()


def _variance(rate: float) -> float:
    return rate * (1 - rate)
