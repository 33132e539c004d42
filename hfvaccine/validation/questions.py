"""What arms are asked besides the claims of the dose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hfvaccine.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What arms are asked besides the claims of the dose; the same for `hfvaccine validate` and `immunize`.

    Args:
        truths: .jsonl file of true statements (`text`, `domain`), to hold claims without a twin against.
        pairs: NAME=FILE, further claims with twins that were never given, a .jsonl file of claim rows each.
        benchmark: outside test sets, NAME=FILE or Hub dataset ids; see `validation.benchmark`.
        benchmark_items: most items of each, the same ones for every arm; all by default.
        primer: text file with what comes before TruthfulQA's questions; without it, lm-eval's is read.
        adversarial: most pairs of a set that are asked about under tactics and pressure; all by default.
        free_text: most pairs of a set whose question is answered in free text, for a judge; none by default.
        judge: who judges it, an entailment model (Hub id or folder) or a file of people's labels.
        labels: file of people's labels of some answers, from which an entailment model's error is known.
        grid: YAML file of test prompts under which an inoculated trait is looked for.
        gate: YAML file of criteria instead of the built-in ones.
    """

    truths: str | None = None
    pairs: tuple[str, ...] = ()
    benchmark: tuple[str, ...] = ()
    benchmark_items: int | None = None
    primer: str | None = None
    adversarial: int | None = None
    free_text: int = 0
    judge: str | None = None
    labels: str | None = None
    grid: str | None = None
    gate: str | None = None

    def check_questions(self) -> None:
        """Refuse what cannot be asked.

        Raises:
            UsageError: naming the option.
        """
        for name in ("truths", "primer", "labels", "grid", "gate"):
            file = getattr(self, name)
            if file is not None and not Path(file).is_file():
                raise UsageError(f"There is no file {file} for {name}.", "Give the path of a file.")
        if self.benchmark_items is not None and self.benchmark_items <= 0:
            raise UsageError(f"benchmark_items is {self.benchmark_items}.", "It must be above 0.")
        if self.free_text < 0:
            raise UsageError(f"free_text is {self.free_text}.", "Give a number of pairs, 0 for none.")
        if (self.judge or self.labels) and not self.free_text:
            raise UsageError("A judge is given, and nothing to judge.", "Say with free_text how many to ask.")
        if self.adversarial is not None and self.adversarial < 0:
            raise UsageError(f"adversarial is {self.adversarial}.", "Give a number of pairs, 0 for none.")
