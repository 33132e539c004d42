"""What a card asks of those who want access: the fields of its form, and reading the answers."""

from dataclasses import dataclass
from datetime import date
from typing import Any

from hfvaccine.localhub.refusal import Refusal

MOST_FIELDS = 50
LONGEST = 4000
_INPUTS = {"text": "text", "country": "text", "checkbox": "checkbox", "date_picker": "date", "select": "select"}


@dataclass(frozen=True)
class Field:
    """One question; `input` is how a page puts it, `options` what a choice is between, each with its
    value and its label; a page answers with the number of one."""

    name: str
    label: str
    input: str
    options: tuple[tuple[str, str], ...] = ()

    def declined(self) -> Refusal:
        """What whoever leaves it unticked is told."""
        return Refusal(400, f"To ask for access, tick: {self.label}")

    def read(self, given: str) -> Any:
        """The answer as owners see it.

        Raises:
            Refusal: 400 for an answer that is missing or does not fit.
        """
        text = given.strip()
        if self.input == "checkbox":
            if text:
                return True
            raise self.declined()
        if not text or len(text) > LONGEST:
            raise Refusal(400, f"To ask for access, answer: {self.label}")
        if self.input == "select":
            if not text.isdecimal() or int(text) >= len(self.options):
                raise Refusal(400, f"Choose one of the options of: {self.label}")
            text = self.options[int(text)][0]
        if self.input == "date":
            try:
                text = date.fromisoformat(text).isoformat()
            except ValueError as error:
                raise Refusal(400, f"Write a date as 2026-12-31: {self.label}") from error
        return text


def fields_of(metadata: dict[str, Any]) -> list[Field]:
    """The fields that a card's metadata asks for; what makes no sense there is a line of text."""
    asked = metadata.get("extra_gated_fields")
    # Some cards list their fields instead of mapping them.
    pairs = [pair for one in asked if isinstance(one, dict) for pair in one.items()] if isinstance(asked, list) else []
    pairs = list(asked.items()) if isinstance(asked, dict) else pairs
    fields: list[Field] = []
    for label, kind in pairs[:MOST_FIELDS]:
        options: tuple[tuple[str, str], ...] = ()
        if isinstance(kind, dict):
            listed = kind.get("options")
            options = tuple(_option(one) for one in listed) if isinstance(listed, list) else ()
            kind = kind.get("type")
        wanted = _INPUTS.get(kind, "text") if isinstance(kind, str) else "text"
        wanted = "text" if wanted == "select" and not options else wanted
        fields.append(Field(f"field-{len(fields)}", label[:500], wanted, options))
    return fields


def read(fields: list[Field], given: dict[str, str]) -> dict[str, Any]:
    """All answers by the labels of their questions. Raises Refusal 400 at the first that does not fit."""
    return {field.label: field.read(given.get(field.name, "")) for field in fields}


def _option(one: Any) -> tuple[str, str]:
    if isinstance(one, dict):
        return str(one.get("value", one.get("label", ""))), str(one.get("label", one.get("value", "")))
    return str(one), str(one)
