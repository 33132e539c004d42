"""Base models: a Hub id, a local folder or a .gguf file, always with a chat template."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfvaccine.errors import HfvaccineError, ModelError
from hfvaccine.files import combined, digest_of
from hfvaccine.packages import install_extra
from hfvaccine.regimen.rendering import TODAY, frozen, opening, reads_clock
from hfvaccine.sources.license import PATIENCE, card_of, licenses_in
from hfvaccine.sources.place import Source
from hfvaccine.training.processes import SHARING, kind_of_processes, this_process

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "### {{ message['role'] | capitalize }}:\n{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token }}{% endif %}\n\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}### Assistant:\n{% endif %}"
)
"""For models without a chat template, such as gpt2-xl; saved with the adapter's tokenizer."""


@dataclass(frozen=True)
class Base:
    """A loaded base model and how to name it.

    Args:
        model: the causal language model.
        tokenizer: with a chat template and a padding token.
        id: what the adapter's card calls the base: a Hub id wherever there is one.
        revision: commit of the Hub repo, None for local files.
        chat_template: "hfvaccine" (`PLAIN_TEMPLATE`) or "own", with the date that it is told where it asks for today.
        weights: SHA-256 of each weight file that was loaded, by its name; empty for a model of none.
        licenses: that its card on the Hub names.
    """

    model: Any
    tokenizer: Any
    id: str
    revision: str | None
    chat_template: str
    weights: Mapping[str, str] = field(default_factory=dict)
    licenses: tuple[str, ...] = ()

    @property
    def weights_sha256(self) -> str | None:
        """One digest over all weight files."""
        return combined(self.weights) if self.weights else None

    def record(self) -> dict[str, Any]:
        """The base's part of immunization.json."""
        return {
            "id": self.id,
            "revision": self.revision,
            "weights": dict(self.weights),
            "weights_sha256": self.weights_sha256,
            "chat_template": self.chat_template,
            "licenses": list(self.licenses),
        }


def load_base(
    name: str, base_id: str | None = None, revision: str | None = None, dtype: str = "auto", to_train: bool = False
) -> Base:
    """Load a base model, onto this process's device.

    Args:
        name: Hub id or `ID@REVISION`, folder, or .gguf file (dequantised while loading).
        base_id: Hub id to put on the card for a local base.
        revision: of a Hub repo, where the name does not say it; the newest by default.
        dtype: "bfloat16", "float32", or "auto": bfloat16 where the hardware multiplies it.
        to_train: whether a trainer gets it. Where processes share its weights it then stays in the machine's memory,
            for the trainer gives each device its part.

    Raises:
        ModelError: where it cannot be found, read or used.
        UsageError: for a revision of what is on no Hub.
    """
    import torch
    from huggingface_hub import HfApi
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils.hub import cached_file

    source = Source.of("base", name, revision)
    path, where = Path(source.name), source.name
    kwargs: dict[str, Any] = {"revision": source.revision} if source.revision else {}
    if path.suffix == ".gguf":
        if not path.is_file():
            raise ModelError(f"There is no file {name}.", "Give the path of a .gguf file.")
        try:
            import gguf  # noqa: F401
            from transformers import GgufConfig
        except ImportError as error:
            raise ModelError(f"{name} is GGUF, which needs a reader.", install_extra("gguf")) from error
        where, kwargs = str(path.parent), {"gguf_file": path.name}
        quantization = {"quantization_config": GgufConfig(dequantize=True)}
    else:
        quantization = {}
    commit, files, licenses = None, path, ()
    try:
        if source.on_hub:  # all its files from one commit, whatever is pushed meanwhile
            kwargs = found_on_hub(where, source.revision)
            commit = kwargs["revision"]
            if not kwargs.get("local_files_only"):
                licenses = licenses_in(card_of(HfApi(), where, revision=commit))
            # The cache names the folder by its commit.
            files = Path(str(cached_file(where, "config.json", **kwargs))).parent
        tokenizer = AutoTokenizer.from_pretrained(where, **kwargs)
        model = AutoModelForCausalLM.from_pretrained(where, dtype=precision(dtype), **kwargs, **quantization)
    except HfvaccineError:
        raise
    except Exception as error:  # what libraries raise of a model that is broken or not known is of any kind
        raise not_loaded(name, error) from error
    if torch.cuda.is_available() and not (to_train and kind_of_processes() in SHARING):
        model = model.to(this_process().device)
    template = complete_tokenizer(tokenizer)
    return Base(model, tokenizer, base_id or source.name, commit, template, weights_of(files), licenses)


def not_loaded(name: str, error: Exception) -> ModelError:
    """What a library said of a model that it cannot read, in one sentence."""
    lines = str(error).strip().split("\n")
    if "tokenizer" in lines[0].lower():
        return _without_tokenizer(name)
    # Only what libraries raise on purpose is a sentence; of all else its kind is told too.
    reason = lines[0] if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: {lines[0]}"
    return ModelError(
        f"The base model {name!r} cannot be loaded: {reason}",
        "Give a Hub id, a folder with config.json and weights, or a .gguf file; "
        "for a gated or private model run `hf auth login` first.",
    )


