"""What was measured as results files of lm-evaluation-harness have it, one for each model. Pure.

lm-eval measured none of it. The files are for what reads such files: tables, leaderboards, converters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from hfvaccine.papers.measured import Measured, Model, Number, tasks
from hfvaccine.validation.scores import HIGHER, SCHEMA_VERSION

FILTER = "none"
"""What lm-eval calls the way in which answers were post-processed: not at all."""


def files(measured: Measured) -> dict[str, dict[str, Any]]:
    """The files by where lm-eval would write them: MODEL/results_TIME.json.

    Standard errors are not there, since none was computed; `intervals` holds what was.

    Args:
        measured: what was measured; the same gives the same files under the same names.
    """
    time = datetime.fromtimestamp(measured.at, UTC).strftime("%Y-%m-%dT%H-%M-%S")
    return {f"{_plain(model)}/results_{time}.json": _file(measured, model) for model in measured.models}


def _plain(model: Model) -> str:
    return model.id.replace("/", "__")


def _file(measured: Measured, model: Model) -> dict[str, Any]:
    by_task = tasks(model.numbers)
    return {
        "results": {task: {"alias": task} | _values(its) for task, its in by_task.items()},
        "intervals": {task: _intervals(its) for task, its in by_task.items()},
        "interval_level": measured.level,
        "group_subtasks": {},
        "configs": {task: _config(task, its) for task, its in by_task.items()},
        "versions": dict.fromkeys(by_task, SCHEMA_VERSION),
        "higher_is_better": {task: {one.metric: _side(one) for one in its} for task, its in by_task.items()},
        "n-samples": {task: {"original": its[0].total, "effective": its[0].samples} for task, its in by_task.items()},
        "config": {
            "model": "hfvaccine",
            "model_args": _arguments(model),
            "model_revision": model.revision,
            "bootstrap_iters": measured.draws,
        },
        "date": float(measured.at),
        "hfvaccine_version": measured.version,
        "hfvaccine": {**model.details, "record_sha256": measured.record},
        "model_source": "hfvaccine",
        "model_name": model.id,
        "model_name_sanitized": _plain(model),
    }


def _values(numbers: Sequence[Number]) -> dict[str, float]:
    return {f"{number.metric},{FILTER}": number.value for number in numbers}


def _intervals(numbers: Sequence[Number]) -> dict[str, list[float]]:
    return {f"{number.metric},{FILTER}": list(number.interval) for number in numbers if number.interval is not None}


def _side(number: Number) -> bool | None:
    return number.better == HIGHER if number.better else None


def _config(task: str, numbers: Sequence[Number]) -> dict[str, Any]:
    data = numbers[0].data
    asked: dict[str, Any] = {"task": task, "description": numbers[0].said}
    if data.id is not None:
        asked["dataset_path"] = data.id
        if data.revision:
            asked["dataset_kwargs"] = {"revision": data.revision}
        if data.split:
            asked["test_split"] = data.split
    return asked


def _arguments(model: Model) -> Mapping[str, str | None]:
    """As lm-eval's `hf` takes them."""
    if model.base is None:
        return {"pretrained": model.id, "revision": model.revision}
    return {"pretrained": model.base[0], "revision": model.base[1], "peft": model.id}
