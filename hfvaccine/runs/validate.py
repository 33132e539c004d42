"""Validation by itself: a base, and adapters where they are given, on the probes of a dose."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hfvaccine.inoculation.prompt import parse_where
from hfvaccine.inoculation.screen import carrying
from hfvaccine.runs.ingredients import given_to, open_dose, scorer_of
from hfvaccine.runs.study import Study
from hfvaccine.sources.place import check_pins
from hfvaccine.training.adapters import load_adapters
from hfvaccine.training.base import check_base, load_base
from hfvaccine.training.mix import load_mix
from hfvaccine.training.progress import Bar, Say
from hfvaccine.validation.questions import Questions
from hfvaccine.validation.scores import BASE, VACCINE


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
