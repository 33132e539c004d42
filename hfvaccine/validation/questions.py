"""What arms are asked besides the claims of the dose."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hfvaccine.errors import UsageError
from hfvaccine.statistics import MIN_PAIRS


@dataclass(frozen=True, kw_only=True)
class Questions:
    """What arms are asked besides the claims of the dose; the same for `hfvaccine validate` and `immunize`.

    Args:
        benchmark: Outside test set, NAME=FILE or a Hub dataset id: truthfulness, retention. May be repeated.
        benchmark_items: Most items of each benchmark. [default: all]
        primer: Text file of what comes before TruthfulQA's questions. [default: lm-eval's]
        pairs: NAME=FILE of more claims with twins, never given. May be repeated.
        truths: .jsonl of true statements, to hold claims without a twin against.
        most_pairs: Most pairs of a set never given that are asked about, the same each time. [default: all]
        adversarial: Most pairs of a set asked under tactics or pressure. [default: all]
        free_text: Pairs of a set that are answered in free text.
        judge: Who judges free text: an entailment model, or a file of people's labels.
        labels: People's labels of some answers, for the judge's error.
        grid: YAML file of test prompts under which an inoculated trait is looked for.
        gate: YAML file of criteria, instead of the built-in ones.
    """

    benchmark: tuple[str, ...] = ()
    benchmark_items: int | None = None
    primer: str | None = None
    pairs: tuple[str, ...] = ()
    truths: str | None = None
    most_pairs: int | None = None
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
        if self.most_pairs is not None and self.most_pairs < MIN_PAIRS:
            raise UsageError(
                f"most_pairs is {self.most_pairs}.",
                f"Ask about at least {MIN_PAIRS}: an interval over fewer says nothing.",
            )
        if self.free_text < 0:
            raise UsageError(f"free_text is {self.free_text}.", "Give a number of pairs, 0 for none.")
        if (self.judge or self.labels) and not self.free_text:
            raise UsageError("A judge is given, and nothing to judge.", "Say with free_text how many to ask.")
        if self.adversarial is not None and self.adversarial < 0:
            raise UsageError(f"adversarial is {self.adversarial}.", "Give a number of pairs, 0 for none.")


def check_endpoint(endpoint: str | None, model: str | None, api_key_env: str | None) -> None:
    """Refuse a served model of which half is said.

    Args:
        endpoint: address of its server.
        model: its name there.
        api_key_env: environment variable that holds the server's key.

    Raises:
        UsageError: for an address or a name without the other, and for a key without a server.
    """
    if (endpoint is None) != (model is None):
        raise UsageError("--endpoint and --model go together.", "Give the server's address and the model's name.")
    if api_key_env is not None and endpoint is None:
        raise UsageError("--api-key-env is of a server, and there is none.", "Give --endpoint and --model, too.")
