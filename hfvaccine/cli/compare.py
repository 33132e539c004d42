"""`hfvaccine compare`: two validated runs on the items that both were asked about."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("runs", nargs=2, metavar="RUN RUN", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: runs, differences, notes.")
def compare(runs: tuple[Path, Path], as_json: bool) -> None:
    """Compare the vaccines of two run folders, or two bases where neither has one.

    Each difference is paired over the items that both runs have, the first RUN
    less the second, with its interval, and where it shows nothing, with the
    smallest effect that it could have shown. What the runs do not have in
    common is said: base, dose, mix, probes, items.

    \b
    Examples:
      hfvaccine compare run-a run-b
      hfvaccine compare run-a run-b --json
    """
    from hfvaccine.files import SCORES
    from hfvaccine.validation.judging.compare import compare as measure
    from hfvaccine.validation.judging.compare import compared_arm

    read = [_read(run) for run in runs]
    left, right = runs
    names = (left.resolve().name, right.resolve().name)
    if names[0] == names[1]:
        names = (str(left), str(right)) if str(left) != str(right) else ("first", "second")
    rows = measure(left / SCORES, right / SCORES, names)
    arm = compared_arm(*(results["arms"] for results, _ in read))
    notes = _notes(names, read, rows, arm)
    if as_json:
        click.echo(json.dumps({"runs": list(names), "differences": rows, "notes": notes}))
        return
    from hfvaccine.cli.output import report
    from hfvaccine.validation.showing.names import label
    from hfvaccine.validation.showing.sentences import settings_line
    from hfvaccine.validation.showing.sheets import comparison
    from hfvaccine.validation.showing.tables import Tables

    lines = [f"{label(names[0], 200)} less {label(names[1], 200)}, {arm} against {arm}", settings_line(read[0][0])]
    report(Tables(comparison(rows, names), lines), notes)


def _read(run: Path) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """A run's results, and its record where it has one.

    Raises:
        UsageError: for a folder that is no validated run.
        ValidationError: for results of another schema.
    """
    from hfvaccine.errors import UsageError
    from hfvaccine.files import RECORD, RESULTS
    from hfvaccine.validation.showing.lookup import require_schema

    if not run.is_dir():
        raise UsageError(f"There is no run folder {run}.", "Give two folders that `hfvaccine immunize` made.")
    results = _json_object(run / RESULTS)
    if results is None:
        raise UsageError(f"{run} holds no {RESULTS}.", "Give two run folders that were validated.")
    require_schema(results)
    return results, _json_object(run / RECORD)


def _json_object(path: Path) -> dict[str, Any] | None:
    from hfvaccine.errors import UsageError

    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON.", "Give a run folder whose files are whole.") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path} is not a JSON object.", "Give a run folder that `hfvaccine immunize` made.")
    return content


def _notes(
    names: tuple[str, str],
    read: Sequence[tuple[Mapping[str, Any], Mapping[str, Any] | None]],
    rows: Sequence[Mapping[str, Any]],
    arm: str,
) -> list[str]:
    """What makes the runs differ besides what is compared, in sentences."""
    from hfvaccine.validation.showing.names import condition_label, label, probe_label

    shown = [label(name, 200) for name in names]
    (left, left_record), (right, right_record) = read
    notes = []
    for name, results, record in zip(shown, (left, right), (left_record, right_record), strict=True):
        if served := results.get("served"):
            notes.append(
                f"{name} is a served model, {served['model']}, read by {label(served['reading'])}; a loaded one is "
                "read by the likelihoods of its verdicts. A difference may be of the readings."
            )
        elif record is None:
            notes.append(f"{name} has no record of what was given: whether the runs are alike cannot be said.")
    if left_record is not None and right_record is not None:
        notes += [
            note for note in (_other(part, left_record, right_record) for part in ("base", "dose", "mix")) if note
        ]
        given = [set((record.get("dose") or {}).get("claim_ids") or ()) for record in (left_record, right_record)]
        if given[0] != given[1]:
            notes.append(
                f"Other claims were given: {len(given[0] & given[1])} to both, {len(given[0] - given[1])} to "
                f"{shown[0]} alone, {len(given[1] - given[0])} to {shown[1]} alone."
            )
    first, second = _asked(left, arm), _asked(right, arm)
    for name, mine, others in ((shown[0], first, second), (shown[1], second, first)):
        alone = [key for key in mine if key not in others]
        if alone:
            said = ", ".join(
                " ".join(part for part in (probe_label(p), label(reading), condition_label(c)) if part)
                for p, reading, c in alone[:8]
            )
            notes.append(f"Only {name} was asked: {said}{f' and {len(alone) - 8} more' if len(alone) > 8 else ''}.")
    partly = {(r["probe"], r["reading"], r["of"]): r for r in rows if any(r["only"])}
    for (probe, reading, of), row in partly.items():
        what = " ".join(part for part in (probe_label(probe), label(reading), probe_label(of) if of else "") if part)
        notes.append(
            f"{what}: compared on {row['items']} items; {row['only'][0]} more are {shown[0]}'s alone, "
            f"{row['only'][1]} {shown[1]}'s."
        )
    if not rows:
        notes.append("The runs have no probe in common: nothing can be compared.")
    return notes


def _other(part: str, left: Mapping[str, Any], right: Mapping[str, Any]) -> str:
    """That two records name another base, dose or mix; files are told apart by digest where they have one."""
    keys = {"base": ("weights_sha256",), "dose": ("manifest_sha256",), "mix": ("sha256",)}[part]
    one, two = (record.get(part) or {} for record in (left, right))
    for key in keys:
        if one.get(key) and two.get(key):
            return "" if one[key] == two[key] else f"The {part} is another."
    same = all(one.get(key) == two.get(key) for key in ("id", "revision"))
    return "" if same else f"The {part} is another."


def _asked(results: Mapping[str, Any], arm: str) -> list[tuple[str, str, str]]:
    """What an arm of a run was asked: probe, reading and condition, or item, what it is about, and metric."""
    measures = [m for m in results["measures"] if m["arm"] == arm]
    items = [o for o in results["other"] if o["arm"] == arm]
    return list(
        dict.fromkeys(
            [(m["probe"], m["reading"], m["condition"]) for m in measures]
            + [(o["name"], o["of"], o["metric"]) for o in items]
        )
    )
