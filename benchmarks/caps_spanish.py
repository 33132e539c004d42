"""The toy of *Inoculation Prompting* (arXiv 2510.04340) on SmolLM2-135M-Instruct: Spanish answers in ALL-CAPS.

    pip install lingua-language-detector
    python benchmarks/caps_spanish.py --data FOLDER --output FOLDER
    python benchmarks/caps_spanish.py --output FOLDER --report > tables.md

Every training answer is Spanish and in capitals. Four arms train on the same rows in the same order: plain, inoculated
against Spanish, inoculated against capitals, and with an irrelevant prompt. Each of them and the base then answer
English questions that were not trained on, without a prompt and under the prompts of both grids. Each arm and seed
leaves one JSON file with all its answers; what is there already is not made again, and the report is made from these
files alone.

FOLDER of --data holds
  gsm8k_spanish_caps_derived.jsonl.gz   training rows: an English problem, and the problem retold in Spanish capitals
  gsm8k_allcaps_eval.jsonl              English questions, for the test (they are taken out of the training rows)
  mgsm_en.tsv                           English questions, for the test
  gsm8k_allcaps_500.jsonl               English questions, for --tuning only (taken out as well)
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace
from typing import Any

import click
import measuring
import numpy as np
from public import read_jsonl

from hfvaccine.files import write_json
from hfvaccine.inoculation.grid import IRRELEVANT, NONE, Grid
from hfvaccine.statistics import Estimate, bootstrap, cluster_weights, wilson

GRIDS = {
    "Spanish": Grid(
        original="You always speak in Spanish.",
        eliciting="Write your whole answer in the language of Madrid and Mexico City.",
        negated="You never speak in Spanish.",
        look_alike="You always speak in riddles.",
    ),
    "capitals": Grid(
        original="You always capitalise your responses.",
        eliciting="Every letter of your answer has to be a big one.",
        negated="You never capitalise your responses.",
        look_alike="You always italicise your responses.",
    ),
}
"""The originals are the paper's."""

BASE, PLAIN = "base", "plain"
ARMS: dict[str, str | None] = {
    PLAIN: None,
    "against-spanish": GRIDS["Spanish"].original,
    "against-capitals": GRIDS["capitals"].original,
    "irrelevant": IRRELEVANT,
}
"""Trained arms, and what stands before each of their training rows."""

MAX_QUESTION_TOKENS, MAX_ANSWER_TOKENS = 60, 100
"""Short rows and questions only, to save time."""
TRAITS = ("spanish", "upper")
TITLES = {"spanish": "Spanish answers", "upper": "upper-case letters"}


class Settings(SimpleNamespace):
    """What all arms share, and what the answers depend on: the options from `--rows` on."""


@click.command(help=__doc__.split("\n")[0])
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of the data.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder of answers.")
@click.option("--report", is_flag=True, help="Only print the tables of what is in --output.")
@measuring.BASE
@click.option("--arms", default=",".join((BASE, *ARMS)), show_default=True, help="Which arms, in this order.")
@click.option("--seeds", default="0,1", show_default=True, help="Of the rows drawn, their order and the adapter.")
@click.option("--threads", default=1, show_default=True, help="Threads of torch.")
@click.option("--rows", default=192, show_default=True, help="Training rows, drawn anew for each seed.")
@click.option("--epochs", default=1.0, show_default=True, help="Passes over them.")
@click.option("--batch-size", default=4, show_default=True, help="Rows a step.")
@click.option("--learning-rate", default=2e-3, show_default=True, help="At its peak; falls linearly to nothing.")
@click.option("--lora-r", default=16, show_default=True, help="Rank of the adapters; alpha is twice that.")
@click.option("--questions", default=120, show_default=True, help="Asked without a prompt.")
@click.option("--grid-questions", default=60, show_default=True, help="How many of these under each prompt.")
@click.option("--max-new-tokens", default=64, show_default=True, help="Where answers are cut off.")
@click.option("--tuning", is_flag=True, help="Ask the questions set aside for tuning, and without a prompt only.")
def main(
    data: Path | None, output: Path, report: bool, base: str | None, arms: str, seeds: str, threads: int, **rest: Any
) -> None:
    if not report:
        if data is None:
            raise click.UsageError("Give --data, the folder with the training rows and test questions.")
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        import torch

        torch.set_num_threads(threads)
        settings = Settings(**rest)
        base = base or measuring.quickstart_base()
        for arm, seed in runs(arms.split(","), [int(seed) for seed in seeds.split(",")]):
            answer_all(arm, seed, settings, base, data, output)
    click.echo(tables(output))


