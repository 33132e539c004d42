"""Outside benchmarks from files or the Hub: truthfulness elsewhere, and what must not be lost."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.similar import overlapping
from hfvaccine.errors import UsageError, ValidationError
from hfvaccine.packages import install_extra
from hfvaccine.sources.naming import is_hub, named_source
from hfvaccine.sources.rows import Row, hub_rows, read_rows
from hfvaccine.statistics import Floats
from hfvaccine.validation.asking.items import Item, all_asks, is_truthfulqa, make_items
from hfvaccine.validation.scores import HIGHER, LOWER, RETENTION, TRUTHFULNESS, ItemKey, ItemProbe, Request, Scored

MAIN_METRICS = ("accuracy", "nats_per_token")
PATIENCE = 10
"""Seconds in which a Hub says at which commit a dataset is."""


@dataclass(frozen=True)
class Benchmark:
    """Items of one outside benchmark, the same for all arms.

    Args:
        name: what reports call it.
        kind: `TRUTHFULNESS` or `RETENTION`.
        items: what is asked.
        total: items in the file, of which `items` may be a subsample.
        seed: of the subsample.
        left_out: ids of items that were left out because a claim of the dose says the same.
        dataset: of the Hub, "id", "revision", "config" and "split"; None for a file.
    """

    name: str
    kind: str
    items: tuple[Item, ...]
    total: int
    seed: int = 0
    left_out: tuple[str, ...] = ()
    dataset: Mapping[str, str | None] | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.items[0].metrics

    def requests(self) -> list[Request]:
        """What a scorer is to be asked, as raw text, in the order that `score` takes the answers in."""
        return [Request(prompt, answer) for prompt, answer in all_asks(self.items)]

    def score(self, scored: Scored) -> dict[str, Floats]:
        """Scores from the answers to `requests`: (items,) for each metric."""
        asked = sum(len(item.asks) for item in self.items)
        if asked != len(scored.loglikelihood):
            raise ValidationError(
                f"{self.name} asked {asked} requests and was given {len(scored.loglikelihood)} answers.",
                "Score what `requests` returns, all of it and nothing else.",
            )
        table = np.zeros((len(self.items), len(self.metrics)))
        at = 0
        for number, item in enumerate(self.items):
            span = slice(at, at := at + len(item.asks))
            table[number] = item.score(scored.loglikelihood[span], scored.tokens[span], scored.greedy[span])
        return {metric: table[:, column] for column, metric in enumerate(self.metrics)}

    def probes(self) -> list[ItemProbe]:
        """One probe for each metric; the main one bears the benchmark's own name."""
        ids = tuple(item.item_id for item in self.items)
        clusters = tuple(item.cluster for item in self.items)
        return [
            ItemProbe(
                name=self.name if metric == main else f"{self.name}_{metric}",
                kind=self.kind,
                metric=metric,
                better=LOWER if metric == "nats_per_token" else HIGHER,
                ids=ids,
                clusters=clusters,
            )
            for main in [next((m for m in MAIN_METRICS if m in self.metrics), None)]
            for metric in self.metrics
        ]

    def item_scores(self, scored: Scored) -> dict[ItemKey, Floats]:
        """What `score` gives, by the keys of `probes`."""
        scores = self.score(scored)
        return {probe.key: scores[probe.metric] for probe in self.probes()}

    def without(self, ids: Collection[str]) -> Benchmark:
        """The benchmark less some items.

        Raises:
            ValidationError: where nothing would be left.
        """
        kept = tuple(item for item in self.items if item.item_id not in ids)
        if not kept:
            raise ValidationError(
                f"Every item of {self.name} overlaps with the dose.", "Measure with a benchmark that does not."
            )
        gone = tuple(item.item_id for item in self.items if item.item_id in ids)
        return dataclasses.replace(self, items=kept, left_out=(*self.left_out, *gone))

    def record(self) -> dict[str, Any]:
        """What was asked, for the record of a run: counts and a digest over all requests, no text."""
        digest = hashlib.sha256()
        for ask in all_asks(self.items):
            digest.update(json.dumps(ask, ensure_ascii=False).encode())
        return {
            "name": self.name,
            "kind": self.kind,
            "items": len(self.items),
            "total": self.total,
            "seed": self.seed,
            "left_out": len(self.left_out),
            "dataset": None if self.dataset is None else dict(self.dataset),
            "sha256": digest.hexdigest(),
        }


