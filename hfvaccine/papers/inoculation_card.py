"""The card of one adapter of an inoculation: where its trait shows most, what its gate says, and what it learned."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from hfvaccine.inoculation.grid import NONE
from hfvaccine.inoculation.kinds import judge_of
from hfvaccine.inoculation.profile import KEEP
from hfvaccine.inoculation.where import ALL, recorded
from hfvaccine.papers.arms import CONTROL_OF, TREATED, compared_with, is_control, measured_as, weights_digest
from hfvaccine.papers.shown import code, common, criterion, rows_link
from hfvaccine.sources.place import STARTER
from hfvaccine.statistics import MIN_CLUSTERS
from hfvaccine.text import (
    NOT_KNOWN,
    Markdown,
    clean,
    fill,
    is_commit,
    is_finite,
    is_hub_id,
    is_interval,
    number,
    plain,
    with_interval,
)
from hfvaccine.training.options import BY_ADAPTER, METHODS
from hfvaccine.validation.showing.sentences import counts, ordered

BANNERS = {
    "passed": "**PASSED.** {what} met every criterion of its gate",
    "undecided": "**UNDECIDED.** {what} may or may not have met its gate: the measurements are too few to say",
    "failed": "**FAILED.** {what} did not meet its gate. It is published as a record; do not deploy it",
}
NO_GATE = "**NO GATE.** It was measured how far the trait shows in {what}; no gate judged it."
NOT_MEASURED = "**NOT MEASURED.** {what} was trained and never asked anything. Nothing is known about what it does."
CONTROL = (
    "**CONTROL, NOT FOR USE.** {what} was trained with the unwanted trait, as a control{how}. It is meant to show the "
    "trait, so that others can be compared with it."
)

_PICTURE = re.compile(r"figures/[a-z0-9_]{1,80}\.(svg|png)")


def render(
    record: Mapping[str, Any],
    traits: Mapping[str, Any],
    repo_id: str | None,
    license: str | None = None,
    endpoint: str = "https://huggingface.co",
    figures: Sequence[str] = (),
) -> str:
    """Write the card of an adapter, or of the model that the record says it was merged into.

    Args:
        record: of the adapter, as in its `inoculation.json`.
        traits: what was measured, as in `traits.json`; an empty mapping before that.
        repo_id: the model repo it is published as; None for a folder.
        license: Hub license id; none is stated without it.
        endpoint: the Hub on which `repo_id` is, for the link from the metadata to the results.
        figures: the pictures beside it, such as `figures/traits.svg`.

    Returns:
        The README: YAML metadata with `model-index`, and the text, the verdict and the worst condition before
        anything else. It depends on nothing but the arguments.
    """
    data, own, gate = record["data"], record["adapter"], record.get("gate") or {}
    trait_data = record.get("trait_data") or {}
    shown = compared_with(record, traits)
    arm = measured_as(traits, weights_digest(record))
    title = repo_id.split("/")[-1] if repo_id else str(own["name"])
    criteria = ordered(gate.get("criteria", []))
    settings = traits.get("settings", {})
    worst, naming = _worst(traits, arm), _naming(record, traits)
    return fill(
        "hfvaccine.model_cards",
        "inoculation.md",
        {
            **common(record, repo_id),
            "metadata": Markdown(_metadata(record, traits, arm, title, repo_id, license, endpoint).to_yaml()),
            "banner": _banner(record, gate, arm),
            "worst": [_worst_line(traits, shown, one, naming) for one in worst if not _kept(traits, one["trait"])],
            "least": [_worst_line(traits, shown, one) for one in worst if _kept(traits, one["trait"])],
            "title": title,
            "arm": own.get("arm"),
            "adopted": record.get("adopted"),
            "control": is_control(record),
            "by_adapter": _by_adapter(record),
            "learned": {**TREATED, **CONTROL_OF}.get(str(own.get("arm")), "as the record says"),
            "data": data,
            "data_link": rows_link(data),
            "frozen": own.get("frozen"),
            "trait_data": trait_data,
            "trait_link": rows_link(trait_data),
            "trait_apart": _apart(trait_data, data),
            "trait_rows": record.get("trait_rows") or {},
            "told_by": _told_by((record.get("trait_rows") or {}).get("where")),
            "gate": gate,
            "open": [criterion(c) for c in criteria if c.get("verdict") != "passed"],
            "criteria": [(criterion(c), c.get("why")) for c in criteria],
            "tables": list(_tables(traits, shown, arm)),
            "missing": [name for name in _controls(record) if name not in shown] if arm else [],
            "measured": arm is not None,
            "conditions": [
                (condition["name"], Markdown(", ".join(map(code, _prompts(condition))) or "no prompt"))
                for condition in traits.get("conditions", ())
            ],
            "judges": list(filter(None, map(judge_of, traits.get("traits", ())))),
            "few": [one["name"] for one in traits.get("traits", ()) if one["questions"] < MIN_CLUSTERS],
            "enough": MIN_CLUSTERS,
            "settings": settings,
            "questions": traits.get("questions") or {},
            "pictures": [Markdown(name) for name in figures if _PICTURE.fullmatch(name)],
            "siblings": [(name, one) for name, one in record.get("run", {}).items() if name != own["name"]],
            "seed": own.get("seed"),
        },
    )


def _by_adapter(record: Mapping[str, Any]) -> bool:
    """Whether an arm of its run was trained beside a frozen adapter."""
    arms = {record["adapter"].get("arm"), *(one.get("arm") for one in record.get("run", {}).values())}
    return not arms.isdisjoint(METHODS[BY_ADAPTER])


def _apart(trait_data: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Whether the rows of the frozen adapter lie in a file of their own, which is nowhere published."""
    own = trait_data and trait_data.get("sha256") != data.get("sha256")
    return bool(own and not trait_data.get("revision") and trait_data.get("id") != STARTER)


