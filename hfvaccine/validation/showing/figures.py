"""Pictures of the results, as SVG that is the same bytes for the same results.

Text and axes take the colour of the text around them, so that a picture fits a light and a dark page; as a file
of its own it follows the reader's preference. Nothing is drawn that was not measured: a picture with nothing to
show is None.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from hfvaccine.inoculation.kinds import label_of
from hfvaccine.inoculation.profile import KEEP
from hfvaccine.statistics import Floats
from hfvaccine.validation.judging.measures import by_arm
from hfvaccine.validation.judging.metrics import p_true
from hfvaccine.validation.scores import (
    BASE,
    BELIEF,
    CONTROLS,
    CROSS,
    HIGHER,
    KNOWN,
    OVER_REJECTION,
    PARENT,
    PLACEBO,
    PLAIN,
    RECALLED,
    RETENTION,
    SPECIFIC,
    TRUTHFULNESS,
    VACCINE,
    VERDICT,
    ArmScores,
    ItemProbe,
    PairProbe,
    PairScores,
)
from hfvaccine.validation.showing.lookup import better_or_worse, cell, change, control, index, probe_names
from hfvaccine.validation.showing.names import ARMS, READINGS, capital, condition_label, item_label, label, probe_label

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

Scores = tuple[Sequence[PairProbe], Sequence[ItemProbe], Mapping[str, Sequence[ArmScores]]]
"""As `score_file.read_scores` gives them."""

INK = "#010203"
"""Stands for the colour of the text around a picture; no arm has it."""
COLOURS = {BASE: "#808080", PLACEBO: "#d55e00", CONTROLS: "#009e73", PARENT: "#cc79a7", VACCINE: "#1f83c4"}
"""Told apart by colour-blind readers, and seen on white and on black; each also has its own line and mark."""
LINES: dict[str, Any] = {
    BASE: (0, (1, 1)),
    PLACEBO: (0, (5, 2)),
    CONTROLS: (0, (5, 1, 1, 1)),
    PARENT: (0, (3, 1)),
    VACCINE: "solid",
}
MARKS = {BASE: "s", PLACEBO: "D", CONTROLS: "^", PARENT: "v", VACCINE: "o"}
WIDTH = 4.1
"""Inches; with letters of 9 points this is read at the width of a phone without zooming."""
SHORT = {SPECIFIC: "Given", CROSS: "Never given"}
SKILLS = (RETENTION, TRUTHFULNESS, OVER_REJECTION)
TRAIT_COLOURS = ("#808080", "#1f83c4", "#d55e00", "#009e73", "#cc79a7", "#b8860b")
TRAIT_MARKS = ("s", "o", "D", "^", "v", "P", "X")
"""Of arms of any name, the base first; more than there are colours still differ by their marks."""
MAP = "PuOr"
"""Two-sided colours that colour-blind readers tell apart, pale in the middle."""
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "hfvaccine",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "text.parse_math": False,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
}
CSS = ".hfv{color:#1a1c20}@media(prefers-color-scheme:dark){.hfv{color:#e6e4df}}"


@dataclass(frozen=True)
class Figure:
    """A picture.

    Args:
        name: what its file is called, without the ending.
        title: what it shows.
        svg: the picture itself, its title and note in it.
        alt: what a reader who cannot see it should know.
    """

    name: str
    title: str
    svg: str
    alt: str


@contextmanager
def styled() -> Iterator[None]:
    """Every line and letter takes its colour and size when it is made, so all of a picture is made in one style."""
    import matplotlib

    with matplotlib.rc_context(STYLE):
        yield


def draw(results: Mapping[str, Any], scores: Scores) -> list[Figure]:
    """All pictures of one validation that have something to show.

    Args:
        results: the content of results.json.
        scores: the content of scores.parquet.
    """
    found = [
        roc(results, scores),
        roc(results, scores, RECALLED),
        belief(results, scores),
        *(heat(results, probe) for probe in probe_names(results) if probe != KNOWN),
        retention(results),
    ]
    return [figure for figure in found if figure is not None]


@styled()
def roc(results: Mapping[str, Any], scores: Scores, reading: str = VERDICT) -> Figure | None:
    """ROC curves of plain verdicts on given claims and on claims never given, each arm's own threshold marked.

    Args:
        results: the content of results.json.
        scores: the content of scores.parquet; curves are means over the seeds of an arm.
        reading: `VERDICT` or `RECALLED`.
    """
    pairs, _, arms = scores
    probes = [p for p in pairs if (p.reading, p.condition) == (reading, PLAIN) and p.name in SHORT]
    at = index(results)
    scored = {p.key: {arm: seeds for arm, seeds in by_arm(arms, p).items() if arm in ARMS} for p in probes}
    probes = [p for p in probes if scored[p.key]]
    if not probes:
        return None
    drawing, panels = empty_panels(2, len(probes), 3.7, ratios=(3, 1.15))
    grid = np.linspace(0, 1, 201)
    said = []
    for axes, below, probe in zip(panels, panels[len(probes) :], probes, strict=False):
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.6, alpha=0.5)
        for arm in [arm for arm in ARMS if arm in scored[probe.key]]:
            seeds = scored[probe.key][arm]
            curve = np.mean([_curve(seed, grid) for seed in seeds], axis=0)
            value = cell(at.get((*probe.key, "auroc", arm)))
            axes.plot(grid, curve, color=COLOURS[arm], linestyle=LINES[arm], linewidth=1.6, label=f"{arm} {value}")
            accepted = [np.mean([(getattr(seed, side) > 0).mean() for seed in seeds]) for side in ("claim", "twin")]
            axes.plot(*accepted, MARKS[arm], color=COLOURS[arm], markersize=5, clip_on=False)
            said.append(f"{probe_label(probe.name)}, {arm}: AUROC {value}")
        axes.set_title(f"{SHORT[probe.name]} (n = {len(probe.ids):,})", loc="left")
        axes.set_xlabel("claims accepted")
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
        axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
        below.set_axis_off()
        below.legend(
            *axes.get_legend_handles_labels(), loc="upper center", fontsize=7.5, handlelength=1.3, borderpad=0
        )
    panels[0].set_ylabel("truths accepted")
    note = f"Marks: where a model itself divides true from false. AUROC with its {_level(results)}."
    name, after = ("roc_recalled", " after recall") if reading == RECALLED else ("roc", "")
    title = f"How well verdicts{after} tell truths from claims"
    return finished(drawing, name, title, note, f"ROC curves{after}. {'; '.join(said)}.")


@styled()
def belief(results: Mapping[str, Any], scores: Scores) -> Figure | None:
    """Belief in each claim before and after, given claims beside claims never given.

    Args:
        results: the content of results.json; names the claims whose belief rose.
        scores: the content of scores.parquet; beliefs are log-odds there and probabilities here.
    """
    _, items, arms = scores
    beliefs = {p.key: (p, by_arm(arms, p)) for p in items if p.kind == BELIEF and p.of in SHORT}
    asked = {key: (p, scored) for key, (p, scored) in beliefs.items() if {BASE, VACCINE} <= set(scored)}
    readings = list(dict.fromkeys(reading for reading, _ in asked))
    if not readings:
        return None
    columns = [of for of in SHORT if any(key[1] == of for key in asked)]
    drawing, panels = empty_panels(len(readings), len(columns), 2.1 * len(readings) + 0.2, sharey=True)
    named = {(n["reading"], n["claim_id"]) for n in results["belief"]["named"]}
    said, sizes = [], []
    for row, reading in enumerate(readings):
        for column, of in enumerate(columns):
            axes = panels[row * len(columns) + column]
            if (reading, of) not in asked:
                axes.set_axis_off()
                continue
            probe, scored = asked[reading, of]
            before, after = (np.mean([p_true(one) for one in scored[arm]], axis=0) for arm in (BASE, VACCINE))
            is_named = np.array([(reading, claim) in named for claim in probe.ids])
            for marked, style in ((False, {"color": INK, "alpha": 0.22, "linewidth": 0.7}), (True, _NAMED)):
                chosen = is_named == marked
                if chosen.any():
                    axes.plot([0, 1], np.stack([before[chosen], after[chosen]]), **style)
            means = [float(before.mean()), float(after.mean())]
            axes.plot([0, 1], means, color=COLOURS[VACCINE], linewidth=2.4, marker="o", markersize=5)
            for place, mean, side in zip((0, 1), means, ("right", "left"), strict=True):
                gap = -6 if side == "right" else 6
                axes.annotate(f"{mean:.2f}", (place, mean), (gap, 0), textcoords="offset points", ha=side, va="center")
            axes.set_xlim(-0.42, 1.42)
            axes.set_ylim(0, 1)
            axes.set_xticks([0, 1], [BASE, VACCINE])
            axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
            axes.set_title(f"{SHORT[of]} (n = {len(probe.ids):,})", loc="left")
            if column == 0:
                axes.set_ylabel(f"belief ({label(reading)})")
            said.append(f"{label(reading)}, {probe_label(of)}: mean {means[0]:.2f} before, {means[1]:.2f} after")
            sizes.append(is_named.sum())
    rises = [f"{label(rise['reading'])} {change(rise, 2)}" for rise in results["belief"]["rises"]]
    note = "Thin lines: single claims; thick: their mean."
    if sum(sizes):
        note += " Dashed: single claims that are believed more."
    if rises:
        note += f" Given beyond never given: {'; '.join(rises)}, {_level(results)}."
    alt = f"Probability that the model gives each claim, before and after. {'; '.join(said)}."
    return finished(drawing, "belief", "Belief in the claims, before and after", note, alt)


@styled()
def heat(results: Mapping[str, Any], probe: str) -> Figure | None:
    """AUROC of the vaccine's verdict by condition and domain, and its difference to the control.

    Args:
        results: the content of results.json.
        probe: which pairs.
    """
    rows = [d for d in results["domains"] if (d["probe"], d["reading"]) == (probe, VERDICT)]
    found = {(d["condition"], d["domain"], d["arm"]): d for d in rows}
    mine = [d for d in rows if d["arm"] == VACCINE]
    if not mine:
        return None
    conditions = list(dict.fromkeys(d["condition"] for d in mine))
    domains = list(dict.fromkeys(d["domain"] for d in mine))
    against = control(results)
    values = _grid(conditions, domains, lambda c, d: found.get((c, d, VACCINE)))
    sure = [[_is_sure(found.get((c, d, VACCINE))) for d in domains] for c in conditions]
    others = _grid(conditions, domains, lambda c, d: found.get((c, d, against)))
    maps: list[tuple[str, Floats, float, list[list[bool]] | None]] = [("AUROC of the vaccine", values, 0.5, sure)]
    if not np.isnan(others).all():
        maps.append((f"Difference to {against}", values - others, 0.0, None))
    drawing, panels = empty_panels(len(maps), 1, len(maps) * (0.24 * len(conditions) + 0.42) + 0.8)
    drawing.set_figwidth(max(WIDTH, 1.5 + 0.43 * len(domains)))
    for place, (axes, (title, shown, middle, known)) in enumerate(zip(panels, maps, strict=True)):
        axes.imshow(shown, cmap=MAP, vmin=middle - 0.6, vmax=middle + 0.6, aspect="auto")
        for i in range(len(conditions)):
            for j in range(len(domains)):
                value = shown[i, j]
                text = "–" if np.isnan(value) else f"{value:.2f}" if middle else f"{value:+.2f}"
                text = f"({text})" if known is not None and not known[i][j] and text != "–" else text
                # The map is pale in the middle and dark at its ends, whatever the page behind it.
                ink = INK if np.isnan(value) else "#ffffff" if abs(value - middle) > 0.3 else "#1a1c20"
                axes.text(j, i, text, ha="center", va="center", color=ink, fontsize=8)
        axes.set_title(title, loc="left")
        axes.set_yticks(range(len(conditions)), [condition_label(c) for c in conditions])
        last = place == len(maps) - 1
        labels = [_short(label(d)) for d in domains] if last else []
        axes.set_xticks(range(len(domains)) if last else [], labels, rotation=40, ha="right", rotation_mode="anchor")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    pairs = [d["pairs"] for d in mine]
    many = f"{min(pairs)}" if min(pairs) == max(pairs) else f"{min(pairs)} to {max(pairs)}"
    note = f"n = {many} pairs a field. In brackets: its {_level(results)} holds 0.5. Differences bear no interval."
    if len(maps) == 1:
        note = note.removesuffix(" Differences bear no interval.")
    low, high = (
        np.unravel_index(np.nanargmin(values), values.shape),
        np.unravel_index(np.nanargmax(values), values.shape),
    )
    said = [
        f"{which} {values[at]:.2f} ({condition_label(conditions[at[0]])}, {label(domains[at[1]])})"
        for which, at in (("lowest", low), ("highest", high))
    ]
    title = f"{capital(probe_label(probe))}: conditions and domains"
    name = _map_names(probe_names(results))[probe]
    return finished(drawing, name, title, note, f"AUROC of the vaccine by condition and domain: {', '.join(said)}.")


@styled()
def retention(results: Mapping[str, Any]) -> Figure | None:
    """What the vaccine gained or lost elsewhere, against its control: differences with intervals.

    Args:
        results: the content of results.json.
    """
    against = control(results)
    rows = [c for c in results["other_contrasts"] if c["kind"] in SKILLS and c["against"] == against]
    if not rows:
        return None
    sizes = {(o["name"], o["of"], o["metric"]): o["items"] for o in results["other"]}
    units = list(dict.fromkeys((_unit(r["metric"]), r["better"]) for r in rows))
    groups = [[r for r in rows if (_unit(r["metric"]), r["better"]) == unit] for unit in units]
    height = sum(0.42 * len(group) + 0.75 for group in groups)
    drawing, panels = empty_panels(len(groups), 1, height, ratios=[len(group) + 0.6 for group in groups])
    for axes, (unit, better), group in zip(panels, units, groups, strict=True):
        for place, row in enumerate(group):
            outcome = better_or_worse(row, "")
            colour = {"better": COLOURS[VACCINE], "worse": COLOURS[PLACEBO]}.get(outcome, INK)
            axes.plot(row["interval"], [place, place], color=colour, linewidth=1.6, solid_capstyle="butt")
            axes.plot([0, 0], [place - 0.16, place + 0.16], color=INK, linewidth=1)
            mark = "X" if outcome == "worse" else "o"
            axes.plot(row["difference"], place, mark, color=colour, markersize=6, markerfacecolor=colour)
            n = sizes.get((row["name"], row["of"], row["metric"]))
            size = "" if n is None else f", n = {n:,}"
            axes.text(0, place - 0.3, f"{item_label(row)}{size}", transform=axes.get_yaxis_transform(), va="center")
        reach = 1.15 * max(abs(end) for row in group for end in row["interval"]) or 1.0
        axes.set_xlim(-reach, reach)
        axes.set_ylim(len(group) - 0.5, -0.75)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"{unit}: {'right' if better == HIGHER else 'left'} is better")
    said = [f"{item_label(row)} {change(row)}" for row in rows]
    note = f"Bars: {_level(results)}. Blue: better; orange and crossed: worse; else no change shown."
    title = f"Other skills, vaccine less {against}"
    return finished(drawing, "retention", title, note, f"{title}: {'; '.join(said)}.")


@styled()
def dose_response(trial: Sequence[tuple[float, Mapping[str, Any]]]) -> Figure | None:
    """Discrimination, and rejection beside acceptance, over the share of the dose; at 0 the placebo's.

    Args:
        trial: (share of the training tokens, results), one for each run.
    """
    runs = sorted(((share, index(results), results) for share, results in trial), key=lambda run: run[0])
    reading = RECALLED if any(key[1] == RECALLED for _, at, _ in runs for key in at) else VERDICT
    measured = [(share, VACCINE, at) for share, at, _ in runs]
    measured[:0] = [(0.0, PLACEBO, at) for _, at, results in runs if PLACEBO in results["arms"]][:1]
    curves: list[tuple[int, str, str, str, str]] = [
        (0, SPECIFIC, "auroc", VACCINE, "given claims"),
        (0, CROSS, "auroc", CONTROLS, "claims never given"),
        (1, SPECIFIC, "true_acceptance", VACCINE, "truths accepted"),
        (1, SPECIFIC, "rejection", PLACEBO, "claims rejected"),
    ]
    found = {
        curve: [(s, m) for s, arm, at in measured if (m := at.get((curve[1], reading, PLAIN, curve[2], arm)))]
        for curve in curves
    }
    places = sorted({curve[0] for curve, points in found.items() if points})
    if not places:
        return None
    drawing, panels = empty_panels(len(places), 1, 2.1 * len(places) + 0.4, sharex=True)
    said, pairs = [], set()
    for axes, place in zip(panels, places, strict=True):
        for curve, points in found.items():
            if curve[0] != place or not points:
                continue
            shares = [100 * share for share, _ in points]
            values = [m["value"] for _, m in points]
            ends = np.array([m["interval"] for _, m in points])
            style = curve[3]
            axes.plot(
                shares, values, color=COLOURS[style], linestyle=LINES[style], marker=MARKS[style], label=curve[4]
            )
            axes.vlines(shares, ends[:, 0], ends[:, 1], color=COLOURS[style], linewidth=1.2, alpha=0.7)
            pairs |= {m["pairs"] for _, m in points}
            steps = ", ".join(f"{s:g} %: {v:.2f}" for s, v in zip(shares, values, strict=True))
            said.append(f"{curve[4]}, {curve[2].replace('_', ' ')}: {steps}")
        axes.set_ylabel("AUROC" if place == 0 else "given claims, share")
        axes.set_ylim(-0.02, 1.02)
        if place == 0:
            axes.axhline(0.5, color=INK, linewidth=0.6, alpha=0.5)
        axes.legend(loc="lower right")
    panels[-1].set_xlabel("share of the dose in the training tokens, %")
    many = f"{min(pairs)}" if min(pairs) == max(pairs) else f"{min(pairs)} to {max(pairs)}"
    zero = ", and the placebo at 0" * (len(measured) > len(runs))
    note = f"{capital(READINGS[reading])}. n = {many} pairs a point, {len(runs)} shares{zero}. "
    note += f"Bars: {_level(runs[0][2])}."
    return finished(drawing, "dose_response", "Effect of the share", note, f"Effect of the share. {'; '.join(said)}.")


@styled()
def traits(content: Mapping[str, Any]) -> Figure:
    """How far each trait shows in each arm, by condition.

    Args:
        content: of traits.json.
    """
    arms, conditions = list(content["arms"]), [condition["name"] for condition in content["conditions"]]
    found = {(one["trait"], one["condition"], one["arm"]): one for one in content["shown"]}
    each = 0.45 + len(conditions) * max(0.24, 0.09 * len(arms))
    sizes = [each] * len(content["traits"])
    legend = 0.1 + 0.18 * ((len(arms) + 1) // 2)
    drawing, panels = empty_panels(len(sizes) + 1, 1, sum(sizes) + legend + 0.7, ratios=[*sizes, legend])
    *panels, below = panels
    said = []
    for axes, trait in zip(panels, content["traits"], strict=True):
        for number, arm in enumerate(arms):
            style = {"color": TRAIT_COLOURS[number % len(TRAIT_COLOURS)]}
            mark = TRAIT_MARKS[number % len(TRAIT_MARKS)]
            shown = [found[trait["name"], condition, arm] for condition in conditions]
            at = [place + 0.7 * ((number + 0.5) / len(arms) - 0.5) for place in range(len(conditions))]
            known = [(place, one) for place, one in zip(at, shown, strict=True) if one["value"] is not None]
            for place, one in known:
                axes.plot(one["interval"], [place, place], linewidth=1.4, solid_capstyle="butt", **style)
            axes.plot([one["value"] for _, one in known], [place for place, _ in known], mark, markersize=4, **style)
            below.plot([], [], mark, markersize=4, label=_short(arm), **style)
            said += [f"{label_of(trait['name'])}, {arm}, {one['condition']}: {one['value']:.2f}" for _, one in known]
        kept = ", to keep" if trait["role"] == KEEP else ""
        axes.set_title(f"{_short(label_of(trait['name']), 36)} (n = {trait['questions']:,}{kept})", loc="left")
        # In full: what look-alikes are alike in often comes last.
        axes.set_yticks(range(len(conditions)), ["\n".join(textwrap.wrap(name, 16)) for name in conditions])
        axes.set_ylim(len(conditions) - 0.5, -0.5)
        ends = [end for one in content["shown"] if one["trait"] == trait["name"] for end in one["interval"] or ()]
        if ends and min(ends) >= 0 and max(ends) <= 1:
            axes.set_xlim(-0.03, 1.03)
    handles, labels = below.get_legend_handles_labels()
    below.clear()
    below.set_axis_off()
    below.legend(handles[: len(arms)], labels[: len(arms)], loc="upper center", ncols=2, borderpad=0)
    note = f"n: questions. Bars: {_level(content)}."
    title = "How far each trait shows, by condition"
    return finished(drawing, "traits", title, note, f"{title}. {'; '.join(said)}.")


_NAMED = {"color": COLOURS[PLACEBO], "linewidth": 1.6, "linestyle": (0, (4, 1.5))}


def empty_panels(rows: int, columns: int, height: float, ratios: Sequence[float] | None = None, **shared: Any) -> Any:
    """An empty drawing and its axes, in reading order."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(WIDTH, height), layout="constrained")
    return drawing, list(drawing.subplots(rows, columns, squeeze=False, height_ratios=ratios, **shared).flat)


