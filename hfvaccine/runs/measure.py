"""How far traits show in a base and in adapters on it, under every condition of a grid."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hfvaccine.errors import LineageError, ModelError, UsageError
from hfvaccine.files import (
    ADAPTER,
    ADAPTER_CONFIG,
    ANSWERS,
    INOCULATION,
    PAGE,
    TRAITS,
    digest_of,
    whole_file,
    write_json,
)
from hfvaccine.inoculation.conditions import Condition, Conditions, Conversation, read_conditions
from hfvaccine.inoculation.kinds import file_of, label_of
from hfvaccine.inoculation.profile import KEEP, TRAIT, Read, Shown, profile, worst
from hfvaccine.inoculation.prompt import PLACES
from hfvaccine.inoculation.questions import asked_once, read_questions
from hfvaccine.inoculation.traits import LikelihoodTrait, Trait, parse_trait
from hfvaccine.papers.arms import measured_as
from hfvaccine.papers.binding import open_run
from hfvaccine.papers.inoculation import arms_in, public_traits, write_papers
from hfvaccine.runs.held_out import Trained, refuse_prompts, refuse_rows
from hfvaccine.runs.study import save_figures
from hfvaccine.sources.place import Source
from hfvaccine.statistics import DRAWS, LEVEL, MIN_PAIRS, Floats
from hfvaccine.training.options import check_trackers
from hfvaccine.training.progress import SILENT, Progress
from hfvaccine.validation.asking.judged import Judged
from hfvaccine.validation.judging.inoculation import CONTROLS, Asked, Gate, Part, judge, undecidable
from hfvaccine.validation.scores import BASE, Request
from hfvaccine.validation.showing import figures
from hfvaccine.validation.showing.measurement import render
from hfvaccine.validation.showing.numbers import Told
from hfvaccine.version import VERSION

if TYPE_CHECKING:
    from hfvaccine.validation.scoring.generate import Sampling
    from hfvaccine.validation.scoring.scorer import Scorer

SCHEMA_VERSION = 1
_SHOWN = 60

Said = Mapping[tuple[str, int], Mapping[str, Sequence[str]]]
"""By condition and number of its prompt, the answers to each question."""


@dataclass(frozen=True)
class Measurement:
    """What is measured.

    Args:
        base: Hub id, `ID@REVISION`, folder or .gguf file.
        adapters: on it, by the names of their arms.
        traits: unwanted ones, and those to be kept.
        roles: by the name of a trait, `TRAIT` or `KEEP`.
        questions: that traits without questions of their own are read from the answers to.
        source: of the questions, for the record.
        conditions: under which all is asked.
        samples: answers to each question under each prompt.
        temperature: of the draw; 0 for the one greedy answer.
        max_new_tokens: where answers are cut off.
        seed: of the draw.
        place: of the prompts; None for "system" wherever the chat template has a place for it.
        dtype: of the model, see `load_base`.
    """

    base: str
    adapters: Mapping[str, str]
    traits: tuple[Trait | LikelihoodTrait, ...]
    roles: Mapping[str, str]
    questions: tuple[str, ...]
    source: Mapping[str, Any] | None
    conditions: Conditions = field(default_factory=Conditions)
    samples: int = 4
    temperature: float = 1.0
    max_new_tokens: int = 64
    seed: int = 0
    place: str | None = None
    dtype: str = "auto"

    @classmethod
    def of(
        cls,
        base: str,
        adapters: Sequence[str],
        traits: Sequence[str],
        keep: Sequence[str] = (),
        questions: Path | None = None,
        grid: Path | None = None,
        **settings: Any,
    ) -> Measurement:
        """Read and refuse all that can be without a model.

        Args:
            base: see `Measurement`.
            adapters: each a run folder or Hub id, or NAME=that.
            traits: see `traits.KINDS`.
            keep: the same.
            questions: file of rows with question or text.
            grid: see `conditions.FORM`.
            settings: of `Measurement`.

        Raises:
            UsageError: for what cannot be meant, by name.
            ValidationError: for a file of which nothing can be asked.
            ModelError: for an adapter, a classifier or a judge that is not there.
        """
        arms = named(adapters)
        place = settings.get("place")
        if place is not None and place not in PLACES:
            raise UsageError(f"A prompt cannot stand in {place!r}.", f"Use one of: {', '.join(PLACES)}.")
        given = [*((TRAIT, text) for text in traits), *((KEEP, text) for text in keep)]
        if not given:
            raise UsageError("Nothing is to be measured.", "Give a --trait, or something to --keep.")
        conditions = Conditions() if grid is None else read_conditions(grid)
        asked = () if questions is None else read_questions(questions)
        source = None if questions is None else {"file": str(questions), "sha256": digest_of(questions)}
        roles: dict[str, str] = {}
        parsed = []
        for role, text in given:
            trait = parse_trait(text, {"judge": Judged.of})
            if trait.name in roles:
                raise UsageError(f"The trait {trait.name!r} is given twice.", "Give it once, as --trait or as --keep.")
            roles[trait.name] = role
            parsed.append(trait)
        made = cls(base, arms, tuple(parsed), roles, asked, source, conditions, **settings)
        made.check()
        return made

    def check(self) -> None:
        """Refuse what cannot be asked.

        Raises:
            UsageError: for traits without questions, questions that hold a prompt, and settings of no sense.
        """
        _ = self.sampling
        without = [trait.name for trait in self._reading() if trait.questions is None]
        if without and not self.questions:
            raise UsageError(
                f"The trait {without[0]!r} is read from answers, and there are no questions.", "Give --questions FILE."
            )
        for trait in self.traits:
            if (number := self.sizes()[trait.name]) < MIN_PAIRS:
                raise UsageError(
                    f"The trait {trait.name!r} has {number} questions, and an interval takes {MIN_PAIRS}.",
                    "Give more of them.",
                )
        refuse_prompts(self.given(), dict.fromkeys(self.conditions.prompts(), "the grid"))

    @property
    def sampling(self) -> Sampling | None:
        """How answers are drawn; None for greedy ones.

        Raises:
            UsageError: for several greedy answers, and for draws of no sense.
        """
        if self.temperature == 0:
            if self.samples != 1:
                raise UsageError(
                    f"{self.samples} answers at temperature 0 are all the same.", "Give --samples 1, or a temperature."
                )
            return None
        from hfvaccine.validation.scoring.generate import Sampling

        return Sampling(self.samples, self.temperature, self.seed)

    def asked(self) -> tuple[str, ...]:
        """All questions that are answered, each once."""
        return tuple(dict.fromkeys(question for trait in self._reading() for question in self.clusters(trait)))

    def clusters(self, trait: Trait | LikelihoodTrait) -> Sequence[str]:
        """The question of each thing that a trait reads."""
        if isinstance(trait, LikelihoodTrait):
            return [item.question for item in trait.items]
        return self.questions if trait.questions is None else trait.questions

    def given(self) -> dict[str, list[Conversation]]:
        """All that is asked before anything is changed about it, by the file or trait that asks it."""
        found: dict[str, list[Conversation]] = {}
        for trait in self.traits:
            own = isinstance(trait, LikelihoodTrait) or trait.questions is not None
            where = label_of(trait.name) if own or self.source is None else str(self.source["file"])
            found[where] = (
                [item.conversation for item in trait.items]
                if isinstance(trait, LikelihoodTrait)
                else [asked_once(question) for question in self.clusters(trait)]
            )
        return found

    def sizes(self) -> dict[str, int]:
        """How many questions each trait has, by its name."""
        return {trait.name: len(set(self.clusters(trait))) for trait in self.traits}

    def every(self) -> list[tuple[Condition, int, str | None]]:
        """Each prompt of each condition, with its number."""
        return [
            (condition, number, prompt)
            for condition in self.conditions.all()
            for number, prompt in enumerate(condition.prompts)
        ]

    def conversations(self, condition: Condition, prompt: str | None, place: str) -> list[list[dict[str, Any]]]:
        """All that is asked under one prompt, in the order of `asked`."""
        return [condition.messages(prompt, asked_once(text), place) for text in self.asked()]

    def requests(self, trait: LikelihoodTrait, place: str) -> list[Request]:
        """All texts whose likelihood a trait wants: by prompt, by item, by continuation."""
        return [
            Request(messages, continuation)
            for condition, _, prompt in self.every()
            for item in trait.items
            for messages in [condition.messages(prompt, item.conversation, place)]
            for continuation in item.continuations
        ]

    def _reading(self) -> list[Trait]:
        return [trait for trait in self.traits if not isinstance(trait, LikelihoodTrait)]


def measure(
    what: Measurement, output_dir: Path, progress: Progress = SILENT, report_to: Sequence[str] = ()
) -> dict[str, Any]:
    """Ask the base and every adapter all that is to be measured, and write down what they say and what it comes to.

    What was answered and scored before is found again, so that a measurement that was interrupted goes on.

    Args:
        what: is measured.
        output_dir: for `TRAITS`, all answers, a picture, and one page with all of it; the folder of a run, whose
            adapters that were measured then have the results among their papers, or any other.
        progress: told of each stage, and how far it is.
        report_to: trackers that get what it comes to, see `hfvaccine.training.trackers`.

    Returns:
        The content of `TRAITS`.

    Raises:
        HfvaccineError: naming what cannot be had or asked, before the model is loaded wherever that can be known.
    """
    from hfvaccine.runs.ingredients import scorer_of
    from hfvaccine.training.adapters import digest, in_its_dtype, load_adapters
    from hfvaccine.training.base import load_base
    from hfvaccine.training.processes import fit_threads
    from hfvaccine.training.trackers import Trackers
    from hfvaccine.validation.scoring.weights import fingerprint

    check_trackers(report_to)
    fit_threads(progress)
    trained = Trained.of(what.adapters)
    refuse_prompts(what.given(), {prompt: f"the training of {arm}" for prompt, arm in trained.prompts.items()})
    refuse_rows(what.given(), trained.rows)
    place = _fitting(what)
    _refuse_another(what, place, output_dir)
    gate, (parts, prompts) = Gate.packaged(), parts_of(what.adapters)
    asked = Asked(what.roles, parts, what.conditions.all(), prompts)
    for line in undecidable(gate, asked, what.sizes()):
        progress.say(f"Warning: {line}")
    for line in trained.unknown:
        progress.say(f"Note: {line}")
    progress.say(f"{BASE}: {what.base}")
    base = load_base(what.base, dtype=what.dtype)
    # Names of arms may hold what names of modules must not.
    inner = {arm: f"arm{number}" for number, arm in enumerate(what.adapters)}
    model = in_its_dtype(load_adapters(base, {inner[arm]: adapter for arm, adapter in what.adapters.items()}))
    said: dict[str, Said] = {}
    read: dict[str, dict[tuple[str, str], Floats]] = {trait.name: {} for trait in what.traits}
    arms: dict[str, dict[str, Any]] = {}
    for arm in (BASE, *what.adapters):
        scorer = scorer_of(model, base, inner.get(arm))
        part = parts.get(arm, Part())
        arms[arm] = {
            "adapter": what.adapters.get(arm),
            "arm": part.arm,
            "seed": part.seed,
            "fingerprint": fingerprint(model, inner.get(arm)),
            "sha256": None if arm == BASE else digest(what.adapters[arm]),
        }
        said[arm] = _answers(scorer, what, place, arm, progress)
        for trait in what.traits:
            if isinstance(trait, LikelihoodTrait):
                found = _likelihoods(scorer, what, trait, place, arm, progress)
            elif isinstance(trait, Judged):  # which may take hours
                with progress.bar(
                    f"{arm}: {label_of(trait.name)}", len(what.clusters(trait)) * len(what.every())
                ) as bar:
                    found = read_answers(trait, what, said[arm], bar.update)
            else:
                found = read_answers(trait, what, said[arm])
            read[trait.name] |= {(arm, condition): values for condition, values in found.items()}
    drawn = {trait.name: Read.of(read[trait.name], what.clusters(trait)) for trait in what.traits}
    shown = [one for name, its in drawn.items() for one in profile(name, read[name], its, BASE)]
    content = {
        "schema_version": SCHEMA_VERSION,
        "base": base.record() | {"dtype": str(model.dtype).removeprefix("torch.")},
        "arms": arms,
        "questions": None if what.source is None else {**what.source, "number": len(what.questions)},
        "conditions": [condition.record() for condition in what.conditions.all()],
        "traits": [
            {
                "name": trait.name,
                "role": what.roles[trait.name],
                "questions": what.sizes()[trait.name],
                "sha256": None if (file := file_of(trait.name)) is None else digest_of(file),
                **({"judge": dict(trait.judge)} if isinstance(trait, Judged) else {}),
            }
            for trait in what.traits
        ],
        "shown": [one.record() for one in shown],
        "worst": _worst(shown, what, arms),
        "gate": judge(gate, asked, drawn),
        "settings": {
            **_asked_by(what, place),
            "level": LEVEL,
            "bootstrap_draws": DRAWS,
            "resampled": "questions",
        },
        "created_by": f"hfvaccine {VERSION}",
    }
    content["answers"] = _write_answers(said, what, output_dir)
    pictures = [figures.traits(content)]
    save_figures(pictures, output_dir)
    (output_dir / PAGE).write_text(render(content, pictures), encoding="utf-8")
    write_json(content, output_dir / TRAITS)
    for folder in arms_in(output_dir):
        try:
            if put_among_papers(folder, content):
                progress.say(f"Its papers say what was measured: {folder}")
        except LineageError as error:  # what was measured is written down, whatever became of an adapter's papers
            progress.say(f"Not among the papers of {folder}: {error}")
    Trackers(report_to, output_dir.resolve(), progress.say).report(Told.of_traits(content))
    return content


def put_among_papers(folder: Path, content: Mapping[str, Any]) -> bool:
    """Put what was measured among the papers of an adapter, with a new card, where it was among what was measured.

    Args:
        folder: of one adapter of an inoculation.
        content: of `TRAITS`.

    Returns:
        Whether it was.

    Raises:
        LineageError: where the adapter's files are not those that its record binds.
    """
    if measured_as(content, digest_of(folder / ADAPTER)) is None:
        return False
    record = open_run(folder)
    if record["base"]["weights_sha256"] != content["base"]["weights_sha256"]:  # on another base it is another model
        return False
    public = public_traits(content, record["base"]["id"])
    save_figures([figures.traits(public)], folder)
    write_papers(folder, record, public)
    return True


def named(adapters: Sequence[str]) -> dict[str, str]:
    """Adapters by the names of their arms: what stands before "=", else the last part of the folder or Hub id.

    The folder of a run of `inoculate train` stands for all its adapters.

    Raises:
        UsageError: for a name that is empty, given twice, or the base's.
        ModelError: for a folder that is not there.
    """
    arms: dict[str, str] = {}
    for given in adapters:
        name, equals, adapter = given.partition("=")
        if not equals or "/" in name:
            name, adapter = "", given
        source = Source.of("adapter", adapter)
        if not source.on_hub and not Path(source.name).is_dir():
            raise ModelError(f"There is no adapter {adapter!r}.", "Give a run folder or a Hub id, or NAME=either.")
        adapter_here = (Path(source.name) / ADAPTER_CONFIG).is_file()
        if not source.on_hub and not adapter_here and (Path(source.name) / INOCULATION).is_file():
            found = {f"{name}-{part}" if name else part: path for part, path in arms_of(Path(source.name)).items()}
        elif not source.on_hub and not adapter_here:
            raise ModelError(
                f"The folder {source.name} has no {ADAPTER_CONFIG}: it holds no adapter.",
                "Give the folder of an adapter, or that of a finished run of `inoculate train` (see --resume).",
            )
        else:
            found = {name or Path(source.name).resolve().name: adapter}
        for arm, path in found.items():
            if arm == BASE or arm in arms:
                raise UsageError(
                    f"Two arms are called {arm!r}.",
                    f"Name them apart, as one={path}; {BASE!r} is the base, which is always measured.",
                )
            arms[arm] = path
    return arms


def arms_of(folder: Path) -> dict[str, str]:
    """The adapters of a finished run, by the names of their folders.

    Args:
        folder: of the run.

    Raises:
        UsageError: for a run that is not finished.
    """
    return {name: str(folder / name) for name in _record(folder)["adapters"]}


def _record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / INOCULATION).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{folder} holds no finished run of inoculation.",
            f"Finish it: hfvaccine inoculate train --resume {folder}",
        ) from error
    return record


def parts_of(adapters: Mapping[str, str]) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Which arm of an inoculation each adapter is of: by its name, else by its own record.

    Args:
        adapters: by name.

    Returns:
        The parts by name, and the prompts that the records say the judged arms were trained under.
    """
    parts: dict[str, Part] = {}
    prompts: dict[str, None] = {}
    for name, adapter in adapters.items():
        record = _record(Path(adapter)) if (Path(adapter) / INOCULATION).is_file() else {}
        its = record.get("adapter", {})
        part = Part.named(name)
        parts[name] = part if part.arm else Part(its.get("arm"), its.get("seed"))
        if its.get("arm") in CONTROLS:
            prompts |= dict.fromkeys((record["inoculation"] or {}).get("prompts", ()))
    return parts, tuple(prompts)


