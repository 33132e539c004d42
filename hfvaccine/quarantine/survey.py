"""What a quarantine holds, counted: how much, how varied, how far reviewed, and what was done to it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from hfvaccine.claims.journal import Entry
from hfvaccine.quarantine.policy import Policy
from hfvaccine.quarantine.review import AWAITING, STATES, states
from hfvaccine.text import clean

NOT_SET = "not set"
"""Stands for a value that a row lacks."""

TALLIED = ("domain", "tactic", "language", "source", "license", "harm", "verdict", "split")
DIVERSE = ("domain", "tactic", "language", "source")
"""A dose that is all of one kind teaches that kind; so for these it is counted how varied the claims are."""

MOST_ROWS = 12
"""Values of a tally shown before the rest is summed up."""
MOST_NAMED = 4
"""Names of a list in the journal that are shown; of a longer one only how many it has."""
LONGEST_NAME = 40
"""Letters of a value where it stands beside others in a row."""
BINS = (1, 2, 3, 4, 5, 10, 20, 50, 100)
"""Where each bar of the cluster sizes begins."""

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""Title, columns and rows, all of them text in one line."""
Bar = tuple[str, int, float]
"""A value, how many have it, and which part of all that is."""
Chart = tuple[str, str, str, list[Bar]]
"""Title, what the values are, what is counted, and the bars."""


@dataclass(frozen=True)
class Diversity:
    """How varied the claims are in one respect, over those that say it.

    Args:
        values: how many different values there are.
        largest: the most frequent one; "" where there is none.
        share: the part of all that the largest has; 0 where there is none.
        effective: how many equally frequent values would be as varied: exp(H) with the Shannon entropy
            H = -sum of p ln p over the shares p. It is the diversity of order 1 of M. O. Hill, "Diversity and
            evenness: a unifying notation and its consequences", Ecology 54 (1973), 427-432.
    """

    values: int
    largest: str
    share: float
    effective: float

    @classmethod
    def of(cls, tally: Mapping[str, int]) -> Diversity:
        """The diversity of counts; what is not set does not count."""
        counts = {value: count for value, count in tally.items() if value != NOT_SET and count}
        total = sum(counts.values())
        if not total:
            return cls(0, "", 0.0, 0.0)
        largest = max(counts, key=lambda value: (counts[value], value))
        entropy = -math.fsum(count / total * math.log(count / total) for count in counts.values())
        return cls(len(counts), largest, counts[largest] / total, math.exp(entropy))


