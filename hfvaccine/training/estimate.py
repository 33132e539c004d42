"""What a run will take, before it takes it: memory and time, from the shapes of the model and a short trial.

The trial makes forward and backward passes through one layer of the model's
own shape with random weights, in the run's precision and on its device: so it
measures what of each token is kept for the backward pass, and how long a layer
and the output head take. The rest is arithmetic.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from hfvaccine.errors import HfvaccineError
from hfvaccine.regimen.measure import IGNORED
from hfvaccine.regimen.plan import Plan
from hfvaccine.regimen.positions import positions
from hfvaccine.sources.place import Source
from hfvaccine.training.adapters import lora
from hfvaccine.training.base import Base, complete_tokenizer, found_on_hub, not_loaded, precision
from hfvaccine.training.options import Training
from hfvaccine.training.processes import this_process

PROCESS = 0.8e9
"""Bytes of a Python process that has everything imported and its libraries at work, without a model."""

SLACK = 2
"""On a CPU the allocator keeps pieces that it cannot use again, as batches differ in length; as measured."""

ADAPTER_BYTES = 16
"""Of each adapter weight: itself, its gradient and the two moments of Adam, all in float32."""

TILE = (4096, 32768)
"""Tokens and vocabulary entries of which TRL's fused output head makes the logits at a time."""

TILE_COPIES = 6
"""float32 copies of a tile that its backward pass holds at once where there is no fused kernel."""

TRIAL_SECONDS = 0.15
TRIAL_FLOPS = 2e10
"""A trial on a CPU takes no more tokens than this allows."""


@dataclass(frozen=True)
class Estimate:
    """What training one arm will take on this machine.

    Args:
        parameters: of the base.
        adapter_parameters: that are trained.
        memory: bytes at the peak, on the device of each process, which is taken to hold the whole base.
        seconds: of training, without loading and validation.
        why_not: what the trial failed of; then memory and seconds are None.
    """

    parameters: int
    adapter_parameters: int
    memory: int | None
    seconds: float | None
    why_not: str | None = None

    def line(self) -> str:
        """The estimate in one line."""
        sizes = f"{_millions(self.parameters)} parameters and {_millions(self.adapter_parameters)} in the adapter"
        if self.memory is None or self.seconds is None:
            return f"Expected: {sizes}; memory and time are not known. {self.warning()}"
        return f"Expected: {sizes}; about {self.memory / 1e9:.1f} GB of memory and {spoken(self.seconds)} of training"

    def warning(self) -> str:
        """What a trial that failed means for the run; nothing where it did not."""
        if self.why_not is None:
            return ""
        return (
            f"Warning: one layer of the base could not be trained for a moment ({self.why_not}), "
            "and the run may stop for the same reason."
        )


def estimate(config: Any, options: Training, plan: Plan, unpadded: bool = True) -> Estimate:
    """Estimate what training a plan will take.

    Args:
        config: configuration of the base, of transformers.
        options: the run's options.
        plan: what is given.
        unpadded: whether batches are flattened; see `hfvaccine.training.unpadded`.
    """
    import torch

    shapes, process = Shapes.of(config, options), this_process()
    micro_batches = plan.tokens.reshape(-1, options.batch_size)
    tokens = micro_batches.sum(1) if unpadded else micro_batches.max(1) * options.batch_size
    supervised = plan.supervised.reshape(-1, options.batch_size).sum(1)
    try:
        with torch.random.fork_rng():  # the run that follows must not depend on how often the trial was repeated
            row = max(2, round(float(plan.tokens.mean())))
            tried = trial(config, options, row, float(supervised.sum() / tokens.sum()))
    except Exception as error:  # models are of many kinds, and an estimate must not stop a run
        said = (str(error).strip().split("\n")[0] or "no more was said").rstrip(".")
        return Estimate(shapes.parameters, shapes.adapter, None, None, f"{type(error).__name__}: {said}")
    width, device = precision(options.dtype).itemsize, process.device.type
    memory = shapes.memory(width, tried.kept, int(tokens.max()), int(supervised.max()), device)
    if process.num_processes > 1:
        memory += 4 * shapes.adapter  # gradients are exchanged in buckets
    seconds = (shapes.layers * tried.layer + tried.head) * float(tokens.sum()) / process.num_processes
    return Estimate(shapes.parameters, shapes.adapter, memory, seconds)


@dataclass(frozen=True)
class Shapes:
    """A model without its weights.

    Args:
        parameters: all of them, without an adapter.
        adapter: parameters of the run's adapter.
        layers: how many.
        hidden: width between the layers.
        vocabulary: entries of the output head.
    """

    parameters: int
    adapter: int
    layers: int
    hidden: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any, options: Training) -> Shapes:
        """The shapes that a configuration of transformers makes, with the adapter of a run."""
        import torch
        from peft import get_peft_model
        from transformers import AutoModelForCausalLM

        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
            model.tie_weights()
            parameters = model.num_parameters()
            adapter = get_peft_model(model, lora(options, None)).num_parameters(only_trainable=True)
        text = config.get_text_config()
        return cls(parameters, adapter, text.num_hidden_layers, text.hidden_size, text.vocab_size)

    def memory(self, width: int, kept: float, tokens: int, supervised: int, device: str) -> int:
        """Bytes at the peak of training: the weights, the adapter, the activations, and the gradients of one layer.

        The frozen base has no gradients. On a GPU the activations of a layer are computed again when they are
        needed, so that of the other layers only the input is kept.

        Args:
            width: bytes of a number of the base.
            kept: bytes that one layer keeps of a token for its backward pass.
            tokens: of the longest micro-batch.
            supervised: tokens with loss of the micro-batch that has most of them.
            device: "cpu" or "cuda".
        """
        fixed = width * self.parameters + ADAPTER_BYTES * self.adapter
        tile = min(supervised, TILE[0]) * min(self.vocabulary, TILE[1])
        if device == "cpu":
            return int(PROCESS + fixed + SLACK * kept * (self.layers + 1) * tokens + 4 * TILE_COPIES * tile)
        return int(fixed + (width * self.hidden * self.layers + 2 * kept) * tokens + width * tile)


