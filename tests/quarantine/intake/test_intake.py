"""Intake: every row is taken, or rejected with its place and reason; nothing is guessed, nothing lost."""

import csv
import gzip
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.claims.claim import claim_id
from hfvaccine.errors import DoseError, UsageError, ValidationError
from hfvaccine.quarantine.intake import intake as module
from hfvaccine.quarantine.intake.intake import intake
from hfvaccine.quarantine.policy import TEMPLATE
from hfvaccine.quarantine.store import POLICY, Quarantine


def creak(sentence, label="false", explanation="It is not so."):
    return {"sentence": sentence, "explanation": explanation, "label": label, "entity": "Snow"}


def own(claim, **fields):
    return {"claim": claim, "correction": "It is not so.", **fields}


@pytest.fixture
def quarantine(tmp_path):
    return Quarantine(tmp_path / "q")


@pytest.fixture
def write(tmp_path):
    def write(*rows, name="x.jsonl"):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write


def rows_of(quarantine):
    return quarantine.table().to_pylist()


# What is taken


def test_false_rows_become_drafts_and_the_rest_says_why_not(quarantine, write):
    file = write(
        creak("Snow is warm."), creak("Snow is cold.", "true"), creak("Snow is fun.", "depends"), creak("n/a")
    )
    taken = intake(quarantine, [file], "ada")
    assert rows_of(quarantine) == [
        {
            **dict.fromkeys(quarantine.table().schema.names),
            "claim_id": claim_id("Snow is warm.", "en"),
            "cluster_id": claim_id("Snow is warm.", "en"),
            "claim": "Snow is warm.",
            "correction": "It is not so.",
            "verdict": "false",
            "language": "en",
            "submitted_by": "ada",
            "sources": [],
            "overlaps": [],
            "variants": [],
            "reviewers": [],
            "origin": "x.jsonl, line 1",
        }
    ]
    assert [(r["source"], r["where"], r["rule"], r["reason"], r["claim_id"]) for r in quarantine.rejects()] == [
        ("x.jsonl", "line 2", "not-false", "It is rated true: its label is 'true'.", claim_id("Snow is cold.", "en")),
        (
            *("x.jsonl", "line 3", "unclear-rating", "It is not clearly false: its label is 'depends'."),
            claim_id("Snow is fun.", "en"),
        ),
        ("x.jsonl", "line 4", "no-claim", "There is no claim in it.", None),
    ]
    assert next(quarantine.rejects())["row"] == creak("Snow is cold.", "true")
    assert (taken.taken, taken.total) == (1, 1)
    assert taken.rejected == {"not-false": 1, "unclear-rating": 1, "no-claim": 1}


def test_the_act_is_in_the_journal_without_texts_or_paths(quarantine, write, tmp_path):
    import hashlib

    file = write(creak("Snow is warm."), creak("Snow is cold.", "true"))
    intake(quarantine, [file], "ada")
    [entry] = quarantine.history()
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    assert (entry.act, entry.by) == ("intake", "ada")
    assert entry.what["sources"] == [{"name": "x.jsonl", "format": "creak", "sha256": sha256, "rows": 2, "taken": 1}]
    assert (entry.what["taken"], entry.what["updated"], entry.what["rows"], entry.what["rejected"]) == (1, 0, 1, 1)
    assert "Snow" not in entry.line() and str(tmp_path) not in entry.line()
    quarantine.verify()


def test_the_first_intake_writes_the_policy_and_no_later_one_touches_it(quarantine, write):
    intake(quarantine, [write(creak("Snow is warm."))], "ada")
    assert (quarantine.folder / POLICY).read_text(encoding="utf-8") == TEMPLATE
    (quarantine.folder / POLICY).write_text("name: mine\n", encoding="utf-8")
    intake(quarantine, [write(creak("Rain is dry."))], "ada")
    assert (quarantine.folder / POLICY).read_text(encoding="utf-8") == "name: mine\n"


