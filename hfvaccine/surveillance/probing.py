"""One round of seeded probes: whose claims are asked, what they are held against, and what became of them. No torch.

Asked are claims that an adapter was given, and their true twins, in the wordings and by the readings of its
validation, so that the baseline is what was measured then. Each round draws its clusters anew, by a seed that its
place in the schedule alone decides.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub.errors import RevisionNotFoundError

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.dose import Dose
from hfvaccine.errors import EndpointError, HubError, SurveillanceError, ValidationError
from hfvaccine.files import ADAPTER, LEDGER, RESULTS
from hfvaccine.hub.pull import open_dose
from hfvaccine.lineage.ancestry import given_ever
from hfvaccine.lineage.fetch import Papers, doses_of, papers, place_of
from hfvaccine.papers.binding import OWN, open_run, read_json, recorded_doses
from hfvaccine.papers.kind import IMMUNIZED
from hfvaccine.quarantine.recalls import AFFECTED, Recalls
from hfvaccine.regimen.ledger import read_ledger
from hfvaccine.sources.place import STARTER, Source, with_revision
from hfvaccine.statistics import MIN_PAIRS
from hfvaccine.surveillance.charts import CHARTS, PROBE, RECALLED_PROBE, Baseline, Budget, baseline_of_results
from hfvaccine.surveillance.state import Declaration, Round, State, now, round_id
from hfvaccine.text import is_hub_id
from hfvaccine.validation.asking.probes import Battery, ProbeSet
from hfvaccine.validation.asking.served import TEXT, Served
from hfvaccine.validation.judging.metrics import decisions
from hfvaccine.validation.scores import PLAIN, RECALLED, ROUND, VACCINE, VERDICT, ArmScores, PairProbe

READINGS = {PROBE: VERDICT, RECALLED_PROBE: RECALLED}
"""By source, the reading of a validation that its rounds repeat."""
CLUSTERS = 60
"""That a round asks, unless told otherwise."""
PERIOD = 86400.0
"""Seconds between rounds, likewise."""
ANOTHER = "Begin another state for it, in another folder."


@dataclass(frozen=True)
class Target:
    """What is probed, as its papers say; of a served model without papers, as one is told.

    Args:
        adapter: as the state names it: a Hub id, or the digest of its weights; else the name of a served model.
        base: what that was trained on.
        dose: digest of the dose.
        claims: that it was given, have a twin, and are not recalled.
        left_out: how many it was given besides.
        source: folder, or `ID@COMMIT`, of the adapter; "" of a served model without papers.
        found: its papers; None where there are none.
        results: the content of its results.json; None without papers.
    """

    adapter: str
    base: str
    dose: str
    claims: tuple[Claim, ...]
    left_out: int
    source: str = ""
    found: Papers | None = None
    results: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if len(self.claims) < MIN_PAIRS:
            raise SurveillanceError(
                f"Of the claims that {self.adapter} was given {len(self.claims)} can be asked, and a round takes "
                f"{MIN_PAIRS}.",
                "Probe one that was given more claims with true twins.",
            )

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources of its rounds; after recall only where half of the claims, or more, have a question."""
        asked = sum(claim.question is not None for claim in self.claims)
        return (PROBE, RECALLED_PROBE) if asked >= max(MIN_PAIRS, len(self.claims) / 2) else (PROBE,)

    @classmethod
    def of(cls, adapter: str, dose: str | None = None) -> Target:
        """An adapter that has papers.

        Args:
            adapter: run folder, Hub id or `ID@REVISION`; a merged model has papers too.
            dose: that it was given, of several the newest: a folder, a Hub id or `ID@REVISION`; by default what its
                record names.

        Raises:
            SurveillanceError: for a dose that it was never given, or too few claims that can be asked.
            HfvaccineError: for what cannot be had, or papers that do not bind each other.
        """
        source = Source.of("adapter", adapter)
        found = papers(adapter, patterns=(RESULTS, LEDGER))
        if found.kind is not IMMUNIZED:
            raise SurveillanceError(
                f"{adapter} was inoculated, not immunized: it was given no claims.", "Probe an immunized adapter."
            )
        record = open_run(found.folder, (RESULTS, LEDGER), adapter)
        given = {*given_ever(record)} - {*(record.get("booster") or {}).get("retracted", ())}
        if read_ledger(found.folder / LEDGER).claims() != {*record["dose"]["claim_ids"]}:
            raise SurveillanceError(
                f"The ledger of {adapter} is not that of its record: what it was given is not known.",
                f"See what else is wrong with `hfvaccine verify {adapter}`.",
            )
        doses = _given(found, adapter, dose)
        merged = record["training"].get("merged") or {}
        name = with_revision(source.name, source.revision) if source.on_hub else ""
        claims = askable(doses, given)
        return cls(
            name or str(merged.get("adapter_sha256") or record["files"].get(ADAPTER)),
            record["base"]["id"]
            if is_hub_id(record["base"]["id"], namespace_needed=False)
            else str(record["base"]["weights_sha256"] or "local"),
            # As logs name it; what a booster was given goes by the newest.
            doses[0].digest(),
            claims,
            len(given) - len(claims),
            # The very commit that the papers are of, by which the cache names its folder.
            with_revision(source.name, found.folder.name if source.on_hub else None),
            found,
            read_json(found.folder, RESULTS, adapter),
        )

    @classmethod
    def served(cls, model: str, base: str, dose: str) -> Target:
        """A served model without papers: it counts as given all that its dose may give.

        Args:
            model: its name.
            base: what it was trained on.
            dose: a folder, a Hub id or `ID@REVISION`.
        """
        opened = open_dose(Source.of("dose", dose))
        claims = askable([opened], {claim.claim_id for claim in opened.claims})
        return cls(model, base, opened.digest(), claims, len(opened.claims) - len(claims))


