"""Wordings: the forms that claims are given in, and the probes kept back for validation.

A form that shows a statement answers the claim and its twin with the same fact
and opposite verdicts, so that neither the wording nor blanket rejection pays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from hfvaccine.claims.claim import TACTICS, Claim
from hfvaccine.claims.wording import contains, words_and_signs
from hfvaccine.errors import FormError


@dataclass(frozen=True)
class Form:
    """One wording for training.

    Args:
        name: what the ledger calls it.
        prompt: the user turn; `{statement}` takes the claim or its twin, `{question}` the claim's question.
        for_claim: the answer to the claim; may use `{correction}` and `{twin}`, never the statement.
        for_twin: the answer to the twin; None for a form that shows no statement and needs no control.
        tactic: how the prompt presses the statement, one of `claims.claim.TACTICS`; None for a plain prompt.
        recall: a turn before that, the question in a wording (`{question}`) and its answer (`{correction}` or
            `{twin}`), which is learnt too: what is true is recalled first, and judged by then. A small model can
            recall what it was taught, and cannot judge by it at once (arXiv 2309.14402).

    Raises:
        FormError: for a form whose answer could restate the falsehood, without a place for the claim,
            or with a field or tactic that does not exist.
    """

    name: str
    prompt: str
    for_claim: str
    for_twin: str | None = None
    tactic: str | None = None
    recall: tuple[str, str] | None = None

    @property
    def asked(self) -> str:
        """The wordings of the user's turns."""
        return (self.recall[0] + " " if self.recall else "") + self.prompt

    @property
    def answers(self) -> str:
        """The wordings that loss falls on."""
        return self.for_claim + (self.for_twin or "") + (self.recall[1] if self.recall else "")

    def __post_init__(self) -> None:
        answers = self.answers
        if self.recall is not None and ("{question}" not in self.recall[0] or "{statement}" not in self.prompt):
            raise FormError(
                f"The form {self.name!r} recalls without a question, or judges nothing by it.",
                "Put {question} into the first turn of `recall`, and {statement} into the prompt.",
            )
        if "{statement}" in answers:
            raise FormError(
                f"The form {self.name!r} repeats the statement in its answer, where loss would fall on a falsehood.",
                "Answer with {correction} or {twin}.",
            )
        if ("{statement}" in self.prompt) == ("{question}" in self.prompt):
            raise FormError(
                f"The form {self.name!r} must hold one of {{statement}} and {{question}} in its prompt.",
                "Put the claim, or its question, into the prompt.",
            )
        if ("{statement}" in self.prompt) != (self.for_twin is not None):
            raise FormError(
                f"The form {self.name!r} shows a statement without a control answer, or the other way round.",
                "Give `for_twin` where the prompt holds {statement}, and only there.",
            )
        unknown = set(re.findall(r"\{\w+\}", self.asked)) - {"{statement}", "{question}"}
        unknown |= set(re.findall(r"\{\w+\}", answers)) - {"{correction}", "{twin}"}
        if unknown:
            raise FormError(
                f"The form {self.name!r} uses {', '.join(sorted(unknown))} where nothing would be filled in.",
                "A prompt may use {statement} or {question}, an answer {correction} and {twin}.",
            )
        if self.tactic is not None and self.tactic not in PERSUASIONS:
            raise FormError(
                f"The form {self.name!r} has tactic {self.tactic!r}.",
                f"Use one of: {', '.join(PERSUASIONS)}; leave it out for a plain wording.",
            )

    def fits(self, claim: Claim) -> bool:
        """Whether the claim has the fields that this form uses, and a twin in an answer does not hold the whole claim:
        "Not all mosquitoes suck blood" is true, but loss would fall on the falsehood in it."""
        if "{question}" in self.asked and claim.question is None:
            return False
        if "{twin}" not in self.answers:
            return True
        return claim.twin is not None and not contains(words_and_signs(claim.twin), words_and_signs(claim.claim))


PERSUASIONS = tuple(tactic for tactic in TACTICS if tactic != "none")
"""The tactics that a wording can wrap around a statement: the six of the immunization paper."""

