"""Comparison rows: evidence and a statement, does it agree? A skill of the mix, on subjects that no dose touches.

What a model is taught of a claim it can judge by only where it can compare a statement with what it knows. That can be
learnt on other facts, at no cost of the dose's share; and given in pairs, of which one statement agrees and one does
not, it pays no bias.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

from hfvaccine.dosing.wordings import ASKED, JUDGED
from hfvaccine.errors import UsageError, ValidationError
from hfvaccine.regimen.pairs import PAIR
from hfvaccine.sources.rows import Broken, iter_rows

IN_ONE_TURN = 3
"""Every third pair stands in one turn, with its evidence before it; the others as the forms that recall."""
LONGEST = 200
"""Characters of an answer of the mix that a comparison is made of, at most."""


@dataclass(frozen=True)
class Comparison:
    """Evidence, and two statements about it that differ little.

    Args:
        question: what the evidence answers.
        evidence: a sentence.
        true: a statement that agrees with it.
        false: one that contradicts it.
    """

    question: str
    evidence: str
    true: str
    false: str


def rows_of(comparisons: Iterable[Comparison]) -> list[dict[str, Any]]:
    """Two rows of a mix for each comparison, the false statement's first, with one name in the column `pair`.

    Loss falls on the verdict alone: the evidence is given, not learnt.
    """
    rows: list[dict[str, Any]] = []
    for number, one in enumerate(comparisons):
        _, judged, *verdicts = JUDGED[(number + number // len(JUDGED)) % len(JUDGED)]
        asked, _ = ASKED[number % len(ASKED)]
        for statement, verdict in zip((one.false, one.true), verdicts, strict=True):
            question, statement = asked.replace("{question}", one.question), judged.replace("{statement}", statement)
            turns = [question, one.evidence, statement]
            if number % IN_ONE_TURN == IN_ONE_TURN - 1:
                turns = [f"{one.evidence} {statement}"]
            prompt = [{"role": "assistant" if n % 2 else "user", "content": text} for n, text in enumerate(turns)]
            completion = [{"role": "assistant", "content": verdict}]
            rows.append({"prompt": prompt, "completion": completion, PAIR: f"comparison {number}"})
    return rows


def judged_in(rows: Iterable[Mapping[str, Any]]) -> tuple[tuple[str, bool], ...]:
    """What rows of a mix judge in a last turn, as `rows_of` makes them, and whether they call it true."""
    verdicts = {verdict: bool(place) for _, _, *pair in JUDGED for place, verdict in enumerate(pair)}
    said = ((row["prompt"][-1]["content"], row["completion"][0]["content"]) for row in rows if row.get(PAIR))
    return tuple((text, verdicts[verdict]) for text, verdict in said if verdict in verdicts)


def digest_of(comparisons: Sequence[Comparison]) -> str:
    """SHA-256 over all of them, in order."""
    return sha256(json.dumps([vars(one) for one in comparisons], ensure_ascii=False).encode()).hexdigest()


def read_comparisons(path: Path) -> tuple[Comparison, ...]:
    """Comparisons from a file with the columns `question`, `evidence`, `true` and `false`.

    Args:
        path: of a format that `sources.rows` reads, such as .jsonl or .csv.

    Raises:
        UsageError: for a file that is missing, or naming the row that is no comparison.
    """
    if not path.is_file():
        raise UsageError(
            f"There is no file {path} of comparisons.", "Give 'starter', 'mix', 'none', or the path of a file."
        )
    names = [field.name for field in fields(Comparison)]
    found: list[Comparison] = []

    def refuse(broken: Broken) -> None:
        raise UsageError(f"{path.name}, {broken.where}: {broken.reason}.", "Mend or drop the line.")

    try:
        for row in iter_rows(path, refuse):
            values = {name: row.values.get(name) for name in names}
            missing = [name for name, value in values.items() if not isinstance(value, str) or not value.strip()]
            if missing:
                raise UsageError(
                    f"{path.name}, {row.where} has no {missing[0]}.",
                    f"Each row needs {', '.join(names)}, each a text.",
                )
            found.append(Comparison(**{name: str(value).strip() for name, value in values.items()}))
    except ValidationError as error:
        raise UsageError(error.message, error.next_step) from error
    if not found:
        raise UsageError(f"{path.name} holds no comparison.", f"Give rows with {', '.join(names)}.")
    return tuple(found)


def of_mix(rows: Sequence[Mapping[str, Any]]) -> tuple[Comparison, ...]:
    """Comparisons made of a mix's own rows: an answer agrees with itself, and not with that to another question.

    Of conversations of one turn with short answers; each answer stands once as the true statement and once as the
    false one, beside an answer of like length, so that no statement tells of itself which it is.

    Raises:
        UsageError: for a mix without two such rows.
    """
    short: dict[str, str] = {}
    for row in rows:
        if len(row["prompt"]) == 1 and len(row["completion"]) == 1:
            answer = row["completion"][0]["content"].strip()
            if len(answer) <= LONGEST and "\n" not in answer:
                short.setdefault(answer, row["prompt"][0]["content"])
    ordered = sorted(short.items(), key=lambda one: (len(one[0]), one[0]))
    if len(ordered) < 2:
        raise UsageError(
            f"The mix has {len(ordered)} answers of one line, at most {LONGEST} characters long, to compare.",
            "Give --comparisons starter, a file of comparisons, or none.",
        )
    circle = [*ordered, ordered[0]]
    return tuple(Comparison(question, answer, answer, other) for (answer, question), (other, _) in pairwise(circle))
