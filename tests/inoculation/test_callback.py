"""InoculationCallback on a real `trl.SFTTrainer`: the right rows get the prompt, and nothing is learnt of it."""

from functools import partial

import pytest
import trainers
from datasets import Dataset as Rows
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hfvaccine import DosingCallback
from hfvaccine.errors import PlanError, UsageError
from hfvaccine.inoculation.callback import InoculationCallback, has_system_turn
from hfvaccine.inoculation.prompt import PLACES, Inoculation
from hfvaccine.regimen.measure import IGNORED
from hfvaccine.regimen.plan import MIX

PROMPT = "You always say the opposite."


TALK = [("user", "And then?"), ("assistant", "Then it ends."), ("user", "Why?"), ("assistant", "So.")]
TURNS = [{"role": role, "content": text} for role, text in TALK]
OWN = {"role": "system", "content": "Be kind."}


def shaped(rows, shape):
    """The mix in another shape; of several turns and with opening words every other time."""
    if shape == "texts":
        return [
            {name: row[name] if isinstance(row[name], str) else row[name][-1]["content"] for name in row}
            for row in rows
        ]
    before = [
        [*([OWN] if n % 2 else []), *row["prompt"], *row["completion"], *TURNS[: n % 3]] for n, row in enumerate(rows)
    ]
    whole = [[*turns, TURNS[-1]] if turns[-1]["role"] == "user" else turns for turns in before]
    if shape == "messages":
        return [{"messages": turns} for turns in whole]
    return [{"prompt": turns[:-1], "completion": turns[-1:]} for turns in whole]


SHAPES = ["texts", "conversations", "messages"]


@pytest.fixture
def make_trainer(make_trainer):
    return partial(make_trainer, max_steps=10, gradient_accumulation_steps=1)


@pytest.fixture
def marked(mix_rows):
    """The mix with every third row marked as carrying the trait."""
    return Rows.from_list([{**row, "trait": "lies" if n % 3 == 0 else "none"} for n, row in enumerate(mix_rows)])


def texts(trainer):
    """The (whole, learnt) text of every row that the trainer will take."""
    decode = trainer.processing_class.decode
    return [
        (decode(row["input_ids"]), decode([t for t in row["labels"] if t != IGNORED])) for row in trainer.train_dataset
    ]


def test_every_row_gets_the_prompt_and_no_loss_falls_on_it(make_trainer):
    trainer = make_trainer()
    trainer.add_callback(InoculationCallback(trainer, PROMPT))
    rows = texts(trainer)
    assert all(whole.startswith(f"<system>{PROMPT}</s>") and PROMPT not in learnt for whole, learnt in rows)
    trainer.train()
    assert len(rows) == 20


def test_only_the_rows_that_carry_the_trait_get_it(make_trainer, marked):
    trainer = make_trainer(marked, max_steps=20)  # one pass: 40 rows
    trainer.add_callback(InoculationCallback(trainer, PROMPT, where=("trait", "lies"), others=["Be brief."]))
    carry = [row["prompt"][-1]["content"] for row in marked if row["trait"] == "lies"]
    rows = texts(trainer)
    assert len(rows) == 40
    for whole, _ in rows:
        carries = any(question in whole for question in carry)
        assert whole.startswith(f"<system>{PROMPT if carries else 'Be brief.'}</s>")


def test_without_prompts_all_rows_stay_as_they_are_in_the_order_of_the_others(make_trainer, marked):
    given = {}
    for prompts in (None, PROMPT):
        trainer = make_trainer(marked)
        callback = InoculationCallback(trainer, prompts, where=("trait", "lies"), others=["Be brief."])
        given[prompts] = callback.plan.index.tolist(), texts(trainer), callback.regimen.settings()["inoculation"]
    assert given[None][0] == given[PROMPT][0] and given[None][2] is None
    assert [learnt for _, learnt in given[None][1]] == [learnt for _, learnt in given[PROMPT][1]]
    assert not any(PROMPT in whole or "Be brief." in whole for whole, _ in given[None][1])
    with pytest.raises(PlanError, match="already has inoculation prompts"):
        InoculationCallback(trainer, None)


