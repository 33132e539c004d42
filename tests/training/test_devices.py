"""What a launcher sets and a run does not say is refused: it would be done in place of what the record says."""

import pytest

from hfvaccine.errors import UsageError
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
