"""Published collections are recognised by their columns and read as claims; what is false is never guessed."""

import pytest

from hfvaccine.errors import UsageError
from hfvaccine.quarantine.intake import formats
from hfvaccine.quarantine.intake.formats import SHAPES, detect, shape_of, without_verdict
from hfvaccine.sources.verdict import FALSE, PANTS_ON_FIRE, TRUE, UNCLEAR

WIKIPEDIA = {"publisher": "Wikipedia", "title": "Aldor (town)", "url": None, "checked_on": None}


def source(publisher, title, url=None):
    return {"publisher": publisher, "title": title, "url": url, "checked_on": None}


KNOWN = [
    (
        "claims",
        {"claim": "Snow is warm.", "correction": "It is cold.", "domain": "weather", "verdict": "Falso"},
        (FALSE, {"claim": "Snow is warm.", "correction": "It is cold.", "domain": "weather"}),
    ),
    (
        "truthfulqa",
        {
            "Type": "Adversarial",
            "Category": "Weather",
            "Question": "How is snow?",
            "Best Answer": "Snow is cold",
            "Correct Answers": "Snow is cold; Cold",
            "Incorrect Answers": "Snow is hot; Snow is warm",
            "Best Incorrect Answer": "Snow is warm",
            "Source": "https://www.example.org/snow",
        },
        (
            FALSE,
            {
                "claim": "Snow is warm",
                "twin": "Snow is cold",
                "correction": "Snow is cold",
                "question": "How is snow?",
                "domain": "Weather",
                "overlaps": ["TruthfulQA"],
                "sources": [source("example.org", "https://www.example.org/snow", "https://www.example.org/snow")],
            },
        ),
    ),
    (
        "comve",
        {
            "Correct Statement": "He drinks milk.",
            "Incorrect Statement": "He drinks stones.",
            "Right Reason1": "Stones are no drink.",
            "Confusing Reason1": "Stones are heavy.",
        },
        (FALSE, {"claim": "He drinks stones.", "twin": "He drinks milk.", "correction": "Stones are no drink."}),
    ),
    (
        "creak",
        {"ex_id": "1", "sentence": "Snow is warm.", "explanation": "It is cold.", "label": "false", "entity": "Snow"},
        (FALSE, {"claim": "Snow is warm.", "correction": "It is cold."}),
    ),
    (
        "fool-me-twice",
        {
            "id": "1",
            "claim": "Snow is warm.",
            "label": "REFUTES",
            "evidence": ["Snow is ice. ", "Ice is cold."],
            "wikipedia_page": "Aldor (town)",
            "category": "Weather",
        },
        (
            FALSE,
            {"claim": "Snow is warm.", "correction": "Snow is ice. Ice is cold.", "domain": "Weather"}
            | {"sources": [WIKIPEDIA]},
        ),
    ),
    (
        "fool-me-twice",  # as it was published
        {
            "id": "1",
            "text": "Snow is warm.",
            "label": "SUPPORTS",
            "wikipedia_page": "Aldor (town)",
            "gold_evidence": [{"text": "Snow is ice.", "section_header": "x"}],
            "retrieved_evidence": [],
        },
        (TRUE, {"claim": "Snow is warm.", "correction": "Snow is ice.", "sources": [WIKIPEDIA]}),
    ),
    (
        "scifact",
        {"id": 1, "claim": "Snow is warm.", "evidence": {"7": [{"sentences": [1], "label": "REFUTE"}]}}
        | {"cited_doc_ids": [7]},
        (FALSE, {"claim": "Snow is warm.", "sources": [source("S2ORC", "document 7")]}),
    ),
    (
        "scifact",
        {"id": 1, "claim": "Snow is warm.", "evidence": {}, "cited_doc_ids": [7]},
        (UNCLEAR, {"claim": "Snow is warm.", "sources": []}),
    ),
    (
        "scifact",
        {"claim": "Snow is warm.", "cited_doc_ids": [7, 8]}
        | {"evidence": {"7": [{"label": "REFUTE"}], "8": [{"label": "SUPPORT"}]}},
        (
            UNCLEAR,
            {"claim": "Snow is warm.", "sources": [source("S2ORC", "document 7"), source("S2ORC", "document 8")]},
        ),
    ),
    (
        "scifact",
        {"evidence": "We found snow to be cold.", "claim": "Snow is warm.", "label": "REFUTE"},
        (FALSE, {"claim": "Snow is warm.", "correction": "We found snow to be cold."}),
    ),
    (
        "averitec",
        {
            "claim": "Snow is warm.",
            "label": "Refuted",
            "justification": "It was measured.",
            "fact_checking_article": "https://checkers.example/snow",
            "questions": [
                {
                    "question": "How is snow?",
                    "answers": [{"answer": "Cold.", "source_url": "https://www.met.example/a"}],
                },
                {"question": "And ice?", "answers": [{"answer": "Cold.", "source_url": ""}, {"answer": "Cold."}]},
            ],
        },
        (
            FALSE,
            {
                "claim": "Snow is warm.",
                "correction": "It was measured.",
                "sources": [
                    source("checkers.example", "https://checkers.example/snow", "https://checkers.example/snow"),
                    source("met.example", "https://www.met.example/a", "https://www.met.example/a"),
                ],
            },
        ),
    ),
    (
        "liar2",
        {
            "id": "1",
            "label": "0",
            "statement": "Says snow is warm.",
            "date": "May 1, 2012",
            "subject": "weather;ice",
            "speaker": "a flyer",
            "justification": "It was measured, and is cold. We rate this  .",
        },
        (
            PANTS_ON_FIRE,
            {
                "claim": "Says snow is warm.",
                "correction": "It was measured, and is cold.",
                "domain": "weather",
                "checker": "PolitiFact",
                "sources": [source("PolitiFact", "Ruling on a statement by a flyer, May 1, 2012")],
            },
        ),
    ),
    (
        "liar",
        dict(zip(formats.LIAR, ["1.json", "barely-true", "Snow is warm.", "weather,ice", "a flyer"], strict=False)),
        (
            UNCLEAR,
            {"claim": "Snow is warm.", "domain": "weather", "checker": "PolitiFact"}
            | {"sources": [source("PolitiFact", "Ruling on a statement by a flyer")]},
        ),
    ),
    (
        "ai-vaccine",
        {"statement": "Snow is warm.", "label": "1.0", "domain": "weather", "source": "politifact", "correction": ""},
        (FALSE, {"claim": "Snow is warm.", "correction": None, "domain": "weather"}),
    ),
    (
        "fever",
        {"id": 1, "verifiable": "VERIFIABLE", "label": "REFUTES", "claim": "Snow is warm."}
        | {"evidence": [[[1, 2, "Aldor_-LRB-town-RRB-", 0]], [[1, 3, "Aldor_-LRB-town-RRB-", 4]]]},
        (FALSE, {"claim": "Snow is warm.", "sources": [WIKIPEDIA]}),
    ),
    (
        "fever",
        {"claim": "Snow is warm.", "label": "NOT ENOUGH INFO", "evidence": "Snow falls."},
        (UNCLEAR, {"claim": "Snow is warm.", "correction": "Snow falls."}),
    ),
    (
        "claimreview",
        {"@type": "ClaimReview", "claimReviewed": "Snow is warm.", "reviewRating": {"alternateName": "Faux"}},
        (
            FALSE,
            {"claim": "Snow is warm.", "correction": None, "language": None, "checker": None, "sources": []},
        ),
    ),
    (
        "fact-check-tools",
        {
            "text": "Snow is warm.",
            "claimant": "A blog",
            "claimReview": [
                {
                    "publisher": {"name": "Facts", "site": "facts.example"},
                    "url": "https://facts.example/1",
                    "title": "Is snow warm?",
                    "textualRating": "False",
                    "languageCode": "en-GB",
                },
                {
                    "publisher": {"site": "checks.example"},
                    "url": "https://checks.example/2",
                    "textualRating": "Pants on Fire",
                    "languageCode": "en",
                },
            ],
        },
        (
            FALSE,
            {
                "claim": "Snow is warm.",
                "language": "en",
                "checker": "Facts",
                "sources": [
                    source("Facts", "Is snow warm?", "https://facts.example/1"),
                    source("checks.example", "https://checks.example/2", "https://checks.example/2"),
                ],
            },
        ),
    ),
]