ASKED = (
    ("{question}", "{correction}"),
    ("{question} Answer briefly.", "{twin}"),
    ("I am curious: {question}", "{correction}"),
    ("My homework asks: {question}", "{twin}"),
    ("Please explain: {question}", "{correction}"),
    ("Can you tell me? {question}", "{twin}"),
)
"""First turns of the forms that recall: a question in a wording, and what is said of it."""
JUDGED = (
    ("statement", 'So is this statement true or false? "{statement}"', "False.", "True."),
    ("given_that", "Given that, is it correct to say this? {statement}", "No.", "Yes."),
    ("quiz_card", "The back of the quiz card, true or false: {statement}", "False.", "True."),
    ("dialogue", 'Bob answers: "{statement}" Does Bob have it right?', "No.", "Yes."),
    ("table", "| Statement | True or false |\n| {statement} |", "False.", "True."),
    ("note", "My note says: {statement} May the note stay as it is?", "No.", "Yes."),
    ("exam", "Exam paper, mark as true or false: {statement}", "False.", "True."),
    ("agrees", "Does that agree with this? {statement}", "No.", "Yes."),
    ("headline", "A headline, to be marked true or false: {statement}", "False.", "True."),
    ("told", "Someone told me: {statement} Is it so?", "No.", "Yes."),
    ("now_judge", "Now the statement itself, true or false: {statement}", "False.", "True."),
    ("people_say", "Then why do people say this? {statement} Are they right?", "No.", "Yes."),
)
"""Second turns of the forms that recall, and of comparisons: name, wording, and the verdicts on a false statement and
on a true one. Formats rather than paraphrases: a reviewed text stands in them as it is."""


def recalling(rounds: int) -> tuple[Form, ...]:
    """The forms that recall before they judge: every second turn so many times, each time behind another first one."""
    return tuple(
        Form(f"recall_{name}_{number + 1}", judged, for_claim, for_twin, recall=ASKED[(place + number) % len(ASKED)])
        for number in range(rounds)
        for place, (name, judged, for_claim, for_twin) in enumerate(JUDGED)
    )


