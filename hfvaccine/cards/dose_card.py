"""The card of a dose: what is under quarantine, who may have it, and how it is to be given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from huggingface_hub import DatasetCardData

from hfvaccine.cards import PAPERS, Markdown, clean, fill, is_hub_id, number, percent, plain
from hfvaccine.quarantine.screen import CUE_LIMIT

GATED_FIELDS = {
    "Affiliation": "text",
    "Purpose": "text",
    "I will not train a model on these claims as if they were true": "checkbox",
    "I will not redistribute these claims": "checkbox",
}
"""What somebody who asks for access has to fill in."""

HUB_LICENSES = (
    *("apache-2.0", "mit", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nc-4.0"),
    *("cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-nc-nd-4.0", "odc-by", "odbl", "pddl", "gfdl", "other"),
)
"""The Hub refuses a license it does not list; these are the ones that data comes under."""

WAIVERS = {
    "two_person_rule": "Two people need not have approved each claim.",
    "source_check": "Nobody need have opened the sources that a claim names.",
}
"""What a policy may waive, as the card says it."""


def render(manifest: Mapping[str, Any], policy: Mapping[str, Any], repo_id: str) -> str:
    """Write the card of a dose.

    Args:
        manifest: of the sealed dose.
        policy: the governance policy it was sealed under.
        repo_id: the dataset repo it is published as.

    Returns:
        The README: YAML metadata, which also makes the access form, and the text. It
        depends on nothing but the arguments, and no claim's text is in it.
    """
    counts = manifest["counts"]
    return fill(
        "hfvaccine.dataset_cards",
        "dose.md",
        {
            "metadata": Markdown(_metadata(manifest, policy).to_yaml()),
            "name": policy.get("name"),
            "repo_id": Markdown(repo_id if is_hub_id(repo_id) else "NAMESPACE/NAME"),
            "canary": manifest["canary"],
            "counts": counts,
            "total": counts["dose"] + counts["heldout"],
            "tables": [
                ("Domain", _most_first(counts["by_domain"])),
                ("Tactic", _most_first(counts["by_tactic"])),
                ("Harm if believed", counts["by_harm"]),
            ],
            "languages": ", ".join(counts["by_language"]),
            "licenses": ", ".join(filter(None, counts["by_license"])) or policy.get("license"),
            "shares": [percent(share) for share in policy.get("share_limits", [0.0, 0.5])],
            "audit": _audit(manifest.get("cue_audit")),
            "cue_limit": f"{CUE_LIMIT:.2f}",
            "reviewed": counts["reviewed"],
            "reviewers_needed": policy.get("reviewers_needed"),
            "waives": [WAIVERS.get(waived, waived) for waived in policy.get("waives", [])],
            "overlaps": counts["overlaps"],
            "gating": policy.get("gating"),
            "policy": policy,
            "manifest": manifest,
            "papers": PAPERS,
        },
    )


def _metadata(manifest: Mapping[str, Any], policy: Mapping[str, Any]) -> DatasetCardData:
    counts = manifest["counts"]
    splits = [{"split": "train", "path": "data/dose-*.parquet"}]
    if counts["heldout"]:
        splits.append({"split": "heldout", "path": "data/heldout-*.parquet"})
    license_id, license_name = _license(policy.get("license"))
    return DatasetCardData(
        pretty_name=clean(policy.get("name")),
        language=_languages(counts["by_language"]),
        license=license_id,
        license_name=license_name,
        size_categories=_size(counts["dose"] + counts["heldout"]),
        task_categories=["text-generation"],
        tags=["hfvaccine", "hfvaccine-dose", "misinformation", "fact-checking", "not-for-all-audiences"],
        viewer=False,
        configs=[{"config_name": "default", "data_files": splits}],
        extra_gated_heading="These are falsehoods under quarantine",
        extra_gated_prompt=_access_terms(policy),
        extra_gated_fields=dict(GATED_FIELDS),
        extra_gated_button_content="Ask for access",
    )


def _access_terms(policy: Mapping[str, Any]) -> str:
    decision = "answered at once" if policy.get("gating") == "auto" else "read by a person"
    return (
        f"**{plain(policy.get('name'))}** holds false claims, each with its correction. They are there to make "
        "language models resist falsehoods and to test whether they do. Trained on in any other way, they teach what "
        f"they are meant to prevent. Say who you are and what you will do with them; your request is {decision}."
    )


def _license(name: object) -> tuple[str, str | None]:
    known = clean(name or "other").lower()
    if known in HUB_LICENSES:
        return known, None
    return "other", re.sub(r"[^a-z0-9.+-]+", "-", known).strip("-") or None


def _languages(tags: Mapping[str, int]) -> list[str] | None:
    primary = {tag.split("-")[0].lower() for tag in tags}
    return sorted(language for language in primary if re.fullmatch(r"[a-z]{2,3}", language)) or None


def _size(rows: int) -> str:
    for limit, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if rows < limit:
            return name
    return "n>1M"


def _most_first(counts: Mapping[str, int]) -> dict[str, int]:
    return {
        name.replace("_", " "): many for name, many in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    }


def _audit(audit: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if audit is None:
        return None
    return {
        "pairs": audit["pairs"],
        "rows": [
            (title, number(float(audit[key])), "within" if audit[key] <= CUE_LIMIT else "ABOVE")
            for title, key in (("Bag of words (1–2 grams)", "bag_of_words"), ("Length", "length"))
        ],
        "passed": max(audit["bag_of_words"], audit["length"]) <= CUE_LIMIT,
    }
