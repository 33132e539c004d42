"""What verdicts after the model's own recall cost beside verdicts at once, on the same claims.

    python benchmarks/recalled.py --claims 48 --output recalled.json

Both are asked of the starter's claims about claim and twin alike, in their reserved wordings; the recall is had
once for all of them. Each is timed in turn, so that a machine that slows down slows both. Nothing
else may run meanwhile. Exits with 1 where the target is missed.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click
from measuring import BASE, OUTPUT, begin, end, quickstart_base, target

from hfvaccine.claims.claim import read_jsonl
from hfvaccine.claims.reserved import VERDICT_PROBES
from hfvaccine.starter import CLAIMS
from hfvaccine.validation.asking.probes import RECALL_TOKENS, Battery, ProbeSet

MOST = 1.5


@click.command(help=__doc__.split("\n")[0])
@click.option("--claims", default=48, show_default=True, help="Claims to ask about.")
@click.option("--threads", default=2, show_default=True, help="Threads of torch.")
@click.option("--rounds", default=2, show_default=True, help="How often each is timed.")
@click.option("--cuda", is_flag=True, help="On the GPU, in bfloat16.")
@BASE
@OUTPUT
def main(claims: int, threads: int, rounds: int, cuda: bool, base: str | None, output: Path | None) -> None:
    about = begin(threads, cuda=cuda)
    import torch

    from hfvaccine.training.base import load_base
    from hfvaccine.validation.scoring.scorer import Scorer

    loaded = load_base(base or quickstart_base(), dtype="bfloat16" if cuda else "float32")
    model = loaded.model.to("cuda") if cuda else loaded.model
    scorer = Scorer(model, loaded.tokenizer)
    pairs = [claim for claim in read_jsonl(CLAIMS) if claim.twin and claim.question][:claims]
    battery = Battery((ProbeSet.of("asked", pairs),), adversarial=0)
    recalls = list(battery.recalls().values())
    said = scorer.answers(recalls, RECALL_TOKENS, first_line=True)  # the first forward passes are slow ones
    sheets = {"direct": requests(battery, None), "recalled": requests(battery, said)}
    spent: dict[str, list[float]] = {"direct": [], "recalls": [], "recalled": []}
    work = {}
    for _ in range(rounds):
        for name, sheet in sheets.items():
            begun = time.perf_counter()
            if name == "recalled":
                scorer.answers(recalls, RECALL_TOKENS, first_line=True)
                spent["recalls"].append(time.perf_counter() - begun)
            scorer.score(sheet)
            if cuda:
                torch.cuda.synchronize()
            spent[name].append(time.perf_counter() - begun)
            work[name] = scorer.work.computed
    seconds = {name: min(times) for name, times in spent.items()}
    tokens = sum(len(loaded.tokenizer(text)["input_ids"]) for text in said)
    click.echo(f"{len(pairs)} claims: at once {seconds['direct']:.1f} s and {work['direct']:,} tokens")
    click.echo(
        f"after recall {seconds['recalled']:.1f} s and {work['recalled']:,} tokens, of which the recalls "
        f"{seconds['recalls']:.1f} s and {tokens:,} tokens"
    )
    ratio = seconds["recalled"] / seconds["direct"]
    results = {"machine": about, "claims": len(pairs), "seconds": spent, "tokens": {**work, "recalls": tokens}}
    end(results, [target("after recall, beside at once", ratio, at_most=MOST)], output)


def requests(battery: Battery, said: list[str] | None) -> Any:
    """The requests of one of the two readings: those that come after a recall have several turns."""
    sheet = battery.requests(dict(zip(battery.recalls(), said or [""] * len(battery.recalls()), strict=True)))
    verdicts = {answer for probe in VERDICT_PROBES for answer in (*probe.accept, *probe.reject)}
    return [one for one in sheet if one.answer in verdicts and (len(one.prompt) > 1) == bool(said)]


if __name__ == "__main__":
    main()