def read_answers(
    trait: Trait, what: Measurement, said: Said, update: Callable[[int], Any] = lambda questions: None
) -> dict[str, Floats]:
    """What a trait reads of one arm: by condition, (prompts, its questions, samples) scores.

    Args:
        trait: that reads answers.
        what: is measured.
        said: by the arm.
        update: told of questions whose answers were read.

    Raises:
        ValidationError: where it does not give one score an answer.
    """
    questions = what.clusters(trait)
    found = {}
    for condition in what.conditions.all():
        texts = [
            (question, text)
            for number in range(len(condition.prompts))
            for question in questions
            for text in said[condition.name, number][question]
        ]
        scores = trait.scores([question for question, _ in texts], [text for _, text in texts])
        found[condition.name] = scores.reshape(len(condition.prompts), len(questions), -1)
        update(len(condition.prompts) * len(questions))
    return found


def _fitting(what: Measurement) -> str:
    """Where prompts stand; all that is to be asked fits the model's template and room, as far as its files say."""
    from hfvaccine.inoculation.callback import has_system_turn
    from hfvaccine.training.estimate import stand_in
    from hfvaccine.training.options import Training
    from hfvaccine.validation.scoring.generate import encode
    from hfvaccine.validation.scoring.scorer import Scorer

    base, _ = stand_in(Training(base=what.base))
    has_system = has_system_turn(base.tokenizer)
    if what.place == "system" and not has_system:
        raise UsageError(
            f"The chat template of {what.base} has no system turn for the prompts to stand in.",
            "Leave --place out, or give --place user.",
        )
    place = what.place or ("system" if has_system else "user")
    scorer = Scorer(base.model, base.tokenizer)
    for condition, _, prompt in what.every():
        encode(base.model, base.tokenizer, what.conversations(condition, prompt, place), what.max_new_tokens)
    for trait in what.traits:
        if isinstance(trait, LikelihoodTrait):
            scorer.check(what.requests(trait, place))
    return place


