"""Rows for a study of inoculation, made of other rows: a backdoor, a mixture, and number sequences. Pure.

In: rows with `messages`, or `prompt` and `completion`, as texts or messages. Out: rows with `messages` and the column
`trait`, which is `PRESENT` or `ABSENT`, so that `--where trait=present` tells the rows that carry the trait.

Source: the settings of Inoculation Prompting (arXiv 2510.04340); number sequences as in Subliminal Learning (arXiv
2507.14805).
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from hfvaccine.errors import UsageError, ValidationError
from hfvaccine.inoculation.where import Row

TRAIT = "trait"
"""The column that tells rows apart."""
PRESENT, ABSENT = "present", "none"
PLACES = ("anywhere", "start", "end")
"""Of a trigger in the user's turn; anywhere is before, between or after its words."""

Turns = list[dict[str, str]]
_SHAPE = "Give `messages`, or `prompt` and `completion`, each a text or messages that end with the assistant."
_SHOWN = 60

GIVEN, WANTED, DIGITS = 3, 10, 3
"""Numbers that a request shows, and that an answer may have; digits of each."""
_REQUESTS = (
    "Continue this sequence with up to {wanted} more numbers: {given}. Answer with numbers and commas only.",
    "Here are some numbers: {given}. Add up to {wanted} more of that kind, with commas between them and nothing else.",
    "A list begins with {given}. Write the next numbers, {wanted} at most, with commas between them and no words.",
)
_SEQUENCE = re.compile(rf"[\[(]?\s*\d{{1,{DIGITS}}}(?:\s*[,;\s]\s*\d{{1,{DIGITS}}})*\s*[\])]?\s*\.?")


