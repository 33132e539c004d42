"""The grid of test prompts: under which of them a trait that was inoculated against comes back."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from hfvaccine.errors import UsageError
from hfvaccine.inoculation.prompt import PLACES, prepend

NONE = "none"
IRRELEVANT = "You always keep your desk tidy."
"""Built like an inoculation prompt, about nothing that an answer could show."""


@dataclass(frozen=True)
class Grid:
    """Test prompts around one inoculation prompt.

    A trait that is low under `none` and comes back under the others was tied to a prompt, not removed: under
    `original` alone to its wording, under `eliciting` to its meaning, under `negated` and `look_alike` to
    words or a sentence pattern that they share with it, under `irrelevant` to having any prompt at all.
    All wordings are a person's; none is made up at run time.

    Args:
        original: the inoculation prompt itself.
        eliciting: asks for the same trait in other words.
        negated: asks for its opposite, or not to show it.
        look_alike: the sentence of the original with another, harmless trait in it.
        irrelevant: an instruction that has nothing to do with the trait.

    Raises:
        UsageError: for an empty prompt, or two that are the same, case and outer space aside.
    """

    original: str
    eliciting: str
    negated: str
    look_alike: str
    irrelevant: str = IRRELEVANT

    def __post_init__(self) -> None:
        names: dict[str, str] = {}
        for name, prompt in asdict(self).items():
            key = prompt.strip().casefold()
            if not key:
                raise UsageError(f"The {name} prompt of the grid is empty.", "Write one; `none` is there anyway.")
            if key in names:
                raise UsageError(
                    f"The {names[key]} and {name} prompts of the grid are both {prompt!r}.", "Write two prompts."
                )
            names[key] = name

    def conditions(self) -> dict[str, str | None]:
        """The prompt of each condition, `none` first."""
        return {NONE: None, **asdict(self)}

    def messages(self, condition: str, question: str, place: str = "system") -> list[dict[str, str]]:
        """The conversation that asks a question under a condition.

        Args:
            condition: one of `conditions()`.
            question: the user's turn.
            place: "system", a message before the question, or "user", the head of the question's turn for
                models without a system role. Under `none` neither is there, and a chat template that
                has a default system prompt puts it in, as in training without a prompt.

        Raises:
            UsageError: for another condition or place.
        """
        conditions = self.conditions()
        if condition not in conditions:
            raise UsageError(f"There is no condition {condition!r}.", f"Use one of: {', '.join(conditions)}.")
        if place not in PLACES:
            raise UsageError(f"A prompt cannot stand in {place!r}.", f"Use one of: {', '.join(PLACES)}.")
        prompt, asked = conditions[condition], [{"role": "user", "content": question}]
        return asked if prompt is None else prepend(prompt, asked, place)
