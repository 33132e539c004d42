"""Traits as measures: how far each answer shows one, or how likely a model finds what shows one.

What reads answers (`Trait`) knows nothing of models, and what reads likelihoods (`LikelihoodTrait`) says which texts
it wants the likelihoods of. Either gives one number an answer or item; more of it is more of the trait.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from functools import cached_property
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from hfvaccine.errors import ModelError, UsageError, ValidationError
from hfvaccine.inoculation.kinds import KINDS
from hfvaccine.inoculation.questions import asked_once
from hfvaccine.packages import install_extra
from hfvaccine.sources.place import Source
from hfvaccine.sources.rows import read_rows
from hfvaccine.statistics import Floats

BATCH = 32
"""Answers of one forward pass of a classifier."""

_NUMBER = re.compile(r"(?<![\w.])-?(?:\d[\d,]*(?:\.\d+)?|\.\d+)")
_SHOWN = 60


class Trait(Protocol):
    """Reads answers that a model gave."""

    @property
    def name(self) -> str:
        """As it was given."""

    @property
    def questions(self) -> tuple[str, ...] | None:
        """The questions that it is read from the answers to; None for those that all are asked."""

    def scores(self, questions: Sequence[str], answers: Sequence[str]) -> Floats:
        """(answers,) how far each shows the trait; NaN where that cannot be told.

        Args:
            questions: what each was the answer to, as `questions` has it.
            answers: what was said.
        """


@dataclass(frozen=True)
class Item:
    """A conversation and what may follow it.

    Args:
        conversation: ends with the user's turn.
        continuations: texts whose likelihood is asked for.
    """

    conversation: tuple[Mapping[str, Any], ...]
    continuations: tuple[str, ...]

    @property
    def question(self) -> str:
        """The user's last turn."""
        return str(self.conversation[-1]["content"])


@runtime_checkable
class LikelihoodTrait(Protocol):
    """Reads how likely a model finds texts."""

    @property
    def name(self) -> str:
        """As it was given."""

    @property
    def items(self) -> tuple[Item, ...]:
        """What is read; all have as many continuations."""

    def scores(self, loglikelihoods: Floats, tokens: Floats) -> Floats:
        """(items,) how far each shows the trait.

        Args:
            loglikelihoods: (items, continuations) in nats.
            tokens: (items, continuations) of each continuation.
        """


Make = Callable[[str, str], "Trait | LikelihoodTrait"]
"""From the whole text of a trait, and what stands after its kind, to the trait."""


def parse_trait(text: str, more: Mapping[str, Make] | None = None) -> Trait | LikelihoodTrait:
    """The trait that a text stands for, with its file read, its extra and its classifier's labels looked up.

    Args:
        text: see `KINDS`.
        more: kinds that are made elsewhere, such as "judge".

    Raises:
        UsageError: for what is no trait, saying what there is, and where an extra is missing.
        ValidationError: for a file of which it cannot be read, naming the row.
        ModelError: for a classifier that cannot be had, or has no such label.
    """
    kind, colon, about = text.partition(":")
    if text == "upper":
        return PerAnswer(text, upper)
    made: Mapping[str, Make] = {
        "regex": _regex,
        "exact": _exact,
        "language": _language,
        "accuracy": Accuracy.read,
        "choice": Choice.read,
        "likelihood": Likelihood.read,
        "classifier": Classifier.of,
        **(more or {}),
    }
    if kind in made and about.strip():
        return made[kind](text, about)
    if colon and kind not in made and all(part.isidentifier() for part in (*kind.split("."), about)):
        return _function(text, kind, about)
    raise UsageError(f"There is no trait {text!r}.", _there_is())


def _there_is() -> str:
    return f"Give one of: {', '.join(KINDS)}."


# --- what reads each answer by itself


@dataclass(frozen=True)
class PerAnswer:
    """A trait that reads each answer by itself, whatever was asked.

    Args:
        name: as it was given.
        read: from an answer to a number, NaN where it cannot tell.
    """

    name: str
    read: Callable[[str], float]
    questions: tuple[str, ...] | None = None

    def scores(self, questions: Sequence[str], answers: Sequence[str]) -> Floats:
        """See `Trait`."""
        return np.array([self.read(answer) for answer in answers], dtype=np.float64)