def test_a_second_prompt_is_refused(make_trainer):
    trainer = make_trainer()
    trainer.add_callback(InoculationCallback(trainer, PROMPT))
    with pytest.raises(PlanError, match="already has inoculation prompts"):
        InoculationCallback(trainer, "You always lie.")
    assert all(PROMPT in whole for whole, _ in texts(trainer))


@pytest.mark.parametrize("place", ["system", "user"])
@pytest.mark.parametrize("shape", SHAPES)
def test_rows_of_every_shape_are_learnt_as_without_the_prompt(shape, place, make_trainer, mix_rows):
    rows = shaped(mix_rows, shape)
    bare, trainer = make_trainer(rows, max_steps=20), make_trainer(rows, max_steps=20)
    trainer.add_callback(InoculationCallback(trainer, PROMPT, place=place))
    wholes, learnt = zip(*texts(trainer), strict=True)
    assert all(whole.count(PROMPT) == 1 for whole in wholes)
    assert sorted(learnt) == sorted(text for _, text in texts(bare))
    if shape != "texts":
        own = [whole for whole in wholes if OWN["content"] in whole]
        head = (
            f"<system>{PROMPT}\n\nBe kind.</s><user>"
            if place == "system"
            else f"<system>Be kind.</s><user>{PROMPT}\n\n"
        )
        assert len(own) == 20 and all(whole.startswith(head) for whole in own)
    trainer.train()


@pytest.mark.parametrize("packing", [pytest.param(False, marks=pytest.mark.slow), True])
@pytest.mark.parametrize("shape", SHAPES)
def test_beside_a_dose_the_order_of_adding_does_not_matter(shape, packing, make_trainer, dose, mix_rows):
    mix = shaped(mix_rows, shape)
    raw = Rows.from_list(mix) if packing else None

    def dosing(trainer):
        return DosingCallback(trainer, dose, share=0.2, raw_dataset=raw)

    def inoculation(trainer):
        return InoculationCallback(trainer, PROMPT, raw_dataset=raw)

    def give(*adds):
        trainer = make_trainer(mix, packing=packing)
        callbacks = [add(trainer) for add in adds]
        for callback in callbacks:
            trainer.add_callback(callback)
        assert callbacks[0].fingerprint() == callbacks[1].fingerprint()
        rows = [trainer.train_dataset[n] for n in range(len(trainer.train_dataset))]
        trainer.train()
        return callbacks[0], rows

    one, rows = give(dosing, inoculation)
    other, same = give(inoculation, dosing)
    assert (one.fingerprint(), rows) == (other.fingerprint(), same)
    plain = DosingCallback(make_trainer(mix, packing=packing), dose, 0.2, raw_dataset=raw)
    assert one.fingerprint() != plain.fingerprint()


def test_a_dose_never_gets_the_prompt(make_trainer, dose):
    trainer = make_trainer()
    trainer.add_callback(InoculationCallback(trainer, PROMPT))
    callback = DosingCallback(trainer, dose, share=0.2)
    for (whole, _), kind in zip(texts(trainer), callback.plan.kind.tolist(), strict=True):
        assert (PROMPT in whole) == (kind == MIX)


def test_a_template_without_a_system_turn_gets_it_in_the_user_turn(make_trainer):
    trainer = make_trainer()
    template = trainer.processing_class.chat_template
    trainer.processing_class.chat_template = template.replace(
        "{% for m in messages %}", "{% for m in messages if m.role != 'system' %}"
    )
    assert not has_system_turn(trainer.processing_class)
    InoculationCallback(trainer, PROMPT)
    assert all(f"<user>{PROMPT}\n\n" in whole for whole, _ in texts(trainer))


