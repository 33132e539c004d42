"""What a validation comes to as a few named numbers and one table in Markdown, for trackers of runs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfvaccine.text import plain
from hfvaccine.validation.judging.gate import FAILED, PASSED, UNDECIDED
from hfvaccine.validation.scores import PLAIN, RETENTION, TRUTHFULNESS
from hfvaccine.validation.showing.lookup import require_schema
from hfvaccine.validation.showing.names import LAST
from hfvaccine.validation.showing.sentences import headline
from hfvaccine.validation.showing.summary import sheet

LOGGED = ("auroc", "rejection", "true_acceptance")
"""As far as a reading has them. Rejection is never logged without acceptance."""
VERDICTS = {PASSED: 1.0, UNDECIDED: 0.0, FAILED: -1.0}
"""The gate's verdict as a number."""


def numbers(results: Mapping[str, Any]) -> dict[str, float]:
    """The headline numbers by name, such as `vaccine/specific_verdict_auroc`, and what the gate says.

    Args:
        results: the content of results.json.

    Returns:
        Plain readings of each arm, what was kept, and of the gate `gate/verdict` (see `VERDICTS`) with the number of
        criteria that came out in each way.

    Raises:
        ValidationError: for results of another schema.
    """
    require_schema(results)
    found = {
        f"{row['arm']}/{row['probe']}_{row['reading']}_{row['metric']}": float(row["value"])
        for row in results["measures"]
        if row["arm"] in results["arms"] and row["probe"] not in LAST
        if row["condition"] == PLAIN and row["metric"] in LOGGED
    }
    found |= {
        f"{row['arm']}/{row['name'].removesuffix('_' + row['metric'])}_{row['metric']}": float(row["value"])
        for row in results["other"]
        if row["kind"] in (RETENTION, TRUTHFULNESS) and not row["of"]
    }
    gate = results["gate"]
    if gate is not None:
        verdicts = [criterion["verdict"] for criterion in gate["criteria"]]
        found["gate/verdict"] = VERDICTS[gate["verdict"]]
        found |= {f"gate/{verdict}": float(verdicts.count(verdict)) for verdict in VERDICTS}
    return found


def markdown(results: Mapping[str, Any]) -> str:
    """The gate's verdict and the table of `hfvaccine validate`, as Markdown.

    Args:
        results: the content of results.json.
    """
    made = sheet(results)
    lines = [made.columns, ("---", *("---:" for _ in made.columns[1:])), *made.rows]
    cells = [[cell if cell.startswith("---") or not cell else plain(cell) for cell in line] for line in lines]
    return "\n".join([f"**{headline(results)}**", "", *(f"| {' | '.join(line)} |" for line in cells), "", made.title])
