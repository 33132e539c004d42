"""What a launcher sets and a run does not say is refused: it would be done in place of what the record says."""

from unittest.mock import Mock

import pytest
import torch
from accelerate import DistributedType

from hfvaccine.errors import UsageError
from hfvaccine.training import base, devices, processes
from hfvaccine.training.devices import check_devices
from hfvaccine.training.options import Training


def options(**given):
    return Training(base="tiny", **given)


@pytest.mark.parametrize(
    "dtype, mixed, fits",
    [
        *(("float32", mixed, mixed == "no") for mixed in ("no", "bf16", "fp16", "fp8")),
        *(("bfloat16", mixed, mixed in ("no", "bf16")) for mixed in ("no", "bf16", "fp16")),
    ],
)
def test_a_launchers_precision_is_the_runs_or_refused(monkeypatch, dtype, mixed, fits):
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", mixed)
    if fits:
        return check_devices(options(dtype=dtype))
    with pytest.raises(UsageError, match=f"mixed_precision '{mixed}', and --dtype {dtype} means {dtype}"):
        check_devices(options(dtype=dtype))


def test_a_launchers_accumulation_is_the_runs_or_refused(monkeypatch):
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    check_devices(options(gradient_accumulation_steps=4))
    with pytest.raises(UsageError, match="gradient_accumulation_steps 4, and the run's are 1"):
        check_devices(options())
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "auto")
    check_devices(options())


@pytest.fixture
def of_two(monkeypatch):
    """One of two processes, with a device of its own."""
    process = Mock(num_processes=2, device=torch.device("meta"), distributed_type=DistributedType.MULTI_GPU)
    for module in (base, devices, processes):
        monkeypatch.setattr(module, "this_process", lambda: process)
    return process


@pytest.mark.parametrize("kind", ["fsdp", "deepspeed"])
def test_weights_that_would_not_be_shared_between_cpus_are_refused(of_two, monkeypatch, kind):
    of_two.distributed_type = DistributedType.MULTI_CPU
    check_devices(options())
    monkeypatch.setenv(f"ACCELERATE_USE_{kind.upper()}", "true")
    with pytest.raises(UsageError, match=f"with {kind} each process would train a whole model"):
        check_devices(options())
    of_two.distributed_type = DistributedType.MULTI_GPU
    check_devices(options())


@pytest.mark.parametrize("kind, to_train, on", [("fsdp", True, "cpu"), ("fsdp", False, "meta"), ("tpu", True, "meta")])
def test_a_base_whose_weights_are_to_be_shared_is_on_no_device_before(
    of_two, monkeypatch, tiny_llama, kind, to_train, on
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setenv(f"ACCELERATE_USE_{kind.upper()}", "true")
    assert base.load_base(str(tiny_llama), dtype="float32", to_train=to_train).model.device.type == on
