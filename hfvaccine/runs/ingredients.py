"""What a run is made of besides its base: dose, mix, and what is asked afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.dose import Dose
from hfvaccine.claims.joined import Joined, together
from hfvaccine.claims.shares import with_share
from hfvaccine.claims.wording import words_and_signs
from hfvaccine.dosing.choice import choose
from hfvaccine.dosing.permission import permit
from hfvaccine.errors import DoseError, LineageError
from hfvaccine.files import LEDGER
from hfvaccine.hub.pull import open_dose
from hfvaccine.inoculation.screen import carrying
from hfvaccine.inoculation.where import Where
from hfvaccine.lineage.fetch import dose_of, papers
from hfvaccine.papers.binding import recorded_doses
from hfvaccine.papers.kind import IMMUNIZED
from hfvaccine.papers.record import dose_record, several_record
from hfvaccine.quarantine.recalls import objections
from hfvaccine.regimen.ledger import read_ledger
from hfvaccine.regimen.positions import positions, row_length
from hfvaccine.runs.study import Study, read_benchmarks
from hfvaccine.sources.place import with_revision
from hfvaccine.training.base import Base
from hfvaccine.training.mix import Mix, load_mix
from hfvaccine.training.options import Options
from hfvaccine.training.progress import Progress
from hfvaccine.validation.asking.benchmark import Benchmark
from hfvaccine.validation.scoring.cache import cache_of_scores
from hfvaccine.validation.scoring.scorer import Scorer

TELLING = 5
"""Words of an item of a benchmark by which it is known; a shorter one, such as an answer, is said of anything."""


@dataclass(frozen=True)
class Ingredients:
    """What a run is made of, besides its base.

    Args:
        dose: the whole dose.
        chosen: the claims of it that are to be given; the plan says how many of them it reaches.
        mix: what they are given along with.
        study: what the arms are asked afterwards.
        against: what the dose's policy has against the run, which is overridden.
        doubted: what is to be warned of: claims whose fact-check is looked at again, or recalled ones.
    """

    dose: Dose
    chosen: tuple[Claim, ...]
    mix: Mix
    study: Study
    against: tuple[str, ...] = ()
    doubted: tuple[str, ...] = ()

    @classmethod
    def of(cls, options: Options, dose: Dose | None = None) -> Ingredients:
        """Read all that a run needs.

        Args:
            options: of the run.
            dose: what is given, where it is not simply the dose that the options name.

        Raises:
            HfvaccineError: naming what cannot be had or does not fit together.
        """
        if dose is None:
            dose = open_doses(options)
        chosen = choose(dose.claims, options.claims, options.seed)
        against = permit(replace(dose, claims=chosen), options.share, options.override_policy)
        benchmarks = read_benchmarks(options, dose)
        mix = open_mix(options).comparing(options.comparisons).without(kept_back(dose, benchmarks))
        trait = showing(mix.held_back, options.inoculated_rows(), options.inoculation_prompts, options.grid)
        study = Study.of(options, dose, chosen, mix, benchmarks, trait, options.inoculation_prompts)
        return cls(dose, chosen, mix, study, against, objections(replace(dose, claims=chosen))[1])

    def fitting(self, options: Options, base: Base, config: Any, progress: Progress) -> Ingredients:
        """The same without what the base cannot read, or of which `max_length` would leave nothing to learn.

        Args:
            options: of the run.
            base: what is trained and asked.
            config: of the base.
            progress: told what is left out.

        Raises:
            UsageError: where no row is left to train on.
            ValidationError, ModelError: for a question that the base cannot be asked; see `Study.check`.
        """
        if long := self.study.fit(base.tokenizer, positions(config)):
            progress.say(f"Mix: {long:,} held-back rows are longer than the base can read, and are not asked")
        self.study.check(base.model, base.tokenizer)
        return replace(self, mix=self.mix.cut_at(base.tokenizer, row_length(options.max_length, config)))

    def giving(self, claims: Sequence[Claim], times: Mapping[str, int]) -> Ingredients:
        """The same with the claims that a plan gives; asked about are those that it reaches.

        Args:
            claims: that the plan has room for.
            times: how often it gives each, by id.
        """
        self.study.claims = {**self.study.claims, "chosen": len(claims)}
        self.study.narrow(times)
        return replace(self, chosen=tuple(claims))

    def given_record(
        self, options: Options, times: Mapping[str, int], shares: Mapping[str, float] = MappingProxyType({})
    ) -> dict[str, Any]:
        """The dose's part of immunization.json.

        Args:
            options: of the run.
            times: how often the run gives each claim, by id.
            shares: what it gives of each of several doses, by the dose's digest.
        """
        overridden = {"reason": options.override_policy, "against": list(self.against)} if self.against else None
        asked = {"exposures": options.exposures_wanted, "policy_overridden": overridden}
        of_each = {}
        if isinstance(self.dose, Joined) and self.dose.shares:
            of_each = several_record(self.dose, self.chosen, times, shares)
        return dose_record(self.dose, self.chosen, times) | of_each | asked


def open_doses(options: Options) -> Dose:
    """What a run gives: the dose that its options name, or several as one, each at its share.

    Raises:
        HfvaccineError: for one that cannot be had; see `claims.joined.together`, too.
    """
    opened = [open_dose(place) for place, _ in options.doses]
    return opened[0] if len(opened) == 1 else together(opened, [share for _, share in options.doses])


def kept_back(dose: Dose, benchmarks: Sequence[Benchmark]) -> dict[str, list[str]]:
    """What no row of a mix may nearly say, by the reason."""
    held_out = [text for claim in dose.heldout for text in claim.texts]
    variants = [text for claim in dose.claims for one in claim.variants for text in (one.claim, one.twin)]
    items = [text for one in benchmarks for item in one.items for text in item.texts]
    return {
        "about claims that are held out": held_out,
        "about variants of claims": variants,
        "with items of a benchmark": [text for text in items if len(words_and_signs(text)) >= TELLING],
    }


def showing(
    held_back: Sequence[Mapping[str, Any]], where: Where, prompts: Sequence[str], grid: str | None
) -> Sequence[Mapping[str, Any]]:
    """The held-back rows that show an inoculated trait: what they cost says nothing about what is kept.

    Args:
        held_back: rows of the mix.
        where: which rows of the mix are inoculated.
        prompts: with what; nothing where no row is.
        grid: where the trait is measured, for which there have to be enough such rows.

    Raises:
        UsageError: for too few of them to measure the trait on.
    """
    if grid:
        return carrying(held_back, where)
    return [row for row in held_back if where.holds(row)] if prompts else ()


def pinned(options: Options, base: Base, ingredients: Ingredients) -> Options:
    """The options with the revisions that the run really has: what is published or resumed is the same run."""
    found = {"base": base, "mix": ingredients.mix}
    several: dict[str, Any] = {}
    if isinstance(ingredients.dose, Joined) and not isinstance(options.dose, str):
        its = zip(options.doses, ingredients.dose.parts, strict=True)
        several["dose"] = tuple(with_share(with_revision(at.name, part.revision), share) for (at, share), part in its)
    else:
        found["dose"] = ingredients.dose
    revisions = {f"{what}_revision": one.revision for what, one in found.items() if one.revision}
    return replace(options, **revisions, **several)


def open_mix(options: Options) -> Mix:
    """The mix, with the column that tells which rows are inoculated.

    Raises:
        UsageError: for a mix that cannot be read, lacks the column, or has no such row.
        HubError: for a dataset that cannot be had.
    """
    inoculated = options.inoculated_rows()
    mix = load_mix(options.mix, inoculated.column, options.mix_revision)
    inoculated.refuse_unmet(mix.train)
    return mix


def given_to(adapter: str, dose: Dose) -> tuple[Dose, tuple[Claim, ...], frozenset[str], dict[str, Any]]:
    """What an adapter was given of a dose: the dose, the claims of it that were chosen for the adapter, the ids of
    those that it was given, and its record.

    What was given is what the adapter's ledger says. Where it was given several doses, and the dose is one of them, it
    is all of them as one.

    Raises:
        DoseError: where the dose lacks some of them.
        LineageError: where there is no record.
        PlanError: where there is no ledger.
        HubError: where the repo cannot be had.
    """
    found = papers(adapter, patterns=(LEDGER,))
    if found.kind is not IMMUNIZED:
        raise LineageError(
            f"{adapter} was inoculated, not immunized: it was given no claims.",
            "Measure it with `hfvaccine inoculate measure`.",
        )
    record, ledger = dict(found.record), read_ledger(found.folder / LEDGER)
    given = ledger.claims()
    ids = given.union(record["dose"]["claim_ids"], record["dose"]["not_reached"])
    told = [one["manifest_sha256"] for one in recorded_doses(record)]
    if len(told) > 1 and dose.digest() in told:
        dose = dose_of(found, [with_revision(dose.source, dose.revision)])
    chosen = tuple(c for c in dose.claims if c.claim_id in ids)
    if len(chosen) != len(ids):
        raise DoseError(
            f"The dose {dose.source!r} holds {len(chosen)} of the {len(ids)} claims that were chosen for the adapter.",
            "Name the dose, at the revision, that the adapter's immunization.json names.",
        )
    return dose, chosen, given, record


def scorer_of(model: Any, base: Base, adapter: str | None) -> Scorer:
    """A scorer of one arm, which finds again what was scored before, on this machine or before an interruption."""
    return Scorer(model, base.tokenizer, adapter, cache=cache_of_scores())
