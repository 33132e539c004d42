"""What of a finished run is published, and what is refused: reading the folder, no Hub and no network."""

from __future__ import annotations

import copy
import json
import os.path
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from hfvaccine.claims.dose import Dose
from hfvaccine.claims.shares import without_share
from hfvaccine.errors import PublishError, UsageError
from hfvaccine.files import ADAPTER_CONFIG, CARD, CONFIG, FIGURES, RECORD, RESULTS, load_yaml
from hfvaccine.hub.content import Content, read, sha256_of
from hfvaccine.hub.leaks import PATH, refuse_leaks
from hfvaccine.papers import card as adapter_card
from hfvaccine.papers import inoculation_card
from hfvaccine.papers.arms import gate_of
from hfvaccine.papers.binding import asked_of, bind, open_run, recorded_doses
from hfvaccine.papers.kind import IMMUNIZED, kind_in
from hfvaccine.sources.place import with_revision
from hfvaccine.text import is_hub_id

OWN_OPTIONS = ("base_id", "output_dir", "push_to", "publish_failed", "report_to")
"""Options of a run that mean something only where it ran, left out of the published `config.yaml`."""


def adapter_files(
    run: Path,
    repo_id: str,
    *,
    base_id: str | None = None,
    dose_ids: Mapping[str, tuple[str, str | None]] | None = None,
    license: str | None = None,
    publish_failed: bool = False,
    endpoint: str = "https://huggingface.co",
    repos: Mapping[str, str] | None = None,
) -> dict[str, Content]:
    """What a run is published as: Hub ids in place of paths, a card for the repo, and a record that binds it all.

    Args:
        run: folder of a finished and validated run, of one adapter of an inoculation, or of a merged model.
        repo_id: the model repo to be.
        base_id: Hub id of the base, where the run was given a folder or a file.
        dose_ids: Hub id of each dose that is to be named by it, and the commit there, by the digest of its manifest.
        license: Hub license id of the adapter.
        publish_failed: also publish what failed its gate.
        endpoint: the Hub on which the repo is.
        repos: where adapters of an inoculation go, by their names: this one and those that are published with it.

    Returns:
        Content by path in the repo. It depends on the folder and the arguments alone, so that a
        second push of the same run is the same commit.

    Raises:
        LineageError: where the run is unfinished, or its files are not those that its record binds.
        PublishError: where it failed its gate, names its base by a local path, or holds a secret.
        UsageError: for an id that is none.
    """
    merged = (run / "config.json").is_file()
    if merged and not any(run.glob("model*.safetensors")):
        raise PublishError(f"{run} has a config.json and no model.safetensors.", "Merge the adapter again.")
    kind = kind_in(run)
    record = open_run(run, kind.merged_needs if merged else kind.needs, whole=True)
    files = {name: read(run / name) for name in record["files"]}
    for name, digest in record["files"].items():
        if sha256_of(files[name]) != digest:
            raise PublishError(f"{name} of {run} was changed just now.", "Push again once nothing writes there.")
    options = _loaded(files, CONFIG)
    results = _loaded(files, kind.results) if kind.results in files else {}
    render: Callable[..., str]
    if kind is IMMUNIZED:
        require_gate(record, results, publish_failed)
        public = _with_public_ids(record, options, base_id, dose_ids or {})
        render = adapter_card.render
    else:
        require_arm_gate(record, results, publish_failed)
        public = _arm_with_public_ids(record, options, base_id, repos or {})
        render = inoculation_card.render
        if results:
            results["base"] = {**results["base"], "id": public["base"]["id"]}
            files[kind.results] = _json_bytes(results)
    if ADAPTER_CONFIG in files:
        adapter = _loaded(files, ADAPTER_CONFIG)
        if adapter.get("base_model_name_or_path") != public["base"]["id"]:
            files[ADAPTER_CONFIG] = _json_bytes({**adapter, "base_model_name_or_path": public["base"]["id"]})
    files[CONFIG] = _public_config(options, public)
    figures = [name for name in files if name.startswith(f"{FIGURES}/")]
    files[CARD] = render(public, results, repo_id, license, endpoint, figures).encode()
    digests = {name: sha256_of(files[name]) for name in files if name != kind.record}
    files[kind.record] = _json_bytes(bind(public, digests))
    given = [Path(name) for part in PARTS if options.get(part) for name in _named(options[part])]
    refuse_leaks(files, [run.resolve(), *given])
    return files


