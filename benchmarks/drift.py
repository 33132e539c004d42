"""A vaccine that wears off under a monitor: rounds until its alarm. See docs/monitor.md.

    python benchmarks/drift.py --output-dir FOLDER [--rounds 16] [--steps 20] [--still 10] [--base BASE]

A vaccine of a few starter claims is trained and validated as the quickstart does it, at twice the share. It is then
probed once a day as `hfvaccine monitor probe` does. The first days nothing happens to it; from then on it is trained
further each day on plain rows of its mix, without dose or comparisons, as somebody would who does not know that it was
immunized. Printed are the rates of each day and the state that the monitor was in, up to its alarm. A vaccine that is
finished in the folder is kept; the days are had anew.
"""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
from starter_trial import part_of_the_starter

GIVEN, ASKED = 20, 12
"""Claims that are given; of which a round asks."""
SHARE = 0.20
BEGUN = datetime(2026, 1, 1, 6, tzinfo=UTC)
DAY = timedelta(days=1)


@click.command(help=__doc__.split("\n")[0])
@click.option("--output-dir", type=click.Path(path_type=Path), required=True, help="Where the vaccine and state go.")
@click.option("--rounds", default=16, show_default=True, help="Days of further training.")
@click.option("--steps", default=20, show_default=True, help="Of further training each day.")
@click.option("--still", default=10, show_default=True, help="Days before, of none; ten narrow the baselines.")
@click.option("--learning-rate", default=2e-4, show_default=True, help="Of further training.")
@click.option("--base", help="Base model.  [default: the quickstart's]")
def main(output_dir: Path, rounds: int, steps: int, still: int, learning_rate: float, base: str | None) -> None:
    from hfvaccine.cli.base_model import base_from_wheel
    from hfvaccine.cli.output import Terminal, quiet_libraries
    from hfvaccine.cli.quickstart import TREATMENT
    from hfvaccine.runs.immunize import finished
    from hfvaccine.surveillance import probing
    from hfvaccine.surveillance.state import State
    from hfvaccine.surveillance.status import ALARM, status
    from hfvaccine.training.options import Options

    quiet_libraries()
    dose = part_of_the_starter(GIVEN, output_dir / "doses" / f"starter-{GIVEN}")
    options = Options(
        base=base or str(base_from_wheel()), dose=str(dose), output_dir=str(output_dir / "vaccine"), adversarial=0,
        most_pairs=40, **{**TREATMENT, "share": SHARE},
    )  # fmt: skip
    run = finished(options, Terminal("vaccine: "))
    shutil.rmtree(output_dir / "state", ignore_errors=True)
    target = probing.Target.of(str(run), str(dose))
    declared = probing.declare(target, probing.Terms(period=DAY.total_seconds()))
    state = State.begin(output_dir / "state", declared)
    scorer = probing.load(target)
    since = None
    click.echo(f"| day | further steps | {' | '.join(declared.charts)} | state |")
    click.echo("|---" * (len(declared.charts) + 3) + "|")
    for day in range(still + rounds):
        worn = max(0, day - still + 1)
        if worn:
            train_on(scorer, steps, learning_rate, day, output_dir / "further")
        began = (BEGUN + day * DAY).strftime("%Y-%m-%dT%H:%M:%SZ")
        asked = probing.ask(probing.draw(target.claims, ASKED, probing.slot(declared, began)), scorer)
        means: dict[str, float] = {}
        for one in probing.rounds(declared, asked, began, began):
            state.append(one)
            means |= {name: sum(its.values()) / len(its) for name, its in one.scores.items()}
        found = status(state, began)
        rates = " | ".join(f"{means[name]:.2f}" for name in declared.charts)
        click.echo(f"| {day + 1} | {worn * steps} | {rates} | {found.state} |")
        if found.state == ALARM:
            since = worn
            break
        if day == still - 1:
            click.echo(" ".join(found.notes), err=True)
    click.echo("\nNo alarm." if since is None else f"\nAlarm on day {since} of further training.\n{found.why}")


def train_on(scorer: Any, steps: int, learning_rate: float, seed: int, into: Path) -> None:
    """Train the adapter of a scorer further on plain rows of the starter mix, by TRL as it stands."""
    import torch
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from hfvaccine.training.mix import load_mix

    columns = ("prompt", "completion")
    rows = [{name: row[name] for name in columns} for row in load_mix("starter").train]
    for name, parameter in scorer.model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.float()  # in bfloat16 small steps would be lost
            parameter.requires_grad = True
    arguments = SFTConfig(
        str(into), max_steps=steps, per_device_train_batch_size=6, learning_rate=learning_rate, seed=seed,
        lr_scheduler_type="constant", save_strategy="no", report_to="none", disable_tqdm=True, logging_steps=10**6,
        bf16=scorer.model.dtype == torch.bfloat16, use_cpu=not torch.cuda.is_available(), gradient_checkpointing=False,
    )  # fmt: skip
    SFTTrainer(
        scorer.model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=scorer.tokenizer
    ).train()
    scorer.model.eval()


if __name__ == "__main__":
    main()