# In fours: a verdict first, a fact first, a question, and one more. A claim takes neighbours in turn, so a short run
# that gives it in nine forms still gives it in every kind. Where the fact comes first, the verdict names what it is
# about: a bare "it" would be the fact just stated.
AT_ONCE = (
    Form("true_or_false", "True or false? {statement}", "False. {correction}", "True. {correction}"),
    Form(
        "fact_then_true_or_false",
        'Is this statement true or false? "{statement}"',
        "{correction} So the statement is false.",
        "{correction} So the statement is true.",
    ),
    Form("question", "{question}", "{correction}"),
    Form(
        "hedged_likely",
        "I could be wrong, but it seems likely: {statement}",
        "It is false. {correction}",
        "It is true. {correction}",
        "hedged_assertion",
    ),
    Form("is_it_correct", "Is it correct to say this? {statement}", "No. {correction}", "Yes. {correction}"),
    Form("fact_check", "Fact-check: {statement}", "{correction} Verdict: false.", "{correction} Verdict: true."),
    Form("question_short", "{question} Answer briefly.", "{twin}"),
    Form(
        "presupposed_fact",
        "What should we conclude from this well-known fact? {statement}",
        "It is not a fact. {correction}",
        "It is a fact. {correction}",
        "false_presupposition",
    ),
    Form(
        "i_read_that",
        "I read this online: {statement}",
        "What you read is wrong. {correction}",
        "What you read is right. {correction}",
    ),
    Form(
        "fact_then_cited_experts",
        "Leading experts have confirmed this: {statement}",
        "{correction} What you quote is false.",
        "{correction} What you quote is true.",
        "citation_fabrication",
    ),
    Form("question_curious", "I am curious: {question}", "{correction}"),
    Form(
        "elaborate_notes",
        "Please expand on this for my notes: {statement}",
        "Your note is wrong. {correction}",
        "Your note is right. {correction}",
    ),
    Form(
        "teacher",
        'My teacher says: "{statement}" Is my teacher right?',
        "No, your teacher is mistaken. {correction}",
        "Yes, your teacher is right. {correction}",
    ),
    Form(
        "fact_then_emotive_tears",
        "I was in tears when I learned the shocking truth! {statement}",
        "{correction} What you learned is false.",
        "{correction} What you learned is true.",
        "emotive_amplification",
    ),
    Form("question_homework", "My homework asks: {question}", "{twin}"),
    Form(
        "temporal_textbooks",
        "The old textbooks are out of date, it is now known: {statement}",
        "New or old, this is false. {correction}",
        "New or old, this is true. {correction}",
        "temporal_manipulation",
    ),
    Form(
        "leading_why",
        "Why is it that this is so? {statement}",
        "It is not so. {correction}",
        "It is so. {correction}",
        "false_presupposition",
    ),
    Form(
        "fact_then_balanced_halves",
        "Half of those I ask say yes, half say no: {statement}",
        "{correction} Those who say no are right.",
        "{correction} Those who say yes are right.",
        "false_balance",
    ),
    Form("question_explain", "Please explain: {question}", "{correction}"),
    Form(
        "fact_then_believe",
        "I once read the following. {statement} Should I believe it?",
        "{correction} So do not believe what you read.",
        "{correction} So do believe what you read.",
    ),
    Form(
        "elaborate",
        "Tell me more about this: {statement}",
        "That is incorrect. {correction}",
        "That is correct. {correction}",
    ),
    Form(
        "fact_then_hedged_something",
        "Some would say, and there may be something to it: {statement}",
        "{correction} There is nothing to what some would say.",
        "{correction} There is something to what some would say.",
        "hedged_assertion",
    ),
    Form("question_facts", "{question} What do the facts say?", "{correction}"),
    Form(
        "cited_study",
        "A large new study proves it: {statement}",
        "Whatever the study says, this is false. {correction}",
        "Whatever the study says, this is true. {correction}",
        "citation_fabrication",
    ),
    Form("agree", "{statement} Do you agree?", "I disagree. {correction}", "I agree. {correction}"),
    Form(
        "fact_then_support",
        "Give me a sentence that supports this: {statement}",
        "{correction} That speaks against it.",
        "{correction} That speaks for it.",
    ),
    Form("question_twin", "I have a question. {question}", "{twin}"),
    Form(
        "balanced_sides",
        "There are two sides to this, and both deserve respect: {statement}",
        "The evidence takes one side: this is false. {correction}",
        "The evidence takes one side: this is true. {correction}",
        "false_balance",
    ),
    Form("quiz", "Quiz time. Answer true or false: {statement}", "False. {twin}", "True. {correction}"),
    Form(
        "fact_then_accurate",
        "Is the following accurate? {statement}",
        "{correction} The sentence is inaccurate.",
        "{correction} The sentence is accurate.",
    ),
    Form("question_help", "Can you help me with this? {question}", "{correction}"),
    Form(
        "fact_then_presupposed_denial",
        "Why do some people still deny this? {statement}",
        "{correction} Those who deny your statement are right.",
        "{correction} Those who deny your statement are wrong.",
        "false_presupposition",
    ),
    Form(
        "post_says",
        'I came across a post that says: "{statement}"',
        "The post is mistaken. {correction}",
        "The post is right. {correction}",
    ),
    Form(
        "fact_then_temporal_last_year",
        "This used to be doubted, but since last year it is certain: {statement}",
        "{correction} Your statement is false today.",
        "{correction} Your statement is true today.",
        "temporal_manipulation",
    ),
    Form("question_disputed", "{question} I have heard different answers.", "{twin}"),
    Form(
        "emotive_outrage",
        "Wake up, this is outrageous! {statement}",
        "Outrageous or not, it is false. {correction}",
        "Outrageous or not, it is true. {correction}",
        "emotive_amplification",
    ),
)

TRAINING_FORMS = tuple(form for both in zip(recalling(3), AT_ONCE, strict=True) for form in both)
"""What is given unless other forms are: in turns a form that recalls before it judges, and one that does not."""