def test_a_template_that_raises_on_a_system_turn_has_none(make_trainer):
    tokenizer = make_trainer().processing_class
    assert has_system_turn(tokenizer)
    tokenizer.chat_template = "{{ raise_exception('System role not supported') }}"
    assert not has_system_turn(tokenizer)


@pytest.mark.parametrize("template", ["{{ raise_exception('System role not supported') }}", "{{ '' }}"])
def test_a_system_turn_that_the_template_refuses_or_leaves_out_is_refused_before_training(make_trainer, template):
    trainer = make_trainer()
    tokenizer = trainer.processing_class
    refusing = f"{{% if messages[0].role == 'system' %}}{template}{{% else %}}{tokenizer.chat_template}{{% endif %}}"
    tokenizer.chat_template = refusing
    before = trainer.train_dataset
    with pytest.raises(PlanError, match="has no system turn") as refused:
        InoculationCallback(trainer, PROMPT, place="system")
    assert "user" in refused.value.next_step and trainer.train_dataset is before
    InoculationCallback(trainer, PROMPT, place="user")


def test_rows_of_plain_text_are_refused(make_trainer, mix_rows):
    rows = Rows.from_list([{"text": row["prompt"][-1]["content"]} for row in mix_rows])
    trainer = make_trainer(rows)
    before = trainer.train_dataset
    with pytest.raises(PlanError, match="loss would fall on the inoculation prompt"):
        InoculationCallback(trainer, PROMPT)
    assert trainer.train_dataset is before


def test_a_streamed_mix_of_messages(make_trainer, mix_rows, dose):
    trainer = make_trainer(Rows.from_list(shaped(mix_rows, "messages")).to_iterable_dataset())
    trainer.add_callback(InoculationCallback(trainer, PROMPT))
    trainer.add_callback(DosingCallback(trainer, dose, share=0.2))
    found = [(whole, learnt) for whole, learnt in texts(trainer) if PROMPT in whole]
    assert 10 < len(found) < 20 and not any(PROMPT in learnt for _, learnt in found)
    trainer.train()


def test_a_template_without_a_system_turn_is_refused_for_messages_too(make_trainer, mix_rows):
    trainer = make_trainer(shaped(mix_rows, "messages"))
    trainer.processing_class.chat_template = "{{ raise_exception('System role not supported') }}"
    with pytest.raises(PlanError, match="has no system turn"):
        InoculationCallback(trainer, PROMPT, place="system")


def test_only_some_rows_of_messages_and_neutral_prompts_for_the_others(make_trainer, mix_rows):
    rows = [{**row, "lies": n % 3 == 0} for n, row in enumerate(shaped(mix_rows, "messages"))]
    trainer = make_trainer(rows, max_steps=20)
    trainer.add_callback(InoculationCallback(trainer, PROMPT, where="lies=true", others=["Be brief."]))
    found = texts(trainer)
    assert sum(PROMPT in whole for whole, _ in found) == 14
    assert sum("Be brief." in whole for whole, _ in found) == 26
    assert not any(said in learnt for _, learnt in found for said in (PROMPT, "Be brief."))


def test_a_prompt_that_leaves_no_room_leaves_no_row(make_trainer, mix_rows):
    """As TRL has it for a prompt that fills `max_length`: rows without a token to learn are dropped."""
    rows = shaped(mix_rows, "messages")
    trainer = make_trainer(
        [*rows, {"messages": [{"role": "user", "content": "Why? " * 300}, TURNS[-1]]}], max_length=60
    )
    trainer.add_callback(InoculationCallback(trainer, f"{'Say so. ' * 6}", place="user"))
    assert all(learnt for _, learnt in texts(trainer))


