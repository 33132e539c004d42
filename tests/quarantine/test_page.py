"""The page of a quarantine: falsehoods are labelled as such, nothing from data is markup, and nothing is fetched."""

import base64
import hashlib
import re

import pytest
from pages import Page
from quarantine.rows import row, source, table

from hfvaccine.claims import journal
from hfvaccine.claims.journal import Entry
from hfvaccine.quarantine import review
from hfvaccine.quarantine.checks.lint import LintFinding
from hfvaccine.quarantine.page import LONGEST, render
from hfvaccine.quarantine.policy import Policy
from hfvaccine.quarantine.store import SCHEMA
from hfvaccine.quarantine.survey import survey

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</style><b>",
    "{{ 7 * 7 }}{% raw %}",
    "<!--",
    "]]><svg onload=alert(1)>",
    "&lt;i&gt;",
)


def shown(rows, history=(), findings=(), policy=None, **options):
    held = table(*rows)
    policy = policy or Policy(name="a dose")
    counted = survey(held, list(history), policy, [{"rule": "duplicate"}])
    return render(counted, held, name=policy.name, findings=findings, **options)


def test_each_claim_stands_in_a_mark_that_calls_it_false_beside_what_is_true():
    page = Page(shown([row(1, claim="Cats lay eggs", correction="Cats bear live young.", twin="Cats bear kittens")]))
    assert " ".join("".join(page.marked).split()) == "False Cats lay eggs"
    assert "True instead Cats bear live young." in page.words and "Twin, true Cats bear kittens" in page.words
    assert page.words.index("Quarantined falsehoods.") < page.words.index("Cats lay eggs")


def test_what_a_claim_lacks_is_said():
    words = Page(shown([row(1)])).words
    assert "No correction yet: it cannot be given." in words and "No source yet." in words
    assert "not split yet" in words and "awaiting" in words
    assert "None" not in words


def test_state_split_cluster_and_findings_stand_with_the_claim():
    claim = row(1, correction="No.", split="heldout", cluster_id="f" * 16, harm="high", overlaps=["TruthfulQA"])
    made = [[claim["claim_id"], review.row_digest(claim), "reject", ""]]
    history = journal.chain([Entry("review", "carl", "2026-11-20T09:00:00+00:00", {"decisions": made})])
    finding = LintFinding(
        claim["claim_id"], claim["origin"], "correction", "short", "error", "It is short.", "Say more."
    )
    other = LintFinding("0" * 16, "b", "claim", "odd", "warning", "Not of this page.", "None.")
    html = shown([claim], history, [finding, other])
    words = Page(html).words
    article = words[words.index("The claims") :]
    assert article.index("rejected") < article.index("heldout") < article.index("high harm")
    assert "asked about by TruthfulQA" in article and f"in cluster {'f' * 16}" in article
    assert "error short : It is short." in article and "Not of this page." not in words
    assert '<span class="chip bad">rejected</span>' in html


def test_what_to_do_about_a_lint_rule_is_said_once():
    rows = [row(i) for i in range(3)]
    found = [LintFinding(r["claim_id"], "a", "twin", "no-twin", "warning", "No twin.", "Write one.") for r in rows]
    found += [
        LintFinding(rows[0]["claim_id"], "a", "claim", "odd", "error", f"Odd {i}.", "Make it even.") for i in (1, 3)
    ]
    words = Page(shown(rows, findings=found)).words
    table = words[words.index("What lint finds in these") :]
    assert "odd error 1 Make it even. no-twin warning 3 Write one." in table
    assert words.count("Write one.") == words.count("Make it even.") == 1
    assert words.count("warning no-twin : No twin.") == 3 and "Odd 1." in words and "Odd 3." in words
    assert "What lint finds" not in Page(shown(rows)).words


def test_rows_edited_after_a_decision_are_counted_at_the_top():
    claim = row(1, correction="No.")
    decided = {"decisions": [[claim["claim_id"], "0" * 64, "approve", ""]]}
    history = journal.chain([Entry("review", "carl", "2026-11-20T09:00:00+00:00", decided)])
    assert "edited after a decision 1 100 %" in Page(shown([claim], history)).words
    assert "edited after" not in Page(shown([claim])).words


@pytest.mark.parametrize("hostile", HOSTILE)
def test_nothing_that_comes_from_data_is_markup(hostile):
    texts = dict.fromkeys(("correction", "twin", "question", "domain", "tactic", "license", "verdict"), hostile)
    texts |= dict.fromkeys(("harm", "split", "checker", "submitted_by", "origin", "language"), hostile)
    claim = row(
        1,
        claim=hostile,
        cluster_id=hostile,
        overlaps=[hostile],
        sources=[source(publisher=hostile, title=hostile, url=hostile, checked_on=hostile)],
        **texts,
    )
    history = journal.chain([Entry(hostile, hostile, hostile, {hostile: hostile, "files": [hostile]})])
    finding = LintFinding(claim["claim_id"], hostile, hostile, hostile, hostile, hostile, hostile)
    page = Page(shown([claim], history, [finding], Policy(name=hostile)))
    calm = Page(shown([row(1, claim="Calm", **dict.fromkeys(texts, "calm"), sources=[source()])], history[:0]))
    assert set(page.tags) <= set(calm.tags) | {"ul", "li", "code"}
    assert not any(name.startswith("on") for name in page.attributes)
    assert page.links == set()
    assert page.words.count(" ".join(hostile.split())) >= 20


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JAVASCRIPT:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "file:///etc/passwd",
        "//example.org/x",
        "https://who.int@example.org/",
        "https://exa mple.org/",
        "https://example.org/\u202egnp.exe",
        "https://[bad/",
        "https:///nohost",
        "www.example.org",
        "",
    ],
)
def test_what_is_no_plain_web_address_is_no_link(url):
    page = Page(shown([row(1, sources=[source(url=url)])]))
    assert page.links == set() and "A page" in page.words


