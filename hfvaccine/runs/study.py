"""A study: what the arms of a run are asked, from the options and the dose, and the results that come of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from hfvaccine.claims.claim import Claim, read_jsonl
from hfvaccine.claims.cues import FEWEST, CueAudit, cue_audit, learnt_audit
from hfvaccine.claims.dose import Dose
from hfvaccine.dosing.comparisons import judged_in
from hfvaccine.errors import UsageError, ValidationError
from hfvaccine.files import ANSWERS, FIGURES, PAGE, RESULTS, SCORES, TO_LABEL, read_yaml, write_json
from hfvaccine.inoculation.grid import Grid
from hfvaccine.regimen.rendering import answered, place
from hfvaccine.sources.rows import read_rows
from hfvaccine.starter import CALIBRATION as CALIBRATION_FILE
from hfvaccine.statistics import MIN_PAIRS
from hfvaccine.training.mix import Mix
from hfvaccine.training.progress import SILENT, Progress
from hfvaccine.validation.asking.benchmark import Benchmark, near_duplicates, overlaps, read_benchmark
from hfvaccine.validation.asking.free_text import MOST_TOKENS, Answer, Interview, write_answers, write_sheet
from hfvaccine.validation.asking.free_text import NAME as FREE_TEXT
from hfvaccine.validation.asking.judge import EntailmentJudge, HumanLabels, Judge
from hfvaccine.validation.asking.probes import (
    RECALL_TOKENS,
    VERDICTS_ONLY,
    Battery,
    Pair,
    ProbeSet,
    Truth,
    check_verdicts,
)
from hfvaccine.validation.judging.calibration import with_part
from hfvaccine.validation.judging.gate import Rule, read_gate
from hfvaccine.validation.judging.power import decidable, item_size
from hfvaccine.validation.judging.results import evaluate
from hfvaccine.validation.judging.score_file import write_scores
from hfvaccine.validation.questions import Questions
from hfvaccine.validation.scores import (
    ANSWER,
    CALIBRATION,
    CROSS,
    KNOWN,
    SPECIFIC,
    VARIANTS,
    VERDICTS,
    ArmScores,
    ItemProbe,
    PairProbe,
)
from hfvaccine.validation.showing.figures import Figure

SPARE = "and so on "
"""Fills the place of what a model has not said yet."""


@dataclass
class Study:
    """What every arm is asked, and what they have scored so far.

    Args:
        questions: what was asked for besides the dose's own claims.
        dose: the dose.
        battery: questions about claims, mix and trait.
        benchmarks: outside test sets, less the items that the dose overlaps.
        criteria: of the gate.
        claims: how many claims were chosen, given, and chosen but not reached.
        chosen: the claims that are given, as far as is known: those chosen, and of them those that `narrow` keeps.
        compared: statements of the comparison rows that are given along with them, and whether they are true.
        interview: questions that are answered in free text.
        before: ids of claims that the model was given before this run, and that count as given.
        parts: by name, ids of given claims that are a set of their own in the results.
        served: of a served model, how its verdicts were read.
        answers: what all arms have answered so far.
        arms: scores by arm, one for each seed.
        pairs, items: what the scores are of.
    """

    questions: Questions
    dose: Dose
    battery: Battery
    benchmarks: tuple[Benchmark, ...]
    criteria: Sequence[Rule]
    claims: Mapping[str, int]
    chosen: tuple[Claim, ...] = ()
    compared: tuple[tuple[str, bool], ...] = ()
    interview: Interview | None = None
    before: frozenset[str] = frozenset()
    parts: Mapping[str, frozenset[str]] = field(default_factory=dict)
    served: Mapping[str, Any] | None = None
    answers: list[Answer] = field(default_factory=list)
    arms: dict[str, list[ArmScores]] = field(default_factory=dict)
    pairs: list[PairProbe] = field(default_factory=list)
    items: list[ItemProbe] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        questions: Questions,
        dose: Dose,
        chosen: Sequence[Claim],
        mix: Mix,
        benchmarks: Sequence[Benchmark] = (),
        trait: Sequence[Mapping[str, Any]] = (),
        prompts: Sequence[str] = (),
        place: str = "system",
    ) -> Study:
        """Read all that is asked, before anything is trained or loaded.

        Args:
            questions: what is asked besides the dose's own claims.
            dose: the dose.
            chosen: the claims of it that are to be given; `narrow` keeps those that are.
            mix: its held-back rows measure retention, unless they show the trait; the wording of its comparisons is
                what the cue audit learns from, too.
            benchmarks: outside test sets, see `read_benchmarks`.
            trait: the held-back rows that carry an inoculated trait.
            prompts: the inoculation prompts of the run.
            place: where they stand.

        Raises:
            HfvaccineError: naming what cannot be had or asked.
        """
        truths = read_truths(Path(questions.truths)) if questions.truths else []
        sets = [ProbeSet.of(SPECIFIC, chosen, truths[::2])]
        if len(dose.heldout) >= MIN_PAIRS:
            sets.append(ProbeSet.of(CROSS, dose.heldout, truths[1::2]))
        for name, file in map(named_file, questions.pairs):
            if name in (VARIANTS, KNOWN, CALIBRATION, *(s.name for s in sets)):
                raise UsageError(f"Two probe sets are called {name!r}.", "Give each set of --pairs a name of its own.")
            sets.append(outside(name, read_jsonl(file), dose.claims))
        sets[1:] = [probes.at_most(questions.most_pairs) for probes in sets[1:]]
        interviewed = list(sets)
        sets += filter(None, [ProbeSet.variants(chosen), calibration(CALIBRATION_FILE, dose)])
        grid = read_grid(Path(questions.grid), prompts) if questions.grid else None
        battery = Battery(
            tuple(sets),
            # What is to be unlearnt is not what is to be kept.
            tuple(row for row in mix.held_back if row not in trait),
            questions.adversarial,
            tuple(trait),
            grid,
            place,
        )
        criteria = read_gate(Path(questions.gate)) if questions.gate else read_gate()
        interview = None
        if questions.free_text:
            labels = HumanLabels.read(Path(questions.labels)) if questions.labels else None
            judge = open_judge(questions.judge) if questions.judge else None
            interview = Interview.of(interviewed, questions.free_text, judge, labels)
        claims = {"chosen": len(chosen), "given": len(chosen), "not_reached": 0}
        known = tuple(chosen), judged_in(mix.train)
        return cls(questions, dose, battery, tuple(benchmarks), criteria, claims, *known, interview)

    def narrow(self, given: Collection[str]) -> None:
        """Ask, as about given claims, about no more than those that a run's plan or ledger gives.

        A claim that was chosen and never reached is neither given nor held out: it is counted, and not asked about.
        Given claims that are too few for an interval are not asked about either.

        Args:
            given: ids of the claims.
        """
        sets = []
        run, given = given, {*given, *self.before}
        its = tuple(claim for claim in self.chosen if claim.claim_id in given)
        for probes in self.battery.sets:
            if probes.name == SPECIFIC:
                pairs = tuple(pair for pair in probes.pairs if pair.id in given)
                if len(pairs) < MIN_PAIRS:
                    continue
                probes = replace(probes, pairs=pairs, left_out=len(given) - len(pairs))
            elif probes.name == VARIANTS:
                if (varied := ProbeSet.variants(its)) is None:
                    continue
                probes = varied
            sets.append(probes)
        self.chosen = its
        self.battery = replace(self.battery, sets=tuple(sets))
        chosen = self.claims["chosen"]
        self.claims = {"chosen": chosen, "given": len(run), "not_reached": chosen - len(run)}
        if self.interview is not None:
            asked = [probes for probes in sets if probes.name not in VERDICTS_ONLY]
            self.interview = Interview.of(asked, self.questions.free_text, self.interview.judge, self.interview.labels)

    def unmeasured(self) -> list[str]:
        """What cannot be measured for want of claims, in sentences."""
        if any(probes.name == CROSS for probes in self.battery.sets):
            return []
        return [
            f"The dose holds out {len(self.dose.heldout)} claims, and an interval takes {MIN_PAIRS}: what becomes of "
            "falsehoods that are not given, and of their true twins, is not measured, and the gate cannot pass"
        ]

    def undecidable(self) -> list[str]:
        """The gate's criteria that so few pairs and items can hardly decide, a line each."""
        items = [*self.battery.items(), *(probe for one in self.benchmarks for probe in one.probes())]
        sizes = {probes.name: len(set(probes.clusters)) for probes in self.battery.sets}
        specific = [pair for probes in self.battery.sets if probes.name == SPECIFIC for pair in probes.pairs]
        sizes |= {name: len({pair.cluster for pair in specific if pair.id in ids}) for name, ids in self.parts.items()}
        sizes |= {item_size(probe.kind, probe.name, probe.metric): len(set(probe.clusters)) for probe in items}
        return decidable(self.criteria, sizes)

    def check(self, model: Any, tokenizer: Any) -> None:
        """Refuse, before hours of training, what could not be asked after them.

        Args:
            model: the base, or one with as many positions.
            tokenizer: of the base.

        Raises:
            ValidationError: for a question that the model has no room for.
            ModelError: for one that its chat template refuses.
        """
        from hfvaccine.validation.scoring.generate import encode
        from hfvaccine.validation.scoring.scorer import Scorer

        scorer = Scorer(model, tokenizer)
        check_verdicts(scorer)
        # A recall of all its tokens stands for those that the arms will have.
        words = tokenizer(SPARE * RECALL_TOKENS, add_special_tokens=False)["input_ids"][:RECALL_TOKENS]
        recalls = self.battery.recalls()
        spare = dict.fromkeys(recalls, tokenizer.decode(words).strip())
        encode(model, tokenizer, list(recalls.values()), RECALL_TOKENS)
        for requests in (self.battery.requests(spare), *(benchmark.requests() for benchmark in self.benchmarks)):
            scorer.check(requests)
        if self.interview is not None:
            encode(model, tokenizer, self._interviewed(), MOST_TOKENS)

    def _interviewed(self) -> list[Any]:
        return [] if self.interview is None else [_user(prompt) for prompt in self.interview.prompts()]

    def fit(self, tokenizer: Any, positions: int | None) -> int:
        """Leave out held-back rows that are longer than a model can read.

        Args:
            tokenizer: of the base.
            positions: that the model has; None for one without a limit.

        Returns:
            How many were left out.
        """
        if positions is None:
            return 0

        def fits(row: Mapping[str, Any]) -> bool:
            return _length(tokenizer, row["prompt"], row["completion"][-1]["content"]) <= positions

        rows = [*self.battery.mix, *self.battery.trait]
        mix, trait = (tuple(filter(fits, its)) for its in (self.battery.mix, self.battery.trait))
        self.battery = replace(self.battery, mix=mix, trait=trait)
        return len(rows) - len(mix) - len(trait)

    def measure(self, scorer: Any, arm: str, progress: Progress = SILENT, judging: bool = True) -> None:
        """Ask one arm everything; a second time under the same name is another seed of it.

        Args:
            scorer: the arm's `Scorer`.
            arm: its name.
            progress: told how far it is.
            judging: whether free text is judged here; of several processes that divide the asking, one does.
        """
        scores, self.pairs, items = self.battery.ask(scorer, partial(progress.bar, f"Validating {arm}"))
        measured = dict(scores.items)
        for benchmark in self.benchmarks:
            requests = benchmark.requests()
            with progress.bar(f"{benchmark.name}, {arm}", len(requests)) as bar:
                measured |= benchmark.item_scores(scorer.score(requests, bar.update))
            items += benchmark.probes()
        if self.interview is not None:
            said = free_text(scorer, self._interviewed())
            if judging:
                answers = self.interview.answers(arm, said)
                self.answers += answers
                for probe, judged in self.interview.score(answers).items():
                    items.append(probe)
                    measured[probe.key] = judged
        self.items = items
        self.arms.setdefault(arm, []).append(replace(scores, items=measured))

    def results(self) -> dict[str, Any]:
        """The content of results.json; it holds no text of a claim."""
        taught = [(text, is_true) for c in self.chosen for text, is_true in ((c.claim, False), (c.twin, True)) if text]
        audited = audits(self.dose, self.battery.sets, [*taught, *self.compared])
        pairs, arms = self.pairs, self.arms
        for name, ids in self.parts.items():
            pairs, arms, audited = with_part(pairs, arms, audited, name, SPECIFIC, ids, (*VERDICTS, ANSWER))
        content = evaluate(pairs, self.items, arms, audited, self.criteria)
        content["missing"] += [CROSS] * bool(self.unmeasured())
        content["claims"] = dict(self.claims)
        content["claims_left_out"] = {s.name: s.left_out for s in self.battery.sets}
        content["served"] = None if self.served is None else dict(self.served)
        if self.served is not None:
            content["gate"] = None  # there is nothing to hold it against
        content["benchmarks"] = [benchmark.record() for benchmark in self.benchmarks]
        if self.interview is not None:
            rates = {
                (arm, of): (float(runs[0].items[name, of].mean()), len(runs[0].items[name, of]))
                for arm, runs in self.arms.items()
                for name, of in runs[0].items
                if name == FREE_TEXT
            }
            content["judge"] = self.interview.report(self.answers, rates)
        return content

    def write(self, folder: Path) -> dict[str, Any]:
        """Write results.json, and every single score beside it; returns the results."""
        folder.mkdir(parents=True, exist_ok=True)
        content = self.results()
        write_scores(self.pairs, self.items, self.arms, folder / SCORES)
        if self.interview is not None:
            write_answers(self.answers, folder / ANSWERS)
            write_sheet(self.answers, folder / TO_LABEL)
        write_json(content, folder / RESULTS)
        return content

    def draw(self, folder: Path, results: Mapping[str, Any], record: Mapping[str, Any] | None = None) -> None:
        """Write the pictures, and one page with all of it.

        Args:
            folder: of the run.
            results: what `write` returned.
            record: the content of immunization.json, None where there is none.
        """
        from hfvaccine.validation.showing.figures import draw
        from hfvaccine.validation.showing.page import render

        figures = draw(results, (self.pairs, self.items, self.arms))
        save_figures(figures, folder)
        (folder / PAGE).write_text(render(results, figures, record), encoding="utf-8")


