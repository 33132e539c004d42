"""A trait that a judge reads: people's labels, an entailment model, or a model behind an endpoint with a rubric."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from hfvaccine.errors import EndpointError, ModelError, UsageError, ValidationError
from hfvaccine.files import digest_of, read_yaml
from hfvaccine.sources.rows import read_rows
from hfvaccine.statistics import Floats
from hfvaccine.validation.asking.endpoint import Endpoint, Reply, TextRefused
from hfvaccine.validation.asking.judge import EntailmentJudge
from hfvaccine.validation.asking.rubric import COHERENCE, COHERENT, NUMBER, SCALES, Rubric
from hfvaccine.validation.scoring.cache import ScoreCache, cache_of_scores

FORM = (
    "Give `endpoint`, `model` and `rubric`, and where wanted `scale`, `coherence` and `api_key_env`; or `entailment` "
    "and `hypothesis`; or a file of people's labels, such as a .jsonl or .csv."
)
SERVED = {"endpoint": True, "model": True, "rubric": True, "scale": False, "coherence": False, "api_key_env": False}
ENTAILED = {"entailment": True, "hypothesis": True}
"""The fields of a judge's file, and whether each is needed."""
LABELS = {"yes": 1.0, "true": 1.0, "no": 0.0, "false": 0.0}
"""What people may say besides numbers from 0 to 1."""
TRIAL = ("What is the capital of France?", "The capital of France is Paris.")
"""A question and an answer that a judge is asked about at first, to see that it judges at all."""
AT_ONCE = 8
"""Requests that an endpoint is sent at once."""

Case = tuple[str, str]
"""A question and an answer to it."""


@dataclass(frozen=True)
class Judged:
    """A trait that a judge reads; an answer without a word is unclear, and shown to no judge.

    Args:
        name: as it was given.
        judge: who judges, for records: "by" and what else is known of it. No key is in it.
        read: from different cases to as many scores from 0 to 1, NaN where the judge cannot tell.
    """

    name: str
    judge: Mapping[str, Any]
    read: Callable[[Sequence[Case]], Sequence[float]]
    questions: tuple[str, ...] | None = None

    @classmethod
    def of(cls, name: str, file: str) -> Judged:
        """From a file of people's labels, or a YAML file that describes a judge; an endpoint is asked once.

        Args:
            name: of the trait.
            file: see `FORM`.

        Raises:
            UsageError: for a file that describes no judge, naming the field.
            ValidationError: for labels that cannot be read, naming the row.
            ModelError: for a model or endpoint that cannot be had, or does not judge.
        """
        path = Path(file)
        if path.suffix not in (".yaml", ".yml"):
            labels = read_labels(path)
            return cls(name, {"by": "people", "labels": len(labels)}, partial(_labelled, labels))
        content = read_yaml(path, FORM)
        if not isinstance(content, Mapping):
            raise UsageError(f"{path} describes no judge.", FORM)
        if "entailment" in content:
            its = _fields(path, content, ENTAILED)
            model, hypothesis = str(its["entailment"]), str(its["hypothesis"]).strip()
            record = {"by": "entailment", "model": _public(model), "hypothesis": hypothesis}
            return cls(name, record, partial(_entailed, EntailmentJudge(model), hypothesis))
        served = ServedJudge.of(path, _fields(path, content, SERVED))
        return cls(name, served.record(), served.read)

    def scores(self, questions: Sequence[str], answers: Sequence[str]) -> Floats:
        """See `hfvaccine.inoculation.traits.Trait`.

        Raises:
            ModelError: for an endpoint that no longer judges; what it judged is kept.
        """
        cases = list(zip(questions, answers, strict=True))
        distinct = [case for case in dict.fromkeys(cases) if case[1].strip()]
        found = dict(zip(distinct, self.read(distinct), strict=True))
        return np.array([found.get(case, np.nan) for case in cases], dtype=np.float64)


# --- people


