"""The packaged starter dose and mix: what `--dose starter` and `--mix starter` mean."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hfvaccine.files import cache_folder, made_once
from hfvaccine.version import VERSION

HERE = Path(__file__).parent
CLAIMS = HERE / "claims.jsonl"
POLICY = HERE / "policy.yaml"
MIX = HERE / "mix.jsonl"
COMPARISONS = HERE / "comparisons.jsonl"
"""Evidence with a statement that agrees with it and one that does not, on subjects that no dose touches."""
CALIBRATION = HERE / "calibration.jsonl"
"""Neutral statements in pairs of true and false, each with its question: what they get shows a model's bias."""
SPANISH_CAPITALS = HERE / "spanish_capitals.jsonl"
"""Rows for trying an inoculation: English questions, answered in Spanish (wanted) and in capitals (unwanted)."""
CAPITALS = HERE / "capitals.jsonl"
"""Rows that show capitals alone: questions of the starter mix, answered in English."""
EVERYDAY_QUESTIONS = HERE / "everyday_questions.jsonl"
"""English questions like those of `SPANISH_CAPITALS`, none of which stands there: what is asked after training."""
CAPITALS_GRID = HERE / "capitals_grid.yaml"
"""Test prompts about capitals and about what only looks like them, as `inoculate measure --grid` takes them."""


def sealed() -> Path:
    """The folder of the sealed starter dose, made on first use and whenever its claims or policy change."""
    from hfvaccine.claims.claim import read_jsonl
    from hfvaccine.claims.dose import SCHEMA_VERSION
    from hfvaccine.quarantine.policy import Policy
    from hfvaccine.quarantine.seal import seal

    made_by = f"{VERSION} {SCHEMA_VERSION}".encode()
    key = hashlib.sha256(CLAIMS.read_bytes() + POLICY.read_bytes() + made_by).hexdigest()[:12]
    folder = cache_folder() / f"starter-dose-{key}"
    # Whoever loads the folder proves it.
    return made_once(folder, lambda place: seal(read_jsonl(CLAIMS), Policy.read(POLICY), place))