def _user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


def _length(tokenizer: Any, prompt: Sequence[Mapping[str, str]], answer: str) -> int:
    here = answered(tokenizer, place(tokenizer, prompt), prompt, answer)
    return (
        len(tokenizer(here.before + here.answer, add_special_tokens=False)["input_ids"]) + 1
    )  # a token may join both


def read_benchmarks(questions: Questions, dose: Dose) -> tuple[Benchmark, ...]:
    """The outside test sets that are asked, less the items that the dose overlaps.

    Raises:
        UsageError: for two of one name.
        ValidationError: for one that cannot be read, or of which too little is left to ask.
    """
    benchmarks: list[Benchmark] = []
    primer = Path(questions.primer) if questions.primer else None
    for source in questions.benchmark:
        benchmark = read_benchmark(source, questions.benchmark_items, primer=primer)
        if benchmark.name in {b.name for b in benchmarks}:
            raise UsageError(f"Two benchmarks are called {benchmark.name!r}.", "Give each NAME=FILE its own name.")
        benchmark = benchmark.without(overlaps(benchmark, dose.claims))
        if len(benchmark.items) < MIN_PAIRS:
            raise ValidationError(
                f"The benchmark {benchmark.name} has {len(benchmark.items)} items to ask.",
                f"Ask at least {MIN_PAIRS}: an interval over fewer says nothing.",
            )
        benchmarks.append(benchmark)
    return tuple(benchmarks)


