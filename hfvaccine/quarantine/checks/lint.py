"""Lint: what is wrong with draft rows, as far as wording and form can tell, and the mends that change no word.

Each rule is a plain function on one draft and tells of one fault; errors keep a row out of a dose, warnings are for a
person to weigh.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import pyarrow as pa

from hfvaccine.claims.claim import TEXTS, claim_id, is_blank, normalise
from hfvaccine.errors import UsageError
from hfvaccine.quarantine.checks.characters import mend_text
from hfvaccine.quarantine.checks.rules import MAY_BE_EMPTY, RULES, Draft
from hfvaccine.workers import in_order

OF_A_VARIANT = (
    *("twin-not-true-shaped", "twin-adds-much", "distant-twin", "language-mismatch", "length", "html", "markup"),
    *("control-characters", "garbled-text", "decomposed-letters", "white-space", "blanked-word", "not-a-statement"),
    "unbalanced-quotes",
)
"""The rules that hold for the two sides of a variant as they do for claim and twin."""
TRUE_AND_FALSE = "true-and-false"
"""The rule that also looks at what other rows say."""
PART = 2000
"""Rows that are looked at in one go."""
COMPARED = 500
"""Letters of the longest twin or correction that is looked for among the claims."""


class LintFinding(NamedTuple):
    """One fault of one row.

    Args:
        claim_id: the row.
        origin: file and line it came from.
        field: the column at fault.
        rule: a name of `RULES`.
        severity: the rule's.
        message: what is wrong, in one sentence.
        mend: what to do about it.
    """

    claim_id: str
    origin: str
    field: str
    rule: str
    severity: str
    message: str
    mend: str


def lint(
    rows: Iterable[Mapping[str, Any]] | pa.Table,
    *,
    off: Collection[str] = (),
    truths: Collection[str] = frozenset(),
    contradicted: Collection[str] = frozenset(),
    today: date | None = None,
    workers: int = 1,
) -> Iterator[LintFinding]:
    """Everything the rules find, in one pass; what only shows between rows comes last.

    Args:
        rows: draft rows, as in `store.SCHEMA`; of a table, each process takes out its own.
        off: rules not to apply.
        truths: claims that a source rates true.
        contradicted: claims that sources rate differently.
        today: the day after which no source can have been checked, by default today.
        workers: processes that look at rows, beside the one that reads them where they are more than one.

    Raises:
        UsageError: for a rule in `off` that does not exist.
    """
    refuse_unknown(off)
    # The day may have begun already where the row was written.
    last = (today or (datetime.now(UTC) + timedelta(hours=14)).date()).isoformat()
    look = partial(_looking, frozenset(off), frozenset(truths), frozenset(contradicted), last)
    told = _Truths()
    if isinstance(rows, pa.Table):
        # Pickled as it is, a batch would take the whole table along.
        parts: Iterable[Any] = ((rows.schema, batch.serialize()) for batch in rows.to_batches(max_chunksize=PART))
    else:
        parts = _parts(rows)

    def found() -> Iterator[LintFinding]:
        for its, more in in_order(look, parts, workers):
            told.extend(more)
            yield from its
        yield from told.findings()

    return found()


def _parts(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    remaining = iter(rows)
    while part := list(islice(remaining, PART)):
        yield part


def refuse_unknown(names: Iterable[str]) -> None:
    """See that all of these are rules.

    Raises:
        UsageError: naming those that are not.
    """
    unknown = sorted(set(names) - set(RULES))
    if unknown:
        raise UsageError(f"There is no lint rule {', '.join(unknown)}.", f"The rules are: {', '.join(RULES)}.")


def fix(row: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A row with all done that can be done without changing a word.

    HTML is made plain, invisible characters are taken out, accents joined to their letters, white space made single
    spaces, and fields that say "nan" or the like made empty. A claim of which nothing would be left stays as it is.
    If the claim's text changes, its id is derived anew, and the id of a cluster that it alone gives its name to.

    Args:
        row: a draft row; not changed.

    Returns:
        The mended row, and the names of the rules that it no longer breaks.
    """
    mended = dict(row)
    applied: set[str] = set()
    for name in TEXTS:
        text = row.get(name)
        if isinstance(text, str):
            plain, rules = mend_text(text)
            if name != "claim" or not is_blank(plain):
                mended[name] = plain
                applied |= rules
    variants = []
    for variant in row.get("variants") or ():
        sides = {name: mend_text(variant[name]) for name in ("claim", "twin") if isinstance(variant.get(name), str)}
        variants.append({**variant, **{name: plain for name, (plain, _) in sides.items()}})
        applied = applied.union(*(rules for _, rules in sides.values()))
    if variants:
        mended["variants"] = variants
    for name in MAY_BE_EMPTY:
        value = mended.get(name)
        if value is not None and is_blank(value):
            mended[name] = None
            applied |= {"blank-word"} if value.strip() else set()
    if mended["claim"] != row["claim"]:
        mended["claim_id"] = claim_id(mended["claim"], row["language"])
        if row["cluster_id"] == row["claim_id"]:
            mended["cluster_id"] = mended["claim_id"]
    return mended, [name for name in RULES if name in applied]