def test_a_web_address_is_a_link_that_tells_nothing_and_is_told_nothing():
    html = shown([row(1, sources=[source(url='https://example.org/a?b="c"&d', checked_on="2026-11-01")])])
    assert Page(html).links == set()  # a quotation mark has no place in an address
    page = Page(shown([row(1, sources=[source(url="http://example.org/a?b=c&d=%20#e", checked_on="2026-11-01")])]))
    link = {"href": "http://example.org/a?b=c&d=%20#e", "rel": "noopener noreferrer nofollow"}
    assert [own for tag, own in page.elements if tag == "a"] == [link]
    assert "A page WHO, example.org, opened 2026-11-01" in page.words
    assert '<meta name="referrer" content="no-referrer">' in html


def test_the_policy_of_the_page_lets_only_its_own_style_in():
    html = shown([row(1, sources=[source(url="https://example.org/")])])
    style = html.partition("<style>")[2].partition("</style>")[0]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = html.partition('http-equiv="Content-Security-Policy" content="')[2].partition('"')[0]
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "form", "base"} & set(page.tags)
    assert not {"style", "src", "srcset", "xlink:href"} & set(page.attributes)
    assert "url(" not in html and "@import" not in html and html.count("<style>") == 1


def test_characters_that_hide_or_turn_text_are_shown_as_such():
    words = Page(shown([row(1, claim="Safe \u202eexe.gnp\x00 and\x1b[31m red \u2067back")])).words
    assert "Safe \ufffdexe.gnp\ufffd and\ufffd[31m red \ufffdback" in words


def test_scripts_that_join_letters_keep_their_joiners():
    assert "می\u200cخواهم" in Page(shown([row(1, claim="می\u200cخواهم", language="fa")])).words


def test_an_endless_text_is_cut_and_says_so():
    page = Page(shown([row(1, claim="x" * (LONGEST + 1234))]))
    assert "x" * LONGEST + "… (1,234 more letters)" in page.words


def test_only_the_first_claims_are_shown_and_the_others_are_counted():
    rows = [row(i) for i in range(1500)]
    page = Page(shown(rows, shown=30))
    assert page.tags.count("article") == 30
    assert "The first 30 of 1,500 are shown; 1,470 are not." in page.words
    assert "claims 1,500" in page.words
    assert "are shown" not in Page(shown(rows[:30], shown=30)).words


def test_no_claim_at_all_may_be_shown():
    page = Page(shown([row(1, claim="Cats lay eggs")], shown=0))
    assert page.tags.count("article") == 0 and "Cats lay eggs" not in page.words
    assert "The first 0 of 1 are shown; 1 are not." in page.words


def test_an_empty_quarantine_has_a_page():
    table = SCHEMA.empty_table()
    page = Page(render(survey(table, [], Policy()), table))
    assert "There are none yet." in page.words and "Quarantine: unnamed dose" in page.words
    assert "article" not in page.tags and "figure" not in page.tags


def test_bars_are_as_long_as_their_share():
    html = shown([row(i, domain="health" if i < 3 else "food") for i in range(4)])
    figure = html[html.index("<figcaption>Domain") :].partition("</figure>")[0]
    assert re.findall(r'class="bar" width="([\d.]+)"', figure) == ["75.00", "25.00"]
    assert re.findall(r">(\d) <span class=\"soft\">([\d.]+) %", figure) == [("3", "75.0"), ("1", "25.0")]


def test_what_is_drawn_is_not_said_again_in_a_table():
    rows = [row(i, domain="health", tactic="none", split="dose", license="MIT", sources=[source()]) for i in range(3)]
    words = Page(shown(rows)).words
    figures = words[words.index("In figures") : words.index("The claims")]
    assert "License" in figures and "Not taken" in figures
    assert "Domain" not in figures and "Split" not in figures


def test_wide_tables_scroll_in_their_own_box_on_a_phone():
    html = shown([row(1, domain="health")])
    assert html.count("<table>") == len(re.findall(r'<div class="scroll', html)) > 0
    assert ".scroll { overflow-x: auto" in html and 'content="width=device-width' in html


def test_a_light_and_a_dark_page_have_the_same_colours_to_set():
    style = shown([]).partition("<style>")[2].partition("</style>")[0]
    light, dark = (set(re.findall(r"(--[a-z-]+):", part)) for part in style.split("prefers-color-scheme: dark"))
    assert light == dark and set(re.findall(r"var\((--[a-z-]+)\)", style)) == light


def test_it_depends_on_nothing_but_its_arguments():
    rows = [row(1, domain="health", sources=[source()])]
    assert shown(rows) == shown(rows)
