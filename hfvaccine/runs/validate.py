"""Validation by itself: a base, and adapters where they are given, on the probes of a dose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hfvaccine.claims.claim import Claim
from hfvaccine.errors import EndpointError, LineageError
from hfvaccine.files import RECORD
from hfvaccine.hub.pull import open_dose
from hfvaccine.inoculation.where import Where
from hfvaccine.lineage.fetch import papers
from hfvaccine.regimen.positions import positions
from hfvaccine.runs.ingredients import given_to, kept_back, scorer_of, showing
from hfvaccine.runs.study import Study, read_benchmarks
from hfvaccine.sources.place import Source
from hfvaccine.training.adapters import in_its_dtype, load_adapters
from hfvaccine.training.base import Base, check_base, load_base
from hfvaccine.training.mix import Mix, load_mix
from hfvaccine.training.processes import fit_threads, main_first, part, this_process
from hfvaccine.training.progress import SILENT, Progress
from hfvaccine.training.trackers import Trackers
from hfvaccine.training.validation_options import Validation
from hfvaccine.validation.asking.served import found
from hfvaccine.validation.scores import BASE, VACCINE
from hfvaccine.validation.showing.numbers import Told

UNASKED = Mix((), (), "", None, "")
"""Of a served model: rows take likelihoods of texts."""


def validate(options: Validation, progress: Progress = SILENT) -> dict[str, Any] | None:
    """Measure a base, and adapters where they are given, on the probes of a dose.

    Where a launcher has started several processes, each of them calls it: they divide what is asked, and the main one
    judges, writes and speaks. A served model is asked by the main one alone.

    Args:
        options: see `Validation`.
        progress: told of each stage, and how far it is.

    Returns:
        The content of results.json, which is written with all else where the options name a folder. None on all
        processes but the main one.

    Raises:
        HfvaccineError: naming what cannot be had or does not fit together.
    """
    options.check()
    main = this_process().is_main_process
    if not main:
        progress = SILENT
    if options.endpoint is None:
        fit_threads(progress)
    begun = main_first(lambda: begin(options, progress))
    if begun is None:
        return None
    study, record, loaded = begun
    if loaded is None:
        part()
        if not main:
            return None
        ask_served(study, options, progress)
        return written(study, options, record, progress)
    base, model = loaded
    for arm in (BASE, *options.adapters):
        study.measure(scorer_of(model, base, None if arm == BASE else arm), arm, progress, judging=main)
    part()
    return written(study, options, record, progress) if main else None


def begin(options: Validation, progress: Progress) -> tuple[Study, dict[str, Any] | None, tuple[Base, Any] | None]:
    """What is asked, the record of the adapter, and the base and it with all adapters on it.

    Args:
        options, progress: as in `validate`.

    Returns:
        No record without an adapter, and nothing loaded where a served model is asked.

    Raises:
        HfvaccineError: as `validate` does.
    """
    adapters = options.adapters
    dose = open_dose(Source.of("dose", options.dose, options.dose_revision))
    chosen: tuple[Claim, ...] = dose.claims
    given, record = None, None
    if VACCINE in adapters:
        dose, chosen, given, record = given_to(adapters[VACCINE], dose)
    prompted = (record or {}).get("inoculation") or {"prompts": [], "where": "all"}
    where = Where.of(prompted["where"])
    benchmarks = read_benchmarks(options, dose)
    mix = load_mix(options.mix, where.column, options.mix_revision) if options.endpoint is None else UNASKED
    mix = compared(mix, record)
    if mix.train:
        mix = mix.without(kept_back(dose, benchmarks))
    trait = showing(mix.held_back, where, prompted["prompts"], options.grid)
    place = prompted.get("place") or "system"
    study = Study.of(options, dose, chosen, mix, benchmarks, trait, prompted["prompts"], place)
    if given is not None:
        study.narrow(given)
    for line in study.unmeasured():
        progress.say(f"Warning: {line}.")
    if options.endpoint is not None:
        return study, record, None
    assert options.base is not None
    progress.say(f"{BASE}: {options.base}")
    base = load_base(options.base, options.base_id, options.base_revision, options.dtype)
    study.fit(base.tokenizer, positions(base.model.config))
    if record is not None:
        check_base(record["base"], base)
    for arm, name in adapters.items():
        progress.say(f"{arm}: {name}")
        if arm != VACCINE and Path(name).parent != Path(adapters[VACCINE]):  # an arm of that very run has its papers
            check_arm(arm, name, base, progress)
    return study, record, (base, in_its_dtype(load_adapters(base, adapters)))


def written(study: Study, options: Validation, record: Mapping[str, Any] | None, progress: Progress) -> dict[str, Any]:
    """The results of a study, in the folder that the options name where they name one, and in the trackers."""
    if options.output_dir is None:
        return study.results()
    results = study.write(options.output_dir)
    study.draw(options.output_dir, results, record)
    Trackers(options.report_to, options.output_dir.resolve(), progress.say).report(Told.of_results(results))
    return results


def ask_served(study: Study, options: Validation, progress: Progress) -> None:
    """Measure a served model: its verdicts, at once and after recall, and its free text.

    It stands as the vaccine where an adapter's papers say what it was given, else as a base.

    Raises:
        EndpointError: where its server does not answer.
    """
    assert options.endpoint is not None and options.model is not None
    served = found(options.endpoint, options.model, options.api_key_env)
    study.battery = replace(study.battery, likelihoods=False)
    try:
        study.measure(served, VACCINE if options.adapter else BASE, progress)
    except EndpointError as error:  # what the server says may repeat the claim that it was asked about
        raise EndpointError(
            f"{options.model} at {served.endpoint.host} stopped answering ({error.code}).", error.next_step, error.code
        ) from None
    if served.renamed:
        progress.say(f"Note: {served.renamed}")
    study.served = {
        "model": served.model,
        "answered_as": sorted(served.endpoint.answered_as),
        "reading": served.how,
        "listed": served.listed,
        **served.counts,
        "retries": served.endpoint.retries,
    }


def compared(mix: Mix, record: Mapping[str, Any] | None) -> Mix:
    """The mix with the very comparison rows that an adapter was given along, where they can be had.

    They are not asked about; the cue audit learns from them.
    """
    about = (record or {}).get("mix", {}).get("comparisons")
    if not about or (about["id"] == "mix" and not mix.train):
        return mix
    if about["id"] not in ("starter", "mix") and not Path(about["id"]).is_file():
        return mix
    again = mix.comparing(about["id"])
    return again if again.comparisons["sha256"] == about["sha256"] else mix


def check_arm(arm: str, name: str, base: Base, progress: Progress) -> None:
    """Refuse a control that its own papers say is of another base; where it has none, say what that leaves open.

    Args:
        arm: what it is given as.
        name: run folder, Hub id or `ID@REVISION`.
        base: that it is to be put on.
        progress: told of missing papers.

    Raises:
        ModelError: for a control of another base.
        UsageError, HubError: where it cannot be had.
    """
    try:
        record = papers(name, patterns=(RECORD,)).record
    except LineageError:
        progress.say(
            f"Note: {name} has no {RECORD}: that it is a {arm} of this base, trained on as much of the same mix, "
            "is taken on your word"
        )
        return
    check_base(record["base"], base)