ROWS = ("data", "trait_data")
"""Options of an inoculation that name rows."""
PARTS = ("base", "dose", "mix", *ROWS)
"""Options that may name something of this machine."""
WORDS = ("prompt", "others", "irrelevant", "where")
"""Options whose texts are meant as they are, whatever they look like."""
_NAMED = re.compile(r"((?:[\w.-]+=)?)(.+)", re.DOTALL)


def _named(option: object) -> list[str]:
    """What an option names; of several doses each, without its share."""
    return [without_share(str(one))[0] for one in option] if isinstance(option, list) else [str(option)]


def _loaded(files: Mapping[str, Content], name: str) -> dict[str, Any]:
    """The mapping in a JSON or YAML file."""
    import yaml

    try:
        content = json.loads(files[name]) if name.endswith(".json") else load_yaml(files[name])  # type: ignore[arg-type]
    except (ValueError, yaml.YAMLError) as error:
        raise PublishError(
            f"{name} cannot be read: {' '.join(str(error).split())}.", "Run the immunization again."
        ) from error
    if not isinstance(content, dict):
        raise PublishError(f"{name} holds no mapping.", "Run the immunization again.")
    return content


def _with_public_ids(
    record: Mapping[str, Any],
    options: Mapping[str, Any],
    base_id: str | None,
    dose_ids: Mapping[str, tuple[str, str | None]],
) -> dict[str, Any]:
    """The record with names that mean something elsewhere in place of paths."""
    if base_id is not None and not is_hub_id(base_id, namespace_needed=False):
        raise UsageError(f"{base_id!r} is not a Hub id.", "Give the base as `namespace/name`.")
    try:
        public = copy.deepcopy(dict(record))
        dose, mix = public["dose"], public["mix"]
        _name_base(public["base"], options, base_id)
        booster = public.get("booster")
        doses = recorded_doses(public)
        others = [*([booster["parent"], *booster["ancestors"]] if booster else []), *doses]
        _call_by_name(dose, mix, mix.get("comparisons"), *others)
        for one in cast(list[dict[str, Any]], doses):
            name, revision = dose_ids.get(str(one.get("manifest_sha256")), (one["id"], None))
            if name != one["id"]:
                one["id"], one["revision"] = name, revision
        dose["id"], dose["revision"] = doses[0]["id"], doses[0]["revision"]
    except (KeyError, TypeError, AttributeError) as error:
        raise PublishError(f"{RECORD} is malformed: {error!r}.", "Run the immunization again.") from error
    return public


def _arm_with_public_ids(
    record: Mapping[str, Any], options: Mapping[str, Any], base_id: str | None, repos: Mapping[str, str]
) -> dict[str, Any]:
    """The same of one adapter of an inoculation, which names the repos of those that are published with it."""
    if base_id is not None and not is_hub_id(base_id, namespace_needed=False):
        raise UsageError(f"{base_id!r} is not a Hub id.", "Give the base as `namespace/name`.")
    try:
        public = copy.deepcopy(dict(record))
        _name_base(public["base"], options, base_id)
        _call_by_name(public["data"], public.get("trait_data"))
        for name, one in public["run"].items():
            one["repo"] = repos.get(name)
    except (KeyError, TypeError, AttributeError) as error:
        raise PublishError(f"The record is malformed: {error!r}.", "Train the adapter again.") from error
    return public


def _call_by_name(*sources: dict[str, Any] | None) -> None:
    """Call what came from no Hub by its last name; what was not given is None."""
    for source in filter(None, sources):
        if not source.get("revision"):
            source["id"] = Path(source["id"]).name


