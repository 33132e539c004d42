"""The main job: a base model and a dose in, a validated adapter with its papers out."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hfvaccine import hub, starter
from hfvaccine.base import Base, load_base
from hfvaccine.cards import adapter_card
from hfvaccine.dosing.ledger import LEDGER
from hfvaccine.dosing.plan import CONTROL, DOSE, UNITS, Lengths, Plan, check_share, make_plan
from hfvaccine.dosing.schedule import named
from hfvaccine.errors import DoseError, HfvaccineError, ModelError, RunInterrupted, UsageError, ValidationError
from hfvaccine.mix import Mix, load_mix
from hfvaccine.quarantine.claim import Claim
from hfvaccine.quarantine.dose import Dose
from hfvaccine.quarantine.screen import CueAudit, cue_audit
from hfvaccine.validation.probes import ProbeScores, ProbeSet, ask, retention_loss
from hfvaccine.validation.report import BASE, PLACEBO, RESULTS, VACCINE, evaluate, write_results
from hfvaccine.validation.scorer import Scorer
from hfvaccine.validation.statistics import Floats
from hfvaccine.version import VERSION

if TYPE_CHECKING:
    from trl import SFTTrainer

RECORD = "immunization.json"
CONFIG = "config.yaml"
ADAPTER = "adapter_model.safetensors"
CHECKPOINTS = "checkpoints"
SCHEMA_VERSION = 1

Say = Callable[[str], None]
Bar = Callable[[str, int], Any]
"""Makes a progress bar from a description and a total."""


@dataclass(frozen=True)
class Options:
    """What `hfvaccine immunize` is asked for; every field is an option and a YAML key.

    Args:
        base: Hub id, folder or .gguf file of the base model.
        base_id: Hub id that the card names for a local base.
        dose: "starter", a sealed dose folder, or a Hub dataset id.
        mix: "starter", a .jsonl or .parquet file, or a Hub dataset id.
        share: dose part of the training tokens, in (0, 0.5].
        schedule: how the share runs over the training.
        unit: what the share is counted in, "tokens" or "supervised".
        claims: how many of the dose's claims to give; all by default.
        epochs: passes over the mix (the default: 3), unless max_steps is given.
        max_steps: optimizer steps.
        learning_rate: peak; linear decay after 5 % warm-up.
        lora_r: rank of the adapter.
        lora_alpha: its scale; twice the rank by default.
        batch_size: rows of one forward pass.
        gradient_accumulation_steps: forward passes of one step.
        max_length: tokens after which a mix row is cut.
        dtype: "auto", "bfloat16" or "float32".
        seed: of the choice of claims, the order of rows and the adapter's start.
        placebo: also train the control arm: as many tokens of the same mix, without dose or controls.
        output_dir: the run folder.
        push_to: Hub id to push the adapter to.
        publish_failed: push although the gate failed.
    """

    base: str
    base_id: str | None = None
    dose: str = "starter"
    mix: str = "starter"
    share: float = 0.05
    schedule: str = "constant"
    unit: str = "tokens"
    claims: int | None = None
    epochs: float | None = None
    max_steps: int | None = None
    learning_rate: float = 2e-4
    lora_r: int = 16
    lora_alpha: int | None = None
    batch_size: int = 8
    gradient_accumulation_steps: int = 1
    max_length: int = 1024
    dtype: str = "auto"
    seed: int = 0
    placebo: bool = False
    output_dir: str = "runs/vaccine"
    push_to: str | None = None
    publish_failed: bool = False

    def check(self) -> None:
        """Refuse what cannot be run before anything is read or written.

        Raises:
            UsageError: naming the option.
        """
        check_share(self.share)
        named(self.schedule)
        if self.unit not in UNITS:
            raise UsageError(f"The unit {self.unit!r} is unknown.", f"Use one of: {', '.join(UNITS)}.")
        if self.dtype not in ("auto", "bfloat16", "float32"):
            raise UsageError(f"The dtype {self.dtype!r} is unknown.", "Use auto, bfloat16 or float32.")
        if self.epochs is not None and self.max_steps is not None:
            raise UsageError(
                "Both epochs and max_steps are given.", "Give one of them: either sets the length of the run."
            )
        positive = (
            "epochs",
            "max_steps",
            "learning_rate",
            "lora_r",
            "lora_alpha",
            "batch_size",
            "claims",
            "max_length",
        )
        for name in (*positive, "gradient_accumulation_steps"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UsageError(f"{name} is {value}.", "It must be above 0.")


@dataclass(frozen=True)
class Arm:
    """A trained arm: where its adapter lies, what its run was, and `witness` of its trained model."""

    folder: Path
    plan: Plan
    seconds: float
    loss: float | None
    witness: list[float]


@dataclass
class Run:
    """A finished run: its folder, its papers, and the adapter as loaded from the folder."""

    folder: Path
    record: dict[str, Any]
    results: dict[str, Any]
    given: tuple[Claim, ...]
    model: Any = None
    tokenizer: Any = None
    seconds: dict[str, float] = field(default_factory=dict)


def immunize(options: Options, say: Say, bar: Bar, resume: bool = False) -> Run:
    """Train, validate and document an immunized adapter.

    Args:
        options: see `Options`.
        say: called with one line for each stage.
        bar: makes progress bars.
        resume: continue the run in `output_dir` from its last checkpoint.

    Returns:
        The run; its folder loads with `PeftModel.from_pretrained`.

    Raises:
        HfvaccineError: naming what is refused, before anything is written.
        RunInterrupted: on Ctrl-C; the folder can be resumed.
    """
    options.check()
    folder = Path(options.output_dir)
    if not resume and folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"The run folder {folder} is not empty.",
            "Choose another --output-dir, or continue that run with --resume.",
        )
    dose = open_dose(options.dose)
    given = choose(dose, options.claims, options.seed)
    mix = load_mix(options.mix)
    probes = probe_sets(given, dose.heldout)
    say(f"Base: {options.base}")
    base = load_base(options.base, options.base_id, dtype=options.dtype)

    folder.mkdir(parents=True, exist_ok=True)
    save_config(options, folder)
    try:
        scores, retention = {}, {}
        scores[BASE], retention[BASE] = examine(base.model, base, probes, mix, BASE, bar)
        say(f"Vaccine: {len(given)} of {len(dose.claims)} claims at a share of {options.share:.0%} of the tokens")
        vaccine = train(options, base, replace(dose, claims=given), mix, folder, None, resume, bar)
        base, model = load_trained(options, vaccine)
        scores[VACCINE], retention[VACCINE] = examine(model, base, probes, mix, VACCINE, bar)
        if options.placebo:
            tokens = int(vaccine.plan.tokens.sum())
            say(f"Placebo: {tokens:,} tokens of the plain mix")
            fresh = load_base(options.base, options.base_id, dtype=options.dtype)
            placebo = train(options, fresh, None, mix, folder / PLACEBO, tokens, resume, bar)
            fresh, control = load_trained(options, placebo)
            scores[PLACEBO], retention[PLACEBO] = examine(control, fresh, probes, mix, PLACEBO, bar)
    except HfvaccineError:
        if not resume and not any(folder.glob(f"{CHECKPOINTS}/checkpoint-*")):
            shutil.rmtree(folder)  # refused before training: nothing in there to keep
        raise
    except KeyboardInterrupt as interrupt:
        raise RunInterrupted(
            f"Stopped; {folder} is intact.", f"Continue with: hfvaccine immunize --resume {folder}"
        ) from interrupt
    results = evaluate(probes, scores, audits(dose, probes), retention)
    write_results(results, folder / RESULTS)
    record = make_record(options, base, dose, given, mix, vaccine, results, folder)
    write_json(record, folder / RECORD)
    (folder / "README.md").write_text(adapter_card.render(record, results, options.push_to), encoding="utf-8")
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    shutil.rmtree(folder / PLACEBO / CHECKPOINTS, ignore_errors=True)
    return Run(folder, record, results, given, model, base.tokenizer, {"training": vaccine.seconds})


def validate(
    base_name: str,
    adapter: str | None,
    placebo: str | None,
    dose_source: str,
    mix_source: str,
    dtype: str,
    say: Say,
    bar: Bar,
) -> dict[str, Any]:
    """Measure a base, and an adapter and a control where they are given, on the probes of a dose.

    Args:
        base_name: Hub id, folder or .gguf file.
        adapter: run folder or Hub id; None measures the base alone.
        placebo: adapter of the control arm.
        dose_source: as in `Options.dose`.
        mix_source: as in `Options.mix`; its held-back rows measure retention.
        dtype: as in `Options.dtype`.
        say: called with one line for each stage.
        bar: makes progress bars.

    Returns:
        The content of results.json.

    Raises:
        HfvaccineError: naming what cannot be had or does not fit together.
    """
    dose = open_dose(dose_source)
    mix = load_mix(mix_source)
    given = dose.claims
    if adapter is not None:
        ids = set(hub.read_record(adapter)["dose"]["claim_ids"])
        given = tuple(c for c in dose.claims if c.claim_id in ids)
        if len(given) != len(ids):
            raise DoseError(
                f"The dose {dose_source!r} holds {len(given)} of the {len(ids)} claims that the adapter was given.",
                "Name the dose, at the revision, that the adapter's immunization.json names.",
            )
    probes = probe_sets(given, dose.heldout)
    scores, retention = {}, {}
    for arm, name in ((BASE, None), (VACCINE, adapter), (PLACEBO, placebo)):
        if name is None and arm != BASE:
            continue
        say(f"{arm}: {name or base_name}")
        base = load_base(base_name, dtype=dtype)
        model = base.model if name is None else load_adapter(base, name)
        scores[arm], retention[arm] = examine(model, base, probes, mix, arm, bar)
    return evaluate(probes, scores, audits(dose, probes), retention)


def open_dose(source: str) -> Dose:
    """The dose behind "starter", a folder or a Hub dataset id.

    Raises:
        DoseError: for a folder that is not a sealed dose.
        HubError: for a dataset that cannot be had.
    """
    if source == "starter":
        return replace(Dose.load(starter.sealed()), source="starter")
    if Path(source).exists() or source.count("/") != 1:
        return Dose.load(source)
    return hub.pull_dose(source)


def choose(dose: Dose, number: int | None, seed: int) -> tuple[Claim, ...]:
    """The claims to give: all, or `number` of them spread over the domains, the same for the same seed."""
    if number is None or number >= len(dose.claims):
        return dose.claims
    rng = np.random.default_rng(seed)
    shuffled = [dose.claims[i] for i in rng.permutation(len(dose.claims))]
    turn: dict[str, int] = {}
    order = []
    for claim in shuffled:
        turn[claim.domain] = turn.get(claim.domain, -1) + 1
        order.append(turn[claim.domain])
    return tuple(shuffled[i] for i in np.argsort(order, kind="stable")[:number])


def probe_sets(given: Sequence[Claim], heldout: Sequence[Claim]) -> list[ProbeSet]:
    """What to ask: the given claims in other wordings, and the claims never given.

    Raises:
        ValidationError: where the given claims are too few to say anything.
        DoseError: where a dose has no held-out claims.
    """
    if not heldout:
        raise DoseError("The dose holds out no claims.", "Seal it with claims of split 'heldout' to measure on.")
    return [ProbeSet.of("specific", given), ProbeSet.of("cross", heldout)]


def audits(dose: Dose, probes: Sequence[ProbeSet]) -> dict[str, CueAudit]:
    """The cue audit of each probe's pairs, learnt by cross-validation on all pairs of the dose."""
    claims = [c for c in (*dose.claims, *dose.heldout) if c.twin]
    whole = cue_audit([(c.claim, str(c.twin)) for c in claims])
    at = {c.claim_id: i for i, c in enumerate(claims)}
    return {
        p.name: replace(whole, truth_scores=whole.truth_scores[[at[c.claim_id] for c in p.claims]]) for p in probes
    }