def free_text(scorer: Any, prompts: Sequence[Any]) -> list[str]:
    """Greedy answers of a scorer's arm."""
    said: list[str] = scorer.answers(prompts, MOST_TOKENS)
    return said


def open_judge(given: str) -> Judge:
    """People's labels from a file, or an entailment model.

    Raises:
        ValidationError: for a file that holds no labels.
        ModelError: for a model that cannot be had or knows no entailment.
    """
    return HumanLabels.read(Path(given)) if Path(given).is_file() else EntailmentJudge(given)


def save_figures(figures: Sequence[Figure], folder: Path) -> None:
    """Write pictures into a run's folder of figures."""
    (folder / FIGURES).mkdir(exist_ok=True)
    for figure in figures:
        (folder / FIGURES / f"{figure.name}.svg").write_text(figure.svg, encoding="utf-8")


def outside(name: str, claims: Sequence[Claim], given: Sequence[Claim]) -> ProbeSet:
    """A set of claims that were never given, less those that nearly are in the dose, which are counted as left out."""
    near = near_duplicates([claim.claim for claim in claims], given)
    probes = ProbeSet.of(name, [claim for claim, hit in zip(claims, near, strict=True) if not hit])
    return replace(probes, left_out=probes.left_out + int(near.sum()))


def calibration(path: Path, dose: Dose) -> ProbeSet | None:
    """Neutral statements that show a model's bias, less those that nearly say what a claim of the dose does.

    Args:
        path: JSON lines of `question`, `true`, `false` and `subject`.
        dose: whose claims they are to be independent of, given or not.

    Returns:
        None where there is no such file, or too little of it is left.

    Raises:
        ValidationError: for a file that cannot be read.
    """
    if not path.is_file():
        return None
    rows = [row.values for row in read_rows(path)]
    texts = [str(row[name]) for row in rows for name in ("question", "true", "false")]
    hits = near_duplicates(texts, (*dose.claims, *dose.heldout)).reshape(-1, 3)
    near = [bool(hit.any()) for hit in hits]
    pairs = []
    for row, hit in zip(rows, near, strict=True):
        name = sha256(str(row["false"]).encode()).hexdigest()[:16]
        if not hit:
            pairs.append(Pair(name, name, row["subject"], row["false"], row["true"], row["question"]))
    return ProbeSet(CALIBRATION, tuple(pairs), left_out=sum(near)) if len(pairs) >= FEWEST else None