@pytest.mark.parametrize(("name", "row", "read"), KNOWN)
def test_a_collection_is_recognised_and_read(name, row, read):
    shape = detect([row])
    assert shape is SHAPES[name]
    reading = shape.read(row)
    assert (reading.verdict, reading.fields) == read


def test_every_collection_is_tried_here():
    assert {name for name, _, _ in KNOWN} == set(SHAPES)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("creak", {"false": FALSE, "true": TRUE, False: FALSE, True: TRUE, "": UNCLEAR, None: UNCLEAR}),
        ("liar2", {0: PANTS_ON_FIRE, "1": FALSE, 1.0: FALSE, "2": UNCLEAR, "3": UNCLEAR, "4": UNCLEAR, "5": TRUE}),
        ("liar2", {"-1": UNCLEAR, -1: UNCLEAR, "pants-fire": PANTS_ON_FIRE, "10": UNCLEAR, "0.5": UNCLEAR}),
        ("liar", {"pants-fire": PANTS_ON_FIRE, "false": FALSE, "half-true": UNCLEAR, "true": TRUE, 0: UNCLEAR}),
        ("ai-vaccine", {"0": PANTS_ON_FIRE, "0.0": PANTS_ON_FIRE, "1": FALSE, "": FALSE, None: FALSE, "2": UNCLEAR}),
        ("ai-vaccine", {-1: UNCLEAR, "true": UNCLEAR}),
        ("fever", {"REFUTES": FALSE, "SUPPORTS": TRUE, "DISPUTED": UNCLEAR, 1: UNCLEAR}),
        ("averitec", {"Refuted": FALSE, "Supported": TRUE, "Conflicting Evidence/Cherrypicking": UNCLEAR}),
        ("averitec", {"Not Enough Evidence": UNCLEAR}),
    ],
)
def test_labels_say_what_their_collection_means_by_them(name, labels):
    for label, said in labels.items():
        assert SHAPES[name].read({"label": label}).verdict == said, label


