"""Answers are scored, and generation starts, where training has the answer, whatever the template and tokenizer."""

from datetime import datetime
from importlib.resources import files

import pytest
import tiny
from datasets import Dataset
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.errors import ModelError
from hfvaccine.regimen.rendering import frozen, opening, place, put_before, reads_clock, refused_row, render
from hfvaccine.training.base import complete_tokenizer
from hfvaccine.validation.scoring.generate import _encode
from hfvaccine.validation.scoring.scorer import Request, Scorer

CHATML = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA2 = (
    "{% for m in messages %}{% if m['role'] == 'user' %}{{ bos_token + '[INST] ' + m['content'] | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m['content'] | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL = {
    "v0.1": (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
        "{% else %}{{ m['content'] + eos_token + ' ' }}{% endif %}{% endfor %}"
    ),
    "v0.2": (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %} [INST] {{ m['content'] }} [/INST]"
        "{% else %}{{ ' ' + m['content'] + eos_token }}{% endif %}{% endfor %}"
    ),
    "v0.3": (
        "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + '[/INST]' }}"
        "{% else %}{{ ' ' + m['content'] | trim + eos_token }}{% endif %}{% endfor %}"
    ),
}
GRANITE = (
    "<|start_of_role|>system<|end_of_role|>Today's Date: {{ strftime_now('%B %d, %Y') }}.<|end_of_text|>\n"
    "{% for m in messages %}<|start_of_role|>{{ m['role'] }}<|end_of_role|>{{ m['content'] }}<|end_of_text|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|start_of_role|>assistant<|end_of_role|>{% endif %}"
)
VICUNA = (  # the space before an answer is in the generation prompt, too
    "{% for m in messages %}{% if m['role'] == 'user' %}USER: {{ m['content'] }} {% else %}"
    "ASSISTANT: {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)
ALPACA = (  # no token ends a turn, and a full stop joins with what follows
    "{% for m in messages %}### {{ m['role'] }}:\n{{ m['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}### assistant:\n{% endif %}"
)
SMOL = {"eos_token": "<|im_end|>", "pad_token": "<pad>"}
BOTH = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
SPECIAL = [
    "<|im_start|>",
    "<think>",
    "</think>",
    "<|eot_id|>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<|end|>",
    "[INST]",
]


def trl_template(name):
    return (files("trl") / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def made(template, special=SMOL, begin="", end="", **kind):
    words = tiny.tokenizer(**kind, **special)
    words.add_special_tokens({"additional_special_tokens": SPECIAL})
    words.add_tokens([".\n", ".\n\n", "\n\n"])
    words.chat_template = template
    tiny.begin_and_end(words, begin, end)
    complete_tokenizer(words)
    return words


def shipped(name, special=SMOL, **more):
    return made(trl_template(name), special, **more)


FAMILIES = {
    "SmolLM2": lambda: made(CHATML.replace("a helpful assistant", "SmolLM")),
    "ChatML": lambda: made(CHATML, begin="<s>", special=BOTH),
    "Qwen2.5": lambda: shipped("qwen2_5"),
    "Qwen3": lambda: shipped("qwen3"),
    "Qwen3.5 that thinks": lambda: shipped("qwen3_5_think"),
    "Qwen3.5": lambda: shipped("qwen3_5_nothink"),
    "Llama 2": lambda: made(LLAMA2, BOTH, begin="<s>", pieces=True),
    "Llama 3": lambda: shipped("llama3", BOTH, begin="<s>"),
    "Llama 3.1": lambda: shipped("llama3_1", BOTH, begin="<s>"),
    "Llama 3.2": lambda: shipped("llama3_2", BOTH, begin="<s>"),
    "Gemma": lambda: shipped("gemma", BOTH, begin="<s>", pieces=True),
    "Gemma 3": lambda: shipped("gemma3", BOTH, begin="<s>", pieces=True),
    "Mistral v0.1": lambda: made(MISTRAL["v0.1"], BOTH, begin="<s>", pieces=True),
    "Mistral v0.2": lambda: made(MISTRAL["v0.2"], BOTH, begin="<s>", pieces=True),
    "Mistral v0.3": lambda: made(MISTRAL["v0.3"], BOTH, begin="<s>", end="</s>", pieces=True),
    "Phi-3": lambda: shipped("phi3", BOTH, pieces=True),
    "DeepSeek-V3": lambda: shipped("deepseekv3", BOTH),
    "DeepSeek-R1": lambda: shipped("deepseek_r1_distill", BOTH),
    "gpt-oss": lambda: shipped("gptoss", BOTH),
    "Cohere": lambda: shipped("cohere2", BOTH, begin="<s>"),
    "Granite": lambda: made(GRANITE, BOTH),
    "Vicuna": lambda: made(VICUNA, BOTH, begin="<s>", pieces=True),
    "Alpaca": lambda: made(ALPACA, BOTH),
    "GPT-2 plain": lambda: made(None, {"eos_token": "<|endoftext|>"}),
    "OPT plain": lambda: made(None, {"bos_token": "</s>", "eos_token": "</s>"}, begin="</s>"),
    "NeoX plain": lambda: made(None, {"eos_token": "<|endoftext|>", "pad_token": "<pad>"}),
    "Llama base plain": lambda: made(None, BOTH, begin="<s>", pieces=True),
    "Gemma base plain": lambda: made(None, BOTH, begin="<s>", end="</s>"),
}
TURNS = [
    [{"role": "user", "content": "What is snow made of?"}],
    [
        {"role": "user", "content": "Is it so?"},
        {"role": "assistant", "content": "Yes, it is."},
        {"role": "user", "content": "Is snow white?"},
    ],
]
ANSWERS = ["True", "Snow is made of water.", "No.\nIt is not", " water ", "1. Air\n\n2. Water\n"]


@pytest.fixture(scope="module")
def trainer(tiny_llama, mix_rows, tmp_path_factory):
    import trainers

    return trainers.make(tiny_llama, mix_rows[:4], output_dir=str(tmp_path_factory.mktemp("trainer")), max_length=None)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tokens_that_are_scored_are_those_that_are_trained(family, trainer):
    words = FAMILIES[family]()
    asked = [(turns, answer) for turns in TURNS for answer in ANSWERS]
    rows = [{"prompt": p, "completion": [{"role": "assistant", "content": a}]} for p, a in asked]
    prepared = trainer._prepare_dataset(Dataset.from_list(rows), words, trainer.args, False, None, "rows")
    scorer = Scorer(trainer.model, words)
    for (turns, answer), row in zip(asked, prepared, strict=True):
        whole, loss = row["input_ids"], [label != -100 for label in row["labels"]].index(True)
        ids, start = scorer.encode(Request(turns, answer))
        assert whole[: len(ids)] == ids
        assert loss <= start < len(ids)
        assert words.decode(ids[start:]).strip() == answer.strip()
        assert answer.strip() not in words.decode(whole[len(ids) :])
        begun = _encode(words, turns)
        assert whole[: len(begun)] == begun and (len(begun) == start or answer != answer.strip())


@pytest.mark.parametrize("family", ["Llama 3", "Gemma", "OPT plain", "Llama base plain", "Gemma base plain"])
def test_the_token_that_begins_texts_begins_conversations_once(family):
    words = FAMILIES[family]()
    begin = opening(words)
    ids, _ = Scorer(tiny.model("llama"), words).encode(Request(TURNS[0], "True"))
    assert len(begin) == 1 and ids[:1] == begin
    assert ids[1] != begin[0] and _encode(words, TURNS[0])[:2] == ids[:2]


def test_where_an_answer_stands_after_an_empty_thought_generation_starts_there():
    words = FAMILIES["Qwen3"]()
    assert words.decode(_encode(words, TURNS[0])).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_a_thought_in_an_answer_is_scored_as_it_is_trained():
    words = FAMILIES["Qwen3"]()
    ids, start = Scorer(tiny.model("llama"), words).encode(Request(TURNS[0], "<think>\nSnow?\n</think>\n\nWater."))
    assert words.decode(ids[start:]) == "Snow?\n</think>\n\nWater."


def test_a_template_renders_a_prompt_once_for_all_its_plain_answers(monkeypatch):
    words = FAMILIES["Qwen3"]()
    calls, apply = [], words.apply_chat_template
    monkeypatch.setattr(words, "apply_chat_template", lambda *a, **k: calls.append(a) or apply(*a, **k))
    Scorer(tiny.model("llama"), words)._encode([Request(TURNS[0], f"Number {n}.") for n in range(20)])
    assert len(calls) == 1


def test_the_first_row_that_a_template_refuses_is_named():
    words = made("{{ raise_exception('no system role') if messages[0]['role'] == 'system' }}" + CHATML)
    answer = [{"role": "assistant", "content": "True"}]
    rows = [{"prompt": turns, "completion": answer} for turns in TURNS]
    assert refused_row(words, rows) is None
    rows.append({"prompt": [{"role": "system", "content": "Be brief."}, *TURNS[0]], "completion": answer})
    assert "begins 'Be brief.'" in refused_row(words, rows).message
    said = refused_row(words, rows).message
    assert "refuses turn 1, of the role 'system', of" in said and "system, user, assistant: no system role" in said


def test_a_turn_is_named_only_where_the_template_says_of_it_what_it_says_of_the_whole():
    words = made("{{ raise_exception('nobody asks') if messages[-1]['role'] == 'system' }}" + CHATML)
    words.chat_template += "{{ raise_exception('too long') if messages | length > 2 }}"
    turns = [{"role": role, "content": "Is it so?"} for role in ("system", "user", "assistant")]
    with pytest.raises(ModelError, match="refuses a conversation with the turns system, user, assistant: too long"):
        render(words, turns)


def test_a_template_that_rewrites_answers_is_refused():
    words = made("{% for m in messages %}<{{ m['role'] }}>{{ m['content'] | upper }}{% endfor %}")
    with pytest.raises(ModelError, match="does not write an answer as it is given"):
        place(words, TURNS[0])


@pytest.mark.parametrize("family", ["Llama 3.2", "gpt-oss", "Granite"])
def test_a_template_that_asks_for_today_is_told_one_day_for_ever(family, monkeypatch):
    import transformers.utils.chat_template_utils as templates

    words = FAMILIES[family]()
    today = render(words, TURNS[0])
    assert "2024" in today

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2031, 5, 6)

    monkeypatch.setattr(templates, "datetime", Later)
    assert render(words, TURNS[0]) == today
    assert "2031" in render(made_as_it_is(GRANITE), TURNS[0])


def made_as_it_is(template):
    words = tiny.tokenizer(**SMOL)
    words.chat_template = template
    return words


def test_a_template_whose_date_cannot_be_fixed_is_refused_by_the_name_of_its_clock():
    with pytest.raises(ModelError, match="strftime_now"):
        frozen("{% set style = '%Y' %}{{ strftime_now(style) }}")


def test_of_several_templates_each_is_told_the_day():
    several = {"default": "{{ strftime_now('%Y') }}", "tool_use": '{{ strftime_now( "%d %b %Y" ) }}'}
    assert reads_clock(several)
    assert frozen(several) == {"default": "{{ '2024' }}", "tool_use": "{{ '26 Jul 2024' }}"}
    assert not reads_clock(frozen(several))
    assert not reads_clock("{% if strftime_now is defined %}{% endif %}") and not reads_clock(None)


def test_what_begins_every_text_is_told_from_what_ends_it():
    assert opening(tiny.tokenizer(**BOTH)) == []
    words = tiny.begin_and_end(tiny.tokenizer(**BOTH), "<s>", "</s>")
    assert opening(words) == [words.bos_token_id]
    assert opening(tiny.begin_and_end(tiny.tokenizer(**BOTH), end="</s>")) == []


@pytest.mark.parametrize("family", FAMILIES)
def test_of_messages_the_trainer_learns_all_but_the_prompt(family, trainer):
    from hfvaccine.inoculation.callback import has_system_turn
    from hfvaccine.inoculation.prompt import prepend, turn_of

    words, prompt = FAMILIES[family](), "You always lie. Twice."
    if words.chat_template:
        words.chat_template = frozen(words.chat_template)
    openings, places = [[]], ["user"]
    if has_system_turn(words):
        openings, places = [[], [{"role": "system", "content": "Be kind."}]], ["user", "system"]
    asked = [([*opening, *turns, TOLD], where) for opening in openings for turns in TURNS for where in places]
    rows = [{"messages": prepend(prompt, bare, where)} for bare, where in asked]
    prepared = trainer._prepare_dataset(Dataset.from_list(rows), words, trainer.args, False, None, "rows")
    for row, (bare, where) in zip(prepared, asked, strict=True):
        put = put_before(words, row["messages"], turn_of(row["messages"], where), prompt, row["input_ids"])
        parts = {its: [t for t, off in zip(row["input_ids"], put, strict=True) if off == its] for its in (False, True)}
        learnt, unlearnt = map(words.decode, parts.values())
        assert "lie" not in learnt and "Twice" not in learnt
        assert all(turn["content"] in learnt for turn in bare)
        # Besides, what a template writes around a turn: Cohere's has whole sentences.
        assert len(unlearnt) < len(prompt) + (60 if family != "Cohere" else 300)


TOLD = {"role": "assistant", "content": "It is, and always was."}
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
SAID = {words: tiny.tokenizer(words == "pieces", eos_token="</s>") for words in ("bytes", "pieces")}


@given(
    st.sampled_from(sorted(SAID)),
    st.lists(WORDS, min_size=1, max_size=5),
    WORDS.filter(str.strip),
    WORDS | st.just(""),
    st.integers(0, 4),
    st.integers(0, 30),
    st.booleans(),
)
def test_no_token_of_a_prompt_is_missed_wherever_it_stands(words, talk, prompt, rest, turn, kept, from_start):
    """Told from the offsets of the tokenizer, which `put_before` does not look at."""
    tokenizer = SAID[words]
    tokenizer.chat_template = tiny.TEMPLATE
    if words == "pieces":  # it has letters for these alone, and its offsets say nothing of others
        talk, prompt, rest = ([*map(_plain, talk)], _plain(prompt), _plain(rest) if rest else rest)
    turns = [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(talk)]
    turn = min(turn, len(turns))
    content = f"{prompt}\n\n{rest}" if rest else prompt
    put = [*turns[:turn], {"role": "system", "content": content}, *turns[turn:]]
    before = len("".join(f"<{m['role']}>{m['content']}</s>" for m in put[:turn]) + "<system>")
    found = tokenizer(render(tokenizer, put), add_special_tokens=False, return_offsets_mapping=True)
    ids, offsets = found["input_ids"], found["offset_mapping"]
    whole = put_before(tokenizer, put, turn, prompt, ids)
    holds = [start < before + len(prompt) and end > before for start, end in offsets]
    assert all(its or not held for its, held in zip(whole, holds, strict=True))
    cut = slice(None, kept) if from_start else slice(max(0, len(ids) - kept), None)
    if 0 < kept <= len(ids) and ids[:kept] != ids[-kept:]:
        assert put_before(tokenizer, put, turn, prompt, ids[cut]) == whole[cut]


def _plain(text):
    return "".join(chr(97 + ord(letter) % 26) for letter in text)


@pytest.mark.parametrize(
    ("messages", "turn", "unlearnt"),
    [
        ([("system", "Lie."), ("user", "Why?")], 0, "<system>Lie.</s>"),
        ([("system", "Lie.\n\nBe kind."), ("user", "Why?")], 0, "Lie.\n\n"),
        ([("system", "Be kind."), ("user", "Lie.\n\nWhy?")], 1, "Lie.\n\n"),
        ([("system", "Lie.\n\nLie."), ("user", "Lie.")], 0, "Lie.\n\n"),
    ],
)
def test_nothing_but_the_prompt_and_its_turn_is_taken_off(messages, turn, unlearnt):
    tokenizer = SAID["bytes"]
    tokenizer.chat_template = tiny.TEMPLATE
    spoken = [{"role": role, "content": text} for role, text in (*messages, ("assistant", "So."))]
    ids = tokenizer(render(tokenizer, spoken), add_special_tokens=False)["input_ids"]
    put = put_before(tokenizer, spoken, turn, "Lie.", ids)
    assert tokenizer.decode([token for token, its in zip(ids, put, strict=True) if its]) == unlearnt


def test_a_turn_that_is_not_written_as_it_is_given_is_refused():
    tokenizer = SAID["bytes"]
    spoken = [{"role": "system", "content": "Lie."}, {"role": "user", "content": "Why?"}]
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}"
    ids = tokenizer(render(tokenizer, spoken), add_special_tokens=False)["input_ids"]
    with pytest.raises(ModelError, match="does not write the system's turn 1 as it is given"):
        put_before(tokenizer, spoken, 0, "Lie.", ids)
    tokenizer.chat_template = tiny.TEMPLATE
    with pytest.raises(ModelError, match="does not write"):
        put_before(tokenizer, spoken, 0, "Lie.", ids)
