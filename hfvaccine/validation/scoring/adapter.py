"""Which of a model's adapters computes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hfvaccine.errors import ValidationError

ACTIVE = "."
"""The model as it stands, with whatever adapters are active: no adapter can have this name."""


def require_adapter(model: Any, adapter: str | None) -> None:
    """Refuse a name that none of a model's adapters has; None is the base, `ACTIVE` the model as it stands.

    Raises:
        ValidationError: with the names that there are.
    """
    there = sorted(getattr(model, "peft_config", {}))
    if adapter not in (None, ACTIVE) and adapter not in there:
        raise ValidationError(
            f"The model has no adapter {adapter!r}.",
            f"It has {', '.join(there)}." if there else "Load the adapter, or take the model as it is.",
        )


@contextmanager
def active(model: Any, adapter: str | None) -> Iterator[None]:
    """A model with one adapter, without any for None, or as it stands for `ACTIVE`, for a while."""
    if adapter == ACTIVE or not hasattr(model, "peft_config"):
        yield
    elif adapter is None:
        with _same_gradients(model), model.disable_adapter():
            yield
    elif model.active_adapter == adapter:
        yield
    else:
        before = model.active_adapter
        with _same_gradients(model):
            model.set_adapter(adapter)
            try:
                yield
            finally:
                model.set_adapter(before)


def names(model: Any, adapter: str | None) -> list[str]:
    """The adapters that compute where `adapter` is asked for."""
    if adapter != ACTIVE:
        return [] if adapter is None else [adapter]
    if not hasattr(model, "peft_config") or model._adapters_disabled:
        return []
    return list(model.active_adapters)


@contextmanager
def _same_gradients(model: Any) -> Iterator[None]:
    """What requires gradients is the same afterwards; peft changes it with the active adapter."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    try:
        yield
    finally:
        for parameter, required in before:
            parameter.requires_grad_(required)
