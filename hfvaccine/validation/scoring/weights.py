"""A digest of what a model computes with: the key under which its scores are kept."""

from __future__ import annotations

import hashlib
import json
import weakref
from collections.abc import Mapping
from typing import Any

import torch

from hfvaccine.validation.scoring.adapter import names

_digests: weakref.WeakKeyDictionary[Any, dict[str, tuple[Any, str]]] = weakref.WeakKeyDictionary()


def fingerprint(model: Any, adapter: str | None) -> str:
    """SHA-256 over all weights that take part, and the configuration; the same for a base alone and with adapters.

    Digests are kept with the model object until torch's version counter of a weight changes.
    """
    if hasattr(model, "peft_config"):
        inner = model.get_base_model()
        prefix = getattr(model.base_model, "prefix", "") or "prompt_encoder"
    else:
        inner, prefix = model, ""
    base = {}
    for name, weight in inner.state_dict().items():
        parts = name.split(".")
        if prefix and any(part.startswith(prefix) or part == "modules_to_save" for part in parts):
            continue
        base[".".join(part for part in parts if not prefix or part not in ("base_layer", "original_module"))] = weight
    settings = {
        name: value
        for name, value in model.config.to_dict().items()
        if name not in ("_name_or_path", "transformers_version")
    }
    digest = hashlib.sha256(_digest(inner, "", base, settings).encode())
    for name in names(model, adapter):
        from peft import get_peft_model_state_dict

        weights = get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)
        own = model.peft_config[name].to_dict()
        settings = {
            key: value
            for key, value in own.items()
            if key not in ("base_model_name_or_path", "revision", "inference_mode", "peft_version")
        }
        digest.update(_digest(inner, name, weights, settings).encode())
    return digest.hexdigest()


def _digest(owner: Any, name: str, weights: Mapping[str, torch.Tensor], settings: Mapping[str, Any]) -> str:
    kept = _digests.setdefault(owner, {})
    state = (
        json.dumps(settings, sort_keys=True, default=_plain),
        [(w.data_ptr(), w._version) for w in weights.values()],
    )
    if name not in kept or kept[name][0] != state:
        digest = hashlib.sha256(state[0].encode())
        for title, weight in sorted(weights.items()):
            digest.update(f"{title} {weight.dtype} {tuple(weight.shape)}".encode())
            flat = weight.detach().contiguous().reshape(-1)
            for at in range(0, len(flat), 2**24):
                digest.update(flat[at : at + 2**24].cpu().view(torch.uint8).numpy().data)
        kept[name] = state, digest.hexdigest()
    return kept[name][1]


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, (set, frozenset)) else str(value)
