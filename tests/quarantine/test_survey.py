"""The survey: each count against counting by hand, and variety against what is known of it."""

import json
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quarantine.rows import row, source, table

from hfvaccine.claims import journal
from hfvaccine.claims.journal import Entry
from hfvaccine.quarantine.policy import Policy
from hfvaccine.quarantine.review import APPROVED, AWAITING, BEGUN, REJECTED, row_digest, states
from hfvaccine.quarantine.store import SCHEMA
from hfvaccine.quarantine.survey import MOST_ROWS, NOT_SET, TALLIED, Diversity, bars, binned, survey, tables

POLICY = Policy()


def reviewed(by, rows, decision="approve"):
    made = [[r["claim_id"], row_digest(r), decision, ""] for r in rows]
    return Entry("review", by, "2026-11-21T10:00:00+00:00", {"decisions": made})


def test_it_counts_what_the_rows_have():
    found = survey(
        table(
            row(1, correction="No.", twin="Twin", question="Is it?", sources=[source("WHO")], cluster_id="c"),
            row(2, correction="No.", cluster_id="c", sources=[]),
            row(3, correction="  ", twin=""),
        ),
        [],
        POLICY,
    )
    assert (found.claims, found.clusters) == (3, 2)
    assert (found.with_correction, found.with_twin, found.with_question, found.sourced) == (2, 1, 1, 1)
    assert found.cluster_sizes == {1: 1, 2: 1}


def test_an_empty_quarantine_has_a_survey():
    found = survey(SCHEMA.empty_table(), [], POLICY)
    assert (found.claims, found.clusters, found.with_correction, found.sourced) == (0, 0, 0, 0)
    assert all(not tally for tally in found.tallies.values())
    assert [title for title, *_ in tables(found)] == ["What it holds"]
    assert json.loads(json.dumps(found.to_dict()))["diversity"]["domain"]["effective"] == 0


def test_no_tactic_is_a_tactic_and_a_missing_value_is_none():
    found = survey(table(row(1, tactic="none"), row(2, tactic=None), row(3, tactic=" ")), [], POLICY)
    assert found.tallies["tactic"] == {NOT_SET: 2, "none": 1}
    assert found.diversity["tactic"] == Diversity(1, "none", 1.0, 1.0)


def test_a_row_counts_once_for_each_publisher():
    rows = [
        row(1, sources=[source("WHO"), source("WHO"), source("NASA")]),
        row(2, sources=[source("WHO")]),
        row(3, sources=[source("")]),
        row(4, sources=[]),
        row(5),
    ]
    found = survey(table(*rows), [], POLICY)
    assert found.tallies["source"] == {NOT_SET: 3, "WHO": 2, "NASA": 1}
    assert found.diversity["source"].share == pytest.approx(2 / 3)
    assert found.sourced == 3


def test_counts_do_not_depend_on_how_the_table_is_cut():
    rows = [row(i, domain="abc"[i % 3], sources=[source("WHO")] * (i % 3), overlaps=["x"] * (i % 2)) for i in range(7)]
    whole = survey(table(*rows), [], POLICY)
    pieces = pa.concat_tables([table(*rows[:2]), table(*rows).slice(2, 3), SCHEMA.empty_table(), table(*rows[5:])])
    assert survey(pieces, [], POLICY) == whole
    assert whole.overlaps == {"x": 3} and whole.tallies["source"] == {"WHO": 4, NOT_SET: 3}


def test_everybody_who_had_a_hand_in_a_row_brought_it_in():
    found = survey(table(row(1), row(2, submitted_by="ada, ben"), row(3, submitted_by="ben")), [], POLICY)
    assert found.submitters == {"ada": 2, "ben": 2}


