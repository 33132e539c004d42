"""The papers of one adapter of an inoculation: its record, what was measured of it, and its card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hfvaccine.files import ADAPTER, CARD, FIGURES, INOCULATION, TRAITS, present, write_json
from hfvaccine.inoculation.kinds import file_of
from hfvaccine.papers import inoculation_card
from hfvaccine.papers.arms import gate_of
from hfvaccine.papers.kind import INOCULATED as KIND
from hfvaccine.papers.record import bound

OF_THE_RUN = ("adapters", "trait_adapters", "arms", "training")
"""What a run's record holds of each of its adapters."""


def arm_record(run: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The record of one adapter before the files beside it are bound to it: see `hfvaccine.papers.binding`.

    Args:
        run: the content of the run's inoculation.json.
        name: of the adapter's folder.
    """
    own = dict(run["adapters"][name])
    given = {key: own.pop(key) for key in ("plan", "seconds", "final_loss")}
    return {
        **{key: value for key, value in run.items() if key not in OF_THE_RUN},
        "trait_data": run.get("trait_data") if own.get("frozen") else None,
        "adapter": {"name": name, **own},
        "plan": given["plan"],
        "inoculation": run["arms"].get(own["arm"]),
        "training": {**run["training"], "seconds": given["seconds"], "final_loss": given["final_loss"]},
        "run": {
            other: {"arm": one["arm"], "seed": one["seed"], "sha256": one["sha256"]}
            for other, one in run["adapters"].items()
        },
        "gate": None,
    }


def public_traits(content: Mapping[str, Any], base_id: str) -> dict[str, Any]:
    """What was measured with names in place of paths: those of traits, adapters, questions and base.

    Args:
        content: of traits.json.
        base_id: what the adapter's papers call the base.
    """
    files = [file_of(trait["name"]) for trait in content["traits"]]
    named = {str(file): file.name for file in files if file is not None}
    arms = {arm: {**one, "adapter": _named(one.get("adapter"))} for arm, one in content["arms"].items()}
    questions = content.get("questions")
    if questions is not None:
        questions = {**questions, "file": Path(str(questions["file"])).name}
    public = {**content, "arms": arms, "questions": questions, "base": {**content["base"], "id": base_id}}
    found: dict[str, Any] = _renamed(public, named)
    return found


def write_papers(folder: Path, record: Mapping[str, Any], traits: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Write an adapter's card and bind all of its folder to its record, which is written last.

    Args:
        folder: of the adapter, with everything in it but card and record.
        record: as `arm_record` makes it, or bound before.
        traits: what was measured, to be written into the folder; nothing leaves what is there.

    Returns:
        The record.
    """
    if traits is not None:
        write_json(traits, folder / TRAITS)
        record = {**record, "gate": gate_of(traits, record["adapter"]["arm"])}
    figures = tuple(present(folder, (f"{FIGURES}/*",)))
    card = inoculation_card.render(record, traits or {}, None, figures=figures)
    (folder / CARD).write_text(card, encoding="utf-8")
    record = bound(record, folder, KIND)
    write_json(record, folder / INOCULATION)
    return record


def arms_in(folder: Path) -> list[Path]:
    """The folders of adapters with papers: the folder itself, or those in the folder of a run.

    Args:
        folder: of a run, of one adapter, or any other, which has none.
    """
    places = [folder] if (folder / ADAPTER).is_file() else sorted(folder.glob("*/"))
    return [place for place in places if (place / INOCULATION).is_file() and (place / ADAPTER).is_file()]


def _named(adapter: object) -> object:
    """An adapter's Hub id, or the last name of its folder."""
    if isinstance(adapter, str) and Path(adapter).exists():
        return Path(adapter).resolve().name
    return adapter


def _renamed(value: Any, named: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for path, name in named.items():
            value = value.replace(path, name)
        return value
    if isinstance(value, Mapping):
        return {_renamed(key, named): _renamed(entry, named) for key, entry in value.items()}
    return [_renamed(entry, named) for entry in value] if isinstance(value, list | tuple) else value
