"""hfvaccine: immunize language models against falsehoods, on the Hugging Face stack.

The names below are the public Python API. They are loaded on first use, so that
`import hfvaccine` stays free of torch and datasets.
"""

from importlib import import_module
from typing import Any

from hfvaccine.version import VERSION as __version__

_HOME = {
    "Claim": "hfvaccine.claims.claim",
    "Dose": "hfvaccine.claims.dose",
    "DosingCallback": "hfvaccine.dosing.callback",
    "HfvaccineError": "hfvaccine.errors",
    "InoculationCallback": "hfvaccine.inoculation.callback",
    "Scorer": "hfvaccine.validation.scoring.scorer",
    "ValidationCallback": "hfvaccine.validation.callback",
}

__all__ = [
    "Claim",
    "Dose",
    "DosingCallback",
    "HfvaccineError",
    "InoculationCallback",
    "Scorer",
    "ValidationCallback",
    "__version__",
]


def __getattr__(name: str) -> Any:
    if name == "journal":
        return import_module("hfvaccine.claims.journal")
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'hfvaccine' has no attribute {name!r}")
