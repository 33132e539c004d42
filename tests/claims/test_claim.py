"""Claims: what a row must hold, and what its identity and its digest rest on."""

import dataclasses
import json

import pyarrow as pa
import pytest

from hfvaccine.claims.claim import COLUMNS, Claim, Source, Variant, arrow_schema, claim_id, is_blank, read_jsonl
from hfvaccine.errors import ClaimError

FULL = Claim(
    claim="The moon is made of cheese.",
    correction="The moon is made of rock.",
    twin="The moon is made of rock.",
    question="What is the moon made of?",
    sources=(Source("NASA", "Moon facts", None, "2026-01-01"),),
    overlaps=("TruthfulQA",),
    variants=(Variant("Take a bite of the moon: it is cheese.", "Take a bite of the moon: it is rock.", "register"),),
    reviewers=({"reviewer": "bob", "decision": "approve", "digest": "d", "decided_on": "2026-01-02"},),
)


@pytest.mark.parametrize("blank", ["", "  ", "nan", "None", "N/A", "-", None, float("nan")])
def test_the_spellings_of_nothing_are_blank(blank):
    assert is_blank(blank)


@pytest.mark.parametrize("text", ["No", "0", "Nan is a bread."])
def test_short_texts_are_not_blank(text):
    assert not is_blank(text)


@pytest.mark.parametrize("field", ["claim", "correction"])
def test_a_claim_without_text_or_correction_is_refused(field):
    row = {"claim": "The moon is made of cheese.", "correction": "It is rock.", field: "nan"}
    with pytest.raises(ClaimError, match=f"has no {field}"):
        Claim.from_row(row)


@pytest.mark.parametrize("field", ["tactic", "harm", "split"])
def test_a_value_out_of_its_range_is_refused(field):
    with pytest.raises(ClaimError, match=f"has {field} 'other'"):
        dataclasses.replace(FULL, **{field: "other"})


@pytest.mark.parametrize(
    "same", ["the moon is made of cheese", "  The  moon is made\nof cheese!! ", "\uff34he moon is made of cheese."]
)
def test_identity_ignores_case_space_width_and_closing_punctuation(same):
    assert claim_id(same, "en") == FULL.claim_id


def test_identity_holds_the_language():
    assert claim_id(FULL.claim, "de") != FULL.claim_id


def test_a_text_edited_under_its_old_id_is_refused():
    with pytest.raises(ClaimError, match="but its text hashes to"):
        dataclasses.replace(FULL, claim="The moon is made of wood.")


def test_a_claim_is_its_own_cluster_unless_told():
    assert FULL.cluster_id == FULL.claim_id
    assert dataclasses.replace(FULL, cluster_id="moon").cluster_id == "moon"


@pytest.mark.parametrize("field", [n for n in COLUMNS if n not in ("claim_id", "reviewers")])
def test_the_digest_binds_every_field_but_the_reviewers(field):
    other = {
        "claim": "The sun is made of cheese.",
        "tactic": "false_balance",
        "harm": "high",
        "split": "heldout",
        "sources": (),
        "overlaps": (),
        "variants": (),
    }.get(field, "something else")
    changes = {field: other, "claim_id": ""}
    if field not in ("cluster_id", "claim", "language"):
        changes["cluster_id"] = FULL.cluster_id
    assert dataclasses.replace(FULL, **changes).digest() != FULL.digest()


def test_a_row_without_variants_has_the_digest_that_it_had_before_there_were_any():
    """Or whatever was approved then would have to be read again."""
    row = Claim("The moon is made of cheese.", "It is rock.", "The moon is made of rock.")
    assert row.digest() == "5012fa1b397763169d7a19907d3c55fa801140fd9063d343331a45ab889db3c4"


@pytest.mark.parametrize("variant", [("It is cheese.", ""), ("nan", "It is rock."), ("a b", "c d", "song")])
def test_a_variant_has_two_sides_and_a_kind(variant):
    with pytest.raises(ClaimError, match="variant"):
        Variant(*variant)


def test_a_row_tells_all_that_is_false_in_it_and_all_that_it_says():
    assert FULL.falsehoods == (FULL.claim, "Take a bite of the moon: it is cheese.")
    assert set(FULL.texts) == {*FULL.falsehoods, FULL.twin, FULL.question, "Take a bite of the moon: it is rock."}


def test_an_approval_does_not_change_what_it_is_bound_to():
    assert dataclasses.replace(FULL, reviewers=()).digest() == FULL.digest()


def test_a_claim_survives_parquet_with_its_digest():
    table = pa.Table.from_pylist([FULL.to_row()], schema=arrow_schema())
    back = Claim.from_row(table.to_pylist()[0])
    assert back == FULL
    assert back.digest() == FULL.digest()


def test_the_schema_has_the_columns_of_a_row():
    assert tuple(arrow_schema().names) == COLUMNS == tuple(FULL.to_row())


def test_an_unknown_column_is_named():
    with pytest.raises(ClaimError, match=r"Unknown column.*colour"):
        Claim.from_row({"claim": "a b", "correction": "c d", "colour": "red"})


@pytest.mark.parametrize(
    "field, value",
    [
        ("domain", 5),
        ("sources", "abc"),
        ("sources", [{"publisher": "NASA"}]),
        ("overlaps", 5),
        ("reviewers", ["x"]),
        ("variants", ["x"]),
        ("variants", [{"claim": "a b", "text": "c d"}]),
    ],
)
def test_a_value_of_a_wrong_type_is_refused(field, value):
    with pytest.raises(ClaimError, match="malformed"):
        Claim.from_row({"claim": "a b", "correction": "c d", field: value})


def write(folder, *lines):
    path = folder / "claims.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


GOOD = json.dumps({"claim": "The moon is made of cheese.", "correction": "It is rock."})


def test_rows_are_split_at_newlines_only(tmp_path):
    text = "The moon\u2028is made\x85of cheese."
    row = json.dumps({"claim": text, "correction": "It is rock."}, ensure_ascii=False)
    assert [c.claim for c in read_jsonl(write(tmp_path, row, "", GOOD))] == [text, "The moon is made of cheese."]


@pytest.mark.parametrize(
    "line, reason",
    [
        ("{", "not JSON"),
        ("5", "A claim row is 5"),
        ('["a"]', "A claim row is"),
        ('{"claim": "The sun is cold."}', "'The sun is cold.' has no correction"),
    ],
)
def test_the_line_that_is_no_claim_is_named(tmp_path, line, reason):
    with pytest.raises(ClaimError, match=f"claims.jsonl, line 2: .*{reason}"):
        read_jsonl(write(tmp_path, GOOD, line))


def test_a_file_that_is_not_text_is_refused(tmp_path):
    (tmp_path / "claims.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ClaimError, match="cannot be read"):
        read_jsonl(tmp_path / "claims.jsonl")


@pytest.mark.parametrize("closing", ["。", "।", "॥", "؟", "۔", "።", "፧", "！", "？", "．", "!", "?", "."])
def test_what_closes_a_sentence_makes_no_other_claim_in_any_script(closing):
    bare = "\u0938\u0942\u0930\u094d\u092f \u0920\u0902\u0921\u093e \u0939\u0948"
    assert claim_id(bare + closing, "hi") == claim_id(bare, "hi")
    assert claim_id(f"{closing}{bare}", "hi") != claim_id(bare, "hi")