def _looking(
    off: Collection[str], truths: Collection[str], contradicted: Collection[str], today: str
) -> Callable[[list[Mapping[str, Any]] | tuple[pa.Schema, pa.Buffer]], tuple[list[LintFinding], _Truths]]:
    """What finds all that shows in single rows, and notes what has to be held against others."""
    checks = {name: rule.check for name, rule in RULES.items() if name not in off}
    of_a_variant = {name: checks[name] for name in OF_A_VARIANT if name in checks}

    def look(part: list[Mapping[str, Any]] | tuple[pa.Schema, pa.Buffer]) -> tuple[list[LintFinding], _Truths]:
        rows = pa.ipc.read_record_batch(part[1], part[0]).to_pylist() if isinstance(part, tuple) else part
        told = _Truths()
        if TRUE_AND_FALSE not in off:
            for row in rows:
                told.add(row)
        return [found for row in rows for found in faults(Draft(row, truths, contradicted, today))], told

    def faults(draft: Draft) -> Iterator[LintFinding]:
        for rule, check in checks.items():
            for where, message in check(draft):
                yield _finding(draft.row["claim_id"], draft.row["origin"], where, rule, message)
        for number, variant in enumerate(draft.row.get("variants") or (), start=1):
            sides = {"claim": variant.get("claim") or "", "twin": variant.get("twin")}
            its = Draft({**draft.row, **dict.fromkeys(TEXTS), **sides}, (), (), today)
            for rule, check in of_a_variant.items():
                for _, message in check(its):
                    told_of = f"Variant {number}: {message[0].lower()}{message[1:]}"
                    yield _finding(draft.row["claim_id"], draft.row["origin"], "variants", rule, told_of)

    return look


def _finding(claim: str, origin: str, where: str, rule: str, message: str) -> LintFinding:
    kind = RULES[rule]
    return LintFinding(claim, origin, where, rule, kind.severity, message, kind.mend)


class _Truths:
    """What rows say to be false and what to be true, in 8 bytes each."""

    def __init__(self) -> None:
        self._origins: list[str] = []
        self._ids = array("Q")
        self._false = array("q")
        self._true = array("q")
        self._true_rows = array("q")  # row * 2, + 1 for a correction

    def add(self, row: Mapping[str, Any]) -> None:
        number = len(self._origins)
        self._origins.append(row["origin"])
        self._ids.append(int(row["claim_id"], 16))
        self._false.append(_key(row["language"], row["claim"] or ""))
        for which, text in enumerate((row.get("twin"), row.get("correction"))):
            if text and len(text) <= COMPARED and not is_blank(text):
                self._true.append(_key(row["language"], text))
                self._true_rows.append(number * 2 + which)

    def extend(self, others: _Truths) -> None:
        """Have also what the next rows say."""
        before = len(self._origins)
        self._origins += others._origins
        self._ids += others._ids
        self._false += others._false
        self._true += others._true
        self._true_rows.extend(row + 2 * before for row in others._true_rows)

    def findings(self) -> Iterator[LintFinding]:
        if not self._true:
            return
        import numpy as np

        false, true = np.asarray(self._false), np.asarray(self._true)
        order = np.argsort(false, kind="stable")
        places = np.searchsorted(false, true, sorter=order)
        places[places == len(false)] = 0
        for at in np.flatnonzero(false[order[places]] == true):
            here, (there, which) = int(order[places[at]]), divmod(self._true_rows[at], 2)
            if here != there:  # within one row it is a fault of the twin or the correction
                what = ("twin", "correction")[which]
                (false_id, false_at), (true_id, true_at) = self._row(here), self._row(there)
                said = f"The claim is the {what} of {true_id} ({true_at})."
                yield _finding(false_id, false_at, "claim", TRUE_AND_FALSE, said)
                said = f"The {what} is the claim of {false_id} ({false_at})."
                yield _finding(true_id, true_at, what, TRUE_AND_FALSE, said)

    def _row(self, number: int) -> tuple[str, str]:
        return f"{self._ids[number]:016x}", self._origins[number]


def _key(language: str, text: str) -> int:
    """Equal for texts that `claim_id` takes for the same, in every process; a fraction of its time."""
    same = " ".join(text.lower().split()).rstrip(".!?") if text.isascii() else normalise(text)
    digest = hashlib.blake2b(f"{language}\n{same}".encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