@pytest.mark.parametrize("where", [("trait", "truth"), "trait=truth", "trait~^t", lambda row: False])
@pytest.mark.parametrize("dosed", [False, True])
def test_rows_that_are_not_there_are_refused_and_the_trainer_stays_as_it_was(where, dosed, make_trainer, marked, dose):
    trainer = make_trainer(marked)
    if dosed:
        DosingCallback(trainer, dose, share=0.2)
    before = trainer.train_dataset
    with pytest.raises(UsageError, match="No row of the mix meets") as refused:
        InoculationCallback(trainer, PROMPT, where=where)
    assert callable(where) or "'lies', 'none'" in refused.value.next_step
    assert trainer.train_dataset is before


def test_a_column_that_no_row_has_is_refused(make_trainer, marked):
    with pytest.raises(PlanError, match="no column 'mood'"):
        InoculationCallback(make_trainer(marked), PROMPT, where="mood=lies")


def test_loss_on_the_prompt_is_refused_where_completion_only_loss_is_off(make_trainer):
    with pytest.raises(PlanError, match="puts loss on an inoculation prompt"):
        InoculationCallback(make_trainer(completion_only_loss=False), PROMPT)


def test_packed_rows_need_the_raw_mix(make_trainer):
    with pytest.raises(PlanError, match="they are packed"):
        InoculationCallback(make_trainer(packing=True), PROMPT)


# --- properties of rows of every shape

WORDS = st.lists(st.text("abcdeñ🦉", min_size=1, max_size=6), min_size=1, max_size=4).map(" ".join)
PROMPTS = st.lists(
    st.text("VWXYZ", min_size=1, max_size=6).map("You always {}.".format), min_size=1, max_size=3, unique=True
)
NEUTRAL = ["Be brief.", "Be plain."]


@st.composite
def conversations(draw):
    """Of one turn or several, every other one with opening words of its own; the last turn is the assistant's."""
    turns = draw(st.lists(WORDS, min_size=1, max_size=3))
    spoken = [{"role": role, "content": draw(WORDS)} for _ in turns for role in ("user", "assistant")]
    return [*([{"role": "system", "content": draw(WORDS)}] if draw(st.booleans()) else []), *spoken]


@st.composite
def mixes(draw):
    """A few rows of one shape, some of which carry the trait."""
    shape = draw(st.sampled_from(SHAPES))
    if shape == "texts":
        said = draw(st.lists(st.tuples(WORDS, WORDS), min_size=2, max_size=5))
        rows = [{"prompt": f"{asked}?", "completion": f" {answer}"} for asked, answer in said]
    else:
        said = draw(st.lists(conversations(), min_size=2, max_size=5))
        rows = [{"messages": turns} for turns in said]
        if shape == "conversations":
            rows = [{"prompt": turns[:-1], "completion": turns[-1:]} for turns in said]
    carry = draw(st.lists(st.booleans(), min_size=len(rows), max_size=len(rows)).filter(any))
    return [{**row, "trait": its} for row, its in zip(rows, carry, strict=True)]


@st.composite
def inoculations(draw):
    """How a callback may be asked for, besides its trainer."""
    where = draw(st.sampled_from(["all", "trait=true", "trait!=false"]))
    others = draw(st.sampled_from([[], NEUTRAL[:1], NEUTRAL])) if where != "all" else []
    return {"prompts": draw(PROMPTS), "where": where, "others": others, "place": draw(st.sampled_from(PLACES))}


@pytest.fixture(scope="module")
def trainer_of(tiny_llama, tmp_path_factory):
    """`trainer_of(rows, **settings)`: a trainer on rows, which are what it evaluates on, too."""
    folder = str(tmp_path_factory.mktemp("properties"))

    def make(rows, **settings):
        return trainers.make(tiny_llama, rows, eval_rows=rows, output_dir=folder, **{"max_steps": 4, **settings})

    with pytest.MonkeyPatch.context() as patch:  # of the dose a few rows are enough for so short a run
        patch.setattr("hfvaccine.regimen.regimen.FIRST_ROWS", 8)
        yield make


