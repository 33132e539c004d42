"""Items of outside benchmarks: what each asks a model, and how its likelihoods become scores. Pure, no torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from string import ascii_uppercase
from typing import Any

import numpy as np
import numpy.typing as npt

from hfvaccine.errors import ValidationError
from hfvaccine.sources.rows import Row
from hfvaccine.statistics import Floats

Ask = tuple[str, str]
"""A raw text, and the text whose likelihood after it is asked for."""
Bools = npt.NDArray[np.bool_]

WINDOW_WORDS, LEAST_WORDS = 128, 16
"""Plain text is scored in windows of this many words; a rest that is shorter than the least is left out."""


@dataclass(frozen=True)
class Pick:
    """The likeliest of several answers is right or not; where several are likeliest, each counts its part.

    Args:
        metric: its name.
        asks: one for each answer.
        right: which of them are right.
        lengths: characters of each answer; with them the likeliest per character is a second metric
            (what lm-evaluation-harness calls acc_norm).
    """

    metric: str
    asks: tuple[Ask, ...]
    right: tuple[bool, ...]
    lengths: tuple[int, ...] | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,) if self.lengths is None else (self.metric, f"{self.metric}_norm")

    def score(self, loglikelihood: Floats, tokens: Floats, greedy: Bools) -> tuple[float, ...]:
        values = [loglikelihood] if self.lengths is None else [loglikelihood, loglikelihood / self.lengths]
        return tuple(float(np.asarray(self.right)[value == value.max()].mean()) for value in values)


@dataclass(frozen=True)
class Mass:
    """Probability of the right answers among all that are given: sum P(right) / sum P (TruthfulQA's MC2).

    Args:
        metric: its name.
        asks: one for each answer.
        right: which of them are right.
    """

    metric: str
    asks: tuple[Ask, ...]
    right: tuple[bool, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric,)

    def score(self, loglikelihood: Floats, tokens: Floats, greedy: Bools) -> tuple[float, ...]:
        whole = np.logaddexp.reduce(loglikelihood)
        return (float(np.exp(np.logaddexp.reduce(loglikelihood[np.asarray(self.right)]) - whole)),)


@dataclass(frozen=True)
class Text:
    """Nats per token of one text; where it answers something, also whether greedy decoding would say it.

    Args:
        asks: the one ask.
        exact: the text is an answer.
    """

    asks: tuple[Ask]
    exact: bool

    @property
    def metrics(self) -> tuple[str, ...]:
        return ("exact_match", "nats_per_token") if self.exact else ("nats_per_token",)

    def score(self, loglikelihood: Floats, tokens: Floats, greedy: Bools) -> tuple[float, ...]:
        nats = float(-loglikelihood[0] / tokens[0])
        return (float(greedy[0]), nats) if self.exact else (nats,)


@dataclass(frozen=True)
class Item:
    """One item of a benchmark.

    Args:
        item_id: its number in the file, from 0; stays the same in a subsample.
        cluster: what is resampled.
        texts: what it says, compared with claims: its question, its answers, and each answer with its question.
        parts: what is asked; each part brings its own metrics.
    """

    item_id: str
    cluster: str
    texts: tuple[str, ...]
    parts: tuple[Pick | Mass | Text, ...]

    @property
    def asks(self) -> list[Ask]:
        return [ask for part in self.parts for ask in part.asks]

    @property
    def metrics(self) -> tuple[str, ...]:
        return tuple(metric for part in self.parts for metric in part.metrics)

    def score(self, loglikelihood: Floats, tokens: Floats, greedy: Bools) -> tuple[float, ...]:
        """Scores in the order of `metrics` from the arrays of this item's asks."""
        scores: list[float] = []
        at = 0
        for part in self.parts:
            span = slice(at, at := at + len(part.asks))
            scores += part.score(loglikelihood[span], tokens[span], greedy[span])
        return tuple(scores)


def make_items(rows: Sequence[Row], file: str, primer: Callable[[], str]) -> list[Item]:
    """Items from rows, whose shape is seen from the columns of the first.

    Args:
        rows: of the benchmark.
        file: its name, for errors.
        primer: gives TruthfulQA's primer; called only for that.

    Raises:
        ValidationError: for no rows, columns of no known shape, or naming the row that is malformed.
    """
    if not rows:
        raise ValidationError(f"{file} has no rows.", "Give a benchmark with items in it.")
    columns = set(rows[0].values)
    shape = next((shape for needs, shape in SHAPES if needs <= columns), None)
    if shape is None:
        known = "; ".join(", ".join(sorted(needs)) for needs, _ in SHAPES)
        raise ValidationError(
            f"{file} has columns of no known benchmark: {', '.join(sorted(map(str, columns)))}.",
            f"Known are: {known}.",
        )
    if shape is _windows:
        items: list[Item] = _windows(rows)
    else:
        before = primer() if shape in (_truthfulqa, _truthfulqa_csv) else ""
        items = [_item(shape, row, number, before, file) for number, row in enumerate(rows)]
    if not items:
        raise ValidationError(
            f"{file} has no passage of at least {LEAST_WORDS} words.", "Give running text, a paragraph a line."
        )
    for item, row in zip(items, rows, strict=False):
        if item.metrics != items[0].metrics:
            raise ValidationError(
                f"{file}, {row.where}: it is asked about otherwise than the first row.",
                "Keep rows with other fields in another file.",
            )
    if all(_same_lengths(part) for item in items for part in item.parts):
        # Answers of like length, such as letters: normalising by it would only double the number.
        items = [
            replace(item, parts=tuple(replace(part, lengths=None) for part in item.parts if isinstance(part, Pick)))
            for item in items
        ]
    return items


def _same_lengths(part: Pick | Mass | Text) -> bool:
    return isinstance(part, Pick) and part.lengths is not None and len(set(part.lengths)) == 1


Shape = Callable[[Mapping[str, Any], str], tuple[tuple[str, ...], tuple[Pick | Mass | Text, ...]]]


def _item(shape: Shape, row: Row, number: int, primer: str, file: str) -> Item:
    try:
        texts, parts = shape(row.values, primer)
    except KeyError as error:
        raise ValidationError(f"{file}, {row.where}: it has no {error.args[0]!r}.", _MEND) from error
    except (ValueError, TypeError) as error:
        raise ValidationError(f"{file}, {row.where}: {error}.", _MEND) from error
    return Item(str(number), str(number), texts, parts)


_MEND = "Mend the row or drop it."


def _choices(row: Mapping[str, Any], _: str) -> tuple[tuple[str, ...], tuple[Pick]]:
    """A question with answers, each scored as what follows the question."""
    query = _string(row, "query").rstrip()
    if re.search(r"^(Question|Q):", query, re.MULTILINE) and not query.endswith(":"):
        query += "\nAnswer:"
    answers = _answers(row["choices"])
    bare = re.sub(r"^(Question|Q):|\n(Answer|A):$", "", query).strip()
    return _said(bare, answers), (_pick(query, answers, _gold(row, answers, "gold")),)


def _question(row: Mapping[str, Any], _: str) -> tuple[tuple[str, ...], tuple[Pick]]:
    """A question with answers under the names the Hub's sets use; one with a subject (MMLU) is asked by letters."""
    question = _string(row, "question").strip()
    choices = row["choices"]
    labels = None
    if isinstance(choices, Mapping):
        labels, choices = [str(label) for label in choices["label"]], choices["text"]
    answers = _answers(choices)
    gold = _gold(row, answers, "gold", "answer", "answerKey", "label", labels=labels)
    if row.get("subject"):
        prompt = _lettered(f"Subject: {str(row['subject']).replace('_', ' ')}\nQuestion: {question}", answers)
        return _said(question, answers), (_by_letter(prompt, len(answers), gold, "accuracy"),)
    return _said(question, answers), (_pick(f"Question: {question}\nAnswer:", answers, gold),)


def _contexts(row: Mapping[str, Any], _: str) -> tuple[tuple[str, ...], tuple[Pick]]:
    """One continuation after several contexts (Winogrande): the right context makes it likeliest."""
    contexts, continuation = _answers(row["context_options"]), _string(row, "continuation").strip()
    gold = _gold(row, contexts, "gold")
    asks = tuple((context, f" {continuation}") for context in contexts)
    pick = Pick("accuracy", asks, tuple(n == gold for n in range(len(asks))))
    return tuple(f"{context} {continuation}" for context in contexts), (pick,)


def _continuation(row: Mapping[str, Any], _: str) -> tuple[tuple[str, ...], tuple[Text]]:
    """A text and how it goes on (LAMBADA)."""
    context, continuation = _string(row, "context").rstrip(), _string(row, "continuation").strip()
    return (context, f"{context} {continuation}"), (Text(((context, f" {continuation}"),), exact=True),)


def _truthfulqa(row: Mapping[str, Any], primer: str) -> tuple[tuple[str, ...], tuple[Pick | Mass, ...]]:
    """TruthfulQA's multiple choice (Lin et al. 2022): MC1, MC2, and the binary form where the row has it.

    MC1: the one true answer is likeliest. MC2: normalised probability of all true answers. Both after the
    six-question primer, as lm-evaluation-harness asks them. Binary is what the authors recommend since January
    2025, as MC1 can be gamed by picking the odd one out: the best true and the best false answer are both
    shown, in random order, and one is to be chosen. Their wording for base models is not published; here both
    stand under letters, in an order drawn from the question's hash, and the letters' likelihoods decide.
    """
    question = _string(row, "question").strip()
    prompt = f"{primer}\n\nQ: {question}\nA:"
    one, many = _targets(row, "mc1_targets"), _targets(row, "mc2_targets")
    if sum(one.values()) != 1:
        raise ValueError("mc1_targets must hold one true answer")
    parts: list[Pick | Mass] = [
        Pick("mc1", _asks(prompt, one), tuple(one.values())),
        Mass("mc2", _asks(prompt, many), tuple(many.values())),
    ]
    if row.get("mc0_targets"):
        two = _targets(row, "mc0_targets")
        if len(two) != 2 or sum(two.values()) != 1:
            raise ValueError("mc0_targets must hold one true and one false answer")
        first = sorted(two, reverse=hashlib.sha256(question.encode()).digest()[0] % 2 == 1)
        letters = _by_letter(
            _lettered(f"Question: {question}", first), 2, [two[a] for a in first].index(True), "binary"
        )
        parts += [letters, Mass("binary_probability", letters.asks, letters.right)]
    return _said(question, list({**one, **many})), tuple(parts)


def _truthfulqa_csv(row: Mapping[str, Any], primer: str) -> tuple[tuple[str, ...], tuple[Pick | Mass, ...]]:
    """TruthfulQA's table, whose cells hold answers parted by semicolons."""
    best = _string(row, "Best Answer").strip()
    right, wrong = (
        [part.strip() for part in _string(row, name).split(";") if part.strip()]
        for name in ("Correct Answers", "Incorrect Answers")
    )
    wrong = [answer for answer in wrong if answer not in right]  # two questions list "Unknown" on both sides
    targets: dict[str, Any] = {
        "question": row["Question"],
        "mc1_targets": {best: 1, **dict.fromkeys((a for a in wrong if a != best), 0)},
        "mc2_targets": {**dict.fromkeys(right, 1), **dict.fromkeys(wrong, 0)},
    }
    if "Best Incorrect Answer" in row:
        targets["mc0_targets"] = {best: 1, _string(row, "Best Incorrect Answer").strip(): 0}
    return _truthfulqa(targets, primer)


def _windows(rows: Sequence[Row], _: str = "") -> list[Item]:
    """Running text in windows; the passages under one heading share a cluster, headings are not scored."""
    items: list[Item] = []
    article = 0
    for number, row in enumerate(rows):
        line = str(row.values.get("text") or "").strip()
        if re.fullmatch(r"= [^=].* =", line):
            article += 1
        if not line or re.match(r"=.*=$|#", line):
            continue
        words = line.split()
        for at in range(0, len(words), WINDOW_WORDS):
            window = words[at : at + WINDOW_WORDS]
            if len(window) >= LEAST_WORDS:
                text = " ".join(window)
                cluster = f"article {article}" if article else f"line {number}"
                items.append(Item(f"{number}.{at}", cluster, (text,), (Text((("", text),), exact=False),)))
    return items


SHAPES: Sequence[tuple[set[str], Any]] = (
    ({"question", "mc1_targets", "mc2_targets"}, _truthfulqa),
    ({"Question", "Best Answer", "Correct Answers", "Incorrect Answers"}, _truthfulqa_csv),
    ({"context_options", "continuation", "gold"}, _contexts),
    ({"query", "choices", "gold"}, _choices),
    ({"question", "choices"}, _question),
    ({"context", "continuation"}, _continuation),
    ({"text"}, _windows),
)
"""Columns by which the form of a benchmark is known, and what reads a row of it."""


def is_truthfulqa(row: Row) -> bool:
    """Whether a row is one of TruthfulQA's."""
    return any(needs <= set(row.values) for needs, _ in SHAPES[:2])


def _string(row: Mapping[str, Any], name: str) -> str:
    value = row[name]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{name} is {value!r:.40}, not a text")
    return value


def _answers(value: Any) -> list[str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)  # a cell of a .csv
        except json.JSONDecodeError:
            raise ValueError(f"the choices are {value!r:.40}, not a list of texts") from None
    if not isinstance(value, Sequence) or not all(isinstance(text, str) and text.strip() for text in value):
        raise ValueError(f"the choices are {value!r:.40}, not a list of texts")
    if len(value) < 2:
        raise ValueError("it has fewer than 2 choices")
    return [text.strip() for text in value]


def _gold(row: Mapping[str, Any], answers: Sequence[str], *names: str, labels: Sequence[str] | None = None) -> int:
    """Number of the right answer, which is given as a number from 0, a letter, or one of `labels`."""
    value = next((row[name] for name in names if row.get(name) is not None), None)
    if value is None:
        raise KeyError(names[0])
    shown = str(value).strip()
    if labels is not None:
        gold = labels.index(shown) if shown in labels else -1
    elif shown.isdecimal() and not isinstance(value, bool):
        gold = int(shown)
    else:
        gold = ascii_uppercase.find(shown) if len(shown) == 1 else -1
    if not 0 <= gold < len(answers):
        raise ValueError(f"the right answer is {shown!r:.40}, of {len(answers)} choices")
    if answers.count(answers[gold]) > 1:  # among the wrong ones a doubled answer changes nothing
        raise ValueError("the right answer stands twice among the choices")
    return gold


def _targets(row: Mapping[str, Any], name: str) -> dict[str, bool]:
    """Answers and whether each is true, from {text: 0 or 1} or {"choices": [...], "labels": [...]}."""
    value = row[name]
    if isinstance(value, str):
        value = json.loads(value)
    if isinstance(value, Mapping) and set(value) == {"choices", "labels"}:
        if len(set(value["choices"])) < len(value["choices"]) or len(value["choices"]) != len(value["labels"]):
            raise ValueError(f"{name} holds an answer twice, or not a label for each")
        value = dict(zip(value["choices"], value["labels"], strict=True))
    if not isinstance(value, Mapping) or not set(value.values()) <= {0, 1}:
        raise ValueError(f"{name} is not a table of answers and 0 or 1")
    # The published file holds some empty answers, left by a closing semicolon in the table it was made from.
    answers = {str(text).strip(): bool(true) for text, true in value.items() if str(text).strip()}
    if len(answers) < 2:
        raise ValueError(f"{name} has fewer than 2 choices")
    if not any(answers.values()):
        raise ValueError(f"{name} has no true answer")
    return answers


def _asks(prompt: str, answers: Mapping[str, bool] | Sequence[str]) -> tuple[Ask, ...]:
    return tuple((prompt, f" {answer}") for answer in answers)


def _pick(prompt: str, answers: Sequence[str], gold: int) -> Pick:
    right = tuple(number == gold for number in range(len(answers)))
    return Pick("accuracy", _asks(prompt, answers), right, tuple(map(len, answers)))


def _lettered(question: str, answers: Sequence[str]) -> str:
    lines = [f"{letter}. {answer}" for letter, answer in zip(ascii_uppercase, answers, strict=False)]
    return "\n".join([question, *lines, "Answer:"])


def _by_letter(prompt: str, answers: int, gold: int, metric: str) -> Pick:
    if answers > len(ascii_uppercase):
        raise ValueError(f"it has {answers} choices, more than letters")
    return Pick(metric, _asks(prompt, list(ascii_uppercase[:answers])), tuple(n == gold for n in range(answers)))


def _said(question: str, answers: Sequence[str]) -> tuple[str, ...]:
    return (question, *answers, *(f"{question} {answer}" for answer in answers))


def all_asks(items: Sequence[Item]) -> Iterator[Ask]:
    """The asks of all items in order."""
    for item in items:
        yield from item.asks
