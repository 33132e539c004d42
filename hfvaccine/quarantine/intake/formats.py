"""Published collections of claims: how each is recognised by its columns, and read as claim rows."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from hfvaccine.claims.claim import COLUMNS, HARMS, LISTS, TACTICS, TEXTS, is_blank
from hfvaccine.errors import UsageError
from hfvaccine.quarantine.intake.shape import (
    SOURCE,
    VARIANT,
    ByLabel,
    Shape,
    Values,
    all_false,
    overlaid,
    plain_label,
    source_of,
    variants_of,
)
from hfvaccine.sources import claim_review, verdict
from hfvaccine.sources.verdict import FALSE, PANTS_ON_FIRE, TRUE, UNCLEAR

SET = ("verdict", "domain", "tactic", "language", "checker", "license", "harm", *SOURCE)
"""Fields that one value can be given for in all rows; the last three make up one source."""
MAP = (*TEXTS, *VARIANT, *SET, "submitted_by")
"""Fields that a column can be named for."""

OWN = "claims"
EVALUATION = "TruthfulQA"


def detect(rows: Sequence[Values]) -> Shape | None:
    """The shape of a source from its first rows; None where it is none that is known."""
    columns = {name for row in rows for name in row}
    return next((shape for shape in SHAPES.values() if shape.fits(columns, rows)), None)


def shape_of(
    rows: Sequence[Values],
    name: str,
    format: str | None = None,
    mapping: Mapping[str, str] | None = None,
    fixed: Mapping[str, str] | None = None,
    false_labels: Collection[str] = (),
) -> Shape:
    """The shape that a source is to be read in.

    Args:
        rows: the first rows of the source.
        name: what errors call the source.
        format: name of one of `SHAPES`, by default what `detect` finds.
        mapping: field -> column, as `by_field` gives it. With `claim` among the fields it stands alone; otherwise it
            goes before what the shape says.
        fixed: field -> its value in all rows.
        false_labels: labels of rows that are false; no other row is taken then.

    Raises:
        UsageError: for a field, column, format or value that is not known, or where nothing says which rows are false.
    """
    mapping, fixed = dict(mapping or {}), dict(fixed or {})
    columns = list(dict.fromkeys(str(column) for row in rows for column in row))
    _check(name, columns, mapping, fixed)
    if format is not None and format not in SHAPES:
        raise UsageError(f"There is no format {format!r}.", f"Use one of: {', '.join(SHAPES)}.")
    base = SHAPES[format] if format else None if "claim" in mapping else detect(rows)
    if base is None and "claim" not in mapping:
        raise UsageError(f"{name} has the columns of no known collection: {', '.join(columns)}.", _way_out(columns))
    needed = base.fields.get("claim") if base else None
    if needed and needed not in columns and "claim" not in mapping:
        raise UsageError(f"{name} has no column {needed!r}, which the format {format} needs.", _way_out(columns))
    if base is None:
        if "verdict" not in mapping and "verdict" not in fixed:
            raise UsageError(
                f"Nothing says which rows of {name} are false.",
                "Name the column with --map verdict=COLUMN (and its value for false with --false-label VALUE), "
                "or say that all are with --set verdict=false.",
            )
        base = Shape("own map", "columns as they were named", lambda *_: False, {}, "every row", all_false)
    return overlaid(base, mapping, fixed, false_labels)


def by_field(mapping: Mapping[str, str]) -> dict[str, str]:
    """field -> column, also where the number of a column stands first, as in `3=claim`."""
    return {
        column if field.isdecimal() else field: field if field.isdecimal() else column
        for field, column in mapping.items()
    }


def header(cells: Sequence[str], numbered: Collection[str] = ()) -> Sequence[str] | None:
    """Column names of a table that is published without them, from its first row: LIAR, and LIAR-PLUS, which may
    begin with the number of the row.

    Args:
        cells: the first row.
        numbered: numbers that columns are asked for by. Unless these are names already, the columns are called by
            their numbers, from 1; what stands before a row of LIAR-PLUS is 0.
    """
    lead = 1 if len(cells) == len(LIAR) + 2 else 0
    known = (
        len(cells) in (len(LIAR), len(LIAR) + 1, len(LIAR) + 2)
        and cells[lead].endswith(".json")
        and verdict.plain(cells[lead + 1]) in _LIAR_LABELS
    )
    if numbered and (known or not set(numbered) <= set(cells)):
        first = 0 if known and lead else 1
        return [str(number) for number in range(first, first + len(cells))]
    return (*("row",) * lead, *LIAR, "justification")[: len(cells)] if known else None


def _check(name: str, columns: Sequence[str], mapping: Mapping[str, str], fixed: Mapping[str, str]) -> None:
    for given, allowed, option in ((mapping, MAP, "--map"), (fixed, SET, "--set")):
        unknown = next((key for key in given if key not in allowed), None)
        if unknown is not None:
            raise UsageError(f"{option} cannot fill {unknown!r}.", f"Use one of: {', '.join(allowed)}.")
    missing = next((column for column in mapping.values() if column not in columns), None)
    if missing is not None:
        raise UsageError(f"{name} has no column {missing!r}.", f"It has: {', '.join(columns)}.")
    for key, values in (("tactic", TACTICS), ("harm", HARMS)):
        if fixed.get(key, values[0]) not in values:
            raise UsageError(f"There is no {key} {fixed[key]!r}.", f"Use one of: {', '.join(values)}.")
    if "verdict" in fixed and verdict.of_name(fixed["verdict"]) not in verdict.TAKEN:
        raise UsageError(
            f"All rows of {name} cannot be {fixed['verdict']!r}: only falsehoods are taken.",
            "Use false or pants-on-fire, or name the column with --map verdict=COLUMN.",
        )


def _way_out(columns: Sequence[str]) -> str:
    known = f"Name its format with --format ({', '.join(SHAPES)}), or its columns with --map claim=COLUMN"
    if {"statement", "label"} <= set(columns):
        known += (
            ". A label of 0 and 1 means different things in different collections: in ai-vaccine both are false, "
            "elsewhere 1 is often true"
        )
    return f"{known}."


# What takes more than a copy


def _own(values: Values) -> dict[str, Any]:
    """A row of ours; in a table, the lists are JSON."""
    found: dict[str, Any] = {}
    for name in ("sources", "overlaps", "variants"):
        value = values.get(name)
        if name in values:
            try:
                found[name] = json.loads(value) if isinstance(value, str) and value.strip() else value or None
            except ValueError as error:
                raise ValueError(f"{name} is {value!r:.40}, not a list in JSON") from error
    if not found.get("variants") and not values.keys().isdisjoint(VARIANT):
        found["variants"] = variants_of(*map(values.get, VARIANT))
    if not found.get("sources") and not {"source", *SOURCE}.isdisjoint(values):
        said = values.get("source")
        page = said if isinstance(said, str) and re.match(r"\s*https?://", said) else None
        publisher, title, url = (values.get(name) for name in SOURCE)
        found["sources"] = source_of(publisher or (None if page else said), title, url or page)
    return found


_RATES = {"label", "labels", "rating", "truth", "veracity", "is_true", "is_false", "target", "class", "statement"}
"""Columns that may say which rows are false, in a way that nobody knows."""


def _truthfulqa(values: Values) -> dict[str, Any]:
    wrong = values.get("Best Incorrect Answer") or str(values.get("Incorrect Answers") or "").split(";")[0].strip()
    page = str(values.get("Source") or "").strip()  # some rows have a word here, such as "subjective"
    return {"claim": wrong, "overlaps": [EVALUATION], "sources": source_of(url=page) if "://" in page else []}


def _fever(values: Values) -> dict[str, Any]:
    """Evidence is text in some collections, and in FEVER itself sets of (.., .., page, sentence number)."""
    evidence = values.get("evidence")
    if evidence is None or isinstance(evidence, str):
        return {"correction": evidence}
    texts = [item for item in evidence if isinstance(item, str)] if isinstance(evidence, list) else []
    if texts:
        return {"correction": " ".join(texts)}
    pages = dict.fromkeys(
        str(part[2])
        for group in (evidence if isinstance(evidence, list) else [])
        if isinstance(group, list)
        for part in (group if group and isinstance(group[0], list) else [group])
        if isinstance(part, list) and len(part) > 2 and isinstance(part[2], str)
    )
    return {"sources": [source for page in pages for source in source_of("Wikipedia", _page_title(page))]}


def _page_title(page: str) -> str:
    for code, sign in (("-LRB-", "("), ("-RRB-", ")"), ("-COLON-", ":"), ("_", " ")):
        page = page.replace(code, sign)
    return page


def _liar2(values: Values) -> dict[str, Any]:
    found = _liar(values)
    if "justification" in values:
        found["correction"] = without_verdict(values["justification"])
    return found


def _liar(values: Values) -> dict[str, Any]:
    subject = values.get("subject")
    title = ", ".join(str(values[key]) for key in ("speaker", "date") if not is_blank(values.get(key)))
    return {
        "domain": re.split(r"[;,]", subject)[0].strip() if isinstance(subject, str) else None,
        "checker": "PolitiFact",
        "sources": source_of("PolitiFact", f"Ruling on a statement by {title}" if title else "Ruling"),
    }


_NOTICE = re.compile(
    r"(?:^|(?<=[\s.!?)”\"]))(?:related\s?:|click\s+here|comment on this item|to comment\b|to comment or offer|"
    r"return to \w+ to comment|this fact[- ]check is available|https?://\S*sharethefacts\S*|"
    r"[–—]\s*the statement is not accurate|editor's note:|politifact [\w ]*researcher)"
    r".{0,700}$",
    re.IGNORECASE | re.DOTALL,
)
_RULING = re.compile(
    r"(?:^|(?<=[\s.!?)”\"]))We (?:still )?(?:rate|rule)\b[^.!?]{0,160}\s[.!](?:\s.{0,700})?$", re.DOTALL
)
_BEFORE = re.compile(r"(?<=[.!?”\"])\s+")


def without_verdict(text: Any) -> Any:
    """A justification without the closing sentence whose verdict was blanked ("We rate this ."), and what follows it.

    Returns:
        What is left; None where nothing is; anything but a text as it is.
    """
    if not isinstance(text, str):
        return text
    left, before = text.strip("\u200b' \n"), None
    while left and left != before:
        before = left
        left = _RULING.sub("", _NOTICE.sub("", left)).strip()
        last = _BEFORE.split(left)[-1]
        if re.search(r"(?:\s|^)[.!]$", last) or re.match(r"(?:But |So )?[Ww]e (?:still )?rate\b", last):
            left = left[: len(left) - len(last)].strip()
    return left or None


def _fool_me_twice(values: Values) -> dict[str, Any]:
    evidence = values["evidence"] if "evidence" in values else values.get("gold_evidence")
    if isinstance(evidence, list):
        parts = [part.get("text") if isinstance(part, dict) else part for part in evidence]
        evidence = " ".join(part.strip() for part in parts if isinstance(part, str)) or None
    return {
        "claim": values["claim"] if "claim" in values else values.get("text"),
        "correction": evidence,
        "sources": source_of("Wikipedia", values.get("wikipedia_page")),
    }


def _scifact(values: Values) -> dict[str, Any]:
    """`pairs_*` have the text of the evidence, `claims_*` the numbers of the abstracts it stands in."""
    evidence = values.get("evidence")
    if isinstance(evidence, str):
        return {"correction": evidence}
    documents = list(evidence) if isinstance(evidence, dict) else []
    return {"sources": [s for number in documents for s in source_of("S2ORC", f"document {number}")]}


def _scifact_rating(values: Values) -> tuple[str, str]:
    if "label" in values:
        return ByLabel("label")(values)
    evidence = values.get("evidence")
    parts = [part for found in evidence.values() for part in found] if isinstance(evidence, dict) else []
    labels = sorted({str(part.get("label")) for part in parts if isinstance(part, dict)})
    rated = {verdict.of_name(label) for label in labels}
    if len(rated) == 1:
        return rated.pop(), f"its evidence says {labels[0]}"
    return UNCLEAR, f"its evidence says {' and '.join(labels)}" if labels else "there is no evidence on it"


def _averitec(values: Values) -> dict[str, Any]:
    asked = values.get("questions")
    pages = [
        (item.get("question"), answer.get("source_url"))
        for item in (asked if isinstance(asked, list) else [])
        if isinstance(item, dict)
        for answer in (item.get("answers") or [])
        if isinstance(answer, dict)
    ]
    urls = {url: question for question, url in reversed(pages) if isinstance(url, str) and url.strip()}
    article = values.get("fact_checking_article")
    found = [source for url in reversed(urls) for source in source_of(url=url)]
    return {"sources": [*source_of(url=article), *(s for s in found if s["url"] != article)]}


# The collections

LIAR = (
    *("id", "label", "statement", "subject", "speaker", "job_title", "state_info", "party_affiliation"),
    *("barely_true_counts", "false_counts", "half_true_counts", "mostly_true_counts", "pants_on_fire_counts"),
    "context",
)
_LIAR_LABELS = {
    "pants fire": PANTS_ON_FIRE,
    "pants on fire": PANTS_ON_FIRE,
    "false": FALSE,
    "true": TRUE,
    **dict.fromkeys(("barely true", "mostly false", "half true", "mostly true"), UNCLEAR),
}
_LIAR_DERIVED = {
    "domain": "subject, the first",
    "checker": "'PolitiFact' in all rows",
    "sources": "PolitiFact, with speaker and date",
}


def _labelled(rows: Sequence[Values], labels: Collection[str]) -> bool:
    found = {plain_label(row.get("label")) for row in rows}
    return bool(found) and found <= set(labels)


SHAPES = {
    shape.name: shape
    for shape in (
        Shape(
            OWN,
            "claim rows of hfvaccine",
            lambda c, _: "claim" in c and bool(c & {"correction", "verdict", "claim_id"}) and c.isdisjoint(_RATES),
            {name: name for name in (*COLUMNS, "origin") if name not in (*LISTS, "verdict")},
            "rows whose verdict says false, or that have none",
            ByLabel("verdict", blank=FALSE),
            more=_own,
            derived={
                "sources": "sources, or source, publisher, title, url",
                "overlaps": "overlaps",
                "variants": f"variants, or {', '.join(VARIANT)}",
            },
        ),
        Shape(
            "claimreview",
            "fact-checks in schema.org's ClaimReview",
            lambda c, _: bool(c & {"claimReviewed", "reviewRating"}),
            {},
            "reviews whose rating (reviewRating) is clearly false, by its name and by its place on the scale",
            claim_review.rating,
            more=claim_review.fields,
            derived={
                "claim": "claimReviewed",
                "correction": "reviewBody",
                "language": "inLanguage",
                "checker": "author",
                "sources": "author, name or headline, url",
            },
        ),
        Shape(
            "fact-check-tools",
            "saved answers of the Fact Check Tools API (claims:search)",
            lambda c, _: {"text", "claimReview"} <= c,
            {"claim": "text"},
            "claims of which every claimReview says false",
            claim_review.searched_rating,
            more=claim_review.searched_fields,
            derived={
                "language": "claimReview[].languageCode, the first",
                "checker": "claimReview[].publisher, the first",
                "sources": "claimReview[].publisher, title, url",
            },
        ),
        Shape(
            "truthfulqa",
            "TruthfulQA's table of questions with true and false answers",
            lambda c, _: {"Question", "Best Answer", "Incorrect Answers"} <= c,
            {"question": "Question", "twin": "Best Answer", "correction": "Best Answer", "domain": "Category"},
            "every row",
            all_false,
            more=_truthfulqa,
            derived={
                "claim": "Best Incorrect Answer, or the first of Incorrect Answers",
                "sources": "Source",
                "overlaps": f"{EVALUATION} in all rows",
            },
            warning=f"{EVALUATION} is an evaluation set: a model that was dosed with it cannot be measured on it. "
            f"Its rows are marked with overlaps = {EVALUATION}, and must never become a dose.",
        ),
        Shape(
            "comve",
            "ComVE: pairs of a sensible and a senseless statement, with reasons",
            lambda c, _: {"Correct Statement", "Incorrect Statement"} <= c,
            {"claim": "Incorrect Statement", "twin": "Correct Statement", "correction": "Right Reason1"},
            "every row",
            all_false,
        ),
        Shape(
            "creak",
            "CREAK: statements on entities, each with an explanation",
            lambda c, _: {"sentence", "explanation", "label"} <= c,
            {"claim": "sentence", "correction": "explanation"},
            "rows whose label is false",
        ),
        Shape(
            "fool-me-twice",
            "FoolMeTwice: claims with evidence from Wikipedia",
            lambda c, _: {"label", "wikipedia_page"} <= c and bool(c & {"evidence", "gold_evidence"}),
            {"domain": "category"},
            "rows whose label is REFUTES",
            more=_fool_me_twice,
            derived={
                "claim": "claim, or text",
                "correction": "evidence, its sentences joined",
                "sources": "wikipedia_page",
            },
        ),
        Shape(
            "scifact",
            "SciFact: scientific claims with evidence from abstracts",
            lambda c, rows: (
                {"claim", "evidence", "cited_doc_ids"} <= c
                or ({"claim", "evidence", "label"} <= c and _labelled(rows, {"support", "refute", "contradict"}))
            ),
            {"claim": "claim"},
            "rows whose evidence refutes them, and none supports",
            _scifact_rating,
            more=_scifact,
            derived={"correction": "evidence, where it is text", "sources": "evidence, where it names documents"},
        ),
        Shape(
            "averitec",
            "AVeriTeC: claims of fact-checkers with questions and answers",
            lambda c, _: {"claim", "label", "justification", "questions"} <= c,
            {"claim": "claim", "correction": "justification"},
            "rows whose label is Refuted",
            more=_averitec,
            derived={"sources": "fact_checking_article, questions[].answers[].source_url"},
        ),
        Shape(
            "liar2",
            "LIAR2 and LIAR-PLUS: PolitiFact's rulings with their justification",
            lambda c, _: {"label", "statement", "justification", "speaker"} <= c,
            {"claim": "statement"},
            "rows whose label is 0 (pants on fire) or 1 (false)",
            ByLabel("label", {**_LIAR_LABELS, "0": PANTS_ON_FIRE, "1": FALSE, "5": TRUE}),
            more=_liar2,
            derived={**_LIAR_DERIVED, "correction": "justification, without its blanked verdict"},
        ),
        Shape(
            "liar",
            "LIAR: PolitiFact's rulings",
            lambda c, _: {"label", "statement", "subject", "speaker"} <= c,
            {"claim": "statement"},
            "rows whose label is false or pants-fire",
            ByLabel("label", _LIAR_LABELS),
            more=_liar,
            derived=_LIAR_DERIVED,
        ),
        Shape(
            "ai-vaccine",
            "the corpus of AI vaccine: falsehoods only, a label of 0 (pants on fire) and of 1 (false) alike",
            lambda c, _: {"statement", "label", "domain", "source", "correction"} <= c,
            {"claim": "statement", "correction": "correction", "domain": "domain"},
            "every row, with label 0, 1 or none",
            ByLabel("label", {"0": PANTS_ON_FIRE, "1": FALSE, "": FALSE}),
        ),
        Shape(
            "fever",
            "claims that evidence SUPPORTS or REFUTES, as in FEVER",
            lambda c, rows: (
                {"claim", "label"} <= c
                and _labelled(rows, {"supports", "refutes", "not enough info", "disputed", "conflicting"})
            ),
            {"claim": "claim"},
            "rows whose label is REFUTES",
            more=_fever,
            derived={"correction": "evidence, where it is text", "sources": "evidence, where it names pages"},
        ),
    )
}
