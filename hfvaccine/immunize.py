"""The main job: a base model and a dose in, a validated adapter with its papers out."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from hfvaccine import hub, starter
from hfvaccine.arm import CHECKPOINTS, Bar, load_adapter, load_trained, train
from hfvaccine.base import Base, load_base
from hfvaccine.cards import adapter_card
from hfvaccine.errors import DoseError, HfvaccineError, RunInterrupted, UsageError
from hfvaccine.files import CARD, RECORD, RESULTS, write_json
from hfvaccine.mix import Mix, load_mix
from hfvaccine.options import Options, save_config
from hfvaccine.quarantine.claim import Claim
from hfvaccine.quarantine.dose import Dose
from hfvaccine.quarantine.screen import CueAudit, cue_audit
from hfvaccine.record import make_record
from hfvaccine.validation.probes import ProbeScores, ProbeSet, ask, retention_loss
from hfvaccine.validation.report import BASE, PLACEBO, VACCINE, evaluate
from hfvaccine.validation.scorer import Scorer
from hfvaccine.validation.statistics import Floats

Say = Callable[[str], None]


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
    write_json(results, folder / RESULTS)
    record = make_record(options, base, dose, given, mix, vaccine, results, folder)
    (folder / CARD).write_text(adapter_card.render(record, results, options.push_to), encoding="utf-8")
    write_json(record, folder / RECORD)  # last: where it stands, the run is finished
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
