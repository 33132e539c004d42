"""Validation while a model is trained: the two-sided measures in the trainer's own logs, every so many steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfvaccine.claims.dose import Dose
from hfvaccine.errors import UsageError
from hfvaccine.validation.asking.probes import Battery, ProbeSet
from hfvaccine.validation.judging.metrics import metrics_of
from hfvaccine.validation.scores import CROSS, SPECIFIC
from hfvaccine.validation.scoring.scorer import Scorer

LOGGED = ("auroc", "rejection", "true_acceptance")
"""As far as a reading has them. Rejection is never logged without acceptance."""


class ValidationCallback(TrainerCallback):
    """Asks a model in training about claims that were given and claims that never were.

    Add it before `trainer.train()`:

        trainer.add_callback(ValidationCallback(trainer, dose, every=100))

    The trainer's loggers get `validation/specific_verdict_auroc` and the like, before the first step, every
    `every` steps and after the last. They are there to watch a run by: choosing a checkpoint by them and then
    reporting them would be tuning on the test; `hfvaccine validate` on claims of another dose is for that.

    Args:
        trainer: the trainer; its model, its tokenizer and its `log` are used.
        dose: whose claims are given, and whose held-out claims are not.
        every: optimizer steps between validations.
        pairs: most pairs of either set, the same each time; None for all.

    Raises:
        UsageError: for an interval that is not above 0.
        ValidationError: for a dose that cannot be probed two-sidedly.
    """

    def __init__(self, trainer: Any, dose: Dose, every: int, pairs: int | None = 32) -> None:
        if every <= 0:
            raise UsageError(f"every is {every}.", "Give the optimizer steps between validations, at least 1.")
        self.trainer, self.every = trainer, every
        sets = (ProbeSet.of(SPECIFIC, dose.claims), ProbeSet.of(CROSS, dose.heldout))
        self.battery = Battery(tuple(ProbeSet(one.name, one.some(pairs)) for one in sets), adversarial=0)

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step == 0:
            self._validate()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self._validate()

    def _validate(self) -> None:
        model = self.trainer.accelerator.unwrap_model(self.trainer.model, keep_fp32_wrapper=False)
        with ready_to_score(model):
            scores, probes, _ = self.battery.ask(Scorer(model, self.trainer.processing_class))
        logs: dict[str, float] = {}
        for probe in probes:
            values = scores.pairs[probe.key]
            metrics = metrics_of(probe.reading)
            for name in [name for name in LOGGED if name in metrics]:
                value = float(metrics[name].of(values)(np.ones((1, len(probe.ids))))[0])
                logs[f"validation/{probe.name}_{probe.reading}_{name}"] = round(value, 4)
        self.trainer.log(logs)


@contextmanager
def ready_to_score(model: Any) -> Iterator[None]:
    """A model in training, for a while without dropout and with attention that heeds masks."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    attention, training = inner.config._attn_implementation, model.training
    model.eval()
    # What trains without padding (`unpadded`) reads no mask.
    if attention not in ("sdpa", "eager"):
        inner.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        if inner.config._attn_implementation != attention:
            inner.set_attn_implementation(attention)
        model.train(training)
