"""Lint: what each rule finds and lets pass, and mends that change no word."""

from __future__ import annotations

import datetime
import inspect
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.claims.claim import COLUMNS, Claim, claim_id
from hfvaccine.dosing.forms import conversations
from hfvaccine.errors import FormError, UsageError
from hfvaccine.quarantine.checks import language as languages
from hfvaccine.quarantine.checks import lint
from hfvaccine.quarantine.checks.lint import fix, refuse_unknown
from hfvaccine.quarantine.checks.rules import ENGLISH, PARTLY, RULES, TOLD_APART, USUAL, Draft, not_judged

TODAY = datetime.date(2026, 11, 22)
SOURCE = {"publisher": "NASA", "title": "Moon facts", "url": "https://nasa.gov/moon", "checked_on": "2026-11-01"}


def draft(**changes):
    row = dict.fromkeys(COLUMNS)
    row |= {
        "claim": "The moon is made of cheese.",
        "correction": "Lunar samples are basalt and other rock, as astronauts brought home.",
        "twin": "The moon is made of rock.",
        "question": "What is the moon made of?",
        "verdict": "false",
        "language": "en",
        "sources": [SOURCE],
        "license": "CC-BY-4.0",
        "submitted_by": "ann",
        "origin": "moon.jsonl, line 1",
        **changes,
    }
    row["claim_id"] = claim_id(row["claim"], row["language"])
    row["cluster_id"] = changes.get("cluster_id") or row["claim_id"]
    return row


def found(*rows, **options):
    return list(lint.lint(rows, today=TODAY, **options))


def rules(*rows, **options):
    return {finding.rule for finding in found(*rows, **options)}


def test_a_whole_row_has_no_finding():
    assert found(draft()) == []


