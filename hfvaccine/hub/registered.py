"""Benchmarks that are registered on a Hub: what the `eval.yaml` of a dataset says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import HfApi
from yaml import YAMLError

from hfvaccine.errors import UsageError
from hfvaccine.files import load_yaml
from hfvaccine.hub.errors import as_hub_error
from hfvaccine.papers.measured import Data

FILE = "eval.yaml"


def require_task(api: HfApi, data: Data, task: str) -> None:
    """Refuse a task that a dataset does not register, or that is of other rows of it.

    Args:
        api: of the Hub that has the dataset.
        data: what was asked about.
        task: the id of the task.

    Raises:
        UsageError: where the dataset is no benchmark, has no such task, or has it of another configuration or split.
        HubError: where it cannot be asked.
    """
    name = str(data.id)
    with as_hub_error(api, name, "dataset"):
        there = api.file_exists(name, FILE, repo_type="dataset")
        text = Path(api.hf_hub_download(name, FILE, repo_type="dataset")).read_text("utf-8") if there else ""
    if not there:
        raise UsageError(f"{name} is registered as no benchmark: it has no {FILE}.", "Leave it out.")
    try:
        tasks = {str(one["id"]): one for one in load_yaml(text)["tasks"] if isinstance(one, Mapping)}
    except (YAMLError, KeyError, TypeError) as error:
        raise UsageError(f"The {FILE} of {name} names no tasks.", "Leave it out.") from error
    if task not in tasks:
        raise UsageError(f"{name} registers no task {task!r}.", f"Its tasks: {', '.join(tasks) or 'none'}.")
    for key, asked in (("config", data.config), ("split", data.split)):
        wanted = tasks[task].get(key)
        if wanted not in (None, asked) and not (key == "config" and asked is None and wanted == "default"):
            raise UsageError(
                f"The task {task!r} of {name} is of the {key} {wanted!r}, and {asked or 'another'} was asked.",
                f"Validate with {name}:CONFIG:SPLIT as the task has them.",
            )