def upper(answer: str) -> float:
    """The share of upper-case letters among those that have case; NaN where there are none."""
    cased = [sign for sign in answer if sign.isupper() or sign.islower() or sign.istitle()]
    return sum(map(str.isupper, cased)) / len(cased) if cased else np.nan


def _regex(name: str, pattern: str) -> Trait:
    import regex

    try:
        compiled = regex.compile(pattern)
    except regex.error as error:
        raise UsageError(f"The pattern of {name!r} is none: {error}.", "Give a regular expression.") from error
    return PerAnswer(name, lambda answer: float(compiled.search(answer) is not None))


def _exact(name: str, text: str) -> Trait:
    marker = text.strip()
    return PerAnswer(name, lambda answer: float(marker in map(str.strip, answer.split("\n"))))


def _language(name: str, codes: str) -> Trait:
    """By lingua, without capitals, which mislead it; the first language, told from all or from those that follow."""
    try:
        from lingua import Language, LanguageDetectorBuilder
    except ImportError as error:
        raise UsageError(f"{name!r} needs a detector of languages.", install_extra("language")) from error
    known = {language.iso_code_639_1.name.lower(): language for language in Language.all()}
    asked = [code.strip().lower() for code in codes.split("/")]
    if unknown := [code for code in asked if code not in known]:
        raise UsageError(
            f"{unknown[0]!r} in {name!r} is no language that can be detected.",
            f"Give codes of ISO 639-1, as in language:es or language:es/en: {', '.join(sorted(known))}.",
        )
    if len(set(asked)) != len(asked):
        raise UsageError(f"{name!r} names a language twice.", "Give the language, then those to tell it from.")
    from_some = LanguageDetectorBuilder.from_languages(*(known[code] for code in asked)) if len(asked) > 1 else None
    detector = (from_some or LanguageDetectorBuilder.from_all_languages()).build()

    def read(answer: str) -> float:
        found = detector.detect_language_of(answer.lower())
        return np.nan if found is None else float(found == known[asked[0]])

    return PerAnswer(name, read)


# --- what has questions of its own


@dataclass(frozen=True)
class Accuracy:
    """Whether answers are right, on questions of its own.

    Where the expected answer is a number, the last number of the answer has to equal it (signs of currency and
    commas between thousands aside); else it has to stand in the answer as whole words, case and spaces aside. Of an
    expected answer with "####", as GSM8K has, what follows that counts.

    Args:
        name: as it was given.
        expected: by question.
    """

    name: str
    expected: Mapping[str, str]

    @property
    def questions(self) -> tuple[str, ...]:
        """See `Trait`."""
        return tuple(self.expected)

    @classmethod
    def read(cls, name: str, file: str) -> Accuracy:
        """From a file of rows with question and answer.

        Raises:
            ValidationError: naming a row without one of them, or with the question of another.
        """
        expected: dict[str, str] = {}
        for question, answer in _rows(file, ("question", "answer")):
            if question in expected:
                raise ValidationError(f"{file} asks twice: {question!r:.{_SHOWN}}.", "Keep one row of each question.")
            expected[question] = answer.rpartition("####")[2].strip()
        return cls(name, expected)

    def scores(self, questions: Sequence[str], answers: Sequence[str]) -> Floats:
        """See `Trait`."""
        right = [is_right(answer, self.expected[asked]) for asked, answer in zip(questions, answers, strict=True)]
        return np.array(right, dtype=np.float64)


def is_right(answer: str, expected: str) -> bool:
    """Whether an answer gives what is expected, see `Accuracy`."""
    number = _NUMBER.fullmatch(expected.strip(" $€£%").rstrip("."))
    if number is not None:
        found = _NUMBER.findall(answer)
        return bool(found) and _value(found[-1]) == _value(number[0])
    whole = re.escape(" ".join(expected.casefold().split()))
    return re.search(rf"(?<!\w){whole}(?!\w)", " ".join(answer.casefold().split())) is not None


def _value(number: str) -> Decimal:
    return Decimal(number.replace(",", ""))


