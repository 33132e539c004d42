"""One fact-checked falsehood as a record, and the one schema it is stored under."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfvaccine.errors import ClaimError

if TYPE_CHECKING:
    import pyarrow as pa

TACTICS = (
    "none",
    "hedged_assertion",
    "false_presupposition",
    "citation_fabrication",
    "emotive_amplification",
    "false_balance",
    "temporal_manipulation",
)
TEXTS = ("claim", "correction", "twin", "question")
"""The columns that hold a sentence."""
CLOSING = ".!?\u3002\u0964\u0965\u061f\u06d4\u1362\u1367"
"""What ends a sentence: beside our own signs the full stops of Chinese and Japanese, Hindi and its kin, Urdu and
Amharic, and the question marks of Arabic and Amharic. NFKC makes the wide signs ours."""
RATED_HARMS = ("low", "medium", "high")
HARMS = ("unrated", *RATED_HARMS)
SPLITS = ("dose", "heldout")
VARIANT_KINDS = ("register", "polarity", "paraphrase", "implication")


@dataclass(frozen=True)
class Source:
    """Where a correction is established.

    Args:
        publisher: who says it.
        title: the page or document that says it.
        url: its address, only where known for sure.
        checked_on: ISO date on which somebody opened it; None when nobody has yet.
    """

    publisher: str
    title: str
    url: str | None = None
    checked_on: str | None = None


@dataclass(frozen=True)
class Variant:
    """The falsehood of a claim in other words, or what follows from it: never given, only asked.

    Args:
        claim: the false statement.
        twin: `claim` minimally edited into a true statement, which follows from the row's correction.
        kind: how it differs from the row's claim, one of `VARIANT_KINDS`.

    Raises:
        ClaimError: for a missing side, or another kind.
    """

    claim: str
    twin: str
    kind: str = "paraphrase"

    def __post_init__(self) -> None:
        for name in ("claim", "twin"):
            if is_blank(getattr(self, name)):
                raise ClaimError(
                    f"A variant has no {name}.", "A variant is asked two-sidedly: give it both, or leave it out."
                )
        if self.kind not in VARIANT_KINDS:
            raise ClaimError(f"A variant has kind {self.kind!r}.", f"Use one of: {', '.join(VARIANT_KINDS)}.")


@dataclass(frozen=True)
class Claim:
    """One falsehood with what is true instead (DESIGN: the claim row).

    Args:
        claim: the falsehood, as one declarative sentence.
        correction: what is true, as it would be said to somebody who asked; stands alone.
        twin: the claim minimally edited into a true statement.
        question: a neutral question whose wrong answer is the claim.
        verdict: the fact-check's rating of `claim`.
        domain: subject area, such as "health".
        tactic: how the falsehood persuades, one of `TACTICS`.
        language: BCP 47 code.
        sources: where the correction is established.
        checker: who compared the claim with its sources.
        license: SPDX identifier of this row's text.
        harm: what it would do if believed, one of `HARMS`.
        overlaps: names of evaluation sets that ask about the same falsehood.
        variants: the falsehood in other words, each with a twin of its own.
        cluster_id: paraphrases of one falsehood share it; defaults to `claim_id`.
        split: "dose" (may be given) or "heldout" (never given, only probed).
        submitted_by: who brought the claim in.
        reviewers: who approved it, each bound to the digest of the whole row.

    Raises:
        ClaimError: naming the field that is missing or out of its range.
    """

    claim: str
    correction: str
    twin: str | None = None
    question: str | None = None
    verdict: str = "false"
    domain: str = "general"
    tactic: str = "none"
    language: str = "en"
    sources: tuple[Source, ...] = ()
    checker: str = ""
    license: str = ""
    harm: str = "unrated"
    overlaps: tuple[str, ...] = ()
    variants: tuple[Variant, ...] = ()
    cluster_id: str = ""
    split: str = "dose"
    submitted_by: str = ""
    reviewers: tuple[dict[str, str], ...] = ()
    claim_id: str = field(default="")

    def __post_init__(self) -> None:
        shown = repr(str(self.claim)[:60])
        for name in ("claim", "correction"):
            if is_blank(getattr(self, name)):
                raise ClaimError(
                    f"The claim {shown} has no {name}.",
                    "A falsehood is only ever given with its correction: fill the field or drop the row.",
                )
        for name, allowed in (("tactic", TACTICS), ("harm", HARMS), ("split", SPLITS)):
            if getattr(self, name) not in allowed:
                raise ClaimError(
                    f"The claim {shown} has {name} {getattr(self, name)!r}.", f"Use one of: {', '.join(allowed)}."
                )
        expected = claim_id(self.claim, self.language)
        if self.claim_id and self.claim_id != expected:
            raise ClaimError(
                f"The claim {shown} carries id {self.claim_id}, but its text hashes to {expected}.",
                "The text was edited after it got its id: clear `claim_id` so that it is derived again.",
            )
        object.__setattr__(self, "claim_id", expected)
        object.__setattr__(self, "cluster_id", self.cluster_id or expected)

    @property
    def falsehoods(self) -> tuple[str, ...]:
        """Everything false that the row says, and that no loss may fall on."""
        return (self.claim, *(variant.claim for variant in self.variants))

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that the row says: what nothing else may nearly say that is to be independent of it."""
        sides = (text for variant in self.variants for text in (variant.claim, variant.twin))
        return tuple(text for text in (self.claim, self.correction, self.twin, self.question, *sides) if text)

    def digest(self) -> str:
        """SHA-256 over the whole row but its reviewers: what an approval is bound to."""
        row = {**vars(self), "sources": [vars(source) for source in self.sources]}  # asdict takes three times as long
        row["variants"] = [vars(variant) for variant in self.variants]
        row.pop("reviewers")
        if not self.variants:
            row.pop("variants")  # so that what was approved before there were any is approved still
        return hashlib.sha256(json.dumps(row, sort_keys=True, ensure_ascii=False).encode()).hexdigest()

    def to_row(self) -> dict[str, Any]:
        """The claim as a plain dict in the column order of `arrow_schema`."""
        row = dataclasses.asdict(self)
        return {name: list(row[name]) if isinstance(row[name], tuple) else row[name] for name in COLUMNS}

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Claim:
        """A claim from a mapping; None for an absent value, unknown columns refused.

        Raises:
            ClaimError: naming the column or the value.
        """
        if not isinstance(row, Mapping):
            raise ClaimError(f"A claim row is {row!r:.40}.", "Each row must be one object with named fields.")
        unknown = sorted(set(row) - set(COLUMNS))
        if unknown:
            raise ClaimError(
                f"Unknown column(s): {', '.join(unknown)}.", f"A claim row has these columns: {', '.join(COLUMNS)}."
            )
        values = {"claim": "", "correction": "", **{name: one for name, one in row.items() if one is not None}}
        try:
            values["sources"] = tuple(Source(**source) for source in values.get("sources", ()))
            values["overlaps"] = tuple(values.get("overlaps", ()))
            values["variants"] = tuple(Variant(**variant) for variant in values.get("variants", ()))
            values["reviewers"] = tuple(dict(reviewer) for reviewer in values.get("reviewers", ()))
            for optional in ("twin", "question"):
                if is_blank(values.get(optional)):
                    values.pop(optional, None)
            for name in set(values) - {"claim", "correction", *LISTS}:
                if not isinstance(values[name], str):
                    raise TypeError(f"{name} is {values[name]!r:.40}, not a text")
            return cls(**values)
        except (TypeError, ValueError) as error:
            raise ClaimError(
                f"A claim row is malformed: {error}.", "See `hfvaccine.claims.claim.Claim` for its fields."
            ) from error


