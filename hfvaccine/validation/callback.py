"""Validation while a model is trained: the two-sided measures in the trainer's own logs, every so many steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from hfvaccine.claims.dose import Dose
from hfvaccine.errors import UsageError
from hfvaccine.regimen.plan import DOSE
from hfvaccine.regimen.regimen import ATTRIBUTE
from hfvaccine.regimen.stream import StreamedRegimen
from hfvaccine.statistics import MIN_PAIRS
from hfvaccine.validation.asking.probes import Battery, ProbeSet
from hfvaccine.validation.judging.metrics import metrics_of
from hfvaccine.validation.scores import CROSS, SPECIFIC
from hfvaccine.validation.scoring.scorer import Scorer
from hfvaccine.validation.showing.numbers import LOGGED


class ValidationCallback(TrainerCallback):
    """Asks a model in training about claims that were given and claims that never were.

    Add it before `trainer.train()`:

        trainer.add_callback(ValidationCallback(trainer, dose, every=100))

    The trainer's loggers get `validation/specific_verdict_auroc` and the like, before the first step, every
    `every` steps and after the last. They are there to watch a run by: choosing a checkpoint by them and then
    reporting them would be tuning on the test; `hfvaccine validate` on claims of another dose is for that.

    Args:
        trainer: the trainer; its model, its tokenizer and its `log` are used.
        dose: whose claims are given, as far as the trainer's plan reaches them, and whose held-out claims are not.
            Fewer than an interval takes are not asked about.
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
        sets = [ProbeSet.of(SPECIFIC, dose.claims)]
        if len(dose.heldout) >= MIN_PAIRS:
            sets.append(ProbeSet.of(CROSS, dose.heldout))
        self.sets, self.pairs = sets, pairs
        self.battery = self._battery()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.battery = self._battery()  # any dose has been planned by now
        if state.global_step == 0:
            self._validate()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.global_step % self.every == 0 or state.global_step == state.max_steps:
            self._validate()

    def _battery(self) -> Battery:
        given, asked = planned(self.trainer), []
        for one in self.sets:
            if one.name == SPECIFIC and given is not None:
                its = tuple(pair for pair in one.pairs if pair.id in given)
                if len(its) < MIN_PAIRS:
                    continue
                one = replace(one, pairs=its)
            asked.append(ProbeSet(one.name, one.some(self.pairs)))
        return Battery(tuple(asked), adversarial=0)

    def _validate(self) -> None:
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
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


def planned(trainer: Any) -> set[str] | None:
    """The ids of the claims that a trainer's plan gives; None where it has no dose, or a stream, which has no plan."""
    regimen = getattr(trainer, ATTRIBUTE, None)
    if regimen is None or isinstance(regimen, StreamedRegimen) or not regimen.dosage.rows:
        return None
    plan = regimen.plan
    return {regimen.dosage.rows[number].claim_id for number in plan.index[plan.kind == DOSE].tolist()}


@contextmanager
def ready_to_score(model: Any) -> Iterator[None]:
    """A model in training, for a while without dropout and autocast, and with attention that heeds masks."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    attention, training = inner.config._attn_implementation, model.training
    model.eval()
    # accelerate can take its autocast off a model as well, but not put it on again.
    own = vars(model).get("_original_forward")
    trained_by = model.forward
    if own is not None:
        model.forward = own
    # What trains without padding (`unpadded`) reads no mask.
    if attention not in ("sdpa", "eager"):
        inner.set_attn_implementation("sdpa")
    try:
        yield
    finally:
        if inner.config._attn_implementation != attention:
            inner.set_attn_implementation(attention)
        if own is not None:
            model.forward = trained_by
        model.train(training)