def test_review_goes_from_awaiting_over_some_to_all_approvals():
    rows = [row(i, correction="No.") for i in range(6)]
    edited = {**rows[4], "correction": "Not so."}
    history = journal.chain(
        [
            reviewed("carl", rows[:2]),
            reviewed("dora", rows[:1]),
            reviewed("eve", rows[2:3], "reject"),
            reviewed("ada", rows[3:4]),  # brought it in herself: does not count
            reviewed("carl", rows[4:5]),
        ]
    )
    found = survey(table(*rows[:4], edited, rows[5]), history, POLICY)
    assert found.review == {AWAITING: 3, BEGUN: 1, APPROVED: 1, REJECTED: 1}
    assert found.stale == states(table(*rows[:4], edited, rows[5]), history, POLICY)[1]
    assert found.states[rows[1]["claim_id"]] == BEGUN and found.states[rows[4]["claim_id"]] == AWAITING
    assert found.timeline == tuple(history)


def test_states_agree_with_the_review_itself():
    rows = [row(i, correction="No.") for i in range(3)]
    history = journal.chain([reviewed("carl", rows), reviewed("dora", rows[:1])])
    found, state = survey(table(*rows), history, POLICY), Counter(states(table(*rows), history, POLICY)[0].values())
    assert found.review[APPROVED] == state[APPROVED] and found.review[REJECTED] == state[REJECTED]
    assert found.review[AWAITING] + found.review[BEGUN] == state[AWAITING] + state[BEGUN]


def test_rejects_are_counted_by_rule():
    rejects = [{"rule": "not-false"}, {"rule": "duplicate"}, {"rule": "not-false"}]
    assert survey(table(), [], POLICY, rejects).rejects == {"not-false": 2, "duplicate": 1}


values = st.sampled_from(["health", "food", "", None, "none", "sport"])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(values, values, st.sampled_from("xyz")), max_size=30))
def test_every_tally_is_what_counting_by_hand_gives(drawn):
    rows = [row(i, domain=a, license=b, cluster_id=c) for i, (a, b, c) in enumerate(drawn)]
    found = survey(table(*rows), [], POLICY)
    for name, place in (("domain", 0), ("license", 1)):
        assert found.tallies[name] == Counter(one[place] or NOT_SET for one in drawn)
        assert list(found.tallies[name].values()) == sorted(found.tallies[name].values(), reverse=True)
    assert all(sum(found.tallies[name].values()) == len(rows) for name in TALLIED)
    assert found.cluster_sizes == Counter(Counter(c for *_, c in drawn).values())
    assert sum(found.review.values()) == len(rows)


@given(st.integers(1, 40), st.integers(1, 1000))
def test_equally_frequent_values_are_all_effective(values, count):
    found = Diversity.of({str(i): count for i in range(values)})
    assert found.effective == pytest.approx(values) and found.share == pytest.approx(1 / values)


@given(st.dictionaries(st.text(min_size=1, max_size=4), st.integers(1, 10**6), min_size=1, max_size=20))
def test_variety_is_between_one_and_the_number_of_values_and_does_not_depend_on_scale(tally):
    tally.pop(NOT_SET, None)
    found = Diversity.of(tally)
    assert 1 - 1e-9 <= found.effective <= len(tally) + 1e-6
    assert found.effective * found.share >= 1 - 1e-9  # Hill's diversity of order 1 is at least that of order infinity
    assert Diversity.of({value: 7 * count for value, count in tally.items()}).effective == pytest.approx(
        found.effective
    )


def test_two_values_three_to_one_have_the_known_variety():
    assert Diversity.of({"a": 3, "b": 1, NOT_SET: 9}).effective == pytest.approx(4 / 3**0.75)


def test_what_is_not_set_is_no_variety():
    assert Diversity.of({NOT_SET: 5}) == Diversity.of({}) == Diversity(0, "", 0.0, 0.0)


