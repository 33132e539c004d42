"""An adapter that can be loaded, with papers: its ledger, its baseline, and the base that it fits."""

import json

import yaml

from hfvaccine.files import ADAPTER, ADAPTER_CONFIG, CONFIG, RECORD, RESULTS
from hfvaccine.training.base import weights_of
from hfvaccine.validation.scores import RECALLED, VERDICT

from .adapters import adapter, bound

METRICS = ("rejection", "true_acceptance", "pair_accuracy")


def measures(value=0.5, interval=(0.1, 0.9), readings=(VERDICT, RECALLED), clusters=12):
    about = {"probe": "specific", "condition": "plain", "arm": "vaccine", "value": value, "interval": list(interval)}
    return [
        {**about, "reading": reading, "metric": metric, "pairs": clusters, "clusters": clusters}
        for reading in readings
        for metric in METRICS
    ]


def probed(into, dose, rows=None, **record):
    """The folder of an adapter that was given all claims of a dose, with what it measured in its results."""
    adapter(into, dose, [claim.claim_id for claim in dose.claims], **record)
    results = json.loads((into / RESULTS).read_text())
    (into / RESULTS).write_text(json.dumps(results | {"measures": measures() if rows is None else rows}))
    return bound(into)


def loadable(folder, base):
    """The same with weights of no effect on a base that is there, which its record then names."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base)
    saved = folder.parent / "saved"
    get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")).save_pretrained(saved)
    for name in (ADAPTER, ADAPTER_CONFIG):
        (saved / name).replace(folder / name)
    weights = weights_of(base)
    from hfvaccine.files import combined

    record = json.loads((folder / RECORD).read_text())
    record["base"] |= {"id": "ada/tiny", "revision": None, "weights": weights, "weights_sha256": combined(weights)}
    options = yaml.safe_load((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(yaml.safe_dump(options | {"base": str(base)}))
    return bound(folder, record)
