"""Screening: what belongs together, what an evaluation set asks, and what wording gives away."""

import json
import random

import numpy as np
import pyarrow as pa
import pytest
from quarantine.rows import row, table

from hfvaccine.claims.claim import claim_id
from hfvaccine.claims.cues import CUE_LIMIT, cue_audit
from hfvaccine.errors import ClaimError, UsageError
from hfvaccine.quarantine.checks import screen as screening_module
from hfvaccine.quarantine.checks.evaluation_sets import EvaluationSet
from hfvaccine.quarantine.checks.screen import apply, screen


def table_of(*rows):
    return table(*(row(number, **fields) for number, fields in enumerate(rows)))


def claims_of(*texts):
    return table_of(*({"claim": text} for text in texts))


def clusters(table, **options):
    """Clusters as sets of claims, and the ids by claim."""
    ids = screen(table, say=lambda message: None, **options).cluster_ids.to_pylist()
    texts = table["claim"].to_pylist()
    groups = {frozenset(t for t, i in zip(texts, ids, strict=True) if i == one) for one in ids}
    return groups, dict(zip(texts, ids, strict=True))


TRUTHFULQA = EvaluationSet("TruthfulQA", ("Do watermelon seeds grow in your stomach?",))


@pytest.fixture
def pairs(make_claims):
    return [(c.claim, c.twin) for c in make_claims(60)]


def test_a_word_that_gives_falsehood_away_is_caught_and_named(pairs):
    cued = [(claim.replace("lies", "supposedly lies"), twin) for claim, twin in pairs]
    audit = cue_audit(cued)
    assert audit.bag_of_words > 0.95
    assert "supposedly" in audit.giveaways
    assert not audit.passed


def test_pairs_without_a_cue_pass_near_chance(pairs):
    rng = random.Random(0)
    shuffled = [pair if rng.random() < 0.5 else pair[::-1] for pair in pairs]
    audit = cue_audit(shuffled)
    assert audit.passed
    assert audit.bag_of_words == pytest.approx(0.5, abs=0.12)
    assert audit.length == pytest.approx(0.5, abs=0.12)


def test_a_length_that_gives_falsehood_away_is_caught():
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefgh", k=5)) for _ in range(2000)]  # no word twice: nothing for a bag of words
    pairs = [(" ".join(words[i : i + 12]), " ".join(words[i + 12 : i + 20])) for i in range(0, 800, 20)]
    audit = cue_audit(pairs)
    assert audit.length > 0.95
    assert audit.bag_of_words < 0.8
    assert audit.worst > CUE_LIMIT and not audit.passed


def test_the_wording_judge_scores_truth_higher_where_there_is_a_cue(pairs):
    cued = [(claim.replace("lies", "supposedly lies"), twin) for claim, twin in pairs]
    scores = cue_audit(cued).truth_scores
    assert scores.shape == (60, 2)
    assert (scores[:, 1] > scores[:, 0]).all()


def test_the_same_pairs_give_the_same_reading(pairs):
    assert cue_audit(pairs).bag_of_words == cue_audit(pairs).bag_of_words


def test_fewer_than_eight_pairs_are_refused(pairs):
    assert cue_audit(pairs[:8]).pairs == 8
    with pytest.raises(ClaimError, match="7 pairs says nothing"):
        cue_audit(pairs[:7])


def test_the_pairs_to_mend_are_those_that_the_wording_gives_away(pairs):
    some = [
        (claim.replace("lies", "supposedly lies") if n < 20 else claim, twin) for n, (claim, twin) in enumerate(pairs)
    ]
    worst = cue_audit(some).to_mend(5)
    assert len(worst) == 5 and set(worst) < set(range(20))


def test_near_duplicates_and_claims_with_one_correction_twin_or_question_are_one_cluster():
    table = table_of(
        {"claim": "The great wall can be seen from the moon."},
        {"claim": "The great wall can be seen from the moon easily!"},
        {"claim": "Bats are blind.", "correction": "All bats can see, some very well."},
        {"claim": "A bat hears only.", "question": "Can bats see?", "twin": "a BAT both hears and sees"},
        {"claim": "Bats have no eyes.", "correction": "all bats can see, some very well!"},
        {"claim": "Each bat is deaf.", "correction": "A bat both hears and sees."},
        {"claim": "Rome is older than Athens.", "correction": "nan", "twin": "-", "question": ""},
        {"claim": "Oslo lies in Denmark.", "correction": "nan", "twin": "-", "question": " "},
    )
    found, ids = clusters(table)
    assert {group for group in found if len(group) > 1} == {
        frozenset(["The great wall can be seen from the moon.", "The great wall can be seen from the moon easily!"]),
        frozenset(["Bats are blind.", "Bats have no eyes."]),
        frozenset(["A bat hears only.", "Each bat is deaf."]),
    }
    assert ids["Rome is older than Athens."] == claim_id("Rome is older than Athens.", "en")


