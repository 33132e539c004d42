"""The results as one HTML page that needs nothing else: no script, no font, no address is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hfvaccine.text import clean, is_commit, is_finite, is_hub_id, number, percent, templates
from hfvaccine.validation.scores import VACCINE
from hfvaccine.validation.showing.figures import Figure
from hfvaccine.validation.showing.lookup import change, require_schema
from hfvaccine.validation.showing.names import condition_label, label, metric_label, probe_label, reading_label
from hfvaccine.validation.showing.sentences import (
    counts,
    headline,
    measured,
    ordered,
    result_lines,
    settings_line,
    without,
)
from hfvaccine.validation.showing.sheets import Sheet, sheets

VERDICTS = {
    "passed": "Every criterion was met.",
    "failed": "At least one criterion was not met. Do not deploy this adapter.",
    "undecided": "The measurements are too few to say. Do not take this for an immunized model.",
    None: "Only a base was measured, so there is nothing to judge.",
}
SERVED = "A served model was measured alone, so there is nothing to judge it against."


def title_of(results: Mapping[str, Any]) -> str:
    """What was measured."""
    if results.get("served"):
        return "A served model, measured"
    return "An immunized adapter, validated" if VACCINE in results["arms"] else "A base model, measured"


def render(results: Mapping[str, Any], figures: Sequence[Figure], record: Mapping[str, Any] | None) -> str:
    """The page.

    Args:
        results: the content of results.json.
        figures: pictures as `figures.draw` makes them; taken as they are.
        record: the content of immunization.json; None where only a base was measured.

    Returns:
        HTML. It depends on nothing but the arguments, and all that comes from data is escaped.

    Raises:
        ValidationError: for results of another schema.
    """
    from markupsafe import Markup

    require_schema(results)
    gate = results["gate"]
    return (
        templates("hfvaccine.validation.showing")
        .get_template("page.html")
        .render(
            title=title_of(results),
            verdict=gate["verdict"] if gate else None,
            headline=headline(results),
            word=headline(results).partition(" (")[0],
            counts=counts(gate) if gate else "",
            meaning=SERVED if results.get("served") else VERDICTS[gate["verdict"] if gate else None],
            criteria=criteria_of(gate["criteria"]) if gate else None,
            left_out=[clean(name) for name in gate.get("not_applicable", [])] if gate else [],
            missing=without(results),
            compared=_compared(results, record),
            lines=result_lines(results),
            sheets=sheets(results),
            figures=[(figure.name, Markup(figure.svg)) for figure in figures],
            contrasts=_contrasts(results),
            intervals=settings_line(results),
            settings=[(label(name), label(value)) for name, value in results["settings"].items() if name != "gate"],
            rules=_rules(results["settings"].get("gate") or []),
            created_by=results["created_by"],
        )
    )


def criteria_of(criteria: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The criteria of a gate as the page has them: those that failed first."""
    return [
        {
            "verdict": label(c["verdict"]),
            "name": clean(c["name"]),
            "measured": measured(c),
            "threshold": clean(c["threshold"]),
            "why": clean(c["why"]),
        }
        for c in ordered(criteria)
    ]


def _compared(results: Mapping[str, Any], record: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """What a reader needs to know of the arms; never a path of the machine they were made on."""
    facts = []
    if record is not None:
        base, dose, mix, plan = (record.get(part) or {} for part in ("base", "dose", "mix", "plan"))
        facts += [("Base", source_of(base.get("id"), base.get("revision")))]
        if dose:
            facts += [("Dose", _dose_of(one)) for one in dose.get("doses") or [dose]]
        if mix:
            facts += [("Mix", source_of(mix.get("id"), mix.get("revision")))]
        if plan.get("share_given") is not None and plan.get("tokens") is not None:
            size = f"{number(plan['tokens'])} tokens in {number(plan.get('steps'))} steps"
            facts += [("Share of the dose", f"{percent(plan['share_given'])} of {size}")]
        if plan.get("seed") is not None:
            facts += [("Seed", label(plan["seed"]))]
    arms = [f"{label(arm)}{f' ({n} seeds)' if (n := results['seeds'][arm]) > 1 else ''}" for arm in results["arms"]]
    return [*facts, ("Arms", ", ".join(arms))]


def _dose_of(dose: Mapping[str, Any]) -> str:
    """A dose, and what was given of it; of several, its share, too."""
    given = f"{dose.get('claims_given')} of {dose.get('claims_in_dose')} claims given"
    share = f", {percent(dose['share_given'])} of the run" if is_finite(dose.get("share_given")) else ""
    return f"{clean(dose.get('name'))} ({source_of(dose.get('id'), dose.get('revision'))}), {given}{share}"


def source_of(name: object, revision: object) -> str:
    """Where something is from; "local files" where that is on no Hub."""
    if name != "starter" and not is_hub_id(name, namespace_needed=False):
        return "local files"
    return f"{clean(name)}{f' at {str(revision)[:8]}' if is_commit(revision) else ''}"


def _contrasts(results: Mapping[str, Any]) -> Sheet:
    """Every paired difference, for who wants to check the sentences."""
    rows = tuple(
        (
            f"{probe_label(c['probe'])}, {reading_label(c['reading'])}, {condition_label(c['condition'])}",
            metric_label(c["metric"], alone=True),
            label(c["against"]),
            change(c),
            _number(c.get("detectable")),
            _number(c.get("p")),
            _number(c.get("p_holm")),
        )
        for c in results["contrasts"]
    )
    columns = ("", "metric", "against", "difference", "detectable", "p (McNemar)", "p (Holm)")
    return Sheet("Every paired difference", columns, rows)


def _rules(rules: Sequence[Mapping[str, Any]]) -> Sheet:
    columns = tuple(dict.fromkeys(key for rule in rules for key in rule))
    rows = tuple(tuple(_value(rule.get(key)) for key in columns) for rule in rules)
    return Sheet("The gate as configured", tuple(label(column) for column in columns), rows)


def _value(value: object) -> str:
    return {None: "", True: "yes", False: "no"}[value] if value is None or isinstance(value, bool) else str(value)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"