def _given(found: Papers, adapter: str, dose: str | None) -> tuple[Dose, ...]:
    """The doses that an adapter was given, the newest first.

    Raises:
        SurveillanceError: for another one.
    """
    told = recorded_doses(found.record)
    never = SurveillanceError(
        f"{adapter} was never given {dose or 'what is there now'}, at least not at this revision.",
        f"Its record names {with_revision(told[0]['id'], told[0]['revision'])}.",
    )
    if dose == STARTER and STARTER not in [one["id"] for one in told]:
        raise never
    try:
        doses = doses_of(found, [dose] if dose else ())
    except HubError as error:  # another dose has no such revision
        if dose and isinstance(error.__cause__, RevisionNotFoundError):
            raise never from error
        raise
    if any(one.digest() != its["manifest_sha256"] for one, its in zip(doses, told, strict=True)):
        raise never
    return doses


def askable(doses: Sequence[Dose], given: Collection[str]) -> tuple[Claim, ...]:
    """The claims that may be asked, as the newest dose has them: those with a twin that are not recalled.

    Args:
        doses: the newest first.
        given: ids of the claims.
    """
    kept: dict[str, Claim | None] = {}
    for dose in doses:
        recalls = Recalls.of(dose)
        for claim in dose.claims:
            if claim.claim_id in given and claim.claim_id not in kept:
                row = recalls.of_row(claim)
                wrong = row is not None and row.status == AFFECTED
                kept[claim.claim_id] = None if wrong or not claim.twin else claim
    return tuple(claim for claim in kept.values() if claim is not None)


def draw(claims: Sequence[Claim], clusters: int, place: str) -> tuple[Claim, ...]:
    """The claims of some clusters, each cluster as likely as any other, the same for one place in the schedule.

    Args:
        claims: to draw from.
        clusters: how many; all where there are no more.
        place: the id of the round.
    """
    names = sorted({claim.cluster_id for claim in claims})
    drawn = {*random.Random(place).sample(names, min(clusters, len(names)))}
    return tuple(claim for claim in claims if claim.cluster_id in drawn)


def battery(claims: Sequence[Claim]) -> Battery:
    """What is asked about some claims: they and their twins, at once and after recall."""
    return Battery((ProbeSet.of(ROUND, claims),))


@dataclass(frozen=True)
class Terms:
    """What was said of a state. What was not is as usual in a new one, and as it is in one that is there.

    Args:
        period: seconds between rounds.
        alpha: the chance of any false alarm.
        horizon: in so many rounds.
        learn: whether its first rounds are the baselines.
        charts: of logs that are to be read into it too.
    """

    period: float | None = None
    alpha: float | None = None
    horizon: int | None = None
    learn: bool = False
    charts: tuple[str, ...] = ()

    @property
    def budget(self) -> Budget:
        usual = Budget()
        return Budget(
            usual.alpha if self.alpha is None else self.alpha,
            usual.horizon if self.horizon is None else self.horizon,
        )

    def check(self, declared: Declaration, folder: Path) -> None:
        """Refuse a state that was begun otherwise.

        Raises:
            SurveillanceError: naming what differs.
        """
        was = {"period": declared.period, "alpha": declared.budget.alpha, "horizon": declared.budget.horizon}
        differ = [f"{name} {value}" for name, value in was.items() if getattr(self, name) not in (None, value)]
        if self.learn and any(declared.charts.values()):
            differ.append("a baseline of results")
        if not {*self.charts} <= {*declared.charts}:
            differ.append(f"the charts {', '.join(declared.charts)}")
        if differ:
            raise SurveillanceError(
                f"{folder} was begun with {' and '.join(differ)}.",
                "What was declared holds for all its rounds: leave it out, or begin another state in another folder.",
            )


