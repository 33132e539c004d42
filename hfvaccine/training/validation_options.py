"""The options of a validation by itself: their fields are the flags of `hfvaccine validate`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hfvaccine.errors import UsageError
from hfvaccine.sources.place import PINNED
from hfvaccine.text import as_option
from hfvaccine.training.options import check_dtype, check_trackers, take_apart
from hfvaccine.validation.questions import Questions, check_endpoint
from hfvaccine.validation.scores import CONTROLS, PLACEBO, VACCINE

_LOADED = "is of a model that is loaded, and this one is served"
_LIKELIHOODS = "takes likelihoods of texts, which a chat endpoint is not asked for"
UNSERVED = {
    **dict.fromkeys(("base_id", "base_revision", "dtype", "against"), _LOADED),
    **dict.fromkeys(("benchmark", "benchmark_items", "primer", "grid", "mix"), _LIKELIHOODS),
    "gate": "judges by a control, and a served model is measured alone",
}
"""Options that mean nothing of a served model, and why."""


@dataclass(frozen=True, kw_only=True)
class Validation(Questions):
    """What `hfvaccine validate` is asked for; every field is a flag, those of `Questions` too.

    Args:
        base: Base model: a Hub ID[@REVISION], a local folder, or a .gguf file.
        base_id: Hub id of a local base.
        base_revision: Branch, tag or commit of a base on the Hub. [default: the newest]
        endpoint: Instead of a base, a server with OpenAI's chat completions, to ask for verdicts and free text.
        model: The name of the model on that server.
        api_key_env: Environment variable that holds the key of that server. [default: OPENAI_API_KEY]
        adapter: Adapter to validate, or whose served model it is: a run folder or a Hub ID[@REVISION].
        against: What to hold it against besides the base: placebo=ADAPTER or controls=ADAPTER, likewise.
        dose: Dose: 'starter', a folder, or a Hub ID[@REVISION].
        dose_revision: Of a dose on the Hub. [default: the newest]
        mix: Mix whose held-back rows measure retention.
        mix_revision: Of a mix on the Hub. [default: the newest]
        dtype: auto, bfloat16 or float32.
        report_to: Tracker of the results, in a run called as the folder: tensorboard, trackio, wandb. May be repeated.
        output_dir: Write results.json, scores.parquet, figures and report.html to this folder.
    """

    base: str | None = None
    base_id: str | None = None
    base_revision: str | None = None
    endpoint: str | None = None
    model: str | None = None
    api_key_env: str | None = None
    adapter: str | None = None
    against: tuple[str, ...] = ()
    dose: str = "starter"
    dose_revision: str | None = None
    mix: str = "starter"
    mix_revision: str | None = None
    dtype: str = "auto"
    report_to: tuple[str, ...] = ()
    output_dir: Path | None = None

    def __post_init__(self) -> None:
        take_apart(self, [what for what in PINNED if what != "base" or self.base is not None])

    @property
    def adapters(self) -> dict[str, str]:
        """Run folder or Hub id by arm; none where the base is measured alone.

        Raises:
            UsageError: for an `against` that names no arm, or without an adapter to hold against it.
        """
        found = {VACCINE: self.adapter} if self.adapter else {}
        for given in self.against:
            arm, sign, name = given.partition("=")
            if arm not in (PLACEBO, CONTROLS) or not sign or not name:
                raise UsageError(f"--against {given!r} names no arm.", "Give placebo=ADAPTER or controls=ADAPTER.")
            if not self.adapter:
                raise UsageError(f"--against {given!r} has nothing to be held against.", "Give --adapter as well.")
            found[arm] = name
        return found

    def check(self) -> None:
        """Refuse what cannot be measured before anything is read.

        Raises:
            UsageError: naming the option.
        """
        self.check_questions()
        check_dtype(self)
        check_trackers(self.report_to)
        if self.report_to and self.output_dir is None:
            raise UsageError("A tracker calls a run by its folder, and there is none.", "Give --output-dir as well.")
        _ = self.adapters
        check_endpoint(self.endpoint, self.model, self.api_key_env)
        if (self.base is None) == (self.endpoint is None):
            raise UsageError(
                "It is not said what is validated." if self.base is None else "Both a base and an endpoint are given.",
                "Give --base, with --adapter where there is one; or --endpoint and --model of what is served.",
            )
        if self.endpoint is not None:
            for name, why in UNSERVED.items():
                if getattr(self, name) != getattr(Validation, name):
                    raise UsageError(
                        f"{as_option(name)} {why}.", "Leave it out, or validate the model itself with --base."
                    )
