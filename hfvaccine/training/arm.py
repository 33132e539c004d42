"""One arm of a run: trained with a stock `SFTTrainer`, saved, and loaded again as others will load it."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from hfvaccine.claims.dose import Dose
from hfvaccine.dosing.forms import conversations
from hfvaccine.errors import DoseError, UsageError
from hfvaccine.files import CHECKPOINTS, LEDGER, write_json
from hfvaccine.regimen.given import Given
from hfvaccine.regimen.ledger import shares_of
from hfvaccine.regimen.plan import CONTROL, DOSE, MAX_SHARE, Plan
from hfvaccine.training.adapters import Arm, witness
from hfvaccine.training.base import Base
from hfvaccine.training.estimate import estimate
from hfvaccine.training.mix import Mix
from hfvaccine.training.options import Options, Training
from hfvaccine.training.progress import Progress, follow
from hfvaccine.training.trainer import last_checkpoint, make_trainer
from hfvaccine.validation.scores import CONTROLS, PLACEBO

CURVE = (2, 4, 8, 12, 16)
"""Exposures for which a dry run says how many claims fit."""

if TYPE_CHECKING:
    from trl import SFTTrainer

    from hfvaccine.regimen.dosage import Dosage
    from hfvaccine.regimen.replay import Replayed


def train(
    options: Training,
    base: Base,
    arm: str,
    callback: Replayed,
    folder: Path,
    resume: bool,
    progress: Progress,
) -> Arm:
    """Train one arm with a stock `SFTTrainer` and save its adapter; each process of the run calls it.

    Args:
        options: the run's options.
        base: the freshly loaded base that it was planned on.
        arm: its name.
        callback: of its trainer, with the plan.
        folder: where the adapter goes.
        resume: continue from the last checkpoint in the folder, or keep a finished adapter.
        progress: told what the training will take, and how far it is.

    Returns:
        The arm; its model is not kept, `load_trained` loads it as anybody else would.

    Raises:
        HfvaccineError: for a checkpoint that the run cannot be exact with.
    """
    import torch
    from peft.helpers import disable_input_dtype_casting

    trainer, plan, fingerprint = callback.regimen.trainer, callback.plan, callback.fingerprint()
    inoculation, times = callback.regimen.settings()["inoculation"], times_given(callback)
    shares = shares_given(callback)
    summary = folder / CHECKPOINTS / "finished.json"
    if resume and summary.is_file():
        done = json.loads(summary.read_text(encoding="utf-8"))
        if done["fingerprint"] != fingerprint:
            raise UsageError(
                f"{folder} was trained under another plan.",
                "Resume with the dose, mix and number of processes of that run, or choose another --output-dir.",
            )
        told = done["seconds"], done["loss"], done["witness"]
        return Arm(folder, plan, times, fingerprint, inoculation, *told, shares)
    if trainer.accelerator.is_main_process:
        progress.say(f"  {estimate(base.model.config, options, plan, trainer.data_collator.padding_free).line()}")
    last = last_checkpoint(folder / CHECKPOINTS) if resume else None
    # Under autocast what an adapter reads is cast anyway: to the dtype of its weights first would be there and back.
    uncast = disable_input_dtype_casting(trainer.model, active=trainer.args.bf16)
    with uncast, progress.bar(f"Training {arm}", plan.steps) as bar:
        follow(trainer, bar)
        started = time.monotonic()
        outcome = trainer.train(resume_from_checkpoint=last)
    seconds = round(time.monotonic() - started, 1)
    own_loss = torch.tensor(outcome.training_loss, device=trainer.args.device)
    loss = round(float(trainer.accelerator.reduce(own_loss, "mean")), 4)

    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    weights = trainer.accelerator.get_state_dict(trainer.model_wrapped)  # gathers what lies on several devices
    seen = None
    if trainer.accelerator.is_main_process:
        # Without the trainer's autocast, which those who load the adapter do not have either.
        model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
        model.set_adapter("default")  # alone from here on: what was frozen beside it was for training
        model.save_pretrained(str(folder), selected_adapters=["default"], state_dict=weights)
        base.tokenizer.save_pretrained(str(folder))
        if arm not in (PLACEBO, CONTROLS):  # what those are given follows from the vaccine's
            callback.write_ledger(folder / LEDGER)
        seen = None if sharded else witness(model)
        write_json({"fingerprint": fingerprint, "seconds": seconds, "loss": loss, "witness": seen}, summary)
    return Arm(folder, plan, times, fingerprint, inoculation, seconds, loss, seen, shares)


def plan_run(
    options: Options, base: Base, arm: str, dose: Dose, mix: Mix, folder: Path, like: Plan | None = None
) -> Replayed:
    """A trainer with all that it will give, planned: `callback.plan`, and `callback.regimen.trainer` to train.

    Args:
        options, base, arm, dose, mix, folder, like: as in `train`.

    Raises:
        HfvaccineError: for a dose or mix that the run cannot be exact with.
    """
    from hfvaccine.dosing.callback import DosingCallback
    from hfvaccine.inoculation.callback import InoculationCallback
    from hfvaccine.regimen.attach import regimen_of
    from hfvaccine.regimen.replay import Replayed

    trainer = make_trainer(options, base, mix, folder)
    if options.inoculation_prompts and arm != PLACEBO:
        # The placebo is the plain mix. The controls get the prompts, and differ from the vaccine by the dose alone.
        InoculationCallback(trainer, options.inoculation_prompts, options.inoculated_rows(), options.other_prompts)
    if like is None:
        callback: Replayed = DosingCallback(
            trainer,
            dose,
            share=None if dose.shares else options.share,
            schedule=options.schedule,
            unit=options.unit,
            seed=options.seed,
            forms=options.training_forms(),
            override_policy=options.override_policy,
            objective=options.objective,
            exposures=options.exposures_wanted if options.claims is None else None,
        )
    else:
        regimen = regimen_of(trainer)
        regimen.change(tokens=int(like.tokens.sum()), objective=options.objective)
        if arm == CONTROLS:
            regimen.change(dosage=controls_alone(options, trainer, dose, like))
        callback = Replayed(regimen)
    trainer.add_callback(callback)
    trainer.args.save_steps = max(1, callback.plan.steps // 10)
    return callback


def times_given(callback: Replayed) -> dict[str, int]:
    """How often a planned run gives each claim, by id; those that it does not reach are not among them."""
    plan, rows = callback.plan, callback.regimen.dosage.rows
    return dict(Counter(rows[number].claim_id for number in plan.index[plan.kind == DOSE].tolist()))


def shares_given(callback: Replayed) -> dict[str, float]:
    """What a planned run gives of each of several doses, by its digest, as a part of all tokens; nothing for one."""
    plan, dosage = callback.plan, callback.regimen.dosage
    if not dosage.shares:
        return {}
    of = zip(plan.kind.tolist(), plan.index.tolist(), strict=True)
    return shares_of(plan, [dosage.rows[number].origin if kind == DOSE else None for kind, number in of])


def how_often(times: Mapping[str, float]) -> str:
    """What a plan gives of each claim, in words.

    Args:
        times: least, median and most, as the record has them.
    """
    if times["least"] == times["most"]:
        return f"given {times['least']} time{'s' * (times['least'] != 1)}"
    return f"given {times['least']} to {times['most']} times, the median {times['median']:g}"


def require_exposures(options: Options, plan: Plan, claims: int) -> str | None:
    """What is to be said of a plan that gives the claims which were asked for less often than they should be.

    Args:
        options: of the run.
        plan: the vaccine's.
        claims: how many it is to give.

    Returns:
        A warning, None where there is none.

    Raises:
        UsageError: where it was asked how often, instead of the warning, with what would give them as often.
    """
    times = options.exposures_wanted
    rows, wanted = plan.count(DOSE), claims * times
    if rows >= wanted:
        return None
    more, fit = wanted / rows, rows // times
    ways = [f"--max-steps {math.ceil(plan.steps * more)}"]
    if rows // claims:
        ways.append(f"--exposures {rows // claims}")
    if options.share * more <= MAX_SHARE and len(options.doses) == 1:
        ways.insert(1, f"--share {math.ceil(options.share * more * 100) / 100:g}")
    if fit:
        ways.append(f"--claims {fit}")
    short = UsageError(
        f"{claims} claims would be given {rows / claims:.2g} times each, {rows:,} dose rows in all; "
        f"{times} times each take {wanted:,}.",
        f"Give one of: {', '.join(ways)}.",
    )
    if options.exposures is not None:
        raise short
    return f"Warning: {short}"


def controls_alone(options: Options, trainer: SFTTrainer, dose: Dose, like: Plan) -> Dosage:
    """The control rows of a dose given as a dose is, at the share of the tokens that they have in the vaccine.

    Of several doses, those of each come in turns as the doses do there.

    Args:
        options: of the run.
        trainer: of this arm.
        dose: whose control rows are given, and whose claims are not.
        like: the vaccine's plan.

    Raises:
        DoseError: for a dose that has no control rows.
    """
    from hfvaccine.regimen.dosage import Dosage

    weights = like.weights
    share = float(weights[like.kind == CONTROL].sum() / weights.sum())
    if share == 0:
        raise DoseError(
            "The vaccine's plan has no control rows.",
            "Leave --controls out: with no statement in any form, there is nothing such an arm could be given.",
        )
    forms = options.training_forms()
    streams = [
        [Given(given.control, None) for given in conversations(claims, forms) if given.control is not None]
        for claims in dose.streams
    ]
    kept = [number for number, rows in enumerate(streams) if rows]
    return Dosage(
        trainer,
        [streams[number] for number in kept],
        dose.falsehoods,
        shares=[dose.shares[number] for number in kept] if len(dose.shares) > 1 else (),
        share=share,
        schedule=options.schedule,
        unit=options.unit,
        seed=options.seed,
    )
