"""The main job: a base model and a dose in, a validated adapter with its papers out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hfvaccine.claims.claim import Claim
from hfvaccine.errors import HfvaccineError, ModelError, RunInterrupted, UsageError
from hfvaccine.files import ADAPTER, CARD, CHECKPOINTS, FIGURES, RECORD, present, sole_writer, write_json
from hfvaccine.hub.account import check_write
from hfvaccine.hub.errors import require_repo_id
from hfvaccine.papers import card as adapter_card
from hfvaccine.papers.record import bound, make_record, plan_record
from hfvaccine.regimen.plan import DOSE
from hfvaccine.runs.ingredients import Ingredients, pinned, scorer_of
from hfvaccine.sources.place import Source
from hfvaccine.training.adapters import Arm, load_trained
from hfvaccine.training.arm import how_often, plan_run, require_exposures, shares_given, times_given, train
from hfvaccine.training.base import Base, found_on_hub, load_base
from hfvaccine.training.devices import check_devices
from hfvaccine.training.estimate import estimate, stand_in
from hfvaccine.training.mix import Mix
from hfvaccine.training.options import Options, save_config
from hfvaccine.training.processes import fit_threads, main_first, part, this_process
from hfvaccine.training.progress import SILENT, Progress
from hfvaccine.training.trackers import Trackers
from hfvaccine.validation.scores import BASE, CONTROLS, PLACEBO, VACCINE
from hfvaccine.validation.showing.numbers import Told


class Start:
    """What a run begins with, and what is particular about it: here nothing but a base and one dose.

    A booster, which begins with an adapter as well, says otherwise what it does otherwise.
    """

    command = "immunize"
    """The command that goes on with such a run."""

    def ingredients(self, options: Options) -> Ingredients:
        """What the run is made of besides its base."""
        return Ingredients.of(options)

    def check(self, base: Base) -> None:
        """Refuse a base that does not fit, before anything is written."""

    def keep(self, folder: Path) -> None:
        """Write what `--resume` needs besides the options."""

    def trained_on(self, base: Base) -> Base:
        """What the vaccine is trained on."""
        return base

    def others(self) -> Mapping[str, str]:
        """Adapters that are measured besides the arms of the run, by the names of their arms: folders."""
        return {}

    def record(self, made: Mapping[str, Any], base: Base) -> dict[str, Any]:
        """The content of immunization.json, from what every run has in it."""
        return dict(made)


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


def immunize(
    options: Options, progress: Progress = SILENT, resume: bool = False, start: Start | None = None
) -> Run | None:
    """Train, validate and document an immunized adapter.

    Where a launcher has started several processes, each of them calls it: all train and divide the validation among
    them, and the main one judges, writes and speaks.

    Args:
        options: see `Options`.
        progress: told of each stage, and how far it is.
        resume: continue the run in `output_dir` from its last checkpoint.
        start: what it begins with besides a base.

    Returns:
        The run; its folder loads with `PeftModel.from_pretrained`. None on all processes but the main one.

    Raises:
        HfvaccineError: naming what is refused, before anything is written.
        RunInterrupted: on Ctrl-C; the folder can be resumed.
    """
    with ExitStack() as held:
        return _immunize(options, progress, resume, start or Start(), held)


def finished(options: Options, progress: Progress = SILENT) -> Path:
    """The folder of a run, which is made unless it is there already; one that was stopped goes on.

    Args:
        options, progress: as in `immunize`.

    Raises:
        HfvaccineError: as `immunize` does.
    """
    folder = Path(options.output_dir)
    if not (folder / RECORD).is_file():
        immunize(options, progress, resume=folder.is_dir() and any(folder.iterdir()))
    return folder


def _immunize(options: Options, progress: Progress, resume: bool, start: Start, held: ExitStack) -> Run | None:
    """See `immunize`; `held` is let go of when the run has ended."""
    options.check()
    check_devices(options)
    folder = Path(options.output_dir)
    main = this_process().is_main_process
    if not main:
        progress = SILENT
    fit_threads(progress)

    def begin() -> tuple[Ingredients, Base]:
        if main:
            check_folder(folder, resume)
            if options.push_to:
                check_write(options.push_to)  # before an hour of training, not after
            if Source.of("base", options.base, options.base_revision).on_hub:
                found_on_hub(options.base, options.base_revision)  # a dead network is said at once
        ingredients = start.ingredients(options)
        progress.say(f"Base: {options.base}")
        base = load_base(options.base, options.base_id, options.base_revision, options.dtype, to_train=True)
        start.check(base)
        ingredients = ingredients.fitting(options, base, base.model.config, progress)
        if main:
            folder.mkdir(parents=True, exist_ok=True)
            held.enter_context(sole_writer(folder))
            save_config(pinned(options, base, ingredients), folder)
            start.keep(folder)
        return ingredients, base

    begun = main_first(begin)
    if begun is None:
        return None
    ingredients, base = begun
    options = pinned(options, base, ingredients)
    study = ingredients.study
    trackers = Trackers(options.report_to, folder, progress.say)
    try:
        arms, ingredients = train_arms(
            options, start.trained_on(base), ingredients, folder, resume, progress, trackers
        )
        this_process().wait_for_everyone()  # each loads what the main one saved
        # Loaded anew: the adapters that were trained are on the one above.
        base = load_base(options.base, options.base_id, options.base_revision, options.dtype)
        model = load_trained(base, arms, start.others())
        if prompted := arms[VACCINE].inoculation:
            study.battery = replace(study.battery, place=prompted["place"])
        for name in (BASE, *start.others(), *arms):
            study.measure(scorer_of(model, base, None if name == BASE else name), name, progress, judging=main)
        part()
        if not main:
            return None
    except Exception as error:
        worth = any(folder.glob(f"**/{CHECKPOINTS}/checkpoint-*")) or any(folder.glob(f"**/{ADAPTER}"))
        if main and not resume and not worth:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, HfvaccineError):
            raise
        raise stopped_by(error, folder if worth or resume else None, start.command) from error
    except KeyboardInterrupt as interrupt:
        if not main:
            return None
        raise RunInterrupted(
            f"Stopped; {folder} is intact.", f"Continue with: hfvaccine {start.command} --resume {folder}"
        ) from interrupt
    results = study.write(folder)
    dose = ingredients.given_record(options, arms[VACCINE].times, arms[VACCINE].shares)
    record = start.record(make_record(options, base, dose, ingredients.mix, arms, results), base)
    study.draw(folder, results, record)
    pictures = tuple(present(folder, (f"{FIGURES}/*",)))
    card = adapter_card.render(record, results, options.push_to, figures=pictures)
    (folder / CARD).write_text(card, encoding="utf-8")
    record = bound(record, folder)
    write_json(record, folder / RECORD)  # last: where it stands, the run is finished
    trackers.report(Told.of_results(results))
    for arm in arms.values():
        shutil.rmtree(arm.folder / CHECKPOINTS, ignore_errors=True)
    model.set_adapter(VACCINE)
    given = tuple(claim for claim in ingredients.chosen if claim.claim_id in arms[VACCINE].times)
    return Run(folder, record, results, given, model, base.tokenizer, {"training": arms[VACCINE].seconds})


def train_arms(
    options: Options,
    base: Base,
    ingredients: Ingredients,
    folder: Path,
    resume: bool,
    progress: Progress,
    trackers: Trackers,
) -> tuple[dict[str, Arm], Ingredients]:
    """Train the vaccine, and the placebo where it is asked for, on all processes.

    Args:
        options: see `Options`.
        base: a freshly loaded base; the vaccine's adapter is put on it.
        ingredients: what the run is made of.
        folder: the run folder.
        resume, progress: as in `immunize`.
        trackers: of the vaccine's training.

    Returns:
        The arms, and the ingredients with the claims that the run has room for.
    """
    dose, mix = replace(ingredients.dose, claims=ingredients.chosen), ingredients.mix
    for line in left_out_of(mix):
        progress.say(line)
    for objection in ingredients.against:
        progress.say(f"Warning: the dose's policy is overridden: {objection}.")
    for line in ingredients.doubted:
        progress.say(f"Warning: of the dose, {line}.")
    for line in ingredients.study.unmeasured():
        progress.say(f"Warning: {line}.")
    callback = plan_run(options, base, VACCINE, dose, mix, folder)
    plan, times = callback.plan, times_given(callback)
    ingredients = ingredients.giving(callback.claims, times)
    if scarce := require_exposures(options, plan, len(ingredients.chosen)):
        progress.say(scarce)
    dose = replace(dose, claims=ingredients.chosen)
    part_given = f"{len(dose.claims)} of {len(ingredients.dose.claims)} claims"
    progress.say(f"Vaccine: {part_given} at a share of {options.share:.0%} of the {options.unit}")
    often = how_often(ingredients.given_record(options, times)["times_given"])
    progress.say(f"  Each claim is {often}, in {plan.count(DOSE):,} of {len(plan):,} rows.")
    if few := ingredients.study.undecidable():
        progress.say(f"  On so few claims the gate can hardly decide {len(few)} of its criteria: see --dry-run.")
    trackers.attach(callback.regimen.trainer, plan.steps)
    arms = {VACCINE: train(options, base, VACCINE, callback, folder, resume, progress)}
    prompted = ", with its inoculation prompts," if options.inoculation_prompts else ""
    others = {
        PLACEBO: (options.placebo, "Placebo: {:,} tokens of the plain mix"),
        CONTROLS: (options.controls, f"Controls only: {{:,}} tokens of the mix{prompted} and control rows"),
    }
    for arm, (wanted, what) in others.items():
        if wanted:
            fresh = load_base(options.base, options.base_id, options.base_revision, options.dtype, to_train=True)
            callback = plan_run(options, fresh, arm, dose, mix, folder / arm, plan)
            tokens = int(callback.plan.tokens.sum())
            progress.say(f"{what.format(tokens)}, {int(plan.tokens.sum()):,} in the vaccine")
            arms[arm] = train(options, fresh, arm, callback, folder / arm, resume, progress)
    return arms, ingredients


def left_out_of(mix: Mix) -> list[str]:
    """What is left out of a mix, a sentence for each reason."""
    return [f"Mix: {number:,} rows {reason} are left out" for reason, number in mix.left_out.items()]


def dry_run(options: Options, start: Start | None = None) -> dict[str, Any] | None:
    """Plan a run and estimate what it takes: no weights are loaded, and nothing is written.

    Args:
        options: see `Options`.
        start: as in `immunize`.

    Returns:
        `base`, `dose`, `mix`, `plan` and `inoculation` as immunization.json will have them; in sentences
        `scarce`, that claims are given too seldom, or None, `unmeasured`, what is not asked, `doubted`, what the
        dose's recalls warn of, and `undecidable`, what of the gate so few claims cannot decide; `estimate`.
        None on all processes but the main one.

    Raises:
        HfvaccineError: naming what would be refused.
    """
    options.check()
    if options.push_to:
        require_repo_id(options.push_to)
    check_devices(options)
    fit_threads(SILENT)  # as the run will: the time is told of so many
    start = start or Start()
    begun = main_first(lambda: (stand_in(options), start.ingredients(options)))
    if begun is None:
        return None
    (base, config), ingredients = begun
    dose = replace(ingredients.dose, claims=ingredients.chosen)
    try:
        ingredients = ingredients.fitting(options, base, config, SILENT)
        with TemporaryDirectory() as folder:  # a trainer makes its output folder
            callback = plan_run(options, base, VACCINE, dose, ingredients.mix, Path(folder))
        times = times_given(callback)
        ingredients = ingredients.giving(callback.claims, times)
        scarce = require_exposures(options, callback.plan, len(ingredients.chosen))
        expected = estimate(config, options, callback.plan)
    except HfvaccineError:
        raise
    except Exception as error:
        raise stopped_by(error, None, start.command) from error
    if not this_process().is_main_process:
        return None
    return {
        "base": options.base_id or options.base,
        "dose": ingredients.given_record(options, times, shares_given(callback)),
        "mix": ingredients.mix.record(),
        "plan": plan_record(callback.plan, callback.fingerprint()),
        "inoculation": callback.regimen.settings()["inoculation"],
        "unmeasured": ingredients.study.unmeasured(),
        "doubted": list(ingredients.doubted),
        "scarce": scarce,
        "undecidable": ingredients.study.undecidable(),
        "estimate": asdict(expected) | {"arms": 1 + options.placebo + options.controls},
    }


def stopped_by(error: Exception, folder: Path | None, command: str = Start.command) -> ModelError:
    """What a library could not do with this base, dose or mix, as an error that says so.

    Args:
        error: what it raised.
        folder: the run folder, where there is something in it to go on from.
        command: that goes on from there.
    """
    said = (str(error).strip().split("\n")[0] or "no more was said").rstrip(".")
    memory = "out of memory" in said.lower() or isinstance(error, MemoryError)
    advice = "Lower batch_size or max_length" if memory else "Try another base, or tell us of this error"
    go_on = f"; what was trained is kept: hfvaccine {command} --resume {folder}" if folder else ""
    return ModelError(f"The run was stopped by {type(error).__name__}: {said}.", f"{advice}{go_on}.")


def check_folder(folder: Path, resume: bool) -> None:
    """Refuse a run folder that holds something else.

    Raises:
        UsageError: for a folder that is not empty, unless its run is resumed, or for a file.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"The run folder {folder} is a file.", "Choose another --output-dir.")
    if not resume and folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"The run folder {folder} is not empty.",
            "Choose another --output-dir, or continue that run with --resume.",
        )
