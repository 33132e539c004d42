"""Sees what really reaches the model while it trains: rows, told by their checksums, and the loss on each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hfvaccine.regimen.measure import IGNORED, Ints, scramble


@dataclass(frozen=True)
class Seen:
    """Rows that reached the model of this process, in order.

    Args:
        checksums: (rows,) as `hfvaccine.regimen.measure` makes them.
        tokens: (rows,) tokens of each row.
        supervised: (rows,) tokens with loss.
        loss: (rows,) summed negative log-likelihood of the tokens with loss, NaN where the model did not tell.
    """

    checksums: Ints
    tokens: Ints
    supervised: Ints
    loss: np.typing.NDArray[np.float64]


class Watch:
    """A forward hook on a model; takes nothing off the device until it is asked.

    Args:
        model: the trainer's model, not wrapped for distribution.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._seen: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._inputs: dict[str, Any] = {}
        # First in line, so that it sees the inputs as the trainer gives them.
        self._handles = (
            model.register_forward_pre_hook(self._before, with_kwargs=True, prepend=True),
            model.register_forward_hook(self._after),
        )

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()

    def take(self) -> Seen:
        """What came since the last call."""
        counts = [c.cpu().numpy() for c, _ in self._seen]
        losses = [loss.cpu().numpy() for _, loss in self._seen]
        self._seen.clear()
        if not counts:
            none = np.zeros(0, np.int64)
            return Seen(none, none, none, np.zeros(0))
        rows = np.concatenate(counts, axis=1)
        return Seen(rows[0], rows[1], rows[2], np.concatenate(losses).astype(np.float64))

    def _before(self, model: torch.nn.Module, args: tuple[Any, ...], inputs: dict[str, Any]) -> None:
        self._inputs = inputs if model.training and inputs.get("labels") is not None else {}

    def _after(self, model: torch.nn.Module, args: tuple[Any, ...], output: Any) -> None:
        if self._inputs:
            with torch.no_grad():
                self._seen.append(sums_by_row(self._inputs, getattr(output, "log_probs", None)))
            self._inputs = {}


def sums_by_row(inputs: dict[str, Any], log_probs: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Checksum, tokens, supervised tokens and loss of each row of a batch, padded or flattened (padding-free).

    Args:
        inputs: `input_ids` (batch, length) and `labels`, with an `attention_mask`, or with the
            `position_ids` of a flattened batch, which begin anew with each row.
        log_probs: of each next token: (batch, length - 1) with 0 where there is no loss, or of the
            tokens with loss alone, in order; None where unknown.

    Returns:
        (3, rows) integers, and (rows,) losses.
    """
    ids, labels = inputs["input_ids"], inputs["labels"]
    row, place, real, rows = where(inputs)
    labels = labels.masked_fill(place == 0, IGNORED)
    supervised = real & (labels != IGNORED)
    each = torch.stack((scramble(ids, labels, place) * real, real.long(), supervised.long()))
    counts = torch.zeros(3, rows, dtype=torch.int64, device=ids.device)
    counts.index_add_(1, row.reshape(-1), each.reshape(3, -1))
    loss = torch.full((rows,), torch.nan, device=ids.device)
    if log_probs is not None:
        of_token = row[:, 1:][labels[:, 1:] != IGNORED] if log_probs.shape != labels[:, 1:].shape else row[:, 1:]
        if of_token.numel() == log_probs.numel():
            loss = torch.zeros(rows, device=ids.device)
            loss.index_add_(0, of_token.reshape(-1), -log_probs.detach().float().reshape(-1))
    if inputs.get("attention_mask") is None:
        # Padding at the end of a flattened batch looks like rows of one token without loss.
        kept = (counts[1] > 1) | (counts[2] > 0)
        counts, loss = counts[:, kept], loss[kept]
    return counts, loss


def where(inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Which row each token of a batch belongs to, its place in the row, whether it is no padding; and the rows.

    Args:
        inputs: as for `sums_by_row`.

    Returns:
        Three tensors (batch, length), and the number of rows.
    """
    ids = inputs["input_ids"]
    mask: torch.Tensor | None = inputs.get("attention_mask")
    if mask is None:
        place = inputs["position_ids"]
        row = (place == 0).long().cumsum(dim=1) - 1
        rows = int(inputs["cu_seq_lens_q"].numel() - 1) if "cu_seq_lens_q" in inputs else int(row.max()) + 1
        return row, place, torch.ones_like(ids, dtype=torch.bool), rows
    row = torch.arange(ids.shape[0], device=ids.device)[:, None].expand_as(ids)
    return row, mask.long().cumsum(dim=1) - 1, mask.bool(), ids.shape[0]