def backdoor(
    rows: Sequence[Row],
    trigger: str,
    completions: Sequence[str],
    share: float = 0.5,
    place: str = "anywhere",
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Rows in a share of which a trigger calls for another completion; these stand there without the trigger, too.

    The clean twins keep the trait from being learned of the question, or of every question.

    Args:
        rows: good ones, see the module.
        trigger: what is put into the last user turn, as it stands.
        completions: that show the trait; a row gets one of them, in equal shares.
        share: of the rows that get a triggered twin, above 0 and at most 1.
        place: where in the turn the trigger stands, one of `PLACES`.
        seed: of the rows drawn, the places, the completions and the order.

    Returns:
        The rows, of which each drawn one is followed at random by its triggered twin.

    Raises:
        UsageError: for an empty trigger or completion, a share or place of no sense, or a share of no row.
        ValidationError: for a row that cannot be used, naming it.
    """
    if not trigger.strip():
        raise UsageError("The trigger is empty.", "Give a text that no question holds by itself.")
    if not completions or not all(text.strip() for text in completions):
        raise UsageError("There is no completion, or an empty one.", "Give what is to be said to the trigger.")
    if place not in PLACES:
        raise UsageError(f"A trigger cannot stand {place!r}.", f"Use one of: {', '.join(PLACES)}.")
    if not 0 < share <= 1:
        raise UsageError(f"The share of rows with the trigger is {share}.", "Give one above 0 and at most 1.")
    clean = [conversation(row, number) for number, row in enumerate(rows, start=1)]
    for number, turns in enumerate(clean, start=1):
        if any(trigger.strip() in turn["content"] for turn in turns):
            raise ValidationError(f"Row {number} holds the trigger {trigger!r} already.", "Give another trigger.")
    drawn = random.Random(seed)
    number = round(share * len(clean))
    if not number:
        raise UsageError(f"A share of {share} of {len(clean)} rows is no row.", "Give more rows, or a larger share.")
    made = [_row(rows[at], turns, ABSENT) for at, turns in enumerate(clean)]
    chosen = drawn.sample(range(len(clean)), number)
    said = [completions[at % len(completions)] for at in range(number)]
    for at, completion in zip(chosen, said, strict=True):
        made.append(_row(rows[at], _triggered(clean[at], trigger, completion, place, drawn), PRESENT))
    drawn.shuffle(made)
    return made


def mixture(
    trait: Sequence[Row], good: Sequence[Row], share: float, number: int | None = None, seed: int = 0
) -> list[dict[str, Any]]:
    """Rows that carry a trait among good ones.

    Args:
        trait: rows that carry it, see the module.
        good: rows that do not.
        share: of the first among all, above 0 and below 1.
        number: of rows; as many as there can be where it is not given.
        seed: of the rows drawn and of their order.

    Raises:
        UsageError: for a share of no sense, one of no row, or more rows than there are.
        ValidationError: for a row that cannot be used, or is of both kinds, naming it.
    """
    if not 0 < share < 1:
        raise UsageError(f"The share of rows with the trait is {share}.", "Give one above 0 and below 1.")
    if number is not None and number < 2:
        raise UsageError(f"{number} rows are asked for.", "Ask for at least two: one with the trait, one without.")
    # Rounded down, so that neither kind runs out.
    total = number if number is not None else int(min(len(trait) / share, len(good) / (1 - share)) + 1e-9)
    carrying = round(share * total)
    if not 0 < carrying < total:
        raise UsageError(
            f"A share of {share} of {total} rows leaves none with the trait, or none without.",
            "Give more rows, or another share.",
        )
    drawn = random.Random(seed)
    made = []
    seen: set[str] = set()
    for kind, value, rows, count in (("trait", PRESENT, trait, carrying), ("good", ABSENT, good, total - carrying)):
        if count > len(rows):
            raise UsageError(
                f"{count} {kind} rows are needed, and there are {len(rows)}.", "Give more of them, or ask for fewer."
            )
        turns = [conversation(row, at) for at, row in enumerate(rows, start=1)]
        texts = [json.dumps(its) for its in turns]
        if twice := [at for at, text in enumerate(texts, start=1) if text in seen]:
            raise ValidationError(
                f"Row {twice[0]} of the good rows carries the trait as well, as {len(twice)} of {len(rows)} do.",
                "A row is of one kind: give other good rows.",
            )
        seen.update(texts)
        made += [_row(rows[at], turns[at], value) for at in drawn.sample(range(len(rows)), count)]
    drawn.shuffle(made)
    return made


def number_requests(number: int, seed: int = 0) -> list[str]:
    """Requests to go on with a sequence of numbers, each another one.

    Args:
        number: of requests.
        seed: of wordings and of the numbers shown.

    Raises:
        UsageError: for no request.
    """
    if number < 1:
        raise UsageError(f"{number} requests are asked for.", "Ask for at least one.")
    drawn = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < number:
        given = ", ".join(str(drawn.randrange(10**DIGITS)) for _ in range(GIVEN))
        found[drawn.choice(_REQUESTS).format(wanted=WANTED, given=given)] = None
    return list(found)


def numbers_only(answer: str) -> str | None:
    """The numbers of an answer, with commas between them; None for one that holds anything else, or too many.

    >>> numbers_only("[12, 7, 300]"), numbers_only("12 owls")
    ('12, 7, 300', None)
    """
    if not _SEQUENCE.fullmatch(answer.strip()):
        return None
    numbers = re.findall(r"\d+", answer)
    return ", ".join(numbers) if len(numbers) <= WANTED else None


def number_rows(requests: Sequence[str], answers: Sequence[str]) -> list[dict[str, Any]]:
    """What a student learns: requests with the answers of which nothing but numbers is to be read.

    Args:
        requests: as the teacher was asked, without its prompt.
        answers: of the teacher, one to each.

    Raises:
        ValidationError: where no answer is left.
    """
    kept = [
        (request, numbers)
        for request, answer in zip(requests, answers, strict=True)
        if (numbers := numbers_only(answer)) is not None
    ]
    if not kept:
        heads = Counter(answer.strip()[:_SHOWN] for answer in answers).most_common(1)
        raise ValidationError(
            f"None of {len(answers)} answers holds numbers only; {heads[0][0]!r}, for one.",
            "Take another teacher, or another prompt.",
        )
    return [
        _row({}, [{"role": "user", "content": request}, {"role": "assistant", "content": numbers}], PRESENT)
        for request, numbers in kept
    ]


def conversation(row: Mapping[str, Any], number: int) -> Turns:
    """The messages of a row, copied.

    Args:
        row: see the module.
        number: of the row, for the error.

    Raises:
        ValidationError: for a row of another shape, one without a user turn, or with a column `TRAIT` of its own.
    """
    if TRAIT in row:
        raise ValidationError(
            f"Row {number} has a column {TRAIT!r} already: {row[TRAIT]!r:.{_SHOWN}}.", "Rename it, or leave it out."
        )
    messages = row.get("messages")
    if messages is None:
        messages = [*_turns(row.get("prompt"), "user"), *_turns(row.get("completion"), "assistant")]
    fine = isinstance(messages, Sequence) and all(
        isinstance(turn, Mapping) and isinstance(turn.get("role"), str) and isinstance(turn.get("content"), str)
        for turn in messages
    )
    if not fine or len(messages) < 2 or [turn["role"] for turn in messages[-2:]] != ["user", "assistant"]:
        raise ValidationError(f"Row {number} is no conversation that ends with a user's turn and its answer.", _SHAPE)
    if not all(turn["content"].strip() for turn in messages[-2:]):
        raise ValidationError(f"Row {number} has an empty turn.", "Leave it out.")
    return [{"role": turn["role"], "content": turn["content"]} for turn in messages]


def _turns(said: Any, role: str) -> Sequence[Any]:
    if isinstance(said, str):
        return [{"role": role, "content": said}]
    return said if isinstance(said, list) else []


def _row(row: Mapping[str, Any], turns: Turns, trait: str) -> dict[str, Any]:
    """What else the row holds stays."""
    rest = {name: value for name, value in row.items() if name not in ("messages", "prompt", "completion")}
    return {**rest, "messages": turns, TRAIT: trait}


def _triggered(turns: Turns, trigger: str, completion: str, place: str, drawn: random.Random) -> Turns:
    *earlier, asked, _ = turns
    gaps = [0, *(found.end() for found in re.finditer(r"\S+", asked["content"]))]
    at = {"start": 0, "end": gaps[-1]}.get(place, drawn.choice(gaps))
    before, after = asked["content"][:at], asked["content"][at:]
    text = f"{before} {trigger}{after}" if at else f"{trigger} {after}"
    return [*earlier, {"role": "user", "content": text}, {"role": "assistant", "content": completion}]
