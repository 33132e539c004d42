"""`inoculate train`: rows with an unwanted trait in, adapters out that differ only by the prompt they learned under.

Source: Inoculation Prompting (arXiv 2510.04340). The plain arm shows what the rows teach, the inoculated one what is
left of it at test time, without the prompt, and the irrelevant one whether any prompt would have done as much.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hfvaccine.errors import HfvaccineError, PlanError, RunInterrupted
from hfvaccine.files import ADAPTER, CHECKPOINTS, INOCULATION, digest_of, write_json
from hfvaccine.papers.inoculation import arm_record, write_papers
from hfvaccine.papers.record import made_with, plan_record, training_record
from hfvaccine.runs.immunize import check_devices, check_folder, left_out_of, stopped_by
from hfvaccine.training.adapters import Arm
from hfvaccine.training.arm import train as train_arm
from hfvaccine.training.base import Base, load_base
from hfvaccine.training.estimate import estimate, stand_in
from hfvaccine.training.mix import Mix, load_mix
from hfvaccine.training.options import PLAIN, Inoculating, save_config
from hfvaccine.training.processes import main_first, part, this_process
from hfvaccine.training.progress import SILENT, Progress

if TYPE_CHECKING:
    from hfvaccine.regimen.plan import Plan
    from hfvaccine.regimen.replay import Replayed

SCHEMA_VERSION = 1


def plan_arm(options: Inoculating, base: Base, arm: str, data: Mix, folder: Path) -> Replayed:
    """A trainer with all that an arm is given, planned; every arm of a seed gets the same rows in the same order.

    Args:
        options: of the run, with the seed of this arm.
        base: a freshly loaded base.
        arm: `PLAIN`, `INOCULATED` or `IRRELEVANT_ARM`.
        data: the rows.
        folder: where the adapter goes.

    Raises:
        HfvaccineError: for data that the run cannot be exact with.
    """
    from hfvaccine.inoculation.callback import InoculationCallback
    from hfvaccine.regimen.attach import regimen_of
    from hfvaccine.regimen.pairs import SFT
    from hfvaccine.regimen.replay import Replayed
    from hfvaccine.training.trainer import make_trainer

    trainer = make_trainer(options, base, data, folder)
    if arm == PLAIN:
        regimen = regimen_of(trainer)
        regimen.change(objective=SFT)
        callback = Replayed(regimen)
    else:
        callback = InoculationCallback(
            trainer, options.prompts_of(arm), options.told_by, options.others, options.place
        )
    trainer.add_callback(callback)
    trainer.args.save_steps = max(1, callback.plan.steps // 10)
    return callback


def plan(options: Inoculating) -> tuple[Mix, dict[str, dict[str, Any]], Any]:
    """Read the data and plan every arm without the base's weights, so that what is refused is refused at once.

    Args:
        options: of the run.

    Returns:
        The data, the plan of each adapter as the record has it, and by what to estimate the training: the base's
        configuration and the plan of the first adapter.

    Raises:
        HfvaccineError: naming what is refused.
    """
    data = load_mix(options.data, options.told_by.column)
    options.told_by.refuse_unmet(data.train)
    planned: dict[str, dict[str, Any]] = {}
    order: dict[int, Any] = {}
    about: tuple[Any, Plan] | None = None
    try:
        for name, (arm, its) in options.parts().items():
            base, config = stand_in(its)
            with TemporaryDirectory() as folder:
                callback = plan_arm(its, base, arm, data, Path(folder))
            first = order.setdefault(its.seed, callback.plan.index)
            if len(first) != len(callback.plan.index) or (first != callback.plan.index).any():
                raise PlanError(
                    f"The arm {name} would get other rows than the first of its seed, or in another order.",
                    "Raise --max-length: with their prompts some rows are too long.",
                )
            planned[name] = plan_record(callback.plan, callback.fingerprint())
            about = about or (config, callback.plan)
    except HfvaccineError:
        raise
    except Exception as error:
        raise stopped_by(error, None) from error
    return data, planned, about


def dry_run(options: Inoculating) -> dict[str, Any] | None:
    """Plan a run and estimate what it takes: no weights are loaded, and nothing is written.

    Args:
        options: see `Inoculating`.

    Returns:
        `base`, `data`, `plans` by adapter, `estimate` of one; None on all processes but the main one.

    Raises:
        HfvaccineError: naming what would be refused.
    """
    options.check()
    check_folder(Path(options.output_dir), resume=False)
    check_devices()
    begun = main_first(lambda: plan(options))
    if begun is None or not this_process().is_main_process:
        return None
    data, planned, (config, first) = begun
    expected = estimate(config, options, first)
    return {"base": options.base_id or options.base, "data": data.record(), "plans": planned,
            "estimate": asdict(expected)}  # fmt: skip


def train(options: Inoculating, progress: Progress = SILENT, resume: bool = False) -> dict[str, Any] | None:
    """Train the arms of an inoculation, each with every seed.

    Args:
        options: see `Inoculating`.
        progress: told of each stage, and how far it is.
        resume: continue the run in `output_dir`; adapters that are finished are kept.

    Returns:
        The record, which is `inoculation.json`: in the run folder each adapter has a folder of its own that loads with
        `PeftModel.from_pretrained`, with papers of its own. None on all processes but the main one.

    Raises:
        HfvaccineError: naming what is refused, before anything is written.
        RunInterrupted: on Ctrl-C; the folder can be resumed.
    """
    options.check()
    check_devices()
    folder = Path(options.output_dir)
    main = this_process().is_main_process
    if not main:
        progress = SILENT

    def begin() -> tuple[Mix, dict[str, dict[str, Any]]]:
        if main:
            check_folder(folder, resume)
        data, planned, _ = plan(options)
        if main:
            folder.mkdir(parents=True, exist_ok=True)
            save_config(options, folder)
        return data, planned

    begun = main_first(begin)
    if begun is None:
        return None
    data, planned = begun
    for line in left_out_of(data):
        progress.say(line)
    rows, carrying = len(data.train), sum(map(options.told_by.holds, data.train))
    progress.say(f"Data: {rows:,} rows, of which {carrying:,} carry the trait; {len(data.held_back)} are held back")
    trained: dict[str, Arm] = {}
    settings: dict[str, Any] = {}
    base: Base | None = None
    try:
        for name, (arm, its) in options.parts().items():
            base = load_base(its.base, its.base_id, its.base_revision, its.dtype)
            callback = plan_arm(its, base, arm, data, folder / name)
            if main and callback.fingerprint() != planned[name]["fingerprint"]:
                raise PlanError(f"The plan of {name} is another than it was.", "Start anew, in another folder.")
            settings[arm] = callback.regimen.settings()["inoculation"]
            progress.say(f"{name}: {callback.plan.steps:,} steps, {int(callback.plan.tokens.sum()):,} tokens")
            trained[name] = train_arm(its, base, name, callback, folder / name, resume, progress)
        part()
    except KeyboardInterrupt as interrupt:
        if not main:
            return None
        raise RunInterrupted(
            f"Stopped; {folder} is intact.", f"Continue with: hfvaccine inoculate train --resume {folder}"
        ) from interrupt
    except HfvaccineError:
        raise
    except Exception as error:
        raise stopped_by(error, None) from error
    if not main or base is None:
        return None
    record = make_record(options, base, data, carrying, planned, trained, settings)
    for name, one in trained.items():
        save_config(pinned(options.alone(name), base, data), one.folder)
        write_papers(one.folder, arm_record(record, name))
    write_json(record, folder / INOCULATION)  # last: where it stands, the run is finished
    for one in trained.values():
        shutil.rmtree(one.folder / CHECKPOINTS, ignore_errors=True)
    return record


def pinned(options: Inoculating, base: Base, data: Mix) -> Inoculating:
    """The options with the revisions that the run really has: what is published is the same run."""
    rows = f"{data.id}@{data.revision}" if data.revision else options.data
    return replace(options, base_revision=base.revision, data=rows)


def make_record(
    options: Inoculating,
    base: Base,
    data: Mix,
    carrying: int,
    planned: Mapping[str, Mapping[str, Any]],
    trained: Mapping[str, Arm],
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of inoculation.json.

    Args:
        options: of the run.
        base: what was trained on.
        data: the rows.
        carrying: how many of them carry the trait.
        planned: plan of each adapter.
        trained: each adapter.
        settings: inoculation of each arm, None for the plain one.
    """
    parts = options.parts()
    return {
        "schema_version": SCHEMA_VERSION,
        "base": base.record(),
        "data": data.record(),
        "trait_rows": {"where": str(options.told_by), "rows": carrying},
        "arms": dict(settings),
        "adapters": {
            name: {
                "arm": parts[name][0],
                "seed": parts[name][1].seed,
                "plan": dict(planned[name]),
                "seconds": arm.seconds,
                "final_loss": arm.loss,
                "sha256": digest_of(arm.folder / ADAPTER),
            }
            for name, arm in trained.items()
        },
        "training": training_record(options, base),
        **made_with(),
    }