def examine(
    model: Any, base: Base, probes: Sequence[ProbeSet], mix: Mix, arm: str, bar: Bar
) -> tuple[Mapping[str, ProbeScores], Floats]:
    """Probe scores and retention loss of one arm."""
    scorer = Scorer(model, base.tokenizer)
    scores = ask(scorer, probes, lambda total: bar(f"Validating {arm}", total))
    return scores, retention_loss(scorer, mix.held_back)


def train(
    options: Options, base: Base, dose: Dose | None, mix: Mix, folder: Path, tokens: int | None, resume: bool, bar: Bar
) -> Arm:
    """Train one arm with a stock `SFTTrainer` and save its adapter.

    Args:
        options: the run's options.
        base: a freshly loaded base.
        dose: what to give; None for the placebo.
        mix: what to give it along with.
        folder: where the adapter goes.
        tokens: length of the placebo.
        resume: continue from the last checkpoint in the folder, or keep a finished adapter.
        bar: makes the progress bar.

    Returns:
        The arm; its model is not kept, `load_trained` loads it as anybody else would.
    """
    from hfvaccine.dosing.callback import ConsumedAsPlanned, DosingCallback, measure, replay, rows_per_step

    trainer = make_trainer(options, base, mix, folder)
    if dose is not None:
        callback: Any = DosingCallback(
            trainer, dose, share=options.share, schedule=options.schedule, unit=options.unit, seed=options.seed
        )
        plan = callback.plan
    else:
        nothing = Lengths(np.zeros(0, np.int64), np.zeros(0, np.int64))
        plan = make_plan(
            measure(trainer.train_dataset),
            nothing,
            nothing,
            np.zeros(0, np.int64),
            share=0,
            rows_per_step=rows_per_step(trainer.args),
            seed=options.seed,
            tokens=tokens,
        )
        replay(trainer, trainer.train_dataset.select(plan.index), plan)
        callback = ConsumedAsPlanned(plan)
    trainer.add_callback(callback)
    trainer.args.save_steps = max(1, plan.steps // 10)
    _show_progress(trainer, bar(f"Training {PLACEBO if dose is None else VACCINE}", plan.steps))

    summary = folder / CHECKPOINTS / "finished.json"
    if resume and summary.is_file():
        done = json.loads(summary.read_text(encoding="utf-8"))
        if done["fingerprint"] != plan.fingerprint():
            raise UsageError(f"{folder} was trained under another plan.", "Choose another --output-dir.")
        return Arm(folder, plan, done["seconds"], done["loss"], done["witness"])
    last = last_checkpoint(folder / CHECKPOINTS) if resume else None
    started = time.monotonic()
    outcome = trainer.train(resume_from_checkpoint=last)
    seconds = round(time.monotonic() - started, 1)
    # Without the trainer's autocast, which those who load the adapter do not have either.
    model = trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)
    model.save_pretrained(str(folder))
    base.tokenizer.save_pretrained(str(folder))
    if dose is not None:
        callback.write_ledger(folder / LEDGER)
    loss = round(float(outcome.training_loss), 4)
    seen = witness(model)
    write_json({"fingerprint": plan.fingerprint(), "seconds": seconds, "loss": loss, "witness": seen}, summary)
    return Arm(folder, plan, seconds, loss, seen)


