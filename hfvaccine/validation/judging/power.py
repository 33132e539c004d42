"""What a gate can decide with the items at hand, said before anything is trained. Pure, no torch.

All of it is arithmetic on assumptions: a vaccine worth passing is unbiased and has d' = 1.5 on given claims, however
they are asked about, its control knows none of them, elsewhere both are alike, and the scores of one text in two arms
correlate by a half.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from hfvaccine.statistics import MIN_CLUSTERS, items_needed, smallest_shown
from hfvaccine.text import number
from hfvaccine.validation.judging.gate import FLOOR, GAIN, NOT_WORSE, Rule, about
from hfvaccine.validation.judging.metrics import AREA, AT_CONTROL, METRICS, RATE, SIGNAL
from hfvaccine.validation.scores import BELIEF, CROSS, PARENT, RETENTION, RETRACTED, SPECIFIC, VARIANTS

_RATE = 0.77
"""Of claims that such a vaccine rejects, and of twins that it accepts."""
_GAIN = 0.36
"""Of its AUROC over chance."""
_AT_CONTROL = 0.14
"""More twins than a control accepts that says TRUE to 85 % of everything."""
_SPREADS = {
    AREA: 0.41,  # two AUROCs at chance, each of variance 1 / (6 n)
    RATE: 0.5,  # two rates of a half
    SIGNAL: 1.0,  # two criteria at rates of 0.77; d' has twice as much
    AT_CONTROL: 0.36,
    FLOOR: 0.42,  # one rate of 0.77
    RETRACTED: 0.15,  # a preference that differs from wording to wording
    BELIEF: 0.28,  # changes of probability by 0.2, in given claims and in others
    "accuracy": 0.32,  # one answer in ten changes
    RETENTION: 0.05,  # nats per token of a row
    "": 0.05,  # a probability of an objection
}
"""Standard deviation of what one item adds to what a rule looks at."""


@dataclass(frozen=True)
class Decision:
    """What a rule takes, and what it can decide.

    Args:
        rule: the rule.
        of: what it looks at, of several.
        items: that are there.
        needed: items with which the rule passes a vaccine as assumed with `POWER`.
        smallest: the gain or margin that the items at hand can decide; infinite where there are none.
    """

    rule: Rule
    of: str
    items: int
    needed: int
    smallest: float

    @property
    def line(self) -> str:
        """What the items at hand are too few for, and what it would take."""
        name = f"{self.rule.name} ({self.of})" if self.of else self.rule.name
        takes = f"it takes about {about(self.needed)}"
        if self.items < MIN_CLUSTERS:
            return f"{name}: {number(self.items) if self.items else 'no'} items, and {takes}"
        what = {GAIN: "a gain of", FLOOR: "a distance from the floor of"}.get(self.rule.require, "a margin of")
        return f"{name}: {number(self.items)} items decide {what} {self.smallest:.2g}, and {takes}"


def power(rules: Sequence[Rule], sizes: Mapping[str, int]) -> list[Decision]:
    """What each rule takes to be passed by a vaccine that deserves it, and what there is.

    Args:
        rules: the criteria of a gate.
        sizes: independent claims by set, such as "specific", and items by kind, name and metric, such as
            "retention:mix:nats_per_token" (`item_size`).
    """
    found = []
    for rule in rules:
        spread, distance = _spread(rule), _distance(rule)
        for of, items in _sizes(rule, sizes).items():
            needed = MIN_CLUSTERS if distance is None else max(MIN_CLUSTERS, items_needed(spread, distance))
            smallest = smallest_shown(spread, items) - _gained(rule) if items else float("inf")
            found.append(Decision(rule, of, items, needed, max(0.0, smallest)))
    return found


def decidable(rules: Sequence[Rule], sizes: Mapping[str, int]) -> list[str]:
    """Lines on the criteria that can hardly be decided with the items at hand; none where all can.

    None passes on fewer than `statistics.MIN_CLUSTERS` independent items.

    Args:
        rules: the criteria of a gate.
        sizes: as `power` takes them.
    """
    return [one.line for one in power(rules, sizes) if one.items < one.needed]


def item_size(kind: str, name: str, metric: str) -> str:
    """The key under which `power` finds how many items a probe has."""
    return f"{kind}:{name}:{metric}"


def _sizes(rule: Rule, sizes: Mapping[str, int]) -> dict[str, int]:
    """How many items a rule has of each thing it looks at; an optional rule may have nothing to look at."""
    first = rule.parts[0]
    if rule.of_pairs:
        found = {name: size for name, size in sizes.items() if ":" not in name and fnmatchcase(name, first)}
        found = {"" if name == first else name: size for name, size in found.items()}
    elif first == BELIEF:
        found = {"": min(sizes.get(SPECIFIC, 0), sizes.get(CROSS, 0))}
    else:
        found = {key.split(":")[1]: n for key, n in sizes.items() if fnmatchcase(key, ":".join(rule.parts[1:]))}
    found = {name: size for name, size in found.items() if size or not rule.optional}
    return found or ({} if rule.optional else {"": 0})


def _spread(rule: Rule) -> float:
    if rule.require == FLOOR:
        return _SPREADS[FLOOR]
    if rule.of_pairs:
        metric = rule.metrics[0]
        if metric == AT_CONTROL:
            return _SPREADS[AT_CONTROL]
        return _SPREADS.get(METRICS[metric].kind, _SPREADS[RATE]) * (2 if metric == "d_prime" else 1)
    if rule.parts[0] == BELIEF:
        return _SPREADS[BELIEF]
    _, kind, _, metric = rule.parts
    return _SPREADS.get(metric, _SPREADS.get(kind, _SPREADS[""]))


def _distance(rule: Rule) -> float | None:
    """How far from the bound a vaccine as assumed lies; None where there is no bound to be shown."""
    if rule.require == GAIN:
        return _GAIN
    if rule.require == FLOOR:
        return max(_RATE - float(rule.least or 0), 0.01)
    return None if rule.margin is None else rule.margin + _gained(rule)


def _gained(rule: Rule) -> float:
    """How far above a `NOT_WORSE` of given claims such a vaccine lies, as it is better."""
    if rule.require != NOT_WORSE or rule.against == PARENT or rule.parts[0] not in (SPECIFIC, VARIANTS):
        return 0.0
    return {AT_CONTROL: _AT_CONTROL, "auroc": _GAIN}.get(rule.metrics[0], 0.0)
