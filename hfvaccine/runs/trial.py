"""A trial: the same run at several shares and seeds, with its controls, judged together.

One seed is an anecdote: the order of rows and the adapter's start move every measure. So each arm is trained once for
each seed, and what is reported is the mean over them with an interval over claims.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hfvaccine.errors import UsageError
from hfvaccine.files import SCORES
from hfvaccine.runs.immunize import dry_run, finished
from hfvaccine.runs.ingredients import Ingredients, open_doses
from hfvaccine.runs.study import save_figures
from hfvaccine.training.options import Options
from hfvaccine.training.progress import SILENT, Progress
from hfvaccine.validation.judging.score_file import read_scores
from hfvaccine.validation.scores import BASE, CONTROLS, PLACEBO, VACCINE, ArmScores
from hfvaccine.validation.showing.figures import dose_response


@dataclass(frozen=True)
class Trial:
    """A finished trial.

    Args:
        folder: holds a folder for each run, and one for each share with the results over all seeds.
        results: the content of results.json by share, over all seeds.
    """

    folder: Path
    results: dict[float, dict[str, Any]]


def trial(options: Options, shares: Sequence[float], seeds: Sequence[int], progress: Progress = SILENT) -> Trial:
    """Run every share with every seed, and judge each share over all seeds.

    Every run gives all claims of the dose: the share says how often. The control arms are trained once for each seed,
    beside the highest share: they hold no dose, and are as long.
    What is finished already in the folder is kept, and what was interrupted goes on.

    Args:
        options: of each run, but for share, seed and output folder; all claims of the dose are given.
        shares: dose parts of the tokens.
        seeds: of the runs.
        progress: told of each stage, and how far it is.

    Raises:
        HfvaccineError: as `immunize` does.
        UsageError: without shares or seeds, for several doses, or for a part of the dose, which would be another with
            each seed; also where the runs are too short for all of it.
    """
    if not shares or not seeds or len({*shares}) < len(shares) or len({*seeds}) < len(seeds):
        raise UsageError("A trial takes shares and seeds, each once.", "Give --share and --seeds.")
    if len(options.doses) > 1:
        raise UsageError(
            f"A trial gives one dose at several shares, and {len(options.doses)} doses are named.",
            "Seal their claims as one dose, or give each run of several doses by itself.",
        )
    if options.claims is not None:
        raise UsageError(
            "Each seed would be given other claims.", "Seal a dose of as many claims as are wanted, and give it whole."
        )
    # All of the dose at each share, which so says how often each claim is given.
    dose = open_doses(options)
    options = replace(options, claims=len(dose.claims), exposures=1)
    dry_run(replace(options, share=min(shares), seed=seeds[0]))  # before the first is trained, that all can be
    folder, highest = Path(options.output_dir), max(shares)
    arms: dict[float, dict[str, list[ArmScores]]] = {share: {} for share in shares}
    probes: dict[float, Any] = {}
    for seed in seeds:
        controls: dict[str, ArmScores] = {}
        for share in sorted(shares, reverse=True):
            place = folder / f"share-{share:g}-seed-{seed}"
            progress.say(f"== share {share:g}, seed {seed}")
            run = replace(
                options,
                share=share,
                seed=seed,
                output_dir=str(place),
                placebo=options.placebo and share == highest,
                controls=options.controls and share == highest,
                push_to=None,
            )
            finished(run, progress)
            pairs, items, scored = read_scores(place / SCORES)
            controls |= {arm: scored[arm][0] for arm in (PLACEBO, CONTROLS) if arm in scored}
            if share in probes and probes[share] != (pairs, items):
                raise UsageError(f"{place} was asked something else than the other runs.", "Run the trial anew.")
            probes[share] = pairs, items
            of_share = arms[share]
            of_share.setdefault(BASE, scored[BASE])
            for arm, scores in {**controls, VACCINE: scored[VACCINE][0]}.items():
                of_share.setdefault(arm, []).append(scores)
    results = {}
    study = Ingredients.of(options).study
    study.interview = None  # what was said in free text lies with each run, and its scores are among the others
    for share in sorted(shares):
        study.pairs, study.items = probes[share]
        study.arms = arms[share]
        results[share] = study.write(folder / f"share-{share:g}")
        study.draw(folder / f"share-{share:g}", results[share])
    if len(shares) > 1 and (picture := dose_response(list(results.items()))) is not None:
        save_figures([picture], folder)
    return Trial(folder, results)