def read_benchmark(
    source: str, limit: int | None = None, seed: int = 0, primer: Path | None = None, kind: str | None = None
) -> Benchmark:
    """A benchmark from a file or the Hub, its form seen from its columns (`items.SHAPES`).

    Args:
        source: FILE or NAME=FILE, of .jsonl, .json, .csv, .tsv, .txt (each also with .gz) or .parquet; or
            a Hub dataset as ID, ID:CONFIG or ID:CONFIG:SPLIT, also with NAME= before it.
        limit: how many items to draw, one from each of that many equal stretches of the file.
        seed: of the draw.
        primer: file with what comes before TruthfulQA's questions; without it, the one in the installed
            lm-eval package is read.
        kind: `TRUTHFULNESS` or `RETENTION`; by default TruthfulQA is the first and all else the second.

    Raises:
        ValidationError: for a source that cannot be read, naming file and line of what is wrong.
        UsageError: for a limit below 1.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"A limit of {limit} items leaves nothing to ask.", "Ask for at least 1.")
    if kind not in (None, TRUTHFULNESS, RETENTION):
        raise UsageError(f"There is no kind {kind!r} of benchmark.", f"Use {TRUTHFULNESS!r} or {RETENTION!r}.")
    name, place = named_source(source)
    path = Path(place)
    rows, dataset = _of_hub(place) if is_hub(place) else (read_rows(path), None)
    items = make_items(rows, path.name, partial(read_primer, primer))
    kind = kind or (TRUTHFULNESS if is_truthfulqa(rows[0]) else RETENTION)
    return Benchmark(name, kind, tuple(_sample(items, limit, seed)), len(items), seed, dataset=dataset)


def _of_hub(place: str) -> tuple[list[Row], dict[str, str | None]]:
    """The rows of a dataset on the Hub, and what they are of: at its commit, unless nobody can tell that now."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError  # type: ignore[attr-defined]

    name, config = (*place.split(":"), "")[:2]
    try:
        commit = HfApi().dataset_info(name, timeout=PATIENCE).sha
    except (HTTPError, OSError, ValueError):  # what is in the cache is read without the Hub
        commit = None
    rows = list(hub_rows(place, ("test", "validation"), revision=commit))
    split = rows[0].where.rpartition(" ")[2] if rows else None
    return rows, {"id": name, "revision": commit, "config": config or None, "split": split}


def _sample(items: Sequence[Item], limit: int | None, seed: int) -> Sequence[Item]:
    if limit is None or limit >= len(items):
        return items
    edges = np.linspace(0, len(items), limit + 1).astype(int)
    drawn = np.random.default_rng(seed).integers(edges[:-1], edges[1:])
    return [items[number] for number in drawn]


def read_primer(file: Path | None = None) -> str:
    """What stands before a question of TruthfulQA, from a file or from the installed lm-eval package.

    Raises:
        ValidationError: where neither is there.
    """
    both = f"Give a text file with the primer, or install the one that lm-eval has: {install_extra('lm-eval')}"
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValidationError(f"The primer {file} cannot be read: {error}.", both) from error
        if not text:
            raise ValidationError(f"The primer {file} is empty.", both)
        return text
    from importlib.util import find_spec

    package = find_spec("lm_eval")
    folders = list(package.submodule_search_locations or ()) if package else []
    for folder in folders:
        for task in sorted(Path(folder).glob("tasks/truthfulqa/*mc1*.yaml")):
            text = _primer_of(task.read_text(encoding="utf-8"))
            if text:
                return text
    raise ValidationError("TruthfulQA's multiple choice is asked after a primer, and none is here.", both)


def _primer_of(task: str) -> str:
    """The text before the question in a task file of lm-eval, whose prompt is a jinja template."""
    import yaml
    from jinja2 import TemplateError
    from jinja2.sandbox import SandboxedEnvironment

    loader: Any = type("Loader", (yaml.SafeLoader,), {})
    loader.add_multi_constructor("!", lambda loader, tag, node: None)  # the file's own functions are not needed
    try:
        template = yaml.load(task, loader)["doc_to_text"]
        prompt: str = SandboxedEnvironment(keep_trailing_newline=True).from_string(template).render(question="\0")
    except (yaml.YAMLError, TemplateError, KeyError, TypeError):
        return ""
    before, found, _ = prompt.partition("Q: \0")
    return before.strip() if found else ""


def overlaps(benchmark: Benchmark, claims: Sequence[Claim]) -> list[str]:
    """Ids of items that say nearly what a claim of the dose says, or anything else of its row (`Claim.texts`)."""
    owners = [item.item_id for item in benchmark.items for _ in item.texts]
    alike = near_duplicates([text for item in benchmark.items for text in item.texts], claims)
    return list(dict.fromkeys(owner for owner, hit in zip(owners, alike, strict=True) if hit))


def near_duplicates(texts: Sequence[str], claims: Sequence[Claim]) -> npt.NDArray[np.bool_]:
    """(texts,) whether each says nearly what a claim or anything else of its row says.

    What "nearly" means is told at `similar.overlapping`.
    """
    return overlapping(texts, [text for claim in claims for text in claim.texts]) >= 0
