"""A bill of materials of an adapter, as CycloneDX: what it is made of by digest, its numbers, and its licences."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from hfvaccine.errors import UsageError, ValidationError
from hfvaccine.files import ADAPTER
from hfvaccine.packages import install_extra
from hfvaccine.papers.binding import recorded_doses, taken_apart
from hfvaccine.papers.kind import IMMUNIZED, Kind
from hfvaccine.sources.license import licenses_in
from hfvaccine.text import is_hub_id

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component

OURS = UUID("5f0f6b7e-6d0a-5a86-9a0c-0e5a64ad8a11")
"""The namespace of serial numbers: one record always has the same one."""
DATA = ("dose", "mix", "data", "trait_data")
"""Parts of a record that an adapter was given."""
COUNTED = ("claims_given", "claims_in_dose", "share_asked", "share_given", "rows", "held_back", "pairs", "name")
"""What of them is told besides their digests."""


def bom(record: Mapping[str, Any], kind: Kind, card: Mapping[str, Any], source: str) -> dict[str, Any]:
    """The CycloneDX document of an adapter, checked against its schema (1.6).

    The adapter is the subject, with each file that its record binds, and how it was trained; it depends on base,
    doses, mix or data, on the adapter that it boosts, and on the libraries that trained it. Headline numbers and the
    verdict of the gate stand in its model card. A part has the licences that the record names of it, and none where
    the record names none.

    Args:
        record: the content of immunization.json or inoculation.json.
        kind: which of them.
        card: the metadata of its README.
        source: how the adapter is called: a folder's name, or a Hub id with its commit.

    Raises:
        UsageError: where the extra is not installed.
        ValidationError: where the papers are malformed, or make no valid document.
    """
    try:
        from cyclonedx.output.json import JsonV1Dot6
        from cyclonedx.schema import SchemaVersion
        from cyclonedx.validation.json import JsonStrictValidator
    except ImportError as error:
        raise UsageError(
            f"A bill of materials needs a package that is not here: {error.name}.", install_extra("bom")
        ) from error
    with taken_apart(source):
        made = _document(record, kind, card, source)
        model_card = _model_card(record, card, made)
    content: dict[str, Any] = json.loads(JsonV1Dot6(made).output_as_string())
    content["metadata"]["component"]["modelCard"] = model_card
    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(content)):
        raise ValidationError(f"The record makes no valid bill of materials: {wrong}.", "Report it with the record.")
    return content


def _document(record: Mapping[str, Any], kind: Kind, card: Mapping[str, Any], source: str) -> Bom:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType

    name, _, commit = source.partition("@")
    subject = Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="adapter",
        name=name,
        version=commit or record["record_sha256"],
        description=_described(record, kind),
        purl=_purl(name, commit),
        licenses=_licenses(licenses_in(card)),
        hashes=_hashes(record["files"].get(ADAPTER)),
        components=[_file(f"file:{file}", file, digest) for file, digest in record["files"].items()],
        properties=[
            *_properties("hfvaccine:plan", record["plan"]),
            *_properties("hfvaccine:training", {**record["training"], **_exposures(record)}),
        ],
    )
    made = Bom(serial_number=uuid5(OURS, record["record_sha256"]))
    made.metadata.timestamp = datetime.fromisoformat(record["finished_at"])
    made.metadata.component = subject
    made.metadata.tools.components.add(_library("hfvaccine", record["hfvaccine"], record["code"]["sha256"]))
    for one in _made_of(record):
        made.components.add(one)
    made.register_dependency(subject, made.components)
    return made


def _described(record: Mapping[str, Any], kind: Kind) -> str:
    what = "Base with a LoRA adapter merged in" if record["training"].get("merged") else "LoRA adapter"
    return f"{what}, {'immunized against falsehoods' if kind is IMMUNIZED else 'inoculated against a trait'}"


def _made_of(record: Mapping[str, Any]) -> Iterator[Component]:
    base = record["base"]
    weights = (base.get("weights") or {}).items()
    yield _model("base", base, components=[_file(f"base:{file}", file, digest) for file, digest in weights])
    for part in DATA:
        about = record.get(part)
        if about is not None:
            several = recorded_doses(record) if part == "dose" else [about]
            for number, one in enumerate(several, start=1):
                yield _data(part if number == 1 else f"{part}-{number}", one)
            if about.get("comparisons"):
                yield _data("comparisons", about["comparisons"])
    booster = record.get("booster")
    if booster is not None:
        yield _model("parent", booster["parent"], hashes=_hashes(booster["parent"]["adapter_sha256"]))
    for name, version in record["versions"].items():
        if name != "python":
            yield _library(name, version)


def _model(part: str, about: Mapping[str, Any], **more: Any) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=part,
        name=str(about["id"]),
        version=about.get("revision"),
        purl=_purl(about["id"], about.get("revision")),
        licenses=_licenses(about.get("licenses") or ()),
        **more,
    )


def _data(part: str, about: Mapping[str, Any]) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        type=ComponentType.DATA,
        bom_ref=part,
        name=str(about.get("id") or about.get("name")),
        version=about.get("revision"),
        hashes=_hashes(about.get("manifest_sha256") or about.get("sha256")),
        licenses=_licenses(about.get("licenses") or ()),
        properties=_properties("hfvaccine", {key: about[key] for key in COUNTED if key in about}),
    )


def _exposures(record: Mapping[str, Any]) -> dict[str, Any]:
    """How often each claim was to be given, and was; nothing of an adapter that was given none."""
    dose = record.get("dose") or {}
    return {key: dose[key] for key in ("exposures", "times_given") if key in dose}


def _properties(space: str, about: Mapping[str, Any]) -> list[Any]:
    """What is known of something as properties: texts as they are, all else as JSON."""
    from cyclonedx.model import Property

    return [
        Property(name=f"{space}:{key}", value=value if isinstance(value, str) else json.dumps(value, sort_keys=True))
        for key, value in about.items()
        if value is not None
    ]


def _file(reference: str, name: str, digest: str) -> Component:
    from cyclonedx.model.component import Component, ComponentType

    return Component(type=ComponentType.FILE, bom_ref=reference, name=name, hashes=_hashes(digest))


def _library(name: str, version: str, digest: str | None = None) -> Component:
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    return Component(
        type=ComponentType.LIBRARY,
        bom_ref=f"pypi:{name}",
        name=name,
        version=version,
        purl=PackageURL("pypi", name=name, version=version),
        hashes=_hashes(digest),
    )


def _hashes(sha256: str | None) -> list[Any]:
    from cyclonedx.model import HashAlgorithm, HashType

    return [HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else []


def _purl(name: object, commit: str | None) -> Any:
    """The package URL of a model on a Hub."""
    from packageurl import PackageURL

    if not is_hub_id(name):
        return None
    namespace, _, short = str(name).partition("/")
    return PackageURL("huggingface", namespace, short, version=commit or None)


def _licenses(names: Sequence[str]) -> list[Any]:
    """Licences, each as SPDX knows it, or by the name that it is given."""
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.spdx import fixup_id

    make, known = LicenseFactory(), [fixup_id(name) or name for name in names]
    if len(known) == 1:
        return [make.make_from_string(known[0])]
    # An expression may only stand alone.
    return [make.make_with_id(name) if fixup_id(name) else make.make_with_name(name) for name in known]


def _model_card(record: Mapping[str, Any], card: Mapping[str, Any], made: Bom) -> dict[str, Any]:
    """CycloneDX's card of a model: what it was given, its headline numbers, and what its gate says."""
    from cyclonedx.model.component import ComponentType

    numbers = []
    for result in (result for model in card.get("model-index") or () for result in model["results"]):
        for metric in result["metrics"]:
            about = metric.get("args") or {}
            low, high = about.get("interval") or (None, None)
            sliced = ", ".join(str(about[key]) for key in ("probe", "reading", "trait", "condition") if key in about)
            numbers.append(
                {
                    "type": metric["type"],
                    "value": str(metric["value"]),
                    **({"slice": sliced} if sliced else {}),
                    **(
                        {}
                        if low is None
                        else {"confidenceInterval": {"lowerBound": str(low), "upperBound": str(high)}}
                    ),
                }
            )
    verdict = (record.get("gate") or {}).get("verdict") or "none"
    return {
        "modelParameters": {
            "task": "text-generation",
            "approach": {"type": "supervised"},
            "datasets": [{"ref": str(one.bom_ref)} for one in made.components if one.type == ComponentType.DATA],
        },
        "quantitativeAnalysis": {"performanceMetrics": numbers},
        "considerations": {"technicalLimitations": [f"Verdict of its gate: {verdict}."]},
    }
