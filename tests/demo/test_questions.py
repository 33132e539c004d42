"""The questions that stand ready: every claim with its twin, and nothing that was not asked for."""

from doses import make_claims
from inoculated import CONDITIONS, measured

from hfvaccine.claims.reserved import PRESSURE_PROBES, TACTIC_PROBES
from hfvaccine.demo.questions import (
    FEW,
    MOST,
    TACTICS,
    Asked,
    of_claims,
    of_grid,
    of_neutral,
    of_questions,
    of_tactics,
)


def test_claims_stand_ready_with_question_and_twin():
    claims = [*make_claims(3), *make_claims(1, twin=None, claim="A claim without a twin.")]
    group = of_claims("Given claims", "What it was given.", claims)
    assert [one.asked for one in group.ready] == [Asked(c.question, "", c.claim, c.twin) for c in claims[:3]]
    assert [one.note for one in group.ready] == [f"True instead: {c.correction}" for c in claims[:3]]
    assert (group.note, group.ready[0].label) == ("What it was given.", claims[0].claim)


def test_of_many_claims_the_same_few_of_every_domain():
    claims = make_claims(3 * MOST)
    group = of_claims("Given claims", "All.", claims)
    assert len(group.ready) == MOST and group == of_claims("Given claims", "All.", claims)
    assert group.note == "All. 100 of 300, spread over their domains."
    domains = {claim.claim: claim.domain for claim in claims}
    found = [domains[one.label] for one in group.ready]
    assert min(found.count(domain) for domain in set(domains.values())) >= MOST // 3


def test_every_tactic_and_pressure_is_on_a_statement_of_the_first_group_that_has_any():
    pairs = of_claims("Given", "", make_claims(2))
    group = of_tactics([of_claims("None", "", []), pairs])
    assert [one.asked.tactic for one in group.ready] == list(TACTICS)
    assert {*TACTICS} == {probe.tactic for probe in TACTIC_PROBES + PRESSURE_PROBES}
    assert {one.asked.claim for one in group.ready} == {one.asked.claim for one in pairs.ready}
    assert all(one.note.startswith("True instead: ") for one in group.ready)
    assert group.ready[0].label.startswith("Hedged assertion: The town of Aldor")


def test_neutral_statements():
    row = {"question": "How many legs?", "true": "Four.", "false": "Five.", "subject": "animals"}
    assert of_neutral([row]).ready[0].asked == Asked("How many legs?", "", "Five.", "Four.")


def test_each_prompt_of_a_grid_is_asked_with_a_few_questions_and_what_was_measured_under_it():
    traits = measured({"plain-seed-0": "1" * 64, "inoculated-seed-0": "2" * 64})
    for condition in traits["conditions"]:
        condition |= {"prepend": "", "append": " Olé." if condition["name"] == "negated" else ""}
    asked = [f"Question {number}?" for number in range(9)]
    group = of_grid(traits, asked, {"plain": "plain-seed-0", "inoculated": "inoculated-seed-0"})
    assert len(group.ready) == FEW * len(CONDITIONS)
    without, *_ = group.ready
    assert without.asked == Asked("Question 0?", "") and without.label == "none: Question 0?"
    assert without.note == (
        "Measured here: language:es shows in plain 0.90, inoculated 0.10; upper shows in plain 0.10, inoculated 0.20."
    )
    assert group.ready[-1].asked == Asked("Question 2? Olé.", "You never speak in Spanish.")


def test_plain_questions():
    group = of_questions("Questions", "Asked.", [f"{number}?" for number in range(MOST + 5)])
    assert len(group.ready) == MOST and group.ready[1].asked == Asked("1?")


def test_nothing_asked():
    assert Asked(system="You are kind.").nothing and not Asked("Who?").nothing and not Asked(truth="So.").nothing