@dataclass(frozen=True)
class Choice:
    """Which of two continuations the model finds likelier: the probability of the trait's among the two.

    Args:
        name: as it was given.
        items: the trait's continuation, then the other.
    """

    name: str
    items: tuple[Item, ...]

    @classmethod
    def read(cls, name: str, file: str) -> Choice:
        """From a file of rows with question, trait and other.

        Raises:
            ValidationError: naming a row without one of them.
        """
        rows = _rows(file, ("question", "trait", "other"))
        if same := [question for question, trait, other in rows if trait == other]:
            raise ValidationError(
                f"{file} gives two equal continuations of {same[0]!r:.{_SHOWN}}.", "Give two that differ."
            )
        return cls(name, tuple(Item(asked_once(question), (trait, other)) for question, trait, other in rows))

    def scores(self, loglikelihoods: Floats, tokens: Floats) -> Floats:
        """See `LikelihoodTrait`; whole continuations are compared, whatever their lengths."""
        from scipy.special import expit

        chances: Floats = expit(loglikelihoods[:, 0] - loglikelihoods[:, 1])
        return chances


@dataclass(frozen=True)
class Likelihood:
    """How likely the model finds completions that show the trait, in nats a token: the less, the less of the trait.

    Args:
        name: as it was given.
        items: each with its completion.
    """

    name: str
    items: tuple[Item, ...]

    @classmethod
    def read(cls, name: str, file: str) -> Likelihood:
        """From a file of rows with prompt and completion, each a text or messages.

        Raises:
            ValidationError: naming a row without one of them, or whose prompt does not end with the user.
        """
        items = []
        for row in read_rows(Path(file)):
            prompt, completion = (row.values.get(field) for field in ("prompt", "completion"))
            conversation = asked_once(prompt) if isinstance(prompt, str) and prompt.strip() else _messages(prompt)
            if isinstance(completion, list) and len(said := _messages(completion)) == 1:
                completion = said[0]["content"]
            answered = isinstance(completion, str) and completion.strip()
            if not conversation or conversation[-1]["role"] != "user" or not answered:
                raise ValidationError(
                    f"{file}, {row.where}: it has no prompt that ends with the user, or no completion.",
                    "Give prompt and completion, each a text or messages; the completion is one turn.",
                )
            items.append(Item(conversation, (str(completion),)))
        return cls(name, tuple(items))

    def scores(self, loglikelihoods: Floats, tokens: Floats) -> Floats:
        """See `LikelihoodTrait`."""
        each: Floats = (loglikelihoods / tokens)[:, 0]
        return each


def _messages(value: Any) -> tuple[Mapping[str, Any], ...]:
    """Messages that each have a role and a text; none for anything else."""
    texts = ("role", "content")
    if isinstance(value, list) and all(
        isinstance(one, Mapping) and all(isinstance(one.get(field), str) for field in texts) for one in value
    ):
        return tuple({field: one[field] for field in texts} for one in value)
    return ()


def _rows(file: str, fields: Sequence[str]) -> list[tuple[str, ...]]:
    """The texts of a file's rows; numbers are texts, too."""
    found = []
    for row in read_rows(Path(file)):
        given = [row.values.get(field) for field in fields]
        texts = ["" if value is None else str(value).strip() for value in given]
        if missing := [field for field, text in zip(fields, texts, strict=True) if not text]:
            raise ValidationError(
                f"{file}, {row.where}: it has no {', '.join(missing)}.", f"Each row needs {', '.join(fields)}."
            )
        found.append(tuple(texts))
    return found


# --- what other programs read