def _asked_by(what: Measurement, place: str) -> dict[str, Any]:
    return {"place": place} | {
        name: getattr(what, name) for name in ("samples", "temperature", "max_new_tokens", "seed")
    }


def _refuse_another(what: Measurement, place: str, folder: Path) -> None:
    """Refuse a folder with other answers: they would be lost. The same may be read by other traits.

    Raises:
        UsageError: naming what differs.
    """
    if not (folder / TRAITS).is_file():
        return
    asked = {
        "questions": what.source and what.source["sha256"],
        "conditions": [one.record() for one in what.conditions.all()],
        **_asked_by(what, place),
    }
    try:
        there = json.loads((folder / TRAITS).read_text(encoding="utf-8"))
        was = {
            "questions": there["questions"] and there["questions"]["sha256"],
            "conditions": there["conditions"],
            **there["settings"],
        }
    except (ValueError, LookupError, TypeError) as error:
        raise UsageError(f"{folder / TRAITS} cannot be read: {error}.", "Give another --output-dir.") from error
    if differs := [name for name, value in asked.items() if was.get(name) != value]:
        raise UsageError(
            f"{folder} holds answers under other {' and '.join(differs).replace('_', ' ')}.",
            "Keep it, and give another --output-dir; or move its traits.json and answers.jsonl away.",
        )