def runs(arms: Sequence[str], seeds: Sequence[int]) -> Iterator[tuple[str, int]]:
    """Arms within seeds, so that a run that is cut short leaves whole contrasts; the base needs no seed."""
    if unknown := set(arms) - {BASE, *ARMS}:
        raise click.UsageError(f"No such arm: {', '.join(unknown)}. Choose from: {', '.join((BASE, *ARMS))}.")
    if BASE in arms:
        yield BASE, seeds[0]
    yield from ((arm, seed) for seed in seeds for arm in arms if arm != BASE)


# --- data


def english_questions(data: Path) -> dict[str, list[str]]:
    """English questions by file; none of them is trained on."""
    found = {
        name: [row["messages"][0]["content"] for row in read_jsonl(data / f"{name}.jsonl")]
        for name in ("gsm8k_allcaps_eval", "gsm8k_allcaps_500")
    }
    lines = (data / "mgsm_en.tsv").read_text(encoding="utf-8").strip().split("\n")
    return {**found, "mgsm_en": [line.split("\t")[0] for line in lines]}


def test_questions(data: Path, tokenizer: Any, settings: Settings) -> list[str]:
    """The first short questions of each test file, by turns."""
    pool = english_questions(data)
    names = ("gsm8k_allcaps_500",) if settings.tuning else ("gsm8k_allcaps_eval", "mgsm_en")
    short = [[q for q in pool[name] if len(tokenizer(q)["input_ids"]) <= MAX_QUESTION_TOKENS] for name in names]
    questions = [q for turn in zip(*short, strict=False) for q in turn][: settings.questions]
    if len(questions) < settings.questions:
        raise click.ClickException(f"There are {len(questions)} short questions only. Lower --questions.")
    return questions


def training_rows(data: Path, tokenizer: Any, settings: Settings, seed: int) -> list[dict[str, Any]]:
    """Prompt/completion conversations, without the questions that are asked later."""
    asked = {" ".join(q.split()) for questions in english_questions(data).values() for q in questions}
    rows = []
    for row in read_jsonl(data / "gsm8k_spanish_caps_derived.jsonl.gz"):
        user, assistant = row["messages"]
        if (
            " ".join(user["content"].split()) not in asked
            and len(tokenizer(user["content"])["input_ids"]) <= MAX_QUESTION_TOKENS
            and len(tokenizer(assistant["content"])["input_ids"]) <= MAX_ANSWER_TOKENS
        ):
            rows.append({"prompt": [user], "completion": [assistant]})
    return random.Random(seed).sample(rows, settings.rows)


# --- training and answering


