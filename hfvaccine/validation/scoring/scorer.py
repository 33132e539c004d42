"""Exact log-likelihoods of answers under a causal language model, each distinct token computed about once."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from hfvaccine.errors import ValidationError
from hfvaccine.regimen.positions import positions
from hfvaccine.regimen.rendering import MARK, Place, answered, opening, place
from hfvaccine.statistics import Floats
from hfvaccine.validation.scores import Request, Scored
from hfvaccine.validation.scoring.adapter import ACTIVE, active, require_adapter
from hfvaccine.validation.scoring.cache import ScoreCache
from hfvaccine.validation.scoring.generate import Batch, Sampling, batched, cache_argument, encode, endings, generate
from hfvaccine.validation.scoring.tree import Ints, Leaf, Pass, Row, Tree, Unit, batches, grow, passes, shared, units
from hfvaccine.validation.scoring.weights import fingerprint

BATCH_TOKENS = {"cpu": 512}
BATCH_TOKENS_ELSEWHERE = 4096
LOGITS_AT_ONCE = 2**24
"""Logits whose softmax is taken at once, in float32."""
ADDED = 8
"""Tokens at most that a tokenizer puts before a text, or that begin one, whatever it says."""
SHOWN = 40
"""Characters of an answer that an error shows."""

Progress = Callable[[int], Any]
Tell = Callable[[int, int], None]
"""Is told which of a tree's nodes are done: from one to before another."""
Results = tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class Work:
    """What the last call came to.

    Args:
        requests: how many were asked.
        asked: tokens of all requests, each by itself.
        tree: distinct tokens among them: in a trie of all requests, less the last token of each.
        computed: tokens that went through the model, in all processes together.
        found: tokens that the cache spared.
    """

    requests: int = 0
    asked: int = 0
    tree: int = 0
    computed: int = 0
    found: int = 0


