"""An adapter merged into its base: a model that loads without peft, with the adapter's papers."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfvaccine.errors import ModelError, UsageError
from hfvaccine.files import ADAPTER, ADAPTER_CONFIG, CARD, CONFIG, MERGED, RECALLS, present, whole_folder, write_json
from hfvaccine.papers import card as adapter_card
from hfvaccine.papers import inoculation_card
from hfvaccine.papers.binding import OWN, open_run, read_json
from hfvaccine.papers.kind import IMMUNIZED, Kind, kind_in
from hfvaccine.papers.record import bound
from hfvaccine.sources.place import Source
from hfvaccine.training.base import check_base, load_base
from hfvaccine.training.options import Inoculating, Options, read_config
from hfvaccine.training.progress import SILENT, Progress

TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "bfloat16": 5e-2}
"""How far a logit of the merged model may lie from the adapter's, as a part of the largest one, by the dtype in which
it is saved: the dtypes round each weight by 2^-24, 2^-11 and 2^-8 of it, and rounding adds up over the layers."""
SEQUENCES, TOKENS = 4, 32
"""Of the tokens on which the two are compared."""


@dataclass(frozen=True)
class Merged:
    """A merged model.

    Args:
        folder: where it is.
        dtype: in which it is saved, the base's own.
        difference: between its logits and the adapter's, the largest one, as a part of the largest logit.
        tolerance: what was allowed.
    """

    folder: Path
    dtype: str
    difference: float
    tolerance: float


def merge(run_dir: Path | str, output_dir: Path | str, base: str | None = None, progress: Progress = SILENT) -> Merged:
    """Merge the adapter of a finished run into its base, and save the model with the run's papers.

    The folder is whole or not there. Its record names the adapter by its digests and binds the new files;
    `hub.push_adapter` takes it as it takes a run folder.

    Args:
        run_dir: the run folder, that of one adapter of an inoculation, or a copy of an adapter's repo.
        output_dir: a folder that is not there yet.
        base: Hub id or `ID@REVISION`, folder or .gguf file of the base; by default what the run was given.
        progress: told of each stage.

    Raises:
        LineageError: where the run's files are not those that its record binds.
        ModelError: for another base than the adapter's, or a model that does not answer as the adapter does.
        UsageError: where the output folder holds something.
    """
    run, into = Path(run_dir), Path(output_dir)
    if into.exists() and not (into.is_dir() and not any(into.iterdir())):
        raise UsageError(f"{into} is there already.", "Choose a folder that is not.")
    kind, record = kind_in(run), open_run(run, whole=True)
    results = read_json(run, kind.results) if kind.results in record["files"] else {}
    options = read_config(run / CONFIG, Options if kind is IMMUNIZED else Inoculating)
    render = adapter_card.render if kind is IMMUNIZED else inoculation_card.render
    given = Source.of("base", base) if base else Source.of("base", options["base"], options.get("base_revision"))
    progress.say(f"Base: {given.name}")
    # Computed in float32 throughout, so that what is seen is the merging and the rounding, and no hardware's own.
    loaded = load_base(given.name, options.get("base_id"), given.revision, "float32")
    check_base(record["base"], loaded)
    dtype = _saved_dtype(given.name, loaded.revision) or record["training"]["dtype"] or "float32"
    if dtype not in TOLERANCES:
        raise ModelError(f"The base is saved in {dtype}.", f"Give one in {', '.join(TOLERANCES)}.")
    with whole_folder(into) as staging:
        progress.say(f"Merging, and saving in {dtype}")
        expected = _merge(loaded.model, run, staging, dtype, record["base"]["id"])
        progress.say("Comparing it with the adapter")
        difference = _difference(expected, staging, loaded.model.device)
        if not difference <= TOLERANCES[dtype]:
            raise ModelError(
                f"The merged model's logits differ from the adapter's by {difference:.2g} of the largest; "
                f"{TOLERANCES[dtype]:g} is allowed in {dtype}.",
                "Use the adapter itself: its weights do not survive this base's precision.",
            )
        _copy_papers(run, staging, kind)
        record["training"] = record["training"] | {
            "merged": {
                "adapter_sha256": record["files"][ADAPTER],
                "adapter_config_sha256": record["files"][ADAPTER_CONFIG],
                "record_sha256": record[OWN],
                "dtype": dtype,
                "difference": difference,
                "tolerance": TOLERANCES[dtype],
            }
        }
        card = render(record, results, None, figures=tuple(present(staging, kind.published)))
        (staging / CARD).write_text(card, encoding="utf-8")
        write_json(bound(record, staging, kind), staging / kind.record)
        staging.chmod(0o755)
    return Merged(into, dtype, difference, TOLERANCES[dtype])


def _saved_dtype(base: str, revision: str | None) -> str | None:
    """The dtype of a base's own weights; None for GGUF, which has none that a model could be saved in."""
    from transformers import AutoConfig

    if base.endswith(".gguf"):
        return None
    dtype = AutoConfig.from_pretrained(base, **({"revision": revision} if revision else {})).dtype
    return str(dtype).removeprefix("torch.") if dtype is not None else None


def _merge(model: Any, run: Path, folder: Path, dtype: str, base_id: str) -> Any:
    """Save base and adapter as one model; returns the logits of the adapter on its base."""
    import torch
    from peft import PeftModel

    adapted = PeftModel.from_pretrained(model, str(run)).eval()
    expected = _logits(adapted)
    merged = adapted.merge_and_unload(safe_merge=True).to(getattr(torch, dtype))
    merged.config._name_or_path = base_id  # instead of a folder of this machine
    merged.save_pretrained(str(folder))
    return expected


def _difference(expected: Any, folder: Path, device: Any) -> float:
    """How far the saved model's logits lie from those that are expected, as a part of the largest one."""
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).to(device).eval()
    distance = (_logits(model) - expected).abs().max() / expected.abs().max().clamp(min=1e-9)
    return float(f"{float(distance):.3g}")


def _logits(model: Any) -> Any:
    import torch

    # Tokens from all over the vocabulary, the same ones each time.
    ids = torch.arange(SEQUENCES * TOKENS).reshape(SEQUENCES, TOKENS) * 7919 % model.config.vocab_size
    with torch.inference_mode():
        return model(ids.to(model.device)).logits.float()


def _copy_papers(run: Path, folder: Path, kind: Kind) -> None:
    """Tokenizer, ledger, results, scores, pictures, options and recall notices: all but adapter, card and record."""
    left = {ADAPTER, ADAPTER_CONFIG, CARD, kind.record, *present(run, MERGED)}
    for name, path in present(run, (*kind.published, RECALLS)).items():
        if name not in left:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