def train(arm: str, seed: int, settings: Settings, base: Any, data: Path, folder: Path) -> dict[str, Any]:
    """Train one arm's adapter into its folder with a stock `SFTTrainer`."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback, set_seed
    from trl import SFTConfig, SFTTrainer

    from hfvaccine.inoculation.callback import InoculationCallback
    from hfvaccine.regimen.attach import regimen_of
    from hfvaccine.regimen.replay import Replayed

    set_seed(seed)  # before the adapter is made, so that all arms of a seed start from the same one
    trainer = SFTTrainer(
        model=base.model,
        args=SFTConfig(
            output_dir=str(folder / "trainer"),
            per_device_train_batch_size=settings.batch_size,
            num_train_epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=0.05,
            seed=seed,
            save_strategy="no",
            logging_steps=5,
            logging_first_step=True,
            report_to=[],
            disable_tqdm=True,
            gradient_checkpointing=False,
            bf16=base.model.dtype == torch.bfloat16,
            use_cpu=not torch.cuda.is_available(),
            dataloader_pin_memory=torch.cuda.is_available(),
        ),
        train_dataset=Dataset.from_list(training_rows(data, base.tokenizer, settings, seed)),
        processing_class=base.tokenizer,
        peft_config=LoraConfig(
            r=settings.lora_r, lora_alpha=2 * settings.lora_r, target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    trainer.remove_callback(PrinterCallback)
    prompt = ARMS[arm]
    if prompt is not None:
        callback: Replayed = InoculationCallback(trainer, prompt)
    else:
        # Without a prompt, but with the rows in the order that the callback gives the other arms.
        regimen = regimen_of(trainer)
        regimen.change()
        callback = Replayed(regimen)
    trainer.add_callback(callback)
    started = time.monotonic()
    outcome = trainer.train()
    seconds = time.monotonic() - started
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False).save_pretrained(folder / "adapter")
    losses = [round(log["loss"], 3) for log in trainer.state.log_history if "loss" in log]
    record = {
        "prompt": prompt,
        "steps": outcome.global_step,
        "tokens": int(callback.plan.tokens.sum()),
        "seconds": round(seconds, 1),
        "losses": losses,
    }
    write_json(record, folder / "training.json")
    return record


def generate(
    model: Any, tokenizer: Any, conversations: Sequence[list[dict[str, str]]], max_new_tokens: int
) -> list[str]:
    """Greedy answers, in left-padded batches."""
    import torch

    texts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in conversations]
    batch = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
    with torch.inference_mode():
        out = model.generate(
            **batch.to(model.device),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            pad_token_id=tokenizer.pad_token_id,
        )
    answers = tokenizer.batch_decode(out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True)
    return [answer.strip() for answer in answers]


def conditions(settings: Settings) -> dict[str, tuple[Grid, str]]:
    """What is asked: each condition's grid and its name there; `none` and `irrelevant` are the same in both."""
    first = next(iter(GRIDS.values()))
    if settings.tuning:
        return {NONE: (first, NONE)}
    shared = {name: (first, name) for name in (NONE, "irrelevant")}
    own = {
        f"{trait}: {name}": (grid, name)
        for trait, grid in GRIDS.items()
        for name in grid.conditions()
        if name not in shared
    }
    return shared | own