@dataclass(frozen=True)
class Survey:
    """The counts of one quarantine.

    Args:
        claims: all rows.
        clusters: falsehoods, paraphrases counted once.
        with_correction, with_twin, with_question: rows that have one.
        sourced: rows that name a source.
        tallies: for each of `TALLIED`, rows by value, the most frequent first; a row counts for each publisher
            that it names once.
        diversity: for each of `DIVERSE`.
        cluster_sizes: clusters by how many claims they hold.
        submitters: rows by who brought them in or changed them; a row of two people counts for both.
        review: rows by how far their review is, each of `review.STATES`.
        stale: rows, in any of these states, that were edited after somebody decided on them.
        lint_off: the lint rules that the policy does not apply.
        overlaps: rows by evaluation set that asks about them.
        rejects: rows that were not taken, by rule.
        timeline: every act, the first one first.
        states: how far the review of each claim is that somebody decided on, by claim id; all others are awaiting.
    """

    claims: int
    clusters: int
    with_correction: int
    with_twin: int
    with_question: int
    sourced: int
    tallies: Mapping[str, Mapping[str, int]]
    diversity: Mapping[str, Diversity]
    cluster_sizes: Mapping[int, int]
    submitters: Mapping[str, int]
    review: Mapping[str, int]
    stale: int
    lint_off: tuple[str, ...]
    overlaps: Mapping[str, int]
    rejects: Mapping[str, int]
    timeline: tuple[Entry, ...]
    states: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; of single claims nothing."""
        fields = {name: value for name, value in asdict(replace(self, states={})).items() if name != "states"}
        fields["cluster_sizes"] = {str(size): count for size, count in self.cluster_sizes.items()}
        fields["timeline"] = [{"at": e.at, "act": e.act, "by": e.by, "what": _counted(e.what)} for e in self.timeline]
        fields["lint_off"] = list(self.lint_off)
        return fields


def survey(
    table: pa.Table, history: Sequence[Entry], policy: Policy, rejects: Iterable[Mapping[str, Any]] = ()
) -> Survey:
    """Count what a quarantine holds. A million rows take seconds, and no row becomes an object.

    Args:
        table: all rows, as `Quarantine.table` gives them.
        history: all acts, as `Quarantine.history` gives them.
        policy: the rules, for the state of the review and the lint rules that are off.
        rejects: the rows that were not taken, as `Quarantine.rejects` gives them.
    """
    tallies = {name: _sources(table) if name == "source" else _tally(table[name]) for name in TALLIED}
    clusters = table["cluster_id"].value_counts()
    sizes = {pair["values"]: pair["counts"] for pair in clusters.field("counts").value_counts().to_pylist()}
    submitters: Counter[str] = Counter()
    for names, count in _tally(table["submitted_by"]).items():
        submitters.update(dict.fromkeys(names.split(", "), count))
    overlaps: Counter[str] = Counter()
    for chunk in table["overlaps"].chunks:
        overlaps.update(_counts(chunk.flatten()))
    reviewed, stale = states(table, history, policy)
    reached = Counter(reviewed.values())
    reached[AWAITING] += table.num_rows - len(reviewed)
    return Survey(
        claims=table.num_rows,
        clusters=len(clusters),
        with_correction=_filled(table["correction"]),
        with_twin=_filled(table["twin"]),
        with_question=_filled(table["question"]),
        sourced=int(pc.sum(pc.greater(pc.list_value_length(table["sources"]), 0)).as_py() or 0),
        tallies=tallies,
        diversity={name: Diversity.of(tallies[name]) for name in DIVERSE},
        cluster_sizes=dict(sorted(sizes.items())),
        submitters=_ordered(submitters),
        review={name: reached[name] for name in STATES},
        stale=stale,
        lint_off=tuple(policy.lint_off),
        overlaps=_ordered(overlaps),
        rejects=_ordered(Counter(str(reject.get("rule")) for reject in rejects)),
        timeline=tuple(history),
        states=reviewed,
    )


def held(survey: Survey) -> list[Bar]:
    """What the quarantine holds: claims, clusters, and how many claims have what a claim can have."""
    counts = [
        ("claims", survey.claims),
        ("clusters", survey.clusters),
        ("with a correction", survey.with_correction),
        ("with a twin", survey.with_twin),
        ("with a question", survey.with_question),
        ("with a source", survey.sourced),
        *([("edited after a decision", survey.stale)] if survey.stale else []),
    ]
    return [(name, count, _share(count, survey.claims)) for name, count in counts]


def tables(survey: Survey) -> list[Table]:
    """The survey as tables for a terminal or a page; what has nothing to show is left out."""
    variety: list[tuple[str, ...]] = [
        (name, f"{d.values:,}", _short(d.largest), _percent(d.share), f"{d.effective:.1f}")
        for name, d in survey.diversity.items()
        if d.values
    ]
    acts: list[tuple[str, ...]] = [(_when(e.at), _line(e.act), _line(e.by), _details(e.what)) for e in survey.timeline]
    found: list[Table] = [
        ("What it holds", ("", "claims", "share"), _rows(held(survey))),
        ("Variety", ("", "values", "largest", "its share", "effective"), variety),
        *((title, (name, counted, "share"), _rows(rows)) for title, name, counted, rows in charts(survey)),
        ("Lint rules that are off", ("rule",), [(_line(rule),) for rule in survey.lint_off]),
        ("What was done", ("when", "act", "by", "what"), acts),
    ]
    return [table for table in found if table[2]]


def charts(survey: Survey) -> list[Chart]:
    """All that is counted by value: what could be drawn as bars."""
    tallies = [
        (name.capitalize(), name, "claims", bars(survey.tallies[name], survey.claims))
        for name in TALLIED
        if set(survey.tallies[name]) - {NOT_SET}
    ]
    return [
        ("Review", "state", "claims", bars(survey.review, survey.claims)),
        *tallies,
        ("Claims in a cluster", "claims", "clusters", bars(binned(survey.cluster_sizes), survey.clusters)),
        ("Brought in by", "name", "claims", bars(survey.submitters, survey.claims)),
        ("Asked about by evaluation sets", "set", "claims", bars(survey.overlaps, survey.claims)),
        ("Not taken", "rule", "rows", bars(survey.rejects, sum(survey.rejects.values()))),
    ]


def bars(tally: Mapping[str, int], total: int) -> list[Bar]:
    """The values of a tally with count and share, those after `MOST_ROWS` summed up; none where there is nothing."""
    values = list(tally.items()) if total else []
    shown = values if len(values) <= MOST_ROWS + 1 else values[:MOST_ROWS]
    rest = values[len(shown) :]
    if rest:
        shown = [*shown, (f"{len(rest):,} more", sum(count for _, count in rest))]
    return [(value, count, _share(count, total)) for value, count in shown]


def binned(sizes: Mapping[int, int]) -> dict[str, int]:
    """Cluster sizes by the bins of `BINS`, empty ones left out."""
    found: dict[str, int] = {}
    for low, after in zip(BINS, (*BINS[1:], None), strict=True):
        count = sum(n for size, n in sizes.items() if size >= low and (after is None or size < after))
        if count:
            last = None if after is None else after - 1
            found[f"{low}" if last == low else f"{low} or more" if last is None else f"{low} to {last}"] = count
    return found


def _tally(column: pa.ChunkedArray) -> dict[str, int]:
    return _ordered(_counts(column))


def _counts(column: Any) -> Counter[str]:
    """How often each text of an Arrow column occurs, with what is null or blank under `NOT_SET`."""
    found: Counter[str] = Counter()
    for pair in column.value_counts().to_pylist():
        value = pair["values"]  # "none" is a tactic, so only what is empty counts as missing
        found[value if value and not value.isspace() else NOT_SET] += pair["counts"]
    return found


def _sources(table: pa.Table) -> dict[str, int]:
    """Rows by publisher; one that names a publisher twice counts once, one without a source is not set."""
    found: Counter[str] = Counter()
    for chunk in table["sources"].chunks:
        cited = pa.table({"row": pc.list_parent_indices(chunk), "publisher": pc.struct_field(chunk.flatten(), [0])})
        found.update(_counts(cited.group_by(["row", "publisher"]).aggregate([])["publisher"]))
        found[NOT_SET] += len(chunk) - pc.count_distinct(cited["row"]).as_py()
    return _ordered(found)


def _filled(column: pa.ChunkedArray) -> int:
    return int(pc.sum(pc.not_equal(pc.utf8_trim_whitespace(column), "")).as_py() or 0)


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(((v, n) for v, n in counts.items() if n), key=lambda pair: (-pair[1], pair[0])))


def _rows(bars: Iterable[Bar]) -> list[tuple[str, ...]]:
    return [(_line(value), f"{count:,}", _percent(share)) for value, count, share in bars]


def _share(count: int, total: int) -> float:
    return count / total if total else 0.0


def _when(at: str) -> str:
    return _line(at.replace("T", " ").replace("+00:00", " UTC"))


_DIGESTS = ("sha256", "files", "canary")


def _details(what: Mapping[str, Any]) -> str:
    """The details of an act in one line; digests say nothing to a reader."""
    said = {key: value for key, value in what.items() if value is not None and not key.endswith(_DIGESTS)}
    return _line("; ".join(f"{key.replace('_', ' ')}: {_value(value)}" for key, value in said.items()))


def _counted(what: Mapping[str, Any]) -> dict[str, Any]:
    """The details of an act, with how many decisions there are in the place of decisions."""
    return {key: len(value) if _names(value) is None else value for key, value in what.items()}


def _names(value: object) -> list[str] | None:
    """The names in a list, of a value by itself none; None for a list of things that have no name."""
    if not isinstance(value, list | tuple):
        return []
    named = [one.get("name") if isinstance(one, Mapping) else one for one in value]
    names = [name for name in named if isinstance(name, str)]
    return names if len(names) == len(named) else None


def _value(value: object) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{key} {_value(one)}" for key, one in value.items()) + ")"
    if isinstance(value, list | tuple):
        names = _names(value)
        return f"{len(value):,}" if names is None or len(names) > MOST_NAMED else ", ".join(names)
    return f"{value:,}" if type(value) is int else str(value)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _short(value: str) -> str:
    shown = _line(value)
    return shown if len(shown) <= LONGEST_NAME else shown[: LONGEST_NAME - 1] + "…"


def _line(value: object) -> str:
    return clean(value) or "–"