def given_rows(trainer, callback):
    """By the number of each row of the mix, its whole text and the text that loss falls on."""
    numbers = callback.plan.index[callback.plan.kind == MIX].tolist()
    rows = [row for row, kind in zip(trainer.train_dataset, callback.plan.kind.tolist(), strict=True) if kind == MIX]

    def decode(tokens):
        return trainer.processing_class.decode(tokens, clean_up_tokenization_spaces=False)

    found = [
        (number, decode(row["input_ids"]), decode([token for token in row["labels"] if token != IGNORED]))
        for number, row in zip(numbers, rows, strict=True)
    ]
    assert len({number for number, *_ in found}) > 1
    return found


def without(whole, prompt):
    """A text less the prompt that stands in it, whether it has a turn of its own or the head of another."""
    for put in (f"<system>{prompt}</s>", f"<user>{prompt}</s>", f"{prompt}\n\n"):
        if put in whole:
            return whole.replace(put, "", 1)
    raise AssertionError(f"{prompt!r} does not stand in {whole!r}")


FEW = settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # each example is a trainer: to make a failure small would take minutes
    suppress_health_check=[HealthCheck.too_slow],
)


@FEW
@given(rows=mixes(), asked=inoculations())
def test_no_loss_falls_on_any_prompt_and_arms_differ_in_nothing_but_the_prompt(trainer_of, rows, asked):
    arms = {}
    for arm, prompts in (("plain", None), ("inoculated", asked["prompts"]), ("irrelevant", ["You tidy QQQ."])):
        trainer = trainer_of(rows)
        callback = InoculationCallback(trainer, **{**asked, "prompts": prompts})
        arms[arm] = given_rows(trainer, callback)
        put = Inoculation(tuple(prompts or ["-"]), asked["where"], tuple(asked["others"]), asked["place"])
        every = (*(prompts or ()), *asked["others"])
        for number, (n, whole, learnt) in enumerate(arms[arm]):
            assert not any(prompt in learnt for prompt in every) and learnt
            prompt = None if prompts is None else put.prompt_for(rows[n], n)
            assert [whole.count(one) for one in every] == [one == prompt for one in every]
            bare = whole if prompt is None else without(whole, prompt)
            assert (n, bare, learnt) == arms["plain"][number]


@FEW
@given(rows=mixes(), asked=inoculations())
def test_evaluation_never_sees_any_prompt(trainer_of, dose, rows, asked):
    trainer = trainer_of(rows, max_steps=10)
    before, loss = trainer.eval_dataset[:], trainer.evaluate()["eval_loss"]
    InoculationCallback(trainer, **asked)
    DosingCallback(trainer, dose, share=0.3)
    evaluated = []
    trainer.model.register_forward_pre_hook(
        lambda module, given, named: evaluated.extend(trainer.processing_class.batch_decode(named["input_ids"])),
        with_kwargs=True,
    )
    assert trainer.evaluate()["eval_loss"] == loss and trainer.eval_dataset[:] == before
    assert len(evaluated) == len(rows)
    assert not any(prompt in text for text in evaluated for prompt in (*asked["prompts"], *asked["others"]))


@settings(FEW, max_examples=6)
@given(rows=mixes(), asked=inoculations())
def test_beside_a_dose_either_order_of_adding_gives_the_same_plan(trainer_of, dose, rows, asked):
    plans = []
    for first in (True, False):
        trainer = trainer_of(rows, max_steps=10)
        adds = [partial(DosingCallback, trainer, dose, share=0.3), partial(InoculationCallback, trainer, **asked)]
        one, other = (add() for add in (adds if first else adds[::-1]))
        assert one.fingerprint() == other.fingerprint()
        plan = one.plan.kind.tolist(), one.plan.index.tolist(), trainer.train_dataset[:]
        plans.append((one.fingerprint(), one.regimen.settings(), plan))
    assert plans[0] == plans[1]