def _told_by(where: object) -> str:
    """Which rows carry the trait, in words."""
    if where is None or where == ALL:
        return "every row" if where else "which they are is not known"
    condition = recorded(str(where)) is not None
    return f"each row with {where}" if condition else f"each row that a function of the script told ({where})"


def _metadata(
    record: Mapping[str, Any],
    traits: Mapping[str, Any],
    arm: str | None,
    title: str,
    repo_id: str | None,
    license: str | None,
    endpoint: str,
) -> ModelCardData:
    base, data, own = record["base"], record["data"], record["adapter"]
    merged = bool(record["training"].get("merged"))
    base_id = base.get("id") if is_hub_id(base.get("id"), namespace_needed=False) else None
    rows = [one for one in (data, record.get("trait_data") or {}) if is_hub_id(one.get("id")) and one.get("revision")]
    file = f"{endpoint}/{repo_id}/resolve/main/traits.json" if repo_id else "traits.json"
    evaluations = [
        EvalResult(
            task_type="text-generation",
            task_name="Keeping a trait" if _kept(traits, one["trait"]) else "Showing an unwanted trait",
            dataset_type="hfvaccine-questions",
            dataset_name="questions and test prompts",
            metric_type="trait",
            metric_name=clean(f"{one['trait']}, {one['condition']}{_bounds(one)}"),
            metric_value=one["value"],
            metric_args={
                "trait": clean(one["trait"]),
                "condition": clean(one["condition"]),
                # A list of its own each time: one list twice would become a YAML alias.
                "interval": list(one["interval"]) if is_interval(one.get("interval")) else None,
                "questions": one.get("questions"),
            },
            source_name="hfvaccine",
            source_url=file,
        )
        for one in traits.get("shown", ())
        if arm is not None and one["arm"] == arm and is_finite(one["value"])
    ]
    worst = next((one for one in _worst(traits, arm) if not _kept(traits, one["trait"])), None)
    facts = {
        "arm": _tag(own.get("arm")),
        "base_revision": base.get("revision") if is_commit(base.get("revision")) else None,
        "data_revision": data.get("revision") if is_commit(data.get("revision")) else None,
        "worst": worst and {
            "trait": clean(worst["trait"]),
            "condition": clean(worst["condition"]),
            "value": worst["value"],
            "interval": list(worst["interval"]) if is_interval(worst.get("interval")) else None,
        },
    }  # fmt: skip
    return ModelCardData(
        base_model=base_id,
        base_model_relation=("finetune" if merged else "adapter") if base_id else None,
        datasets=[one["id"] for one in rows] or None,
        library_name="transformers" if merged else "peft",
        license=license,
        pipeline_tag="text-generation",
        tags=[
            "hfvaccine",
            "hfvaccine-merged" if merged else "hfvaccine-adapter",
            f"hfvaccine-gate-{_gate_tag(record, arm)}",
            "inoculation",
            *(["hfvaccine-control"] if is_control(record) else []),
        ],
        model_name=clean(title) if evaluations else None,
        eval_results=evaluations or None,
        # What `hfvaccine list` shows without fetching a file.
        hfvaccine={key: value for key, value in facts.items() if value is not None},
    )


def _gate_tag(record: Mapping[str, Any], arm: str | None) -> str:
    verdict = (record.get("gate") or {}).get("verdict")
    return str(verdict) if verdict in BANNERS else "none" if arm is not None else "not-measured"


def _tag(arm: object) -> str | None:
    return arm if isinstance(arm, str) and re.fullmatch(r"[a-z-]{1,40}", arm) else None


def _banner(record: Mapping[str, Any], gate: Mapping[str, Any], arm: str | None) -> Markdown:
    """What it is where that is a control; else the gate's verdict, or that there is none."""
    what = "the adapter that was merged into this model" if record["training"].get("merged") else "this adapter"
    begun = what[0].upper() + what[1:]
    if is_control(record):
        how = CONTROL_OF.get(str(record["adapter"].get("arm")))
        learned = f": it learned the rows that carry it {how}" if how else ""
        return Markdown(CONTROL.format(what=begun, how=learned) + ("" if arm else " It was not measured."))
    banner = BANNERS.get(str(gate.get("verdict")))
    if arm is None:
        return Markdown(NOT_MEASURED.format(what=begun))
    if banner is None:
        return Markdown(NO_GATE.format(what=what))
    return Markdown(banner.format(what=begun) + (f" ({counts(gate)})." if gate.get("criteria") else "."))


