"""Training without wasted work: no padding, attention row by row, the output head only where there is loss.

Dose rows are short and stand among long rows of the mix in every step, so a
padded batch would be filled up to half with padding, and grouping rows by
length would break the dose's share. A flattened batch has no padding, and the
same loss: but only where each row attends to itself alone, which no setting of
a model tells, so that it is tried out on the model itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from hfvaccine.regimen.measure import IGNORED

ATTENTION = "row_by_row"
TRIED = (7, 12, 5)
"""Lengths of the rows that a model is tried with."""
SHORT = 256
"""Tokens of a row up to which a CPU attends faster in float32 than in bfloat16, twice and more, forth and back."""
UNKEPT = ("softcap", "s_aux", "head_mask")
"""What some layers ask of an attention function, and this one does not do."""


def remove_padding(trainer: Any) -> bool:
    """Make a `trl.SFTTrainer` flatten its batches, with the same loss.

    Args:
        trainer: a trainer that pads, not yet trained. Its model must not be used for
            padded generation afterwards.

    Returns:
        Whether it was done: models in which a flattened row is not what it is alone, or that look back over less
        than the longest row, keep their batches.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    if not base._supports_attention_backend or looks_back_less(base, trainer.args.max_length):
        return False
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, row_by_row)
    if not rows_stand_alone(base, trainer.data_collator):
        return False
    base.set_attn_implementation(ATTENTION)
    trainer.data_collator.padding_free = True
    if not torch.cuda.is_available():
        head_where_there_is_loss(base)  # TRL does so itself on a GPU
    return True


def looks_back_less(model: Any, longest: int | None) -> bool:
    """Whether a layer of a model may attend to less than all that stands before, in a row of the longest length."""
    config = model.config.get_text_config()
    layers = getattr(config, "layer_types", None)
    if layers is not None and set(layers) == {"full_attention"}:
        return False
    windows = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    return any(window is not None and (longest is None or window < longest) for window in windows)


def rows_stand_alone(model: Any, collator: Any) -> bool:
    """Whether rows in one flattened batch get the logits that each has alone, under the model's own attention.

    Args:
        model: a causal language model; it is left as it was.
        collator: TRL's, which flattens.
    """
    own, training = model.config._attn_implementation, model.training
    random = torch.Generator().manual_seed(0)
    rows = [torch.randint(model.config.get_text_config().vocab_size, (n,), generator=random) for n in TRIED]
    flat = copy.copy(collator)
    flat.padding_free = True
    batch = flat([{"input_ids": row.tolist(), "labels": row.tolist()} for row in rows])
    batch = {name: x.to(model.device) if hasattr(x, "to") else x for name, x in batch.items() if name != "labels"}
    model.eval()
    try:
        with torch.no_grad():
            alone = torch.cat([model(input_ids=row[None].to(model.device)).logits for row in rows], dim=1).float()
            model.set_attn_implementation(ATTENTION)
            together = model(**batch).logits.float()
        # Another order of sums rounds otherwise; another row in sight changes whole digits.
        return bool((together - alone).norm() <= torch.finfo(model.dtype).eps ** 0.5 * alone.norm())
    except (RuntimeError, TypeError, ValueError):  # it cannot take such a batch
        return False
    finally:
        model.set_attn_implementation(own)
        model.train(training)


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

    Raises:
        NotImplementedError: for a layer that asks for more than full causal attention.
    """
    for name in UNKEPT:
        if kwargs.get(name) is not None:
            raise NotImplementedError(name)
    bounds = kwargs.get("cu_seq_lens_q")
    lengths = [query.shape[2]] if bounds is None else _lengths(bounds)
    grouped = key.shape[1] != query.shape[1]
    fast = module.training and query.device.type == "cpu"
    attend = partial(
        scaled_dot_product_attention, dropout_p=dropout, scale=scaling, is_causal=True, enable_gqa=grouped
    )
    rows = [
        _in_float32(attend, row) if fast and row[0].shape[2] < SHORT else attend(*row)
        for row in zip(*(torch.split(x, lengths, dim=2) for x in (query, key, value)), strict=True)
    ]
    return torch.cat(rows, dim=2).transpose(1, 2).contiguous(), None


def _in_float32(attend: Callable[..., torch.Tensor], row: tuple[torch.Tensor, ...]) -> torch.Tensor:
    with torch.autocast("cpu", enabled=False):
        return attend(*(x.float() for x in row)).to(row[-1].dtype)


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
