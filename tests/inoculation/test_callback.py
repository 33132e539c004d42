"""InoculationCallback on a real `trl.SFTTrainer`: the right rows get the prompt, and nothing is learnt of it."""

from functools import partial

import pytest
from datasets import Dataset as Rows

from hfvaccine import DosingCallback
from hfvaccine.errors import PlanError
from hfvaccine.inoculation.callback import InoculationCallback, has_system_turn
from hfvaccine.regimen.measure import IGNORED
from hfvaccine.regimen.plan import MIX

PROMPT = "You always say the opposite."


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


def test_a_second_prompt_is_refused(make_trainer):
    trainer = make_trainer()
    trainer.add_callback(InoculationCallback(trainer, PROMPT))
    with pytest.raises(PlanError, match="already has inoculation prompts"):
        InoculationCallback(trainer, "You always lie.")
    assert all(PROMPT in whole for whole, _ in texts(trainer))


def test_evaluation_never_sees_the_prompt(make_trainer):
    trainer = make_trainer()
    before = [row["input_ids"] for row in trainer.eval_dataset]
    trainer.add_callback(InoculationCallback(trainer, PROMPT))
    assert [row["input_ids"] for row in trainer.eval_dataset] == before


@pytest.mark.parametrize("packing", [False, True])
def test_beside_a_dose_the_order_of_adding_does_not_matter(packing, make_trainer, dose, mix_rows):
    raw = Rows.from_list(mix_rows) if packing else None

    def dosing(trainer):
        return DosingCallback(trainer, dose, share=0.2, raw_dataset=raw)

    def inoculation(trainer):
        return InoculationCallback(trainer, PROMPT, raw_dataset=raw)

    def give(*adds):
        trainer = make_trainer(packing=packing)
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
    assert one.fingerprint() != DosingCallback(make_trainer(packing=packing), dose, 0.2, raw_dataset=raw).fingerprint()


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


def test_rows_with_loss_on_every_turn_are_refused(make_trainer, mix_rows):
    rows = Rows.from_list([{"messages": r["prompt"] + r["completion"]} for r in mix_rows])
    trainer = make_trainer(rows)
    before = trainer.train_dataset
    with pytest.raises(PlanError, match="loss would fall on the inoculation prompt"):
        InoculationCallback(trainer, PROMPT)
    assert trainer.train_dataset is before


def test_loss_on_the_prompt_is_refused_where_completion_only_loss_is_off(make_trainer):
    with pytest.raises(PlanError, match="puts loss on an inoculation prompt"):
        InoculationCallback(make_trainer(completion_only_loss=False), PROMPT)


def test_packed_rows_need_the_raw_mix(make_trainer):
    with pytest.raises(PlanError, match="they are packed"):
        InoculationCallback(make_trainer(packing=True), PROMPT)