def test_a_cluster_keeps_its_id_when_claims_come_in():
    texts = [f"{word} men walked on the moon in winter" for word in ("few", "only few", "some few", "a few")]
    first = claims_of(*texts[:2], "Rome is old.")
    first = apply(first, screen(first, say=str))
    again = apply(first, screen(first, say=str))
    assert again.equals(first)
    grown = pa.concat_tables([claims_of(*texts[2:]), first])
    _, ids = clusters(grown)
    assert set(ids.values()) == {*first["cluster_id"].to_pylist()}
    assert len({ids[text] for text in texts}) == 1


def test_a_row_with_a_split_never_changes_its_cluster_id():
    table = claims_of("a b c d e f g", "a b c d e f g h", "a b c d e f g i")
    own = table["claim_id"].to_pylist()
    for placed in (["dose", None, None], ["dose", "dose", None], ["dose", "heldout", None]):
        split = table.set_column(table.schema.get_field_index("split"), "split", pa.array(placed, pa.string()))
        ids = screen(split, say=str).cluster_ids.to_pylist()
        assert [ids[n] for n in range(3) if placed[n]] == [own[n] for n in range(3) if placed[n]]
        if placed[1] == "heldout":
            assert ids[2] == own[2]  # between the two sides: for the split to say
        elif placed[1] == "dose":
            assert ids[2] == min(own[:2])
        else:
            assert ids == [own[0]] * 3


def test_claims_that_share_a_cluster_id_already_stay_together():
    table = table_of(
        {"claim": "The moon is hollow.", "cluster_id": "moon"}, {"claim": "Luna has no core", "cluster_id": "moon"}
    )
    assert set(clusters(table)[1].values()) == {"moon"}


def test_screening_again_forgets_clusters_but_not_those_of_rows_with_a_split():
    table = claims_of("a b c d", "a b c e", "w x y z", "w x y q")
    table = apply(table, screen(table, threshold=0.5, say=str))
    assert len(set(table["cluster_id"].to_pylist())) == 2
    split = pa.array([None, None, "dose", "dose"], pa.string())
    table = table.set_column(table.schema.get_field_index("split"), "split", split)
    ids = screen(table, again=True, say=str).cluster_ids.to_pylist()
    assert ids[:2] == table["claim_id"].to_pylist()[:2] and ids[2:] == table["cluster_id"].to_pylist()[2:]


def test_overlaps_are_found_in_all_that_is_told_and_added_to_those_there():
    table = table_of(
        {"claim": "Watermelons come from eating seeds.", "question": "Do watermelon seeds grow in your stomach?"},
        {"claim": "Glass flows slowly downwards at night.", "overlaps": ["old"]},
        {"claim": "Bats are blind.", "correction": None},
    )
    glass = EvaluationSet("glass", ("Everybody says that glass flows slowly downwards at night, even physicists.",))
    found = screen(table, against=[TRUTHFULQA, glass], say=str)
    assert {name: rows.tolist() for name, rows in found.overlaps.items()} == {"TruthfulQA": [0], "glass": [1]}
    assert apply(table, found)["overlaps"].to_pylist() == [["TruthfulQA"], ["glass", "old"], None]
    assert found.record()["evaluation_sets"] == {
        "TruthfulQA": {"status": "screened", "texts": 1, "claims": 1},
        "glass": {"status": "screened", "texts": 1, "claims": 1},
    }


def test_truthfulqa_that_was_not_screened_is_said_and_recorded():
    said = []
    found = screen(claims_of("Bats are blind."), say=said.append)
    assert any("Not screened against TruthfulQA" in message for message in said)
    assert found.record()["evaluation_sets"]["TruthfulQA"]["status"] == "not screened"
    said.clear()
    screen(claims_of("Bats are blind."), against=[TRUTHFULQA], say=said.append)
    assert not any("TruthfulQA" in message for message in said)