def test_the_old_table_of_truthfulqa_has_its_first_wrong_answer():
    row = {key: value for key, value in KNOWN[1][1].items() if key != "Best Incorrect Answer"} | {"Source": "folklore"}
    assert detect([row]).read(row).fields["claim"] == "Snow is hot"
    assert detect([row]).read(row).fields["sources"] == []


def test_an_evaluation_set_is_warned_of():
    assert "must never become a dose" in SHAPES["truthfulqa"].warning
    assert [name for name, shape in SHAPES.items() if shape.warning] == ["truthfulqa"]


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("It is cold. We rate this .", "It is cold."),
        ("It is cold.\xa0 We rate this statement\xa0!", "It is cold."),
        ("It is cold. So we rate his  . Click here for more on the six ratings.", "It is cold."),
        ("It is cold. We rate the  . RELATED: Is ice warm? RELATED: Is rain dry?", "It is cold."),
        ("It is cold. We rate it . CORRECTION, May 1: A name was misspelt. We regret it.", "It is cold."),
        ('It is cold. We rate the  that "snow is warm" !', "It is cold."),
        ("It is cold. The claim is .", "It is cold."),
        ("It is cold. !", "It is cold."),
        ("We rate this .", None),
        ("It is cold.", "It is cold."),
        (
            "We rate books on snow in our spare time. It is cold!",
            "We rate books on snow in our spare time. It is cold!",
        ),
        ("", None),
        (None, None),
        (5, 5),
    ],
)
def test_a_blanked_verdict_is_taken_off(text, left):
    assert without_verdict(text) == left


def test_a_table_without_names_is_known_for_what_it_is():
    cells = ["2635.json", "false", "Snow is warm.", *[""] * 11]
    assert formats.header(cells) == formats.LIAR
    assert formats.header(["id", "label", *cells[2:]]) is None
    assert formats.header(cells[:-1]) is None


# What is not recognised


def test_a_label_of_numbers_alone_is_never_guessed():
    rows = [{"statement": "Snow is warm.", "label": "0"}]
    assert detect(rows) is None
    with pytest.raises(UsageError, match=r"x\.csv has the columns of no known collection: statement, label\."):
        shape_of(rows, "x.csv")
    with pytest.raises(UsageError, match=r"in ai-vaccine both are false, elsewhere 1 is often true"):
        shape_of(rows, "x.csv")
    assert shape_of(rows, "x.csv", format="ai-vaccine").read(rows[0]).verdict == PANTS_ON_FIRE


