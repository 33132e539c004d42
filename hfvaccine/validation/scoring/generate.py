"""Free-text answers, for judges to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hfvaccine.errors import ValidationError
from hfvaccine.regimen.positions import positions
from hfvaccine.regimen.rendering import opening, place
from hfvaccine.validation.scoring.adapter import ACTIVE, active, require_adapter
from hfvaccine.validation.scoring.tree import shared

BATCH = 16


def answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str | Sequence[Mapping[str, str]]],
    adapter: str | None = ACTIVE,
    max_new_tokens: int = 64,
) -> list[str]:
    """What a model says by greedy decoding; the same at every call.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer; it needs no padding token.
        prompts: raw texts, or conversations, which are answered where training has the answer.
        adapter: of a `PeftModel`, the adapter that answers, None for the base; by default what is active.
        max_new_tokens: where an answer is cut off.

    Raises:
        ValidationError: for an adapter that is not there, and for a prompt without tokens or room for an answer.
        ModelError: for a conversation that the chat template refuses.
    """
    import torch
    from transformers import GenerationConfig

    require_adapter(model, adapter)
    rows = encode(model, tokenizer, prompts, max_new_tokens)
    end = model.generation_config.eos_token_id
    if end is None:
        end = tokenizer.eos_token_id
    pad = tokenizer.pad_token_id
    if pad is None:
        pad = end[0] if isinstance(end, list) else end or 0
    # A model's own settings (sampling, penalties) would make two arms answer by different rules.
    make: Any = GenerationConfig
    greedy = make(
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        max_new_tokens=max_new_tokens,
        eos_token_id=end,
        pad_token_id=pad,
    )
    said = [""] * len(rows)
    order = sorted(range(len(rows)), key=lambda number: (len(rows[number]), number))  # like lengths: little padding
    training = model.training
    model.eval()
    try:
        with torch.inference_mode(), active(model, adapter):
            for at in range(0, len(order), BATCH):
                batch = order[at : at + BATCH]
                width = max(len(rows[number]) for number in batch)
                ids = torch.full((len(batch), width), pad)
                mask = torch.zeros((len(batch), width), dtype=torch.long)
                for line, number in enumerate(batch):
                    ids[line, width - len(rows[number]) :] = torch.tensor(rows[number])
                    mask[line, width - len(rows[number]) :] = 1
                out = model.generate(
                    input_ids=ids.to(model.device), attention_mask=mask.to(model.device), generation_config=greedy
                )
                texts = tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
                for number, text in zip(batch, texts, strict=True):
                    said[number] = text.strip()
    finally:
        model.train(training)
    return said


def encode(
    model: Any, tokenizer: Any, prompts: Sequence[str | Sequence[Mapping[str, str]]], max_new_tokens: int
) -> list[list[int]]:
    """Token ids of prompts, up to where their answers begin.

    Args:
        model, tokenizer, prompts, max_new_tokens: as in `answers`.

    Raises:
        ValidationError: for a prompt without tokens or room for an answer.
        ModelError: for a conversation that the chat template refuses.
    """
    rows = [_encode(tokenizer, prompt) for prompt in prompts]
    room = positions(model.config)
    for row in rows:
        if not row or (room is not None and len(row) + max_new_tokens > room):
            raise ValidationError(
                f"A prompt has {len(row)} tokens, and {max_new_tokens} are to follow it; the model takes {room}.",
                "Ask for shorter answers, or leave the prompt out.",
            )
    return rows


def _encode(tokenizer: Any, prompt: str | Sequence[Mapping[str, str]]) -> list[int]:
    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    if isinstance(prompt, str):
        head, row = opening(tokenizer), ids(prompt)
        return row if row[: len(head)] == head else head + row
    around = place(tokenizer, prompt)
    row = ids(around.text)
    return row[
        : shared(np.array(ids(around.before)), np.array(row))
    ]  # a space may be part of the answer's first token
