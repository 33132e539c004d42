"""What a measurement comes to as a few named numbers and one table, for trackers of runs. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hfvaccine.inoculation.kinds import label_of
from hfvaccine.text import plain
from hfvaccine.validation.judging.gate import FAILED, PASSED, UNDECIDED
from hfvaccine.validation.scores import PLAIN, RETENTION, TRUTHFULNESS
from hfvaccine.validation.showing import traits
from hfvaccine.validation.showing.lookup import require_schema
from hfvaccine.validation.showing.names import LAST
from hfvaccine.validation.showing.sentences import headline
from hfvaccine.validation.showing.sheets import Sheet
from hfvaccine.validation.showing.summary import sheet

LOGGED = ("auroc", "rejection", "true_acceptance")
"""As far as a reading has them. Rejection is never logged without acceptance."""
VERDICTS = {PASSED: 1.0, UNDECIDED: 0.0, FAILED: -1.0}
"""The gate's verdict as a number."""


@dataclass(frozen=True)
class Told:
    """What a tracker is told of a measurement.

    Args:
        numbers: by name.
        headline: the gate's verdict, or why there is none.
        sheet: the table, with intervals.
    """

    numbers: Mapping[str, float]
    headline: str
    sheet: Sheet

    @classmethod
    def of_results(cls, results: Mapping[str, Any]) -> Told:
        """Of a validation.

        Args:
            results: the content of results.json.

        Raises:
            ValidationError: for results of another schema.
        """
        return cls(numbers(results), headline(results), sheet(results))

    @classmethod
    def of_traits(cls, content: Mapping[str, Any]) -> Told:
        """Of a measurement of traits: each under each condition, in each arm.

        Args:
            content: of traits.json.
        """
        found = {
            f"{one['arm']}/{_word(label_of(one['trait']))}_{_word(one['condition'])}": float(one["value"])
            for one in content["shown"]
            if one["value"] is not None
        }
        made = traits.sheets(content)
        rows = tuple((f"{its.title}: {row[0]}", *row[1:]) for its in made for row in its.rows)
        table = Sheet("How far each trait shows", ("", *made[0].columns[1:]), rows)
        return cls(found | _of_gate(content["gate"]), traits.headline(content), table)

    def markdown(self) -> str:
        """The verdict and the table."""
        made = self.sheet
        lines = [made.columns, ("---", *("---:" for _ in made.columns[1:])), *made.rows]
        cells = [[cell if cell.startswith("---") or not cell else plain(cell) for cell in line] for line in lines]
        return "\n".join([f"**{self.headline}**", "", *(f"| {' | '.join(line)} |" for line in cells), "", made.title])


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
    return found | _of_gate(results["gate"])


def _of_gate(gate: Mapping[str, Any] | None) -> dict[str, float]:
    if gate is None:
        return {}
    verdicts = [criterion["verdict"] for criterion in gate["criteria"]]
    return {"gate/verdict": VERDICTS[gate["verdict"]]} | {
        f"gate/{verdict}": float(verdicts.count(verdict)) for verdict in VERDICTS
    }


def _word(name: str) -> str:
    """A name without what means something in the names of a tracker's numbers."""
    return re.sub(r"[^\w.:-]+", "-", name).strip("-")