def test_claims_of_which_nothing_says_that_they_are_false_are_not_recognised():
    assert detect([{"claim": "Snow is warm.", "question": "How is snow?"}]) is None
    assert detect([{"claim": "Snow is warm.", "label": "maybe"}]) is None
    assert detect([{"text": "Snow is warm."}]) is None


# Own maps

ROW = {
    "statement": "Snow is warm.",
    "note": "It is cold.",
    "truth": "0",
    "site": "Met",
    "page": "https://met.example/",
}


def test_columns_can_be_named():
    shape = shape_of(
        [ROW],
        "x.csv",
        mapping={"claim": "statement", "correction": "note", "verdict": "truth", "publisher": "site", "url": "page"},
        fixed={"license": "MIT", "title": "Snow"},
        false_labels=("0", "no"),
    )
    reading = shape.read(ROW)
    assert (reading.verdict, reading.fields) == (
        FALSE,
        {
            "claim": "Snow is warm.",
            "correction": "It is cold.",
            "license": "MIT",
            "sources": [source("Met", "Snow", "https://met.example/")],
        },
    )
    assert shape.read({**ROW, "truth": "1"}).verdict == UNCLEAR
    assert shape.read({**ROW, "truth": "true"}).verdict == TRUE
    assert shape.read({**ROW, "truth": "false"}).verdict == UNCLEAR  # only the labels that were named
    assert shape.read({**ROW, "note": " n/a "}).fields["correction"] is None
    told = shape.describe(ROW)
    for line in (
        "claim      <- statement",
        "license    <- 'MIT' in all rows",
        "taken: rows whose truth is '0' or 'no'",
    ):
        assert line in told
    assert "--set license" not in told


def test_a_verdict_is_read_by_its_name_or_said_for_all_rows():
    by_name = shape_of([ROW], "x", mapping={"claim": "statement", "verdict": "truth"})
    assert by_name.read({**ROW, "truth": "Bulo"}).verdict == FALSE
    assert by_name.read(ROW).verdict == UNCLEAR
    for_all = shape_of([ROW], "x", mapping={"claim": "statement"}, fixed={"verdict": "Pants on fire"})
    assert for_all.read(ROW).verdict == PANTS_ON_FIRE