FAULTS = [
    ("missing-correction", {"correction": None}),
    ("missing-correction", {"correction": " nan "}),
    ("restated-claim", {"correction": "Some say the moon is made of cheese; it is rock."}),
    ("restated-claim", {"correction": "It is a myth that THE MOON is made  of cheese"}),
    (
        "restated-claim",
        {
            "claim": "Humans use ten percent of the brain.",
            "correction": "Humans really do use ten percent of their brain.",
        },
    ),
    ("dependent-correction", {"correction": "No, it is made of rock."}),
    ("dependent-correction", {"correction": "This is false because it consists of rock."}),
    ("dependent-correction", {"correction": "The statement is wrong, since samples are rock."}),
    ("dependent-correction", {"correction": "Samples are rock, and dairy has no part in it. We rate this False."}),
    ("dependent-correction", {"correction": "False."}),
    ("bare-pronoun", {"correction": "It consists of basalt and other rock."}),
    ("bare-pronoun", {"correction": "They consist of basalt and other rock."}),
    ("missing-twin", {"twin": None}),
    ("missing-twin", {"twin": "none"}),
    ("twin-not-true-shaped", {"twin": "The moon is made of cheese!"}),
    ("twin-not-true-shaped", {"twin": "The moon is made of cheese, but that is a myth."}),
    ("twin-not-true-shaped", {"twin": "It is false that the moon is made of cheese."}),
    ("twin-not-true-shaped", {"twin": "Myth: the moon is made of cheese."}),
    ("twin-not-true-shaped", {"twin": "Some people believe that the moon is made of cheese."}),
    ("twin-not-true-shaped", {"twin": "The moon is made of cheese (false)."}),
    ("twin-adds-much", {"twin": "The moon is made of cheese, people used to joke."}),
    ("twin-not-true-shaped", {"twin": "Is the moon made of rock?"}),
    ("twin-not-true-shaped", {"twin": "It is not true that the moon is cheese."}),
    ("distant-twin", {"twin": "Basalt covers large lunar plains."}),
    ("missing-source", {"sources": None}),
    ("missing-source", {"sources": []}),
    ("malformed-source", {"sources": [{**SOURCE, "publisher": "", "title": None}]}),
    ("malformed-source", {"sources": [{**SOURCE, "url": "nasa.gov/moon"}]}),
    ("malformed-source", {"sources": [{**SOURCE, "url": "https:///moon"}]}),
    ("malformed-source", {"sources": [{**SOURCE, "url": "ftp://nasa.gov/moon"}]}),
    ("malformed-source", {"sources": [{**SOURCE, "url": "https://nasa.gov/the moon"}]}),
    ("malformed-source", {"sources": [{**SOURCE, "checked_on": "22.11.2026"}]}),
    ("malformed-source", {"sources": [{**SOURCE, "checked_on": "20261101"}]}),
    ("malformed-source", {"sources": [{**SOURCE, "checked_on": "2026-11-23"}]}),
    ("length", {"claim": "Moon cheese."}),
    ("length", {"correction": "Basalt rock."}),
    ("length", {"correction": "Samples show that lunar rock is like ours. " * 20}),
    ("html", {"correction": "Lunar samples are <b>basalt</b> and other rock."}),
    ("html", {"twin": "The moon is made of rock &amp; dust."}),
    ("markup", {"correction": "Lunar samples are **basalt** and other rock."}),
    ("markup", {"correction": "Lunar samples are [basalt](rock.html) and other rock."}),
    ("markup", {"correction": "Lunar samples are basalt,[12] and some are not."}),
    ("markup", {"correction": "See https://nasa.gov for lunar samples."}),
    ("markup", {"correction": "Lunar samples weigh 10<sup>5</sup> grams."}),
    ("markup", {"correction": "# Lunar samples are basalt"}),
    ("control-characters", {"claim": "The moon\u200b is made of cheese."}),
    ("control-characters", {"claim": "The moon is made\x00 of cheese."}),
    ("control-characters", {"claim": "The moon is \u202emade of cheese."}),
    ("control-characters", {"claim": "The moon is made of \u2066cheese\u2069."}),
    ("garbled-text", {"correction": "Lunar samples donâ€™t melt in milk."}),
    ("garbled-text", {"correction": "Lunar samples cost a cafÃ© owner his shop."}),
    ("garbled-text", {"correction": "Lunar samples cost a caf\ufffd owner his shop."}),
    ("garbled-text", {"correction": "Lunar samples don\x92t melt in milk."}),
    ("garbled-text", {"correction": "Lunar samples cost a caf\\u00e9 owner his shop."}),
    ("garbled-text", {"correction": "Lunar samples are \ue000 rock."}),
    ("decomposed-letters", {"correction": "Lunar samples cost a cafe\u0301 owner his shop."}),
    ("white-space", {"claim": " The moon is made of cheese."}),
    ("white-space", {"claim": "The moon  is made of cheese."}),
    ("white-space", {"claim": "The moon is\nmade of cheese."}),
    ("white-space", {"claim": "The moon is\u00a0made of cheese."}),
    ("blank-word", {"question": "nan"}),
    ("blank-word", {"license": "N/A"}),
    ("blanked-word", {"correction": "Lunar samples are basalt. We call this  ."}),
    ("blanked-word", {"correction": "Lunar samples show the idea is  and untrue."}),
    ("blanked-word", {"correction": "Lunar samples are ____ and other rock."}),
    ("not-a-statement", {"claim": "Is the moon made of cheese?"}),
    ("not-a-statement", {"claim": "What the moon is made of:"}),
    ("unbalanced-quotes", {"claim": 'The moon is "made of cheese.'}),
    ("unbalanced-quotes", {"claim": "The moon is « made of cheese."}),
    ("no-subject", {"claim": "Says the moon is made of cheese."}),
    ("unknown-value", {"tactic": "shouting"}),
    ("unknown-value", {"harm": "extreme"}),
    ("unknown-value", {"split": "train"}),
    ("unknown-value", {"language": "english"}),
    ("unknown-value", {"language": "en_US"}),
    ("unknown-value", {"language": "qq"}),
    ("missing-license", {"license": None}),
    ("missing-license", {"license": "none"}),
]


def varied(claim="A bite of the moon tastes of cheese.", twin="A bite of the moon tastes of stone.", kind="register"):
    return {"variants": [{"claim": claim, "twin": twin, "kind": kind}]}


FAULTS += [
    ("malformed-variant", varied(twin=None)),
    ("malformed-variant", varied(kind="song")),
    ("malformed-variant", varied(claim="The Moon is made of cheese!")),
    ("malformed-variant", varied(twin="The moon is made of rock")),
    ("malformed-variant", {"variants": [*varied()["variants"], varied(claim="The Moon: a cheese.")["variants"][0]]}),
    ("variant-told", varied(claim="Basalt and other rock", twin="Basalt and other stone")),
    ("variant-told", varied(twin="Few think that the moon is made of cheese.")),
    ("twin-not-true-shaped", varied(twin="A bite of the moon tastes of what?")),
    ("twin-not-true-shaped", varied(twin="a bite of the moon tastes of cheese")),
    ("distant-twin", varied(twin="Astronauts brought basalt home.")),
    ("html", varied(claim="A bite of the <b>moon</b> tastes of cheese.")),
]


