"""How the rows of a collection are read as claim rows: by columns, by a label, and by what people say of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from hfvaccine.claims.claim import COLUMNS, TEXTS, is_blank
from hfvaccine.errors import UsageError
from hfvaccine.sources import claim_review, verdict
from hfvaccine.sources.verdict import FALSE, TRUE, UNCLEAR

Values = Mapping[str, Any]
Fits = Callable[[set[str], Sequence[Values]], bool]
"""Whether the columns of a source and its first rows are those of a collection."""
Rate = Callable[[Values], tuple[str, str]]
"""From a row to its verdict, and to what that rests on, such as "its label is 'REFUTES'"."""

SOURCE = ("publisher", "title", "url")
VARIANT = ("variant_claim", "variant_twin", "variant_kind")
"""Columns of one variant, where each row has one at most."""


@dataclass(frozen=True)
class Reading:
    """What a row says.

    Args:
        verdict: `FALSE` or `PANTS_ON_FIRE` (to be taken), `TRUE`, or `UNCLEAR`.
        rating: what the verdict rests on, as the end of a sentence.
        fields: fields of a claim row that the source fills, None where it leaves one empty.
    """

    verdict: str
    rating: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class ByLabel:
    """Rates a row by the value of a column.

    Args:
        column: its name.
        labels: label -> verdict; by default the verdict that a label's own name says.
        only: the labels of rows that are false, where no others are.
        blank: the verdict of a row that has no label.
    """

    column: str
    labels: Mapping[str, str] | None = None
    only: frozenset[str] = frozenset()
    blank: str | None = None

    def __call__(self, values: Values) -> tuple[str, str]:
        value = values.get(self.column)
        label = plain_label(value)
        if self.blank is not None and (value is None or (isinstance(value, str) and not value.strip())):
            return self.blank, ""
        if label in self.only:
            rated = FALSE
        elif self.only:
            rated = TRUE if verdict.of_name(label) == TRUE else UNCLEAR
        else:
            rated = verdict.of_name(label) if self.labels is None else self.labels.get(label, UNCLEAR)
        return rated, f"its {self.column} is {value!r:.60}" if rated not in verdict.TAKEN else ""


@dataclass(frozen=True)
class Shape:
    """A collection: how it is recognised, and how its rows are read.

    Args:
        name: what `--format` calls it.
        about: the collection, in a few words.
        fits: whether a source is of it.
        fields: field -> the column it is copied from.
        taken: which rows are false, in words.
        rate: the same as it is told, by default by the column "label".
        more: fields that take more than a copy.
        derived: field -> what `more` makes it from, in words.
        warning: what must be said before it is read.
    """

    name: str
    about: str
    fits: Fits
    fields: Mapping[str, str]
    taken: str
    rate: Rate = ByLabel("label")
    more: Callable[[Values], dict[str, Any]] = lambda values: {}
    derived: Mapping[str, str] = field(default_factory=dict)
    warning: str = ""

    def read(self, values: Values) -> Reading:
        """One row."""
        found = {name: values[column] for name, column in self.fields.items() if column in values}
        found.update(self.more(values))
        for name in TEXTS:
            if isinstance(found.get(name), str) and is_blank(found[name]):
                found[name] = None
        rated, rating = self.rate(values)
        return Reading(rated, rating, found)

    def describe(self, columns: Collection[str] | None = None) -> str:
        """What becomes of each column, for people to check before it is done.

        Args:
            columns: those of the source, where fields that it lacks are to be left out.
        """
        copied = {name: column for name, column in self.fields.items() if columns is None or column in columns}
        lines = {**copied, **self.derived}
        order = [*COLUMNS, *SOURCE, *VARIANT]
        width = max(map(len, lines))
        shown = [
            f"  {name:<{width}} <- {lines[name]}"
            for name in sorted(lines, key=lambda name: order.index(name) if name in order else len(order))
        ]
        if "license" not in lines:
            shown.append("  license is not known from the file; say it with --set license=ID")
        text = "\n".join([f"{self.name}: {self.about}", *shown, f"  taken: {self.taken}"])
        named = set(re.findall(r"[\w@]+", text))
        ignored = [c for c in map(str, columns or ()) if c not in named and not (" " in c and c in text)]
        return f"{text}\n  ignored: {', '.join(ignored)}" if ignored else text


def overlaid(
    base: Shape, mapping: Mapping[str, str], fixed: Mapping[str, str], false_labels: Collection[str]
) -> Shape:
    """A shape with what `formats.shape_of` is told besides: fields that go before its own, and which rows are false.

    Raises:
        UsageError: for labels where rows are not told by one.
    """
    rate, taken = base.rate, base.taken
    if "verdict" in mapping:
        rate, taken = ByLabel(mapping["verdict"]), f"rows whose {mapping['verdict']} says false"
    if "verdict" in fixed:
        said = verdict.of_name(fixed["verdict"])
        rate, taken = (lambda values: (said, "")), f"every row, as {said}"
    elif false_labels:
        if not isinstance(rate, ByLabel):
            raise UsageError(
                f"--false-label says nothing about {base.name}, whose rows are not told by a label.", "Leave it out."
            )
        rate = ByLabel(rate.column, only=frozenset(map(plain_label, false_labels)))
        taken = f"rows whose {rate.column} is {' or '.join(map(repr, false_labels))}"
    copied = {key: column for key, column in mapping.items() if key != "verdict"}
    given = {key: value for key, value in fixed.items() if key != "verdict"}
    if not copied and not given:
        return dataclasses.replace(base, rate=rate, taken=taken)
    told = {**copied, **{key: f"{value!r} in all rows" for key, value in given.items()}}
    sourced, varied = (not told.keys().isdisjoint(parts) for parts in (SOURCE, VARIANT))

    def more(values: Values) -> dict[str, Any]:
        found = {**base.more(values), **{key: values.get(column) for key, column in copied.items()}, **given}
        if sourced:
            found["sources"] = source_of(*(found.pop(key, None) for key in SOURCE))
        if varied:
            found["variants"] = variants_of(*(found.pop(key, None) for key in VARIANT))
        return found

    kept = {key: column for key, column in base.fields.items() if key not in told}
    gone = ["sources"] * sourced + ["variants"] * varied
    derived = {key: text for key, text in base.derived.items() if key not in gone}
    return dataclasses.replace(base, fields=kept, rate=rate, taken=taken, more=more, derived={**derived, **told})


def all_false(values: Values) -> tuple[str, str]:
    """Rates every row false."""
    return FALSE, ""


def plain_label(value: Any) -> str:
    """A label as it is compared: no case, no hyphens, 1.0 as 1."""
    return _plain_text("" if value is None else str(value))


@lru_cache(maxsize=4096)
def _plain_text(text: str) -> str:
    number = re.fullmatch(r"\s*(-?\d+(\.\d*?[1-9])?)(\.?0+)?\s*", text) if "." in text else None
    text = number[1] if number else text.strip()
    return text if re.fullmatch(r"-?[\d.]+", text) else verdict.plain(text)  # a minus is no punctuation


def source_of(publisher: Any = None, title: Any = None, url: Any = None) -> list[dict[str, Any]]:
    """One source, or none where nothing is known of it; what is not said is taken from the address."""
    parts = [
        part.strip() if isinstance(part, str) and not is_blank(part) else None for part in (publisher, title, url)
    ]
    publisher, title, url = parts
    if url and not re.match(r"https?://", url):
        title, url = title or url, None
    if not any((publisher, title, url)):
        return []
    publisher = publisher or claim_review.host(url) or title
    return [{"publisher": publisher, "title": title or url or publisher, "url": url, "checked_on": None}]


def variants_of(claim: Any = None, twin: Any = None, kind: Any = None) -> list[dict[str, Any]]:
    """One variant, or none where a row has neither side of one."""
    if is_blank(claim) and is_blank(twin):
        return []
    return [{"claim": claim, "twin": twin, "kind": "paraphrase" if is_blank(kind) else kind}]