def test_several_sources_of_several_shapes_are_one_act(quarantine, write, tmp_path):
    table = tmp_path / "y.csv.gz"
    with gzip.open(table, "wt", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["Incorrect Statement", "Correct Statement"], ["Rain is dry.", "Rain is wet."]])
    told = []
    taken = intake(quarantine, [write(creak("Snow is warm.")), str(table)], "ada", say=told.append)
    assert [(source.name, source.format, source.taken) for source in taken.sources] == [
        ("x.jsonl", "creak", 1),
        ("y.csv.gz", "comve", 1),
    ]
    assert [row["twin"] for row in rows_of(quarantine)] == [None, "Rain is wet."]
    assert [line.splitlines()[0].split(":")[0] for line in told] == [
        "x.jsonl is read as creak",
        "y.csv.gz is read as comve",
    ]
    assert len(quarantine.history()) == 1


def test_an_evaluation_set_is_warned_of_and_marked(quarantine, write):
    row = {
        "Question": "How is snow?",
        "Best Answer": "Cold",
        "Best Incorrect Answer": "Warm",
        "Incorrect Answers": "Warm",
    }
    told = []
    intake(quarantine, [write(row)], "ada", say=told.append)
    assert [row["overlaps"] for row in rows_of(quarantine)] == [["TruthfulQA"]]
    assert told[-1].startswith("Warning: TruthfulQA is an evaluation set")


def test_a_table_that_is_published_without_names_is_read(quarantine, tmp_path):
    file = tmp_path / "train.tsv"
    lines = [
        ("1.json", "pants-fire", 'Says "snow" is warm.', "weather"),
        ("2.json", "true", "Snow is cold.", "weather"),
    ]
    file.write_text("".join("\t".join([*line, *["x"] * 10]) + "\n" for line in lines), encoding="utf-8")
    assert intake(quarantine, [file], "ada").rejected == {"not-false": 1}
    [row] = rows_of(quarantine)
    assert (row["claim"], row["verdict"], row["origin"]) == (lines[0][2], "pants-on-fire", "train.tsv, line 1")


def test_a_limit_reads_so_many_rows_of_each_source(quarantine, write):
    files = [write(*(creak(f"{name} {i}.") for i in range(9)), name=f"{name}.jsonl") for name in "ab"]
    taken = intake(quarantine, files, "ada", limit=3)
    assert [source.rows for source in taken.sources] == [3, 3] and taken.total == 6


def test_a_dataset_of_the_hub_is_taken_in_under_its_id(quarantine, monkeypatch):
    import datasets

    made = datasets.Dataset.from_list([creak("Snow is warm."), creak("Snow is cold.", "true")])
    monkeypatch.setattr(datasets, "load_dataset", lambda *a, **k: {"train": made.to_iterable_dataset()})
    taken = intake(quarantine, ["someone/creak"], "ada")
    assert (taken.sources[0].name, taken.sources[0].sha256, taken.taken) == ("someone/creak", None, 1)
    assert rows_of(quarantine)[0]["origin"] == "someone/creak, row 1 of train"


def test_a_row_of_ours_keeps_what_it_says_but_its_reviewers(quarantine, write):
    row = own(
        "Snow is warm.",
        cluster_id="of-snow",
        split="heldout",
        submitted_by="eve, ada",
        origin="old.csv, line 7",
        reviewers=[{"reviewer": "bob", "decision": "approve", "digest": "0", "decided_on": "2020-01-01"}],
        sources=[{"publisher": "Met", "title": "Snow"}],
        overlaps=["Other"],
        license="MIT",
        twin=" ",
    )
    intake(quarantine, [write(row)], "mia")
    [found] = rows_of(quarantine)
    assert found["sources"] == [{"publisher": "Met", "title": "Snow", "url": None, "checked_on": None}]
    assert {key: found[key] for key in ("cluster_id", "split", "submitted_by", "origin", "reviewers", "twin")} == {
        "cluster_id": "of-snow",
        "split": "heldout",
        "submitted_by": "ada, eve, mia",
        "origin": "old.csv, line 7",
        "reviewers": [],
        "twin": None,
    }
    assert (found["overlaps"], found["license"]) == (["Other"], "MIT")


# What is there already


