"""What was measured as records of Every Eval Ever (schema 0.3.0), one for each model. Pure.

The schema and the layout of files are those of the package `every-eval-ever`, whose `validate` checks both. It cannot
be installed beside hfvaccine, as it wants an older huggingface-hub.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from hashlib import sha256
from typing import Any
from uuid import UUID

from hfvaccine.papers.measured import Data, Measured, Model, Number
from hfvaccine.validation.scores import LOWER

SCHEMA = "0.3.0"
COLLECTION = "hfvaccine"
"""The folder of all records, as the data store has one for each benchmark or leaderboard."""


def records(measured: Measured) -> dict[str, dict[str, Any]]:
    """The records, each by where it belongs: data/COLLECTION/DEVELOPER/MODEL/UUID.json.

    Metrics of which neither side is better (the criterion c) are left out: the schema has no way to say that.

    Args:
        measured: what was measured; the same gives the same records under the same names.
    """
    return {_path(measured, model): _record(measured, model) for model in measured.models}


def _path(measured: Measured, model: Model) -> str:
    digest = sha256(f"{measured.record} {model.arm}".encode()).digest()
    developer, _, name = model.id.rpartition("/")
    return f"data/{COLLECTION}/{developer or name}/{name}/{UUID(bytes=digest[:16], version=4)}.json"


def _record(measured: Measured, model: Model) -> dict[str, Any]:
    who = measured.models[0].id.partition("/")[0]
    developer = model.id.partition("/")[0]
    details = {**model.details, "record_sha256": measured.record}
    return {
        "schema_version": SCHEMA,
        "evaluation_id": f"{COLLECTION}/{model.id}/{measured.at}",
        "evaluation_timestamp": str(measured.at),
        "retrieved_timestamp": str(measured.at),
        "source_metadata": {
            "source_name": "hfvaccine",
            "source_type": "evaluation_run",
            "source_organization_name": who,
            "evaluator_relationship": "first_party" if developer == who else "third_party",
            "additional_details": details,
        },
        "eval_library": {"name": "hfvaccine", "version": measured.version},
        "model_info": _model(model, developer),
        "evaluation_results": list(_results(measured, model)),
    }


def _model(model: Model, developer: str) -> dict[str, Any]:
    details = {
        "deployment_type": "self_deployed",
        "model_availability": "open_weights" if model.published else "unknown",
        "arm": model.arm,
    }
    if model.revision:
        details["revision"] = model.revision
    if model.base:
        details["base_model"] = model.base[0]
        if model.base[1]:
            details["base_revision"] = model.base[1]
    return {"name": model.id, "id": model.id, "developer": developer, "additional_details": details}


def _results(measured: Measured, model: Model) -> Iterator[dict[str, Any]]:
    for number in model.numbers:
        if number.better:
            yield {
                "evaluation_result_id": f"{number.task}/{number.metric}",
                "evaluation_name": number.task,
                "source_data": _data(number.data, number),
                "metric_config": {
                    "evaluation_description": f"{number.label}: {number.said}",
                    "metric_id": f"{COLLECTION}.{number.metric}",
                    "metric_name": number.label,
                    "lower_is_better": number.better == LOWER,
                    "score_type": "continuous",
                    "min_score": _bound(number.bounds[0]),
                    "max_score": _bound(number.bounds[1]),
                },
                "score_details": _score(measured, number),
            }


def _score(measured: Measured, number: Number) -> dict[str, Any]:
    uncertainty: dict[str, Any] = {"num_samples": number.samples}
    if number.interval is not None:
        low, high = number.interval
        uncertainty["confidence_interval"] = {
            "lower": low,
            "upper": high,
            "method": f"over resampled {measured.resampled}",
        }
        if measured.level is not None:
            uncertainty["confidence_interval"]["confidence_level"] = measured.level
        if measured.draws is not None:
            uncertainty["num_bootstrap_samples"] = measured.draws
    details = {"details": {"too_few_for_an_interval": "true"}} if number.few else {}
    return {"score": number.value, "uncertainty": uncertainty, **details}


def _data(data: Data, number: Number) -> dict[str, Any]:
    details = {
        key: value for key, value in {"revision": data.revision, "sha256": data.digest}.items() if value is not None
    }
    more = {"additional_details": details} if details else {}
    if data.id is None:
        return {"dataset_name": data.name, "source_type": "other", **more}
    split = {"hf_split": data.split} if data.split else {}
    return {
        "dataset_name": data.name,
        "source_type": "hf_dataset",
        "hf_repo": data.id,
        **split,
        "samples_number": number.total,
        **more,
    }


def _bound(value: float) -> float | str:
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    return value
