"""The card of a dose: what is under quarantine, who may have it, and how it is to be given."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from html import escape
from typing import Any

from huggingface_hub import DatasetCardData

from hfvaccine.text import PAPERS, Markdown, clean, fill, is_hub_id, languages, number, percent, plain

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

SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" viewBox="0 0 760 {height}" \
role="img" aria-labelledby="title desc">
<!-- {canary} -->
<title id="title">What is in {name}</title>
<desc id="desc">{heading}. {said}.</desc>
<style>
text {{ font: 13px system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }}
.page {{ fill: #ffffff; stroke: #d0d7de; }}
.bar {{ fill: #0b63b5; }}
.label {{ text-anchor: end; }}
.heading {{ font-weight: 600; }}
.count {{ fill: #57606a; }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #e6edf3; }}
.page {{ fill: #0d1117; stroke: #3d444d; }}
.bar {{ fill: #58a6ff; }}
.count {{ fill: #9198a1; }}
}}
</style>
<rect class="page" x="0.5" y="0.5" width="759" height="{inner}" rx="8"/>
<text class="heading" x="24" y="32">{heading}</text>
{drawn}
</svg>
"""
"""The picture stands on a ground of its own, so that it can be read whatever the page around it."""


LEFT_OUT = {
    "rejected": "rejected by a reviewer",
    "incomplete": "lacking what a claim must have",
    "lint": "with lint errors",
    "echo": "saying another claim of the set in their correction or twin",
    "license": "under a licence that the policy does not allow",
    "harm": "doing more harm than the policy allows",
    "sources": "lacking sources",
    "approvals": "lacking approvals",
}
"""Why claims of a quarantine are not in its dose, as the card says it."""

PLACEHOLDER = "NAMESPACE/NAME"
MOST_BARS = 12
MOST_ROWS = 50
TEXT_BAR = 20


def render(manifest: Mapping[str, Any], policy: Mapping[str, Any], repo_id: str | None = None) -> str:
    """Write the card of a dose.

    Args:
        manifest: of the sealed dose; the digests of its files are not needed.
        policy: the governance policy it was sealed under, as published.
        repo_id: the dataset repo it is published as, by default the one that the policy names, if any.

    Returns:
        The README: YAML metadata, which also makes the access form, and the text. It
        depends on nothing but the arguments, and no claim's text is in it.
    """
    counts = manifest["counts"]
    repo_id = repo_id or policy.get("repo_id")
    return fill(
        "hfvaccine.dataset_cards",
        "dose.md",
        {
            "metadata": Markdown(_metadata(manifest, policy).to_yaml()),
            "name": policy.get("name"),
            "repo_id": Markdown(repo_id if is_hub_id(repo_id) else PLACEHOLDER),
            "placeholder": PLACEHOLDER,
            "canary": manifest["canary"],
            "counts": counts,
            "total": counts["dose"] + counts["heldout"],
            "tables": [
                ("Domain", _bars(counts["by_domain"])),
                ("Tactic", _bars(counts["by_tactic"])),
                ("Harm if believed", _bars(counts["by_harm"])),
            ],
            "languages": ", ".join(counts["by_language"]),
            "licenses": ", ".join(filter(None, counts["by_license"])) or policy.get("license"),
            "shares": [percent(share) for share in policy.get("share_limits", [0.0, 0.5])],
            "audit": _audit(manifest.get("cue_audit")),
            "waives": [WAIVERS.get(waived, waived) for waived in policy.get("waives", [])],
            "screened": _screened(manifest),
            "left_out": [(LEFT_OUT.get(why, why), many) for why, many in manifest["left_out"].items()],
            "sources": manifest["sources"][:MOST_ROWS],
            "more_sources": max(0, len(manifest["sources"]) - MOST_ROWS),
            "policy": {**policy, "contact": _contact(policy)},
            "manifest": manifest,
            "papers": PAPERS,
            "number": number,
        },
    )


def figure(manifest: Mapping[str, Any]) -> str:
    """Draw the picture of what is in a dose, as an SVG that is readable on light and on dark pages.

    Args:
        manifest: of the sealed dose; the digests of its files are not needed.

    Returns:
        The SVG. It depends on nothing but the manifest, and no claim's text is in it.
    """
    counts = manifest["counts"]
    panels = (
        ("Use", {"may be given": counts["dose"], "held out, only probed": counts["heldout"]}),
        ("Domain", _largest(counts["by_domain"])),
        ("Tactic", _largest(counts["by_tactic"])),
    )
    drawn, y = [], 72
    for heading, tally in panels:
        most = max(tally.values(), default=0) or 1
        drawn.append(f'<text class="heading" x="24" y="{y}">{heading}</text>')
        for label, many in tally.items():
            y += 24
            width = max(2.0, 420 * many / most) if many else 0
            drawn.append(
                f'<text class="label" x="236" y="{y}">{_xml(_short(label))}</text>'
                f'<rect class="bar" x="248" y="{y - 12}" width="{width:.1f}" height="16" rx="2"/>'
                f'<text class="count" x="{256 + width:.1f}" y="{y}">{many:,}</text>'
            )
        y += 40
    total = counts["dose"] + counts["heldout"]
    said = "; ".join(
        f"{heading}: " + ", ".join(f"{_xml(_short(label))} {many:,}" for label, many in tally.items())
        for heading, tally in panels
    )
    return SVG.format(
        canary=re.sub("-(?=-)", "- ", _xml(manifest["canary"])),
        name=_xml(manifest["name"]),
        heading=f"{total:,} false claims, each with its correction",
        said=said,
        height=y - 12,
        inner=y - 13,
        drawn="\n".join(drawn),
    )


