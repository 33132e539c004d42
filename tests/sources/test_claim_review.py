"""ClaimReview: found wherever it stands, and taken for false only where its rating clearly says so."""

import html
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.errors import ValidationError
from hfvaccine.sources import claim_review
from hfvaccine.sources.claim_review import fields, find, from_html, rating
from hfvaccine.sources.rows import iter_rows
from hfvaccine.sources.verdict import FALSE, PANTS_ON_FIRE, TAKEN, TRUE, UNCLEAR


def review(claim="Aldor lies by the sea.", **more):
    return {"@type": "ClaimReview", "claimReviewed": claim, **more}


def rated(value=None, worst=None, best=None, name=None):
    parts = {"ratingValue": value, "worstRating": worst, "bestRating": best, "alternateName": name}
    return {"reviewRating": {key: part for key, part in parts.items() if part is not None}}


# Where reviews stand


@pytest.mark.parametrize(
    "content",
    [
        review(),
        [review()],
        {"@graph": [{"@type": "WebPage"}, review()]},
        {"@type": "DataFeed", "dataFeedElement": [{"@type": "DataFeedItem", "item": [review()]}]},
        {"@type": "DataFeed", "dataFeedElement": [{"item": review()}]},
        {"@type": "NewsArticle", "review": review()},
        review(**{"@type": ["Review", "ClaimReview"]}),
        review(**{"@type": "http://schema.org/ClaimReview"}),
        review(**{"@type": "schema:ClaimReview"}),
    ],
)
def test_a_review_is_found_however_deep(content):
    assert [found["claimReviewed"] for found in find(content)] == ["Aldor lies by the sea."]


def test_what_is_no_claim_review_is_left_out():
    assert find([{"@type": "Review"}, {"@type": "ClaimReviewed"}, {"claimReviewed": "x"}, 5, "ClaimReview"]) == []


def test_reviews_come_in_their_order_and_nodes_are_resolved():
    graph = {
        "@graph": [
            review("one", author={"@id": "#us"}, reviewRating={"@id": "#gone"}),
            review("two"),
            {"@type": "Organization", "@id": "#us", "name": "The Checkers"},
        ]
    }
    first, second = find(graph)
    assert (first["claimReviewed"], second["claimReviewed"]) == ("one", "two")
    assert fields(first)["checker"] == "The Checkers"
    assert rating(first)[0] == UNCLEAR


PAGE = """<html><head><title>Näheres</title>
<script type="application/ld+json">
<!-- {"@type": "ClaimReview", "claimReviewed": "A claim
over two lines"}; -->
</script>
<script type="application/ld+json">{"@type": </script>
<script>var claimReview = 1;</script></head><body>
<div itemscope itemtype="https://schema.org/ClaimReview" itemref="apart">
  <p>Claim: <q itemprop="claimReviewed">Aldor  lies
     by the <b>sea</b> – or so.</q></p>
  <span itemprop="author" itemscope itemtype="https://schema.org/Organization">
    <a itemprop="url" href="https://www.example.org/"><span itemprop="name">The Checkers</span></a>
    <meta itemprop="claimReviewed" content="not this one">
  </span>
  <div itemprop="reviewRating" itemscope itemtype="https://schema.org/Rating">
    <meta itemprop="ratingValue" content="1"><meta itemprop="worstRating" content="1">
    <span itemprop="bestRating">5</span> <span itemprop="alternateName">Falsch</span>
  </div>
  <time itemprop="datePublished" datetime="2020-02-02">yesterday</time>
</div>
<p id="apart"><a itemprop="url" href="https://example.org/1">read on</a></p>
<div itemscope itemtype="https://schema.org/Review"><i itemprop="claimReviewed">no</i></div>
</body></html>"""