LISTS = ("sources", "overlaps", "variants", "reviewers")
"""The columns that hold several values."""
COLUMNS = ("claim_id", *(f.name for f in dataclasses.fields(Claim) if f.name != "claim_id"))


def is_blank(value: object) -> bool:
    """Whether a text is missing in one of the ways real files spell it ("nan", "none", "-")."""
    if not isinstance(value, str):
        return True
    bare = value.strip()
    return len(bare) < 5 and bare.lower() in {"", "nan", "none", "null", "n/a", "na", "-"}


def is_day(value: object) -> bool:
    """Whether a value is a day as YYYY-MM-DD."""
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def normalise(text: str) -> str:
    """NFKC, case-folded, white space folded, closing punctuation dropped: what a claim's identity rests on."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(CLOSING)


def claim_id(text: str, language: str) -> str:
    """Stable 16-hex identity of a claim: SHA-256 of its language and normalised text."""
    return hashlib.sha256(f"{language}\n{normalise(text)}".encode()).hexdigest()[:16]


def arrow_schema() -> pa.Schema:
    """The parquet schema of claim rows; the one place that defines it."""
    import pyarrow as pa

    source = pa.struct([(name, pa.string()) for name in ("publisher", "title", "url", "checked_on")])
    reviewer = pa.struct([(name, pa.string()) for name in ("reviewer", "decision", "digest", "decided_on")])
    variant = pa.struct([(name, pa.string()) for name in ("claim", "twin", "kind")])
    special = {
        "sources": pa.list_(source),
        "overlaps": pa.list_(pa.string()),
        "variants": pa.list_(variant),
        "reviewers": pa.list_(reviewer),
    }
    return pa.schema([(name, special.get(name, pa.string())) for name in COLUMNS])


def read_jsonl(path: Path) -> list[Claim]:
    """Claims from a JSON-lines file (split on "\\n" only).

    Raises:
        ClaimError: naming the line that is not a claim.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ClaimError(f"{path} cannot be read: {error}.", "Give a UTF-8 JSON-lines file.") from error
    claims = []
    for number, line in enumerate(lines, start=1):
        where = f"{path.name}, line {number}"
        try:
            claims += [Claim.from_row(json.loads(line))] if line.strip() else []
        except json.JSONDecodeError as error:
            raise ClaimError(f"{where}: not JSON ({error})", "Each line must be one JSON object.") from error
        except ClaimError as error:
            raise ClaimError(f"{where}: {error.message}", error.next_step) from error
    return claims