def read_labels(file: Path) -> dict[Case, float]:
    """What people said of answers: the mean of their labels, by question and answer, spaces aside.

    Args:
        file: rows with question, answer or text, and label: yes or no, or a number from 0 to 1. Rows without a label,
            or with "unclear", are left out. An answers.jsonl with a column more is such a file.

    Raises:
        ValidationError: for a file without a label, and naming a row with one of another kind, or without an answer.
    """
    given: dict[Case, list[float]] = {}
    for row in read_rows(file):
        label = str("" if (value := row.values.get("label")) is None else value).strip().lower()
        if label in ("", "unclear"):
            continue
        said = [row.values.get("question"), row.values.get("answer", row.values.get("text"))]
        if not all(isinstance(text, str) for text in said):
            raise ValidationError(
                f"{file}, {row.where}: it has no question, or no answer.", "Each row needs question, answer and label."
            )
        given.setdefault(_key(*map(str, said)), []).append(_label(label, f"{file}, {row.where}"))
    if not given:
        raise ValidationError(f"{file} has no label.", "Write yes or no into the column `label` of some rows.")
    return {case: sum(labels) / len(labels) for case, labels in given.items()}


def _label(text: str, where: str) -> float:
    try:
        value = LABELS[text] if text in LABELS else float(text)
    except ValueError:
        value = np.nan
    if not 0 <= value <= 1:
        raise ValidationError(f"{where}: the label is {text!r:.40}.", "Use yes, no, unclear or a number from 0 to 1.")
    return value


def _labelled(labels: Mapping[Case, float], cases: Sequence[Case]) -> list[float]:
    return [labels.get(_key(*case), np.nan) for case in cases]


def _key(question: str, answer: str) -> Case:
    return " ".join(question.split()), " ".join(answer.split())


# --- an entailment model


def _entailed(judge: EntailmentJudge, hypothesis: str, cases: Sequence[Case]) -> list[float]:
    """The probability that each answer entails the hypothesis; the question is not shown, as it may hold the trait."""
    found = judge.entails((answer, hypothesis) for _, answer in cases)
    return [min(1.0, found[answer, hypothesis][0]) for _, answer in cases]


# --- a model behind an endpoint


