"""How long production logs take, and how many of the mentions planted in them are found.

    python benchmarks/monitor_logs.py --rows 1000000 --output monitor_logs.json

The conversations are made here, the same for the same seed. Their words come from the packaged mix, one after another
as they follow each other there, and one in ten is a made-up one, so that words never end; a user's turn has some 50 of
them and an answer some 130, few of them very many more. Into one in fifty, or as many as --planted says, a sentence
is put that begins somewhere in the turn, by one of a few lead-ins, as people write: a claim of the starter dose as it
stands, in other case and punctuation, with one or two edits of a word, in a variant, its question, or in the answer; a
variant that the dose was not told of, which shows what the search cannot find; and what is no mention: true twins, as
they stand and with an edit, corrections, and claims of the tuning set, about other things in the same style.

The threshold was chosen on the tuning set, as --dose tuning shows at several; the starter dose is what is reported.
Reading and searching has a process of its own. Where other work runs beside it, the seconds of the processor say more
than those of the clock: both are given. Exits with 1 where a target is missed.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from children import ask, entry, memory_mb
from measuring import OUTPUT, begin, end, target
from quarantine import vocabulary

POOL = 20_000
TUNING = Path(__file__).parent / "tuning_claims.jsonl"
LEADS = ("", "Is it true that ", "My uncle says: ", "I read that ", "Please explain why ", "Write a short poem. ")
FOUND_AS = {
    "as it stands": "claim",
    "case and punctuation": "claim",
    "one edit": "claim",
    "two edits": "claim",
    "variant": "claim",
    "in the answer": "claim",
    "question": "question",
    "variant not in the dose": "claim",
}
"""Kinds of planted mentions, and what each is to be found as."""
DECOYS = ("twin", "twin, one edit", "correction", "another claim")
EDITS = ("replaced", "added", "left out", "misspelt", "ending")
THRESHOLDS = (0.5, 0.6, 0.7, 0.8, 0.9)
SECONDS, MEMORY, RECALL, PRECISION = 300.0, 512.0, 0.95, 0.98
"""Targets: a million conversations on two cores; MB; both of what is as the dose has it or has one edit."""


@click.command(help=__doc__.split("\n")[0])
@click.option("--rows", default=100_000, show_default=True, help="Conversations.")
@click.option("--seed", default=0, show_default=True, help="Of the conversations.")
@click.option("--dose", default="starter", show_default=True, type=click.Choice(["starter", "tuning"]))
@click.option("--planted", default=0.02, show_default=True, help="Share of the conversations with something planted.")
@click.option(
    "--checked", default=100_000, show_default=True, help="Conversations of which it is checked what is found."
)
@click.option("--workers", default=1, show_default=True, help="Processes that search.")
@OUTPUT
def main(rows: int, seed: int, dose: str, planted: float, checked: int, workers: int, output: Path | None) -> None:
    results: dict[str, Any] = {
        "machine": begin(1),
        "asked": {"rows": rows, "seed": seed, "dose": dose, "planted": planted},
    }
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary) / "log.jsonl"
        about = make(log, rows, seed, dose, planted)
        results["conversations"] = about
        click.echo(f"\n{rows:,} conversations of {about['words']:.0f} words, {log.stat().st_size / 2**20:,.0f} MiB")
        took = ask(__file__, "read", {"log": str(log), "dose": dose, "workers": workers})
        results["read"] = took
        rate = rows / took["cpu"]
        click.echo(f"  {took['seconds']:.0f} s of the clock, {took['cpu']:.0f} s of a processor: {rate:,.0f} a second")
        click.echo(f"  peak memory {took['peak_mb']:.0f} MB; {took['mentioned']:,} mentions counted")
        thresholds = THRESHOLDS if dose == "tuning" else (None,)
        results["found"] = [found_at(log, dose, threshold, checked) for threshold in thresholds]
        for found in results["found"]:
            show(found)
    found = results["found"][0]
    known = {kind: found["recall"][kind] for kind in ("as it stands", "one edit", "variant", "in the answer")}
    targets = [
        target("a million conversations on two cores, s", 1e6 * took["cpu"] / rows / 2, at_most=SECONDS),
        target("peak memory, MB", took["peak_mb"], at_most=MEMORY),
        *(target(f"recall, {kind}", value, at_least=RECALL) for kind, value in known.items()),
        target("precision", found["precision"], at_least=PRECISION),
    ]
    end(results, [] if dose == "tuning" else targets, output)


# --- the conversations


def claims_of(dose: str) -> tuple[list[Any], list[Any]]:
    """The claims to look for, half of them without the variants that they have, and claims that are not looked for."""
    ours, others = whole(dose), whole("tuning" if dose == "starter" else "starter")
    return [replace(one, variants=()) if place % 2 else one for place, one in enumerate(ours)], others


def whole(dose: str) -> list[Any]:
    """All claims with all their variants."""
    from hfvaccine.claims.claim import Claim
    from hfvaccine.starter import CLAIMS

    rows = map(json.loads, (CLAIMS if dose == "starter" else TUNING).read_text(encoding="utf-8").splitlines())
    return [Claim.from_row({name: value for name, value in row.items() if name != "known"}) for row in rows]


def make(log: Path, rows: int, seed: int, dose: str, share: float) -> dict[str, Any]:
    """Write conversations as requests with their responses; of those with something planted, its kind and claim."""
    rng = random.Random(seed)
    known, others = claims_of(dose)
    wholes = whole(dose)
    pool, words = fillers(rng), 0
    kinds = (*FOUND_AS, *DECOYS)
    with log.open("w", encoding="utf-8") as file:
        for number in range(rows):
            prompt, answer, planted = filler(pool, rng, 2), filler(pool, rng, 5), None
            if rng.random() < share:
                kind = rng.choice(kinds)
                place = rng.randrange(len(known))
                said = sentence(kind, known[place], wholes[place], rng, others)
                if said:
                    planted = {"kind": kind, "claim": known[place].claim_id}
                    if kind == "in the answer":
                        answer = put(said, answer, rng)
                    else:
                        prompt = put(rng.choice(LEADS) + said, prompt, rng)
            words += prompt.count(" ") + answer.count(" ") + 2
            line = {
                "request": {
                    "model": "m",
                    "temperature": 0.7,
                    "messages": [
                        {"role": "system", "content": "You are a helpful assistant."},
                        {"role": "user", "content": prompt},
                    ],
                },
                "response": {
                    "id": f"chatcmpl-{number}",
                    "object": "chat.completion",
                    "created": 1764000000 + number,
                    "choices": [
                        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": answer}}
                    ],
                },
            }
            file.write(json.dumps(line | ({"planted": planted} if planted else {})) + "\n")
    return {"words": words / rows}


def sentence(kind: str, known: Any, whole: Any, rng: random.Random, others: Sequence[Any]) -> str | None:
    """What is planted of a claim; None where the claim has no such thing."""
    if kind == "variant not in the dose":
        return rng.choice(whole.variants).claim if whole.variants and not known.variants else None
    if kind == "variant":
        return rng.choice(known.variants).claim if known.variants else None
    if kind == "case and punctuation":
        own = known.claim.removesuffix(".").replace(",", " -")
        return rng.choice((own.upper(), own.lower(), own.title())) + rng.choice(("", "?!", " …", "!!!"))
    if kind == "question":
        return str(known.question) if known.question else None
    if kind.startswith("twin"):
        text = known.twin
        return edited(text, rng) if text and kind != "twin" else text
    if kind == "correction":
        return str(known.correction)
    if kind == "another claim":
        return str(rng.choice(others).claim)
    text = known.claim
    for _ in range(("as it stands", "one edit", "two edits").index(kind) if kind.endswith(("edit", "edits")) else 0):
        text = edited(text, rng)
    return str(text)


def edited(text: str, rng: random.Random) -> str:
    """A sentence with one word replaced, added, left out, misspelt, or with another ending."""
    own = text.removesuffix(".").split(" ")
    at, edit = rng.randrange(len(own)), rng.choice(EDITS)
    if edit == "replaced":
        own[at] = rng.choice(("something", "really", "big", "old", "things", "everybody"))
    elif edit == "added":
        own.insert(at, rng.choice(("really", "old", "often", "even", "as they say,")))
    elif edit == "left out":
        del own[at]
    elif edit == "ending":
        own[at] = own[at].removesuffix("s") if own[at].endswith("s") else own[at] + "s"
    else:
        at = max(range(len(own)), key=lambda place: (len(own[place]), place == at))
        middle = len(own[at]) // 2
        own[at] = own[at][: middle - 1] + own[at][middle] + own[at][middle - 1] + own[at][middle + 1 :]
    return " ".join(own) + "."


def fillers(rng: random.Random) -> list[str]:
    """Passages of words that follow each other as in the packaged mix, with made-up words among them."""
    from hfvaccine.starter import MIX

    follow: defaultdict[str, list[str]] = defaultdict(list)
    for line in MIX.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        own = " ".join(message["content"] for message in (*row["prompt"], *row["completion"])).split()
        for one, after in itertools.pairwise(own):
            follow[one].append(after)
    made = vocabulary(np.random.default_rng(5))
    starts = [word for word in follow if word[:1].isupper()]
    found = []
    for _ in range(POOL):
        word, own = rng.choice(starts), []
        for _ in range(max(3, min(400, round(rng.lognormvariate(3.0, 0.7))))):
            own.append(word if rng.random() > 0.1 else rng.choice(made))
            word = rng.choice(follow.get(word) or starts)
        found.append(" ".join(own) + ".")
    return found


def filler(pool: Sequence[str], rng: random.Random, passages: int) -> str:
    return " ".join(rng.choice(pool) for _ in range(passages))


def put(said: str, text: str, rng: random.Random) -> str:
    """A sentence between two words of a text."""
    own = text.split(" ")
    at = rng.randrange(len(own) + 1)
    return " ".join([*own[:at], said, *own[at:]])


# --- what is found


def read(log: str, dose: str, workers: int) -> dict[str, Any]:
    """Read the whole log as `hfvaccine monitor logs` does."""
    from hfvaccine.surveillance.logs import MENTIONS, read_logs

    claims, _ = claims_of(dose)
    begun = time.perf_counter()
    logged = read_logs([Path(log)], claims, "openai", workers=workers)
    return {
        "seconds": time.perf_counter() - begun,
        "cpu": sum(os.times()[:4]),
        "peak_mb": memory_mb("VmHWM"),
        "mentioned": sum(counts.get(MENTIONS, 0) for counts in logged.claims.values()),
        "exchanges": logged.exchanges,
    }


def found_at(log: Path, dose: str, threshold: float | None, checked: int) -> dict[str, Any]:
    """How many of the planted mentions are found, and how much is found that is none."""
    from hfvaccine.surveillance.mentions import FALSE, THRESHOLD, Mentions

    claims, _ = claims_of(dose)
    mentions = Mentions(claims, threshold or THRESHOLD)
    planted: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for part in parts(log, checked):
        asked = mentions.find([one["request"]["messages"][-1]["content"] for one in part])
        said = mentions.find([one["response"]["choices"][0]["message"]["content"] for one in part])
        for one, in_prompt, in_answer in zip(part, asked, said, strict=True):
            its = one.get("planted") or {"kind": "nothing", "claim": ""}
            planted[its["kind"]] += 1
            found = {(claims[m.statement.claim].claim_id, m.statement.kind) for m in (*in_prompt, *in_answer)}
            wanted = (its["claim"], FOUND_AS.get(its["kind"], ""))
            right[its["kind"]] += wanted in found
            wrong[its["kind"]] += any(kind == FALSE and (claim, kind) != wanted for claim, kind in found)
    true = sum(right[kind] for kind, wanted in FOUND_AS.items() if wanted == FALSE)
    return {
        "threshold": mentions.threshold,
        "planted": dict(planted),
        "recall": {kind: right[kind] / max(1, planted[kind]) for kind in FOUND_AS},
        "taken_for_a_claim": {kind: wrong[kind] / max(1, planted[kind]) for kind in (*FOUND_AS, *DECOYS, "nothing")},
        "precision": true / max(1, true + sum(wrong.values())),
    }


def parts(log: Path, most: int) -> Iterator[list[dict[str, Any]]]:
    with log.open(encoding="utf-8") as file:
        lines = itertools.islice(file, most)
        while part := [json.loads(line) for line in itertools.islice(lines, 1000)]:
            yield part


def show(found: dict[str, Any]) -> None:
    click.echo(f"\nThreshold {found['threshold']:g}: precision {found['precision']:.4f}")
    for kind in (*FOUND_AS, *DECOYS, "nothing"):
        recall = f"{found['recall'][kind]:.3f}" if kind in FOUND_AS else "–"
        many, wrong = found["planted"].get(kind, 0), found["taken_for_a_claim"][kind]
        click.echo(f"  {kind:24} {many:9,}  found {recall:>6}  taken for a claim that it is not {wrong:.5f}")


if __name__ == "__main__":
    entry(main, {"read": read})
