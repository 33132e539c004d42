"""How long a million claims take through the quarantine, and near-duplicates beside datasketch and text-dedup.

    python benchmarks/quarantine.py --peers PYTHON --output quarantine.json

PYTHON is that of an environment with the peers, which want other versions of some packages than ours does:

    python -m venv peers && peers/bin/pip install datasketch==2.0.0 text-dedup==0.4.0

The claims are made here, the same for the same seed: words as they come in a language, few often and most seldom, some
twelve to a sentence, a fifth of the sentences after one of sixty patterns. One in twenty is a copy of another with a
word replaced, added or left out, with other case and punctuation, or with its words in another order. Every stage and
every side has a process of its own; nothing else may run meanwhile.

Near-duplicates: all sides get the same words, split already, and the same threshold; the peers also 128 permutations,
text-dedup two processes. What datasketch's index returns is approximate, as it says; it is taken as it is, and also
filtered by the words, as it advises. text-dedup joins all that fall into one bucket, so its answer is groups; what it
takes to load and save is not counted. So the sides are compared by groups: are both texts of a copied pair in one, and
has a text that is in one a near-duplicate at all? That ours are all there are is checked by comparing some texts with
each of the others. Exits with 1 where a target is missed.
"""

from __future__ import annotations

import json
import string
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from children import ask, entry, memory_mb
from measuring import OUTPUT, begin, end, target

Longs = npt.NDArray[np.int64]

OURS, TEXT_DEDUP = "hfvaccine", "text-dedup"
PEERS = ("datasketch", TEXT_DEDUP)
STAGES = ("intake", "lint", "screen", "split")
SEALED = 100_000
"""Claims that are sealed, in a quarantine of their own."""
PERMUTATIONS = 128
POLICY = "policy.yaml"
RULES = """\
name: benchmark
contact: nobody
license: cc0-1.0
reviewers_needed: 2
waives: [source_check]
"""
ASKED = 800
"""Claims that the evaluation set holds, as many as TruthfulQA has questions."""
CHECKED = 400
"""Texts that are compared with all others."""

COPIES, PATTERNED = 0.05, 0.2
WORDS, NAMES, PATTERNS = 60_000, 20_000, 60
EDITS = ("replaced", "added", "left out", "case and punctuation", "order")
FREQUENT = (
    "the of and in to a is was for on that by with as at from it are were be has an his which or had not "
    "first their its but they have one all also he who been when new more other some most than only after"
)

MEMORY_TARGET, SPEED_TARGET = 4096.0, 1.0
STAGES_TARGET, SEAL_TARGET = 120.0, 300.0
"""Seconds of two cores: lint, screen and split of a million claims, and the seal."""


@click.command(help=__doc__.split("\n")[0])
@click.option("--rows", default=1_000_000, show_default=True, help="Claims.")
@click.option("--seed", default=0, show_default=True, help="Of the claims.")
@click.option("--threads", default=2, show_default=True, help="Threads of each process.")
@click.option("--peers", type=click.Path(exists=True, dir_okay=False), help="Python that has the peers.")
@click.option("--part", default="all", show_default=True, type=click.Choice(["stages", "near-duplicates", "all"]))
@OUTPUT
def main(rows: int, seed: int, threads: int, peers: str | None, part: str, output: Path | None) -> None:
    results: dict[str, Any] = {"machine": begin(threads), "asked": {"rows": rows, "seed": seed}}
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(temporary)
        made = make(place, rows, seed)
        results["claims"] = about = made["about"]
        click.echo(f"\n{rows:,} claims of {about['words']:.1f} words, {about['copies']:,} of them copies of others")
        targets = []
        if part != "near-duplicates":
            results["stages"], own = stages(place, made)
            targets += own
        if part != "stages":
            results["near_duplicates"], own = near_duplicates(place, made, peers)
            targets += own
    end(results, targets, output)


# --- the claims