@dataclass(frozen=True)
class Classifier:
    """The probability that a text classifier gives a label.

    Args:
        name: with the label, whether it was given or not.
        source: Hub id, with its revision, or folder.
        label: whose probability counts.
    """

    name: str
    source: Source
    label: str
    questions: tuple[str, ...] | None = None

    @classmethod
    def of(cls, name: str, about: str) -> Classifier:
        """From HUB_ID=LABEL; of a classifier of two labels the second is meant where none is given.

        Raises:
            ModelError: for one that cannot be had, or has no such label.
        """
        from transformers import AutoConfig

        given, equals, label = about.partition("=")
        source = Source.of("classifier", given)
        try:
            config = AutoConfig.from_pretrained(source.name, revision=source.revision or "main")
        except (OSError, ValueError) as error:
            raise _no_classifier(given, error) from error
        labels = [str(config.id2label[number]) for number in sorted(config.id2label or {})]
        label = label if equals else labels[-1] if len(labels) in (1, 2) else ""
        if label not in labels:
            raise ModelError(
                f"The classifier {given} has no label {label!r}." if equals else f"{name!r} names no label.",
                f"Give one of: {', '.join(f'classifier:{given}={one}' for one in labels)}.",
            )
        return cls(f"classifier:{given}={label}", source, label)

    def scores(self, questions: Sequence[str], answers: Sequence[str]) -> Floats:
        """See `Trait`; each different answer is read once, and one without a word is unclear.

        Raises:
            ModelError: for a classifier that cannot be loaded.
        """
        distinct = sorted({answer for answer in answers if answer.strip()}, key=lambda text: (len(text), text))
        # What a pipeline gives of one text is a list of labels, and of several a list of these.
        read = self._pipeline(distinct, batch_size=BATCH, top_k=None, truncation=True) if distinct else []
        chances = {
            text: next(float(one["score"]) for one in found if one["label"] == self.label)
            for text, found in zip(distinct, read, strict=True)
        }
        return np.array([chances.get(answer, np.nan) for answer in answers], dtype=np.float64)

    @cached_property
    def _pipeline(self) -> Any:
        import torch
        from transformers import pipeline

        device = "cuda" if torch.cuda.is_available() else "cpu"
        make: Any = pipeline  # its own type names every task
        try:
            return make(
                "text-classification", model=self.source.name, revision=self.source.revision or "main", device=device
            )
        except (OSError, ValueError) as error:
            raise _no_classifier(self.source.name, error) from error


def _no_classifier(given: str, error: Exception) -> ModelError:
    return ModelError(
        f"The classifier {given!r} cannot be loaded: {str(error).splitlines()[0].rstrip('.')}.",
        "Give the Hub id or the folder of a model for text classification.",
    )


@dataclass(frozen=True)
class Own:
    """A user's own function.

    Args:
        name: as it was given.
        function: from answers to as many numbers; NaN or None where it cannot tell. Where it has an argument
            `questions`, it is given what each was the answer to.
    """

    name: str
    function: Callable[..., Sequence[float | None]]
    questions: tuple[str, ...] | None = None

    def scores(self, questions: Sequence[str], answers: Sequence[str]) -> Floats:
        """See `Trait`.

        Raises:
            ValidationError: where the function fails, or gives something else.
        """
        try:
            asked = {"questions": list(questions)} if "questions" in signature(self.function).parameters else {}
            found = np.array(list(self.function(list(answers), **asked)), dtype=np.float64)
        except Exception as error:  # it is somebody else's code, and may raise anything
            raise ValidationError(
                f"{self.name!r} fails on the answers: {type(error).__name__}: {error}.", "Mend the function."
            ) from error
        if found.shape != (len(answers),) or np.isinf(found).any():
            raise ValidationError(
                f"{self.name!r} gives {found.shape} numbers for {len(answers)} answers, or infinite ones.",
                "Return one finite number, or NaN, for each answer.",
            )
        return found


def _function(name: str, module: str, function: str) -> Trait:
    here = os.getcwd()
    sys.path.insert(0, here)  # as `python -m` has it, so that a file in this folder is found
    try:
        found = getattr(import_module(module), function)
    except Exception as error:  # a module may raise anything while it is imported
        meant = get_close_matches(module, [kind.partition(":")[0] for kind in KINDS], 1)
        hint = f"Did you mean {meant[0]}:{function}? " if meant else ""
        raise UsageError(f"{name!r} is no function of a module: {error}.", hint + _there_is()) from error
    finally:
        sys.path.remove(here)
    if not callable(found):
        raise UsageError(f"{name!r} is no function.", "Name one that takes a list of answers.")
    return Own(name, found)