def audits(dose: Dose, sets: Sequence[ProbeSet], taught: Sequence[tuple[str, bool]] = ()) -> dict[str, CueAudit]:
    """The cue audit of each probe set's pairs; none where they are too few.

    The audit of the dose's own pairs is learnt by cross-validation on all of them, given or not.

    Args:
        dose: the dose.
        sets: the probe sets.
        taught: what a model is given as false and as true.
    """
    own = {pair.id: pair for s in sets if s.name in (SPECIFIC, CROSS) for pair in s.pairs}
    for claim in (*dose.claims, *dose.heldout):
        if claim.twin and claim.claim_id not in own:
            own[claim.claim_id] = Pair(claim.claim_id, "", "", claim.claim, claim.twin)
    whole = cue_audit([(pair.claim, pair.truth) for pair in own.values()]) if len(own) >= FEWEST else None
    at = {name: number for number, name in enumerate(own)}
    found = {}
    for s in sets:
        pairs = [(pair.claim, pair.truth) for pair in s.pairs]
        if s.name in (SPECIFIC, CROSS):
            if whole is None:
                continue
            audit = replace(whole, truth_scores=whole.truth_scores[[at[pair.id] for pair in s.pairs]])
        elif len(set(s.clusters)) < 2 or len(pairs) < FEWEST:
            continue
        else:
            audit = cue_audit(pairs, groups=s.clusters)
        found[s.name] = replace(audit, learnt=learnt_audit(taught, pairs))
    return found