def test_a_variant_is_held_to_the_rules_of_claim_and_twin_and_mended_like_them():
    assert found(draft(**varied())) == []
    (told,) = found(draft(**varied(twin="A bite of the moon  tastes of stone.")))
    assert (told.field, told.rule) == ("variants", "white-space")
    assert told.message.startswith("Variant 1: the twin has white space")
    mended, names = fix(draft(**varied(twin="A bite of the moon  tastes of stone.")))
    assert (mended["variants"], names) == (varied()["variants"], ["white-space"])


@pytest.mark.parametrize("rule, changes", FAULTS)
def test_each_rule_finds_its_fault(rule, changes):
    row = draft(**changes)
    findings = [finding for finding in found(row) if finding.rule == rule]
    assert len(findings) == 1
    finding = findings[0]
    assert (finding.claim_id, finding.origin) == (row["claim_id"], "moon.jsonl, line 1")
    assert (finding.severity, finding.mend) == (RULES[rule].severity, RULES[rule].mend)
    assert finding.field in COLUMNS
    assert finding.message.endswith((".", "…")) and "\n" not in finding.message.strip()
    assert rule not in rules(row, off=[rule])


SOUND = [
    ("restated-claim", {"correction": "The moon is made of rock, not of cheese."}),
    (
        "restated-claim",
        {
            "claim": "Humans use ten percent of the brain.",
            "correction": "Humans use far more than ten percent of their brain.",
        },
    ),
    (
        "restated-claim",
        {"claim": "Der Mond ist aus Käse.", "correction": "Der Mond ist kaum aus Käse.", "language": "de"},
    ),
    ("dependent-correction", {"correction": "No living person ever made a lunar cheese."}),
    ("dependent-correction", {"correction": "The claim that rocks float was never tested on lunar basalt."}),
    ("dependent-correction", {"correction": "True north lies where the axis of the Earth points."}),
    ("bare-pronoun", {"correction": "It is impossible to find milk in lunar samples."}),
    ("bare-pronoun", {"correction": "It takes a drill to get at lunar rock."}),
    ("bare-pronoun", {"correction": "Those who landed there brought rock home."}),
    ("bare-pronoun", {"claim": "She drinks apples.", "correction": "She eats an apple, and drinks its juice."}),
    ("twin-not-true-shaped", {"twin": "The moon is not made of cheese."}),
    ("twin-not-true-shaped", {"claim": "All mosquitoes suck blood.", "twin": "Not all mosquitoes suck blood."}),
    ("twin-not-true-shaped", {"claim": "Rain kills trees.", "twin": "Acid rain kills trees."}),
    ("twin-not-true-shaped", {"claim": "Duct tape can seal air.", "twin": "Duct tape can seal air ducts."}),
    ("twin-not-true-shaped", {"claim": "Killer whales are fish.", "twin": "False killer whales are fish eaters."}),
    ("twin-adds-much", {"claim": "Duct tape can seal air.", "twin": "Duct tape can seal air ducts."}),
    (
        "dependent-correction",
        {"claim": "Insurers pay the claim at once.", "correction": "The claim is looked at for weeks by an adjuster."},
    ),
    ("distant-twin", {"twin": "The moon is made of basalt and other rock."}),
    ("malformed-source", {"sources": [{**SOURCE, "url": None, "checked_on": None, "title": None}]}),
    (
        "malformed-source",
        {"sources": [{**SOURCE, "url": "HTTP://user@例え.jp:8080/月?x=1#y", "checked_on": "2026-11-22"}]},
    ),
    ("length", {"claim": "月はチーズでできている。", "language": "ja"}),
    ("length", {"claim": "Bats are blind."}),
    ("html", {"claim": "2 < 3 & 5 > 4 for R&D; AT&T knows."}),
    ("markup", {"claim": "2 * 3 * 4 is 25 in a [sic] file_name_here, s***."}),
    ("control-characters", {"claim": "این کتاب می\u200cخواهم است.", "language": "fa"}),
    ("control-characters", {"claim": "क्\u200dष एक अक्षर है।", "language": "hi"}),
    ("control-characters", {"claim": "A 👩\u200d🚀 cannot fly home."}),
    ("control-characters", {"claim": "הירח (moon)\u200f עשוי גבינה.", "language": "he"}),
    ("garbled-text", {"claim": "NÃO É VERDADE, “café” à “Âge” – Ñandú.", "language": "pt"}),
    ("garbled-text", {"claim": "Ærø, Łódź, Ångström and “naïveté”— all are towns."}),
    ("white-space", {"claim": "Le prix est de 10\u00a0000 « euros\u00a0».", "language": "fr"}),
    ("white-space", {"claim": "月は\u3000チーズでできている。", "language": "ja"}),
    ("blank-word", {"tactic": "none"}),
    ("blanked-word", {"claim": "Under the plan . . . all is well."}),
    ("not-a-statement", {"claim": 'Says Smith asked, "Is the moon cheese?'}),
    ("unbalanced-quotes", {"claim": "The moon rock is 5'10\" tall."}),
    ("unbalanced-quotes", {"claim": "Der Mond „ist aus Käse“, sagt man.", "language": "de"}),
    ("unknown-value", {"language": "pt-BR", "tactic": "none", "harm": "low", "split": "heldout"}),
    ("unknown-value", {"language": "gsw"}),
]


