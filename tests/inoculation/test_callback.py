"""InoculationCallback on a real `trl.SFTTrainer`: the right rows get the prompt, and nothing is learnt of it."""

from functools import partial

import pytest
from datasets import Dataset as Rows

from hfvaccine import DosingCallback
from hfvaccine.errors import PlanError, UsageError
from hfvaccine.inoculation.callback import InoculationCallback, has_system_turn
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


@pytest.mark.parametrize("shape", SHAPES)
def test_evaluation_never_sees_the_prompt(shape, make_trainer, mix_rows, dose):
    rows = shaped(mix_rows, shape)
    trainer = make_trainer(rows)
    before, loss = trainer.eval_dataset[:], trainer.evaluate()["eval_loss"]
    trainer.add_callback(InoculationCallback(trainer, PROMPT))
    trainer.add_callback(DosingCallback(trainer, dose, share=0.2))
    assert trainer.eval_dataset[:] == before and trainer.evaluate()["eval_loss"] == loss


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
