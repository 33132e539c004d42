"""The doses and adapters of a namespace on a Hub, found by their tags and told by their cards' metadata."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from hfvaccine.claims import journal
from hfvaccine.errors import HfvaccineError
from hfvaccine.files import RECALLS, VEX
from hfvaccine.quarantine.recalls import AFFECTED, UNDER_INVESTIGATION, noticed
from hfvaccine.text import is_finite, is_interval

if TYPE_CHECKING:
    from huggingface_hub import HfApi

DOSE_TAG = "hfvaccine-dose"
ADAPTER_TAG = "hfvaccine-adapter"
MERGED_TAG = "hfvaccine-merged"
GATE_TAG = "hfvaccine-gate-"
INOCULATION_TAG = "inoculation"
CONTROL_TAG = "hfvaccine-control"

HEADLINE = {"probe": "cross", "reading": "verdict"}
"""Where the headline number comes from: what the model says of claims that it was never given."""


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A repo, as the Hub tells of it.

    Args:
        id: its Hub id.
        url: its page.
        revision: its newest commit.
        changed: when that was made.
        private: whether only its owner sees it.
        gated: "manual", "auto" or False.
        license: Hub license id.
        tags: of the repo.
        recalled: how many claims its recalls or recall notices say are wrong, or looked at again; None where there are
            some that this account cannot read.
    """

    id: str
    url: str
    revision: str | None
    changed: str | None
    private: bool
    gated: str | bool
    license: str | None
    tags: tuple[str, ...]
    recalled: int | None


@dataclass(frozen=True, kw_only=True)
class ListedDose(Listed):
    """A dose, as its repo tells.

    Args:
        name: what the dose is called.
        size: how many claims, as the Hub's category.
        languages: of the claims.
    """

    name: str | None
    size: str | None
    languages: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ListedAdapter(Listed):
    """An adapter, or a model that one was merged into, as its repo tells.

    Args:
        kind: "immunized", "inoculated", or "control" of an inoculation.
        arm: of an inoculation; None of an immunized adapter.
        merged: whether it is a whole model.
        gate: "passed", "failed", "undecided", "not-validated"; of an inoculation also "none" and "not-measured".
        share_given: the dose's part of what it was trained on.
        auroc: how well it tells claims that it was never given from their twins.
        interval: the bounds of that.
        base: the Hub id of its base.
        base_revision: the commit of the base.
        dose: the Hub id of its dose, or of the data of an inoculation.
        dose_revision: the commit of the dose, or of the data.
        more_doses: how many it was given besides.
        worst: of an inoculation, where its trait shows most: "trait", "condition", "value", "interval".
    """

    kind: str
    arm: str | None
    merged: bool
    gate: str | None
    share_given: float | None
    auroc: float | None
    interval: tuple[float, float] | None
    base: str | None
    base_revision: str | None
    dose: str | None
    dose_revision: str | None
    more_doses: int
    worst: Mapping[str, Any] | None


@dataclass(frozen=True)
class Listing:
    """What a namespace holds, the newest first.

    Args:
        namespace: whose it is.
        endpoint: the Hub.
        doses: data sets tagged as doses.
        adapters: models tagged as adapters of ours, or as merged from one.
    """

    namespace: str
    endpoint: str
    doses: tuple[ListedDose, ...]
    adapters: tuple[ListedAdapter, ...]


def listing(namespace: str | None = None, *, token: str | None = None, endpoint: str | None = None) -> Listing:
    """List the doses and adapters of a namespace, as far as this account may see them; only recalls are fetched.

    Args:
        namespace: a user or an organisation; the account's own by default.
        token: Hub token, by default the one huggingface_hub finds.
        endpoint: the Hub, by default the one huggingface_hub talks to.

    Raises:
        HubError: where the Hub cannot be reached, or without a token and a namespace.
    """
    from huggingface_hub import HfApi

    from hfvaccine.hub.account import account
    from hfvaccine.hub.errors import as_hub_error

    api = HfApi(endpoint=endpoint, token=token)
    whose = namespace or account(api)
    wanted = ["cardData", "gated", "lastModified", "private", "sha", "siblings", "tags"]
    with as_hub_error(api, whose, "model"):
        doses = list(api.list_datasets(filter=DOSE_TAG, author=whose, expand=wanted))  # type: ignore[arg-type]
        models = {
            model.id: model
            for tag in (ADAPTER_TAG, MERGED_TAG)
            for model in api.list_models(
                filter=tag,
                author=whose,
                expand=[*wanted, "model-index"],  # type: ignore[list-item]
            )
        }
    return Listing(
        whose,
        api.endpoint,
        tuple(
            dose(f"{api.endpoint}/datasets/{info.id}", info, _recalled(api, info, "dataset"))
            for info in _newest_first(doses)
        ),
        tuple(
            adapter(f"{api.endpoint}/{info.id}", info, _recalled(api, info, "model"))
            for info in _newest_first(models.values())
        ),
    )