def witness(model: Any) -> list[float]:
    """A model's logits for a fixed token, by which a loaded adapter is told to be the trained one."""
    import torch

    ids = torch.arange(8, device=model.device)[None]
    with torch.inference_mode():
        return [float(x) for x in model.eval()(input_ids=ids).logits[0, -1, :64].float()]


def load_trained(options: Options, arm: Arm) -> tuple[Base, Any]:
    """Base and adapter of an arm, from its folder, as anybody else would load them: what is validated is what is used.

    Raises:
        ValidationError: where the saved adapter is not the model that was trained.
    """
    base = load_base(options.base, options.base_id, dtype=options.dtype)
    model = load_adapter(base, str(arm.folder)).eval()
    difference = float(np.abs(np.array(witness(model)) - np.array(arm.witness)).max())
    if difference > 1e-6:
        raise ValidationError(
            f"The adapter in {arm.folder} gives other logits than the model that was trained (by {difference:g}).",
            "Do not use it; train again and report this.",
        )
    return base, model


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end: the plan beside it is what is written last."""
    from hfvaccine.dosing.callback import PLAN_FILE

    complete = [path.parent for path in folder.glob(f"checkpoint-*/{PLAN_FILE}")]
    return str(max(complete, key=lambda path: int(path.name.split("-")[1]))) if complete else None


def make_trainer(options: Options, base: Base, mix: Mix, folder: Path) -> SFTTrainer:
    """A stock `SFTTrainer` with a LoRA adapter on the base, and the mix as its data."""
    import torch
    from datasets import Dataset as Rows
    from peft import LoraConfig
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    arguments = SFTConfig(
        output_dir=str(folder / CHECKPOINTS),
        per_device_train_batch_size=options.batch_size,
        gradient_accumulation_steps=options.gradient_accumulation_steps,
        num_train_epochs=3 if options.epochs is None else options.epochs,
        max_steps=-1 if options.max_steps is None else options.max_steps,
        learning_rate=options.learning_rate,
        lr_scheduler_type="linear",
        warmup_steps=0.05,
        max_length=options.max_length,
        seed=options.seed,
        save_total_limit=2,  # the newest may be half written when a run is killed
        save_strategy="steps",
        save_steps=50,
        logging_strategy="steps",
        logging_steps=10,
        report_to=[],
        disable_tqdm=True,
        # Recomputing activations saves memory that small models do not need, for a third more time.
        gradient_checkpointing=torch.cuda.is_available(),
        bf16=base.model.dtype == torch.bfloat16,
        use_cpu=not torch.cuda.is_available(),
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    lora = LoraConfig(
        r=options.lora_r,
        lora_alpha=options.lora_alpha or 2 * options.lora_r,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        base_model_name_or_path=base.id,
    )
    trainer = SFTTrainer(
        model=base.model,
        args=arguments,
        train_dataset=Rows.from_list(list(mix.train)),
        processing_class=base.tokenizer,
        peft_config=lora,
    )
    trainer.model.peft_config["default"].base_model_name_or_path = base.id
    trainer.remove_callback(PrinterCallback)  # it prints logs on stdout, which is for data
    return trainer


def make_record(
    options: Options,
    base: Base,
    dose: Dose,
    given: Sequence[Claim],
    mix: Mix,
    arm: Arm,
    results: Mapping[str, Any],
    folder: Path,
) -> dict[str, Any]:
    """The content of immunization.json: what binds the adapter to base, dose, mix, plan and results."""
    import peft
    import torch
    import transformers
    import trl

    plan = arm.plan
    return {
        "schema_version": SCHEMA_VERSION,
        "hfvaccine": VERSION,
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "base": base.record(),
        "dose": {
            "id": dose.source,
            "revision": dose.revision,
            "manifest_sha256": dose.digest(),
            "name": dose.name,
            "claims_given": len(given),
            "claims_in_dose": len(dose.claims),
            "claim_ids": sorted(c.claim_id for c in given),
        },
        "mix": mix.record(),
        "plan": {
            "fingerprint": plan.fingerprint(),
            "schedule": plan.schedule,
            "unit": plan.unit,
            "share_asked": plan.share,
            "share_given": round(plan.share_given, 5),
            "seed": plan.seed,
            "steps": plan.steps,
            "rows": len(plan),
            "rows_per_step": plan.rows_per_step,
            "tokens": int(plan.tokens.sum()),
            "dose_rows": plan.count(DOSE),
            "dose_tokens": plan.tokens_of(DOSE),
            "control_rows": plan.count(CONTROL),
            "control_tokens": plan.tokens_of(CONTROL),
        },
        "inoculation": None,
        "training": {
            "method": "LoRA",
            "lora_r": options.lora_r,
            "lora_alpha": options.lora_alpha or 2 * options.lora_r,
            "target_modules": "all-linear",
            "learning_rate": options.learning_rate,
            "batch_size": options.batch_size,
            "gradient_accumulation_steps": options.gradient_accumulation_steps,
            "dtype": str(base.model.dtype).removeprefix("torch."),
            "device": base.model.device.type,
            "seconds": arm.seconds,
            "final_loss": arm.loss,
            "placebo": options.placebo,
        },
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "trl": trl.__version__,
            "peft": peft.__version__,
        },
        "ledger_sha256": hashlib.sha256((folder / LEDGER).read_bytes()).hexdigest(),
        "results_sha256": hashlib.sha256((folder / RESULTS).read_bytes()).hexdigest(),
        "gate": results["gate"],
    }


def save_config(options: Options, folder: Path) -> None:
    """The run's own copy of its options, which `--config` and `--resume` read."""
    import yaml

    (folder / CONFIG).write_text(yaml.safe_dump(asdict(options), sort_keys=False), encoding="utf-8")


