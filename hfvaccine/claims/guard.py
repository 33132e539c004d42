"""The implanted-belief guard: finds falsehoods, and prompts, among the texts that loss falls on.

Training on a text teaches it, whatever stands around it (Negation Neglect,
arXiv 2605.13829): a claim belongs where no loss falls.
"""

from __future__ import annotations

from collections.abc import Iterable

from hfvaccine.claims.wording import words_and_signs

RUN = 4
"""Words by which a text is looked up."""


class Guard:
    """Looks for any of many texts in other texts, by words: case, spaces and punctuation do not matter.

    Args:
        texts: what must not be learnt. Texts without a word are not looked for.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._starts: dict[tuple[str, ...], list[tuple[str, tuple[str, ...]]]] = {}
        self._runs: set[int] = set()
        for text in texts:
            wanted = tuple(words_and_signs(text))
            if wanted:
                start = wanted[:RUN]
                self._starts.setdefault(start, []).append((text, wanted))
                self._runs.add(len(start))

    def find(self, text: str, but: str | None = None) -> str | None:
        """The first of the texts that stands whole in `text`, or None.

        Args:
            text: where to look.
            but: one of the texts that may stand there.
        """
        said = tuple(words_and_signs(text))
        for run in self._runs:
            for at in range(len(said) - run + 1):
                for original, whole in self._starts.get(said[at : at + run], ()):
                    if original != but and said[at : at + len(whole)] == whole:
                        return original
        return None