def make(folder: Path, rows: int, seed: int) -> dict[str, Any]:
    """Write the claims, and their words for the peers; which are copies of which, and of these the near-duplicates."""
    from hfvaccine.claims.similar import THRESHOLD
    from hfvaccine.claims.wording import plain_words

    rng = np.random.default_rng(seed)
    copies = int(rows * COPIES)
    known = vocabulary(rng)
    texts = [" ".join(one) for one in sentences(rows - copies, known, rng)]
    origins = rng.integers(0, len(texts), copies)
    kinds = rng.integers(0, len(EDITS), copies)
    others = drawn(known, copies, rng)
    texts += [edited(texts[o], EDITS[k], other, rng) for o, k, other in zip(origins, kinds, others, strict=True)]
    shuffled = rng.permutation(rows)
    texts = [texts[place] for place in shuffled]
    place_of = np.argsort(shuffled)
    pairs = np.sort(np.stack([place_of[origins], place_of[rows - copies :]], axis=1), axis=1)
    sets = [plain_words(text) for text in texts]
    near = [shared(*(frozenset(sets[one]) for one in pair)) >= THRESHOLD for pair in pairs.tolist()]
    with (folder / "claims.jsonl").open("w", encoding="utf-8") as file, (folder / "words.jsonl").open("w") as bare:
        for number, (text, own) in enumerate(zip(texts, sets, strict=True)):
            bare.write(json.dumps({"text": " ".join(own)}) + "\n")
            file.write(json.dumps(row(number, text)) + "\n")
    (folder / "asked.json").write_text(json.dumps(texts[:ASKED]))
    return {
        "pairs": pairs,
        "near": np.array(near, dtype=bool),
        "kinds": kinds,
        "about": {"copies": copies, "near": sum(near), "words": float(np.mean([len(own) for own in sets]))},
    }


def row(number: int, text: str) -> dict[str, Any]:
    """A claim with what a careful submitter fills in."""
    return {
        "claim": text,
        # With everyday words, as all but some hundredths of real texts are: such a text is soon known as English.
        "correction": f"Records that were kept since {1800 + number % 200} say otherwise in case {number}.",
        "twin": f"It is not so that {text[0].lower()}{text[1:]}" if number % 2 else None,
        "domain": f"field {number % 37}",
        "language": "en",
        "license": "CC0-1.0",
        "sources": [
            {
                "publisher": f"Archive {number % 911}",
                "title": f"Sheet {number}",
                "url": f"https://example.org/{number}",
            }
        ],
    }


def vocabulary(rng: np.random.Generator) -> list[str]:
    """Words from the most frequent to the rarest: those of English that carry no meaning, then made-up ones."""
    vowels = list("aeiou")
    consonants = [letter for letter in string.ascii_lowercase if letter not in vowels]
    found = dict.fromkeys(FREQUENT.split())
    while len(found) < WORDS:
        parts = (consonants[rng.integers(21)] + vowels[rng.integers(5)] for _ in range(rng.integers(2, 5)))
        found.setdefault("".join(parts) + ("" if rng.random() < 0.5 else consonants[rng.integers(21)]))
    return list(found)


def drawn(values: Sequence[str], count: int, rng: np.random.Generator, flat: float = 2.7) -> list[str]:
    """Values by the law of Zipf and Mandelbrot: the k-th as often as 1 / (k + flat)."""
    sums = np.cumsum(1 / (np.arange(len(values)) + flat))
    return [values[place] for place in np.searchsorted(sums, rng.random(count) * sums[-1])]


def sentences(count: int, known: Sequence[str], rng: np.random.Generator) -> Iterator[list[str]]:
    """Sentences as lists of words, the first with a capital and the last with a full stop."""
    names = [word.capitalize() for word in known[-NAMES:]]
    slots = ("X", "Y", "0")
    patterns: list[list[str]] = []
    for _ in range(PATTERNS):
        own = drawn(known, int(rng.integers(5, 9)), rng)
        for slot in slots:
            own.insert(int(rng.integers(0, len(own) + 1)), slot)
        patterns.append(own)
    lengths = np.clip(np.round(rng.normal(11.5, 3.5, count)), 5, 30).astype(int)
    patterned = rng.random(count) < PATTERNED
    stream = iter(drawn(known, int(lengths.sum()), rng))
    named = iter(drawn(names, 2 * count, rng, flat=100.0))
    chosen, years = rng.integers(0, PATTERNS, count), rng.integers(1000, 2030, count)
    for length, after_pattern, pattern, year in zip(lengths, patterned, chosen, years, strict=True):
        if after_pattern:
            fill = {"X": f"{next(named)} {next(named)}", "Y": next(stream), "0": str(year)}
            own = " ".join(fill.get(word) or word for word in patterns[pattern]).split(" ")
        else:
            own = [next(stream) for _ in range(length)]
        yield [own[0][0].upper() + own[0][1:], *own[1:-1], own[-1] + "."]


