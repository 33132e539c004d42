"""Training without wasted work: no padding, attention row by row, the output head only where there is loss.

Dose rows are short and stand among long rows of the mix in every step, so a
padded batch would be filled up to half with padding, and grouping rows by
length would break the dose's share. A flattened batch has no padding, and the
same loss.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from hfvaccine.regimen.measure import IGNORED

ATTENTION = "row_by_row"


def remove_padding(trainer: Any) -> bool:
    """Make a `trl.SFTTrainer` flatten its batches, with the same loss.

    Args:
        trainer: a trainer that pads, not yet trained. Its model must not be used for
            padded generation afterwards.

    Returns:
        Whether it was done: models with another kind of attention than full causal attention keep their batches.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config()
    special = ("sliding_window", "attn_logit_softcapping", "attention_chunk_size", "layer_types")
    full = all(
        getattr(config, name, None) is None or set(config.layer_types) == {"full_attention"} for name in special
    )
    if not full or not base._supports_attention_backend or getattr(config, "is_encoder_decoder", False):
        return False
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, row_by_row)
    base.set_attn_implementation(ATTENTION)
    trainer.data_collator.padding_free = True
    if not torch.cuda.is_available():
        head_where_there_is_loss(base)  # TRL does so itself on a GPU
    return True


def row_by_row(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention of each row of a flattened batch to itself, as an attention function of transformers.

    Args:
        module: the attention layer.
        query: (1, heads, tokens, head dimension); key and value likewise, with their own number of heads.
        attention_mask: unused: a flattened batch has none.
        dropout: probability.
        scaling: of the scores.
        kwargs: `cu_seq_lens_q`, (rows + 1,) where each row begins; without it all tokens are one row.

    Returns:
        (1, tokens, heads, head dimension), and no weights.
    """
    bounds = kwargs.get("cu_seq_lens_q")
    lengths = [query.shape[2]] if bounds is None else _lengths(bounds)
    grouped = key.shape[1] != query.shape[1]
    rows = [
        scaled_dot_product_attention(q, k, v, dropout_p=dropout, scale=scaling, is_causal=True, enable_gqa=grouped)
        for q, k, v in zip(*(torch.split(x, lengths, dim=2) for x in (query, key, value)), strict=True)
    ]
    return torch.cat(rows, dim=2).transpose(1, 2).contiguous(), None


def _lengths(bounds: torch.Tensor) -> list[int]:
    """Row lengths, taken off the device once for all layers."""
    lengths: list[int] | None = getattr(bounds, "row_lengths", None)
    if lengths is None:
        lengths = bounds.diff().tolist()
        bounds.row_lengths = lengths  # type: ignore[attr-defined]
    return lengths


def head_where_there_is_loss(model: Any) -> None:
    """Make TRL's fused output head score only the tokens with loss.

    On a GPU it does so itself; elsewhere it scores every token and masks, which on rows with long prompts is
    most of a step's work on a small model. Uses that it takes labels that are shifted already.
    """
    wanted: list[torch.Tensor] = []

    def before(module: Any, args: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]] | None:
        wanted.clear()
        if not inputs.get("fused_lm_head") or inputs.get("labels") is None:
            return None
        labels = inputs["labels"][:, 1:]
        mask = labels != IGNORED
        if not mask.any():
            return None
        wanted.append(mask)
        return args, {**inputs, "labels": None, "shift_labels": labels[mask][None]}

    def between(module: Any, args: Any, outputs: Any) -> Any:
        if wanted:
            outputs.last_hidden_state = outputs.last_hidden_state[:, :-1][wanted.pop()][None]
        return outputs

    model.register_forward_pre_hook(before, with_kwargs=True)
    model.base_model.register_forward_hook(between)