def test_the_same_claim_again_is_rejected_with_its_first_place(quarantine, write):
    first = write(creak("Snow is warm."), creak("  snow is  WARM!"), name="a.jsonl")
    intake(quarantine, [first], "ada")
    taken = intake(quarantine, [write(creak("Snow is warm", explanation="Better."), name="b.jsonl")], "eve")
    assert (taken.taken, taken.rejected, taken.total) == (0, {"duplicate": 1}, 1)
    assert [(r["rule"], r["source"], r["reason"]) for r in quarantine.rejects()] == [
        ("duplicate", "a.jsonl", "The same claim is there already, from a.jsonl, line 1."),
        ("duplicate", "b.jsonl", "The same claim is there already, from a.jsonl, line 1."),
    ]
    assert rows_of(quarantine)[0]["correction"] == "It is not so."


def test_a_text_in_another_language_is_another_claim(quarantine, write):
    rows = [own("Die is cast.", verdict="false", language=language) for language in ("en", "de")]
    assert intake(quarantine, [write(*rows)], "ada").taken == 2


TRUE_AND_FALSE = [creak("Snow is warm.", "true"), creak("Snow is warm!")]


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_a_text_that_is_rated_both_ways_is_known_by_its_rejects(quarantine, write, turned, apart):
    first, second = reversed(TRUE_AND_FALSE) if turned else TRUE_AND_FALSE
    files = [write(first, name="a.jsonl"), write(second, name="b.jsonl")]
    for sources in [[file] for file in files] if apart else [files]:
        intake(quarantine, sources, "ada")
    rejected = {r["rule"]: r for r in quarantine.rejects()}
    identity = claim_id("Snow is warm.", "en")
    assert rejected["not-false"]["claim_id"] == identity
    if turned:  # the false row was in before anybody could know
        assert [row["claim_id"] for row in rows_of(quarantine)] == [identity] and len(rejected) == 1
        assert rejected["not-false"]["reason"].endswith("and the same text false at a.jsonl, line 1.")
    else:
        assert rows_of(quarantine) == []
        assert rejected["contradictory"]["claim_id"] == identity
        assert rejected["contradictory"]["reason"] == ("It is rated false, and the same text true at a.jsonl, line 1.")


# Updates


def test_an_update_replaces_what_the_source_says_and_keeps_the_rest(quarantine, write):
    old = [own(f"Snow is {i}.", license="MIT", cluster_id="c", split="dose", domain="weather") for i in range(3)]
    intake(quarantine, [write(*old)], "ada")
    new = [own("Snow is 1.", domain=None, twin="Snow is one.", cluster_id="other", split="heldout"), own("Snow is 2.")]
    new += [own("Snow is 9."), own("Snow is 1.", twin="Again.")]
    taken = intake(quarantine, [write(*new, name="y.jsonl")], "eve", update=True)
    assert (taken.taken, taken.updated, taken.unchanged, taken.rejected) == (1, 1, 1, {"duplicate": 1})
    rows = rows_of(quarantine)
    assert [row["claim"] for row in rows] == ["Snow is 0.", "Snow is 1.", "Snow is 2.", "Snow is 9."]
    changed = {key: rows[1][key] for key in ("twin", "domain", "license", "cluster_id", "split", "submitted_by")}
    assert changed == {
        "twin": "Snow is one.",
        "domain": None,
        "license": "MIT",
        "cluster_id": "c",
        "split": "dose",
        "submitted_by": "ada, eve",
    }
    assert rows[1]["origin"] == "x.jsonl, line 2"
    assert [rows[i]["submitted_by"] for i in (0, 2, 3)] == ["ada", "ada", "eve"]
    assert quarantine.history()[-1].what["updated"] == 1


def test_an_update_from_a_source_without_a_column_leaves_that_column(quarantine, write):
    intake(quarantine, [write(own("Snow is warm.", license="MIT", twin="Snow is cold."))], "ada")
    intake(quarantine, [write(creak("Snow is warm.", explanation="Better."), name="y.jsonl")], "ada", update=True)
    [row] = rows_of(quarantine)
    assert (row["correction"], row["license"], row["twin"]) == ("Better.", "MIT", "Snow is cold.")


