"""The verdicts of one side as bars: how probable the words for true are against those for false. Pure SVG."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from xml.sax.saxutils import escape

from hfvaccine.demo.replies import CLAIM, TWIN, Verdict

NAMES = {CLAIM: "false claim", TWIN: "true twin"}
WIDTH, LEFT, TRACK = 420, 82, 232
"""Of the picture, of the names, and of the bars, in letters of 13."""
ROW, HEADING, GAP, FOOT = 24, 20, 10, 30


def bars(verdicts: Sequence[Verdict], colour: str) -> str:
    """The picture, in the colours of the text around it.

    Args:
        verdicts: in the order in which they stand.
        colour: of the bars.

    Returns:
        SVG; "" where there is no verdict.
    """
    if not verdicts:
        return ""
    y, parts = 0, []
    for reading in dict.fromkeys(verdict.reading for verdict in verdicts):
        own = [verdict for verdict in verdicts if verdict.reading == reading]
        parts.append(f'<text class="soft" x="0" y="{y + 14}">{escape(reading)}</text>')
        y += HEADING
        for verdict in own:
            parts += _bar(verdict, y, colour)
            y += ROW
        y += GAP
    middle, end = LEFT + TRACK / 2, LEFT + TRACK
    parts.insert(0, f'<path class="half" d="M{middle:g} {HEADING}V{y - GAP}"/>')
    parts += [
        f'<text class="soft" x="{LEFT}" y="{y + 12}">FALSE</text>',
        f'<text class="soft" x="{middle:g}" y="{y + 12}" text-anchor="middle">even</text>',
        f'<text class="soft" x="{end}" y="{y + 12}" text-anchor="end">TRUE</text>',
    ]
    alt = escape(" ".join(described(verdicts)), {'"': "&quot;"})
    return f'<svg class="bars" viewBox="0 0 {WIDTH} {y + FOOT}" role="img" aria-label="{alt}">{"".join(parts)}</svg>'


def described(verdicts: Iterable[Verdict]) -> Iterable[str]:
    """The same in sentences."""
    for one in verdicts:
        said, fits = ("TRUE" if one.accepted else "FALSE"), ("right" if one.right else "wrong")
        yield f"{one.reading}, {NAMES[one.side]}: {said}, {fits}; probability of TRUE {one.p_true:.2f}."


def _bar(verdict: Verdict, y: int, colour: str) -> list[str]:
    middle, at = y + ROW / 2, LEFT + TRACK * verdict.p_true
    said, mark, tone = (
        "TRUE" if verdict.accepted else "FALSE",
        *(("✓", "passed") if verdict.right else ("✗", "failed")),
    )
    return [
        f'<text x="0" y="{middle + 4:g}">{NAMES[verdict.side]}</text>',
        f'<rect class="track" x="{LEFT}" y="{y + 6}" width="{TRACK}" height="12" rx="2"/>',
        f'<rect x="{LEFT}" y="{y + 6}" width="{max(1.0, at - LEFT):.1f}" height="12" rx="2" fill="{colour}"/>',
        f'<text x="{LEFT + TRACK + 12}" y="{middle + 4:g}">{verdict.p_true:.2f} {said} '
        f'<tspan class="{tone}">{mark}</tspan></text>',
    ]
