"""The rounds of a monitor's state that production logs come to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.dose import Dose
from hfvaccine.errors import SurveillanceError
from hfvaccine.surveillance.answers import Judging
from hfvaccine.surveillance.charts import ANCHORS, ASSERTED, JUDGE, LOGS
from hfvaccine.surveillance.logs import Logged
from hfvaccine.surveillance.state import Declaration, Round, State

COUNTED = "counted"
"""The reading of logs that nobody judged."""


def declaration(
    folder: Path, dose: Dose, judging: Judging | None, adapter: str | None, base: str | None
) -> Declaration:
    """What the state watches that a round of logs is to be added to. Nothing is written.

    Args:
        folder: of the state.
        dose: whose claims are looked for.
        judging: who judges the answers.
        adapter: for a new state, what is deployed.
        base: for a new state, what that was trained on.

    Raises:
        SurveillanceError: for a state that watches another dose, or has another judge, or for a new one of which it
            is not said what it watches.
    """
    readings: Mapping[str, str] = {}
    if (state := State.find(folder)) is not None:
        declared, readings = state.declaration, state.readings
    elif adapter is None or base is None:
        raise SurveillanceError(
            f"{folder} holds no state of a monitor yet.",
            "Say what is deployed, with --adapter and --base, or begin with `hfvaccine monitor probe`.",
        )
    else:
        charts = (ASSERTED, JUDGE) if judging and judging.labels else (ASSERTED,)
        declared = Declaration(adapter, base, dose.digest(), dict.fromkeys(charts))
    named = {name for name in (dose.source, f"{dose.source}@{dose.revision}", dose.digest()) if name}
    if declared.dose not in named:
        raise SurveillanceError(
            f"{folder} watches the dose {declared.dose}, and {dose.source} is another, or another version of it.",
            "Name the dose that the adapter was given, or begin another state in another folder.",
        )
    for name, asked in (("adapter", adapter), ("base", base)):
        if asked not in (None, getattr(declared, name)):
            raise SurveillanceError(
                f"{folder} watches the {name} {getattr(declared, name)}, not {asked}.",
                "Begin another state for it, in another folder.",
            )
    reading = judging.name if judging else COUNTED
    if (before := readings.get(LOGS, reading)) != reading:
        raise SurveillanceError(
            f"{folder} has rounds of logs by {before!r}, and this would be one by {reading!r}.",
            "Judges do not compare: take the same one, or begin another state in another folder.",
        )
    return declared


def rounds(logged: Logged, declared: Declaration, claims: Sequence[Claim], at: str) -> list[Round]:
    """The rounds of a state that logs come to: of what answers say, and of a judge that was given labelled answers.

    Their ids are made of the logs' digest: the same logs count once, whenever and however often they are read.

    Args:
        logged: what was counted.
        declared: what the state watches.
        claims: of the dose.
        at: the time of the rounds.
    """
    clusters = {claim.claim_id: claim.cluster_id for claim in claims}
    watched: dict[str, Any] = {name: getattr(declared, name) for name in ("adapter", "base", "dose")}
    found = []
    judged = logged.judged
    if judged and judged.anchors and JUDGE in declared.charts:
        name, scores = f"{ANCHORS}-{logged.digest[:16]}", {JUDGE: dict(judged.anchors)}
        own = {claim: clusters[claim] for claim in judged.anchors}
        found.append(Round(name, at, ANCHORS, judged.judge, own, scores, **watched))
    shares = logged.scores() if ASSERTED in declared.charts else {}
    span = {name: int(time) for name, time in (("first", logged.first), ("last", logged.last)) if time is not None}
    skipped = {f"skipped_{code}": count for code, count in logged.skipped.counts.items()}
    tallies = {
        claim: {
            **counts,
            **{name: int(time) for name, time in zip(("first", "last"), logged.times[claim], strict=True)},
        }
        if claim in logged.times
        else counts
        for claim, counts in logged.claims.items()
    }
    found.append(
        Round(
            f"{LOGS}-{logged.digest[:16]}",
            at,
            LOGS,
            judged.judge if judged else COUNTED,
            {claim: clusters[claim] for claim in shares},
            {ASSERTED: shares} if shares else {},
            counts={"exchanges": logged.exchanges, "judged": judged.answers if judged else 0, **span, **skipped},
            tallies=tallies,
            no_data="" if shares else _why_not(logged, declared),
            **watched,
        )
    )
    return found


def _why_not(logged: Logged, declared: Declaration) -> str:
    if logged.judged is None:
        return "not_judged"
    return "no_clear_answer" if ASSERTED in declared.charts else "not_charted"
