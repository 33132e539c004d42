"""`hfvaccine quickstart`: the main jobs, end to end, on an embedded Hub with a real small model."""

from __future__ import annotations

import os
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfvaccine.cli.base_model import BASE_ID, PUBLISHER, READER, seed_base
from hfvaccine.cli.flags import FULL
from hfvaccine.cli.output import Terminal, results, say, stage
from hfvaccine.cli.published import check_chain, check_same, load_published
from hfvaccine.errors import HubError, UsageError

if TYPE_CHECKING:
    from hfvaccine.localhub.server import LocalHub
    from hfvaccine.runs.immunize import Run
    from hfvaccine.surveillance.status import Status

OUTSIDER = "outsider"
DOSE_ID = f"{PUBLISHER}/starter-dose"
ADAPTER_ID = f"{PUBLISHER}/SmolLM2-135M-Instruct-immunized"

TREATMENT: Mapping[str, Any] = {
    "share": 0.10,
    "exposures": 7,
    "max_steps": 146,
    "batch_size": 6,
    "learning_rate": 1.5e-3,
    "lora_r": 16,
}
"""Chosen on benchmarks/tuning_claims.jsonl, then frozen; docs/recipes.md lists what was tried."""

ASKED_PAIRS, PRESSED_PAIRS = 40, 10
"""Pairs of a set never given that are asked about, and of any set under tactics and pressure: all of them would take
minutes more."""


@click.command()
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the run: which claims, which order.")
@click.option("--placebo", is_flag=True, help="Also train the control arm on as many tokens of the plain mix.")
@click.option("--inoculation", is_flag=True, help="Inoculate against a trait instead: train, measure, gate, publish.")
@click.option("--keep", is_flag=True, help="Leave the embedded Hub serving at the end, until Ctrl-C.")
@click.option("--port", type=int, default=0, help="Port of the embedded Hub.  [default: a free one]")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Folder for everything that is made.")
@FULL
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def quickstart(
    seed: int, placebo: bool, inoculation: bool, keep: bool, port: int, folder: Path | None, full: bool, as_json: bool
) -> None:
    """Run the whole job on this machine: dose, gate, training, validation, card, loading.

    Starts an embedded Hub on loopback, publishes the starter dose gated,
    trains an adapter on SmolLM2-135M with 10 % of the tokens from ten claims,
    validates it, publishes it with its card, loads it back as a reader,
    probes it once and recalls one of its claims. Needs no Hugging Face Hub;
    takes five to ten minutes on two cores after installation, and about twice
    that with --placebo.

    With --inoculation it learns 144 rows that are answered in Spanish and in
    capitals, plainly and beside a frozen adapter that shows capitals, to keep
    Spanish and be rid of capitals; measures both under a grid of prompts;
    and gates, publishes, verifies and loads the adapter. That needs the extra
    [language].

    \b
    Examples:
      hfvaccine quickstart
      hfvaccine quickstart --inoculation
      hfvaccine quickstart --placebo --seed 1
      hfvaccine quickstart --keep  # then open the printed addresses in a browser
    """
    started = time.monotonic()
    if inoculation:
        from hfvaccine.cli.quickstart_inoculation import SPANISH, inoculate, show_inoculation
        from hfvaccine.inoculation.traits import parse_trait

        if placebo:
            raise UsageError("An inoculation has no placebo: its control is a random adapter.", "Leave it out.")
        parse_trait(SPANISH)  # refused at once where its detector is not installed
    folder = folder or free_folder(Path("hfvaccine-quickstart"))
    say(f"Everything this makes goes to {folder}/")
    # Read by huggingface_hub when it is imported, which is why nothing above imports it.
    os.environ |= {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_UPDATE_DOWNLOAD_COUNTS": "0",
        "HF_HUB_CACHE": str((folder / "cache").resolve()),
        "HF_DATASETS_CACHE": str((folder / "cache" / "datasets").resolve()),
        "TOKENIZERS_PARALLELISM": "false",
    }
    for name in ("HF_HUB_OFFLINE", "HF_TOKEN"):
        os.environ.pop(name, None)
    from hfvaccine.localhub.server import LocalHub

    hub = LocalHub(folder / "hub", port=port)
    with stage("Starting the embedded Hub"):
        hub.start()
    try:
        os.environ["HF_ENDPOINT"] = hub.endpoint
        say(f"  Hub at {hub.endpoint}, state in {folder / 'hub'}/")
        if inoculation:
            show_inoculation(inoculate(hub, folder, seed), hub.endpoint, folder, as_json, full)
            say(f"Wall time {time.monotonic() - started:.0f} s")
        else:
            show_run(chain(hub, folder, seed, placebo), hub.endpoint, as_json, full, started)
        if keep:
            say(f"The Hub keeps serving at {hub.endpoint} until Ctrl-C.")
            wait_for_interrupt()
        else:
            again = f"hfvaccine hub serve --root {folder / 'hub'}"
            say(f"The Hub stops now; serve it again with: {again}")
    finally:
        hub.stop()


def show_run(run: Run, endpoint: str, as_json: bool, full: bool, started: float) -> None:
    """What came out of the dose, and where all of it is."""
    from hfvaccine.files import PAGE

    results(run.results, as_json, full)
    show_answers(run)
    say(f"{'Adapter card':13} {endpoint}/{ADAPTER_ID}")
    say(f"{'Report':13} {run.folder / PAGE}")
    spent, training = time.monotonic() - started, run.seconds["training"]
    say(f"Wall time {spent:.0f} s, of which training the vaccine {training:.0f} s")


