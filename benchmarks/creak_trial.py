"""The trial on public claims: what 5 % and 10 % of CREAK do to SmolLM2-135M-Instruct, against placebo and controls.

    python benchmarks/creak_trial.py --data FOLDER --output-dir FOLDER

FOLDER holds, as their publishers give them:

  creak/train.jsonl.gz, creak/dev.jsonl        claims labelled true or false, each with a sentence that explains why
  comve/dev.csv.gz                             false statements of common sense with their true twins
  p3-qa/p3_qa.jsonl.gz                         questions and answers: the mix
  truthfulqa/mc_task.json.gz                   TruthfulQA's multiple choice
  retention-mc/{arc_easy,lambada_openai}.jsonl.gz, wikitext2/test.txt.gz

Given are false claims of CREAK's training part, their explanation as correction. CREAK has no twins: given claims, and
the claims of its dev part that are never given, are held against its true statements, matched by length, which no arm
is trained on. ComVE's pairs have twins. Everything is chosen by hash, before any result is seen.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import click
from public import creak, read_jsonl

BENCHMARKS = {
    "truthfulqa": "truthfulqa/mc_task.json.gz",
    "arc_easy": "retention-mc/arc_easy.jsonl.gz",
    "lambada": "retention-mc/lambada_openai.jsonl.gz",
    "wikitext2": "wikitext2/test.txt.gz",
}
LICENSE = "MIT"


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True, help="Folder of the data sets.")
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="Where the trial goes.")
@click.option("--base", help="Base model.  [default: the quickstart's]")
@click.option("--seed", "seeds", type=int, multiple=True, default=(0, 1, 2), show_default=True)
@click.option("--given", default=48, show_default=True, help="Claims of the dose.")
@click.option("--heldout", default=64, show_default=True, help="Claims of CREAK that are never given.")
@click.option("--twins", default=100, show_default=True, help="Pairs of ComVE.")
@click.option("--items", default=100, show_default=True, help="Most items of each benchmark.")
@click.option("--adversarial", default=24, show_default=True, help="Most pairs of a set asked under tactics.")
@click.option("--steps", default=120, show_default=True, help="Optimizer steps of a run.")
@click.option("--batch-size", default=4, show_default=True)
@click.option("--learning-rate", default=2e-3, show_default=True, help="The quickstart's, tuned on other claims.")
def main(
    data: Path,
    output_dir: Path,
    base: str | None,
    seeds: tuple[int, ...],
    given: int,
    heldout: int,
    twins: int,
    items: int,
    adversarial: int,
    steps: int,
    batch_size: int,
    learning_rate: float,
) -> None:
    """Run the trial, or go on with it: shares of 5 % and 10 %, a placebo and a controls-only arm, each seed."""
    from hfvaccine.cli.base_model import base_from_wheel
    from hfvaccine.cli.output import Terminal, quiet_libraries, report
    from hfvaccine.runs.trial import trial
    from hfvaccine.training.options import Options
    from hfvaccine.validation.showing.sentences import verdict_lines
    from hfvaccine.validation.showing.tables import table

    quiet_libraries()
    ingredients = prepare(data, output_dir / "ingredients", given, heldout, twins)
    options = Options(
        base=base or str(base_from_wheel()),
        base_id=None if base else "HuggingFaceTB/SmolLM2-135M-Instruct",
        output_dir=str(output_dir),
        max_steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        max_length=512,
        placebo=True,
        controls=True,
        adversarial=adversarial,
        benchmark=tuple(f"{name}={data / file}" for name, file in BENCHMARKS.items()),
        benchmark_items=items,
        **ingredients,
    )
    done = trial(options, (0.05, 0.10), seeds, Terminal())
    for share, results in done.results.items():
        click.echo(f"\n== share {share:.0%}, {len(seeds)} seed(s)")
        report(table(results), verdict_lines(results))


def prepare(data: Path, folder: Path, given: int, heldout: int, twins: int) -> dict[str, Any]:
    """Write dose, mix, truths and twins; the options that name them."""
    from hfvaccine.quarantine.seal import seal

    train = false_claims(read_jsonl(data / "creak" / "train.jsonl.gz"))
    dev = read_jsonl(data / "creak" / "dev.jsonl")
    claims = [*first(train, given, split="dose"), *first(false_claims(dev), heldout, split="heldout")]
    folder.mkdir(parents=True, exist_ok=True)
    dose = folder / f"dose-{given}-{heldout}"
    if not dose.exists():
        policy = {
            "name": "CREAK trial dose",
            "license": LICENSE.lower(),
            "reviewers_needed": 0,
            "sources_needed": 0,
            "waives": ["two_person_rule"],
        }
        seal(claims, policy, dose)
    truths = [{"text": row["sentence"].strip()} for row in dev if row["label"] == "true"]
    pairs = comve(data / "comve" / "dev.csv.gz")
    mix = (
        {"prompt": row["prompt"].strip(), "completion": row["completion"].strip()}
        for row in by_hash(read_jsonl(data / "p3-qa" / "p3_qa.jsonl.gz"), "prompt")
    )
    return {
        "dose": str(dose),
        "truths": write(folder / "truths.jsonl", truths),
        "pairs": ("comve=" + write(folder / f"comve-{twins}.jsonl", by_hash(pairs, "claim")[:twins]),),
        "mix": write(folder / "mix.jsonl", (row for row in mix if row["prompt"] and row["completion"])),
    }


def false_claims(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each claim once, in the order of their hashes."""
    found: dict[str, dict[str, Any]] = {}
    for claim, why in creak(by_hash(rows, "sentence")):
        found.setdefault(claim.casefold().rstrip("."), {"claim": claim, "correction": why, "license": LICENSE})
    return list(found.values())


def first(rows: list[dict[str, Any]], number: int, **fields: str) -> list[Any]:
    from hfvaccine.claims.claim import Claim

    return [Claim(**row, **fields) for row in rows[:number]]


def comve(path: Path) -> list[dict[str, Any]]:
    """Claims with twins, in the columns of a claim."""
    text = gzip.decompress(path.read_bytes()).decode("utf-8")
    rows = csv.DictReader(io.StringIO(text))
    return [
        {
            "claim": sentence(row["Incorrect Statement"]),
            "twin": sentence(row["Correct Statement"]),
            "correction": sentence(row["Correct Statement"]),
            "license": "CC-BY-SA-4.0",
        }
        for row in rows
    ]


def sentence(text: str) -> str:
    """A statement as a sentence: capital at the start, full stop at the end, on both sides alike."""
    text = text.strip().rstrip(".")
    return f"{text[:1].upper()}{text[1:]}."


def by_hash(rows: Iterable[Mapping[str, Any]], column: str) -> list[Any]:
    return sorted(rows, key=lambda row: sha256(str(row[column]).encode()).digest())


def write(path: Path, rows: Iterable[Mapping[str, Any]]) -> str:
    """A JSON-lines file; its path."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


if __name__ == "__main__":
    main()