def test_an_edited_claim_replaces_the_one_its_id_names(quarantine, write):
    intake(quarantine, [write(own("Snow is wram."), own("Rain is dry."))], "ada")
    before = rows_of(quarantine)[0]
    edited = {**before, "claim": "Snow is warm."}
    file = write(edited, {**edited, "claim": "Snow is hot."}, name="y.jsonl")
    assert intake(quarantine, [file], "eve", update=True).updated == 1
    rows = rows_of(quarantine)
    assert [row["claim"] for row in rows] == ["Snow is warm.", "Rain is dry.", "Snow is hot."]
    assert rows[0]["claim_id"] == claim_id("Snow is warm.", "en")
    assert rows[0]["cluster_id"] == before["cluster_id"]
    assert rows[0]["submitted_by"] == "ada, eve"
    assert intake(quarantine, [file], "eve").rejected == {"duplicate": 2}


def test_an_update_that_changes_nothing_says_so(quarantine, write):
    file = write(own("Snow is warm.", sources=[{"publisher": "Met", "title": "Snow"}], overlaps=[]))
    intake(quarantine, [file], "ada")
    digest = quarantine.history()[0].what["claims_sha256"]
    taken = intake(quarantine, [file], "eve", update=True)
    assert (taken.updated, taken.unchanged) == (0, 1)
    assert "claims_sha256" not in quarantine.history()[1].what
    assert rows_of(quarantine)[0]["submitted_by"] == "ada" and digest


# What is malformed


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (own(5), "claim is 5, not a text"),
        (own("Snow.", correction=["x"]), "correction is ['x'], not a text"),
        (own("Snow.", sources="see page 5"), "sources is 'see page 5', not a list in JSON"),
        (own("Snow.", sources=[5]), "a source is 5, not an object"),
        (own("Snow.", sources=[{"publisher": 5}]), "publisher holds 5, not a text"),
        (own("Snow.", sources=[{"site": "x"}]), "a source has the field 'site'; it may have publisher, title"),
        (own("Snow.", overlaps=[None]), "overlaps holds None, not a text"),
        (own("Snow.", sources=7), "not iterable"),
        (own("Snow \ud800."), "it holds half of a character"),
        (own("Snow.", correction="Cold \udfff."), "it holds half of a character"),
        (own("Snow.", sources=[{"publisher": "\ud800"}]), "it holds half of a character"),
    ],
)
def test_a_malformed_row_is_named_and_does_not_stop_the_file(quarantine, write, row, reason):
    taken = intake(quarantine, [write(own("Rain is dry."), row, own("Ice is hot."))], "ada")
    assert (taken.taken, taken.rejected) == (2, {"malformed": 1})
    [reject] = quarantine.rejects()
    assert (reject["where"], reject["claim_id"]) == ("line 2", None)
    assert reason in reject["reason"]
    quarantine.verify()


def test_a_broken_line_is_a_reject_too(quarantine, tmp_path):
    file = tmp_path / "x.csv"
    file.write_text("claim,correction\nSnow is warm.,No.\nRain is dry.\nIce is hot.,No.\n", encoding="utf-8")
    taken = intake(quarantine, [file], "ada")
    assert (taken.sources[0].rows, taken.taken) == (3, 2)
    [reject] = quarantine.rejects()
    assert (reject["rule"], reject["where"], reject["row"]) == ("malformed", "line 3", {"text": "Rain is dry."})
    assert str(taken.sources[0]).endswith(f"1 rejected (1 malformed)\n  line 3: {reject['reason']}")
    assert reject["reason"] == "The line has 1 cells where the header has 2."


# What is refused