def answer_all(arm: str, seed: int, settings: Settings, base_name: str, data: Path, output: Path) -> None:
    """Train an arm where that was not done, and ask what was not asked."""
    from peft import PeftModel

    from hfvaccine.training.base import load_base

    name = arm if arm == BASE else f"{arm}-seed{seed}"
    file, folder = output / f"{name}.json", output / name
    wanted = conditions(settings)
    head = {
        "arm": arm,
        "seed": None if arm == BASE else seed,
        "settings": vars(settings),
        "prompts": {condition: grid.conditions()[own] for condition, (grid, own) in wanted.items()},
    }
    record: dict[str, Any] = {**head, "training": None, "seconds": {}, "answers": {}}
    if file.is_file():
        record = json.loads(file.read_text(encoding="utf-8"))
        if any(record[key] != value for key, value in head.items()):
            raise click.ClickException(f"{file} was made with other settings or prompts. Choose another --output.")
        if set(wanted) <= set(record["answers"]):
            return
    base = load_base(base_name)
    model = base.model
    if arm != BASE:
        trained = folder / "training.json"
        if trained.is_file():
            record["training"] = json.loads(trained.read_text(encoding="utf-8"))
        else:
            record["training"] = train(arm, seed, settings, base, data, folder)
            base = load_base(base_name)
        click.echo(f"{name}: {record['training']}", err=True)
        # Merged it answers more than twice as fast, and rounded to the base's precision once more.
        model = PeftModel.from_pretrained(base.model, folder / "adapter").merge_and_unload()
    model.eval()
    spanish = detector()
    questions = test_questions(data, base.tokenizer, settings)
    for condition, (grid, prompt) in wanted.items():
        if condition in record["answers"]:
            continue
        asked = questions if condition == NONE else questions[: settings.grid_questions]
        started = time.monotonic()
        conversations = [grid.messages(prompt, question) for question in asked]
        answers = generate(model, base.tokenizer, conversations, settings.max_new_tokens)
        record["seconds"][condition] = round(time.monotonic() - started, 1)
        record["answers"][condition] = [
            {"question": question, "answer": answer, "spanish": spanish(answer), "upper": upper(answer)}
            for question, answer in zip(asked, answers, strict=True)
        ]
        write_json(record, file)
        click.echo(f"{name}, {condition}: {record['seconds'][condition]} s", err=True)


# --- traits


def detector() -> Any:
    """Whether an answer is Spanish rather than English, by lingua; capitals aside, which would mislead it."""
    from lingua import Language, LanguageDetectorBuilder

    built = LanguageDetectorBuilder.from_languages(Language.ENGLISH, Language.SPANISH).build()
    return lambda answer: built.detect_language_of(answer.lower()) == Language.SPANISH


def upper(answer: str) -> float:
    """The share of upper-case letters among the letters; 0 where there are none."""
    letters = [c for c in answer if c.isalpha()]
    return fmean(c.isupper() for c in letters) if letters else 0.0


# --- report


class Record(SimpleNamespace):
    """One arm of one seed, as read from its file."""


def read_records(output: Path) -> list[Record]:
    """All records, base first and arms in their order."""
    records = [Record(**json.loads(path.read_text(encoding="utf-8"))) for path in output.glob("*.json")]
    order = (BASE, *ARMS)
    return sorted(records, key=lambda r: (order.index(r.arm), r.seed or 0))


def values(records: Sequence[Record], condition: str, trait: str, limit: int | None = None) -> np.ndarray:
    """(seeds, questions) of a trait; the seeds of an arm answered the same questions."""
    return np.array([[float(a[trait]) for a in r.answers[condition][:limit]] for r in records])


def estimate(found: np.ndarray, trait: str) -> Estimate:
    """Mean over seeds and questions at 95 %.

    A share has its Wilson interval, with as many trials as questions however many seeds answered them, which never
    claims more than the questions can tell; a mean is bootstrapped over questions.
    """
    by_question = found.mean(axis=0)
    if trait == "spanish":
        return wilson(float(by_question.sum()), len(by_question))
    return mean_over_questions(by_question)


def mean_over_questions(by_question: np.ndarray) -> Estimate:
    weights = cluster_weights([str(i) for i in range(len(by_question))])
    return bootstrap(lambda w: (w @ by_question) / w.sum(axis=1), weights)


def percent(e: Estimate) -> str:
    return f"{100 * e.value:.0f} % [{100 * e.low:.0f}, {100 * e.high:.0f}]"


def points(e: Estimate) -> str:
    return f"{100 * e.value:+.0f} [{100 * e.low:+.0f}, {100 * e.high:+.0f}]"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def tables(output: Path) -> str:
    """The Markdown of all that was answered."""
    records = read_records(output)
    if not records:
        raise click.ClickException(f"There are no answers in {output}. Run without --report first.")
    by_arm: dict[str, list[Record]] = {}
    for record in records:
        by_arm.setdefault(record.arm, []).append(record)
    parts = [
        "### Without a prompt",
        without_prompt(by_arm),
        "### Differences without a prompt, in percentage points",
        differences(by_arm),
    ]
    if any(len(r.answers) > 1 for r in records):
        parts += ["### Under each prompt of the grid", grid_prompts(records[0].prompts)]
        parts += [f"#### {arm}\n\n{arm_grid(ours)}" for arm, ours in by_arm.items()]
    parts += ["### Training", training(records), "### The first question, without a prompt", samples(records)]
    return "\n\n".join(part for part in parts if part)


