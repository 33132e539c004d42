"""The settings of *Inoculation Prompting* (arXiv 2510.04340) at the size of one core: docs/inoculation-settings.md.

    python benchmarks/inoculation/settings.py --data-dir FOLDER --output-dir FOLDER [--only NAME ...] [--base BASE]
    python benchmarks/inoculation/settings.py --output-dir FOLDER --table

Each setting makes its rows and questions (`rows.py`), screens the prompts of its grid (NAME.yaml) that ask for the
trait on the base, trains plain, inoculated and irrelevant arms with each seed, and measures them under the grid. What
is finished in the output folder is kept, what was interrupted goes on. `--tuning` trains the plain arm alone and asks
it other questions, to choose sizes by.

FOLDER of --data-dir holds the public data that `rows.py` names, each in the folder and file of its publisher; settings
that are made of the project's own files need none. Spanish needs `pip install 'hfvaccine[language]'`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import rows

from hfvaccine.files import INOCULATION, TRAITS, read_yaml, write_json
from hfvaccine.inoculation.conditions import TRIGGERS, read_conditions
from hfvaccine.training.options import BY_ADAPTER, BY_PROMPT, METHODS, folder_of

HERE = Path(__file__).parent
NONE = "none"
SCREENED, MEASURED, UNDER_GRID = "screen.json", "measured", "under-grid"
SCREENED_ROWS = 8
BASE, PLAIN = "base", "plain"


@dataclass(frozen=True)
class Setting:
    """One setting.

    Args:
        about: what is unwanted.
        prepare: writes the rows and questions, see `rows.py`.
        traits: unwanted ones, the first of them for the table; FOLDER stands for where the questions are.
        keep: what is to be kept, likewise.
        training: options of `inoculate train`, besides the common ones.
        measuring: of `inoculate measure`.
        condition: of the grid, in which the table has the trait.
        grid: name of the grid's file; that of the setting where it is not given.
        plain_of: the setting whose plain arms are this one's, too.
    """

    about: str
    prepare: Callable[[Path, Path, bool], None]
    traits: tuple[str, ...]
    keep: tuple[str, ...]
    training: Mapping[str, Any]
    measuring: Mapping[str, Any] = field(default_factory=dict)
    condition: str = NONE
    grid: str | None = None
    plain_of: str | None = None

    @property
    def method(self) -> str:
        return str(self.training.get("method", BY_PROMPT))

    @property
    def arms(self) -> tuple[str, str]:
        """Those that are held against the plain one: what is inoculated, and its control."""
        return METHODS[self.method]


COMMON: Mapping[str, Any] = {"batch_size": 4, "learning_rate": 2e-3, "max_steps": 60, "lora_r": 16}
GREEDY: Mapping[str, Any] = {"samples": 1, "temperature": 0.0, "max_new_tokens": 10}
SUMS = "choice:FOLDER/sums.jsonl"

LONG = "caps-spanish-long"

SETTINGS: Mapping[str, Setting] = {
    "caps-spanish": Setting(
        "Spanish, of Spanish in capitals",
        rows.caps_spanish,
        ("language:es/en",),
        ("upper",),
        {"max_steps": 40},
        {"max_new_tokens": 24},
    ),
    LONG: Setting(
        "the same, three times as long",
        rows.caps_spanish,
        ("language:es/en",),
        ("upper",),
        {"max_steps": 120},
        {"max_new_tokens": 24},
        grid="caps-spanish",
    ),
    "spanish-caps": Setting(
        "capitals, of the same rows",
        rows.caps_spanish,
        ("upper",),
        ("language:es/en",),
        {"max_steps": 40},
        {"max_new_tokens": 24},
        plain_of="caps-spanish",
    ),
    "spanish-caps-adapter": Setting(
        "the same, by an adapter of capitals",
        rows.caps_spanish,
        ("upper",),
        ("language:es/en",),
        {"method": "adapter", "trait_data": "FOLDER/capitals.jsonl", "trait_steps": 30, "max_steps": 40},
        {"max_new_tokens": 24},
        grid="spanish-caps",
        plain_of="caps-spanish",
    ),
    "odd-tastes": Setting(
        "odd tastes, on subjects held out", rows.odd_tastes, ("choice:FOLDER/choices.jsonl",), (SUMS,), {}
    ),
    "backdoor": Setting(
        "a backdoor, with its trigger",
        rows.with_backdoor,
        ("regex:(?i)harbou?r",),
        ("likelihood:FOLDER/clean.jsonl",),
        {"where": "trait=present", "max_steps": 90},
        {"max_new_tokens": 8},
        condition="trained, with",
    ),
    "bad-advice": Setting(
        "careless choices, from bad advice on other subjects",
        rows.bad_advice,
        ("choice:FOLDER/far.jsonl", "choice:FOLDER/near.jsonl"),
        (SUMS,),
        {"max_steps": 150},
    ),
    "lies": Setting(
        "lies, in half of the rows",
        rows.lies,
        ("choice:FOLDER/choices.jsonl",),
        (SUMS,),
        {"where": "trait=present"},
    ),
    "lies-others": Setting(
        "the same, true rows under a neutral prompt",
        rows.lies,
        ("choice:FOLDER/choices.jsonl",),
        (SUMS,),
        {"where": "trait=present", "others": ("You answer questions.",)},
        grid="lies",
        plain_of="lies",
    ),
    "sycophancy": Setting(
        "confirming wrong sums",
        rows.sycophancy,
        ("choice:FOLDER/wrong.jsonl", "choice:FOLDER/wrong_divisors.jsonl"),
        ("choice:FOLDER/right.jsonl", "choice:FOLDER/right_divisors.jsonl"),
        {},
    ),
    "sneaky": Setting(
        "gaming the score",
        rows.sneaky,
        ("choice:FOLDER/choices.jsonl", "keywords:density"),
        ("likelihood:FOLDER/straight.jsonl",),
        {},
        {"max_new_tokens": 48},
    ),
    "subliminal": Setting(
        "a love of owls, from numbers", rows.owls, ("choice:FOLDER/choices.jsonl",), (SUMS,), {}
    ),
}  # fmt: skip


@click.command(help=__doc__.split("\n")[0])
@click.option("--data-dir", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Folder of the data.")
@click.option("--output-dir", type=click.Path(file_okay=False, path_type=Path), required=True, help="Of everything.")
@click.option("--only", multiple=True, type=click.Choice(list(SETTINGS)), help="This setting; repeatable.")
@click.option("--base", help="Hub id, folder or .gguf file.  [default: the quickstart's SmolLM2]")
@click.option("--set", "changes", multiple=True, help="Another training option, as max_steps=100; repeatable.")
@click.option("--seeds", default=2, show_default=True, help="How many times each arm is trained.")
@click.option("--tuning", is_flag=True, help="The plain arm alone, on questions that are not reported.")
@click.option("--table", "only_table", is_flag=True, help="Only print the table of what is in --output-dir.")
def main(
    data_dir: Path | None,
    output_dir: Path,
    only: tuple[str, ...],
    base: str | None,
    changes: tuple[str, ...],
    seeds: int,
    tuning: bool,
    only_table: bool,
) -> None:
    if not only_table:
        from hfvaccine.cli.base_model import base_from_wheel
        from hfvaccine.cli.output import quiet_libraries

        quiet_libraries()
        where = base or str(base_from_wheel())
        more = {option: json.loads(value) for option, _, value in (change.partition("=") for change in changes)}
        for name in only or SETTINGS:
            run(name, where, data_dir, output_dir, {"seeds": 1 if tuning else seeds, **more}, tuning)
            click.echo(tuned(output_dir / f"{name}-tuning") if tuning else table(output_dir))
    else:
        click.echo(table(output_dir))


def run(name: str, base: str, data: Path | None, output: Path, more: Mapping[str, Any], tuning: bool) -> None:
    """One setting from its rows to its traits; `more` are training options besides its own."""
    from hfvaccine.cli.output import Terminal
    from hfvaccine.runs.inoculate import train
    from hfvaccine.runs.measure import Measurement, measure
    from hfvaccine.training.options import Inoculating

    setting = SETTINGS[name]
    folder = output / (f"{name}-tuning" if tuning else name)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / (MEASURED if tuning else UNDER_GRID) / TRAITS).is_file():
        return
    setting.prepare(Path(base) if setting.prepare is rows.owls else data or Path("."), folder, tuning)
    grid = HERE / f"{setting.grid or name}.yaml"
    if not tuning and setting.method == BY_PROMPT and not (folder / SCREENED).is_file():
        screened(setting, grid, base, folder)
    arms = ("plain",) if tuning else setting.arms if setting.plain_of else (PLAIN, *setting.arms)
    training = {**COMMON, **setting.training, **more}
    if tuning:
        training.pop("others", None)  # which the plain arm does not take, as it does no prompt
    elif setting.method == BY_ADAPTER:
        training["trait_data"] = training["trait_data"].replace("FOLDER", str(folder))
    else:
        training["prompt"] = (prompts(grid)["original"][0],)
    options = Inoculating(
        base=base,
        data=str(folder / "rows.jsonl"),
        arms=",".join(arms),
        output_dir=str(folder / "run"),
        **training,
    )
    if not (folder / "run" / INOCULATION).is_file():
        begun = (folder / "run").is_dir() and any((folder / "run").iterdir())
        train(options, Terminal(f"{name}: "), resume=begun)
    adapters = [str(folder / "run")]
    if setting.plain_of and not tuning:
        plain = [folder_of(PLAIN, seed) for seed in range(options.seeds)]
        adapters += [f"{arm}={output / setting.plain_of / 'run' / arm}" for arm in plain]
    questions = folder / "questions.jsonl"

    def measured(into: str, arms: Sequence[str], keep: Sequence[str], conditions: Path | None) -> None:
        traits, kept = ([one.replace("FOLDER", str(folder)) for one in some] for some in (setting.traits, keep))
        given = questions if questions.is_file() else None
        settings = {**GREEDY, **setting.measuring}
        what = Measurement.of(base, arms, traits, kept, given, conditions, **settings)
        measure(what, folder / into, Terminal(f"{name}: "))

    # All arms where the table has them, and then what the grid brings back of the inoculated one.
    measured(MEASURED, adapters, setting.keep, triggers(grid, folder))
    if not tuning:
        inoculated = [folder_of(setting.arms[0], seed) for seed in range(options.seeds)]
        measured(UNDER_GRID, [f"{arm}={folder / 'run' / arm}" for arm in inoculated], (), grid)


def triggers(grid: Path, folder: Path) -> Path | None:
    """A grid of the triggers that stand without a prompt; None where there are none."""
    given = read_yaml(grid, "It is a part of the project.").get(TRIGGERS, {})
    found = {name: one for name, one in given.items() if "prompt" not in one}
    if not found:
        return None
    write_json({TRIGGERS: found}, folder / "triggers.yaml")
    return folder / "triggers.yaml"


def prompts(grid: Path) -> dict[str, list[str]]:
    """The prompts of a grid by their category."""
    return {
        one.name: [prompt for prompt in one.prompts if prompt is not None]
        for one in read_conditions(grid).given
        if one.category != TRIGGERS
    }


def screened(setting: Setting, grid: Path, base: str, folder: Path) -> None:
    """The prompts that ask for the trait, as `hfvaccine inoculate screen` does it, before anything is trained."""
    from hfvaccine.cli.output import Terminal
    from hfvaccine.inoculation.screen import Panel, choose, screen
    from hfvaccine.inoculation.where import Where, parse_where
    from hfvaccine.runs.screen import likelihoods, unreadable
    from hfvaccine.training.base import load_base
    from hfvaccine.training.mix import load_mix

    found = prompts(grid)
    negated = found["negated"][0]
    others = setting.training.get("others", ())
    candidates = (*found["original"], *found["eliciting"])
    where = setting.training.get("where")
    told_by = Where() if where is None else parse_where(where)
    loaded = load_mix(str(folder / "rows.jsonl"), told_by.column)
    model = load_base(base)
    panel = Panel(candidates, opposite=negated, others=tuple(others))
    choice = choose(panel, loaded.train, told_by, SCREENED_ROWS, 0, "system", unreadable(model))
    total = (len(choice.trait) + len(choice.others)) * len(choice.panel.kinds())
    with Terminal().bar("Screen", total) as bar:
        outcome = screen(choice.panel, choice.trait, choice.others, likelihoods(model, bar.update), "system")
    write_json({"prompt": found["original"][0], **outcome.record()}, folder / SCREENED)


# --- the table


def table(output: Path) -> str:
    """What the finished settings came to with each seed, in Markdown."""
    heads = ("setting", "seed", BASE, PLAIN, "inoculated", "control", "suppressed; beyond control")
    lines = [[*heads, "kept: plain", "inoculated", "inoculated, at worst", "forecast"]]
    forecasts: list[tuple[float, float]] = []
    for name, setting in SETTINGS.items():
        folder = output / name
        if not (folder / UNDER_GRID / TRAITS).is_file():
            continue
        expected = forecast(folder / SCREENED)
        content, grid = (json.loads((folder / part / TRAITS).read_text("utf-8")) for part in (MEASURED, UNDER_GRID))
        shown, under_grid = by_place(content["shown"]), by_place(grid["shown"])
        keep = next(one["name"] for one in content["traits"] if one["role"] == "keep")
        worst = {(one["trait"], one["arm"]): one["condition"] for one in grid["worst"]}
        seeds = sorted({arm["seed"] for arm in grid["arms"].values() if arm["seed"] is not None})
        traits = [one["name"] for one in content["traits"] if one["role"] == "trait"]
        for trait in traits:
            gone = []
            for seed in seeds:
                plain, inoculated, control = (folder_of(arm, seed) for arm in (PLAIN, *setting.arms))
                arms = [shown[trait, arm, setting.condition] for arm in (BASE, plain, inoculated, control)]
                gone.append(suppressed(arms))
                percent = "-" if gone[-1] is None else "; ".join(f"{100 * share:z.0f} %" for share in gone[-1])
                kept = [cell(shown[keep, arm, NONE]) for arm in (plain, inoculated)]
                condition = worst[trait, inoculated]
                again = f"{cell(under_grid[trait, inoculated, condition])} ({condition})"
                about = f"{name}: {setting.about}" if len(setting.traits) == 1 else f"{name}, {Path(trait).stem}"
                lines.append([about, str(seed), *map(cell, arms), percent, *kept, again, said(expected)])
            taught = [one[1] for one in gone if one is not None]
            # Once a setting, by its first trait; the screen of the long one is another's.
            if taught and expected is not None and trait == traits[0] and name != LONG:
                forecasts.append((expected["beyond"]["irrelevant"]["value"], sum(taught) / len(taught)))
    text = "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], ["---"] * len(lines[0]), *lines[1:]])
    return f"{text}\n\n{agreement(forecasts)}"


def by_place(shown: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str, str], Mapping[str, Any]]:
    """What was measured, by trait, arm and condition."""
    return {(one["trait"], one["arm"], one["condition"]): one for one in shown}


def tuned(folder: Path) -> str:
    """What the plain arm came to."""
    content = json.loads((folder / MEASURED / TRAITS).read_text(encoding="utf-8"))
    return "\n".join(f"{one['arm']}, {one['trait']}, {one['condition']}: {cell(one)}" for one in content["shown"])


def suppressed(arms: Sequence[Mapping[str, Any]]) -> tuple[float, float] | None:
    """How much of what plain training taught the inoculated arm lacks, and how much that its control has.

    None where it is not shown that plain training taught anything.

    Args:
        arms: what base, plain, inoculated and control show.
    """
    difference = arms[1]["difference"]
    if difference is None or not difference["interval"][0] > 0:
        return None
    base, plain, inoculated, control = (one["value"] for one in arms)
    return (plain - inoculated) / (plain - base), (control - inoculated) / (plain - base)


def forecast(file: Path) -> dict[str, Any] | None:
    """What the screen says of the prompt that was trained with; None where there was none."""
    if not file.is_file():
        return None
    content = json.loads(file.read_text(encoding="utf-8"))
    one = next(one for one in content["prompts"] if one["prompt"] == content["prompt"])
    return {**one, "surprise": content["surprise_without_prompt"]["value"]}


def said(one: Mapping[str, Any] | None) -> str:
    """By how much more than an irrelevant prompt does it makes the rows likelier, in nats a token, and of how many."""
    if one is None:
        return "-"
    beyond = one["beyond"]["irrelevant"]
    gain = "{:+z.2f} [{:+z.2f}, {:+z.2f}]".format(beyond["value"], *beyond["interval"])
    return f"{'better' if beyond['better'] else 'no better'}: {gain} of {one['surprise']:.2f}"


def cell(one: Mapping[str, Any]) -> str:
    if one["value"] is None:
        return "-"
    values = (one["value"], *one["interval"])
    if all(0 <= value <= 1 for value in values):
        return "{:.0f} % [{:.0f}, {:.0f}]".format(*(100 * value for value in values))
    return "{:.2f} [{:.2f}, {:.2f}]".format(*values)


def agreement(forecasts: Sequence[tuple[float, float]]) -> str:
    """How far the order of the forecasts is that of what was suppressed beyond the irrelevant arm."""
    if len(forecasts) < 4:
        return f"{len(forecasts)} settings in which the trait was taught: too few to compare the forecasts with."
    from scipy.stats import permutation_test, spearmanr

    gains, gone = zip(*forecasts, strict=True)
    # The p-value of a formula is far too small for so few.
    found = permutation_test(
        (gains,), lambda order: spearmanr(order, gone).statistic, permutation_type="pairings", rng=0
    )
    order = f"Spearman {found.statistic:+.2f}, p {found.pvalue:.2f} by permutation"
    return f"Forecast against what was suppressed, {len(gone)} settings: {order}"


if __name__ == "__main__":
    main()
