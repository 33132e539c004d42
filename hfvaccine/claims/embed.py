"""Claims that mean nearly the same in other words, by a sentence encoder: an option, with torch where it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from hfvaccine.errors import ModelError, UsageError

Vectors = npt.NDArray[np.float32]
Encoder = Callable[[Sequence[str]], Vectors]
"""From n texts to (n, d) vectors of length 1."""

COSINE = 0.8
"""Cosine from which on two texts are said to mean nearly the same."""
LIMIT = 200_000
"""Most claims that are compared each with each."""
_BLOCK = 2048


def load_encoder(source: str, batch: int = 64) -> Encoder:
    """A sentence encoder: the mean of a model's last states over the tokens of a text, brought to length 1.

    Args:
        source: folder or Hub id of a model such as sentence-transformers/all-MiniLM-L6-v2.
        batch: texts at a time.

    Raises:
        ModelError: for a model that cannot be loaded.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        model = AutoModel.from_pretrained(source).eval()
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise ModelError(
            f"The encoder {source} cannot be loaded: {(str(error) or repr(error)).splitlines()[0]}.",
            "Give the folder or the Hub id of a sentence encoder, such as sentence-transformers/all-MiniLM-L6-v2.",
        ) from error
    if tokenizer.pad_token is None or model.config.is_encoder_decoder:
        raise ModelError(
            f"{source} is no sentence encoder: its texts cannot be padded to one length.",
            "Give one such as sentence-transformers/all-MiniLM-L6-v2.",
        )
    most = min(int(tokenizer.model_max_length), int(getattr(model.config, "max_position_embeddings", 512)))
    width = int(model.config.hidden_size)

    def encode(texts: Sequence[str]) -> Vectors:
        vectors = np.zeros((len(texts), width), np.float32)
        order = np.argsort([-len(text) for text in texts], kind="stable")  # texts of a length together: less padding
        for at in range(0, len(order), batch):
            chosen = order[at : at + batch]
            given = [texts[number] for number in chosen]
            inputs = tokenizer(given, padding=True, truncation=True, max_length=most, return_tensors="pt")
            with torch.inference_mode():
                states = model(**inputs).last_hidden_state.float()
            mask = inputs["attention_mask"].unsqueeze(-1)
            mean = (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
            vectors[chosen] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return vectors

    return encode


def close_pairs(vectors: Vectors, threshold: float = COSINE) -> npt.NDArray[np.int64]:
    """(m, 2) places of all vectors whose cosine is at least the threshold, the lower first, in order.

    Args:
        vectors: (n, d) of length 1.
        threshold: least cosine.

    Raises:
        UsageError: for more than `LIMIT` vectors.
    """
    require_few(len(vectors))
    found = [np.zeros((0, 2), np.int64)]
    for at in range(0, len(vectors), _BLOCK):
        for other in range(at, len(vectors), _BLOCK):
            near = vectors[at : at + _BLOCK] @ vectors[other : other + _BLOCK].T >= threshold
            left, right = np.nonzero(np.triu(near, 1) if other == at else near)
            found.append(np.stack([left + at, right + other], axis=1))
    pairs = np.concatenate(found)
    return np.asarray(pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))])


def near_any(vectors: Vectors, given: Vectors, threshold: float = COSINE) -> npt.NDArray[np.bool_]:
    """(n,) whether the cosine with any of the given vectors is at least the threshold.

    Args:
        vectors: (n, d) of length 1.
        given: (k, d) of length 1.
        threshold: least cosine.
    """
    near = np.zeros(len(vectors), bool)
    for at in range(0, len(vectors), _BLOCK):
        for other in range(0, len(given), _BLOCK):
            near[at : at + _BLOCK] |= (vectors[at : at + _BLOCK] @ given[other : other + _BLOCK].T >= threshold).any(1)
    return near


def require_few(claims: int) -> None:
    """Refuse to compare more than `LIMIT` claims each with each.

    Raises:
        UsageError: for more.
    """
    if claims > LIMIT:
        raise UsageError(
            f"{claims:,} claims are too many to compare by embeddings, of which every pair is looked at.",
            f"Screen up to {LIMIT:,} claims with an encoder, or leave it out.",
        )