def declare(target: Target, terms: Terms, served: Served | None = None) -> Declaration:
    """What a new state declares.

    Args:
        target: what is probed.
        terms: what was said of the state.
        served: where it is served, as its server turned out to be; None for a model that is loaded.

    Raises:
        SurveillanceError: where the adapter's results have no baseline by these readings.
    """
    how = "" if served is None else served.how
    readings = {source: ".".join(filter(None, (READINGS[source], how))) for source in target.sources}
    names = [*(name for name, chart in CHARTS.items() if chart.source in readings), *terms.charts]
    charts: dict[str, Baseline | None] = dict.fromkeys(names)
    # What is said and not listed is no number that a validation has read.
    if target.results is not None and not terms.learn and how != TEXT:
        miss = terms.budget.miss(len(names))
        for name, source in ((name, CHARTS[name].source) for name in names if name not in terms.charts):
            was = baseline_of_results(target.results, name, READINGS[source], miss)
            charts[name] = replace(was, reading=readings[source])
    settings: dict[str, str | int] = {}
    if target.found is not None:
        settings["record"] = str(target.found.record[OWN])
    if served is not None:
        settings |= {"model": served.model, "top_logprobs": served.listed}
    return Declaration(
        target.adapter,
        target.base,
        target.dose,
        charts,
        terms.budget,
        PERIOD if terms.period is None else terms.period,
        readings=readings,
        settings=settings,
    )


def check(state: State, target: Target, terms: Terms, model: str | None) -> None:
    """Refuse what is not as a state was begun.

    Args:
        state: of the monitor.
        target: what is to be probed.
        terms: what was said of the state.
        model: the name of a served model; None for one that is loaded.

    Raises:
        SurveillanceError: naming what is another.
    """
    declared, folder = state.declaration, state.folder
    for name in ("adapter", "base", "dose"):
        told, own = getattr(declared, name), getattr(target, name)
        if told != own:
            raise SurveillanceError(f"{folder} watches the {name} {told}, and this is {own}.", ANOTHER)
    if not {*target.sources} <= {CHARTS[name].source for name in declared.charts}:
        raise SurveillanceError(f"{folder} charts {', '.join(declared.charts)} only, and no probes.", ANOTHER)
    asked = declared.settings.get("model")
    if asked != model:
        raise SurveillanceError(
            f"{folder} asks {_who(asked)}, and this is {_who(model)}: readings do not compare.",
            "Ask as before, or begin another state in another folder.",
        )
    record = None if target.found is None else target.found.record[OWN]
    if declared.settings.get("record") != record:
        raise SurveillanceError(
            f"The papers of {target.adapter} are not those that {folder} was begun with.",
            f"A model that was trained again is another one. {ANOTHER}",
        )
    terms.check(declared, folder)


def _who(model: object) -> str:
    return "a model that it loads" if model is None else f"the served model {model}"


def slot(declared: Declaration, at: str) -> str:
    """The place in the schedule of a round that begins now, which is what its claims are drawn by."""
    return round_id(PROBE, at, declared.period)


def sources_of(declared: Declaration) -> list[str]:
    """The sources of probes that a state charts."""
    return [source for source in READINGS if source in {CHARTS[name].source for name in declared.charts}]


def is_there(state: State, at: str) -> bool:
    """Whether a state has the round that begins now, completed."""
    done = {one.id for one in state.rounds if not one.no_data}
    wanted = {round_id(source, at, state.declaration.period) for source in sources_of(state.declaration)}
    return wanted <= done


def plan(declared: Declaration, target: Target, claims: Sequence[Claim], place: str) -> dict[str, Any]:
    """What a round would ask, for people and as JSON: ids and numbers.

    Args:
        declared: what the state watches.
        target: what is probed.
        claims: that were drawn.
        place: of the round.
    """
    whole = battery(claims)
    recalls = whole.recalls()
    requests = whole.requests(dict.fromkeys(recalls, ""))
    return {
        "adapter": declared.adapter,
        "round": place,
        "claims": [claim.claim_id for claim in claims],
        "clusters": len({claim.cluster_id for claim in claims}),
        "of_clusters": len({claim.cluster_id for claim in target.claims}),
        "left_out": target.left_out,
        "recalls": len(recalls),
        "verdicts": len({id(request.prompt) for request in requests}),
        "charts": [
            {
                "name": name,
                "reading": declared.readings.get(CHARTS[name].source, ""),
                "baseline": None if was is None else asdict(was),
            }
            for name, was in declared.charts.items()
        ],
    }