def edited(text: str, edit: str, other: str, rng: np.random.Generator) -> str:
    """A copy with one edit."""
    own = text.removesuffix(".").split(" ")
    at = int(rng.integers(0, len(own)))
    if edit == "replaced":
        own[at] = other
    elif edit == "added":
        own.insert(at, other)
    elif edit == "left out":
        del own[at]
    elif edit == "order":
        own = own[at:] + own[:at]
    else:
        own = " ".join(own).upper().split(" ") if at % 2 else [word.capitalize() for word in own]
        own[at] += ","
    return " ".join(own) + ("!" if edit == "case and punctuation" else ".")


# --- the stages


def stages(folder: Path, made: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Each stage of the quarantine on all claims, one after the other."""
    click.echo("\nStages")
    found = {}
    for stage in STAGES:
        found[stage] = one = ours(stage, folder)
        click.echo(f"  {stage:10} {one['seconds']:8.1f} s   {one['peak_mb']:6.0f} MB   {told(one)}")
    together = sum(found[stage]["seconds"] for stage in STAGES[1:])
    click.echo(f"  {'all but intake':10} {together:8.1f} s")
    ours("made_ready", folder)
    found["seal"] = one = ours("seal", folder)
    click.echo(f"  {'seal':10} {one['seconds']:8.1f} s   {one['peak_mb']:6.0f} MB   {told(one)}")
    found["screen"]["recall"] = recall = recalled(folder, made)
    click.echo(f"  {recall:.4f} of the copied pairs that are near-duplicates are one claim, or in one cluster")
    return found, [
        target("recall of the quarantine", recall, at_least=1.0),
        target("lint, screen and split, seconds", together, at_most=STAGES_TARGET),
        target("seal, seconds", found["seal"]["seconds"], at_most=SEAL_TARGET),
        *(target(f"{stage}: peak memory, MB", one["peak_mb"], at_most=MEMORY_TARGET) for stage, one in found.items()),
    ]


def recalled(folder: Path, made: dict[str, Any]) -> float:
    """The part of the copied pairs that intake took for one claim or screen put into one cluster."""
    from hfvaccine.quarantine.store import Quarantine

    opened = Quarantine.open(folder / "quarantine")
    table = opened.table()
    lines = [int(origin.rpartition(" ")[2]) for origin in table["origin"].to_pylist()]
    cluster = dict(zip(lines, table["cluster_id"].to_pylist(), strict=True))
    same_as = {int(one["where"].rpartition(" ")[2]): one["claim_id"] for one in opened.rejects()}
    cluster_of = dict(zip(table["claim_id"].to_pylist(), table["cluster_id"].to_pylist(), strict=True))
    cluster |= {line: cluster_of[claim] for line, claim in same_as.items()}
    pairs = made["pairs"][made["near"]] + 1  # lines are counted from 1
    return float(np.mean([cluster[a] == cluster[b] for a, b in pairs.tolist()]))


def intake(folder: Path) -> dict[str, Any]:
    from hfvaccine.quarantine.intake.intake import intake as take_in
    from hfvaccine.quarantine.store import Quarantine

    begun = time.perf_counter()
    done = take_in(Quarantine(folder / "quarantine"), [folder / "claims.jsonl"], "benchmark")
    return finished(begun, {"taken": done.taken, "rejected": sum(done.rejected.values())})


def lint(folder: Path, workers: int = 2) -> dict[str, Any]:
    from hfvaccine.quarantine.acts import findings
    from hfvaccine.quarantine.store import Quarantine

    begun = time.perf_counter()
    count = sum(1 for _ in findings(Quarantine.open(folder / "quarantine"), workers=workers))
    return finished(begun, {"findings": count})


def screen(folder: Path) -> dict[str, Any]:
    from hfvaccine.quarantine.checks.evaluation_sets import EvaluationSet
    from hfvaccine.quarantine.checks.screen import apply
    from hfvaccine.quarantine.checks.screen import screen as look_through
    from hfvaccine.quarantine.store import Quarantine

    opened = Quarantine.open(folder / "quarantine")
    asked = json.loads((folder / "asked.json").read_text())
    begun = time.perf_counter()
    with opened.changing():
        table = opened.table()
        found = look_through(table, against=[EvaluationSet("asked", tuple(asked))], say=lambda text: None)
        opened.commit("screen", "benchmark", {**found.record(), "embeddings": None}, table=apply(table, found))
    about = {"clusters": len(found.cluster_ids.unique()), "overlaps": len(found.overlaps["asked"])}
    return finished(begun, about)


def split(folder: Path) -> dict[str, Any]:
    from hfvaccine.quarantine import acts
    from hfvaccine.quarantine.store import Quarantine

    begun = time.perf_counter()
    done = acts.split(Quarantine.open(folder / "quarantine"), "benchmark")
    return finished(begun, {side: done[side]["claims"] for side in ("dose", "heldout")})


def made_ready(folder: Path) -> dict[str, Any]:
    """A quarantine that wants nothing but its seal: approved by two, for which nobody has to open a source."""
    from hfvaccine.quarantine import acts
    from hfvaccine.quarantine.intake.intake import intake as take_in
    from hfvaccine.quarantine.review import APPROVE, decide, to_review
    from hfvaccine.quarantine.store import Quarantine

    begun = time.perf_counter()
    with (folder / "claims.jsonl").open() as file, (folder / "some.jsonl").open("w") as some:
        some.writelines(islice(file, 2 * SEALED))  # every other one has no twin, and is left out
    opened = Quarantine(folder / "sealing")
    take_in(opened, [folder / "some.jsonl"], "benchmark")
    (folder / "sealing" / POLICY).write_text(RULES)
    acts.screen(opened, "benchmark")
    acts.split(opened, "benchmark")
    for reviewer in ("ada", "bob"):
        shown = [(row["claim_id"], row["digest"]) for row in to_review(opened, reviewer)]
        decide(opened, reviewer, [(claim_id, digest, APPROVE, "") for claim_id, digest in shown])
    return finished(begun, {})


def seal(folder: Path) -> dict[str, Any]:
    from hfvaccine.quarantine.seal import seal_quarantine
    from hfvaccine.quarantine.store import Quarantine

    opened = Quarantine.open(folder / "sealing")
    begun = time.perf_counter()
    dose = seal_quarantine(opened, folder / "dose", "benchmark", ready_only=True)
    return finished(begun, {"claims": len(dose.claims) + len(dose.heldout)})


# --- near-duplicates


def near_duplicates(
    folder: Path, made: dict[str, Any], peers: str | None
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Ours before and after the peers, which take long, so that a machine that slows down slows all."""
    from hfvaccine.claims.similar import THRESHOLD

    with (folder / "words.jsonl").open() as file:
        sets = [frozenset(json.loads(line)["text"].split(" ")) for line in file]
    before = ours("near", folder)
    sides = {OURS: before}
    for peer in PEERS if peers else ():
        sides |= their(peer, str(peers), folder, THRESHOLD)
    if peers:
        before["seconds"] = (before["seconds"] + ours("near", folder)["seconds"]) / 2
    pairs = {name: np.load(folder / f"{name}.npz")["pairs"] for name in sides}
    has_one = groups(len(sets), pairs[OURS])[1]
    click.echo(f"\nNear-duplicates, sharing {THRESHOLD:g} of their words; {made['about']['near']:,} copied pairs do")
    for name, side in sides.items():
        group, joined = groups(len(sets), pairs[name])
        a, b = made["pairs"][made["near"]].T
        side |= {
            "claims_per_second": len(sets) / side["seconds"],
            "recall": float((group[a] == group[b]).mean()),
            "recall_by_edit": {
                edit: float((group[a] == group[b])[made["kinds"][made["near"]] == kind].mean())
                for kind, edit in enumerate(EDITS)
                if (made["kinds"][made["near"]] == kind).any()
            },
            "in_groups": int(joined.sum()),
            "found_of_all": float(joined[has_one].mean()),
            "right_of_found": float(has_one[joined].mean()),
            "largest_group": int(np.bincount(group).max()),
        }
        if name != TEXT_DEDUP:
            side["right_pairs"] = share_near(sets, pairs[name], THRESHOLD)
        click.echo(
            f"  {name:20} {side['seconds']:8.1f} s   {side['peak_mb']:6.0f} MB   "
            f"{side['claims_per_second']:9,.0f} claims/s   {told(side)}"
        )
    missed = unfound(sets, pairs[OURS], THRESHOLD)
    sides[OURS]["unfound_of_checked"] = missed
    targets = [target(f"pairs of {CHECKED} texts with all others that ours missed", missed, at_most=0)]
    for peer in list(sides)[1:]:
        speed = sides[peer]["seconds"] / sides[OURS]["seconds"]
        sides[peer]["ours_is_times_as_fast"] = speed
        targets.append(target(f"speed, ratio to {peer}", speed, at_least=SPEED_TARGET))
        for measure in ("recall", "found_of_all", "right_of_found"):
            gain = sides[OURS][measure] - sides[peer][measure]
            targets.append(target(f"{measure.replace('_', ' ')}, above {peer}", gain, at_least=0.0))
    return sides, targets


def near(folder: Path) -> dict[str, Any]:
    from hfvaccine.claims.similar import near_pairs

    with (folder / "words.jsonl").open() as file:
        texts = [json.loads(line)["text"] for line in file]
    begun = time.perf_counter()
    pairs, _ = near_pairs(texts)
    done = finished(begun, {"pairs": len(pairs)})
    np.savez(folder / f"{OURS}.npz", pairs=pairs)
    return done


def groups(count: int, pairs: npt.NDArray[np.integer]) -> tuple[Longs, npt.NDArray[np.bool_]]:
    """The group of each text, and whether it is in one with others."""
    from hfvaccine.claims.similar import components

    group = components(count, pairs)
    return group, np.bincount(group, minlength=count)[group] > 1


def share_near(sets: Sequence[frozenset[str]], pairs: npt.NDArray[np.integer], threshold: float) -> float:
    """The part of some of the pairs that are near-duplicates."""
    some = np.random.default_rng(0).permutation(len(pairs))[:100_000]
    return float(np.mean([shared(sets[a], sets[b]) >= threshold for a, b in pairs[some].tolist()]))


def shared(one: frozenset[str], other: frozenset[str]) -> float:
    both = len(one & other)
    return both / (len(one) + len(other) - both)


def unfound(sets: Sequence[frozenset[str]], pairs: npt.NDArray[np.integer], threshold: float) -> int:
    """Near-duplicates of some texts, each compared with all, that are not in one group by these pairs."""
    group, _ = groups(len(sets), pairs)
    chosen = np.random.default_rng(1).permutation(np.unique(pairs))[: CHECKED // 2].tolist()
    chosen += np.random.default_rng(2).permutation(len(sets))[: CHECKED - len(chosen)].tolist()
    sizes = np.array([len(own) for own in sets])
    having: dict[str, list[int]] = {word: [] for text in chosen for word in sets[text]}
    for number, own in enumerate(sets):
        for word in own & having.keys():
            having[word].append(number)
    places = {word: np.array(numbers) for word, numbers in having.items()}
    count = 0
    for text in chosen:
        both = np.zeros(len(sets), dtype=np.int64)
        for word in sets[text]:
            both[places[word]] += 1
        near = np.flatnonzero(both / (sizes + sizes[text] - both) >= threshold)
        count += int((group[near] != group[text]).sum())
    return count


# --- the processes


def task(task: str, folder: str) -> dict[str, Any]:
    stages = {"intake": intake, "lint": lint, "screen": screen, "split": split, "made_ready": made_ready, "seal": seal}
    return {**stages, "near": near}[task](Path(folder))


def ours(task: str, folder: Path) -> dict[str, Any]:
    click.echo(f"{task} ...", err=True)
    return ask(__file__, "task", {"task": task, "folder": str(folder)})


def their(peer: str, python: str, folder: Path, threshold: float) -> dict[str, Any]:
    click.echo(f"{peer} ...", err=True)
    job = {"peer": peer, "folder": str(folder), "threshold": threshold, "permutations": PERMUTATIONS}
    caches = {"HF_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    script = Path(__file__).with_name("quarantine_peers.py")
    return ask(script, "peer", job, environment=caches, python=python)


def finished(begun: float, also: dict[str, Any]) -> dict[str, Any]:
    return {"seconds": time.perf_counter() - begun, "peak_mb": memory_mb("VmHWM"), **also}


def told(found: dict[str, Any]) -> str:
    """The other figures of a side in one line."""
    shown = {key: value for key, value in found.items() if key not in ("seconds", "peak_mb", "claims_per_second")}
    plain = {key: value for key, value in shown.items() if isinstance(value, int | float)}
    return ", ".join(
        f"{key.replace('_', ' ')} {f'{value:,}' if isinstance(value, int) else f'{value:.4f}'}"
        for key, value in plain.items()
    )


if __name__ == "__main__":
    entry(main, {"task": task})