def test_a_map_goes_before_what_the_collection_says():
    row = KNOWN[3][1]
    shape = shape_of([row], "x", mapping={"domain": "entity"}, fixed={"license": "MIT", "language": "en"})
    assert shape.name == "creak"
    assert shape.read(row).fields == {
        "claim": "Snow is warm.",
        "correction": "It is cold.",
        "domain": "Snow",
        "license": "MIT",
        "language": "en",
    }
    liar2 = shape_of([KNOWN[11][1]], "x", false_labels=("0", "1", "2"))
    assert liar2.read({**KNOWN[11][1], "label": "2"}).verdict == FALSE


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"format": "csv"}, "no format 'csv'. Use one of: claims, claimreview, fact-check-tools"),
        ({"format": "creak"}, "has no column 'sentence', which the format creak needs"),
        ({"mapping": {"claim": "text"}}, "no column 'text'. It has: statement, note, truth"),
        ({"mapping": {"body": "note"}}, "--map cannot fill 'body'. Use one of: claim, correction"),
        ({"mapping": {"claim": "statement"}}, "Nothing says which rows of x.csv are false"),
        ({"mapping": {"claim": "statement"}, "fixed": {"verdict": "true"}}, "only falsehoods are taken"),
        ({"mapping": {"claim": "statement"}, "fixed": {"claim": "x"}}, "--set cannot fill 'claim'"),
        ({"fixed": {"harm": "huge"}}, "no harm 'huge'. Use one of: unrated, low, medium, high"),
        ({"format": "ai-vaccine", "fixed": {"tactic": "lying"}}, "no tactic 'lying'"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_would(options, complaint):
    with pytest.raises(UsageError) as error:
        shape_of([ROW], "x.csv", **options)
    assert complaint in str(error.value)


def test_labels_are_refused_where_no_label_tells_the_rows_apart():
    with pytest.raises(UsageError, match="says nothing about comve"):
        shape_of([KNOWN[2][1]], "x.csv", false_labels=("0",))


def test_a_description_names_what_the_source_has():
    told = SHAPES["claims"].describe(["claim", "correction"])
    assert "correction <- correction" in told and "  twin" not in told
    assert "say it with --set license=ID" in told


def test_one_variant_a_row_stands_in_columns_of_its_own():
    row = {"claim": "a b c", "correction": "d", "variant_claim": "e f", "variant_twin": "g h"}
    variant = {"claim": "e f", "twin": "g h", "kind": "paraphrase"}
    assert detect([row]).read(row).fields["variants"] == [variant]
    register = {**row, "variant_kind": "register"}
    assert detect([row]).read(register).fields["variants"] == [{**variant, "kind": "register"}]
    bare = {**row, "variant_claim": "", "variant_twin": None}
    assert detect([row]).read(bare).fields["variants"] == []
    listed = {**row, "variants": [variant, variant]}
    assert detect([row]).read(listed).fields["variants"] == [variant, variant]


def test_columns_can_be_named_for_a_variant():
    row = {"said": "a b c", "other": "e f", "true": "g h"}
    mapping = {"claim": "said", "variant_claim": "other", "variant_twin": "true"}
    shape = shape_of([row], "x", mapping=mapping, fixed={"verdict": "false"})
    assert shape.read(row).fields == {
        "claim": "a b c",
        "variants": [{"claim": "e f", "twin": "g h", "kind": "paraphrase"}],
    }


def test_a_table_with_our_field_names_is_read_and_says_what_it_ignores():
    row = {
        "claim": "a b c",
        "correction": "d",
        "twin": "e",
        "question": "f?",
        "domain": "g",
        "source": "WHO",
        "note": "h",
    }
    shape = detect([row])
    assert shape is SHAPES["claims"]
    assert shape.read(row).fields["sources"] == [source("WHO", "WHO")]
    page = {**row, "source": "https://www.who.int/x"}
    assert shape.read(page).fields["sources"] == [source("who.int", "https://www.who.int/x", "https://www.who.int/x")]
    parts = {**row, "publisher": "WHO", "title": "Snow", "url": "https://who.int/s"}
    assert shape.read(parts).fields["sources"] == [source("WHO", "Snow", "https://who.int/s")]
    assert shape.describe(row).endswith("ignored: note")


def test_a_column_that_may_say_which_rows_are_false_is_never_passed_over():
    assert detect([{"claim": "a", "correction": "b", "rating": "3"}]) is None


@pytest.mark.parametrize(
    ("ratings", "said"),
    [
        (["True", "Correct"], TRUE),
        (["False", "True"], UNCLEAR),
        (["False", "Half true"], UNCLEAR),
        ([None], UNCLEAR),
        ([], UNCLEAR),
    ],
)
def test_a_claim_of_several_reviews_is_false_where_all_say_so(ratings, said):
    reviews = [{"textualRating": rating} for rating in ratings]
    assert SHAPES["fact-check-tools"].read({"text": "a", "claimReview": reviews}).verdict == said


PLUS = [
    "1.json",
    "false",
    "Snow is warm.",
    "weather",
    "ada",
    "",
    "",
    "",
    "0",
    "1",
    "2",
    "3",
    "4",
    "a talk",
    "It is cold.",
]


@pytest.mark.parametrize("lead", [[], ["0"]])
def test_liar_plus_has_no_names_of_columns(lead):
    columns = formats.header([*lead, *PLUS])
    row = dict(zip(columns, [*lead, *PLUS], strict=True))
    read = shape_of([row], "x.tsv").read(row)
    assert (read.verdict, read.fields["claim"], read.fields["correction"]) == (FALSE, "Snow is warm.", "It is cold.")
    numbered = formats.header([*lead, *PLUS], numbered=["3"])
    assert dict(zip(numbered, [*lead, *PLUS], strict=True))["3"] == "Snow is warm."


def test_columns_may_be_told_by_number():
    assert formats.by_field({"3": "claim", "verdict": "2"}) == {"claim": "3", "verdict": "2"}
    assert formats.header(["Snow is warm.", "false"], numbered=["1"]) == ["1", "2"]
    assert formats.header(["1", "2"], numbered=["1"]) is None
    assert formats.header(["claim", "label"]) is None
