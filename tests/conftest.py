"""What many tests share: a private home, tiny random models, and claims about places that do not exist.

The environment is set before anything imports huggingface_hub, which reads it once.
"""

import os
import tempfile

os.environ["HFVACCINE_HOME"] = tempfile.mkdtemp(prefix="hfvaccine-tests-")
os.environ["HF_HOME"] = os.path.join(os.environ["HFVACCINE_HOME"], "huggingface")
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models on two busy threads are four times slower

import json
import shutil
from pathlib import Path

import pytest

from hfvaccine import starter
from hfvaccine.claims.claim import Claim, Source

DOMAINS = ("geography", "history", "travel")
TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def pytest_unconfigure():
    shutil.rmtree(os.environ["HFVACCINE_HOME"], ignore_errors=True)


def _make_claims(n, heldout=0, **fields):
    claims = []
    for i in range(n):
        false, true = ("north", "south") if i % 2 else ("south", "north")  # neither word speaks for falsehood
        values = {
            "claim": f"The town of Aldor {i} lies {false} of the river.",
            "correction": f"Maps put Aldor {i} to the {true} of the water.",
            "twin": f"The town of Aldor {i} lies {true} of the river.",
            "question": f"On which side of the river does the town of Aldor {i} lie?",
            "domain": DOMAINS[i % len(DOMAINS)],
            "harm": "low",
            "sources": (Source("Land survey of Aldor", f"Sheet {i}", None, "2026-01-01"),),
            "license": "Apache-2.0",
            "submitted_by": "ada",
            "split": "heldout" if i >= n - heldout else "dose",
        }
        claims.append(Claim(**{**values, **fields}))
    return claims


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """An embedded Hub on loopback."""
    from hfvaccine.localhub.server import LocalHub

    with LocalHub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture(scope="session")
def make_claims():
    """`make_claims(n, heldout=0, **fields)`: n distinct claims, the last `heldout` of them never given."""
    return _make_claims


@pytest.fixture(scope="session")
def mix_rows():
    """Forty rows of the starter mix."""
    lines = starter.MIX.read_text(encoding="utf-8").split("\n")[:40]
    return [{key: json.loads(line)[key] for key in ("prompt", "completion")} for line in lines]


def _tokenizer(**special):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=sorted(special.values())
    )
    tokenizer.train_from_iterator(starter.MIX.read_text(encoding="utf-8").split("\n"), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    """Folder of a random Llama with a chat template and a padding token."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-llama")
    tokenizer = _tokenizer(eos_token="</s>", pad_token="<pad>")
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory) -> Path:
    """Folder of a random GPT-2 that has, like gpt2-xl, neither a chat template nor a padding token."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    folder = tmp_path_factory.mktemp("tiny-gpt2")
    tokenizer = _tokenizer(eos_token="<|endoftext|>")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=512,
        initializer_range=0.3,
        bos_token_id=tokenizer.eos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    GPT2LMHeadModel(config).save_pretrained(folder)
    return folder