def dose(url: str, info: Any, recalled: int | None = 0) -> ListedDose:
    """What a dose's repo tells of it.

    Args:
        url: its page.
        info: what the Hub says of it, a `DatasetInfo`.
        recalled: how many of its claims are recalled.
    """
    card = _card(info)
    return ListedDose(
        **_repo(url, info),
        recalled=recalled,
        name=_text(card.get("pretty_name")),
        size=next(iter(_texts(card.get("size_categories"))), None),
        languages=_texts(card.get("language")),
        license=_text(card.get("license_name") or card.get("license")),
    )


def adapter(url: str, info: Any, recalled: int | None = 0) -> ListedAdapter:
    """What an adapter's repo tells of it. Anybody can write a card, so nothing in one is taken for granted.

    Args:
        url: its page.
        info: what the Hub says of it, a `ModelInfo`.
        recalled: how many claims its recall notices name.
    """
    card, tags = _card(info), _texts(info.tags)
    facts = card.get("hfvaccine")
    facts = facts if isinstance(facts, Mapping) else {}
    share = facts.get("share_given")
    auroc, interval = headline(card.get("model-index") or info.model_index)
    gates = [tag.removeprefix(GATE_TAG) for tag in tags if tag.startswith(GATE_TAG)]
    inoculated = INOCULATION_TAG in tags
    return ListedAdapter(
        **_repo(url, info),
        recalled=recalled,
        kind="control" if CONTROL_TAG in tags else "inoculated" if inoculated else "immunized",
        arm=_text(facts.get("arm")),
        merged=MERGED_TAG in tags,
        gate=gates[0] if gates else None,
        share_given=float(share) if isinstance(share, int | float) and is_finite(share) else None,
        auroc=auroc,
        interval=interval,
        base=next(iter(_texts(card.get("base_model"))), None),
        base_revision=_text(facts.get("base_revision")),
        dose=next(iter(_texts(card.get("datasets"))), None),
        dose_revision=_text(facts.get("data_revision" if inoculated else "dose_revision")),
        more_doses=more if isinstance(more := facts.get("more_doses"), int) and more > 0 else 0,
        worst=_worst(facts.get("worst")),
        license=_text(card.get("license")),
    )


def headline(index: Any) -> tuple[float | None, tuple[float, float] | None]:
    """AUROC on claims that were never given, and its interval, from a card's model-index.

    Args:
        index: the model-index; anything else has no such number.
    """
    for result in (result for model in _list(index) for result in _list(model.get("results"))):
        for metric in _list(result.get("metrics")):
            arguments, value = metric.get("args"), cast(Any, metric.get("value"))
            if metric.get("type") != "auroc" or not isinstance(arguments, Mapping) or not is_finite(value):
                continue
            if all(arguments.get(key) == wanted for key, wanted in HEADLINE.items()):
                bounds: Any = arguments.get("interval")
                return float(value), (float(bounds[0]), float(bounds[1])) if is_interval(bounds) else None
    return None, None


def _worst(worst: Any) -> dict[str, Any] | None:
    """Where a trait shows most, of a form that can be shown; None for anything else."""
    if not isinstance(worst, Mapping) or not is_finite(worst.get("value")):
        return None
    texts = {name: _text(worst.get(name)) for name in ("trait", "condition")}
    bounds = worst.get("interval")
    return {**texts, "value": worst["value"], "interval": list(bounds) if is_interval(bounds) else None}


def _recalled(api: HfApi, info: Any, kind: str) -> int | None:
    """How many claims a repo's recalls say are wrong or looked at again; they are fetched only where there are any."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    name = VEX if kind == "dataset" else RECALLS
    if name not in {file.rfilename for file in info.siblings or ()}:
        return 0
    try:
        content = Path(api.hf_hub_download(info.id, name, repo_type=kind)).read_bytes()
        if kind == "dataset":
            last = {one["vulnerability"]["name"]: one["status"] for one in json.loads(content)["statements"]}
        else:
            last = {claim_id: status for claim_id, (status, _) in noticed(journal.loads(content)).items()}
        return sum(status in (AFFECTED, UNDER_INVESTIGATION) for status in last.values())
    except (EntryNotFoundError, HfHubHTTPError, HfvaccineError, OSError, LookupError, TypeError, ValueError):
        return None  # a gate, or a file of somebody else's making


def _repo(url: str, info: Any) -> dict[str, Any]:
    return {
        "id": str(info.id),
        "url": url,
        "revision": info.sha,
        "changed": info.last_modified.isoformat() if info.last_modified else None,
        "private": bool(info.private),
        "gated": info.gated or False,
        "tags": _texts(info.tags),
    }


def _card(info: Any) -> dict[str, Any]:
    """A card's metadata as it was written: the model-index in it is read by the client and given back."""
    return dict(info.card_data.to_dict()) if info.card_data else {}


def _list(value: Any) -> list[Mapping[str, Any]]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _texts(value: Any) -> tuple[str, ...]:
    given = value if isinstance(value, list) else [value]
    return tuple(entry for entry in given if isinstance(entry, str) and entry)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _newest_first(infos: Iterable[Any]) -> list[Any]:
    return sorted(infos, key=lambda info: (str(info.last_modified or ""), info.id), reverse=True)
