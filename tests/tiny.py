"""Models of random weights, small enough to train in a test."""

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from hfvaccine import starter

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 512,
    "initializer_range": 0.3,
}
LLAMA = {"intermediate_size": 64, "num_key_value_heads": 2}


def tokenizer(pieces=False, **special):
    """A tokenizer learnt from the starter mix; `special` are its special tokens, as `eos_token="</s>"`.

    It is one of bytes, as GPT-2's, or one of pieces that begin with their spaces, as Llama 2's.
    """
    learnt = Tokenizer(models.BPE())
    learnt.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    learnt.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if pieces:
        learnt.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        learnt.decoder = decoders.Metaspace(prepend_scheme="first", split=False)
        alphabet = ["\n", *map(chr, range(33, 127))]
    own = sorted(set(special.values()))
    trainer = trainers.BpeTrainer(vocab_size=600, initial_alphabet=alphabet, special_tokens=own)
    learnt.train_from_iterator(starter.MIX.read_text(encoding="utf-8").split("\n"), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=learnt, **special)


def begin_and_end(words, begin="", end=""):
    """Let a tokenizer begin, or end, every text with a special token."""
    around = [token for token in (begin, "$A", end) if token]
    special = [(token, words.convert_tokens_to_ids(token)) for token in (begin, end) if token]
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(single=around, special_tokens=special)
    return words


def model(kind, auto=AutoModelForCausalLM, seed=0, **settings):
    """A random model of an architecture, as "llama", by one of the auto classes."""
    torch.manual_seed(seed)
    return auto.from_config(AutoConfig.for_model(kind, **{**SIZES, **settings}))


def save(folder, kind, words, **more):
    """The folder of such a model with its tokenizer."""
    words.save_pretrained(folder)
    ids = {"vocab_size": len(words), "eos_token_id": words.eos_token_id, "pad_token_id": words.pad_token_id}
    model(kind, **{"bos_token_id": None, **ids, **more}).save_pretrained(folder)
    return folder
