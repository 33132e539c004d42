"""What an adapter's papers say of each model that was measured, one by one, as other tools' files want it. Pure.

Nothing is computed: values and intervals are those of results.json or traits.json.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hfvaccine.inoculation.kinds import label_of
from hfvaccine.inoculation.profile import TRAIT as UNWANTED
from hfvaccine.papers.arms import compared_with, gate_of
from hfvaccine.papers.binding import taken_apart
from hfvaccine.papers.kind import INOCULATED, Kind
from hfvaccine.text import clean, is_commit, is_finite, is_hub_id, is_interval
from hfvaccine.validation.judging.metrics import METRICS, SIGNAL
from hfvaccine.validation.scores import (
    BASE,
    BELIEF,
    CALIBRATION,
    CROSS,
    HIGHER,
    KNOWN,
    LOWER,
    NEW,
    OLD,
    PARENT,
    RETRACTED,
    SPECIFIC,
    TRAIT,
    VACCINE,
    VARIANTS,
)
from hfvaccine.validation.showing.lookup import require_schema
from hfvaccine.validation.showing.names import condition_label, item_label, metric_label, probe_label, reading_label

OF_THE_DOSE = (SPECIFIC, VARIANTS, CROSS, KNOWN, NEW, OLD)
"""Sets of pairs that a dose holds."""
SHARES = (
    *("accuracy", "accuracy_norm", "mc1", "mc2", "binary", "binary_probability", "exact_match"),
    *("probability", "judged_correct"),
)
"""Metrics of items that lie between 0 and 1."""
COSTS = ("nats_per_token",)
"""Metrics of items that are never negative."""
UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Data:
    """What was asked about.

    Args:
        name: of it.
        id: of the dataset on the Hub; None for what is not there.
        revision: its commit.
        split: of the dataset, where one was read.
        digest: SHA-256 of it, as far as the papers have one.
        config: of the dataset, where one was named.
    """

    name: str
    id: str | None = None
    revision: str | None = None
    split: str | None = None
    digest: str | None = None
    config: str | None = None


@dataclass(frozen=True)
class Number:
    """One number of one model.

    Args:
        task: what was asked, such as "hfvaccine_specific_verdict_plain", or a benchmark's own name.
        metric: its name, and `label` what people call it.
        said: what was asked and how, in words.
        value, interval: as in the papers; the interval is None where they have none.
        better: `HIGHER` or `LOWER`, "" where neither is.
        bounds: the least and the most that the metric can be.
        samples: pairs, items or questions that it is over; of them, `total` were there.
        few: they are so few that the interval stands for little.
        data: what they are from.
    """

    task: str
    metric: str
    label: str
    said: str
    value: float
    interval: tuple[float, float] | None
    better: str
    bounds: tuple[float, float]
    samples: int
    total: int
    few: bool
    data: Data


@dataclass(frozen=True)
class Model:
    """One of the models that were measured together.

    Args:
        arm: what it is called in the papers.
        id: on the Hub; of what is not there, "local/NAME".
        revision: its commit, where it is known.
        published: whether its weights are there.
        base: id and revision of the base, where it is an adapter on one.
        details: more of it, in words.
        numbers: of it.
    """

    arm: str
    id: str
    revision: str | None
    published: bool
    base: tuple[str, str | None] | None
    details: Mapping[str, str] = field(default_factory=dict)
    numbers: tuple[Number, ...] = ()


@dataclass(frozen=True)
class Measured:
    """What was measured together.

    Args:
        record: SHA-256 of the adapter's record, which binds the results.
        version: of the hfvaccine that measured.
        at: when that was finished, in seconds since 1970.
        level: of the intervals; `draws` of the bootstrap, of what is `resampled`.
        models: the adapter first.
    """

    record: str
    version: str
    at: int
    level: float | None
    draws: int | None
    resampled: str
    models: tuple[Model, ...]


def measured(
    record: Mapping[str, Any], kind: Kind, results: Mapping[str, Any], name: str, commit: str | None = None
) -> Measured:
    """Take the papers of an adapter apart into the models that were measured.

    Args:
        record: the content of immunization.json or inoculation.json.
        kind: which of them.
        results: the content of results.json or traits.json.
        name: the Hub id of the adapter, or "local/NAME".
        commit: at which it is there; None for a folder.

    Raises:
        ValidationError: for results of another schema, and papers that are malformed.
    """
    if kind is not INOCULATED:
        require_schema(results)
    with taken_apart(name):
        made = _traits(record, results, name, commit) if kind is INOCULATED else _arms(record, results, name, commit)
        settings = results["settings"]
        return Measured(
            str(record["record_sha256"]),
            str(record["hfvaccine"]),
            int(datetime.fromisoformat(record["finished_at"]).timestamp()),
            settings["level"] if is_finite(settings.get("level")) else None,
            settings["bootstrap_draws"] if is_finite(settings.get("bootstrap_draws")) else None,
            clean(settings.get("resampled", "items")),
            tuple(one for one in made if one.numbers),
        )


def _arms(record: Mapping[str, Any], results: Mapping[str, Any], name: str, commit: str | None) -> list[Model]:
    base = _place(record["base"])
    on = None if record["training"].get("merged") else base
    parent = (record.get("booster") or {}).get("parent")
    found = []
    for arm in sorted(results["arms"], key=lambda arm: arm != VACCINE):
        numbers = (*_pairs(record, results, arm), *_items(record, results, arm))
        details = {"arm": arm, "seeds": str(results["seeds"][arm])}
        if arm == VACCINE:
            gate = str((record.get("gate") or {}).get("verdict") or "none")
            found.append(Model(arm, name, commit, commit is not None, on, {**details, "gate": gate}, numbers))
        elif arm == BASE:
            found.append(Model(arm, *base, base[1] is not None, None, details, numbers))
        elif arm == PARENT and parent:
            place = _place(parent)
            found.append(Model(arm, *place, place[1] is not None, base, details, numbers))
        else:
            found.append(Model(arm, _beside(name, arm), None, False, base, details, numbers))
    return found


def _pairs(record: Mapping[str, Any], results: Mapping[str, Any], arm: str) -> Iterator[Number]:
    for row in results["measures"]:
        if row["arm"] != arm or not is_finite(row["value"]):
            continue
        metric = METRICS[row["metric"]]
        asked = f"{probe_label(row['probe'])}, {reading_label(row['reading'])}, {condition_label(row['condition'])}"
        yield Number(
            task=_task(row["probe"], row["reading"], row["condition"]),
            metric=row["metric"],
            label=metric_label(row["metric"], alone=True),
            said=asked,
            value=row["value"],
            interval=_interval(row),
            better=metric.better,
            bounds=UNBOUNDED if metric.kind == SIGNAL else (0.0, 1.0),
            samples=int(row["pairs"]),
            total=int(row["pairs"]),
            few=bool(row["few"]),
            data=_dose(record) if row["probe"] in OF_THE_DOSE else _set(row["probe"]),
        )


def _items(record: Mapping[str, Any], results: Mapping[str, Any], arm: str) -> Iterator[Number]:
    benchmarks = {one["name"]: one for one in results.get("benchmarks", ())}
    for row in results["other"]:
        if row["arm"] != arm or not is_finite(row["value"]):
            continue
        name, metric = row["name"], row["metric"]
        benchmark = benchmarks.get(name) or benchmarks.get(name.removesuffix(f"_{metric}"))
        asked = _task(row["kind"], name, *filter(None, [row["of"]]))
        yield Number(
            task=asked if benchmark is None else clean(benchmark["name"]),
            metric=metric,
            label=metric_label(metric, alone=True),
            said=item_label(row),
            value=row["value"],
            interval=_interval(row),
            better=row["better"],
            bounds=(0.0, 1.0) if metric in SHARES else (0.0, math.inf) if metric in COSTS else UNBOUNDED,
            samples=int(row["items"]),
            total=int(row["items"] if benchmark is None else benchmark["total"]),
            few=bool(row["few"]),
            data=_asked(record, row) if benchmark is None else _benchmark(benchmark),
        )


def _traits(record: Mapping[str, Any], traits: Mapping[str, Any], name: str, commit: str | None) -> list[Model]:
    base, roles = _place(record["base"]), {one["name"]: one["role"] for one in traits["traits"]}
    on = None if record["training"].get("merged") else base
    own = record["adapter"]["arm"]
    seed = record["adapter"].get("seed")
    repos = {one["arm"]: one.get("repo") for one in record.get("run", {}).values() if one["seed"] == seed}
    gate = gate_of(traits, own)
    found = []
    for arm, called in compared_with(record, traits).items():
        numbers = tuple(_shown(record, traits, roles, called))
        details = {"arm": arm, "seed": str(seed)}
        if arm == own:
            said = {} if gate is None else {"gate": str(gate["verdict"])}
            found.append(Model(arm, name, commit, commit is not None, on, details | said, numbers))
        elif arm == BASE:
            found.append(Model(arm, *base, base[1] is not None, None, {"arm": arm}, numbers))
        else:
            there = repos.get(arm) if is_hub_id(repos.get(arm)) else None
            found.append(Model(arm, there or _beside(name, arm), None, there is not None, base, details, numbers))
    return found


def _shown(
    record: Mapping[str, Any], traits: Mapping[str, Any], roles: Mapping[str, str], called: str
) -> Iterator[Number]:
    questions = traits.get("questions") or {}
    for row in traits["shown"]:
        if row["arm"] != called or not is_finite(row["value"]):
            continue
        trait = label_of(row["trait"])
        likelihood = trait.startswith("likelihood:")
        yield Number(
            task=_task("trait", trait, row["condition"]),
            metric="shown",
            label=f"how far {clean(trait)} shows",
            said=f"{clean(trait)} under the test prompt {clean(row['condition'])!r}",
            value=row["value"],
            interval=_interval(row),
            better=LOWER if roles[row["trait"]] == UNWANTED else HIGHER,
            # What a function of somebody's own gives may be anything.
            bounds=UNBOUNDED if likelihood or not 0 <= row["value"] <= 1 else (0.0, 1.0),
            samples=int(row["questions"]),
            total=int(row["questions"]),
            few=False,
            data=Data(clean(trait), digest=questions.get("sha256")),
        )


def _beside(name: str, arm: str) -> str:
    """What a model is called that was not published with the adapter it was held against."""
    made = f"{name}-{arm}"
    if not is_hub_id(made):
        raise ValueError(f"{clean(arm)!r} is no arm")
    return made


def _interval(row: Mapping[str, Any]) -> tuple[float, float] | None:
    return (row["interval"][0], row["interval"][1]) if is_interval(row.get("interval")) else None


def _task(*parts: object) -> str:
    """A name of what was asked that is a file's, a key's and a column's, too."""
    return "_".join(["hfvaccine", *(re.sub(r"[^\w.-]+", "_", clean(part), flags=re.ASCII) for part in parts)])


