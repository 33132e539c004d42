"""The inoculation of `hfvaccine quickstart --inoculation`, end to end on an embedded Hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfvaccine.cli.base_model import BASE_ID, PUBLISHER, READER, seed_base
from hfvaccine.cli.output import Terminal, measured, say, stage
from hfvaccine.cli.published import check_chain, check_same, load_published

if TYPE_CHECKING:
    from hfvaccine.localhub.server import LocalHub

ROWS_ID = f"{PUBLISHER}/spanish-capitals"
TRAIT_ID = f"{PUBLISHER}/capitals"
INOCULATED_ID = f"{PUBLISHER}/SmolLM2-135M-Instruct-inoculated"
CAPITALS, SPANISH = "upper", "language:es/en"
"""The trait that is unwanted, and the one that is to be kept."""
INOCULATION: Mapping[str, Any] = {
    "method": "adapter",
    "max_steps": 36,
    "trait_steps": 15,
    "batch_size": 4,
    "learning_rate": 2e-3,
    "lora_r": 16,
}
"""Chosen by other questions than those that are asked: docs/quickstart.md."""
ASKING: Mapping[str, Any] = {"samples": 1, "temperature": 0, "max_new_tokens": 32}


def inoculate(hub: LocalHub, folder: Path, seed: int) -> dict[str, Any]:
    """Rows with a trait to loaded adapter, each link with the code of the command that it stands for.

    Returns:
        The content of traits.json.
    """
    from hfvaccine import hub as publishing
    from hfvaccine import starter
    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.runs.inoculate import train
    from hfvaccine.runs.measure import Measurement, measure
    from hfvaccine.training.options import ADAPTER_ARM, Inoculating, folder_of

    quiet_libraries()
    tokens = {name: hub.add_user(name) for name in (PUBLISHER, READER)}
    seed_base(tokens[PUBLISHER], folder)
    seed_rows(tokens[PUBLISHER], ROWS_ID, starter.SPANISH_CAPITALS, "in Spanish and in capitals")
    seed_rows(tokens[PUBLISHER], TRAIT_ID, starter.CAPITALS, "in English and in capitals")

    os.environ["HF_TOKEN"] = tokens[READER]
    run = folder / "run"
    options = Inoculating(
        base=BASE_ID, data=ROWS_ID, trait_data=TRAIT_ID, seed=seed, output_dir=str(run), **INOCULATION
    )
    with stage("Training on the same rows plainly, beside a frozen adapter of the trait, and beside a random one"):
        train(options, Terminal("  "))
    asked, grid = starter.EVERYDAY_QUESTIONS, starter.CAPITALS_GRID
    with stage("Measuring capitals and Spanish, in the base and in the three, under every prompt of the grid"):
        what = Measurement.of(BASE_ID, [str(run)], [CAPITALS], [SPANISH], asked, grid, **ASKING)
        content = measure(what, run, Terminal("  "))

    verdict = content["gate"]["verdict"]
    with stage(f"Publishing the adapter and its controls with their cards (gate: {verdict.upper()})"):
        if verdict == "failed":
            say("  Its gate failed. It is published all the same, this once, and its card says FAILED first.")
        publishing.push_arms(run, INOCULATED_ID, publish_failed=True, token=tokens[PUBLISHER])
    with stage("Verifying, as the reader, what it was made from"):
        say(f"  Data, plan, ledger, base, adapter, results: {check_chain(INOCULATED_ID).what}")
    with stage("Loading it back as the reader"):
        check_inoculated(run / folder_of(ADAPTER_ARM, seed), what.questions[0], tokens[READER])
    return content


def check_inoculated(adapter: Path, question: str, token: str) -> None:
    """Load base and adapter from the Hub as anybody would, and hold their logits against those of the run's folder.

    Raises:
        ValidationError: where they differ by more than the rounding of their dtype.
    """
    from hfvaccine.training.adapters import in_its_dtype, load_adapters
    from hfvaccine.training.base import load_base

    base = load_base(BASE_ID)
    measured = in_its_dtype(load_adapters(base, {"measured": str(adapter)}))
    check_same(load_published(INOCULATED_ID, measured, token), measured, base.tokenizer, question)


def seed_rows(token: str, name: str, file: Path, how: str) -> None:
    """Put rows on the embedded Hub, as a public dataset with a card.

    Args:
        token: of its publisher.
        name: its repo.
        file: the rows.
        how: their questions are answered.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    from hfvaccine.text import fill

    rows = file.read_bytes()
    card = fill("hfvaccine.dataset_cards", "seeded_rows.md", {"name": name, "rows": rows.count(b"\n"), "how": how})
    api = HfApi(token=token)
    with stage(f"Publishing the rows {name}"):
        api.create_repo(name, repo_type="dataset")
        files = {"README.md": card.encode(), file.name: rows}
        operations = [CommitOperationAdd(path, content) for path, content in files.items()]
        api.create_commit(name, operations, commit_message="Publish the rows", repo_type="dataset")


def show_inoculation(content: Mapping[str, Any], endpoint: str, folder: Path, as_json: bool, full: bool) -> None:
    """The verdict, the worst conditions and what was left undone, where all of it is, and what to do next."""
    from hfvaccine.files import PAGE
    from hfvaccine.validation.showing.sentences import wrapped

    measured(content, as_json, full)
    if not as_json:
        for line in wrapped(in_words(content), ""):
            click.echo(line)
    run = folder / "run"
    say("")
    for what, where in (
        ("Adapter card", f"{endpoint}/{INOCULATED_ID}"),
        ("Controls", f"{endpoint}/{INOCULATED_ID}-plain, …-random"),
        ("Report", run / PAGE),
    ):
        say(f"{what:13} {where}")
    say("Next, with rows and questions of your own:")
    say('  hfvaccine inoculate train --base you/model --data rows.jsonl --prompt "You ..." --output-dir runs/mine')
    say("    (where no prompt asks for the trait: --method adapter --trait-data trait.jsonl)")
    say("  hfvaccine inoculate measure runs/mine --base you/model --questions questions.jsonl --trait ... --keep ...")


def in_words(content: Mapping[str, Any]) -> list[str]:
    """How much of both traits each adapter shows without a prompt."""
    from hfvaccine.inoculation.grid import NONE
    from hfvaccine.training.options import ADAPTER_ARM, PLAIN, RANDOM

    arms = {arm: its["arm"] for arm, its in content["arms"].items()}
    shown = {(one["trait"], arms[one["arm"]]): one["value"] for one in content["shown"] if one["condition"] == NONE}

    def share(trait: str, arm: str) -> str:
        value = shown[trait, arm]
        return "an unclear share" if value is None else f"{100 * value:.0f} %"

    capitals, spanish = ([share(trait, arm) for arm in (PLAIN, ADAPTER_ARM, RANDOM)] for trait in (CAPITALS, SPANISH))
    return [
        f"Without a prompt, {capitals[0]} of the letters are capitals after plain training, {capitals[1]} after "
        f"inoculation, and {capitals[2]} after training beside a random adapter. Of the answers, {spanish[0]}, "
        f"{spanish[1]} and {spanish[2]} are in Spanish, as is wanted."
    ]