def finished(drawing: Drawing, name: str, title: str, note: str, alt: str) -> Figure:
    """The drawing with its title and note, as SVG that can stand in a page beside others."""
    drawing.suptitle("\n".join(textwrap.wrap(title, 44)), x=0.01, ha="left", fontsize=11, fontweight="bold")
    drawing.supxlabel("\n".join(textwrap.wrap(note, 66)), x=0.01, ha="left", fontsize=8)
    out = io.StringIO()
    drawing.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return Figure(name, title, _embeddable(out.getvalue(), name, alt), alt)


def _embeddable(svg: str, name: str, alt: str) -> str:
    """SVG without a prolog, of flexible width, with its ids to itself and in the ink of its surroundings."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(\bid="|xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    svg = re.sub(r"(font: [^;\"]*?)'DejaVu Sans'", r"\1system-ui, 'DejaVu Sans'", svg).replace(INK, "currentColor")
    head, rest = svg.split(">", 1)
    width, height = re.findall(r'\b(?:width|height)="([\d.]+)pt"', head)
    head = re.sub(r'\s(?:width|height)="[\d.]+pt"', "", head)
    size = f'width="{float(width) * 4 / 3:.0f}" height="{float(height) * 4 / 3:.0f}"'
    described = f"<title>{escape(alt)}</title><style>{CSS}</style>"
    return f'{head} {size} class="hfv" role="img" aria-label={quoteattr(alt)}>{described}{rest.strip()}\n'


def _curve(scores: PairScores, grid: Floats) -> Floats:
    """Share of truths accepted where `grid` of the claims are, thresholds between ties interpolated."""
    thresholds = np.unique(np.concatenate([scores.claim, scores.twin]))[::-1]
    claims, truths = (
        np.concatenate([[0.0], (side[None, :] >= thresholds[:, None]).mean(1)]) for side in (scores.claim, scores.twin)
    )
    # At a step straight up the curve takes its upper end, so that seeds can be averaged at equal shares.
    upper = np.append(claims[1:] > claims[:-1], True)
    curve: Floats = np.interp(grid, claims[upper], truths[upper])
    return curve


def _grid(rows: Sequence[str], columns: Sequence[str], at: Callable[[str, str], Mapping[str, Any] | None]) -> Floats:
    return np.array([[np.nan if (m := at(r, c)) is None else m["value"] for c in columns] for r in rows], dtype=float)


def _map_names(probes: Sequence[str]) -> dict[str, str]:
    """What the map of each probe is called as a file: those whose names differ only in signs are numbered."""
    names: dict[str, str] = {}
    for probe in probes:
        name = whole = re.sub(r"[^a-z0-9]+", "_", f"heat_{probe.lower()}").strip("_")
        number = 1
        while name in names.values():
            number += 1
            name = f"{whole}_{number}"
        names[probe] = name
    return names


def _is_sure(measure: Mapping[str, Any] | None) -> bool:
    return measure is not None and not measure["interval"][0] <= 0.5 <= measure["interval"][1]


def _unit(metric: str) -> str:
    return "nats per token" if metric == "nats_per_token" else "difference in share"


def _short(label: str, most: int = 16) -> str:
    return label if len(label) <= most else label[: most - 1] + "…"


def _level(results: Mapping[str, Any]) -> str:
    return f"{100 * results['settings']['level']:.0f} % interval"
