"""The conditions that a trait is measured under: test prompts of any category, and changes of the question. Pure.

Source: the conditional grid of arXiv 2604.25891: a trait that was inoculated against may come back under prompts and
triggers that are only like the training prompt, so that one paraphrase of it says little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfvaccine.errors import UsageError
from hfvaccine.files import read_yaml
from hfvaccine.inoculation.grid import NONE
from hfvaccine.inoculation.prompt import prepend

TRIGGERS = "triggers"
WITH, WITHOUT = "with", "without"
FIELDS = ("prepend", "append", "prompt")
"""Of a trigger."""
FORM = (
    "Give categories, each with a prompt or a list of prompts, and under `triggers` names, each with the text to "
    "`prepend` or to `append` to the question, and a `prompt` where one is to stand before both."
)

Conversation = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Condition:
    """What is changed about each question.

    Args:
        name: as results have it.
        category: what kind of condition it is.
        prompts: every question is asked under each of them; None is no prompt.
        before: text that the question is preceded by, as it stands.
        after: text that it is followed by.
    """

    name: str
    category: str
    prompts: tuple[str | None, ...] = (None,)
    before: str = ""
    after: str = ""

    def messages(self, prompt: str | None, conversation: Conversation, place: str = "system") -> list[dict[str, Any]]:
        """A conversation under the condition.

        Args:
            prompt: one of `prompts`.
            conversation: ends with the user's turn, which is the question.
            place: "system" or "user", see `Grid.messages`.
        """
        *earlier, last = (dict(message) for message in conversation)
        asked = [*earlier, {**last, "content": f"{self.before}{last['content']}{self.after}"}]
        return asked if prompt is None else list(prepend(prompt, asked, place))

    def record(self) -> dict[str, Any]:
        """As files of results hold it."""
        return {
            "name": self.name,
            "category": self.category,
            "prompts": list(self.prompts),
            "prepend": self.before,
            "append": self.after,
        }


@dataclass(frozen=True)
class Conditions:
    """All conditions of a measurement, each by its name, `none` first.

    Args:
        given: besides `none`, in their order.

    Raises:
        UsageError: for an empty name, prompt or trigger, a name that is there twice, and a prompt that stands in two
            categories or twice in one, case and outer space aside.
    """

    given: tuple[Condition, ...] = ()

    def __post_init__(self) -> None:
        names: set[str] = {NONE}
        seen: dict[str, str] = {}
        for condition in self.given:
            if not condition.name.strip() or condition.name in names:
                raise UsageError(
                    f"Two conditions of the grid are called {condition.name!r}, or it is no name.",
                    f"Give each a name of its own; {NONE!r} is there anyway.",
                )
            names.add(condition.name)
            if not condition.prompts:
                raise UsageError(f"The category {condition.name!r} of the grid has no prompt.", "Leave it out.")
            for prompt in condition.prompts:
                if prompt is None:
                    continue
                key = prompt.strip().casefold()
                if not key:
                    raise UsageError(f"A prompt of {condition.name!r} in the grid is empty.", "Leave it out.")
                if condition.category == TRIGGERS:  # it may well be that of a category
                    continue
                if key in seen:
                    raise UsageError(
                        f"The grid has {prompt!r} under {seen[key]!r} and under {condition.name!r}.",
                        "Give each prompt once.",
                    )
                seen[key] = condition.name

    def all(self) -> tuple[Condition, ...]:
        """Every condition."""
        return (Condition(NONE, NONE), *self.given)

    def prompts(self) -> tuple[str, ...]:
        """Every prompt."""
        return tuple(prompt for condition in self.given for prompt in condition.prompts if prompt is not None)

    @classmethod
    def of(cls, content: Any) -> Conditions:
        """The conditions that the content of a grid file says.

        Args:
            content: see `FORM`; `Grid`'s five texts are of that form.

        Raises:
            UsageError: for another form, naming the part.
        """
        if not isinstance(content, Mapping) or not all(isinstance(name, str) for name in content):
            raise UsageError("The grid holds no categories by their names.", FORM)
        found = [
            Condition(name, name, _texts(name, value))
            for name, value in content.items()
            if name not in (TRIGGERS, NONE)
        ]
        if NONE in content:
            raise UsageError(f"The grid gives prompts for {NONE!r}.", f"Leave it out: {NONE!r} is there anyway.")
        triggers = content.get(TRIGGERS) or {}
        if not isinstance(triggers, Mapping):
            raise UsageError(f"The triggers of the grid are {triggers!r:.60}.", FORM)
        for name, value in triggers.items():
            found += _trigger(str(name), value)
        return cls(tuple(found))


def read_conditions(path: Path) -> Conditions:
    """The conditions of a grid file.

    Args:
        path: YAML.

    Raises:
        UsageError: for a file that is no grid, naming it and the part.
    """
    content = read_yaml(path, FORM)
    try:
        return Conditions.of(content)
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.next_step) from error


def _texts(name: str, value: Any) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UsageError(f"The prompts of {name!r} in the grid are {value!r:.60}.", FORM)
    return tuple(texts)


def _trigger(name: str, value: Any) -> list[Condition]:
    """The question with and without a trigger."""
    if not isinstance(value, Mapping) or not all(isinstance(text, str) for text in value.values()):
        raise UsageError(f"The trigger {name!r} of the grid is {value!r:.60}.", FORM)
    if unknown := [str(field) for field in value if field not in FIELDS]:
        raise UsageError(
            f"The trigger {name!r} of the grid has {', '.join(unknown)}.", f"A trigger has {', '.join(FIELDS)}."
        )
    before, after = value.get("prepend", ""), value.get("append", "")
    if not (before + after).strip():
        raise UsageError(f"The trigger {name!r} of the grid changes nothing.", FORM)
    prompts = (value.get("prompt"),)
    return [
        Condition(f"{name}, {WITH}", TRIGGERS, prompts, before, after),
        Condition(f"{name}, {WITHOUT}", TRIGGERS, prompts),
    ]
