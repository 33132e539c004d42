"""A booster: an adapter made anew, or trained on, with what its parent was given and a new dose, less what is
retracted.

By default it is made from the base with the doses of both as one: cheap, reproducible, and nothing is forgotten. Or it
goes on from the adapter, with some of what that was given said again (replay) and the mix beside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.dose import Dose
from hfvaccine.claims.joined import Joined, join
from hfvaccine.dosing.choice import ordered
from hfvaccine.errors import DoseError, LineageError, ModelError, UsageError
from hfvaccine.files import ADAPTER, ADAPTER_NEEDS, BOOSTER, CONFIG, LEDGER
from hfvaccine.hub.pull import open_dose
from hfvaccine.lineage.ancestry import given_ever
from hfvaccine.lineage.fetch import Papers, doses_of, papers
from hfvaccine.lineage.links import is_merged
from hfvaccine.papers.binding import OWN, open_run, recorded_doses
from hfvaccine.papers.record import part_record
from hfvaccine.regimen.ledger import read_ledger
from hfvaccine.runs.immunize import Run, Start, dry_run, immunize
from hfvaccine.runs.ingredients import Ingredients
from hfvaccine.runs.reproduce import options_of
from hfvaccine.runs.study import Study
from hfvaccine.sources.place import Source, with_revision
from hfvaccine.training.adapters import carrying_on
from hfvaccine.training.base import Base, check_base, weights_of
from hfvaccine.training.options import Boosting, Options, read_config, save_config
from hfvaccine.training.processes import main_first, this_process
from hfvaccine.training.progress import SILENT, Progress
from hfvaccine.validation.asking.probes import Pair
from hfvaccine.validation.judging.gate import BOOSTER as GATE
from hfvaccine.validation.judging.gate import read_gate
from hfvaccine.validation.questions import Questions
from hfvaccine.validation.scores import NEW, OLD, PARENT

RETRACTED_FROM_MIX = "about claims that are retracted"


@dataclass(frozen=True)
class Parent:
    """The adapter that is boosted.

    Args:
        id: its folder or Hub id.
        revision: commit on the Hub, None for a folder.
        found: its papers.
        doses: that it was given, the newest first.
        given: ids of the claims that it was given and holds with, whether in its own run or before.
    """

    id: str
    revision: str | None
    found: Papers
    doses: tuple[Dose, ...]
    given: frozenset[str]

    @classmethod
    def of(cls, adapter: str, doses: Sequence[str] = ()) -> Parent:
        """Read an adapter's papers, and what it was given from its ledger.

        Args:
            adapter: run folder, Hub id or `ID@REVISION`.
            doses: where its doses are, the newest first, where its record does not say it.

        Raises:
            ModelError: for a merged model.
            LineageError: where its files are not those that its record binds, or its ledger is not that of its plan.
            DoseError: for another dose than the adapter was given.
            HfvaccineError: for what cannot be had.
        """
        source = Source.of("adapter", adapter)
        found = papers(adapter)
        if is_merged(found.record):
            raise ModelError(
                f"{adapter} is a merged model: its adapter cannot be taken out of it again.",
                "Boost the adapter that was merged into it, then merge the booster.",
            )
        record = open_run(found.folder, ADAPTER_NEEDS, adapter)
        ledger = read_ledger(found.folder / LEDGER)
        if ledger.proved() != record["plan"]["fingerprint"] or ledger.claims() != {*record["dose"]["claim_ids"]}:
            raise LineageError(
                f"The ledger of {adapter} is not that of its plan: what it was given is not known.",
                f"See what else is wrong with `hfvaccine verify {adapter}`.",
            )
        opened = doses_of(found, doses)
        for dose, recorded in zip(opened, recorded_doses(record), strict=True):
            if dose.digest() != recorded["manifest_sha256"]:
                raise DoseError(
                    f"{dose.source!r} is not the dose that {adapter} was given, at least not at this revision.",
                    "Name that one with --parent-dose.",
                )
        retracted = set((record.get("booster") or {}).get("retracted", ()))
        revision = found.folder.name if source.on_hub else None  # the cache names the folder by its commit
        return cls(source.name, revision, found, opened, given_ever(record) - retracted)

    @property
    def record(self) -> Mapping[str, Any]:
        """The content of its immunization.json."""
        return self.found.record

    @cached_property
    def claims(self) -> dict[str, Claim]:
        """The claims that it was given, by id, as the newest of its doses has them."""
        found: dict[str, Claim] = {}
        for dose in self.doses:
            found |= {c.claim_id: c for c in dose.claims if c.claim_id in self.given and c.claim_id not in found}
        return found

    def named(self) -> dict[str, Any]:
        """Who it is, for the record of its booster."""
        files = self.record["files"]
        return {
            "id": self.id,
            "revision": self.revision,
            "sha256": self.record[OWN],
            "adapter_sha256": files[ADAPTER],
        }


@dataclass(frozen=True)
class Booster(Start):
    """What a booster begins with: its parent, and the doses of both as one.

    Args:
        boosting: what was asked for.
        parent: the adapter that is boosted.
        dose: what is given.
        new: ids of the claims that the parent was never given, or not with this correction.
        old: claims that it was given and that still hold, given again or not.
        retracted: claims that it was given and that do not.
    """

    boosting: Boosting
    parent: Parent
    dose: Joined
    new: frozenset[str]
    old: tuple[Claim, ...]
    retracted: tuple[Claim, ...]

    command = "boost"

    @classmethod
    def of(cls, boosting: Boosting, seed: int, parent: Parent) -> Booster:
        """Join what the parent was given and the new dose.

        Args:
            boosting: what is asked for.
            seed: of the choice of what is replayed.
            parent: the adapter that is boosted.

        Raises:
            UsageError: for a retracted claim that the parent never had, or that the new dose gives.
            DoseError: for a dose of which the parent was given every claim already.
        """
        if unknown := [one for one in boosting.retract if one not in parent.given]:
            raise UsageError(
                f"{boosting.adapter} was never given the claim {unknown[0]!r}: there is nothing to retract.",
                f"Its {LEDGER} says what it was given; `claim_ids` in its record lists them.",
            )
        fresh = open_dose(Source.of("dose", boosting.dose)) if boosting.dose else None
        gives = {} if fresh is None else {claim.claim_id: claim for claim in fresh.claims}
        if twice := sorted(set(boosting.retract) & gives.keys()):
            raise UsageError(
                f"The claim {twice[0]!r} is retracted, and the new dose gives it.",
                "Leave out --retract for it where its correction was mended: it is given as the new dose has it.",
            )
        had = parent.claims
        new = frozenset(name for name, claim in gives.items() if name not in had or said(claim) != said(had[name]))
        if fresh is not None and not new:
            raise DoseError(
                f"{boosting.adapter} was given all {len(gives)} claims of the dose {fresh.name!r} already.",
                "Give a dose with claims that are new to it, or claims to --retract.",
            )
        old = tuple(claim for name, claim in had.items() if name not in new and name not in boosting.retract)
        replayed: Sequence[Claim] = old
        if (part := boosting.replay_wanted) is not None:
            replayed = ordered(old, seed)[: round(part / (1 - part) * len(new))]
        given = new | {claim.claim_id for claim in replayed}
        if not given:
            raise DoseError("Nothing is left to be given.", "Retract less than all, or give a new dose.")
        parts = [one for one in parent.doses if fresh is None or one.digest() != fresh.digest()]
        dose = join([*([fresh] if fresh is not None else []), *parts], given, given_ever(parent.record))
        retracted = tuple(had[name] for name in boosting.retract)
        return cls(boosting, parent, dose, new, old, retracted)

    def ingredients(self, options: Options) -> Ingredients:
        """What is given and asked: new claims and old ones by themselves, and belief in what is retracted."""
        made = Ingredients.of(options, self.dose)
        mix = made.mix
        if self.retracted:
            mix = mix.without({RETRACTED_FROM_MIX: [text for claim in self.retracted for text in claim.texts]})
        claims = (*self.dose.claims, *self.before)
        trait = made.study.battery.trait
        study = Study.of(options, self.dose, claims, mix, made.study.benchmarks, trait, options.inoculation_prompts)
        if self.boosting.continued:
            study.before = frozenset(claim.claim_id for claim in self.old)  # also what this run is too short to replay
        study.parts = {NEW: self.new, OLD: frozenset(claim.claim_id for claim in self.old)}
        study.battery = replace(study.battery, retracted=tuple(map(as_pair, self.retracted)))
        if options.gate is None:
            rules = read_gate(GATE)
            study.criteria = [rule for rule in rules if self.new or rule.parts[0] != NEW]
        return replace(made, mix=mix, study=study)

    @property
    def before(self) -> tuple[Claim, ...]:
        """Where it goes on from its parent, the claims that hold and are not given again."""
        again = {claim.claim_id for claim in self.dose.claims}
        return tuple(c for c in self.old if c.claim_id not in again) if self.boosting.continued else ()

    def check(self, base: Base) -> None:
        check_base(self.parent.record["base"], base)

    def keep(self, folder: Path) -> None:
        parent, dose = self.parent, self.dose.parts[0]
        pinned: dict[str, Any] = {"adapter": with_revision(parent.id, parent.revision)}
        if self.boosting.dose is not None:
            pinned["dose"] = with_revision(dose.source, dose.revision)
        save_config(replace(self.boosting, **pinned), folder, BOOSTER)

    def trained_on(self, base: Base) -> Base:
        return carrying_on(base, str(self.parent.found.folder)) if self.boosting.continued else base

    def others(self) -> Mapping[str, str]:
        return {PARENT: str(self.parent.found.folder)}

    def record(self, made: Mapping[str, Any], base: Base) -> dict[str, Any]:
        given, its = set(made["dose"]["claim_ids"]), self.parent.record.get("booster")
        taken = [{claim.claim_id for claim in claims} for claims in self.dose.by_part]
        doses = [part_record(part, ids, given) for part, ids in zip(self.dose.parts, taken, strict=True)]
        before = sorted(given_ever(self.parent.record) - given) if self.boosting.continued else []
        return {
            **made,
            "booster": {
                "parent": self.parent.named(),
                "ancestors": [its["parent"], *its["ancestors"]] if its else [],
                "because": self.boosting.because,
                "doses": doses,
                "retracted": sorted(self.boosting.retract),
                "claims_new": len(given & self.new),
                "replay": self.boosting.replay_wanted,
                "continued": self.boosting.continued,
                # In the weights that it goes on from, and not given again.
                "before": before,
            },
        }


def boost(boosting: Boosting, progress: Progress = SILENT, resume: bool = False) -> Run | None:
    """Make a booster: train, validate and document it as `immunize` does, held against its parent.

    Args:
        boosting: see `Boosting`.
        progress: told of each stage, and how far it is.
        resume: continue the run in `output_dir` from its last checkpoint.

    Returns:
        The run. None on all processes but the main one.

    Raises:
        HfvaccineError: naming what is refused, before anything is written.
        RunInterrupted: on Ctrl-C; the folder can be resumed.
    """
    begun = main_first(lambda: prepared(boosting))
    if begun is None:
        return None
    options, start = begun
    if this_process().is_main_process:
        for line in start_lines(start):
            progress.say(line)
    return immunize(options, progress, resume, start)


def plan(boosting: Boosting) -> dict[str, Any] | None:
    """Plan a booster and estimate what it takes, as `runs.immunize.dry_run` does; nothing is written.

    Returns:
        As `dry_run` returns, and `booster`: sentences on what it is made of. None on all processes but the main one.

    Raises:
        HfvaccineError: naming what would be refused.
    """
    begun = main_first(lambda: prepared(boosting))
    if begun is None:
        return None
    options, start = begun
    planned = dry_run(options, start)
    return None if planned is None else planned | {"booster": start_lines(start)}


def prepared(boosting: Boosting) -> tuple[Options, Booster]:
    """The options of a booster's run, and what it begins with.

    Raises:
        HfvaccineError: naming what cannot be had or does not fit together.
    """
    boosting.check()
    parent = Parent.of(boosting.adapter, boosting.parent_dose)
    config = read_config(parent.found.folder / CONFIG)
    seed = boosting.seed if boosting.seed is not None else int(config.get("seed", 0))
    start = Booster.of(boosting, seed, parent)
    _refuse_another_base(boosting, parent)
    options = options_for(start, config)
    return options, start


def options_for(start: Booster, config: Mapping[str, Any]) -> Options:
    """The options of a booster's run: its parent's, but for what is asked otherwise.

    Unless the length is given, each claim gets as much of the run as each had of the parent's, and more where it is
    to be given more often.

    Args:
        start: what it begins with.
        config: the options of the parent.
    """
    boosting, record = start.boosting, start.parent.record
    asked = {field.name: getattr(boosting, field.name) for field in fields(Questions)}
    trained = {name: value for name, value in config.items() if name not in asked}
    newest = start.dose.parts[0]
    given = with_revision(newest.source, newest.revision)
    trained["dose"] = given  # also where the parent's options name several
    like = options_of(record, trained, Path(boosting.output_dir), base=boosting.base, dose=given, mix=boosting.mix)
    options = replace(
        like,
        **asked,
        override_policy=boosting.override_policy,
        claims=len(start.dose.claims),
        exposures=boosting.exposures,
        placebo=False,
        controls=False,
        report_to=boosting.report_to,
        push_to=boosting.push_to,
        publish_failed=boosting.publish_failed,
        **{
            name: value
            for name in ("share", "learning_rate", "seed")
            if (value := getattr(boosting, name)) is not None
        },
    )
    steps = boosting.max_steps or _steps(options, record, len(start.dose.claims))
    return replace(options, epochs=None, max_steps=steps)


def _steps(options: Options, parent: Mapping[str, Any], claims: int) -> int:
    plan, its = parent["plan"], parent["dose"]["claims_given"]
    more = max(1.0, (options.exposures or 0) * its / plan["dose_rows"]) * plan["share_asked"] / options.share
    at_once = options.batch_size * options.gradient_accumulation_steps * this_process().num_processes
    return max(1, math.ceil(plan["rows"] * claims / its * more / at_once))


def start_lines(start: Booster) -> list[str]:
    """What a booster is made of, in sentences."""
    boosting, again = start.boosting, len(start.dose.claims) - len(start.new)
    way = "trained on from it" if boosting.continued else "made anew from the base"
    lines = [
        f"Booster of {boosting.adapter}, {way}: {len(start.new)} new claims, {again} of the {len(start.old)} that it "
        f"was given and that hold, {len(start.retracted)} retracted"
    ]
    part = boosting.replay_wanted
    if part and again / len(start.dose.claims) < part - 0.5 / len(start.dose.claims):
        lines.append(f"Its {again} claims are too few for a replay of {part:.0%}: all of them are said again")
    return lines


def said(claim: Claim) -> tuple[str | None, ...]:
    """What a claim teaches: where that is the same, two rows are."""
    return claim.claim, claim.correction, claim.twin, claim.question


def as_pair(claim: Claim) -> Pair:
    """A retracted claim and its old correction, which the twin says in the claim's own words where there is one."""
    truth = claim.twin or claim.correction
    return Pair(claim.claim_id, claim.cluster_id, claim.domain, claim.claim, truth, claim.question, claim.correction)


def _refuse_another_base(boosting: Boosting, parent: Parent) -> None:
    """Refuse, before anything is loaded, files that are not the parent's base."""
    if boosting.base is None:
        return
    place = Source.of("base", boosting.base)
    if not place.on_hub and Path(place.name).exists():
        check_base(parent.record["base"], Base(None, None, place.name, None, "", weights_of(Path(place.name))))