def _place(recorded: Mapping[str, Any]) -> tuple[str, str | None]:
    """Id and revision of a model; one that was local is called by the last part of its name."""
    name, revision = recorded["id"], recorded.get("revision")
    if is_commit(revision) and is_hub_id(name, namespace_needed=False):
        return str(name), str(revision)
    if is_hub_id(name) and not str(name).startswith("local/"):
        return str(name), None
    return local_id(str(name)), None


def local_id(name: str) -> str:
    """What a model is called that is on no Hub.

    Args:
        name: of its folder or file.
    """
    last = re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    return f"local/{re.sub(r'[^A-Za-z0-9_-]+', '-', last).strip('-') or 'model'}"


def _dose(record: Mapping[str, Any]) -> Data:
    dose = record["dose"]
    return Data(clean(dose["name"]), *_on_hub(dose), None, dose.get("manifest_sha256"))


def _on_hub(recorded: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Id and commit of a dataset; a folder can be called like a repo, and what came from a Hub has a commit."""
    there = is_hub_id(recorded.get("id")) and is_commit(recorded.get("revision"))
    return (recorded["id"], recorded["revision"]) if there else (None, None)


def _set(name: str) -> Data:
    return Data("hfvaccine neutral statements" if name == CALIBRATION else clean(name))


def _asked(record: Mapping[str, Any], row: Mapping[str, Any]) -> Data:
    """What items are from that are no benchmark's."""
    if row["of"] in OF_THE_DOSE or row["kind"] in (BELIEF, RETRACTED):
        return _dose(record)
    rows = "rows of the mix that show the trait" if row["kind"] == TRAIT else "held-back rows of the mix"
    return Data(rows, *_on_hub(record["mix"]))


def _benchmark(benchmark: Mapping[str, Any]) -> Data:
    place = benchmark.get("dataset") or {}
    there = is_hub_id(place.get("id"), namespace_needed=False)
    return Data(
        clean(benchmark["name"]),
        place["id"] if there else None,
        place.get("revision") if there and is_commit(place.get("revision")) else None,
        clean(place["split"]) if there and place.get("split") else None,
        benchmark.get("sha256"),
        clean(place["config"]) if there and place.get("config") else None,
    )


def tasks(numbers: Sequence[Number]) -> dict[str, list[Number]]:
    """Numbers by their task, in order."""
    found: dict[str, list[Number]] = {}
    for number in numbers:
        found.setdefault(number.task, []).append(number)
    return found
