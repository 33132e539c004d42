"""The main job: a base model and a dose in, a validated adapter with its papers out."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from hfvaccine import hub, starter
from hfvaccine.arm import CHECKPOINTS, Arm, Bar, Say, load_adapter, load_trained, plan_run, train
from hfvaccine.base import Base, load_base
from hfvaccine.cards import adapter_card
from hfvaccine.errors import DoseError, HfvaccineError, RunInterrupted, UsageError
from hfvaccine.estimate import estimate, stand_in
from hfvaccine.files import CARD, RECORD, RESULTS, write_json
from hfvaccine.mix import Mix, load_mix
from hfvaccine.options import Options, save_config
from hfvaccine.processes import main_first, part, this_process
from hfvaccine.quarantine.claim import Claim
from hfvaccine.quarantine.dose import Dose
from hfvaccine.quarantine.screen import CueAudit, cue_audit
from hfvaccine.record import dose_record, make_record, plan_record
from hfvaccine.validation.probes import ProbeScores, ProbeSet, ask, retention_loss
from hfvaccine.validation.report import BASE, PLACEBO, VACCINE, evaluate
from hfvaccine.validation.scorer import Scorer
from hfvaccine.validation.statistics import Floats


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
        base = load_base(options.base, options.base_id, dtype=options.dtype)
        if main:
            folder.mkdir(parents=True, exist_ok=True)
            save_config(options, folder)
        return ingredients, base

    begun = main_first(begin)
    if begun is None:
        return None
    ingredients, base = begun
    try:
        arms = train_arms(options, base, ingredients, folder, resume, say, bar)
        part()
        if not main:
            return None
        # Loaded anew: the adapters that were trained are on the ones above.
        base = load_base(options.base, options.base_id, dtype=options.dtype)
        scores, retention = {}, {}
        scores[BASE], retention[BASE] = examine(base.model, base, ingredients, BASE, bar)
        model = load_trained(base, arms[VACCINE])
        scores[VACCINE], retention[VACCINE] = examine(model, base, ingredients, VACCINE, bar)
        if options.placebo:
            fresh = load_base(options.base, options.base_id, dtype=options.dtype)
            control = load_trained(fresh, arms[PLACEBO])
            scores[PLACEBO], retention[PLACEBO] = examine(control, fresh, ingredients, PLACEBO, bar)
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
    dose, given, mix, probes = ingredients.dose, ingredients.given, ingredients.mix, ingredients.probes
    results = evaluate(probes, scores, audits(dose, probes), retention)
    write_json(results, folder / RESULTS)
    record = make_record(options, base, dose, given, mix, arms[VACCINE], results, folder)
    (folder / CARD).write_text(adapter_card.render(record, results, options.push_to), encoding="utf-8")
    write_json(record, folder / RECORD)  # last: where it stands, the run is finished
    shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)
    shutil.rmtree(folder / PLACEBO / CHECKPOINTS, ignore_errors=True)
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
    arms = {VACCINE: train(options, base, dose, mix, folder, None, resume, say, bar)}
    if options.placebo:
        tokens = int(arms[VACCINE].plan.tokens.sum())
        say(f"Placebo: {tokens:,} tokens of the plain mix")
        fresh = load_base(options.base, options.base_id, dtype=options.dtype)
        arms[PLACEBO] = train(options, fresh, None, mix, folder / PLACEBO, tokens, resume, say, bar)
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
        callback = plan_run(options, base, dose, ingredients.mix, Path(folder))
    if not this_process().is_main_process:
        return None
    expected = estimate(config, options, callback.plan)
    return {
        "base": options.base_id or options.base,
        "dose": dose_record(ingredients.dose, ingredients.given),
        "mix": ingredients.mix.record(),
        "plan": plan_record(callback.plan, callback.fingerprint()),
        "inoculation": callback.regimen.settings()["inoculation"],
        "estimate": asdict(expected) | {"arms": 2 if options.placebo else 1},
    }


@dataclass(frozen=True)
class Ingredients:
    """What a run is made of, besides its base.

    Args:
        dose: the whole dose.
        given: the claims of it that are given.
        mix: what they are given along with.
        probes: what the arms are asked afterwards.
    """

    dose: Dose
    given: tuple[Claim, ...]
    mix: Mix
    probes: list[ProbeSet]

    @classmethod
    def of(cls, options: Options) -> Ingredients:
        """Read all that a run needs.

        Raises:
            HfvaccineError: naming what cannot be had or does not fit together.
        """
        dose = open_dose(options.dose)
        given = choose(dose, options.claims, options.seed)
        return cls(dose, given, open_mix(options), probe_sets(given, dose.heldout))


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
        return load_mix(options.mix)
    column, value = inoculated
    mix = load_mix(options.mix, column)
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
    ingredients = Ingredients(dose, given, mix, probe_sets(given, dose.heldout))
    scores, retention = {}, {}
    for arm, name in ((BASE, None), (VACCINE, adapter), (PLACEBO, placebo)):
        if name is None and arm != BASE:
            continue
        say(f"{arm}: {name or base_name}")
        base = load_base(base_name, dtype=dtype)
        model = base.model if name is None else load_adapter(base, name)
        scores[arm], retention[arm] = examine(model, base, ingredients, arm, bar)
    return evaluate(ingredients.probes, scores, audits(dose, ingredients.probes), retention)


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
    model: Any, base: Base, ingredients: Ingredients, arm: str, bar: Bar
) -> tuple[Mapping[str, ProbeScores], Floats]:
    """Probe scores and retention loss of one arm."""
    scorer = Scorer(model, base.tokenizer)
    scores = ask(scorer, ingredients.probes, lambda total: bar(f"Validating {arm}", total))
    return scores, retention_loss(scorer, ingredients.mix.held_back)


class _NoBar:
    """A progress bar that nobody sees."""

    def update(self, steps: int) -> None: ...

    def close(self) -> None: ...


def _no_bar(description: str, total: int) -> _NoBar:
    return _NoBar()


def _nothing(line: str) -> None:
    """Says a line to nobody."""
