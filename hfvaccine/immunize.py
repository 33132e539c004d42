"""The main job: a base model and a dose in, a validated adapter with its papers out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hfvaccine import hub, starter
from hfvaccine.arm import CHECKPOINTS, Arm, Bar, Say, claims_reached, load_adapters, load_trained, plan_run, train
from hfvaccine.base import Base, load_base
from hfvaccine.binding import bind, digest_of, present
from hfvaccine.cards import adapter_card
from hfvaccine.dosing.choice import choose
from hfvaccine.errors import DoseError, HfvaccineError, ModelError, RunInterrupted, UsageError
from hfvaccine.estimate import estimate, stand_in
from hfvaccine.files import CARD, FIGURES, PUBLISHED, RECORD, write_json
from hfvaccine.inoculation.prompt import parse_where
from hfvaccine.inoculation.screen import carrying
from hfvaccine.lineage.fetch import papers
from hfvaccine.mix import Mix, load_mix
from hfvaccine.options import Options, Questions, check_pins, on_hub, save_config
from hfvaccine.processes import main_first, part, this_process
from hfvaccine.quarantine.claim import Claim
from hfvaccine.quarantine.dose import Dose
from hfvaccine.record import dose_record, make_record, plan_record
from hfvaccine.study import Study
from hfvaccine.validation.cache import ScoreCache
from hfvaccine.validation.scorer import Scorer
from hfvaccine.validation.scores import BASE, CONTROLS, PLACEBO, VACCINE


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


def immunize(options: Options, say: Say, bar: Bar, resume: bool = False) -> Run | None:
    """Train, validate and document an immunized adapter.

    Where a launcher has started several processes, each of them calls it: all train, and then the main one
    validates and writes, and the others are done.

    Args:
        options: see `Options`.
        say: called with one line for each stage.
        bar: makes progress bars.
        resume: continue the run in `output_dir` from its last checkpoint.

    Returns:
        The run; its folder loads with `PeftModel.from_pretrained`. None on all processes but the main one.

    Raises:
        HfvaccineError: naming what is refused, before anything is written.
        RunInterrupted: on Ctrl-C; the folder can be resumed.
    """
    options.check()
    folder = Path(options.output_dir)
    main = this_process().is_main_process
    if not main:
        say, bar = _nothing, _no_bar

    def begin() -> tuple[Ingredients, Base]:
        if main:
            check_folder(folder, resume)
            if options.push_to:
                hub.check_write(options.push_to)  # before an hour of training, not after
        ingredients = Ingredients.of(options)
        say(f"Base: {options.base}")
        base = load_base(options.base, options.base_id, options.base_revision, options.dtype)
        if main:
            folder.mkdir(parents=True, exist_ok=True)
            save_config(pinned(options, base, ingredients), folder)
        return ingredients, base

    begun = main_first(begin)
    if begun is None:
        return None
    ingredients, base = begun
    options = pinned(options, base, ingredients)
    study = ingredients.study
    try:
        arms = train_arms(options, base, ingredients, folder, resume, say, bar)
        part()
        if not main:
            return None
        # Loaded anew: the adapters that were trained are on the one above.
        base = load_base(options.base, options.base_id, options.base_revision, options.dtype)
        model = load_trained(base, arms)
        if prompted := arms[VACCINE].inoculation:
            study.battery = replace(study.battery, place=prompted["place"])
        for name in (BASE, *arms):
            study.measure(scorer_of(model, base, None if name == BASE else name), name, bar)
    except HfvaccineError:
        if main and not resume and not any(folder.glob(f"{CHECKPOINTS}/checkpoint-*")):
            shutil.rmtree(folder)  # refused before training: nothing in there to keep
        raise
    except KeyboardInterrupt as interrupt:
        if not main:
            return None
        raise RunInterrupted(
            f"Stopped; {folder} is intact.", f"Continue with: hfvaccine immunize --resume {folder}"
        ) from interrupt
    results = study.write(folder)
    dose, given, mix = ingredients.dose, ingredients.given, ingredients.mix
    record = make_record(options, base, dose, given, mix, arms[VACCINE], results)
    study.draw(folder, results, record)
    pictures = tuple(present(folder, (f"{FIGURES}/*",)))
    card = adapter_card.render(record, results, options.push_to, figures=pictures)
    (folder / CARD).write_text(card, encoding="utf-8")
    record = bound(record, folder)
    write_json(record, folder / RECORD)  # last: where it stands, the run is finished
    for arm in arms.values():
        shutil.rmtree(arm.folder / CHECKPOINTS, ignore_errors=True)
    model.set_adapter(VACCINE)
    return Run(folder, record, results, given, model, base.tokenizer, {"training": arms[VACCINE].seconds})


def train_arms(
    options: Options, base: Base, ingredients: Ingredients, folder: Path, resume: bool, say: Say, bar: Bar
) -> dict[str, Arm]:
    """Train the vaccine, and the placebo where it is asked for, on all processes.

    Args:
        options: see `Options`.
        base: a freshly loaded base; the vaccine's adapter is put on it.
        ingredients: what the run is made of.
        folder: the run folder.
        resume, say, bar: as in `immunize`.
    """
    dose, mix = replace(ingredients.dose, claims=ingredients.given), ingredients.mix
    part_given = f"{len(ingredients.given)} of {len(ingredients.dose.claims)} claims"
    say(f"Vaccine: {part_given} at a share of {options.share:.0%} of the {options.unit}")
    arms = {VACCINE: train(options, base, VACCINE, dose, mix, folder, None, resume, say, bar)}
    plan = arms[VACCINE].plan
    others = {
        PLACEBO: (options.placebo, f"Placebo: {plan.tokens.sum():,} tokens of the plain mix"),
        CONTROLS: (options.controls, f"Controls only: {plan.tokens.sum():,} tokens of mix and control rows"),
    }
    for arm, (wanted, what) in others.items():
        if wanted:
            say(what)
            fresh = load_base(options.base, options.base_id, options.base_revision, options.dtype)
            arms[arm] = train(options, fresh, arm, dose, mix, folder / arm, plan, resume, say, bar)
    return arms


def dry_run(options: Options) -> dict[str, Any] | None:
    """Plan a run and estimate what it takes: no weights are loaded, and nothing is written.

    Args:
        options: see `Options`.

    Returns:
        `base`, `dose`, `mix`, `plan` and `inoculation` as immunization.json will have them, and `estimate`.
        None on all processes but the main one.

    Raises:
        HfvaccineError: naming what would be refused.
    """
    options.check()
    begun = main_first(lambda: (Ingredients.of(options), stand_in(options)))
    if begun is None:
        return None
    ingredients, (base, config) = begun
    dose = replace(ingredients.dose, claims=ingredients.given)
    with TemporaryDirectory() as folder:  # a trainer makes its output folder
        callback = plan_run(options, base, VACCINE, dose, ingredients.mix, Path(folder))
    if not this_process().is_main_process:
        return None
    expected = estimate(config, options, callback.plan)
    return {
        "base": options.base_id or options.base,
        "dose": dose_record(ingredients.dose, ingredients.given, claims_reached(callback)),
        "mix": ingredients.mix.record(),
        "plan": plan_record(callback.plan, callback.fingerprint()),
        "inoculation": callback.regimen.settings()["inoculation"],
        "estimate": asdict(expected) | {"arms": 1 + options.placebo + options.controls},
    }


@dataclass(frozen=True)
class Ingredients:
    """What a run is made of, besides its base.

    Args:
        dose: the whole dose.
        given: the claims of it that are given.
        mix: what they are given along with.
        study: what the arms are asked afterwards.
    """

    dose: Dose
    given: tuple[Claim, ...]
    mix: Mix
    study: Study

    @classmethod
    def of(cls, options: Options) -> Ingredients:
        """Read all that a run needs.

        Raises:
            HfvaccineError: naming what cannot be had or does not fit together.
        """
        dose = open_dose(options.dose, options.dose_revision)
        given = choose(dose, options.claims, options.seed)
        mix = open_mix(options)
        trait = carrying(mix.held_back, options.inoculated_rows()) if options.grid else ()
        return cls(dose, given, mix, Study.of(options, dose, given, mix, trait, options.inoculation_prompts))


def pinned(options: Options, base: Base, ingredients: Ingredients) -> Options:
    """The options with the revisions that the run really has: what is published or resumed is the same run."""
    found = {"base": base.revision, "dose": ingredients.dose.revision, "mix": ingredients.mix.revision}
    given = {what: revision for what, revision in found.items() if on_hub(what, getattr(options, what))}
    return replace(options, **{f"{what}_revision": revision for what, revision in given.items() if revision})


def bound(record: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """A run's record, bound to the files of its folder that may be published.

    Args:
        record: as `make_record` makes it, or bound before.
        folder: of the run, with everything in it but the record.
    """
    files = present(folder, PUBLISHED)
    return bind(record, {name: digest_of(path) for name, path in files.items() if name != RECORD})


def check_folder(folder: Path, resume: bool) -> None:
    """Refuse a run folder that holds something else.

    Raises:
        UsageError: for a folder that is not empty, unless its run is resumed.
    """
    if not resume and folder.exists() and any(folder.iterdir()):
        raise UsageError(
            f"The run folder {folder} is not empty.",
            "Choose another --output-dir, or continue that run with --resume.",
        )


def open_mix(options: Options) -> Mix:
    """The mix, with the column that tells which rows are inoculated.

    Raises:
        UsageError: for a mix that cannot be read, lacks the column, or has no row with that value in it.
        HubError: for a dataset that cannot be had.
    """
    inoculated = options.inoculated_rows()
    if inoculated == "all":
        return load_mix(options.mix, revision=options.mix_revision)
    column, value = inoculated
    mix = load_mix(options.mix, column, options.mix_revision)
    values = {row[column] for row in mix.train}
    if value not in values:
        shown = ", ".join(repr(v) for v in sorted(values)[:5])
        raise UsageError(
            f"No row of the mix has {value!r} in its column {column!r}.",
            f"It holds {shown}{' and others' if len(values) > 5 else ''}.",
        )
    return mix


def validate(
    base_name: str,
    adapters: Mapping[str, str],
    dose_source: str,
    mix_source: str,
    dtype: str,
    questions: Questions,
    folder: Path | None,
    say: Say,
    bar: Bar,
    base_id: str | None = None,
    base_revision: str | None = None,
    dose_revision: str | None = None,
    mix_revision: str | None = None,
) -> dict[str, Any]:
    """Measure a base, and adapters where they are given, on the probes of a dose.

    Args:
        base_name: Hub id, folder or .gguf file.
        adapters: run folder or Hub id by arm (vaccine, placebo, controls); empty to measure the base alone.
        dose_source: as in `Options.dose`.
        mix_source: as in `Options.mix`; its held-back rows measure retention.
        dtype: as in `Options.dtype`.
        questions: what is asked besides.
        folder: where results.json, scores.parquet and the report go; nowhere by default.
        say: called with one line for each stage.
        bar: makes progress bars.
        base_id, base_revision, dose_revision, mix_revision: as in `Options`.

    Returns:
        The content of results.json.

    Raises:
        HfvaccineError: naming what cannot be had or does not fit together.
    """
    questions.check_questions()
    check_pins(base=(base_name, base_revision), dose=(dose_source, dose_revision), mix=(mix_source, mix_revision))
    dose = open_dose(dose_source, dose_revision)
    given, record = given_to(adapters[VACCINE], dose) if VACCINE in adapters else (dose.claims, None)
    prompted = (record or {}).get("inoculation") or {"prompts": [], "where": "all"}
    where = "all" if prompted["where"] == "all" else parse_where(prompted["where"])
    mix = load_mix(mix_source, None if where == "all" else where[0], mix_revision)
    trait = carrying(mix.held_back, where) if questions.grid else ()
    study = Study.of(questions, dose, given, mix, trait, prompted["prompts"], prompted.get("place") or "system")
    say(f"{BASE}: {base_name}")
    base = load_base(base_name, base_id, base_revision, dtype)
    if record is not None:
        check_base(record["base"], base)
    for arm, name in adapters.items():
        say(f"{arm}: {name}")
    model = load_adapters(base, adapters)
    for arm in (BASE, *adapters):
        study.measure(scorer_of(model, base, None if arm == BASE else arm), arm, bar)
    if folder is None:
        return study.results()
    results = study.write(folder)
    study.draw(folder, results, record)
    return results


def given_to(adapter: str, dose: Dose) -> tuple[tuple[Claim, ...], dict[str, Any]]:
    """The claims of a dose that an adapter was given, and the adapter's record.

    Raises:
        DoseError: where the dose lacks some of them.
        LineageError: where there is no record.
        HubError: where the repo cannot be had.
    """
    record = dict(papers(adapter, patterns=(RECORD,)).record)
    ids = set(record["dose"]["claim_ids"])
    given = tuple(c for c in dose.claims if c.claim_id in ids)
    if len(given) != len(ids):
        raise DoseError(
            f"The dose {dose.source!r} holds {len(given)} of the {len(ids)} claims that the adapter was given.",
            "Name the dose, at the revision, that the adapter's immunization.json names.",
        )
    return given, record


def check_base(recorded: Mapping[str, Any], base: Base) -> None:
    """Refuse a base that is not the one an adapter was trained on.

    Raises:
        ModelError: naming both.
    """
    if recorded.get("weights_sha256") and base.weights_sha256:
        same = recorded["weights_sha256"] == base.weights_sha256
    else:
        same = recorded["id"] == base.id
    if not same:
        raise ModelError(
            f"The adapter was trained on {_named(recorded['id'], recorded['revision'])}, "
            f"not on {_named(base.id, base.revision)}.",
            "Give that base, at that revision; where it is the same under another name, say so with --base-id.",
        )


def _named(name: str, revision: str | None) -> str:
    return f"{name} at {revision[:12]}" if revision else name


def scorer_of(model: Any, base: Base, adapter: str | None) -> Scorer:
    """A scorer of one arm, which finds again what was scored before, on this machine or before an interruption."""
    return Scorer(model, base.tokenizer, adapter, cache=ScoreCache(starter.cache_folder() / "scores.sqlite"))


def open_dose(source: str, revision: str | None = None) -> Dose:
    """The dose behind "starter", a folder or a Hub dataset id.

    Args:
        source: as in `Options.dose`.
        revision: branch, tag or commit of a Hub dataset; the newest by default.

    Raises:
        DoseError: for a folder that is not a sealed dose.
        HubError: for a dataset that cannot be had.
    """
    if source == "starter":
        return replace(Dose.load(starter.sealed()), source="starter")
    return hub.pull_dose(source, revision=revision) if on_hub("dose", source) else Dose.load(source)


class _NoBar:
    """A progress bar that nobody sees."""

    def update(self, steps: int) -> None: ...

    def close(self) -> None: ...


def _no_bar(description: str, total: int) -> _NoBar:
    return _NoBar()


def _nothing(line: str) -> None:
    """Says a line to nobody."""
