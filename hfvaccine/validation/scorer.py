"""Exact log-likelihoods of answers under a causal language model."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hfvaccine.errors import ValidationError
from hfvaccine.validation.statistics import Floats


@dataclass(frozen=True)
class Request:
    """An answer whose likelihood is asked for.

    Args:
        prompt: the user turn.
        answer: the assistant's text.
    """

    prompt: str
    answer: str


class Scorer:
    """Scores answers with one model.

    Args:
        model: a causal language model, with or without adapter; moved nowhere, left in eval mode.
        tokenizer: its tokenizer, with a chat template.
        batch_tokens: padded tokens of one forward pass.
    """

    def __init__(self, model: Any, tokenizer: Any, batch_tokens: int = 4096) -> None:
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.batch_tokens = batch_tokens

    @torch.inference_mode()
    def loglikelihoods(
        self, requests: Sequence[Request], progress: Callable[[int], None] | None = None
    ) -> tuple[Floats, Floats]:
        """Log-likelihood of each answer given its prompt, and its number of tokens.

        Requests with the same input tokens (such as the verdicts "True" and
        "False" to one statement) share one row of one forward pass.

        Args:
            requests: what to score.
            progress: called with the number of requests done since the last call.

        Returns:
            (requests,) sums of log-probabilities in nats, and (requests,) answer tokens.

        Raises:
            ValidationError: for an answer without tokens, or a model that returns NaN.
        """
        encoded = [self._encode(request) for request in requests]
        rows: dict[tuple[int, ...], list[int]] = {}
        for number, (ids, _) in enumerate(encoded):
            rows.setdefault(tuple(ids[:-1]), []).append(number)
        totals = np.zeros(len(requests))
        # The last positions are a slice of the hidden states. Of a slice and a frozen head, torch.matmul makes a
        # batched product that copies the head once a row (15 times slower); of a contiguous input it does not.
        head = self.model.get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda module, inputs: (inputs[0].contiguous(), *inputs[1:]))
        try:
            self._fill(totals, encoded, rows, progress)
        finally:
            hook.remove()
        if not np.isfinite(totals).all():
            bad = requests[int(np.flatnonzero(~np.isfinite(totals))[0])]
            raise ValidationError(
                f"The model gives {bad.answer[:40]!r} a likelihood that is not a number.",
                "Load it in float32, or check its weights.",
            )
        return totals, np.array([len(ids) - start for ids, start in encoded], dtype=np.float64)

    def _fill(
        self,
        totals: Floats,
        encoded: Sequence[tuple[list[int], int]],
        rows: Mapping[tuple[int, ...], Sequence[int]],
        progress: Callable[[int], None] | None,
    ) -> None:
        shared = self._shared(list(rows))
        for batch in self._batches(sorted(rows, key=len, reverse=True)):
            answers = max(len(encoded[n][0]) - encoded[n][1] for row in batch for n in rows[row])
            logits = self._last_logits(batch, answers, shared)
            for row, row_logits in zip(batch, logits, strict=True):
                for number in rows[row]:
                    ids, start = encoded[number]
                    target = torch.tensor(ids[start:], device=row_logits.device)
                    logprobs = torch.log_softmax(row_logits[-len(target) :].float(), dim=-1)
                    totals[number] = logprobs.gather(1, target[:, None]).sum().item()
            if progress is not None:
                progress(sum(len(rows[row]) for row in batch))

    def _encode(self, request: Request) -> tuple[list[int], int]:
        """Token ids of prompt and answer, and where the answer begins (where the two tokenizations part)."""
        text = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": request.prompt}], tokenize=False, add_generation_prompt=True
        )
        alone = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = self.tokenizer(text + request.answer, add_special_tokens=False)["input_ids"]
        start = next(
            (i for i, (a, b) in enumerate(zip(alone, ids, strict=False)) if a != b), min(len(alone), len(ids))
        )
        if start >= len(ids) or start == 0:
            raise ValidationError(f"The answer {request.answer!r} has no tokens.", "Score a text that is not empty.")
        return ids, start

    def _batches(self, rows: Sequence[tuple[int, ...]]) -> list[list[tuple[int, ...]]]:
        batches: list[list[tuple[int, ...]]] = []
        for row in rows:  # longest first: the first row of a batch sets its padding
            if not batches or (len(batches[-1]) + 1) * len(batches[-1][0]) > self.batch_tokens:
                batches.append([])
            batches[-1].append(row)
        return batches

    def _shared(self, rows: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], Any]:
        """The tokens that every row begins with (the chat template's system turn), and their keys and values."""
        first, last = min(rows, default=()), max(rows, default=())
        alike = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
        start = first[: max(0, min(alike, min(map(len, rows), default=0) - 1))]
        if not start or len(rows) < 2:
            return (), None
        output = self.model(
            input_ids=torch.tensor([start], device=self.model.device), use_cache=True, logits_to_keep=1
        )
        return start, output.past_key_values

    def _last_logits(
        self, batch: Sequence[tuple[int, ...]], keep: int, shared: tuple[tuple[int, ...], Any]
    ) -> torch.Tensor:
        """(rows, keep, vocabulary) logits of the last `keep` positions; rows are padded between start and rest."""
        start, cache = shared
        if keep > len(batch[-1]) - len(start):
            start, cache = (), None
        width = len(batch[0]) - len(start)
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, row in enumerate(batch):
            rest = row[len(start) :]
            ids[number, width - len(rest) :] = torch.tensor(rest)
            mask[number, width - len(rest) :] = 1
        positions = (mask.cumsum(1) - 1).clamp(min=0) + len(start)
        if cache is not None:
            cache = copy.deepcopy(cache)  # a forward pass appends to it
            cache.batch_repeat_interleave(len(batch))
            mask = torch.cat([torch.ones((len(batch), len(start)), dtype=torch.long), mask], dim=1)
        device = self.model.device
        output = self.model(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            position_ids=positions.to(device),
            past_key_values=cache,
            logits_to_keep=keep,
            use_cache=cache is not None,
        )
        logits: torch.Tensor = output.logits
        return logits
