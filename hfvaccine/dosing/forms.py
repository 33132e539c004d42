"""Forms: how a claim becomes a training conversation.

In every conversation the falsehood stands in the prompt, where no loss falls;
the completion says what is true. What the forms say is in `wordings.py`.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.guard import Guard
from hfvaccine.claims.reserved import RESERVED
from hfvaccine.claims.wording import words_and_signs
from hfvaccine.dosing.wordings import TRAINING_FORMS, Form
from hfvaccine.errors import FormError
from hfvaccine.files import read_yaml
from hfvaccine.regimen.given import Given, Row

__all__ = ["TRAINING_FORMS", "Form", "conversations", "converse", "read_forms"]

TrueStatement = tuple[Claim, str]
"""A true sentence and the claim that it comes from."""

_FIELD = re.compile(r"\{(question|statement|twin|correction)\}")

MATCHES = 3
"""How many true statements a claim without a twin takes turns with."""

_REQUIRED = ("name", "prompt", "for_claim")
_OPTIONAL = ("for_twin", "tactic", "recall")
_KEYS = f"{', '.join(_REQUIRED)}, and where needed {' and '.join(_OPTIONAL)}"


def conversations(claims: Sequence[Claim], forms: Sequence[Form] = TRAINING_FORMS) -> Iterator[Given]:
    """Every claim in every form that fits it, in rounds.

    A round gives each claim once; the claims start at different forms, so that
    any stretch of the sequence is balanced over claims and over forms.

    Args:
        claims: the claims to give.
        forms: wordings, used in order and rotated by one from claim to claim.

    Raises:
        FormError: naming a claim that no form fits, or whose correction or twin would put loss on a claim.
    """
    falsehoods = Guard(text for claim in claims for text in claim.falsehoods)
    matches = _matches(claims, falsehoods)
    fitting = [
        [form for form in forms if form.fits(claim) and all(form.fits(other) for other, _ in matches.get(number, ()))]
        for number, claim in enumerate(claims)
    ]
    for claim, its_forms in zip(claims, fitting, strict=True):
        if not its_forms:
            raise FormError(f"No form fits the claim {claim.claim[:60]!r}.", "Give it a question or a twin.")
        _refuse_falsehood_under_loss(claim, its_forms, falsehoods)
    for turn in range(len(forms)):
        for start, (claim, its_forms) in enumerate(zip(claims, fitting, strict=True)):
            if turn < len(its_forms):
                near = matches.get(start)
                match = near[turn % len(near)] if near else None
                yield converse(claim, its_forms[(start + turn) % len(its_forms)], match)


def converse(claim: Claim, form: Form, match: TrueStatement | None = None) -> Given:
    """One claim in one form, with its control where the form shows a statement.

    Args:
        claim: the claim.
        form: a form that fits it.
        match: another claim's truth, for the control of a claim without a twin.
    """
    control = None
    if form.for_twin is not None:
        if claim.twin is not None:
            control = _row(claim, form, "control", claim.twin, form.for_twin, "twin")
        elif match is not None:
            control = _row(match[0], form, "control", match[1], form.for_twin, "matched")
    return Given(_row(claim, form, "dose", claim.claim, form.for_claim), control)


def read_forms(path: Path) -> tuple[Form, ...]:
    """A user's own wordings, instead of `TRAINING_FORMS`.

    The file is a YAML list; each entry has `name`, `prompt`, `for_claim`, and
    where it shows a statement `for_twin`, with an optional `tactic` and `recall` (a list of two); see `Form`.

    Args:
        path: the YAML file.

    Raises:
        FormError: naming the file and the entry that is no form, has a name that is taken,
            or asks in a wording that is kept back for validation.
    """
    entries = read_yaml(path, "Give a UTF-8 YAML file, with every wording in quotes.", FormError)
    if not isinstance(entries, list) or not entries:
        raise FormError(f"{path.name} is not a list of forms.", f"Begin each form with `- name:`; it has {_KEYS}.")
    reserved = {tuple(words_and_signs(wording)) for wording in RESERVED}
    forms: dict[str, Form] = {}
    for number, entry in enumerate(entries, start=1):
        where = f"{path.name}, form {number}"
        form = _read_form(entry, where)
        if form.name in forms:
            raise FormError(
                f"{where}: the name {form.name!r} is already taken.", "The ledger tells forms by name: choose another."
            )
        if not reserved.isdisjoint(tuple(words_and_signs(turn)) for turn in (form.prompt, *(form.recall or ())[:1])):
            raise FormError(
                f"{where}: the wording of {form.name!r} is kept back for validation.",
                "A model that was trained on it could not be validated with it: word the prompt differently.",
            )
        forms[form.name] = form
    return tuple(forms.values())


def _read_form(entry: object, where: str) -> Form:
    if not isinstance(entry, dict):
        raise FormError(f"{where} is {entry!r:.40}, not a form.", f"A form has {_KEYS}.")
    unknown = [str(key) for key in entry if key not in _REQUIRED + _OPTIONAL]
    if unknown:
        raise FormError(f"{where} has unknown key(s): {', '.join(unknown)}.", f"A form has {_KEYS}.")
    values = {key: value for key, value in entry.items() if value is not None}
    recall = values.pop("recall", None)
    if recall is not None:
        if not isinstance(recall, list) or len(recall) != 2 or not all(isinstance(turn, str) for turn in recall):
            raise FormError(
                f"{where}: recall is {recall!r:.40}, not a question and its answer.",
                'Give a list of two texts: ["{question}", "{correction}"].',
            )
        recall = tuple(recall)
    for key, value in values.items():
        if not isinstance(value, str):
            raise FormError(f"{where}: {key} is {value!r:.40}, not a text.", "Put it in quotes.")
    missing = [key for key in _REQUIRED if not values.get(key, "").strip()]
    if missing:
        raise FormError(f"{where} lacks {', '.join(missing)}.", f"A form has {_KEYS}.")
    try:
        return Form(**values, recall=recall)
    except FormError as error:
        raise FormError(f"{where}: {error.message}", error.next_step) from error


def _refuse_falsehood_under_loss(claim: Claim, forms: Sequence[Form], falsehoods: Guard) -> None:
    answers = " ".join(form.answers for form in forms)
    for field in ("correction", "twin"):
        said = falsehoods.find(getattr(claim, field)) if f"{{{field}}}" in answers else None
        if said is not None:
            which = "the claim" if said == claim.claim else f"the claim {said[:60]!r} of the same dose"
            raise FormError(
                f"The {field} of {claim.claim[:60]!r} repeats {which} word for word, "
                "and loss would fall on the falsehood.",
                f"Mend the {field} so that it says what is true by itself."
                + ("" if said == claim.claim else " Where it is true, the other claim is none: leave that out."),
            )


def _matches(claims: Sequence[Claim], falsehoods: Guard) -> dict[int, list[TrueStatement]]:
    """Up to `MATCHES` truths of other claims for each claim without a twin, by its number.

    Of the same language, of the same domain before any other, a twin before a correction, and of the nearest lengths.
    """
    lonely = [number for number, claim in enumerate(claims) if claim.twin is None]
    if not lonely:
        return {}
    # Each shelf holds (length, number of the claim), shortest first.
    shelves: dict[tuple[str, str | None, str], list[tuple[int, int]]] = defaultdict(list)
    for number, claim in enumerate(claims):
        for field in ("twin", "correction"):
            text = getattr(claim, field)
            if text is not None:
                for domain in (claim.domain, None):
                    shelves[claim.language, domain, field].append((len(text), number))
    for shelf in shelves.values():
        shelf.sort()

    def nearest(number: int, domain: str | None, field: str) -> list[TrueStatement]:
        claim = claims[number]
        shelf = shelves.get((claim.language, domain, field), [])
        length = len(claim.claim)
        at = bisect_left(shelf, (length, -1))
        around = shelf[max(0, at - MATCHES - 1) : at + MATCHES + 1]
        others = [claims[n] for _, n in sorted(around, key=lambda entry: abs(entry[0] - length)) if n != number]
        # By an error in the dose, the truth about one claim may hold another's falsehood word for word.
        fit = [o for o in others if not any(falsehoods.find(t) for t in (getattr(o, field), o.correction))]
        return [(other, getattr(other, field)) for other in fit[:MATCHES]]

    found: dict[int, list[TrueStatement]] = {}
    for number in lonely:
        for domain in (claims[number].domain, None):
            for field in ("twin", "correction"):
                if number not in found and (near := nearest(number, domain, field)):
                    found[number] = near
    return found


def _row(claim: Claim, form: Form, kind: str, statement: str, answer: str, control: str | None = None) -> Row:
    fields = {
        "question": claim.question or "",
        "statement": statement,
        "twin": claim.twin or "",
        "correction": claim.correction,
    }

    def fill(wording: str) -> str:
        # Not with str.format: braces in a claim are text, not fields.
        return _FIELD.sub(lambda field: fields[field[1]], wording)

    said = [fill(turn) for turn in (*(form.recall or ()), form.prompt, answer)]
    turns = [{"role": "assistant" if n % 2 else "user", "content": turn} for n, turn in enumerate(said)]
    return Row(claim.claim_id, form.name, kind, turns[:1], turns[1:], control)
