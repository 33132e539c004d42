"""All that talks to a Hub, real or embedded: publish a dose or an adapter, ask for a dose, fetch it.

Endpoint and token are those of huggingface_hub (`HF_ENDPOINT`, `hf auth login`) unless given.
The names below are this room's face, loaded on first use. Begin with `push.py`; `repo.py` is one push.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "ask_access": "hfvaccine.hub.account",
    "check_write": "hfvaccine.hub.account",
    "pull_dose": "hfvaccine.hub.pull",
    "push_adapter": "hfvaccine.hub.push",
    "push_arms": "hfvaccine.hub.push",
    "push_dose": "hfvaccine.hub.push",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'hfvaccine.hub' has no attribute {name!r}")