@dataclass(frozen=True)
class ServedJudge:
    """A model behind an endpoint that judges by a rubric; what it replied once is found again in the cache of scores.

    Args:
        endpoint: of the model.
        rubric: what is asked.
        coherence: whether it is asked first how coherent an answer is, of which less than `COHERENT` is unclear.
        chances: whether it is asked for the probabilities of first tokens.
        reads: what a score is read from, for the record.
        cache: of replies.
    """

    endpoint: Endpoint
    rubric: Rubric
    coherence: bool
    chances: bool
    reads: str
    cache: ScoreCache

    @classmethod
    def of(cls, path: Path, its: Mapping[str, Any]) -> ServedJudge:
        """From the fields of a judge's file; the endpoint is asked about `TRIAL`.

        Args:
            path: of the file.
            its: the fields.

        Raises:
            UsageError: for fields of no sense.
            ModelError: for an endpoint that gives no score.
        """
        variable, coherence = its.get("api_key_env"), its.get("coherence", False)
        rubric = Rubric(str(its["rubric"]), str(its.get("scale", NUMBER)))
        if rubric.scale not in SCALES:
            raise UsageError(f"`scale` in {path} is {rubric.scale!r:.40}.", f"Use one of: {', '.join(SCALES)}.")
        if not isinstance(coherence, bool):
            raise UsageError(f"`coherence` in {path} is {coherence!r:.40}.", "Give true or false.")
        endpoint = Endpoint(str(its["endpoint"]), str(its["model"]), None if variable is None else str(variable))
        chances = True
        try:
            first = endpoint.ask(rubric.prompt(*TRIAL))
        except TextRefused:  # some servers give no probabilities, and say so
            chances = False
            first = endpoint.ask(rubric.prompt(*TRIAL), chances)
        replies = {rubric: first}
        if coherence:
            replies[COHERENCE] = endpoint.ask(COHERENCE.prompt(*TRIAL), chances)
        for asked, reply in replies.items():
            if np.isnan(asked.score(reply)):
                raise ModelError(
                    f"The judge {endpoint.model} was asked about an answer to see that it judges, and replied "
                    f"{reply.text!r:.80}, of which no score of the scale {asked.scale} can be read.",
                    "Say in `rubric` what is to be replied, or take another model.",
                )
        reads = "probabilities" if first.chances else "replies"
        return cls(endpoint, rubric, coherence, chances, reads, cache_of_scores())

    def record(self) -> dict[str, Any]:
        """Which judge it is; without the key, and without the address but for its host."""
        return {
            "by": "endpoint",
            "model": _public(self.endpoint.model),
            "host": self.endpoint.host,
            "rubric_sha256": digest_of(self.rubric.text.encode()),
            "scale": self.rubric.scale,
            "coherence": COHERENT if self.coherence else None,
            "reads": self.reads,
        }

    def read(self, cases: Sequence[Case]) -> list[float]:
        """See `Judged`.

        Raises:
            ModelError: where the endpoint gives no more replies; those that it gave are kept.
        """
        try:
            coherent = self._asked(COHERENCE, cases) if self.coherence else dict.fromkeys(cases, 1.0)
            scores = self._asked(self.rubric, [case for case in cases if coherent[case] >= COHERENT])
        except EndpointError as error:
            raise ModelError(error.message, f"{error.next_step} It goes on where it stopped.") from error
        return [scores.get(case, np.nan) for case in cases]

    def _asked(self, rubric: Rubric, cases: Sequence[Case]) -> dict[Case, float]:
        prompts = {case: rubric.prompt(*case) for case in cases}
        replies = self._replies(list(dict.fromkeys(prompts.values())))
        return {case: rubric.score(replies[prompt]) for case, prompt in prompts.items()}

    def _replies(self, prompts: Sequence[str]) -> dict[str, Reply]:
        """The reply to each prompt, several asked at once, each kept as it comes; an empty one to what is refused."""
        found = {prompt: kept for prompt in prompts if (kept := self._kept(prompt)) is not None}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            asked = {
                pool.submit(self.endpoint.ask, prompt, self.chances): prompt
                for prompt in prompts
                if prompt not in found
            }
            try:
                for future in as_completed(asked):
                    found[asked[future]] = self._keep(asked[future], future)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                for future, prompt in asked.items():  # what was under way has been paid for, too
                    if not future.cancelled() and prompt not in found and future.exception() is None:
                        self._keep(prompt, future)
                raise
        return found

    def _keep(self, prompt: str, future: Future[Reply]) -> Reply:
        try:
            reply = future.result()
        except TextRefused:  # not kept: the server may take it another time
            return Reply("")
        self.cache.put_texts(self._name(prompt), [json.dumps(asdict(reply))])
        return reply

    def _kept(self, prompt: str) -> Reply | None:
        kept = self.cache.get_texts(self._name(prompt))
        return None if kept is None else Reply(**json.loads(kept[0]))

    def _name(self, prompt: str) -> bytes:
        about = ["judged", self.endpoint.url, self.endpoint.model, self.chances, prompt]
        return hashlib.sha256(json.dumps(about).encode()).digest()


def _fields(path: Path, content: Mapping[Any, Any], known: Mapping[str, bool]) -> Mapping[str, Any]:
    """The fields of a judge's file.

    Raises:
        UsageError: naming one that is missing, empty or unknown; none is shown, since one may be a key.
    """
    if unknown := [str(name) for name in content if name not in known]:
        raise UsageError(f"{path} has `{unknown[0]:.40}`, which no judge has.", FORM)
    for name, needed in known.items():
        value = content.get(name)
        if (needed or name in content) and (value is None or not str(value).strip()):
            raise UsageError(f"{path} has no `{name}`.", FORM)
    return content


def _public(model: str) -> str:
    """A model's name; of a folder or file, which some servers call a model by, not where on a machine it lies."""
    return Path(model).name if Path(model).is_absolute() or Path(model).is_dir() else model