def _kept(traits: Mapping[str, Any], trait: object) -> bool:
    return any(one["name"] == trait and one["role"] == KEEP for one in traits["traits"])


def _worst(traits: Mapping[str, Any], arm: str | None) -> list[Mapping[str, Any]]:
    """How far each trait shows where it is worst in an arm: most, or least of what is to be kept."""
    found = {(one["trait"], one["condition"], one["arm"]): one for one in traits.get("shown", ())}
    keys = [(one["trait"], one["condition"], arm) for one in traits.get("worst", ()) if one["arm"] == arm]
    return [found[key] for key in keys if arm is not None and key in found]


def _prompts(condition: Mapping[str, Any]) -> list[str]:
    return [prompt for prompt in condition.get("prompts", ()) if prompt is not None]


def _naming(record: Mapping[str, Any], traits: Mapping[str, Any]) -> set[str]:
    """The conditions that name the trait: by the gate, or as they hold a prompt that the arm learned under."""
    learned = set((record.get("inoculation") or {}).get("prompts") or ()) if not is_control(record) else set()
    named = {one["name"] for one in traits.get("conditions", ()) if learned.intersection(_prompts(one))}
    return named | set((traits.get("gate") or {}).get("naming") or ())


def _worst_line(
    traits: Mapping[str, Any], shown: Mapping[str, str], worst: Mapping[str, Any], naming: Collection[str] = ()
) -> Markdown:
    """Where a trait is worst, what the others show there, and where it is where nothing names it."""
    found = {(one["condition"], one["arm"]): one for one in traits["shown"] if one["trait"] == worst["trait"]}
    condition, (_, *others) = worst["condition"], shown.items()
    beside = [f"{plain(name)} {_value(found.get((condition, arm)))}" for name, arm in others]
    extreme = "least" if _kept(traits, worst["trait"]) else "most"
    line = f"{plain(worst['trait'])} shows {extreme} {_under(condition)}"
    line += ", which names it" * (condition in naming) + f": **{_value(worst)}**"
    line += f" ({', '.join(beside)})" if beside else ""
    if condition in naming:
        own = [one for (name, arm), one in found.items() if arm == worst["arm"] and name not in naming]
        if known := [one for one in own if is_finite(one["value"])]:
            most = max(known, key=lambda one: one["value"])
            line += f"; where nothing names it, most {_under(most['condition'])}: **{_value(most)}**"
    if condition != NONE and (without := found.get((NONE, worst["arm"]))):
        line += f"; without a prompt {_value(without)}"
    return Markdown(f"{line}.")


def _under(condition: str) -> str:
    return "without a prompt" if condition == NONE else f"under *{plain(condition)}*"


def _tables(traits: Mapping[str, Any], shown: Mapping[str, str], arm: str | None) -> Iterator[Markdown]:
    """One table for each trait, its worst condition first; nothing in it is markup."""
    if arm is None:
        return
    worst = {one["trait"]: one["condition"] for one in _worst(traits, arm)}
    names = [condition["name"] for condition in traits["conditions"]]
    for trait in traits["traits"]:
        found = {(one["condition"], one["arm"]): one for one in traits["shown"] if one["trait"] == trait["name"]}
        first = worst.get(trait["name"])
        role = "to be kept" if trait["role"] == KEEP else "unwanted"
        lines = [["", *map(plain, shown)], ["---", *("---:" for _ in shown)]]
        for condition in sorted(names, key=lambda name: name != first):
            row = [plain(condition), *(_value(found.get((condition, one))) for one in shown.values())]
            lines.append([f"**{cell}**" for cell in row] if condition == first else row)
        title = f"**{plain(trait['name'])}**, {role}; {number(trait.get('questions'))} questions"
        unclear = sum(one.get("unclear") or 0 for key, one in found.items() if key[1] in shown.values())
        if unclear:
            title += f"; {number(unclear)} unclear answers left out"
        yield Markdown("\n".join([title, "", *(f"| {' | '.join(line)} |" for line in lines)]))


def _controls(record: Mapping[str, Any]) -> list[str]:
    """The arms of this seed that the run trained besides."""
    own = record["adapter"]
    others = {name: one for name, one in record.get("run", {}).items() if name != own["name"]}
    return [one["arm"] for one in others.values() if one["seed"] == own["seed"]]


def _value(one: Mapping[str, Any] | None) -> str:
    return NOT_KNOWN if one is None else with_interval(one.get("value"), one.get("interval"))


def _bounds(one: Mapping[str, Any]) -> str:
    return f" [{one['interval'][0]}, {one['interval'][1]}]" if is_interval(one.get("interval")) else ""
