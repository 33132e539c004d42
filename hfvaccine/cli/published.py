"""What a quickstart has published, held against what it has made: loaded as anybody would, and verified."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hfvaccine.cli.base_model import BASE_ID
from hfvaccine.cli.output import say
from hfvaccine.errors import LineageError, ValidationError

if TYPE_CHECKING:
    from hfvaccine.lineage.links import Link


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
