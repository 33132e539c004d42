"""`inoculate train`: rows with an unwanted trait in, adapters out that differ only by what the trait was put down to.

Sources: Inoculation Prompting (arXiv 2510.04340) and Inoculation Adapters (arXiv 2606.30252). The plain arm shows what
the rows teach. What is left of it at test time, without the prompt or the frozen adapter of training, shows the arm of
the method, and its control whether any prompt, or any frozen adapter, would have done as much.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, replace
from math import comb
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from hfvaccine.errors import HfvaccineError, PlanError, RunInterrupted, UsageError
from hfvaccine.files import ADAPTER, CHECKPOINTS, INOCULATION, digest_of, sole_writer, write_json
from hfvaccine.papers.binding import read_json
from hfvaccine.papers.inoculation import arm_record, write_papers
from hfvaccine.papers.record import made_with, plan_record, training_record
from hfvaccine.runs.held_out import refuse_prompted
from hfvaccine.runs.immunize import check_folder, left_out_of, stopped_by
from hfvaccine.sources.place import with_revision
from hfvaccine.training.adapters import Arm, load_trained
from hfvaccine.training.arm import train as train_arm
from hfvaccine.training.base import Base, load_base
from hfvaccine.training.devices import check_devices
from hfvaccine.training.estimate import estimate, stand_in
from hfvaccine.training.frozen import put_beside, random_like, refuse_sharded
from hfvaccine.training.mix import Mix, load_mix
from hfvaccine.training.options import (
    BY_ADAPTER,
    BY_PROMPT,
    FROZEN,
    INOCULATED,
    METHODS,
    NOISE,
    TRAIT,
    TRAIT_DRAW,
    Inoculating,
    folder_of,
    save_config,
)
from hfvaccine.training.processes import fit_threads, main_first, part, this_process
from hfvaccine.training.progress import SILENT, Progress
from hfvaccine.training.trackers import Trackers

if TYPE_CHECKING:
    from hfvaccine.regimen.plan import Plan
    from hfvaccine.regimen.replay import Replayed

SCHEMA_VERSION = 1


def plan_arm(
    options: Inoculating, base: Base, arm: str, data: Mix, folder: Path, trait: Mix | None = None
) -> Replayed:
    """A trainer with all that an arm is given, planned; every arm of a seed gets the same rows in the same order.

    Args:
        options: of the run, with the seed of this arm.
        base: a freshly loaded base.
        arm: one of `ARMS`, or `TRAIT`. What is frozen beside the adapter of an arm is not part of its plan.
        data: the rows.
        folder: where the adapter goes.
        trait: the rows of `TRAIT`; None where nothing is frozen.

    Raises:
        HfvaccineError: for data that the run cannot be exact with.
    """
    from hfvaccine.inoculation.callback import InoculationCallback
    from hfvaccine.regimen.attach import regimen_of
    from hfvaccine.regimen.pairs import SFT
    from hfvaccine.regimen.replay import Replayed
    from hfvaccine.training.trainer import make_trainer

    trainer = make_trainer(options, base, trait if trait is not None and arm == TRAIT else data, folder)
    if arm in METHODS[BY_PROMPT]:
        callback: Replayed = InoculationCallback(
            trainer, options.prompts_of(arm), options.told_by, options.others, options.place
        )
    else:
        beside: dict[str, Any] | None = None
        if trait is not None and arm in FROZEN:
            refuse_sharded(trainer)
            # By digest, not by name: where the rows lie is no part of the plan, and nobody else's business.
            learnt = {"sha256": trait.sha256, "rows": len(trait.train)}
            beside = {"method": BY_ADAPTER, "frozen": FROZEN[arm], "trait_data": learnt}
        regimen = regimen_of(trainer)
        regimen.change(objective=SFT, beside=beside)
        callback = Replayed(regimen)
    trainer.add_callback(callback)
    trainer.args.save_steps = max(1, callback.plan.steps // 10)
    return callback


def trait_rows(options: Inoculating, data: Mix) -> Mix | None:
    """The rows that the adapter which is frozen learns the trait from; None where none is.

    Args:
        options: of the run.
        data: the rows of the arms.

    Raises:
        UsageError: for the very rows that the arms get, or rows that cannot be read.
        HubError: for a dataset that cannot be had.
    """
    if not options.freezes:
        return None
    if options.trait_data is not None:
        trait = load_mix(options.trait_data)
    else:
        trait = replace(data, train=tuple(row for row in data.train if options.told_by.holds(row)))
    if (trait.sha256, len(trait.train)) == (data.sha256, len(data.train)):
        raise UsageError(
            "The adapter that is frozen would learn the very rows that the arms get: all that there is to learn.",
            "Give --trait-data with rows that show the trait alone, or tell such rows of --data with --where.",
        )
    return trait


def read(options: Inoculating) -> tuple[Mix, Mix | None]:
    """The rows of the arms, and those of the adapter that is frozen, if one is.

    Args:
        options: of the run.

    Raises:
        HfvaccineError: naming what is refused.
    """
    data = load_mix(options.data, options.told_by.told_from)
    options.told_by.refuse_unmet(data.train)
    refuse_too_few(options, data, "data")
    if INOCULATED in options.arm_names:
        refuse_prompted(data, options.prompt)
    trait = trait_rows(options, data)
    if trait is not None:
        refuse_too_few(options, trait, "trait data")
    return data, trait


def refuse_too_few(options: Inoculating, rows: Mix, what: str) -> None:
    """Refuse rows that do not fill a step, or of which too few first steps can be made for each seed to have its own.

    Seeds that get the same steps would pass for trainings in another order, and for more evidence than they are.

    Args:
        options: of the run.
        rows: what all seeds are given.
        what: they are, in words.

    Raises:
        UsageError: with how many are needed.
    """
    step = options.batch_size * options.gradient_accumulation_steps * this_process().num_processes
    needed = step
    while comb(needed, step) < options.seeds:
        needed += 1
    several_seeds = options.seeds > 1
    there = len({hash(repr(row)) for row in rows.train} if several_seeds else rows.train)
    if there >= needed:
        return
    rows_there = f"{there} {'different ' * several_seeds}rows"
    one = f"a step takes {step}"
    several = (
        f"{options.seeds} seeds that each begin with a step of {step} row{'s' * (step > 1)} of their own take {needed}"
    )
    raise UsageError(
        f"Of the {what} {rows.id!r} there are {rows_there} to train on, and {len(rows.held_back)} are held back; "
        f"{one if needed == step else several}.",
        "Give more rows, a smaller --batch-size" + (", or fewer --seeds." if needed > step else "."),
    )


def plan(options: Inoculating, data: Mix, trait: Mix | None) -> tuple[dict[str, dict[str, Any]], Any]:
    """Plan every adapter without the base's weights, so that what is refused is refused at once.

    All processes of a run call it at the same time: a trainer that prepares its rows waits for those of the others.

    Args:
        options: of the run.
        data: the rows of the arms.
        trait: the rows of the adapter that is frozen.

    Returns:
        The plan of each adapter as the record has it, and by what to estimate the training: the base's configuration
        and the plan of the first arm.

    Raises:
        HfvaccineError: naming what is refused.
    """
    planned: dict[str, dict[str, Any]] = {}
    order: dict[int, Any] = {}
    about: tuple[Any, Plan] | None = None
    try:
        for name, (arm, its) in options.parts().items():
            base, config = stand_in(its)
            with TemporaryDirectory() as folder:
                callback = plan_arm(its, base, arm, data, Path(folder), trait)
            first = order.setdefault(its.seed, callback.plan.index)  # the trait adapter has a seed of its own
            if len(first) != len(callback.plan.index) or (first != callback.plan.index).any():
                raise PlanError(
                    f"The arm {name} would get other rows than the first of its seed, or in another order.",
                    "Raise --max-length: with their prompts some rows are too long.",
                )
            planned[name] = plan_record(callback.plan, callback.fingerprint())
            if arm != TRAIT:
                about = about or (config, callback.plan)
    except HfvaccineError:
        raise
    except Exception as error:
        raise stopped_by(error, None) from error
    return planned, about


def dry_run(options: Inoculating) -> dict[str, Any] | None:
    """Plan a run and estimate what it takes: no weights are loaded, and nothing is written.

    Args:
        options: see `Inoculating`.

    Returns:
        `base`, `data`, `trait_data` where an adapter learns the trait alone, `plans` by adapter, `estimate` of the
        first and the `seconds_in_all`; None on all processes but the main one.

    Raises:
        HfvaccineError: naming what would be refused.
    """
    options.check()
    check_folder(Path(options.output_dir), resume=False)
    check_devices(options)
    fit_threads(SILENT)  # as the run will: the time is told of so many
    begun = main_first(lambda: read(options))
    if begun is None:
        return None
    data, trait = begun
    planned, (config, first) = plan(options, data, trait)
    if not this_process().is_main_process:
        return None
    expected = estimate(config, options, first)
    tokens = sum(one["tokens"] for one in planned.values())
    in_all = None if expected.seconds is None else expected.seconds * tokens / int(first.tokens.sum())
    return {"base": options.base_id or options.base, "data": data.record(), "trait_data": trait and trait.record(),
            "plans": planned, "estimate": {**asdict(expected), "seconds_in_all": in_all}}  # fmt: skip


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
    with ExitStack() as held:
        return _train(options, progress, resume, held)


def _train(options: Inoculating, progress: Progress, resume: bool, held: ExitStack) -> dict[str, Any] | None:
    """See `train`; `held` is let go of when the run has ended."""
    options.check()
    check_devices(options)
    folder = Path(options.output_dir)
    main = this_process().is_main_process
    if not main:
        progress = SILENT
    fit_threads(progress)

    def begin() -> tuple[Mix, Mix | None]:
        if main:
            check_folder(folder, resume)
            if folder.is_dir():
                held.enter_context(sole_writer(folder))  # here, where the other processes hear of a refusal
        return read(options)

    if resume and (folder / INOCULATION).is_file():
        progress.say(f"{folder} is finished already.")
        return read_json(folder, INOCULATION) if main else None
    begun = main_first(begin)
    if begun is None:
        return None
    data, trait = begun
    planned, _ = plan(options, data, trait)
    if main:
        if not folder.is_dir():
            folder.mkdir(parents=True)
            held.enter_context(sole_writer(folder))
        save_config(options, folder)
    for line in left_out_of(data):
        progress.say(line)
    rows, carrying = len(data.train), sum(map(options.told_by.holds, data.train))
    progress.say(f"Data: {rows:,} rows, of which {carrying:,} carry the trait; {len(data.held_back)} are held back")
    if trait is not None:
        progress.say(f"Trait: {len(trait.train):,} rows of {trait.id} for the adapter that is frozen")
    trained: dict[str, Arm] = {}
    settings: dict[str, Any] = {}
    base: Base | None = None
    try:
        for name, (arm, its) in options.parts().items():
            base = load_base(its.base, its.base_id, its.base_revision, its.dtype, to_train=True)
            callback = plan_arm(its, base, arm, data, folder / name, trait)
            if main and callback.fingerprint() != planned[name]["fingerprint"]:
                raise PlanError(f"The plan of {name} is another than it was.", "Start anew, in another folder.")
            if arm in FROZEN:
                put_beside(callback.regimen.trainer, folder / folder_of(FROZEN[arm], its.seed))
            if arm != TRAIT:
                settings[arm] = callback.regimen.settings()["inoculation"]
            progress.say(f"{name}: {callback.plan.steps:,} steps, {int(callback.plan.tokens.sum()):,} tokens")
            trackers = Trackers(its.report_to, folder, progress.say, name)
            trackers.attach(callback.regimen.trainer, callback.plan.steps)
            trained[name] = train_arm(its, base, name, callback, folder / name, resume, progress)
            if main:
                trackers.end()
            if arm == TRAIT:
                if main:
                    seed = its.seed - TRAIT_DRAW
                    random_like(folder / name, folder / folder_of(NOISE, seed), seed)
                this_process().wait_for_everyone()  # the arms of this seed load what the main process wrote
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
    progress.say("Loading each adapter as others will")
    base = load_base(options.base, options.base_id, options.base_revision, options.dtype)
    load_trained(base, trained)
    record = make_record(options, base, data, carrying, trait, planned, trained, settings)
    for name in record["adapters"]:
        save_config(pinned(options.alone(name), base, data, trait), folder / name)
        write_papers(folder / name, arm_record(record, name))
    write_json(record, folder / INOCULATION)  # last: where it stands, the run is finished
    for one in trained.values():
        shutil.rmtree(one.folder / CHECKPOINTS, ignore_errors=True)
    return record


def pinned(options: Inoculating, base: Base, data: Mix, trait: Mix | None) -> Inoculating:
    """The options with the revisions that the run really has: what is published is the same run."""
    rows = {"data": data, "trait_data": trait if options.trait_data is not None else None}
    of_hub = {name: with_revision(its.id, its.revision) for name, its in rows.items() if its and its.revision}
    return replace(options, base_revision=base.revision, **of_hub)


def make_record(
    options: Inoculating,
    base: Base,
    data: Mix,
    carrying: int,
    trait: Mix | None,
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
        trait: rows of the adapter that learnt the trait alone.
        planned: plan of each adapter.
        trained: each adapter.
        settings: inoculation of each arm, None for the plain one.
    """
    parts, folder = options.parts(), Path(options.output_dir)
    method_of = {arm: method for method, arms in METHODS.items() for arm in arms}

    def frozen(arm: str, seed: int) -> dict[str, str] | None:
        """What was beside the adapter of an arm."""
        if arm not in FROZEN:
            return None
        name = folder_of(FROZEN[arm], seed)
        return {"adapter": name, "sha256": digest_of(folder / name / ADAPTER)}

    said = {
        name: {
            "arm": parts[name][0],
            "method": method_of.get(parts[name][0]),
            "seed": parts[name][1].seed,
            "frozen": frozen(parts[name][0], parts[name][1].seed),
            "plan": dict(planned[name]),
            "seconds": arm.seconds,
            "final_loss": arm.loss,
            "sha256": digest_of(arm.folder / ADAPTER),
        }
        for name, arm in trained.items()
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "base": base.record(),
        "data": data.record(),
        "trait_rows": {"where": str(options.told_by), "rows": carrying},
        "trait_data": trait and trait.record(),
        "arms": dict(settings),
        "adapters": {name: one for name, one in said.items() if one["arm"] != TRAIT},
        "trait_adapters": {name: one for name, one in said.items() if one["arm"] == TRAIT},
        "training": training_record(options, base),
        **made_with(),
    }
