"""A frozen adapter beside the one that is trained: one that shows a trait, or a random one of its shape.

Source: Inoculation Adapters (arXiv 2606.30252). What already shows in the model while it trains, the data have little
left to teach; the frozen adapter is left out afterwards, as a prompt would be.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hfvaccine.errors import UsageError
from hfvaccine.files import ADAPTER, ADAPTER_CONFIG, whole_file

if TYPE_CHECKING:
    import torch
    from trl import SFTTrainer

BESIDE = "beside"
"""PEFT's name of the frozen adapter; that of the trained one is "default"."""


def refuse_sharded(trainer: SFTTrainer) -> None:
    """Refuse to spread a model with two adapters over devices.

    Raises:
        UsageError: naming what to do instead.
    """
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise UsageError(
            "A frozen adapter cannot stand beside the trained one where the weights lie on several devices.",
            "Start without FSDP and DeepSpeed, or inoculate with a prompt.",
        )


def put_beside(trainer: SFTTrainer, folder: Path) -> None:
    """Let a frozen adapter take part in every forward pass of a trainer that trains another.

    Args:
        trainer: with an adapter of its own, not yet trained.
        folder: of the frozen adapter.
    """
    import torch
    from transformers import TrainerCallback

    model: Any = trainer.model

    class BothOn(TrainerCallback):
        """A trainer that resumes loads all adapters of the checkpoint, and leaves one of them on."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            switch_on(model)

    with torch.random.fork_rng():  # PEFT draws weights before it loads them; what else is drawn must not depend on it
        model.load_adapter(str(folder), BESIDE)
    trainer.add_callback(BothOn())


def switch_on(model: Any) -> None:
    """Have both adapters of a `PeftModel` compute, and the one that is not `BESIDE` learn."""
    model.base_model.set_adapter(["default", BESIDE])  # `PeftModel.set_adapter` takes one, and both would learn
    model.set_requires_grad(BESIDE, False)


def random_like(folder: Path, into: Path, seed: int) -> None:
    """Write an adapter that changes each module as much as another, in a random direction.

    Both factors are drawn: PEFT's own start, whose B is zero, would change nothing.

    Args:
        folder: of a LoRA.
        into: gets the adapter; one that is there already is kept.
        seed: of the draw.
    """
    import torch
    from safetensors.torch import load_file, save_file

    if (into / ADAPTER).is_file():
        return
    weights, drawn = load_file(folder / ADAPTER), torch.Generator().manual_seed(seed)
    noise: dict[str, torch.Tensor] = {}
    for name_a in sorted(name for name in weights if ".lora_A." in name):
        name_b = name_a.replace(".lora_A.", ".lora_B.")
        a, b = (torch.randn(weights[name].shape, generator=drawn) for name in (name_a, name_b))
        size = (change(weights[name_a], weights[name_b]) / change(a, b)) ** 0.5
        noise |= {name_a: size * a, name_b: size * b}
    into.mkdir(parents=True, exist_ok=True)
    shutil.copy(folder / ADAPTER_CONFIG, into)
    with whole_file(into / ADAPTER) as staged:
        save_file(noise, staged, metadata={"format": "pt"})


def change(a: torch.Tensor, b: torch.Tensor) -> float:
    """The Frobenius norm of the product of two factors, which is what a LoRA adds to a weight but for its scale.

    Args:
        a: (rank, inputs).
        b: (outputs, rank).
    """
    a, b = a.double(), b.double()
    return float(((b.T @ b) * (a @ a.T)).sum().clamp(min=0).sqrt())  # tr(AᵀBᵀBA), without the product itself
