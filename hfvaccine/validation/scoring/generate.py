"""Free-text answers, for judges to read."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hfvaccine.errors import ModelError, UsageError, ValidationError
from hfvaccine.regimen.positions import positions
from hfvaccine.regimen.rendering import opening, place
from hfvaccine.validation.scoring.adapter import ACTIVE, active, require_adapter
from hfvaccine.validation.scoring.tree import shared

BATCH_TOKENS = 2**13
"""Of the prompts that are answered together and of what may follow them. Of a small model a pass takes hardly longer
for many rows than for a few."""
SPARED = 2**9
"""Tokens that a pass for what prompts begin with must spare: it reads all weights once more."""
FILLED = 0.8
"""Answers that have ended leave a batch when no more than this share goes on: each time all that is kept is copied."""
Batch = list[tuple[int, ...]]
"""The token ids of prompts that are answered together."""
Choose = Callable[[Any, Sequence[int], int], list[int]]
"""The next tokens: from (rows, vocabulary) logits, which answers of a batch these are of, and how long those are."""


@dataclass(frozen=True)
class Sampling:
    """How answers are drawn.

    Every answer has random numbers of its own, by seed, prompt and number: what else is asked, and in which batch,
    changes it no more than rounding does.

    Args:
        samples: answers to each prompt.
        temperature: that the logits are divided by.
        seed: of all draws.

    Raises:
        UsageError: for no sample, or a temperature that is not above 0.
    """

    samples: int = 1
    temperature: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise UsageError(f"{self.samples} samples of each answer are asked for.", "Ask for at least one.")
        if not 0 < self.temperature < float("inf"):
            raise UsageError(
                f"Answers cannot be drawn at a temperature of {self.temperature}.",
                "Give one above 0, such as 1; greedy answers are not drawn.",
            )

    def numbers(self, prompt: Sequence[int], most: int) -> Any:
        """(samples, most) numbers from 0 to 1, one for each token that may follow a prompt."""
        drawn = []
        for sample in range(self.samples):
            digest = hashlib.sha256(f"{self.seed} {sample} {list(prompt)}".encode()).digest()
            drawn.append(np.random.default_rng(int.from_bytes(digest)).random(most))
        return np.stack(drawn)


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


def batched(rows: Sequence[Sequence[int]], max_new_tokens: int, samples: int = 1) -> list[Batch]:
    """The different ones of some rows, those of like lengths together, so that there is little padding.

    Args:
        rows: token ids of prompts.
        max_new_tokens: that may follow each.
        samples: answers to each.
    """
    batches: list[Batch] = []
    for row in sorted(set(map(tuple, rows)), key=lambda row: (len(row), row)):
        if not batches or (len(batches[-1]) + 1) * samples * (len(row) + max_new_tokens) > BATCH_TOKENS:
            batches.append([])
        batches[-1].append(row)
    return batches


def generate(
    model: Any,
    tokenizer: Any,
    batch: Batch,
    adapter: str | None,
    max_new_tokens: int,
    first_line: bool = False,
    sampling: Sampling | None = None,
) -> list[str]:
    """The answers to the prompts of one batch, see `answers`; drawn ones stand together by prompt."""
    import torch

    ends = endings(model, tokenizer)

    def over(tokens: Sequence[int]) -> bool:
        """Whether the first line is whole."""
        return first_line and "\n" in tokenizer.decode(tokens, skip_special_tokens=True).lstrip()

    choose = _likeliest if sampling is None else _drawing(sampling, batch, max_new_tokens)
    each = 1 if sampling is None else sampling.samples
    training = model.training
    model.eval()
    try:
        with torch.inference_mode(), active(model, adapter):
            decode = _decode if _keeps_a_cache(model) else _decode_by_library
            said = decode(model, batch, max_new_tokens, ends, over, choose, each)
    finally:
        model.train(training)
    texts = [text.strip() for text in tokenizer.batch_decode(said, skip_special_tokens=True)]
    return [text.split("\n", 1)[0].strip() for text in texts] if first_line else texts


def endings(model: Any, tokenizer: Any) -> set[int]:
    """The tokens that end an answer: of the model, of the tokenizer, and the one that ends turns in its chat template.

    A base may have a template whose turns end otherwise than its texts: what is trained on it ends its answers so.
    """
    config = model.generation_config.eos_token_id
    return ({*(config if isinstance(config, list) else [config]), tokenizer.eos_token_id} | _turn_end(tokenizer)) - {
        None
    }


def _turn_end(tokenizer: Any) -> set[int]:
    """The special token that stands after an answer; nothing where there is none."""
    if tokenizer.chat_template is None:
        return set()
    try:
        after = place(tokenizer, [{"role": "user", "content": "Hello."}]).after.lstrip()
    except ModelError:  # of conversations that it takes, and that are none of this form
        return set()
    first = tokenizer(after, add_special_tokens=False)["input_ids"][:1]
    return set(first) & set(tokenizer.all_special_ids)


def _likeliest(logits: Any, answers: Sequence[int], step: int) -> list[int]:
    """Greedy decoding; in float32, in which CPUs find the largest faster than in bfloat16."""
    return list(logits.float().argmax(-1).tolist())


def _drawing(sampling: Sampling, batch: Batch, most: int) -> Choose:
    """Drawing: the token at which the chances, added up in the order of the vocabulary, pass the answer's number."""
    import torch

    numbers = torch.from_numpy(np.concatenate([sampling.numbers(prompt, most) for prompt in batch]))

    def choose(logits: Any, answers: Sequence[int], step: int) -> list[int]:
        # In float64: over a whole vocabulary, sums in float32 would depend on how they are computed.
        chances = torch.softmax(logits.float() / sampling.temperature, dim=-1).cumsum(-1, dtype=torch.float64)
        marks = numbers[list(answers), step].to(chances.device)[:, None] * chances[:, -1:]
        tokens = torch.searchsorted(chances, marks, right=True).clamp(max=chances.shape[1] - 1)
        return list(tokens[:, 0].tolist())

    return choose


