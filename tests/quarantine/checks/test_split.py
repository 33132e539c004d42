"""The split: by cluster, for good, whatever the order, and with nothing alike on both sides as claims come in."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfvaccine.claims.claim import claim_id
from hfvaccine.claims.wording import plain_words
from hfvaccine.errors import DoseError, UsageError
from hfvaccine.quarantine.checks.screen import apply, screen
from hfvaccine.quarantine.checks.split import split, summary
from hfvaccine.quarantine.store import SCHEMA

BOTH = ("dose", "heldout")


def table_of(*texts, **fields):
    rows = []
    for number, text in enumerate(texts, start=1):
        own = claim_id(text, "en")
        row = {"claim_id": own, "cluster_id": own, "claim": text, "language": "en", "origin": f"a.csv, line {number}"}
        rows.append({**row, "domain": "general", "tactic": "none", **fields})
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def sides(table):
    return dict(zip(table["claim"].to_pylist(), table["split"].to_pylist(), strict=True))


def near(one, other, threshold=0.7):
    one, other = set(plain_words(one)), set(plain_words(other))
    return len(one & other) >= threshold * len(one | other)


def require_no_leak(table):
    rows = table.select(["claim", "split", "cluster_id", "correction"]).to_pylist()
    assert {row["split"] for row in rows} <= set(BOTH)
    for number, row in enumerate(rows):
        for other in rows[:number]:
            if row["split"] != other["split"]:
                assert row["cluster_id"] != other["cluster_id"]
                assert not near(row["claim"], other["claim"]), (row, other)
                same = row["correction"] and row["correction"] == other["correction"]
                assert not (
                    same and all(set(plain_words(r["correction"])) & set(r["claim"].split()) for r in (row, other))
                )


claims = st.lists(
    st.lists(st.sampled_from("bcdefgh"), min_size=2, max_size=7, unique=True).map(lambda w: " ".join(sorted(w))),
    max_size=25,
    unique=True,
)
told = st.sampled_from(
    [None, "all of b c d is quite wrong", "what e f g says was refuted twice", "nan", "that is simply not so"]
)
quiet = {"say": lambda message: None}


@settings(max_examples=120, deadline=None)
@given(
    st.lists(st.tuples(claims, told, st.sampled_from(["general", "health"])), min_size=1, max_size=4),
    st.booleans(),
    st.integers(0, 3),
    st.sampled_from([(), [("domain", "health")]]),
)
def test_nothing_leaks_and_nothing_moves_as_claims_come_in(batches, screened, seed, hold_out):
    table, before = table_of(), {}
    for texts, correction, domain in batches:
        fresh = [text for text in texts if text not in before]
        table = pa.concat_tables([table, table_of(*fresh, correction=correction, domain=domain)])
        if screened:
            table = apply(table, screen(table, **quiet))
        old = {row["claim"]: row for row in table.to_pylist() if row["split"]}
        table, aside = split(table, heldout=0.5, seed=seed, hold_out=hold_out)
        require_no_leak(table)
        assert not hold_out or "health" not in table.filter(pc.equal(table["split"], "dose"))["domain"].to_pylist()
        now = {row["claim"]: row for row in table.to_pylist()}
        assert {text: now.get(text) for text in old} == old
        gone = {reject["row"]["claim"] for reject in aside}
        assert gone <= set(fresh) and gone.isdisjoint(now) and set(now) | gone == set(fresh) | set(before)
        before = now


@settings(max_examples=60, deadline=None)
@given(claims, claims, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing(first, second, random):
    table, _ = split(table_of(*first), heldout=0.5)
    table = pa.concat_tables([table, table_of(*[text for text in second if text not in first])])
    order = list(range(table.num_rows))
    random.shuffle(order)
    one, aside = split(table, heldout=0.5)
    other, turned = split(table.take(pa.array(order, pa.int64())), heldout=0.5)
    key = [("claim_id", "ascending")]
    assert one.sort_by(key).equals(other.sort_by(key))
    assert [row["claim_id"] for row in aside] == [row["claim_id"] for row in turned]
    kept = set(one["claim_id"].to_pylist())
    assert one["claim_id"].to_pylist() == [row for row in table["claim_id"].to_pylist() if row in kept]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(claims, told), min_size=1, max_size=3), st.integers(0, 5), st.booleans())
def test_of_rows_as_a_screening_left_them_the_clusters_say_all(batches, seed, hold_out):
    table = table_of()
    for texts, correction in batches:
        known = set(table["claim"].to_pylist())
        new = table_of(*(text for text in texts if text not in known), correction=correction, domain=str(correction))
        table = pa.concat_tables([table, new])
        table = apply(table, screen(table, **quiet))
    asked = {"seed": seed, "heldout": 0.4, "hold_out": [("domain", "nan")] if hold_out else []}
    assert split(table, screened=True, **asked) == split(table, **asked)


def test_the_share_is_about_what_was_asked_for_and_is_told():
    table, aside = split(table_of(*[f"w{n} x{n} y{n} z{n}" for n in range(2000)]), heldout=0.3, seed=4)
    found = summary(table)
    assert aside == []
    assert found["dose"]["claims"] + found["heldout"]["claims"] == 2000
    assert found["share_held_out"] == {
        "claims": pytest.approx(0.3, abs=0.04),
        "clusters": pytest.approx(0.3, abs=0.04),
    }
    assert sides(split(table_of("w7 x7 y7 z7"), heldout=0.3, seed=4)[0])["w7 x7 y7 z7"] == sides(table)["w7 x7 y7 z7"]


def on_both_sides(*texts):
    """Some texts split with the first given and the second held out."""
    table = table_of(*texts)
    chosen = pa.array(["dose", "heldout", *[None] * (len(texts) - 2)], pa.string())
    return table.set_column(table.schema.get_field_index("split"), "split", chosen)


def test_a_new_claim_between_the_sides_is_set_aside_with_its_reason():
    table, (reject,) = split(on_both_sides("a b c d e f", "c d e f g h", "b c d e f g", "x y z"))
    assert sides(table)["x y z"] in BOTH and table.num_rows == 3
    assert (reject["rule"], reject["source"], reject["where"]) == ("bridges", "a.csv", "line 3")
    assert reject["claim_id"] == claim_id("b c d e f g", "en")
    assert reject["row"]["claim"] == "b c d e f g"
    assert claim_id("a b c d e f", "en") in reject["reason"] and claim_id("c d e f g h", "en") in reject["reason"]
    assert not {"origin", "split", "cluster_id"} & set(reject["row"])


def test_of_a_chain_as_few_as_it_takes_are_set_aside_and_the_rest_joins_its_side():
    chain = ["b c d e f g", "c d e f g h", "d e f g h i", "d e f g h i also"]
    table, aside = split(on_both_sides("a b c d e f", "e f g h i j", *chain))
    assert len(aside) == 1
    require_no_leak(table)
    rows = {row["claim"]: row for row in table.to_pylist()}
    if "b c d e f g" in rows:
        assert rows["b c d e f g"]["split"] == "dose"
        assert rows["b c d e f g"]["cluster_id"] == rows["a b c d e f"]["cluster_id"]


def test_the_one_claim_on_which_many_hang_is_set_aside_rather_than_they():
    given_side = [f"a b c d e f g h i {extra}" for extra in ("k", "l", "m")]
    table, aside = split(
        on_both_sides("a b c d e f g h i", "s t u v w x y z", *given_side, "a b c d s t u v"), threshold=0.3
    )
    assert [row["row"]["claim"] for row in aside] == ["a b c d s t u v"]
    assert all(sides(table)[text] == "dose" for text in given_side)


def test_a_crowd_between_the_sides_leaves_nothing_that_joins_them():
    crowd = [f"the old king of town{n} was a wise and able man" for n in range(80)]
    ends = ("the old king of paris was a wise and able man", "the old king of was a wise and rich")
    bridge = "the old king of was a wise and able man"
    table, aside = split(on_both_sides(*ends, *crowd, bridge), heldout=0.5)
    require_no_leak(table)
    assert sides(table)[ends[0]] == "dose" and sides(table)[ends[1]] == "heldout"
    assert bridge in {row["row"]["claim"] for row in aside}
    assert len(aside) < 5


def test_a_domain_is_held_out_with_all_that_is_alike():
    table = pa.concat_tables(
        [
            table_of(*[f"w{n} x{n} y{n}" for n in range(40)]),
            table_of("w3 x3 y3 tea", "herbs heal all", domain="health"),
        ]
    )
    split_, aside = split(table, heldout=0.01, hold_out=[("domain", "health")])
    found = sides(split_)
    assert aside == []
    assert found["w3 x3 y3 tea"] == found["w3 x3 y3"] == found["herbs heal all"] == "heldout"
    assert summary(split_, [("domain", "health")])["held_out_by"] == [
        {"field": "domain", "value": "health", "given_before": 0}
    ]


def test_a_new_claim_of_a_held_out_domain_that_is_alike_to_a_given_one_is_set_aside():
    table = pa.concat_tables(
        [on_both_sides("w x y z", "k l m n"), table_of("w x y z tea", "tea heals", domain="health")]
    )
    found, (reject,) = split(table, hold_out=[("domain", "health")])
    assert reject["row"]["claim"] == "w x y z tea"
    assert sides(found) == {"w x y z": "dose", "k l m n": "heldout", "tea heals": "heldout"}


def test_a_given_claim_of_a_domain_that_is_held_out_later_stays_and_is_counted():
    table = on_both_sides("w x y z", "k l m n")
    found, _ = split(table, hold_out=[("domain", "general")])
    assert sides(found)["w x y z"] == "dose"
    assert summary(found, [("domain", "general")])["held_out_by"][0]["given_before"] == 1


def test_claims_that_share_a_correction_are_on_one_side():
    told = {"correction": "Boats never sank the old lighthouse."}
    for seed in range(8):
        table = table_of("boats sank it", "a lighthouse fell by ramming", **told)
        assert len(set(sides(split(table, heldout=0.5, seed=seed)[0]).values())) == 1


def test_claims_that_only_share_a_stock_phrase_are_apart():
    table = table_of("boats sank it", "a lighthouse fell by ramming", correction="This is an outlandish statement.")
    assert any(len(set(sides(split(table, heldout=0.5, seed=seed)[0]).values())) == 2 for seed in range(8))


def test_old_claims_alike_on_both_sides_are_refused():
    with pytest.raises(DoseError, match=r"1 pair\(s\) of claims .* both sides"):
        split(on_both_sides("a b c d e f g", "a b c d e f g h", "x y z"))


def test_splitting_again_forgets_the_sides():
    table, aside = split(on_both_sides("a b c d e f g", "a b c d e f g h", "x y z"), again=True)
    assert aside == [] and len(set(list(sides(table).values())[:2])) == 1
    anew = [sides(split(table, again=True, heldout=0.5, seed=seed)[0])["x y z"] for seed in range(10)]
    assert set(anew) == set(BOTH)


def test_pairs_of_an_encoder_are_kept_together_too():
    meaning = {"bats are blind": [1, 0], "no bat can see": [1, 0], "rome is old": [0, 1]}

    def embed(texts):
        return np.array([meaning[text] for text in texts], np.float32)

    for seed in range(8):
        found = sides(split(table_of(*meaning), heldout=0.5, seed=seed, embed=embed)[0])
        assert found["bats are blind"] == found["no bat can see"]


def test_nothing_to_split_is_left_as_it_is():
    table = on_both_sides("a b c", "x y z")
    assert split(table) == (table, [])
    assert split(table_of())[0].num_rows == 0


@pytest.mark.parametrize(("claims", "least"), [(1, 0), (2, 1), (5, 1), (8, 2), (40, 8)])
@pytest.mark.parametrize("seed", range(6))
def test_of_a_few_claims_one_in_five_is_held_out(claims, least, seed):
    texts = [f"w{n} x{n} y{n} z{n}" for n in range(claims)]
    found = sides(split(table_of(*texts), seed=seed)[0])
    assert list(found.values()).count("heldout") >= least
    assert claims < 5 or "dose" in found.values()
    assert sides(split(table_of(*texts[::-1]), seed=seed)[0]) == found


@pytest.mark.parametrize("share", [0, 1, -0.2, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(UsageError, match=r"held-out share"):
        split(table_of("a b"), heldout=share)


def test_only_domain_and_tactic_can_be_held_out():
    with pytest.raises(UsageError, match=r"held out by 'license'"):
        split(table_of("a b"), hold_out=[("license", "MIT")])
