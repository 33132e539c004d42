"""A streamed mix on a real trainer: the dose is kept as the rows come, and a resumed run goes on where it was."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset as Rows
from trainers import KillAt, Killed, arriving, dosed, interrupt

from hfvaccine import DosingCallback
from hfvaccine.errors import DoseError, PlanError
from hfvaccine.files import LEDGER
from hfvaccine.inoculation.callback import InoculationCallback
from hfvaccine.regimen.plan import DOSE, MIX


@pytest.fixture
def make_trainer(make_trainer, mix_rows):
    """A trainer on a streamed mix of fewer rows than it takes: it begins anew."""

    def make(rows=None, shards=1, **settings):
        stream = Rows.from_list(rows or mix_rows[:20]).to_iterable_dataset(num_shards=shards)
        return make_trainer(stream, **{"max_steps": 12, "save_strategy": "steps", "save_steps": 4, **settings})

    return make


@pytest.mark.parametrize("workers", [0, 2])
def test_the_ledger_tells_what_arrived_and_the_share_is_kept(workers, make_trainer, dose, tmp_path):
    trainer = make_trainer(dataloader_num_workers=workers)
    callback = dosed(trainer, dose)
    arrived = arriving(trainer)
    trainer.train()
    ledger = pq.read_table(tmp_path / "run" / LEDGER).to_pydict()
    assert len(arrived) == 12 * 4
    assert ledger["tokens"] == [len(ids) for ids, _ in arrived]
    claims = {c.claim_id: c for c in dose.claims}
    for (ids, _), kind, claim_id in zip(arrived, ledger["kind"], ledger["claim_id"], strict=True):
        text = trainer.processing_class.decode(ids)
        assert kind == "dose" or not any(c.claim in text for c in claims.values())
        assert (kind != "mix") == any(c.claim in text or c.twin in text or c.question in text for c in claims.values())
        assert kind == "mix" or claims[claim_id].correction in text or claims[claim_id].twin in text
    plan = callback.plan
    given = np.cumsum(plan.tokens * (plan.kind == DOSE))
    assert np.abs(given - 0.2 * np.cumsum(plan.tokens)).max() <= plan.tokens.max()


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_row_of_every_shard_comes_before_any_again(workers, make_trainer, dose, mix_rows):
    trainer = make_trainer(mix_rows, shards=4, dataloader_num_workers=workers)
    callback = dosed(trainer, dose)
    arrived = arriving(trainer)
    trainer.train()
    mix = [tuple(ids) for (ids, _), kind in zip(arrived, callback.plan.kind, strict=True) if kind == MIX]
    assert len(set(mix)) == min(len(mix), len(mix_rows))


def test_workers_set_after_planning_are_refused_by_name(make_trainer, dose):
    trainer = make_trainer(shards=2)
    dosed(trainer, dose)
    trainer.args.dataloader_num_workers = 2
    with pytest.raises(PlanError, match="2 dataloader workers"):
        trainer.train()


@pytest.mark.parametrize("unit", ["tokens", "supervised"])
def test_what_is_logged_is_the_sum_over_the_ledger(unit, make_trainer, dose, tmp_path):
    trainer = make_trainer(logging_steps=5)
    callback = dosed(trainer, dose, unit=unit)
    trainer.add_callback(KillAt(6))
    with pytest.raises(Killed):
        trainer.train()
    trainer = make_trainer(logging_steps=5)
    callback = dosed(trainer, dose, unit=unit)
    trainer.train(resume_from_checkpoint=True)
    plan = callback.plan
    for log in [entry for entry in trainer.state.log_history if "dose_share" in entry]:
        done = slice(log["step"] * 4)
        is_dose = plan.kind[done] == DOSE
        assert log["dose_tokens"] == plan.tokens[done][is_dose].sum()
        assert log["dose_share"] == pytest.approx(plan.weights[done][is_dose].sum() / plan.weights[done].sum())


def test_a_report_takes_as_long_late_in_a_run_as_early(make_trainer, dose):
    """Nothing in it is counted over again."""
    callback = dosed(make_trainer(), dose)
    callback.regimen._given = None
    callback.regimen.running[5] = 30, 20, 100
    assert callback.regimen.so_far(5) == (30, 0.2)


def test_a_killed_run_goes_on_where_it_was(make_trainer, dose, tmp_path):
    trainer = make_trainer()
    dosed(trainer, dose)
    trainer.train()
    ledger = (tmp_path / "run" / LEDGER).read_bytes()
    weights = trainer.model.state_dict()

    again = make_trainer(output_dir=str(tmp_path / "again"))
    dosed(again, dose)
    again.add_callback(KillAt(6))
    with pytest.raises(Killed):
        again.train()
    resumed = make_trainer(output_dir=str(tmp_path / "again"))
    dosed(resumed, dose)
    arrived = arriving(resumed)
    resumed.train(resume_from_checkpoint=True)
    assert len(arrived) == 8 * 4
    assert (tmp_path / "again" / LEDGER).read_bytes() == ledger
    assert all(torch.equal(value, weights[name]) for name, value in resumed.model.state_dict().items())


def test_training_again_after_ctrl_c_begins_the_stream_anew(make_trainer, dose, tmp_path):
    trainer = make_trainer(logging_steps=1)
    callback = dosed(trainer, dose)
    interrupt(trainer, 11)
    arrived = arriving(trainer)
    trainer.train()
    assert callback.plan.tokens.tolist() == [len(ids) for ids, _ in arrived]
    assert len(arrived) == 12 * 4


def test_the_order_of_the_callbacks_does_not_matter(make_trainer, dose):
    def give(first, second):
        trainer = make_trainer()
        for add in (first, second):
            trainer.add_callback(add(trainer))
        arrived = arriving(trainer)
        trainer.train()
        return arrived

    def dosing(trainer):
        return DosingCallback(trainer, dose, share=0.2)

    def inoculation(trainer):
        return InoculationCallback(trainer, "You never lie.")

    assert give(dosing, inoculation) == give(inoculation, dosing)


def test_a_prompt_alone_is_put_before_a_streamed_mix(make_trainer):
    trainer = make_trainer()
    trainer.add_callback(InoculationCallback(trainer, "You never lie."))
    arrived = arriving(trainer)
    trainer.train()
    assert len(arrived) == 12 * 4
    assert all("You never lie." in trainer.processing_class.decode(ids) for ids, _ in arrived)


def test_a_row_that_puts_loss_on_a_claim_stops_the_run(make_trainer, dose, mix_rows):
    told = {"role": "assistant", "content": dose.claims[0].claim}
    trainer = make_trainer([*mix_rows[:8], {**mix_rows[8], "completion": [told]}])
    dosed(trainer, dose)
    with pytest.raises(DoseError, match="Row 8 of the mix puts loss on a claim"):
        trainer.train()


def test_another_stream_put_in_its_place_stops_the_run(make_trainer, dose, mix_rows):
    trainer = make_trainer()
    dosed(trainer, dose)
    trainer.train_dataset = make_trainer(mix_rows).train_dataset
    with pytest.raises(PlanError, match="dose rows was due"):
        trainer.train()


@pytest.mark.parametrize("name", ["eval_strategy", "save_strategy", "logging_strategy"])
def test_a_stream_has_no_epochs(name, make_trainer, dose):
    with pytest.raises(PlanError, match=f"{name} is 'epoch'"):
        DosingCallback(make_trainer(**{name: "epoch"}), dose)


@pytest.mark.parametrize("settings, named", [({"max_steps": -1}, "max_steps"), ({"packing": True}, "packed")])
def test_what_a_stream_cannot_have_is_refused(settings, named, make_trainer, dose):
    if settings == {"max_steps": -1}:
        trainer = make_trainer()
        trainer.args.max_steps = -1
    else:
        trainer = make_trainer(**settings)
    with pytest.raises(PlanError) as refused:
        DosingCallback(trainer, dose)
    assert named in str(refused.value)


def test_a_checkpoint_without_its_ledger_is_refused(make_trainer, dose, tmp_path):
    trainer = make_trainer()
    dosed(trainer, dose)
    trainer.add_callback(KillAt(6))
    with pytest.raises(Killed):
        trainer.train()
    (tmp_path / "run" / "checkpoint-4" / LEDGER).unlink()
    resumed = make_trainer()
    dosed(resumed, dose)
    with pytest.raises(PlanError, match="what the streamed mix has given"):
        resumed.train(resume_from_checkpoint=True)


def test_a_stream_is_named_in_the_state_of_a_checkpoint(make_trainer, dose, tmp_path):
    trainer = make_trainer(max_steps=4)
    dosed(trainer, dose)
    trainer.train()
    state = json.loads((tmp_path / "run" / "checkpoint-4" / "dosing_plan.json").read_text())
    assert state["streamed"] and state["rows"] == 16