class Scorer:
    """Scores answers with one model.

    Requests that begin alike share the work: all of them form a trie, whose nodes a forward pass computes in one row
    under a mask that lets each see its ancestors. Where the model cannot have that (a recurrent state, positions
    that are not its own to choose, a sliding window), it gets plain padded batches, with the same answers. In
    several processes the work is divided, each must ask the same, and each gets all answers.

    Args:
        model: a causal language model; moved nowhere, left in eval mode.
        tokenizer: its tokenizer; conversations need a chat template.
        adapter: of a `PeftModel`, the adapter to score, None for the base; by default what is active. What was active
            is so afterwards.
        cache: scores that are known already; new ones are added.
        batch_tokens: tokens of one forward pass.

    Raises:
        ValidationError: for an adapter that the model does not have.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        adapter: str | None = ACTIVE,
        cache: ScoreCache | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        require_adapter(model, adapter)
        self.model = model.eval()
        self.tokenizer = tokenizer
        self.adapter = adapter
        self.cache = cache
        self.batch_tokens = batch_tokens or BATCH_TOKENS.get(self.model.device.type, BATCH_TOKENS_ELSEWHERE)
        self.work = Work()
        self.divided = True
        """Whether several processes divide the work; not where each has requests of its own."""
        self._heeds_trees: bool | None = None

    def score(self, requests: Sequence[Request], progress: Progress | None = None) -> Scored:
        """Log-likelihoods of answers given their prompts.

        Args:
            requests: what to score.
            progress: called with the number of requests done since the last call.

        Raises:
            ValidationError: for an answer without tokens, one that is longer than the model's positions with its
                prompt, or a model that gives no finite likelihood.
        """
        return self.score_tokens(self._encode(requests), progress)

    def check(self, requests: Sequence[Request]) -> None:
        """Refuse what `score` would refuse of its requests, and compute nothing.

        Args:
            requests: what is to be scored.

        Raises:
            ValidationError: for an answer without tokens, and one without room.
            ModelError: for a conversation that the chat template refuses.
        """
        room = positions(self.model.config)
        answers = list({request.answer: None for request in requests})
        spoken = dict(zip(answers, map(len, self._tokenize(answers)), strict=True))
        doubtful = []
        for request, one in zip(requests, self._places(requests), strict=True):
            # A token stands for at least one byte of what a tokenizer makes of a text, and ASCII it never lengthens.
            short = room is None or (one.text.isascii() and len(one.text) + ADDED <= room)
            if not (short and spoken[request.answer] and any(map(str.isalnum, request.answer))):
                doubtful.append(request)
        self._check(self._encode(doubtful))

    def answers(
        self,
        prompts: Sequence[str | Sequence[Mapping[str, str]]],
        max_new_tokens: int,
        first_line: bool = False,
        progress: Progress | None = None,
    ) -> list[str]:
        """What the model says by greedy decoding, each different prompt answered once; see `generate.answers`.

        Args:
            prompts: raw texts or conversations.
            max_new_tokens: where an answer is cut off.
            first_line: end an answer with its first line.
            progress: called with the number of different prompts done since the last call.

        Raises:
            ValidationError: for a prompt without tokens or room for an answer.
            ModelError: for a conversation that the chat template refuses.
        """
        said = self._ask(prompts, max_new_tokens, first_line, None, progress)
        return [text for (text,) in said]

    def samples(
        self,
        prompts: Sequence[str | Sequence[Mapping[str, str]]],
        max_new_tokens: int,
        sampling: Sampling,
        progress: Progress | None = None,
    ) -> list[list[str]]:
        """What the model says where its answers are drawn; of equal prompts the same answers.

        Args:
            prompts: raw texts or conversations.
            max_new_tokens: where an answer is cut off.
            sampling: how many answers, and how they are drawn.
            progress: called with the number of different prompts done since the last call.

        Returns:
            The answers to each prompt.

        Raises:
            ValidationError: for a prompt without tokens or room for an answer.
            ModelError: for a conversation that the chat template refuses.
        """
        return self._ask(prompts, max_new_tokens, False, sampling, progress)

    def _ask(
        self,
        prompts: Sequence[str | Sequence[Mapping[str, str]]],
        max_new_tokens: int,
        first_line: bool,
        sampling: Sampling | None,
        progress: Progress | None,
    ) -> list[list[str]]:
        rows = encode(self.model, self.tokenizer, prompts, max_new_tokens)
        each = 1 if sampling is None else sampling.samples
        work = batched(rows, max_new_tokens, each)
        processes = _processes() if self.divided else 1
        said: dict[tuple[int, ...], list[str]] = {}
        for number in _share([len(batch) for batch in work], processes):
            texts = self._say(work[number], max_new_tokens, first_line, sampling)
            said.update((row, texts[at * each : (at + 1) * each]) for at, row in enumerate(work[number]))
            if progress is not None:
                progress(len(work[number]))
        if processes > 1:
            shares: list[Any] = [None] * processes
            torch.distributed.all_gather_object(shares, said)
            said = {row: texts for share in shares for row, texts in share.items()}
        return [said[tuple(row)] for row in rows]

    def _say(self, batch: Batch, max_new_tokens: int, first_line: bool, sampling: Sampling | None) -> list[str]:
        def say() -> list[str]:
            return generate(self.model, self.tokenizer, batch, self.adapter, max_new_tokens, first_line, sampling)

        if self.cache is None:
            return say()
        with active(self.model, self.adapter):
            digest = hashlib.sha256(fingerprint(self.model, self.adapter).encode())
        how = f"{sampling} {max_new_tokens} {first_line} {sorted(endings(self.model, self.tokenizer))}"
        digest.update(f"answers {self.model.dtype} {how} {batch}".encode())
        texts = self.cache.get_texts(digest.digest())
        if texts is None:
            texts = say()
            self.cache.put_texts(digest.digest(), texts)
        return texts

    @torch.inference_mode()
    def score_tokens(self, rows: Sequence[Row], progress: Progress | None = None) -> Scored:
        """As `score`, of token ids with the place where the answer begins, at least 1."""
        self._check(rows)
        tree = grow(rows)
        logprobs, greedy = np.zeros(len(tree.node)), np.zeros(len(tree.node), dtype=bool)
        computed, found = self._fill(tree, logprobs, greedy, progress or (lambda done: None))
        asked = sum(len(ids) for ids, _ in rows)
        self.work = Work(len(rows), asked, len(tree.tokens), computed, found)
        starts = tree.offsets[:-1]
        totals = np.add.reduceat(logprobs[tree.answers], starts) if len(rows) else np.zeros(0)
        said = np.logical_and.reduceat(greedy[tree.answers], starts) if len(rows) else np.zeros(0, dtype=bool)
        if not np.isfinite(totals).all():
            bad = rows[int(np.flatnonzero(~np.isfinite(totals))[0])]
            raise ValidationError(
                f"The model gives {self._shown(bad)!r} a likelihood that is not a number.",
                "Load it in float32, or check its weights.",
            )
        return Scored(totals, np.diff(tree.offsets).astype(np.float64), said)

    def encode(self, request: Request) -> tuple[list[int], int]:
        """Token ids of prompt and answer, and where the answer begins.

        An answer begins where the tokens of prompt and answer part from those of the prompt alone; of raw text,
        trailing spaces of the prompt count with the answer, as in lm-eval. A token that lies over the join counts
        with the answer. Of a conversation it is the answer where training has it (see
        `hfvaccine.regimen.rendering`), without what ends the turn. An empty prompt is the token that begins a text.

        Raises:
            ValidationError: for an answer without tokens.
            ModelError: for a conversation that the chat template refuses.
        """
        ids, start = self._encode([request])[0]
        return np.asarray(ids).tolist(), start

    def _places(self, requests: Sequence[Request]) -> list[Place]:
        """Each request as the text that the model reads, with what is before and after its answer."""
        known: dict[int, Place] = {}  # by identity: the requests hold on to their prompts meanwhile
        places: list[Place] = []
        for request in requests:
            if isinstance(request.prompt, str):
                context = request.prompt.rstrip()
                places.append(Place(context, request.prompt[len(context) :] + request.answer, ""))
                continue
            if id(request.prompt) not in known:
                known[id(request.prompt)] = place(self.tokenizer, request.prompt)
            places.append(answered(self.tokenizer, known[id(request.prompt)], request.prompt, request.answer))
        return places

    def _encode(self, requests: Sequence[Request]) -> list[Row]:
        places = self._places(requests)
        befores, afters = ({getattr(one, side): None for one in places} for side in ("before", "after"))
        tokens = dict(zip(befores, self._tokenize(list(befores)), strict=True))
        mark, *ended = self._tokenize([MARK, *(MARK + after for after in afters)])
        tails = {after: ids[shared(mark, ids) :] for after, ids in zip(afters, ended, strict=True)}
        head = np.array(opening(self.tokenizer), dtype=np.int32)
        rows: list[Row] = []
        for request, one, ids in zip(requests, places, self._tokenize([one.text for one in places]), strict=True):
            start = shared(tokens[one.before], ids)
            ids = ids[: len(ids) - shared(tails[one.after][::-1], ids[start:][::-1])]
            if isinstance(request.prompt, str) and one.before and shared(head, ids) < len(head):
                ids, start = np.concatenate([head, ids]), len(head) + start
            if start == 0:
                first = np.array([self._opening()], dtype=np.int32)
                ids, start = ids if shared(first, ids) else np.concatenate([first, ids]), 1
            if start >= len(ids):
                raise ValidationError(
                    f"The answer {request.answer[:SHOWN]!r} has no tokens.", "Score a text that is not empty."
                )
            rows.append((ids, start))
        return rows

    def _check(self, rows: Sequence[Row]) -> None:
        room = positions(self.model.config)
        for ids, start in rows:
            if not 0 < start < len(ids):
                raise ValidationError(
                    f"The answer of a row of {len(ids)} tokens begins at {start}.",
                    "Leave a token on either side of it.",
                )
            if room is not None and len(ids) - 1 > room:
                answer = self._shown((ids, start))
                raise ValidationError(
                    f"{answer!r} has {len(ids)} tokens with its prompt, and the model has {room} positions.",
                    "Shorten the prompt, leave the row out, or take a model with more positions.",
                )

    def _tokenize(self, texts: Sequence[str]) -> list[npt.NDArray[np.int32]]:
        found: list[npt.NDArray[np.int32]] = []
        for at in range(0, len(texts), 1024):  # ids as Python numbers take ten times the memory
            ids = self.tokenizer(list(texts[at : at + 1024]), add_special_tokens=False)["input_ids"]
            found += [np.array(row, dtype=np.int32) for row in ids]
        return found

    def _opening(self) -> int:
        bos = self.tokenizer.bos_token_id
        return int(self.tokenizer.eos_token_id if bos is None else bos)

    def _shown(self, row: Row) -> str:
        ids, start = row
        return str(self.tokenizer.decode(np.asarray(ids[start:]).tolist()))[:SHOWN]

    def _config(self) -> Any:
        return self.model.config.get_text_config()

    # --- dividing the work

    def _fill(
        self, tree: Tree, logprobs: Floats, greedy: npt.NDArray[np.bool_], progress: Progress
    ) -> tuple[int, int]:
        """Compute all that is asked; how many tokens were computed, and how many found."""
        if not len(tree.node):
            return 0, 0
        done = 0

        def tell(first: int, last: int) -> None:
            nonlocal done
            low, high = np.searchsorted(tree.finished, [first, last])
            if high > low:
                done += int(high - low)
                progress(int(high - low))

        with active(self.model, self.adapter):
            work: list[Unit] | list[list[Leaf]] = (
                units(tree, self.batch_tokens) if self._as_tree(tree) else batches(tree, self.batch_tokens)
            )
            sizes = [_size(piece) for piece in work]
            weights = "" if self.cache is None else fingerprint(self.model, self.adapter)
            results = {}
            computed = found = 0
            processes = _processes() if self.divided else 1
            for number in _share(sizes, processes):
                piece = work[number]
                key = b"" if self.cache is None else self._key(weights, piece)
                known = None if self.cache is None else self.cache.get(key)
                if known is not None:
                    found += sizes[number]
                    for first, last in _ranges(piece):
                        tell(first, last)
                else:
                    known = self._compute(piece, tell)
                    computed += sizes[number]
                    if self.cache is not None and np.isfinite(known[0]).all():
                        self.cache.put(key, *known)
                results[number] = known
        if processes > 1:
            shares: list[Any] = [None] * processes
            torch.distributed.all_gather_object(shares, (results, computed, found))
            results = {number: known for share, _, _ in shares for number, known in share.items()}
            computed, found = (sum(share[i] for share in shares) for i in (1, 2))
        for number, (values, said) in results.items():
            asked = _asked(work[number])
            logprobs[asked], greedy[asked] = values, said
        if done < len(tree.finished):
            progress(len(tree.finished) - done)
        return computed, found

    def _key(self, weights: str, piece: Unit | list[Leaf]) -> bytes:
        """Digest of all that a piece's scores depend on, down to what is computed together."""
        digest = hashlib.sha256(weights.encode())
        rows = [piece] if isinstance(piece, Unit) else piece
        digest.update(f"{type(rows[0]).__name__} {self.model.dtype} {self.batch_tokens} {len(rows)}".encode())
        for row in rows:
            parts = (row.tokens, row.node, row.token, *([row.depth] if isinstance(row, Unit) else []))
            for part in parts:
                digest.update(len(part).to_bytes(8, "little") + part.astype("<i8").tobytes())
        return digest.digest()

    # --- computing

    def _as_tree(self, tree: Tree) -> bool:
        """Whether this model heeds tree masks on paths of this length."""
        windows = [getattr(self._config(), name, None) for name in ("sliding_window", "attention_chunk_size")]
        if any(window and int(tree.depth.max()) >= window for window in windows):
            return False
        if self._heeds_trees is None:
            self._heeds_trees = self._try_tree()
        return self._heeds_trees

    def _try_tree(self) -> bool:
        """Score a small trie both ways, in several passes, and compare."""
        config = self._config()
        length = min(32, getattr(config, "max_position_embeddings", 64) // 2)
        numbers = np.random.default_rng(0).integers(0, min(1000, config.vocab_size), (4, length))
        stem, left, right, far = numbers
        parts = ([stem, left], [stem, right[: length // 2]], [stem[: length // 4], far], [right])
        tree = grow([(np.concatenate(part), 1) for part in parts])
        try:
            # One unit in several passes: what is carried from pass to pass is tried, too.
            (unit,) = units(tree, len(tree.tokens))
            given, _ = self._run_unit(unit, length + length // 2, _nobody)
        except (RuntimeError, ValueError, TypeError, KeyError, IndexError, AttributeError, NotImplementedError):
            return False
        (batch,) = batches(tree, 10**6)
        plain = np.zeros_like(given)
        plain[_asked(batch)] = self._run_batch(batch, _nobody)[0]
        exact = self.model.dtype in (torch.float32, torch.float64)
        return bool(np.abs(given - plain).mean() <= (1e-4 if exact else 0.05) * plain.std())

    def _compute(self, piece: Unit | list[Leaf], tell: Tell) -> Results:
        if isinstance(piece, Unit):
            return self._run_unit(piece, self.batch_tokens, tell)
        return self._run_batch(piece, tell)

    def _run_unit(self, unit: Unit, batch_tokens: int, tell: Tell) -> Results:
        from transformers import DynamicCache

        several = len(unit.tokens) > batch_tokens
        cache: Any = DynamicCache() if several else None
        found = []
        for step in passes(unit, batch_tokens):
            low, high = np.searchsorted(unit.node, [step.start, step.stop])
            wanted, row = np.unique(unit.node[low:high] - step.start, return_inverse=True)
            logits = self._forward(unit, step, wanted, cache)
            found.append(_read(logits, row, unit.token[low:high]))
            if cache is not None:
                keep = torch.from_numpy(step.keep).to(self.model.device)
                for layer in cache.layers:
                    layer.keys, layer.values = layer.keys.index_select(-2, keep), layer.values.index_select(-2, keep)
            shift = unit.first - unit.stem
            tell(max(step.start + shift, unit.first), max(step.stop + shift, unit.first))
        return np.concatenate([values for values, _ in found]), np.concatenate([said for _, said in found])

    def _forward(self, unit: Unit, step: Pass, wanted: Ints, cache: Any) -> torch.Tensor:
        """(wanted, vocabulary) logits after the wanted nodes of a pass."""
        device = self.model.device
        nodes = slice(step.start, step.stop)
        here = torch.arange(step.stop - step.start, device=device)
        ends = torch.from_numpy(unit.end[nodes] - step.start).to(device)
        sees = torch.from_numpy(step.sees).to(device)
        own = (here[None] <= here[:, None]) & (here[:, None] < ends[None])
        visible = torch.cat([torch.arange(step.cached, device=device)[None] < sees[:, None], own], dim=1)
        mask = torch.zeros(visible.shape, dtype=self.model.dtype, device=device)
        mask.masked_fill_(~visible, torch.finfo(self.model.dtype).min)
        return self._logits(
            wanted,
            input_ids=torch.from_numpy(unit.tokens[nodes])[None].to(device),
            attention_mask=mask[None, None],
            position_ids=torch.from_numpy(unit.depth[nodes])[None].to(device),
            use_cache=cache is not None,
            **{cache_argument(self.model): cache},
        )[0]

    def _run_batch(self, batch: list[Leaf], tell: Tell) -> Results:
        width = max(len(leaf.tokens) for leaf in batch)
        ids = torch.zeros((len(batch), width), dtype=torch.long)
        mask = torch.zeros_like(ids)
        for number, leaf in enumerate(batch):
            ids[number, : len(leaf.tokens)] = torch.from_numpy(leaf.tokens)
            mask[number, : len(leaf.tokens)] = 1
        wanted = np.unique(np.concatenate([leaf.node for leaf in batch]))
        device = self.model.device
        logits = self._logits(wanted, input_ids=ids.to(device), attention_mask=mask.to(device), use_cache=False)
        found = [
            _read(row, np.searchsorted(wanted, leaf.node), leaf.token) for row, leaf in zip(logits, batch, strict=True)
        ]
        for leaf in batch:
            tell(leaf.first, leaf.last)
        return np.concatenate([values for values, _ in found]), np.concatenate([said for _, said in found])

    def _logits(self, wanted: Ints, **inputs: Any) -> torch.Tensor:
        """(rows, wanted, vocabulary)"""
        # At least one, for heads that mind. Picked by index the head's input is contiguous, without which torch
        # copies the head for every row (15 times slower).
        positions = torch.from_numpy(wanted if len(wanted) else np.zeros(1, dtype=np.int64)).to(self.model.device)
        inner = self.model.get_base_model() if hasattr(self.model, "get_base_model") else self.model
        if "logits_to_keep" in inspect.signature(inner.forward).parameters:
            logits: torch.Tensor = self.model(**inputs, logits_to_keep=positions).logits
            return logits
        every: torch.Tensor = self.model(**inputs).logits
        return every[:, positions]


def _read(logits: torch.Tensor, row: Ints, token: Ints) -> Results:
    """Log-probabilities of tokens, each after one row of logits, and whether they are the likeliest."""
    values, said = torch.empty(len(row)), torch.empty(len(row), dtype=torch.bool)
    least = max(1, LOGITS_AT_ONCE // logits.shape[-1])
    for at in range(0, len(logits), least):
        # Not logsumexp, which is more exact by 1e-5 a token: then long answers would differ from lm-eval's by more
        # than forward passes do.
        some = torch.log_softmax(logits[at : at + least].float(), dim=-1)
        best = some.argmax(dim=-1)
        low, high = np.searchsorted(row, [at, at + least])
        rows = torch.from_numpy(row[low:high] - at).to(some.device)
        tokens = torch.from_numpy(token[low:high]).to(some.device)
        values[low:high] = some[rows, tokens].cpu()
        said[low:high] = (best[rows] == tokens).cpu()
    return values.numpy(), said.numpy()


def _processes() -> int:
    group = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if group else 1


def _share(sizes: Sequence[int], processes: int) -> list[int]:
    """The pieces of work for this process: the largest first, each to who has the least so far."""
    if processes == 1:
        return list(range(len(sizes)))
    loads, owners = np.zeros(processes), np.zeros(len(sizes), dtype=int)
    for number in np.argsort(-np.array(sizes), kind="stable"):
        owners[number] = loads.argmin()
        loads[owners[number]] += sizes[number]
    return np.flatnonzero(owners == torch.distributed.get_rank()).tolist()


def _nobody(first: int, last: int) -> None:
    """Nobody is told."""


def _size(piece: Unit | list[Leaf]) -> int:
    """Tokens that go through the model, padding included."""
    return len(piece.tokens) if isinstance(piece, Unit) else len(piece) * len(piece[0].tokens)


def _asked(piece: Unit | list[Leaf]) -> Any:
    """Where a piece's results belong among all that is asked."""
    if isinstance(piece, Unit):
        return piece.asked
    return np.concatenate([np.arange(leaf.asked.start, leaf.asked.stop) for leaf in piece])


def _ranges(piece: Unit | list[Leaf]) -> list[tuple[int, int]]:
    """The tree's nodes that are done with a piece."""
    if isinstance(piece, Unit):
        return [(piece.first, piece.first + len(piece.tokens) - piece.stem)]
    return [(leaf.first, leaf.last) for leaf in piece]
