"""A card held against the papers beside it: it is made of them alone, and so it can be made again. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from hfvaccine.errors import LineageError
from hfvaccine.files import CARD, FIGURES, load_yaml
from hfvaccine.lineage.links import BROKEN, MISSING, OK, Evidence, State
from hfvaccine.papers import card as immunized_card
from hfvaccine.papers import inoculation_card
from hfvaccine.papers.kind import IMMUNIZED, Kind
from hfvaccine.text import is_hub_id

LISTED = ("base_model", "datasets", "tags", "hfvaccine")
"""Metadata that lists of adapters go by, besides the numbers."""
ARGUMENTS = ("trait", "condition", "questions", "probe", "reading", "interval", "pairs", "clusters")
"""What a number is about, of either kind of adapter."""
SHOWN = 120
"""Characters of a line that is quoted."""


@dataclass(frozen=True)
class Found:
    """How a card stands.

    Args:
        what: that was looked at, in words.
        wrong: what it says that the papers do not, whichever hfvaccine made it; else "".
        reworded: the first line of its text that this hfvaccine would have written otherwise; else "".
    """

    what: str
    wrong: str = ""
    reworded: str = ""


def state_of(record: Mapping[str, Any], evidence: Evidence, results: Mapping[str, Any]) -> State:
    """How the card of an adapter stands, as a link of its chain.

    Args:
        record: of the adapter.
        evidence: with its folder.
        results: what was measured of it.
    """
    text = (evidence.folder / CARD).read_text(encoding="utf-8")
    found = held_against(text, record, results, evidence.kind)
    if found.wrong:
        return BROKEN, found.what, found.wrong
    if found.reworded and record["code"]["sha256"] == evidence.code:
        return BROKEN, found.what, found.reworded
    if found.reworded:
        return MISSING, found.what, "another hfvaccine made it: its tables were not held against the results"
    return OK, found.what, ""


def held_against(card: str, record: Mapping[str, Any], results: Mapping[str, Any], kind: Kind = IMMUNIZED) -> Found:
    """Hold a card against what the record and the results make of it: its metadata, its banner, all of its text.

    Args:
        card: the README.
        record: the content of immunization.json or inoculation.json.
        results: of results.json or traits.json.
        kind: which of them.

    Raises:
        LineageError: where it is no card, or the papers make none.
    """
    front, body = _parts(card)
    metadata = _loaded(front)
    again, made = _parts(_rendered(record, results, metadata, body, kind))
    shown, measured = _numbers(metadata), _numbers(_loaded(again))
    unknown = next((number for number in shown if number not in measured), None)
    if unknown is not None:
        return Found("", f"{kind.results} has no {shown[unknown]} of {unknown[-1]}")
    for key in LISTED:
        said, made_of = metadata.get(key), _loaded(again).get(key)
        if said != made_of:
            return Found("", f"its metadata say {key}: {said}, and the papers make {made_of}")
    what = f"its {len(shown)} headline numbers are those of {kind.results}"
    if shown != measured:  # other ones, or by other names
        return Found(what, reworded=f"its metadata have {_said(shown)}, and {kind.results} makes {_said(measured)}")
    if body == made:
        return Found(f"{what}, its text what the papers make")
    lines = zip_longest(body.split("\n"), made.split("\n"), fillvalue="nothing")
    here, there = next((here[:SHOWN], there[:SHOWN]) for here, there in lines if here != there)
    said = f"it says {here!r} where the papers make {there!r}"
    return Found(what, reworded=said) if _verdict(body) == _verdict(made) else Found(what, said)


def metadata_of(card: str) -> Mapping[str, Any]:
    """The metadata of a card.

    Raises:
        LineageError: where it has none.
    """
    return _loaded(_parts(card)[0])


def _parts(card: str) -> tuple[str, str]:
    """A card's metadata and its text."""
    front, line, body = card.removeprefix("---\n").partition("\n---\n")
    if not card.startswith("---\n") or not line:
        raise LineageError("it has no metadata")
    return front, body


def _loaded(front: str) -> Mapping[str, Any]:
    import yaml

    try:
        metadata = load_yaml(front)
    except yaml.YAMLError as error:
        raise LineageError(" ".join(str(error).split())) from error
    if not isinstance(metadata, Mapping):
        raise LineageError("its metadata are none")
    return metadata


def _rendered(
    record: Mapping[str, Any], results: Mapping[str, Any], metadata: Mapping[str, Any], body: str, kind: Kind
) -> str:
    """The card made again, for the repo and on the Hub that it says it is for."""
    repo = next(iter(re.findall(r"^hfvaccine verify (\S+)$", body, re.MULTILINE)), ".")
    urls = [str((result.get("source") or {}).get("url")) for result in _results(metadata)]
    endpoint = urls[0].removesuffix(f"/{repo}/resolve/main/{kind.results}") if urls else ""
    render = immunized_card.render if kind is IMMUNIZED else inoculation_card.render
    figures = [name for name in record["files"] if name.startswith(f"{FIGURES}/")]
    try:
        return render(record, results, repo if is_hub_id(repo) else None, metadata.get("license"), endpoint, figures)
    except Exception as error:  # a template fails in as many ways as papers can be wrong
        raise LineageError(f"no card can be made of these papers ({type(error).__name__}: {error})") from error


def _results(metadata: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [result for model in metadata.get("model-index") or () for result in model["results"]]


def _numbers(metadata: Mapping[str, Any]) -> dict[tuple[Any, ...], Any]:
    """The headline numbers, which lists of adapters go by: how each is called, by what it is of and its value."""
    numbers = {}
    for metric in (metric for result in _results(metadata) for metric in result["metrics"]):
        args = metric.get("args") or {}
        asked = (args.get(key) for key in ARGUMENTS)
        numbers[tuple(map(str, (*asked, metric["type"], metric["value"])))] = metric.get("name")
    return numbers


def _said(numbers: Mapping[tuple[Any, ...], Any]) -> str:
    return f"{len(numbers)} numbers ({', '.join(map(str, numbers.values()))})"[:SHOWN]


def _verdict(body: str) -> str:
    """The verdict of a card's banner, the first thing that it says."""
    found = re.match(r"\s*> \*\*([A-Z ,]+)\.\*\*", body)
    return found[1] if found else ""