@dataclass(frozen=True)
class Trial:
    """What one layer and the output head take.

    Args:
        kept: bytes that a layer keeps of a token for its backward pass.
        layer: seconds of a layer, forward and backward, for each token.
        head: seconds of the output head for each token of the rows, those without loss included.
    """

    kept: float
    layer: float
    head: float


def trial(config: Any, options: Training, row: int, supervised: float) -> Trial:
    """Train one layer of the model's shape for a moment, as the trainer would, with and without the output head.

    Args:
        config: configuration of the base.
        options: the run's options.
        row: tokens of a row.
        supervised: part of the tokens that has loss.
    """
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM
    from trl.trainer import add_fused_lm_head

    from hfvaccine.training.unpadded import head_where_there_is_loss

    device, dtype = this_process().device, precision(options.dtype)
    config = copy.deepcopy(config)
    text = config.get_text_config()
    text.num_hidden_layers = 1
    if getattr(text, "layer_types", None) is not None:
        text.layer_types = text.layer_types[:1]
    with device:
        base = AutoModelForCausalLM.from_config(config, dtype=dtype)
    add_fused_lm_head(base, outputs=("log_probs", "entropy", "is_top1"))
    rows = options.batch_size
    if device.type == "cpu":
        head_where_there_is_loss(base)
        room = int(TRIAL_FLOPS / _operations(base, supervised))
        row = min(row, max(32, room))
        rows = max(1, min(rows, room // row))
    model = get_peft_model(base, lora(options, None)).to(device).train()
    inputs = torch.randn(rows, row, text.hidden_size, device=device, dtype=dtype, requires_grad=True)
    labels = torch.zeros(rows, row, dtype=torch.long, device=device)
    labels[:, : row - max(1, round(row * supervised))] = IGNORED

    def layer() -> Any:
        return base.base_model(inputs_embeds=inputs, use_cache=False).last_hidden_state

    def with_head() -> Any:
        return model(inputs_embeds=inputs, labels=labels, fused_lm_head=True, use_cache=False).log_probs

    def seconds(forward: Callable[[], Any]) -> float:
        taken: list[float] = []
        while len(taken) < 3 or sum(taken) < TRIAL_SECONDS:
            begun = time.perf_counter()
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
                outcome = forward()
            outcome.float().sum().backward()
            if device.type == "cuda":
                torch.cuda.synchronize()
            taken.append(time.perf_counter() - begun)
        return median(taken[1:])  # the first one warms up

    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        kept = kept_for_backward(layer, model)
    if device.type != "cpu":
        base.gradient_checkpointing_enable()  # as the trainer does there
    of_layer, of_both = seconds(layer), seconds(with_head)
    tokens = rows * row
    return Trial(kept / tokens, of_layer / tokens, max(0.0, of_both - of_layer) / tokens)


def kept_for_backward(forward: Callable[[], Any], model: Any) -> int:
    """Bytes that autograd keeps of a forward pass, the model's own weights left out."""
    import torch

    weights = {id(parameter) for parameter in model.parameters()}
    storages: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        whole = tensor if tensor._base is None else tensor._base
        if id(whole) not in weights:
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outcome = forward()
    del outcome
    return sum(storage.nbytes() for storage in storages.values())


def _operations(model: Any, supervised: float) -> float:
    """Floating-point operations of a trial on one token.

    A product with a weight takes two for each weight; the frozen layer takes part in the forward pass and in the
    gradient of its input, the head besides once more because its logits are made again for the backward pass.
    """
    layer = sum(p.numel() for p in model.base_model.parameters()) - model.get_input_embeddings().weight.numel()
    head = model.get_output_embeddings().weight.numel()
    return float(4 * layer + 6 * head * supervised)


def stand_in(options: Training) -> tuple[Base, Any]:
    """The run's tokenizer with a tiny random model in place of its own, and the configuration of its own.

    A plan does not depend on weights, so that it can be made with these.

    Raises:
        ModelError: where tokenizer or configuration cannot be found or read.
    """
    import torch
    from transformers import AutoConfig, AutoTokenizer, LlamaConfig, LlamaForCausalLM

    source = Source.of("base", options.base, options.base_revision)
    name = source.name
    file: dict[str, Any] = {}
    try:
        if Path(name).suffix == ".gguf":
            name, file = str(Path(name).parent), {"gguf_file": Path(name).name}
        elif source.on_hub:
            file = found_on_hub(name, source.revision)
        tokenizer = AutoTokenizer.from_pretrained(name, **file)
        config = AutoConfig.from_pretrained(name, **file)
    except HfvaccineError:
        raise
    except Exception as error:  # as in `load_base`
        raise not_loaded(options.base, error) from error
    template = complete_tokenizer(tokenizer)
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        pad_token_id=tokenizer.pad_token_id,
    )
    if (room := positions(config)) is not None:
        shape.max_position_embeddings = room
    with torch.random.fork_rng():
        model = LlamaForCausalLM(shape)
    return Base(model, tokenizer, options.base_id or source.name, None, template), config


def spoken(seconds: float) -> str:
    """A time as one says it."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _millions(number: int) -> str:
    return f"{number / 1e6:,.1f} M"