def test_a_page_is_read_from_scripts_and_microdata(tmp_path):
    broken = []
    in_script, in_page = from_html(PAGE, lambda number, script, error: broken.append((number, script)))
    assert in_script["claimReviewed"] == "A claim\nover two lines"
    assert broken == [(2, '{"@type": ')]
    assert in_page == {
        "@type": "ClaimReview",
        "claimReviewed": "Aldor lies by the sea – or so.",
        "author": {"@type": "Organization", "url": "https://www.example.org/", "name": "The Checkers"}
        | {"claimReviewed": "not this one"},
        "reviewRating": {
            "@type": "Rating",
            "ratingValue": "1",
            "worstRating": "1",
            "bestRating": "5",
            "alternateName": "Falsch",
        },
        "datePublished": "2020-02-02",
        "url": "https://example.org/1",
    }
    assert rating(in_page)[0] == FALSE
    (tmp_path / "x.html").write_text(PAGE, encoding="utf-8")
    lines = []
    assert [row.where for row in iter_rows(tmp_path / "x.html", lines.append)] == ["review 1", "review 2"]
    assert [line.where for line in lines] == ["script 2"]
    with pytest.raises(ValidationError, match="script 2 is not JSON"):
        list(iter_rows(tmp_path / "x.html"))


def test_microdata_that_leads_in_a_circle_ends():
    item = '<div id="a" itemprop="p" itemscope itemtype="https://schema.org/ClaimReview" itemref="a">x</div>'
    assert from_html(f"<body>{item}</body>") == [{"@type": "ClaimReview"}]
    assert from_html("  ") == []


def test_files_of_linked_data_give_a_row_a_review(tmp_path):
    for name in ("x.json", "x.jsonld"):
        (tmp_path / name).write_text(json.dumps({"@graph": [review("one"), review("two")]}), encoding="utf-8")
        rows = list(iter_rows(tmp_path / name))
        assert [(row.where, row.values["claimReviewed"]) for row in rows] == [("item 1", "one"), ("item 2", "two")]


# Ratings


@pytest.mark.parametrize(
    ("review", "said", "shown"),
    [
        # both the name and the place
        (rated(1, 1, 5, "False"), FALSE, "'False', at 1 from 1 (worst) to 5 (best)"),
        (rated("1", "1", "6", "Pants on Fire!"), PANTS_ON_FIRE, "'Pants on Fire!'"),
        (rated(2, 1, 6, "False"), FALSE, "'False'"),
        (rated(5, 5, 1, "Falso"), FALSE, "at 5 from 5 (worst) to 1 (best)"),
        (rated(1, 5, 1, "Vrai"), TRUE, "at 1 from 5 (worst) to 1 (best)"),
        (rated(0, 0, 1, "Fake"), FALSE, "'Fake'"),
        (rated(2, 1, 5, "Mostly false"), UNCLEAR, "'Mostly false'"),
        (rated(3, 1, 5, "False"), UNCLEAR, "'False', at 3"),
        # they contradict each other: schema.org's own example
        (rated(1, None, 6, "True"), UNCLEAR, "'True', at 1 from 1 (worst) to 6 (best), which contradict each other"),
        (rated(1, 5, 1, "False"), UNCLEAR, "which contradict each other"),
        # only one of them
        (rated(name="False"), FALSE, "'False'"),
        (rated("False"), FALSE, "'False'"),
        (rated(name="Missing context"), UNCLEAR, "'Missing context'"),
        (rated(1, 1, 5), FALSE, "has no name, at 1 from 1 (worst) to 5 (best)"),
        (rated("1,0", "1", "5"), FALSE, "has no name, at 1"),
        (rated(5, 1, 5), TRUE, "at 5"),
        (rated(2, 1, 5), UNCLEAR, "at 2"),
        (rated(4, 1, 5), UNCLEAR, "at 4"),
        # ends that are not said
        (rated(1, None, 6), FALSE, "at 1 from 1 (worst) to 6 (best)"),
        (rated(1, 1), FALSE, "to 5 (best)"),
        (rated(1), UNCLEAR, "has no name, and 1 stands on no scale"),
        (rated(5), UNCLEAR, "5 stands on no scale"),
        (rated(1, None, None, "True"), UNCLEAR, "which contradict each other"),
        (rated(1, None, None, "False"), FALSE, "'False', at 1"),
        # no scale at all
        (rated(-1, -1, -1, "Falso"), FALSE, "'Falso', and -1 stands on no scale"),
        (rated(-1, -1, -1), UNCLEAR, "-1 stands on no scale"),
        (rated(7, 1, 5, "False"), FALSE, "7 stands on no scale"),
        (rated(3, 3, 3), UNCLEAR, "3 stands on no scale"),
        (rated("nan", 1, 5), UNCLEAR, "'nan'"),
        (rated(True, 1, 5), UNCLEAR, "has no name"),
        ({"reviewRating": {}}, UNCLEAR, "has no name"),
        ({"reviewRating": []}, UNCLEAR, "it has no rating"),
        ({"reviewRating": "False"}, UNCLEAR, "it has no rating"),
        ({}, UNCLEAR, "it has no rating"),
        ({"reviewRating": [rated(1, 1, 5, "False")["reviewRating"]]}, FALSE, "'False'"),
        ({"reviewRating": {"alternateName": {"@value": "Faux", "@language": "fr"}}}, FALSE, "'Faux'"),
    ],
)
def test_a_rating_counts_by_its_name_and_its_place_on_the_scale(review, said, shown):
    assert rating(review)[0] == said
    assert shown in rating(review)[1]