def _keeps_a_cache(model: Any) -> bool:
    """Whether positions can be told to a model, and all that it carries along are keys and values of every token."""
    config = model.config.get_text_config()
    windows = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size")]
    return "position_ids" in _takes(model) and not getattr(_inner(model), "_is_stateful", False) and not any(windows)


def _inner(model: Any) -> Any:
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def _takes(model: Any) -> Collection[str]:
    return inspect.signature(_inner(model).forward).parameters


def cache_argument(model: Any) -> str:
    """The name of the argument by which a model takes a cache; transformers drops the older one in version 5.40."""
    return "cache" if "cache" in _takes(model) else "past_key_values"


def _decode(
    model: Any,
    batch: Batch,
    most: int,
    ends: Collection[int],
    over: Callable[[Sequence[int]], bool],
    choose: Choose,
    each: int,
) -> list[list[int]]:
    """Decoding that computes each prompt once, and once what all begin with, and drops answers that have ended."""
    import torch
    from transformers import DynamicCache

    first = np.array(batch[0])
    stem = min(len(min(batch, key=len)) - 1, *(shared(first, np.array(row)) for row in batch))
    if stem * (len(batch) - 1) < SPARED:
        stem = 0
    ids, mask = _padded([prompt[stem:] for prompt in batch], 0, model.device)
    places = stem + (mask.cumsum(1) - 1).clamp(min=0)
    mask = torch.cat([mask.new_ones((len(batch), stem)), mask], dim=1)
    cache: Any = DynamicCache()
    options: dict[str, Any] = {cache_argument(model): cache, "use_cache": True}
    if "logits_to_keep" in _takes(model):
        # As a tensor: a slice is not contiguous, and a frozen head would be copied for each row of it.
        options["logits_to_keep"] = torch.tensor([-1], device=model.device)
    if stem:
        model(input_ids=torch.tensor([batch[0][:stem]], device=model.device), **options)
        cache.batch_repeat_interleave(len(batch))
    said: list[list[int]] = [[] for _ in batch for _ in range(each)]
    left = list(range(len(said)))
    logits = model(input_ids=ids, attention_mask=mask, position_ids=places, **options).logits[:, -1]
    if each > 1:
        cache.batch_repeat_interleave(each)
        logits, mask, places = (rows.repeat_interleave(each, dim=0) for rows in (logits, mask, places))
    going = set(left)
    for step in range(most):
        tokens = choose(logits, left, step)
        for answer, token in zip(left, tokens, strict=True):
            if answer in going and token not in ends:
                said[answer].append(token)
                if len(said[answer]) < most and not over(said[answer]):
                    continue
            going.discard(answer)
        if not going:
            break
        places = places[:, -1:] + 1
        if len(going) <= FILLED * len(left):
            lines = [line for line, answer in enumerate(left) if answer in going]
            left, tokens = [left[line] for line in lines], [tokens[line] for line in lines]
            kept = torch.tensor(lines, device=model.device)
            cache.batch_select_indices(kept)
            mask, places = mask[kept], places[kept]
        ids = torch.tensor(tokens, device=model.device)[:, None]
        mask = torch.cat([mask, mask.new_ones((len(left), 1))], dim=1)
        logits = model(input_ids=ids, attention_mask=mask, position_ids=places, **options).logits[:, -1]
    return said


def _decode_by_library(
    model: Any,
    batch: Batch,
    most: int,
    ends: Collection[int],
    over: Callable[[Sequence[int]], bool],
    choose: Choose,
    each: int,
) -> list[list[int]]:
    """The same for any model, by its own `generate`."""
    import torch
    from transformers import GenerationConfig

    pad = min(ends, default=0)
    batch = [row for row in batch for _ in range(each)]
    every = range(len(batch))
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
    ids, mask = _padded(batch, pad, model.device)
    width = ids.shape[1]

    def ended(out: Any, scores: Any, **more: Any) -> Any:
        return torch.tensor([over(row) for row in out[:, width:].tolist()], device=out.device)

    def chosen(out: Any, scores: Any) -> Any:
        tokens = torch.tensor(choose(scores, every, out.shape[1] - width), device=scores.device)
        return torch.full_like(scores, -torch.inf).scatter(1, tokens[:, None], 0.0)

    out = model.generate(
        input_ids=ids,
        attention_mask=mask,
        generation_config=greedy,
        stopping_criteria=[ended],
        logits_processor=[chosen],
    )
    rows = out[:, width:].tolist()
    lengths = [next((at for at, token in enumerate(row) if token in ends), len(row)) for row in rows]
    return [row[:length] for row, length in zip(rows, lengths, strict=True)]


def _padded(rows: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Any, Any]:
    """(rows, longest) token ids, filled up on the left, and the mask of what is no filling."""
    import torch

    width = max(map(len, rows))
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros_like(ids)
    for line, row in enumerate(rows):
        ids[line, width - len(row) :] = torch.tensor(row)
        mask[line, width - len(row) :] = 1
    return ids.to(device), mask.to(device)


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
