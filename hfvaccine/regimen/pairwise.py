"""The pairwise objective: a loss that no bias satisfies, beside the likelihood, on a stock `SFTTrainer`.

A pair is a false statement and a true one in the same form; their answers are the same up to the verdict. A model that
leans to FALSE everywhere lowers the likelihood's loss on one and raises it on the other. This loss falls only where it
tells the two apart:

    softplus(-(m(true) - m(false))),  m = logit(verdict of the true one) - logit(verdict of the false one)

at the place of the verdict, the Bradley-Terry likelihood of the true statement being the truer one (as in DPO,
Rafailov et al. 2023, without a reference model): a constant added to m cancels out. A step's loss is the mean over all
of its pairs, however many forward passes and processes share them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from hfvaccine.errors import PlanError
from hfvaccine.regimen.measure import IGNORED
from hfvaccine.regimen.watch import sums_by_row, where

WEIGHT = 1.0
"""Of this loss (nats per pair) beside the likelihood's (nats per token)."""

Tokens = tuple[Sequence[int], Sequence[int]]
"""Ids and labels of a row."""


def require_room(trainer: Any) -> None:
    """Refuse a trainer in whose forward passes no pair has room.

    Raises:
        PlanError: for passes of one row.
    """
    if trainer.args.train_batch_size < 2 and not getattr(trainer.args, "packing", False):
        raise PlanError(
            "The pairwise objective needs both rows of a pair in one forward pass, and a pass holds one row.",
            "Set the batch size to 2 or more, or the objective to 'sft'.",
        )


@dataclass(frozen=True)
class Side:
    """One row of a pair.

    Args:
        pair: number of the pair.
        true: whether its statement is the true one.
        place: of the token before the verdict.
        verdicts: tokens of the true row's verdict and of the false row's.
    """

    pair: int
    true: bool
    place: int
    verdicts: tuple[int, int]


def sides(pairs: Iterable[tuple[Tokens, Tokens]], checksums: Iterable[tuple[int, int]]) -> dict[int, Side]:
    """The rows of pairs, by their checksums.

    Args:
        pairs: of each pair the false row and the true one.
        checksums: of both, see `hfvaccine.regimen.measure`.

    Returns:
        The sides of those pairs whose answers part anywhere; a row that stands in several pairs belongs to the first.
    """
    found: dict[int, Side] = {}
    for number, ((false, true), sums) in enumerate(zip(pairs, checksums, strict=True)):
        parted = next(
            ((a, b) for a, b in zip(_learnt(false), _learnt(true), strict=False) if a[1] != b[1]),
            None,
        )
        if parted is None or not found.keys().isdisjoint(sums):
            continue
        verdicts = parted[1][1], parted[0][1]
        for is_true, (at, _), checksum in zip((False, True), parted, sums, strict=True):
            found[checksum] = Side(number, is_true, at - 1, verdicts)
    return found


def _learnt(row: Tokens) -> Iterable[tuple[int, int]]:
    """Place and token of what carries loss. The first token of a row is never predicted."""
    return ((at, token) for at, (token, label) in enumerate(zip(*row, strict=True)) if at and label != IGNORED)


class Pairwise:
    """Adds the pairwise loss to a trainer's own, whichever way its batches lie.

    TRL's `compute_loss_func` would do so at the price of a second forward pass in every step (it needs all logits, and
    is to be removed): here the hidden states at the verdicts are read while the model computes the trainer's own loss.

    Args:
        trainer: a `trl.SFTTrainer`.
    """

    def __init__(self, trainer: Any) -> None:
        self.sides: dict[int, Side] = {}
        self._trainer = trainer
        self._inputs: dict[str, Any] = {}
        self._losses: torch.Tensor | None = None
        self._in_step = 0
        model = trainer.accelerator.unwrap_model(trainer.model)
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._head = base.get_output_embeddings()
        # First in line, so that both see the batch and the hidden states whole.
        model.register_forward_pre_hook(self._before, with_kwargs=True, prepend=True)
        base.base_model.register_forward_hook(self._between, prepend=True)
        self._own_loss, self._own_batches = trainer.compute_loss, trainer.get_batch_samples
        trainer.compute_loss, trainer.get_batch_samples = self._compute_loss, self._get_batch_samples

    def _get_batch_samples(self, *given: Any, **more: Any) -> tuple[list[dict[str, Any]], Any]:
        """The batches of a step, whose pairs are counted here, over all processes."""
        batches, items = self._own_batches(*given, **more)
        accelerator = self._trainer.accelerator
        number = torch.tensor(sum(len(self._pairs(batch)) for batch in batches), device=accelerator.device)
        self._in_step = int(accelerator.reduce(number, "sum"))
        return batches, items

    def _before(self, model: torch.nn.Module, args: tuple[Any, ...], inputs: dict[str, Any]) -> None:
        self._inputs = inputs if model.training and inputs.get("labels") is not None else {}
        self._losses = None

    def _pairs(self, inputs: dict[str, Any]) -> list[tuple[tuple[int, Side], tuple[int, Side]]]:
        """The pairs of a batch, each by its true and its false side, with their rows."""
        (checksums, _, _), _ = sums_by_row(inputs, None)
        waiting: dict[int, tuple[int, Side]] = {}
        pairs = []
        for row, checksum in enumerate(checksums.tolist()):
            side = self.sides.get(checksum)
            if side is None:
                continue
            other = waiting.get(side.pair)
            if other is None or other[1].true == side.true:
                waiting[side.pair] = row, side
            else:
                pairs.append(((row, side), other) if side.true else (other, (row, side)))
                del waiting[side.pair]
        return pairs

    def _between(self, module: torch.nn.Module, args: tuple[Any, ...], outputs: Any) -> None:
        if not self._inputs:
            return
        inputs, self._inputs = self._inputs, {}
        hidden = outputs.last_hidden_state if hasattr(outputs, "last_hidden_state") else outputs[0]
        pairs = self._pairs(inputs)
        if not pairs:
            return
        rows, place, _, _ = where(inputs)
        flat = hidden.reshape(-1, hidden.shape[-1])
        starts = [
            int(((rows == number) & (place == side.place)).reshape(-1).nonzero()[0])
            for pair in pairs
            for number, side in pair
        ]
        logits = self._head(flat[starts]).float().reshape(len(pairs), 2, -1)
        verdicts = torch.tensor([true.verdicts for (_, true), _ in pairs], device=logits.device)
        margins = logits.gather(2, verdicts[:, None, :].expand(-1, 2, -1))
        leaning = margins[..., 0] - margins[..., 1]  # (pairs, 2): of the true row and of the false one
        self._losses = torch.nn.functional.softplus(leaning[:, 1] - leaning[:, 0])

    def _compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        own = self._own_loss(model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch)
        losses, self._losses = self._losses, None
        if losses is None:
            return own
        self._trainer._metrics["train"]["pairwise_loss"].append(float(losses.detach().mean()))
        # Gradients are averaged over the processes, and added up over the passes of a step.
        loss = losses.sum() * self._trainer.accelerator.num_processes / (self._in_step or len(losses))
        if num_items_in_batch is None:  # then the trainer divides by the passes of a step
            loss = loss * getattr(self._trainer, "current_gradient_accumulation_steps", 1)
        if return_outputs:
            return own[0] + WEIGHT * loss, own[1]
        return own + WEIGHT * loss