@given(
    st.tuples(st.integers(-3, 9), st.integers(-3, 9), st.integers(-3, 9)),
    st.sampled_from(["False", "True", "Half true", None]),
)
def test_a_turned_scale_says_the_same(numbers, name):
    value, worst, best = numbers
    said = rating(rated(value, worst, best, name))[0]
    assert rating(rated(-value, -worst, -best, name))[0] == said
    if said in TAKEN and min(worst, best) <= value <= max(worst, best) and worst != best:
        assert abs(value - worst) < abs(value - best)
    if name == "True":
        assert said not in TAKEN


# Fields


def test_a_review_becomes_the_fields_of_a_claim():
    whole = review(
        reviewBody="It lies inland.",
        url="https://www.example.org/aldor",
        author=[{"@type": "Organization", "name": "The Checkers"}],
        name="Where Aldor lies",
        inLanguage="en-GB",
        datePublished="2020-02-02",
    )
    source = {"publisher": "The Checkers", "title": "Where Aldor lies", "url": whole["url"], "checked_on": None}
    assert fields(whole) == {
        "claim": "Aldor lies by the sea.",
        "correction": "It lies inland.",
        "language": "en",
        "checker": "The Checkers",
        "sources": [source],
    }


def test_what_a_review_does_not_say_is_not_made_up():
    assert fields(review("  ")) == {
        "claim": None,
        "correction": None,
        "language": None,
        "checker": None,
        "sources": [],
    }
    assert fields(review(author="Ada"))["checker"] == "Ada"
    by_page = fields(review(author={"url": "https://www.example.org/"}, url="https://example.org/1"))
    assert by_page["sources"] == [
        {"publisher": "example.org", "title": "https://example.org/1", "url": "https://example.org/1"}
        | {"checked_on": None}
    ]
    assert fields(review(inLanguage={"@type": "Language", "name": "German"}))["language"] is None


def test_plain_rows_are_no_linked_data():
    assert not claim_review.is_linked_data([{"claim": "x"}])
    assert not claim_review.is_linked_data([])
    assert claim_review.is_linked_data([review()])


@pytest.mark.parametrize(
    "wrapped",
    [
        "//<![CDATA[\n{}\n//]]>",
        "/*<![CDATA[*/{}/*]]>*/",
        "<![CDATA[{}]]>",
        "<!--//--><![CDATA[//><!--\n{}\n//--><!]]>",
        "\ufeff{};",
    ],
)
@pytest.mark.parametrize("encoded", [False, True])
def test_data_is_found_in_whatever_pages_put_around_it(wrapped, encoded):
    review = json.dumps(
        {"@type": "ClaimReview", "claimReviewed": "Snow is warm, isn't it?", "url": "https://a.example/1"}
    )
    script = wrapped.replace("{}", html.escape(review) if encoded else review)
    page = f'<script type="application/ld+json">{script}</script>'
    found = claim_review.from_html(page)
    assert [one["claimReviewed"] for one in found] == ["Snow is warm, isn't it?"]


def test_data_of_many_megabytes_is_read():
    review = json.dumps({"@type": "ClaimReview", "claimReviewed": "x" * 11_000_000})
    assert len(claim_review.from_html(f'<script type="application/ld+json">{review}</script>')) == 1


def test_saved_answers_of_the_search_for_fact_checks_are_rows(tmp_path):
    claim = {"text": "Snow is warm.", "claimReview": [{"textualRating": "False"}]}
    path = tmp_path / "x.json"
    for answer in ({"claims": [claim], "nextPageToken": "x"}, [{"claims": [claim]}]):
        path.write_text(json.dumps(answer), encoding="utf-8")
        assert [row.values for row in iter_rows(path)] == [claim]
