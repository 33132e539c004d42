"""Adapters: as a run begins with one, what became of it, and how anybody else would load it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfvaccine.errors import ModelError, ValidationError
from hfvaccine.files import ADAPTER, digest_of
from hfvaccine.regimen.plan import Plan
from hfvaccine.sources.place import Source
from hfvaccine.training.base import Base
from hfvaccine.training.options import Training

if TYPE_CHECKING:
    from peft import LoraConfig


def lora(options: Training, base_id: str | None) -> LoraConfig:
    """The adapter of a run."""
    from peft import LoraConfig

    return LoraConfig(
        r=options.lora_r,
        lora_alpha=options.lora_alpha or 2 * options.lora_r,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        base_model_name_or_path=base_id,
    )


ROUNDING = {"float32": 1e-5, "float16": 3e-3, "bfloat16": 2e-2}
"""How far the logits of two computations of one model may lie apart, as a part of the largest, by dtype: each step is
rounded by 2^-24, 2^-11 or 2^-8, a kernel may add in another order each time, and that adds up over the layers."""
FLOAT32_ELSEWHERE = 1e-3
"""The same in float32 on what is no CPU: hardware made for training multiplies it with a mantissa of 10 bits."""


def tolerance(model: Any) -> float:
    """What of `ROUNDING` fits a model, where it is."""
    dtype = str(model.dtype).removeprefix("torch.")
    return FLOAT32_ELSEWHERE if dtype == "float32" and model.device.type != "cpu" else ROUNDING[dtype]


def apart(one: Any, other: Any) -> float:
    """How far two tensors of logits lie apart at most, as a part of the second's largest; nan where one is nan."""
    one, other = one.float().cpu(), other.float().cpu()
    return float((one - other).abs().max() / other.abs().max().clamp(min=1e-9))


@dataclass(frozen=True)
class Arm:
    """A trained arm: where its adapter lies, and what its run was.

    Args:
        folder: holds the adapter.
        plan: what was given, in order.
        times: how often it gives each claim, by id; a short run does not get to all.
        fingerprint: over all that the run gave.
        inoculation: settings of the inoculation prompts, None without any.
        seconds: that the training took.
        loss: mean over the training, in nats per token.
        witness: of the trained model, see `witness`; None where its weights lay on several devices.
        shares: what it gives of each of several doses, by the dose's digest, as a part of all tokens.
    """

    folder: Path
    plan: Plan
    times: Mapping[str, int]
    fingerprint: str
    inoculation: dict[str, Any] | None
    seconds: float
    loss: float | None
    witness: list[float] | None
    shares: Mapping[str, float] = field(default_factory=dict)


def witness(model: Any) -> list[float]:
    """A model's logits for a fixed token, by which a loaded adapter is told to be the trained one."""
    import torch

    ids = torch.arange(8, device=model.device)[None]
    with torch.inference_mode():
        return [float(x) for x in model.eval()(input_ids=ids).logits[0, -1, :64].float()]


def load_trained(base: Base, arms: Mapping[str, Arm], others: Mapping[str, str] | None = None) -> Any:
    """The arms' adapters, from their folders: what is validated is what was saved.

    Args:
        base: a freshly loaded base; the adapters are put on it, on one copy of its weights.
        arms: the trained arms, whose names the adapters get; the first is active.
        others: more adapters, by their names: folders.

    Raises:
        ValidationError: where a saved adapter is not the model that was trained, to the rounding of its dtype.
    """
    import torch

    model = load_adapters(base, {name: str(arm.folder) for name, arm in arms.items()} | dict(others or {}))
    for name, arm in reversed(arms.items()):
        model.set_adapter(name)
        if arm.witness is None:
            continue
        difference, allowed = apart(torch.tensor(witness(model)), torch.tensor(arm.witness)), tolerance(model)
        if not difference <= allowed:
            raise ValidationError(
                f"The adapter in {arm.folder} gives other logits than the model that was trained: by {difference:.2g} "
                f"of the largest, and {allowed:g} is allowed in {model.dtype} on {model.device.type}.",
                "Do not use it; train again and report this.",
            )
    return in_its_dtype(model)


def carrying_on(base: Base, adapter: str) -> Base:
    """The base with an adapter on it that is to be trained on.

    Args:
        base: a freshly loaded base.
        adapter: its folder.

    Raises:
        ModelError: where it cannot be loaded on this base.
    """
    return replace(base, model=load_adapters(base, {"default": adapter}, trainable=True))


def in_its_dtype(model: Any) -> Any:
    """A model whose adapters compute in the dtype of its base, as servers have them.

    In PEFT's float32 on a bfloat16 base a pass takes twice as long, for logits that differ as much as bfloat16 rounds.

    Args:
        model: a `PeftModel`, changed in place.
    """
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = parameter.data.to(model.dtype)
    return model


def digest(adapter: str) -> str:
    """SHA-256 of an adapter's weight file, by which papers know it.

    Args:
        adapter: a folder, a Hub id or `ID@REVISION`, that was loaded before.
    """
    from huggingface_hub import hf_hub_download

    source = Source.of("adapter", adapter)
    if source.on_hub:
        return digest_of(Path(hf_hub_download(source.name, ADAPTER, revision=source.revision)))
    return digest_of(Path(source.name) / ADAPTER)


def load_adapters(base: Base, adapters: Mapping[str, str], trainable: bool = False) -> Any:
    """The base with adapters on it, in float32 as training has them; the first is active.

    Args:
        base: a freshly loaded base.
        adapters: by their names, each a run folder, a Hub id or `ID@REVISION`.
        trainable: whether they are to be trained on.

    Raises:
        ModelError: where one cannot be found or belongs to another base.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    model = base.model
    for name, adapter in adapters.items():
        source = Source.of("adapter", adapter)
        pin = {"revision": source.revision} if source.revision else {}
        try:
            if isinstance(model, PeftModel):
                model.load_adapter(source.name, adapter_name=name, is_trainable=trainable, **pin)
            else:
                model = PeftModel.from_pretrained(model, source.name, adapter_name=name, is_trainable=trainable, **pin)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            reason = str(error).strip().split("\n")[0]
            raise ModelError(
                f"The adapter {adapter!r} cannot be loaded on {base.id}: {reason}",
                "Give a run folder or Hub id of an adapter that was trained on this base.",
            ) from error
    return model.eval()
