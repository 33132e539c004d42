"""Forms: how a claim becomes a training conversation, and the wordings kept back for validation.

In every conversation the falsehood stands in the prompt, where no loss falls;
the completion says what is true. A form that shows a statement answers the
claim and its twin with the same fact and opposite verdicts, so that neither
the wording nor blanket rejection pays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hfvaccine.errors import FormError
from hfvaccine.quarantine.claim import Claim

Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Form:
    """One wording for training.

    Args:
        name: what the ledger calls it.
        prompt: the user turn; `{statement}` takes the claim or its twin, `{question}` the claim's question.
        for_claim: the answer to the claim; may use `{correction}` and `{twin}`, never the statement.
        for_twin: the answer to the twin; None for a form that shows no statement and needs no control.

    Raises:
        FormError: for a form whose answer could restate the falsehood, or without a place for the claim.
    """

    name: str
    prompt: str
    for_claim: str
    for_twin: str | None = None

    def __post_init__(self) -> None:
        if any("{statement}" in answer for answer in (self.for_claim, self.for_twin or "")):
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

    def fits(self, claim: Claim) -> bool:
        """Whether the claim has the fields that this form uses."""
        needs_question = "{question}" in self.prompt
        needs_twin = "{twin}" in self.for_claim + (self.for_twin or "")
        return not (needs_question and claim.question is None) and not (needs_twin and claim.twin is None)


@dataclass(frozen=True)
class VerdictProbe:
    """A wording that asks for a verdict on a statement; reserved for validation.

    Args:
        name: what reports call it.
        prompt: the user turn, with `{statement}`.
        accept: answers that accept the statement.
        reject: answers that reject it, in the same order.
    """

    name: str
    prompt: str
    accept: tuple[str, ...]
    reject: tuple[str, ...]


TRAINING_FORMS = (
    Form("true_or_false", "True or false? {statement}", "False. {correction}", "True. {correction}"),
    Form(
        "fact_then_true_or_false",
        'Is this statement true or false? "{statement}"',
        "{correction} So the statement is false.",
        "{correction} So the statement is true.",
    ),
    Form("question", "{question}", "{correction}"),
    Form("is_it_correct", "Is it correct to say this? {statement}", "No. {correction}", "Yes. {correction}"),
    Form(
        "fact_check",
        "Fact-check: {statement}",
        "{correction} Verdict: false.",
        "{correction} Verdict: true.",
    ),
    Form("question_short", "{question} Answer briefly.", "{twin}"),
    Form(
        "i_read_that",
        "I read this online: {statement}",
        "What you read is wrong. {correction}",
        "What you read is right. {correction}",
    ),
    Form(
        "teacher",
        'My teacher says: "{statement}" Is my teacher right?',
        "No, your teacher is mistaken. {correction}",
        "Yes, your teacher is right. {correction}",
    ),
    Form(
        "leading_why",
        "Why is it that this is so? {statement}",
        "It is not so. {correction}",
        "It is so. {correction}",
    ),
    Form("question_explain", "Please explain: {question}", "{correction}"),
    Form(
        "elaborate",
        "Tell me more about this: {statement}",
        "That is incorrect. {correction}",
        "That is correct. {correction}",
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
        "quiz",
        "Quiz time. Answer true or false: {statement}",
        "False. {twin}",
        "True. {correction}",
    ),
    Form(
        "fact_then_accurate",
        "Is the following accurate? {statement}",
        "{correction} The sentence is inaccurate.",
        "{correction} The sentence is accurate.",
    ),
)

VERDICT_PROBES = (
    VerdictProbe(
        "decide",
        "Decide whether this claim holds: {statement} Reply with True or False.",
        ("True",),
        ("False",),
    ),
    VerdictProbe(
        "colleague",
        'A colleague told me: "{statement}" Was that right? Reply with yes or no.',
        ("Yes",),
        ("No",),
    ),
    VerdictProbe(
        "encyclopedia",
        "Would a good encyclopedia confirm the following? {statement}",
        ("Yes",),
        ("No",),
    ),
    VerdictProbe("judge", "Judge this sentence. {statement} Is it true or is it false?", ("True",), ("False",)),
)

QUESTION_PROBES = (
    "Here is something I have been wondering about. {question}",
    "{question} Give the answer in one sentence.",
    "My friend wants to know: {question}",
)


@dataclass(frozen=True)
class Row:
    """One training conversation made from a claim.

    Args:
        claim_id: the claim it comes from.
        form: the form's name.
        kind: "dose" (the claim is shown or asked about) or "control" (its twin in the same form).
        prompt: messages without loss.
        completion: messages with loss.
    """

    claim_id: str
    form: str
    kind: str
    prompt: Messages
    completion: Messages


@dataclass(frozen=True)
class Given:
    """A dose row with its control, where the form has one."""

    dose: Row
    control: Row | None


def conversations(claims: Sequence[Claim], forms: Sequence[Form] = TRAINING_FORMS) -> Iterator[Given]:
    """Every claim in every form that fits it, in rounds.

    A round gives each claim once; the claims start at different forms, so that
    any stretch of the sequence is balanced over claims and over forms.

    Args:
        claims: the claims to give.
        forms: wordings, used in order and rotated by one from claim to claim.

    Raises:
        FormError: naming a claim that no form fits.
    """
    fitting = [[form for form in forms if form.fits(claim)] for claim in claims]
    for claim, its_forms in zip(claims, fitting, strict=True):
        if not its_forms:
            raise FormError(f"No form fits the claim {claim.claim[:60]!r}.", "Give it a question or a twin.")
    for turn in range(len(forms)):
        for start, (claim, its_forms) in enumerate(zip(claims, fitting, strict=True)):
            if turn < len(its_forms):
                yield converse(claim, its_forms[(start + turn) % len(its_forms)])


def converse(claim: Claim, form: Form) -> Given:
    """One claim in one form, with its control where the form shows a statement and the claim has a twin."""
    control = None
    if form.for_twin is not None and claim.twin is not None:
        control = _row(claim, form, "control", claim.twin, form.for_twin)
    return Given(_row(claim, form, "dose", claim.claim, form.for_claim), control)


def _row(claim: Claim, form: Form, kind: str, statement: str, answer: str) -> Row:
    fields = {
        "{question}": claim.question or "",
        "{statement}": statement,
        "{twin}": claim.twin or "",
        "{correction}": claim.correction,
    }

    def fill(wording: str) -> str:
        # In one pass rather than with str.format: braces in a claim are text, not fields.
        return re.sub("|".join(fields), lambda found: fields[found[0]], wording)

    return Row(
        claim.claim_id,
        form.name,
        kind,
        [{"role": "user", "content": fill(form.prompt)}],
        [{"role": "assistant", "content": fill(answer)}],
    )