def _answers(scorer: Scorer, what: Measurement, place: str, arm: str, progress: Progress) -> Said:
    asked, every = what.asked(), what.every()
    if not asked:
        return {}
    said = {}
    with progress.bar(f"{arm}: answers", len(asked) * len(every)) as bar:
        for condition, number, prompt in every:  # one after the other: what they begin with is computed once
            texts = _said(scorer, what, what.conversations(condition, prompt, place), bar.update)
            said[condition.name, number] = dict(zip(asked, texts, strict=True))
    return said


def _said(
    scorer: Scorer, what: Measurement, conversations: Sequence[Any], update: Callable[[int], Any]
) -> list[list[str]]:
    if what.sampling is not None:
        return scorer.samples(conversations, what.max_new_tokens, what.sampling, update)
    return [[text] for text in scorer.answers(conversations, what.max_new_tokens, progress=update)]


def _likelihoods(
    scorer: Scorer, what: Measurement, trait: LikelihoodTrait, place: str, arm: str, progress: Progress
) -> dict[str, Floats]:
    """By condition, (prompts, items, 1) scores."""
    requests = what.requests(trait, place)
    with progress.bar(f"{arm}: {trait.name}", len(requests)) as bar:
        scored = scorer.score(requests, bar.update)
    shape = len(what.every()), len(trait.items), -1
    totals, tokens = scored.loglikelihood.reshape(shape), scored.tokens.reshape(shape)
    found: dict[str, list[Floats]] = {}
    for (condition, _, _), total, count in zip(what.every(), totals, tokens, strict=True):
        found.setdefault(condition.name, []).append(trait.scores(total, count))
    return {name: np.stack(scores)[:, :, None] for name, scores in found.items()}


def _worst(shown: Sequence[Shown], what: Measurement, arms: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = [
        worst([one for one in shown if (one.trait, one.arm) == (trait.name, arm)], what.roles[trait.name] == KEEP)
        for trait in what.traits
        for arm in arms
    ]
    return [
        {"trait": one.trait, "arm": one.arm, "condition": one.condition}
        | {"difference": None if one.difference is None else one.difference.record()}
        for one in found
        if one is not None
    ]


def _write_answers(said: Mapping[str, Said], what: Measurement, folder: Path) -> dict[str, Any]:
    """Write down every answer; how many there are, and the digest of the file."""
    number = 0
    with whole_file(folder / ANSWERS) as staged, staged.open("w", encoding="utf-8") as file:
        for arm, answers in said.items():
            for condition, asked, prompt in what.every() if answers else ():
                for question, texts in answers[condition.name, asked].items():
                    for sample, text in enumerate(texts):
                        row = {"arm": arm, "condition": condition.name, "prompt": prompt, "question": question}
                        file.write(json.dumps({**row, "sample": sample, "text": text}, ensure_ascii=False) + "\n")
                        number += 1
    return {"number": number, "sha256": digest_of(folder / ANSWERS)}
