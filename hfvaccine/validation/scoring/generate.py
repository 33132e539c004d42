"""Free-text answers, for judges to read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from hfvaccine.errors import ValidationError
from hfvaccine.regimen.positions import positions
from hfvaccine.regimen.rendering import opening, place
from hfvaccine.validation.scoring.adapter import ACTIVE, active, require_adapter
from hfvaccine.validation.scoring.tree import shared

BATCH_TOKENS = 2**13
"""Of the prompts that are answered together, and of what may follow them: a pass of a small model takes hardly longer
for many rows than for a few."""
Batch = list[tuple[int, ...]]
"""The token ids of prompts that are answered together."""


def answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str | Sequence[Mapping[str, str]]],
    adapter: str | None = ACTIVE,
    max_new_tokens: int = 64,
    first_line: bool = False,
) -> list[str]:
    """What a model says by greedy decoding; the same at every call.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer; it needs no padding token.
        prompts: raw texts, or conversations, which are answered where training has the answer. Equal ones are
            answered once.
        adapter: of a `PeftModel`, the adapter that answers, None for the base; by default what is active.
        max_new_tokens: where an answer is cut off.
        first_line: end an answer with its first line.

    Raises:
        ValidationError: for an adapter that is not there, and for a prompt without tokens or room for an answer.
        ModelError: for a conversation that the chat template refuses.
    """
    require_adapter(model, adapter)
    rows = encode(model, tokenizer, prompts, max_new_tokens)
    said: dict[tuple[int, ...], str] = {}
    for batch in batched(rows, max_new_tokens):
        texts = generate(model, tokenizer, batch, adapter, max_new_tokens, first_line)
        said.update(zip(batch, texts, strict=True))
    return [said[tuple(row)] for row in rows]


def batched(rows: Sequence[Sequence[int]], max_new_tokens: int) -> list[Batch]:
    """The different ones of some rows, those of like lengths together, so that there is little padding.

    Args:
        rows: token ids of prompts.
        max_new_tokens: that may follow each.
    """
    batches: list[Batch] = []
    for row in sorted(set(map(tuple, rows)), key=lambda row: (len(row), row)):
        if not batches or (len(batches[-1]) + 1) * (len(row) + max_new_tokens) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(row)
    return batches


def generate(
    model: Any, tokenizer: Any, batch: Batch, adapter: str | None, max_new_tokens: int, first_line: bool
) -> list[str]:
    """The answers to the prompts of one batch, see `answers`."""
    import torch

    config = model.generation_config.eos_token_id
    ends = {*(config if isinstance(config, list) else [config]), tokenizer.eos_token_id} - {None}

    def over(tokens: Sequence[int]) -> bool:
        """Whether the first line is whole."""
        return first_line and "\n" in tokenizer.decode(tokens, skip_special_tokens=True).lstrip()

    training = model.training
    model.eval()
    try:
        with torch.inference_mode(), active(model, adapter):
            decode = _decode if _keeps_a_cache(model) else _decode_by_library
            said = decode(model, batch, max_new_tokens, ends, over)
    finally:
        model.train(training)
    texts = [text.strip() for text in tokenizer.batch_decode(said, skip_special_tokens=True)]
    return [text.split("\n", 1)[0].strip() for text in texts] if first_line else texts


def _keeps_a_cache(model: Any) -> bool:
    """Whether positions can be told to a model, and all that it carries along are keys and values of every token."""
    config = model.config.get_text_config()
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return "position_ids" in _takes(model) and not getattr(_inner(model), "_is_stateful", False) and not any(windows)


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _takes(model: Any) -> Collection[str]:
    return inspect.signature(_inner(model).forward).parameters


def _decode(
    model: Any, batch: Batch, most: int, ends: Collection[int], over: Callable[[Sequence[int]], bool]
) -> list[list[int]]:
    """Greedy decoding that computes what all prompts begin with once, and drops each row as it ends."""
    import torch
    from transformers import DynamicCache

    first = np.array(batch[0])
    stem = min(len(min(batch, key=len)) - 1, *(shared(first, np.array(row)) for row in batch))
    width = max(map(len, batch)) - stem
    ids, mask = torch.zeros((len(batch), width), dtype=torch.long), torch.zeros((len(batch), width), dtype=torch.long)
    for line, prompt in enumerate(batch):
        ids[line, width + stem - len(prompt) :] = torch.tensor(prompt[stem:])
        mask[line, width + stem - len(prompt) :] = 1
    ids, mask = ids.to(model.device), mask.to(model.device)
    places = stem + (mask.cumsum(1) - 1).clamp(min=0)
    mask = torch.cat([mask.new_ones((len(batch), stem)), mask], dim=1)
    cache: Any = DynamicCache()
    options: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
    if "logits_to_keep" in _takes(model):
        options["logits_to_keep"] = 1
    if stem:
        model(input_ids=torch.tensor([batch[0][:stem]], device=model.device), **options)
        cache.batch_repeat_interleave(len(batch))
    said: list[list[int]] = [[] for _ in batch]
    left = list(range(len(batch)))
    while True:
        logits = model(input_ids=ids, attention_mask=mask, position_ids=places, **options).logits
        tokens = logits[:, -1].argmax(-1).tolist()
        going = []
        for line, (row, token) in enumerate(zip(left, tokens, strict=True)):
            if token not in ends:
                said[row].append(token)
                if len(said[row]) < most and not over(said[row]):
                    going.append(line)
        if not going:
            return said
        places = places[:, -1:] + 1
        if len(going) < len(left):
            lines = torch.tensor(going, device=model.device)
            cache.batch_select_indices(lines)
            mask, places, left = mask[lines], places[lines], [left[line] for line in going]
        ids = torch.tensor([[tokens[line]] for line in going], device=model.device)
        mask = torch.cat([mask, mask.new_ones((len(going), 1))], dim=1)


def _decode_by_library(
    model: Any, batch: Batch, most: int, ends: Collection[int], over: Callable[[Sequence[int]], bool]
) -> list[list[int]]:
    """The same for any model, by its own `generate`."""
    import torch
    from transformers import GenerationConfig

    pad = min(ends, default=0)
    # A model's own settings (sampling, penalties) would make two arms answer by different rules.
    make: Any = GenerationConfig
    greedy = make(
        do_sample=False,
        num_beams=1,
        repetition_penalty=1.0,
        max_new_tokens=most,
        eos_token_id=sorted(ends) or None,
        pad_token_id=pad,
    )
    width = max(map(len, batch))
    ids = torch.full((len(batch), width), pad)
    mask = torch.zeros_like(ids)
    for line, row in enumerate(batch):
        ids[line, width - len(row) :] = torch.tensor(row)
        mask[line, width - len(row) :] = 1

    def ended(out: Any, scores: Any, **more: Any) -> Any:
        return torch.tensor([over(row) for row in out[:, width:].tolist()], device=out.device)

    out = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        generation_config=greedy,
        stopping_criteria=[ended],
    )
    rows = out[:, width:].tolist()
    lengths = [next((at for at, token in enumerate(row) if token in ends), len(row)) for row in rows]
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


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