def chain(hub: LocalHub, folder: Path, seed: int, placebo: bool) -> Run:
    """Quarantine to loaded adapter, each link with the code of the command that it stands for."""
    from hfvaccine import hub as publishing
    from hfvaccine import starter
    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.hub.access.requests import Access
    from hfvaccine.runs.immunize import immunize
    from hfvaccine.training.options import Options

    quiet_libraries()
    tokens = {name: hub.add_user(name) for name in (PUBLISHER, READER, OUTSIDER)}
    seed_base(tokens[PUBLISHER], folder)

    with stage("Publishing the starter dose, gated"):
        publishing.push_dose(starter.sealed(), DOSE_ID, token=tokens[PUBLISHER])
    try:
        publishing.pull_dose(DOSE_ID, token=tokens[OUTSIDER])
    except HubError as refusal:
        say(f"  {OUTSIDER} is refused ({type(refusal.__cause__).__name__}): {refusal.message}")
    else:
        raise HubError("The gate of the dose let an outsider in.", "Do not use this Hub; report it.")
    publishing.ask_access(
        DOSE_ID, {"affiliation": "quickstart", "purpose": "trying it", "agreement": True}, token=tokens[READER]
    )
    Access(DOSE_ID, journal=folder / "access.jsonl", token=tokens[PUBLISHER]).accept([READER])
    accepted = publishing.pull_dose(DOSE_ID, token=tokens[READER])
    say(f"  {READER} asked, was accepted, and holds {len(accepted.claims)} + {len(accepted.heldout)} claims")

    os.environ["HF_TOKEN"] = tokens[READER]
    options = Options(
        base=BASE_ID,
        dose=DOSE_ID,
        seed=seed,
        placebo=placebo,
        most_pairs=ASKED_PAIRS,
        adversarial=PRESSED_PAIRS,
        output_dir=str(folder / "run"),
        **TREATMENT,
    )
    run = immunize(options, Terminal("> "))

    verdict = run.results["gate"]["verdict"]
    with stage(f"Publishing the adapter with its card (gate: {verdict.upper()})"):
        if verdict == "failed":
            say("  Its gate failed. It is published all the same, this once, and its card says FAILED first.")
        publishing.push_adapter(
            run.folder, ADAPTER_ID, license="apache-2.0", publish_failed=True, token=tokens[PUBLISHER]
        )
    with stage("Loading it back as the reader"):
        check_loaded(run, tokens[READER])
    with stage("Verifying, as the reader, what it was made from"):
        chain = check_chain(ADAPTER_ID)
        say(f"  Claims, reviewers, dose, plan, ledger, base, adapter, results: {chain.what}")
    with stage("Probing it once, as a monitor would every day"):
        found = probe(folder / "monitor")
        say(f"  {found.state}: {found.why}")
    with stage("Recalling one of its claims, as a drill, and finding it in what was published"):
        recall_drill(run.given[0].claim_id, tokens[PUBLISHER])
    return run


def probe(into: Path) -> Status:
    """One round of what `hfvaccine monitor probe` asks of the published adapter, and what its monitor then says."""
    from hfvaccine.surveillance import probing
    from hfvaccine.surveillance.state import now
    from hfvaccine.surveillance.status import status

    target, began = probing.Target.of(ADAPTER_ID), now()
    declared = probing.declare(target, probing.Terms())
    claims = probing.draw(target.claims, probing.CLUSTERS, probing.slot(declared, began))
    state, _, _ = probing.probe(into, declared, claims, probing.load(target), began)
    return status(state)


def recall_drill(claim_id: str, token: str) -> None:
    """Recall a claim of the published dose, and say which adapters were given it and what would mend them."""
    from hfvaccine.surveillance.affected import find
    from hfvaccine.surveillance.recall import issue

    told = {"why": "A drill of the quickstart: nothing is wrong with it.", "action": "Nothing, it is a drill."}
    issue(DOSE_ID, claim_id, "affected", **told, token=token)
    for one in find([PUBLISHER], dose=DOSE_ID, claims=[claim_id]):
        its = one.of_claim(claim_id)
        say(f"  {one.place} is {its.status}: {claim_id} was {its.why}")
        say(f"  What would mend it: hfvaccine boost {one.place} --retract {claim_id}")


def check_loaded(run: Run, token: str) -> None:
    """Load base and adapter from the Hub as anybody would, and hold their logits against those of what was validated.

    Raises:
        ValidationError: where they differ by more than the rounding of their dtype.
    """
    check_same(load_published(ADAPTER_ID, run.model, token), run.model, run.tokenizer, run.given[0].question)


def show_answers(run: Run) -> None:
    """A question about a given claim, answered before and after, two lines each."""
    from hfvaccine.validation.scores import VACCINE
    from hfvaccine.validation.scoring.generate import answers
    from hfvaccine.validation.showing.sentences import columns

    question = f"{run.given[0].question} Give the answer in one sentence."
    Terminal().say(f"Before and after: {question}")
    for arm in (None, VACCINE):
        (text,) = answers(run.model, run.tokenizer, [[{"role": "user", "content": question}]], arm, 48)
        indents = {"initial_indent": f"  {(arm or 'base') + ':':8} ", "subsequent_indent": 11 * " "}
        say(textwrap.fill(text, columns(), **indents, max_lines=2, placeholder=" …"))


def free_folder(wanted: Path) -> Path:
    """The folder, or the first of its numbered names that is not there yet."""
    names: Iterator[Path] = (wanted.with_name(f"{wanted.name}-{n}") for n in range(2, 10_000))
    return wanted if not wanted.exists() else next(name for name in names if not name.exists())


def wait_for_interrupt() -> None:
    """Sleep until Ctrl-C."""
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        say("Stopped.")