def test_nothing_is_taken_where_one_source_cannot_be_read(quarantine, write, tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(json.dumps(own("Rain is dry.")).encode() + b"\n" * 100 + b"\xff\n")
    good = write(own("Snow is warm."))
    for sources, error in (
        ([good, tmp_path / "gone.csv"], "There is no file"),
        ([good, bad], "not UTF-8"),
        ([good, tmp_path / "x.xlsx"], "no file of rows"),
    ):
        with pytest.raises(ValidationError, match=error):
            intake(quarantine, sources, "ada")
        with pytest.raises(DoseError, match="no quarantine"):
            Quarantine.open(quarantine.folder)


def test_what_does_not_fit_is_refused_before_anything_is_written(quarantine, write, tmp_path):
    file = write({"text": "Snow is warm."})
    empty = tmp_path / "empty.jsonl"
    empty.write_text("\n", encoding="utf-8")
    for sources, by, options, error, complaint in (
        ([], "ada", {}, UsageError, "nothing to take in"),
        ([file], "ada", {}, UsageError, "no known collection: text"),
        ([file], "ada,eve", {}, UsageError, "no name for the journal"),
        ([file], "ada", {"limit": 0}, UsageError, "limit of 0"),
        ([file], "ada", {"mapping": {"claim": "text"}}, UsageError, "Nothing says which rows"),
        ([empty], "ada", {}, ValidationError, "empty.jsonl holds no rows"),
    ):
        with pytest.raises(error, match=complaint):
            intake(quarantine, sources, by, **options)
    assert not quarantine.folder.exists()


# All in all


@given(
    st.lists(
        st.tuples(st.sampled_from(["Snow is warm.", "snow is WARM", "Rain.", "Ice.", " "]), st.sampled_from("tfu")),
        max_size=12,
    ),
    st.integers(1, 4),
)
def test_every_row_is_taken_or_rejected_and_no_claim_is_there_twice(tmp_path_factory, pairs, chunk):
    folder = tmp_path_factory.mktemp("intake")
    labels = {"t": "true", "f": "false", "u": "unclear"}
    lines = [json.dumps(creak(text, labels[label])) for text, label in [*pairs, ("First.", "f")]]
    (folder / "x.jsonl").write_text("\n".join(lines), encoding="utf-8")
    quarantine = Quarantine(folder / "q")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_CHUNK", chunk)
        taken = intake(quarantine, [folder / "x.jsonl"], "ada")
    rejects = list(quarantine.rejects())
    rows = rows_of(quarantine)
    assert taken.taken + sum(taken.rejected.values()) == len(lines) == taken.sources[0].rows
    assert taken.rejected == Counter(r["rule"] for r in rejects)
    assert taken.taken == len(rows) == len({row["claim_id"] for row in rows})
    places = [row["origin"] for row in rows] + [f"{r['source']}, {r['where']}" for r in rejects]
    assert sorted(places) == sorted(f"x.jsonl, line {n}" for n in range(1, len(lines) + 1))
    by_rule = {rule: {r["claim_id"] for r in rejects if r["rule"] == rule} for rule in taken.rejected}
    assert by_rule.get("not-false", set()) == {
        claim_id(text, "en") for text, label in pairs if label == "t" and text != " "
    }
    for identity in {claim_id(text, "en") for text, label in pairs if label == "f" and text != " "}:
        assert identity in {row["claim_id"] for row in rows} | by_rule.get("contradictory", set())


def test_the_report_reads_as_text_and_as_figures(quarantine, write):
    taken = intake(quarantine, [write(creak("Snow is warm."), creak("Snow is cold.", "true"))], "ada")
    assert str(taken) == (
        "x.jsonl (creak): 2 rows, 1 taken, 1 rejected (1 not-false)\n1 claims are in quarantine.\n"
        "Every rejected row stands in rejects.jsonl, with its place and the reason."
    )
    assert json.loads(json.dumps(taken.to_dict()))["sources"][0]["rejected"] == {"not-false": 1}


def test_where_nothing_can_be_read_the_reasons_are_shown(tmp_path):
    bad = tmp_path / "bad.jsonl"
    bad.write_text("not json\n" * 5)
    with pytest.raises(ValidationError, match=r"Nothing in bad\.jsonl .*line 1 is not JSON.*line 3 .*, and 2 more"):
        intake(Quarantine(tmp_path / "q"), [bad], "ada")


def test_columns_without_names_are_told_by_their_numbers(tmp_path):
    file = tmp_path / "x.tsv"
    file.write_text("1\tfalse\tSnow is warm.\n2\ttrue\tSnow is cold.\n")
    quarantine = Quarantine(tmp_path / "q")
    assert intake(quarantine, [file], "ada", mapping={"3": "claim", "2": "verdict"}).taken == 1
    assert quarantine.table()["claim"].to_pylist() == ["Snow is warm."]
