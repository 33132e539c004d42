"""Numbers of registered benchmarks as `.eval_results/*.yaml` has them in a model's repo. Pure.

Nothing is taken for a registered task by itself: whoever exports says which task a benchmark is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from hfvaccine.errors import UsageError
from hfvaccine.papers.measured import Measured, Number

if TYPE_CHECKING:
    from huggingface_hub import EvalResultEntry

FOLDER = ".eval_results"


def named_tasks(given: tuple[str, ...]) -> dict[str, str]:
    """The task that each benchmark is said to be, of texts such as `arc_easy=arc_easy` or `truthfulqa/mc2=mc`.

    Raises:
        UsageError: for another text, and a benchmark that is named twice.
    """
    found: dict[str, str] = {}
    for text in given:
        name, _, task = text.rpartition("=")
        if not name or not task or name in found:
            why = "is named twice" if name in found else "names no benchmark and task"
            raise UsageError(f"--benchmark {text!r} {why}.", "Give NAME=TASK or NAME/METRIC=TASK, each NAME once.")
        found[name] = task
    return found


def of_benchmarks(measured: Measured) -> dict[str, dict[str, Number]]:
    """The adapter's numbers by benchmark and metric."""
    found: dict[str, dict[str, Number]] = {}
    for one in measured.models[0].numbers:
        if one.task == one.data.name:  # what is no benchmark has a task of another name
            found.setdefault(one.task, {})[one.metric] = one
    return found


def chosen(measured: Measured, name: str) -> Number:
    """The number that is meant by NAME or NAME/METRIC.

    Args:
        measured: what was measured.
        name: of the benchmark in results.json, and its metric where it has several.

    Raises:
        UsageError: where there is none or more than one, or where it is not of a whole dataset at a known commit.
    """
    numbers = of_benchmarks(measured)
    known = ", ".join(numbers) or "none"
    benchmark, _, metric = (name, "", "") if name in numbers else name.rpartition("/")
    if benchmark not in numbers:
        raise UsageError(f"{name!r} is no benchmark that the adapter was asked.", f"It was asked: {known}.")
    its = numbers[benchmark]
    if metric not in its and (metric or len(its) > 1):
        raise UsageError(
            f"{name!r} is not one number; of {benchmark!r} there are: {', '.join(its)}.",
            f"Give one of them, as {benchmark}/{next(iter(its))}.",
        )
    one = its[metric] if metric else next(iter(its.values()))
    if one.data.id is None or one.data.revision is None:
        raise UsageError(
            f"The items of {benchmark!r} are from no dataset on a Hub at a known commit.",
            f"Validate with --benchmark {benchmark}=ORG/DATASET, where the Hub can be reached.",
        )
    if one.samples != one.total:
        raise UsageError(
            f"{one.samples:,} of the {one.total:,} items of {benchmark!r} were asked: that is not the benchmark.",
            "Validate with all of them.",
        )
    return one


def file_of(name: str) -> str:
    """Where the result of a benchmark stands in the repo of its model."""
    return f"{FOLDER}/{re.sub(r'[^A-Za-z0-9_.-]+', '-', name).strip('.-') or 'benchmark'}.yaml"


def entry(measured: Measured, number: Number, task: str) -> EvalResultEntry:
    """One result as the Hub's client has it.

    Args:
        measured: what was measured.
        number: of it, see `chosen`.
        task: that it is said to be.
    """
    from huggingface_hub import EvalResultEntry

    return EvalResultEntry(
        dataset_id=str(number.data.id),
        task_id=task,
        value=number.value,
        dataset_revision=number.data.revision,
        date=datetime.fromtimestamp(measured.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        notes=f"{number.label}, by likelihoods of given answers, not by generation; hfvaccine {measured.version}",
    )


def files(measured: Measured, asked: Mapping[str, str]) -> dict[str, tuple[Number, str, EvalResultEntry]]:
    """What is written, by file: the number, the task, and the entry.

    Args:
        measured: what was measured.
        asked: the task of each benchmark, see `named_tasks`.

    Raises:
        UsageError: as `chosen` does, and for two benchmarks of one file.
    """
    found: dict[str, tuple[Number, str, EvalResultEntry]] = {}
    for name, task in asked.items():
        number, path = chosen(measured, name), file_of(name)
        if path in found:
            raise UsageError(f"{path} would hold two results.", "Export each into a folder of its own.")
        found[path] = number, task, entry(measured, number, task)
    return found
