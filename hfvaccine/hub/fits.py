"""Whether what was published loads: its tensors against its architecture, without any weights of the base."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hfvaccine.errors import ModelError
from hfvaccine.files import ADAPTER, ADAPTER_CONFIG

Shapes = Mapping[str, tuple[int, ...]]


def misfits(folder: Path, base: Path) -> str:
    """What keeps an adapter from loading on its base, or a merged model from loading.

    The base is built without weights, as its configuration says.

    Args:
        folder: what was published.
        base: the folder with the config.json of the base; of a merged model its own.

    Returns:
        The tensors that are missing, unexpected or of another shape, in words; empty where it loads.

    Raises:
        ModelError: for a base that cannot be built here.
    """
    try:
        model = _built(base)
    except Exception as error:  # architectures are of many kinds, some only in code of their own
        raise ModelError(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}") from error
    if (folder / ADAPTER_CONFIG).is_file():
        try:
            return compare(_of_adapter(model, folder), _saved(folder.glob(ADAPTER)))
        except (ValueError, TypeError, KeyError, OSError) as error:
            return f"{ADAPTER_CONFIG} cannot be read: {str(error).strip().splitlines()[0].rstrip('.')}"
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    # Tied weights are saved once.
    return compare(wanted, _saved(folder.glob("model*.safetensors")), optional=set(model.all_tied_weights_keys))


def compare(wanted: Shapes, saved: Shapes, optional: set[str] | frozenset[str] = frozenset()) -> str:
    """How the saved tensors differ from those that are wanted, in words.

    Args:
        wanted: shape of each tensor that the architecture has.
        saved: shape of each tensor in the files.
        optional: those that may be missing.
    """
    said = []
    for what, names in (
        ("missing", wanted.keys() - saved.keys() - optional),
        ("unexpected", saved.keys() - wanted.keys()),
        ("of another shape", {name for name in wanted.keys() & saved.keys() if wanted[name] != saved[name]}),
    ):
        if names:
            tensors = "tensor" if len(names) == 1 else "tensors"
            said.append(f"{len(names)} {tensors} {what}, such as {min(names)}")
    return "; ".join(said)


def _built(base: Path) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with _quiet(), torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(base))
    model.tie_weights()
    return model


def _of_adapter(model: Any, folder: Path) -> Shapes:
    from peft import PeftConfig, get_peft_model, get_peft_model_state_dict

    with _quiet():
        config = PeftConfig.from_pretrained(str(folder))
        tensors = get_peft_model_state_dict(get_peft_model(model, config), save_embedding_layers=False)
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _saved(files: Iterator[Path]) -> Shapes:
    from safetensors import safe_open

    found = {}
    for path in files:
        with safe_open(path, framework="pt") as opened:
            found.update({name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()})  # noqa: SIM118
    return found


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the libraries' notices about a model that has no weights."""
    import warnings

    loggers = [logging.getLogger(name) for name in ("transformers", "peft")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