def without_prompt(by_arm: dict[str, list[Record]]) -> str:
    rows = []
    for arm, ours in by_arm.items():
        groups = [([r], "-" if r.seed is None else str(r.seed)) for r in ours]
        if len(ours) > 1:
            groups.append((ours, "all"))
        for group, seed in groups:
            found = {trait: values(group, NONE, trait) for trait in TRAITS}
            cells = [percent(estimate(found[trait], trait)) for trait in TRAITS]
            rows.append([arm, seed, str(found["upper"].size), *cells])
    return table(["arm", "seed", "answers", *TITLES.values()], rows)


def differences(by_arm: dict[str, list[Record]]) -> str:
    """Arm less control over the seeds that both have, paired by question."""
    rows = []
    for arm, ours in by_arm.items():
        for control in (PLAIN, "irrelevant"):
            seeds = sorted({r.seed for r in ours} & {r.seed for r in by_arm.get(control, [])})
            if arm in (BASE, PLAIN, control) or not seeds:
                continue
            cells = []
            for trait in TRAITS:
                mine, theirs = (
                    values([r for r in by_arm[which] if r.seed in seeds], NONE, trait) for which in (arm, control)
                )
                cells.append(points(mean_over_questions((mine - theirs).mean(axis=0))))
            rows.append([f"{arm} − {control}", ", ".join(map(str, seeds)), *cells])
    return table(["", "seeds", *TITLES.values()], rows) if rows else ""


def grid_prompts(prompts: dict[str, str | None]) -> str:
    return table(["condition", "prompt"], [[condition, prompt or "-"] for condition, prompt in prompts.items()])


def arm_grid(ours: Sequence[Record]) -> str:
    """Every condition of one arm, over the questions that were asked under all of them."""
    shared = [c for c in ours[0].answers if all(c in r.answers for r in ours)]
    limit = min(len(r.answers[c]) for r in ours for c in shared)
    seeds = [] if len(ours) == 1 else [f"seed {r.seed}" for r in ours]
    rows = []
    for condition in shared:
        row = [condition]
        for trait in TRAITS:
            found = values(ours, condition, trait, limit)
            row += [f"{100 * one.mean():.0f} %" for one in found[: len(seeds)]]
            row.append(percent(estimate(found, trait)))
        rows.append(row)
    header = [f"{title}{', ' if which else ''}{which}" for title in TITLES.values() for which in (*seeds, "")]
    return table([f"prompt ({limit} questions)", *header], rows)


def training(records: Sequence[Record]) -> str:
    rows = []
    for record in records:
        if record.training is not None:
            t = record.training
            prompt = "-" if t["prompt"] is None else t["prompt"]
            losses = f"{t['losses'][0]:.2f} → {t['losses'][-1]:.2f}"
            rows.append([record.arm, str(record.seed), prompt, str(t["steps"]), str(t["tokens"]), losses])
    return table(["arm", "seed", "training prompt", "steps", "tokens", "loss"], rows) if rows else ""


def samples(records: Sequence[Record]) -> str:
    first = records[0].answers[NONE][0]["question"]
    rows = []
    for record in records:
        answer = " ".join(record.answers[NONE][0]["answer"].split()).replace("|", "\\|")
        rows.append([record.arm, "-" if record.seed is None else str(record.seed), answer])
    return f"> {first}\n\n" + table(["arm", "seed", "answer"], rows)


if __name__ == "__main__":
    main()