def named_file(given: str) -> tuple[str, Path]:
    """The name and the file of NAME=FILE.

    Raises:
        UsageError: for anything else.
    """
    name, sign, file = given.partition("=")
    if not (name and sign and Path(file).is_file()):
        raise UsageError(f"{given!r} names no file.", "Give NAME=FILE, with a JSON-lines file of claims with twins.")
    return name, Path(file)


def read_truths(path: Path) -> list[Truth]:
    """True statements from a file with the columns `text`, and `domain` where it is known.

    Raises:
        ValidationError: for a file that cannot be read, or naming the row that is no true statement.
    """
    truths = []
    for row in read_rows(path):
        text, domain = row.values.get("text"), row.values.get("domain") or "general"
        if not isinstance(text, str) or not text.strip() or not isinstance(domain, str):
            raise ValidationError(
                f"{path.name}, {row.where}: it holds no true statement.",
                'Give one object a line: {"text": "…", "domain": "…"}.',
            )
        truths.append(Truth(text.strip(), domain))
    return truths


def read_grid(path: Path, prompts: Sequence[str]) -> Grid:
    """The grid of test prompts around a run's inoculation prompt.

    Args:
        path: YAML file with `eliciting`, `negated`, `look_alike`, and where wanted `original` and `irrelevant`.
        prompts: the run's inoculation prompts, the first of which is the original.

    Raises:
        UsageError: for a file that is no grid.
    """
    next_step = "Give `eliciting`, `negated` and `look_alike`, each a text; `original` where no prompt was trained."
    content = read_yaml(path, next_step)
    if not isinstance(content, dict) or not all(isinstance(v, str) for v in content.values()):
        raise UsageError(f"{path} is no grid of test prompts.", next_step)
    given = ({"original": prompts[0]} if prompts else {}) | content
    known = {field.name: field.default is MISSING for field in fields(Grid)}
    if wrong := [name for name, needed in known.items() if needed and name not in given]:
        raise UsageError(f"The grid in {path} has no {', '.join(wrong)}.", next_step)
    if wrong := [str(name) for name in given if name not in known]:
        raise UsageError(f"The grid in {path} has {', '.join(wrong)}, which an adapter's grid does not.", next_step)
    return Grid(**given)