def _name_base(base: dict[str, Any], options: Mapping[str, Any], base_id: str | None) -> None:
    """Call a base by its Hub id.

    Raises:
        PublishError: where it has none.
    """
    # Without a revision it came from no Hub: the name that the run was given is a path, whatever it looks like.
    local = not base.get("revision") and base["id"] == options.get("base")
    if base_id is None and (local or not is_hub_id(base["id"], namespace_needed=False)):
        raise PublishError(
            f"The base {base['id']!r} is not a Hub id, so nobody else could load the adapter.",
            "Give the base's Hub id with --base-id.",
        )
    base["id"] = base_id or base["id"]


def _public_config(options: Mapping[str, Any], record: Mapping[str, Any]) -> bytes:
    """The options of the run as somebody else can use them, pinned to what the run was really given."""
    import yaml

    public = {
        name: value if name in WORDS else _without_folders(value)
        for name, value in options.items()
        if name not in OWN_OPTIONS
    }
    for part in ("base", "dose", "mix"):
        if public.get(part):
            public[part] = record[part]["id"]
            public.pop(f"{part}_revision", None)
            if record[part].get("revision"):
                public[f"{part}_revision"] = record[part]["revision"]
    if several := (record.get("dose") or {}).get("doses"):
        public["dose"] = asked_of(several)
        public.pop("dose_revision", None)  # each has its own beside its name
    for part in ROWS:
        if public.get(part):
            public[part] = with_revision(record[part]["id"], record[part].get("revision"))
    return str(yaml.safe_dump(public, sort_keys=False, allow_unicode=True)).encode()


def _without_folders(value: Any) -> Any:
    """A file, also in NAME=FILE and in lists, by its last name: the folders of a machine are nobody's business."""
    if isinstance(value, list):
        return [_without_folders(entry) for entry in value]
    if isinstance(value, str) and (named := _NAMED.fullmatch(value)):
        file = named[2]
        if os.path.isfile(file) or PATH.fullmatch(file):  # it may be gone since
            return named[1] + Path(file).name
    return value


def require_gate(record: Mapping[str, Any], results: Mapping[str, Any], publish_failed: bool) -> None:
    """Refuse what was never validated, or failed.

    Raises:
        PublishError: naming the criteria that were not met.
    """
    gate = record.get("gate")
    if not gate:
        raise PublishError("This adapter was never validated.", "Run `hfvaccine validate` on the run folder first.")
    verdict = gate.get("verdict")
    if verdict not in ("passed", "failed", "undecided") or (results.get("gate") or {}).get("verdict") != verdict:
        raise PublishError(
            f"{RECORD} and {RESULTS} do not agree on the gate's verdict.", "Run `hfvaccine validate` again."
        )
    _refuse_failed(gate, publish_failed)


def require_arm_gate(record: Mapping[str, Any], traits: Mapping[str, Any], publish_failed: bool) -> None:
    """Refuse an adapter of an inoculation that failed. What was not judged, or not measured, says so on its card.

    Raises:
        PublishError: naming the criteria that were not met.
    """
    gate = record.get("gate") or {}
    if (gate_of(traits, record["adapter"].get("arm")) or {}) != gate:
        raise PublishError(
            "The record and traits.json do not agree on the gate.", "Run `hfvaccine inoculate measure` again."
        )
    _refuse_failed(gate, publish_failed)


def _refuse_failed(gate: Mapping[str, Any], publish_failed: bool) -> None:
    if gate.get("verdict") == "failed" and not publish_failed:
        failed = ", ".join(c["name"] for c in gate.get("criteria", []) if c.get("verdict") == "failed")
        raise PublishError(
            f"This adapter failed its gate ({failed or 'no criterion named'}).",
            "Give --publish-failed to publish it all the same; its card will say FAILED first.",
        )


def refuse_expired(dose: Dose) -> None:
    """Refuse a dose whose facts are to be checked again first.

    Raises:
        PublishError: naming the day.
    """
    expires_on = dose.policy.get("expires_on")
    if expires_on and str(expires_on) <= datetime.now(UTC).date().isoformat():
        raise PublishError(
            f"{dose.name} expired on {expires_on}.", "Check its facts again, then seal it with a later date."
        )


def _json_bytes(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