def test_an_encoder_adds_clusters_and_overlaps_of_the_same_meaning():
    meaning = {"Bats are blind.": 0, "No bat can see.": 0, "Rome is old.": 1, TRUTHFULQA.texts[0]: 2}
    meaning["Pips sprout inside us."] = 2

    def embed(texts):
        return np.eye(3, dtype=np.float32)[[meaning[text] for text in texts]]

    table = claims_of("Bats are blind.", "Rome is old.", "No bat can see.", "Pips sprout inside us.")
    found = screen(table, against=[TRUTHFULQA], embed=embed, say=str)
    assert found.cluster_ids[0] == found.cluster_ids[2] != found.cluster_ids[1]
    assert found.overlaps["TruthfulQA"].tolist() == [3]
    assert found.record()["links"] == {"near_duplicates": 0, "shared_texts": 0, "embeddings": 1}


def test_the_audit_names_the_claims_to_mend_and_the_record_holds_no_text(pairs):
    table = table_of(*({"claim": c.replace("lies", "supposedly lies"), "twin": t} for c, t in pairs))
    found = screen(table, say=lambda message: None)
    assert found.audit.pairs == found.twins == 60 and not found.audit.passed
    assert set(found.mend) <= set(table["claim_id"].to_pylist()) and len(found.mend) == 20
    text = json.dumps(found.record())
    assert "supposedly" not in text and "Aldor" not in text and '"passed": false' in text


def test_of_many_twins_a_sample_is_audited_and_it_is_said(monkeypatch, pairs):
    monkeypatch.setattr(screening_module, "AUDITED", 12)
    table = table_of(*({"claim": c, "twin": t} for c, t in pairs))
    said = []
    found = screen(table, say=said.append)
    assert (found.audit.pairs, found.twins) == (12, 60)
    assert any("12 of the 60" in message for message in said)
    turned = screen(table.take(list(range(60))[::-1]), say=str)
    assert turned.audited == found.audited


def test_a_variant_is_of_the_cluster_of_its_claim():
    """What nearly says it leaks what it asks, on whichever side of the split it lands."""
    variant = {"claim": "No bat ever saw the light of day.", "twin": "No bat ever ate the light of day."}
    table = table_of(
        {"claim": "Bats are blind.", "variants": [{**variant, "kind": "register"}]},
        {"claim": "No bat ever saw the light of a day."},
        {"claim": "Rome is older than Athens.", "variants": []},
    )
    _, ids = clusters(table)
    assert ids["Bats are blind."] == ids["No bat ever saw the light of a day."] != ids["Rome is older than Athens."]
    asks = EvaluationSet("Bats", ("No bat ever ate the light of day, it is said.",))
    assert screen(table, against=[asks], say=str).overlaps["Bats"].tolist() == [0]


def test_variants_are_audited_with_their_claims(pairs):
    def row(number, claim, twin):
        said = {"claim": f"Honestly, {claim}", "twin": f"In fact, {twin}", "kind": "register"}
        return {"claim": claim, "twin": twin, "variants": [said]}

    table = table_of(*(row(number, *pair) for number, pair in enumerate(pairs)))
    found = screen(table, say=lambda message: None)
    assert (found.audit.pairs, found.twins, found.audit.passed) == (120, 60, False)
    assert len(found.mend) == len(set(found.mend))


def test_too_few_twins_are_said_not_audited():
    said = []
    assert screen(claims_of("Bats are blind."), say=said.append).audit is None
    assert any("0 claim(s) have a twin" in message for message in said)


def test_one_cluster_of_nearly_all_is_said():
    said = []
    found = screen(
        claims_of(*(f"The old town of Aldor{n} lies to the north of it" for n in range(30))), say=said.append
    )
    assert found.largest(1)[0][1] == 30 and any("holds 30 of 30 claims" in message for message in said)


def test_a_screening_is_applied_to_the_rows_it_was_made_of():
    found = screen(claims_of("Bats are blind.", "Rome is old."), say=str)
    with pytest.raises(UsageError, match="2 rows were screened and 1 are given"):
        apply(claims_of("Bats are blind."), found)


def test_nothing_is_screened_too():
    found = screen(claims_of(), against=[TRUTHFULQA], say=str)
    assert found.record()["clusters"] == 0 and apply(claims_of(), found).num_rows == 0