def read_config(path: Path) -> dict[str, Any]:
    """Options from a YAML file.

    Raises:
        UsageError: for a file that is missing or not a mapping of options.
    """
    import yaml

    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"The configuration {path} cannot be read: {error}", "Give a YAML file of options."
        ) from error
    known = {f.name for f in fields(Options)}
    if not isinstance(values, dict) or set(values) - known:
        unknown = sorted(map(str, set(values) - known)) if isinstance(values, dict) else [repr(values)[:40]]
        raise UsageError(f"{path} has unknown option(s): {', '.join(unknown)}.", f"Known: {', '.join(sorted(known))}.")
    for option in fields(Options):
        if option.name in values and not _fits(values[option.name], str(option.type)):
            raise UsageError(
                f"In {path}, {option.name} is {values[option.name]!r}.", f"It must be of type {option.type}."
            )
    return values


def _fits(value: Any, kind: str) -> bool:
    if value is None:
        return kind.endswith("None")
    if isinstance(value, bool):
        return kind.startswith("bool")
    if kind.startswith("float"):
        return isinstance(value, int | float)
    return isinstance(value, {"int": int, "str": str}.get(kind.split(" ")[0], ()))


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def load_adapter(base: Base, adapter: str) -> Any:
    """The base with an adapter on it, from a run folder or the Hub.

    Raises:
        ModelError: where it cannot be found or belongs to another base.
    """
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(base.model, adapter)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"The adapter {adapter!r} cannot be loaded on {base.id}: {reason}",
            "Give a run folder or Hub id of an adapter that was trained on this base.",
        ) from error


def _show_progress(trainer: Any, bar: Any) -> None:
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.update(state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.update(1)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs and hasattr(bar, "set_postfix"):
                bar.set_postfix(loss=logs["loss"])

        def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            bar.close()

    trainer.add_callback(Progress())