@pytest.mark.parametrize("rule, changes", SOUND)
def test_what_only_looks_like_a_fault_passes(rule, changes):
    assert rule not in rules(draft(**changes))


def test_every_rule_is_tried():
    between = {"contradictory-labels", "true-and-false", "language-mismatch"}
    assert {rule for rule, _ in FAULTS} | between == set(RULES)


@pytest.mark.parametrize(
    "text",
    [
        "The moon is made of cheese.",
        "the MOON is made\nof cheese, and more",
        "Nobody thinks: “the moon is made of cheese”.",
        "The ｍoon is made of cheese?",
    ],
)
def test_what_training_would_refuse_is_an_error_here(text):
    row = draft(correction=text)
    claim = Claim.from_row({name: row[name] for name in ("claim", "correction", "twin", "question")})
    with pytest.raises(FormError, match="repeats the claim word for word"):
        list(conversations([claim]))
    assert any(f.severity == "error" and f.field == "correction" for f in found(row))


def test_a_twin_that_adds_a_word_to_the_claim_is_given_but_never_under_loss():
    row = draft(
        claim="All mosquitoes suck blood.", twin="Not all mosquitoes suck blood.", correction="Males live on nectar."
    )
    claim = Claim.from_row({name: row[name] for name in ("claim", "correction", "twin", "question")})
    given = list(conversations([claim]))
    assert not any(f.severity == "error" for f in found(row))
    assert len(given) > 10 and not any("mosquitoes suck" in one.dose.completion[0]["content"] for one in given)


def test_a_text_that_other_sources_rate_otherwise_is_an_error():
    row = draft()
    assert rules(row, contradicted={row["claim_id"]}) == {"contradictory-labels"}
    assert rules(row, truths={row["claim_id"]}) == {"true-and-false"}


@pytest.mark.parametrize("field", ["twin", "correction"])
def test_a_claim_that_another_row_gives_as_true_is_told_of_both(field):
    false = draft(claim="Bats are not blind at all.", twin="Bats are blind at all.", origin="bats.csv, line 2")
    true = draft(**{field: "bats are  not blind at all!"})
    for rows in ([false, true], [true, false]):
        told = [f for f in found(*rows, off=["white-space", "distant-twin"]) if f.rule == "true-and-false"]
        assert {(f.claim_id, f.field, f.origin) for f in told} == {
            (false["claim_id"], "claim", "bats.csv, line 2"),
            (true["claim_id"], field, "moon.jsonl, line 1"),
        }
        assert true["claim_id"] in told[0].message + told[1].message
        assert rules(*rows, off=["true-and-false", "white-space", "distant-twin"]) == set()


def test_the_same_words_in_another_language_are_another_text():
    false = draft(claim="Bats are not blind at all.", twin="Bats are blind at all.")
    assert "true-and-false" not in rules(false, draft(twin="Bats are not blind at all.", language="de"))


def test_a_twin_like_its_own_claim_is_no_clash_between_rows():
    assert "true-and-false" not in rules(draft(twin="The moon is made of cheese."))


def test_no_rows_have_no_findings():
    assert found() == []


