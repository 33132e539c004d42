"""What a run takes of its devices, and of the launcher that may have started it: refused before anything is read."""

from __future__ import annotations

import os

from hfvaccine.errors import UsageError
from hfvaccine.training.base import precision
from hfvaccine.training.options import Training
from hfvaccine.training.processes import SHARING, kind_of_processes, this_process

MIXED = {"bfloat16": "bf16"}
"""What accelerate calls the precision that the trainer computes in, by dtype; "no" for every other."""


def check_devices(options: Training) -> None:
    """Refuse devices, and settings of the launcher, with which the run would not be what its options say.

    Args:
        options: of the run.

    Raises:
        UsageError: for several GPUs in one process, where rows would be spread in an order that no plan holds; for a
            precision or an accumulation of the launcher's that is not the run's, which it would put in their place;
            and for weights that are to be shared and would not be.
    """
    import torch
    from accelerate import DistributedType

    number = torch.cuda.device_count()
    if number > 1 and this_process().num_processes == 1:
        raise UsageError(
            f"This machine has {number} GPUs, and the run was started in one process.",
            "Take one with CUDA_VISIBLE_DEVICES=0, or all with --accelerate-config FILE (see `accelerate config`).",
        )
    dtype = str(precision(options.dtype)).removeprefix("torch.")
    mixed = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    if mixed not in ("no", MIXED.get(dtype)):
        raise UsageError(
            f"accelerate is configured with mixed_precision {mixed!r}, and --dtype {options.dtype} means {dtype}.",
            "Put mixed_precision: 'no' into its configuration; --dtype says what is computed in.",
        )
    passes = os.environ.get("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "")
    if passes.isdigit() and int(passes) != options.gradient_accumulation_steps:
        raise UsageError(
            f"accelerate is configured with gradient_accumulation_steps {passes}, and the run's are "
            f"{options.gradient_accumulation_steps}.",
            "Give the same as --gradient-accumulation-steps and in its configuration.",
        )
    if (kind := kind_of_processes()) in SHARING and this_process().distributed_type == DistributedType.MULTI_CPU:
        raise UsageError(
            f"accelerate shares no weights between CPUs: with {kind} each process would train a whole model.",
            "Start it where GPUs are; on CPUs take a configuration with distributed_type: MULTI_GPU, as ddp.yaml is.",
        )