def _metadata(manifest: Mapping[str, Any], policy: Mapping[str, Any]) -> DatasetCardData:
    counts = manifest["counts"]
    splits = [{"split": "train", "path": "data/dose-*.parquet"}]
    if counts["heldout"]:
        splits.append({"split": "heldout", "path": "data/heldout-*.parquet"})
    license_id, license_name = _license(policy.get("license"))
    return DatasetCardData(
        pretty_name=clean(policy.get("name")),
        language=languages(counts["by_language"]),
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
    contact = f" Questions go to {plain(_contact(policy))}." if policy.get("contact") else ""
    return (
        f"**{plain(policy.get('name'))}** holds false claims, each with its correction. They are there to make "
        "language models resist falsehoods and to test whether they do. Trained on in any other way, they teach what "
        "they are meant to prevent. Say who you are and what you will do with them; "
        f"your request is {decision}.{contact}"
    )


def _contact(policy: Mapping[str, Any]) -> object:
    """Whom to write to; a mail address stays one that can be copied."""
    contact = str(policy.get("contact") or "")
    address = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", contact)
    return Markdown(contact) if address else contact


def _license(name: object) -> tuple[str, str | None]:
    known = clean(name or "other").lower()
    if known in HUB_LICENSES:
        return known, None
    return "other", re.sub(r"[^a-z0-9.+-]+", "-", known).strip("-") or None


def _size(rows: int) -> str:
    for limit, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if rows < limit:
            return name
    return "n>1M"


def _bars(counts: Mapping[str, int]) -> list[tuple[str, int, str]]:
    """Rows of a table: label, count, and a bar of characters, for those whom the page shows no picture."""
    tally = _largest(counts)
    most = max(tally.values(), default=0) or 1
    return [(label, many, "█" * max(1, round(TEXT_BAR * many / most))) for label, many in tally.items()]


def _largest(counts: Mapping[str, int]) -> dict[str, int]:
    """The largest counts, largest first, and where there are more than `MOST_BARS` the rest as one."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kept = len(ordered) if len(ordered) <= MOST_BARS else MOST_BARS - 1
    found = {name.replace("_", " "): many for name, many in ordered[:kept]}
    rest = [many for _, many in ordered[kept:]]
    return {**found, f"{len(rest)} others": sum(rest)} if rest else found


def _xml(text: object) -> str:
    """A text of which nothing is markup, without the two characters that no XML may hold and `clean` lets pass."""
    return escape(clean(text)).translate({0xFFFE: None, 0xFFFF: None})


def _short(label: str, room: int = 30) -> str:
    """A label that fits beside its bar; letters of East Asian scripts are as wide as two."""
    text, width = clean(label), 0
    for at, letter in enumerate(text):
        width += 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        if width > room:
            return text[:at] + "…"
    return text


def _screened(manifest: Mapping[str, Any]) -> list[tuple[str, str | Markdown, int]]:
    """Evaluation sets with how each was screened, and how many claims are marked with it."""
    sets, marked = manifest["screened"] or {}, manifest["counts"]["overlaps"]
    rows = []
    for name in sorted({*sets, *marked}):
        status = sets.get(name, {}).get("status")
        if status == "screened":
            how: str | Markdown = f"against {number(sets[name]['texts'])} texts of it"
        else:
            how = Markdown("**no**, marked by who brought the claims in" if name in marked else "**no**")
        rows.append((name, how, marked.get(name, 0)))
    return rows


def _audit(audit: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if audit is None:
        return None
    limit = audit["limit"]
    return {
        "pairs": audit["pairs"],
        "limit": f"{limit:.2f}",
        "rows": [
            (title, number(float(audit[key])), "within" if audit[key] <= limit else "ABOVE")
            for title, key in (("Bag of words (1–2 grams)", "bag_of_words"), ("Length", "length"))
        ],
        "passed": max(audit["bag_of_words"], audit["length"]) <= limit,
    }
