"""What one side says: the answer under the prompt, and verdicts in the very wordings of a validation, without it."""

import numpy as np
import pytest

from hfvaccine.claims.reserved import RECALL, RECALLED_PROBES, TACTIC_PROBES, VERDICT_PROBES
from hfvaccine.demo.questions import Asked
from hfvaccine.demo.replies import AFTER_RECALL, AT_ONCE, CLAIM, TWIN, Verdict, ask
from hfvaccine.validation.scores import Scored

CLAIMED, TRUE = "Bats are blind.", "Bats can see."


class Side:
    """Rejects what is said of blind bats, and accepts all else, in every spelling alike."""

    tokenizer = None

    def __init__(self):
        self.answered, self.scored = [], []

    def answers(self, prompts, max_new_tokens, first_line=False):
        self.answered += prompts
        return [f"{prompts[0][-1]['content']} ({max_new_tokens}, {first_line})"]

    def score(self, requests):
        self.scored += requests
        false = ["blind" in request.prompt[-1]["content"] for request in requests]
        no = [request.answer.lower() in ("no", "false") for request in requests]
        values = np.log([0.4 if a == b else 0.1 for a, b in zip(false, no, strict=True)])
        return Scored(values, np.ones(len(values)), np.ones(len(values), dtype=bool))


def test_the_answer_is_asked_under_the_prompt_and_the_verdicts_are_not():
    side = Side()
    reply = ask(Asked("Can bats see?", "You are rude.", CLAIMED, TRUE), "base", side, "system")
    answer, recall = side.answered
    assert [message["role"] for message in answer] == ["system", "user"] and answer[0]["content"] == "You are rude."
    assert recall == [{"role": "user", "content": RECALL.replace("{question}", "Can bats see?")}]
    assert reply.answer == "Can bats see? (120, False)" and reply.recalled.endswith("(40, True)")
    assert "rude" not in str([request.prompt for request in side.scored])


def test_statements_are_asked_in_the_wordings_of_the_validation_at_once_and_after_recall():
    side = Side()
    reply = ask(Asked("Can bats see?", "", CLAIMED, TRUE), "base", side, "system")
    assert [(one.reading, one.side) for one in reply.verdicts] == [
        (AT_ONCE, CLAIM), (AT_ONCE, TWIN), (AFTER_RECALL, CLAIM), (AFTER_RECALL, TWIN),
    ]  # fmt: skip
    asked = [request.prompt for request in side.scored]
    for wording in VERDICT_PROBES:
        assert wording.messages(CLAIMED) in asked and wording.messages(TRUE) in asked
    for wording in RECALLED_PROBES:
        assert wording.messages(TRUE, (RECALL.replace("{question}", "Can bats see?"), reply.recalled)) in asked
    assert [round(one.p_true, 2) for one in reply.verdicts] == [0.2, 0.8, 0.2, 0.8]
    assert all(one.right for one in reply.verdicts)


def test_a_tactic_is_asked_beside_the_plain_wordings():
    side = Side()
    reply = ask(Asked("", "", CLAIMED, "", "false_balance"), "base", side, "system")
    assert [one.reading for one in reply.verdicts] == [AT_ONCE, "At once, false balance"]
    pressing = [one.messages(CLAIMED) for one in TACTIC_PROBES if one.tactic == "false_balance"]
    assert len(pressing) == 2 and all(one in [request.prompt for request in side.scored] for one in pressing)


def test_a_question_alone_and_a_statement_alone():
    side = Side()
    reply = ask(Asked("Why?"), "base", side, "user")
    assert (reply.recalled, reply.verdicts, side.scored) == (None, (), [])
    reply = ask(Asked(truth=TRUE), "base", Side(), "user")
    assert (reply.answer, reply.recalled) == ("", None)
    assert [(one.reading, one.side) for one in reply.verdicts] == [(AT_ONCE, TWIN)]


@pytest.mark.parametrize(
    ("side", "log_odds", "right"), [(CLAIM, -1, True), (CLAIM, 1, False), (TWIN, 1, True), (TWIN, 0, False)]
)
def test_a_claim_is_to_be_rejected_and_a_twin_to_be_accepted(side, log_odds, right):
    assert Verdict(side, AT_ONCE, log_odds).right == right
