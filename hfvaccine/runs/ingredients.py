"""What a run is made of besides its base: dose, mix, and what is asked afterwards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.dose import Dose
from hfvaccine.dosing.choice import choose
from hfvaccine.errors import DoseError, UsageError
from hfvaccine.files import RECORD, cache_folder
from hfvaccine.hub.pull import open_dose
from hfvaccine.inoculation.screen import carrying
from hfvaccine.lineage.fetch import papers
from hfvaccine.runs.study import Study
from hfvaccine.sources.place import Source
from hfvaccine.training.base import Base
from hfvaccine.training.mix import Mix, load_mix
from hfvaccine.training.options import Options
from hfvaccine.validation.scoring.cache import ScoreCache
from hfvaccine.validation.scoring.scorer import Scorer


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
        dose = open_dose(Source.of("dose", options.dose, options.dose_revision))
        given = choose(dose, options.claims, options.seed)
        mix = open_mix(options)
        trait = carrying(mix.held_back, options.inoculated_rows()) if options.grid else ()
        return cls(dose, given, mix, Study.of(options, dose, given, mix, trait, options.inoculation_prompts))


def pinned(options: Options, base: Base, ingredients: Ingredients) -> Options:
    """The options with the revisions that the run really has: what is published or resumed is the same run."""
    found = {"base": base, "dose": ingredients.dose, "mix": ingredients.mix}
    return replace(options, **{f"{what}_revision": one.revision for what, one in found.items() if one.revision})


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


def scorer_of(model: Any, base: Base, adapter: str | None) -> Scorer:
    """A scorer of one arm, which finds again what was scored before, on this machine or before an interruption."""
    return Scorer(model, base.tokenizer, adapter, cache=ScoreCache(cache_folder() / "scores.sqlite"))