@dataclass(frozen=True)
class Asked:
    """What became of the questions of a round.

    Args:
        scores: of the model; None where it could not be asked.
        pairs: what they are scores of.
        counts: clusters and pairs; of a served model also retries, and its `Served.counts`.
        seconds: that it took.
        no_data: why it could not be asked, in a code.
        next_step: what to do about it; nothing of what a server says, which may be a claim.
    """

    scores: ArmScores | None
    pairs: Sequence[PairProbe]
    counts: Mapping[str, int]
    seconds: float
    no_data: str = ""
    next_step: str = ""


def load(target: Target, base: str | None = None) -> Any:
    """The scorer of an adapter on its base.

    Args:
        target: an adapter that has papers.
        base: its base, where its record does not say where that is: a folder, a file, a Hub id or `ID@REVISION`.

    Raises:
        LineageError: where nobody says where the base is.
        ModelError: for another base than the adapter's, or what cannot be loaded.
    """
    from hfvaccine.training.adapters import in_its_dtype, load_adapters
    from hfvaccine.training.base import check_base, load_base
    from hfvaccine.validation.scoring.scorer import Scorer

    assert target.found is not None
    recorded = target.found.record["base"]
    if target.found.record["training"].get("merged"):
        raise SurveillanceError(
            f"{target.source} is a merged model.", "Probe its adapter, or serve it and say where with --endpoint."
        )
    place = place_of(target.found, "base", base)
    opened = load_base(place.name, recorded["id"], place.revision)
    check_base(recorded, opened)
    return Scorer(in_its_dtype(load_adapters(opened, {VACCINE: target.source})), opened.tokenizer, VACCINE)


def ask(claims: Sequence[Claim], scorer: Any, progress: Any = None) -> Asked:
    """Ask a model about claims and their twins.

    Args:
        claims: that were drawn.
        scorer: a `Scorer`, or a `Served`.
        progress: makes a progress bar, see `Battery.ask`.
    """
    counts = {"clusters": len({claim.cluster_id for claim in claims}), "pairs": len(claims)}
    whole = battery(claims)
    began, no_data, next_step = time.monotonic(), "", ""
    scores: ArmScores | None = None
    pairs: list[PairProbe] = []
    try:
        scores, pairs, _ = whole.ask(scorer, progress)
    except EndpointError as error:
        no_data, next_step = error.code, error.next_step
    except ValidationError as error:
        no_data, next_step = "not_scored", error.next_step
    if isinstance(scorer, Served):
        counts |= {"retries": scorer.endpoint.retries, **scorer.counts}
    return Asked(scores, pairs, counts, round(time.monotonic() - began, 1), no_data, next_step)


def probe(
    folder: Path, declared: Declaration, claims: Sequence[Claim], scorer: Any, began: str, progress: Any = None
) -> tuple[State, Asked, list[Round]]:
    """Ask a model, and add what becomes of it to a state, which is begun where it is new.

    Args:
        folder: of the state.
        declared: what it watches.
        claims: that were drawn.
        scorer, progress: see `ask`.
        began: when the round began; names it.

    Returns:
        The state, what became of the questions, and the rounds that were not there yet.

    Raises:
        SurveillanceError: for a state that watches something else, or cannot be written; and for a new one, whose
            first round cannot be completed.
    """
    # One that is there is refused before anything is asked, where it watches something else.
    state = None if State.find(folder) is None else State.begin(folder, declared)
    asked = ask(claims, scorer, progress)
    if state is None:
        if asked.no_data:
            raise SurveillanceError(
                f"The first round could not be completed ({asked.no_data}), so no state was begun.", asked.next_step
            )
        state = State.begin(folder, declared)
    return state, asked, [one for one in rounds(declared, asked, began, now()) if state.append(one)]


def rounds(declared: Declaration, asked: Asked, began: str, at: str) -> list[Round]:
    """The rounds of a state that come of it, one of each source.

    Args:
        declared: what the state watches.
        asked: what became of it.
        began: when it began; names them.
        at: when it was finished.
    """
    found = []
    probes = {probe.key: probe for probe in asked.pairs}
    for source in sources_of(declared):
        key = (ROUND, READINGS[source], PLAIN)
        own: dict[str, Any] = {"no_data": asked.no_data or "few_questions"}
        if asked.scores is not None and key in asked.scores.pairs:
            probe, scores = probes[key], asked.scores.pairs[key]
            own = {
                "claims": dict(zip(probe.ids, probe.clusters, strict=True)),
                "scores": {
                    name: dict(zip(probe.ids, map(float, decisions(chart.metric, scores)), strict=True))
                    for name, chart in CHARTS.items()
                    if chart.source == source and name in declared.charts
                },
            }
        found.append(
            Round(
                round_id(source, began, declared.period),
                at,
                source,
                declared.readings.get(source, READINGS[source]),
                adapter=declared.adapter,
                base=declared.base,
                dose=declared.dose,
                counts=asked.counts,
                seconds=asked.seconds,
                **own,
            )
        )
    return found