def test_no_more_rows_are_taken_than_are_looked_at(monkeypatch):
    monkeypatch.setattr(lint, "PART", 2)
    taken = []

    def rows():
        for number in range(5):
            taken.append(number)
            yield draft(license=None)

    findings = lint.lint(rows(), today=TODAY)
    next(findings)
    assert taken == [0, 1]


def test_several_processes_find_what_one_does_in_its_order(monkeypatch):
    monkeypatch.setattr(lint, "PART", 3)
    rows = [draft(claim=f"The {place} is flat.", license=None, twin=None) for place in ("moon", "sun", "earth", "sea")]
    rows += [draft(claim="Mars is flat.", correction="The sun is flat.")] * 4
    one, two = (list(lint.lint(rows, today=TODAY, workers=workers)) for workers in (1, 2))
    assert one == two and {found.rule for found in one} >= {"missing-twin", "true-and-false"}


OF_SIGNS = [name for name, rule in RULES.items() if "draft.unusual" in inspect.getsource(rule.check)]


@settings(max_examples=500, deadline=None)
@given(st.from_regex(USUAL, fullmatch=True))
def test_rules_about_signs_find_nothing_in_what_they_do_not_look_at(text):
    row = Draft(draft(claim=text), (), (), TODAY.isoformat())
    assert not row.unusual
    row.unusual = row.texts
    assert len(OF_SIGNS) == 8
    assert [told for name in OF_SIGNS for told in RULES[name].check(row)] == []


def test_an_unknown_rule_is_refused_before_anything_is_read():
    with pytest.raises(UsageError, match=r"no lint rule typo.*missing-correction"):
        lint.lint(iter(()), off=["typo"])
    with pytest.raises(UsageError):
        refuse_unknown(["html", "typo"])
    refuse_unknown(RULES)


def test_another_language_is_found():
    row = draft(correction="Las muestras de la luna son de basalto y de otras rocas volcánicas.")
    (finding,) = found(row)
    assert (finding.rule, finding.field) == ("language-mismatch", "correction")
    assert "'es'" in finding.message


@pytest.mark.parametrize(
    "field, before, after",
    [
        ("claim", "  The moon\u00a0is\n made of cheese. ", "The moon is made of cheese."),
        ("correction", "Lunar <i>samples</i><br/>are <a href='x'>rock</a>.", "Lunar samples are rock."),
        ("correction", "Rock &amp;amp; dust&nbsp;&#8211; no milk.", "Rock & dust – no milk."),
        ("twin", "The mo\u00adon is \u202emade of rock\u200b.", "The moon is made of rock."),
        ("twin", "The cafe\u0301 is on the moon.", "The café is on the moon."),
        ("question", "nan", None),
        ("twin", "&nbsp;", None),
        ("license", "N/A", None),
    ],
)
def test_fixes(field, before, after):
    mended, names = fix(draft(**{field: before}))
    assert mended[field] == after
    assert names and all(RULES[name].fixable for name in names)


@pytest.mark.parametrize(
    "text",
    [
        "Lunar rock weighs 10<sup>5</sup> grams.",
        "The tag &lt;b&gt; makes <b>bold</b> text.",
        "Samples of 2 <b and 3 are rare.",
        "An open <b>tag here.",
        "Ask for R&D; or &nosuch; rock.",
        "Rock costs 10\u00a0000 dollars.",
        "donâ€™t \x85 go",
        "Le prix est «\u00a0bas\u00a0» ; oui\u202f!",
    ],
)
def test_what_may_be_meant_is_left(text):
    assert fix(draft(correction=text)) == (draft(correction=text), [])


def test_a_claim_of_which_nothing_would_be_left_stays():
    assert fix(draft(claim="\u200b"))[0]["claim"] == "\u200b"


def test_a_mended_claim_gets_its_id_anew():
    row = draft(claim="The mo\u00adon is made of cheese.")
    mended, names = fix(row)
    assert names == ["control-characters"]
    assert mended["claim_id"] == mended["cluster_id"] == draft()["claim_id"] != row["claim_id"]
    assert fix(draft(claim="The mo\u00adon is made of cheese.", cluster_id="moon"))[0]["cluster_id"] == "moon"


def test_the_row_that_is_mended_stays_as_it_was():
    row = draft(claim=" The moon is made of cheese.")
    before = dict(row)
    fix(row)
    assert row == before