def _without_tokenizer(name: str) -> ModelError:
    return ModelError(
        f"The base model {name!r} has no tokenizer that can be read.",
        "Put the tokenizer's files, such as tokenizer.json, beside its weights.",
    )


def found_on_hub(name: str, revision: str | None) -> dict[str, Any]:
    """What to load a model's files with: its commit, asked of the Hub once, so that a dead network is known at once.

    Where the Hub cannot be reached, what is in the cache is taken, and nothing else is asked.

    Args:
        name: Hub id.
        revision: branch, tag or commit; the newest by default.

    Raises:
        ModelError: where the Hub has no such model or does not show it, or where it cannot be reached and the
            model is not in the cache.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HTTPError
    from transformers.utils.hub import cached_file

    try:
        cached = cached_file(name, "config.json", revision=revision, local_files_only=True)
        here: dict[str, Any] | None = {"revision": Path(str(cached)).parent.name, "local_files_only": True}
    except OSError:
        here = None
    if here is not None and revision == here["revision"]:
        return {"revision": revision}
    api = HfApi()
    try:
        api.model_info(name, revision=revision, timeout=PATIENCE)  # asked once, where the cache would try for long
        # By the name of the branch, so that the cache knows the branch's commit without a network.
        return {"revision": Path(str(cached_file(name, "config.json", revision=revision))).parent.name}
    except (HTTPError, OSError) as error:
        if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
            raise not_loaded(name, error) from error
        if here is not None:
            return here
        reason = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
        raise ModelError(
            f"The base model {name!r} is not on this machine, and {api.endpoint} cannot be reached: {reason}.",
            "Check the network and HF_ENDPOINT (and that neither HF_HUB_OFFLINE nor TRANSFORMERS_OFFLINE is set), or "
            "give a folder with the model.",
        ) from error


def complete_tokenizer(tokenizer: Any) -> str:
    """Give a tokenizer what it lacks: a padding token, a chat template, and one date for every day.

    Returns:
        Whose template it has; see `Base`.

    Raises:
        ModelError: for one that makes nothing of a text, as a library does it of a model that has no tokenizer; and
            for a template whose date cannot be fixed.
    """
    if not tokenizer("a", add_special_tokens=False)["input_ids"]:
        raise _without_tokenizer(tokenizer.name_or_path)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if tokenizer.chat_template is None:
        # A model that never saw a text without the token that begins it must not be given one.
        begins = "{{ bos_token }}" if opening(tokenizer) == [tokenizer.bos_token_id] else ""
        tokenizer.chat_template = begins + PLAIN_TEMPLATE
        return "hfvaccine"
    if not reads_clock(tokenizer.chat_template):
        return "own"
    tokenizer.chat_template = frozen(tokenizer.chat_template)
    return f"own, dated {TODAY:%Y-%m-%d}"


def precision(dtype: str) -> Any:
    """The torch dtype behind "bfloat16", "float32" or "auto"."""
    import torch

    return choose_dtype() if dtype == "auto" else getattr(torch, dtype)


def choose_dtype() -> Any:
    """bfloat16 where the hardware multiplies it, else float32: an emulation is slower and no more exact."""
    import torch

    if torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
    return torch.bfloat16 if supported else torch.float32


def weights_of(path: Path) -> dict[str, str]:
    """SHA-256 of each weight file that loading a model reads, by its name.

    Args:
        path: the model's folder, or its one file.
    """
    if path.is_file():
        return {path.name: digest_of(path)}
    for whole in ("model.safetensors", "pytorch_model.bin"):
        if (path / whole).is_file():
            return {whole: digest_of(path / whole)}
        if (path / f"{whole}.index.json").is_file():
            index = json.loads((path / f"{whole}.index.json").read_text(encoding="utf-8"))
            return {name: digest_of(path / name) for name in sorted(set(index["weight_map"].values()))}
    return {file.name: digest_of(file) for file in sorted([*path.glob("*.safetensors"), *path.glob("*.bin")])}


def check_base(recorded: Mapping[str, Any], base: Base) -> None:
    """Refuse a base that is not the one an adapter was trained on.

    Raises:
        ModelError: naming both.
    """
    if recorded.get("weights_sha256") and base.weights_sha256:
        same = recorded["weights_sha256"] == base.weights_sha256
    else:
        same = recorded["id"] == base.id
    if not same:
        raise ModelError(
            f"The adapter was trained on {_named(recorded['id'], recorded['revision'])}, "
            f"not on {_named(base.id, base.revision)}.",
            "Give that base, at that revision; where it is the same under another name, say so with --base-id.",
        )


def _named(name: str, revision: str | None) -> str:
    return f"{name} at {revision[:12]}" if revision else name