def test_long_tallies_are_summed_up_and_nothing_is_lost():
    tally = {f"d{i:02}": 100 - i for i in range(40)}
    shown = bars(tally, sum(tally.values()))
    assert len(shown) == MOST_ROWS + 1 and shown[-1][0] == f"{40 - MOST_ROWS} more"
    assert sum(count for _, count, _ in shown) == sum(tally.values())
    assert sum(share for *_, share in shown) == pytest.approx(1)
    almost = dict(list(tally.items())[: MOST_ROWS + 1])
    assert [value for value, *_ in bars(almost, 1)] == list(almost)  # one more is named rather than called "1 more"


@given(st.dictionaries(st.integers(1, 300), st.integers(1, 50)))
def test_bins_hold_every_cluster_once(sizes):
    assert sum(binned(sizes).values()) == sum(sizes.values())


def test_bins_are_named_by_the_sizes_in_them():
    sizes = {1: 5, 4: 1, 5: 2, 9: 1, 19: 1, 100: 1, 7000: 1}
    assert binned(sizes) == {"1": 5, "4": 1, "5 to 9": 3, "10 to 19": 1, "100 or more": 2}


def test_tables_are_lines_of_text_without_control_characters():
    hostile = "bad\x1b[31m\ndomain\u202e"
    history = [Entry("intake", "ada", "2026-11-20T09:00:00+00:00", {"sources": [hostile], "claims_sha256": "a" * 64})]
    found = tables(survey(table(row(1, domain=hostile)), history, Policy(lint_off=())))
    for title, columns, rows in found:
        assert rows and all(len(one) == len(columns) for one in rows), title
        assert all(isinstance(cell, str) and cell.isprintable() for one in rows for cell in one)
    shown = {title: rows for title, _, rows in found}
    assert shown["Domain"][0] == ("bad[31m domain", "1", "100.0 %")
    assert shown["What was done"] == [("2026-11-20 09:00:00 UTC", "intake", "ada", "sources: bad[31m domain")]


def test_a_long_list_in_the_journal_is_only_counted():
    history = [reviewed("carl", [row(i) for i in range(3)])]
    shown = {title: rows for title, _, rows in tables(survey(table(), history, POLICY))}
    assert shown["What was done"][0][-1] == "decisions: 3"


def test_sources_of_an_intake_are_named():
    told = [{"name": "a.csv", "rows": 3}, {"name": "you/set", "rows": 4}]
    history = [Entry("intake", "ada", "2026-11-20T09:00:00+00:00", {"sources": told, "taken": 1234})]
    found = survey(table(), history, POLICY)
    shown = {title: rows for title, _, rows in tables(found)}
    assert shown["What was done"][0][-1] == "sources: a.csv, you/set; taken: 1,234"
    assert found.to_dict()["timeline"][0]["what"] == {"sources": told, "taken": 1234}


def test_json_holds_all_counts_and_no_single_claim():
    rows = [row(1, domain="health", correction="No."), row(2, cluster_id="c")]
    history = journal.chain([reviewed("carl", rows[:1])])
    found = survey(table(*rows), history, POLICY, [{"rule": "duplicate"}])
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["claims"] == 2 and plain["cluster_sizes"] == {"1": 2} and plain["rejects"] == {"duplicate": 1}
    assert plain["diversity"]["domain"] == {"values": 1, "largest": "health", "share": 1.0, "effective": 1.0}
    assert plain["timeline"] == [{"at": history[0].at, "act": "review", "by": "carl", "what": {"decisions": 1}}]
    assert found.states and rows[0]["claim_id"] not in json.dumps(plain)


def test_rules_that_are_off_are_said():
    from hfvaccine.quarantine.checks.rules import RULES

    rule = min(RULES)
    found = survey(table(row(1)), [], Policy(lint_off=(rule,)))
    assert found.lint_off == (rule,) and ("Lint rules that are off", ("rule",), [(rule,)]) in tables(found)


def test_an_endless_value_does_not_push_the_figures_beside_it_away():
    shown = {title: rows for title, _, rows in tables(survey(table(row(1, domain="x" * 300)), [], POLICY))}
    assert shown["Variety"][0] == ("domain", "1", "x" * 39 + "…", "100.0 %", "1.0")