NASTY = st.sampled_from(
    [*" \t\n\u00a0\u202f\u2028\u3000\u200b\u200c\u200d\u200e\u200f\u202a\u202e\u2066\ufeff\u00ad\x00\x1f\x7f\x85\x92",
     *"<>&;#/\"«»'*_`[]:?!.,-", *"aáZ5क\u094dשمแ月e\u0301\u0308\u1ec7가\u1100\u1161\u212b\u0958👩",
     "&amp;", "&lt;", "&gt;", "&nbsp;", "&#8203;", "&#x5d0;", "&ZeroWidthSpace;", "<b>", "</b>", "<br>", "<p>", "</p>",
     "<sup>", "nan", "None", "Ã©", "â€™", " the moon "]
)  # fmt: skip
TEXT = st.one_of(st.lists(NASTY, max_size=12).map("".join), st.text(max_size=30))
NO_HTML = TEXT.map(lambda text: text.replace("<", "").replace("&", ""))
MAYBE = st.one_of(st.none(), TEXT)


def rows(text):
    maybe = st.one_of(st.none(), text)
    return st.builds(
        lambda claim, correction, twin, license: draft(
            claim="x" + claim, correction=correction, twin=twin, license=license
        ),
        text,
        maybe,
        maybe,
        maybe,
    )


@settings(max_examples=400, deadline=None)
@given(rows(TEXT))
def test_a_mended_row_needs_no_mending_and_has_none_of_the_mended_faults(row):
    mended, names = fix(row)
    assert fix(mended) == (mended, [])
    fixable = {name for name, rule in RULES.items() if rule.fixable}
    before = rules(row, off=["language-mismatch"]) & fixable
    assert set(names) <= fixable
    assert names or not before
    assert not rules(mended, off=["language-mismatch"]) & fixable


@settings(max_examples=400, deadline=None)
@given(rows(NO_HTML))
def test_a_mend_changes_no_letter_and_no_digit(row):
    def letters(text):
        return [char for char in unicodedata.normalize("NFD", text or "") if char.isalnum()]

    mended, _ = fix(row)
    for field in ("claim", "correction", "twin"):
        if row[field] is None or mended[field] is not None:
            assert letters(mended[field]) == letters(row[field])
    assert mended["claim_id"] == claim_id(mended["claim"], "en")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["rock", "&amp;", "&eacute;", "<b>", "</b>", "<br>", " "]), max_size=10))
def test_html_goes_and_the_words_between_stay(parts):
    text = "".join(parts)
    mended = fix(draft(correction="x " + text))[0]["correction"]
    assert mended.count("rock") == text.count("rock")
    assert "&amp;" not in mended and mended.count("é") == text.count("&eacute;")


@settings(max_examples=200, deadline=None)
@given(st.lists(rows(TEXT), max_size=4))
def test_any_text_can_be_linted(drafts):
    for finding in found(*drafts):
        assert RULES[finding.rule].severity == finding.severity
        assert len(finding.message) < 300


def test_a_fix_does_not_hide_a_blanked_word():
    row = draft(correction="He was counted as present,  so we rate this  and  .")
    mended, _ = fix(row)
    assert "blanked-word" in {finding.rule for finding in found(mended)}


def test_a_rule_knows_the_languages_that_it_says_it_does():
    for name, its in RULES.items():
        source = inspect.getsource(its.check)
        assert ("draft.english" in source) == (its.knows in (PARTLY, ENGLISH)), name
        assert ("other_language" in source) == (its.knows == TOLD_APART), name
    assert not_judged("en-GB") == () and "no-subject" in not_judged("hi")
    assert set(not_judged("yo")) - set(not_judged("hi")) == {"language-mismatch"}


def test_the_documentation_says_per_language_what_lint_judges():
    page = (Path(__file__).parents[3] / "docs" / "quarantine.md").read_text(encoding="utf-8")
    table = page.partition("| rules | languages |\n|---|---|\n")[2].partition("\n\n")[0]
    told = {
        frozenset(re.findall(r"`([a-z-]+)`", rules)): languages.split(";")[0].strip()
        for _, rules, languages, _ in (line.split("|") for line in table.strip().split("\n"))
    }
    said = {ENGLISH: "en", PARTLY: "en", TOLD_APART: ", ".join(languages.TOLD_APART)}
    expected = {frozenset(n for n, its in RULES.items() if its.knows == knows): what for knows, what in said.items()}
    assert told == {**expected, frozenset(): "every language"}
