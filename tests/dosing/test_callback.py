"""DosingCallback on a real `trl.SFTTrainer`: what arrives at the model is the plan, or the run stops."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets import Dataset as Rows
from peft import LoraConfig
from trainers import arriving, dosed, encoded, interrupt, watch
from transformers import TrainerCallback

from hfvaccine import Dose, DosingCallback
from hfvaccine.claims.guard import Guard
from hfvaccine.dosing.forms import Form, conversations
from hfvaccine.errors import DoseError, ModelError, PlanError, UsageError
from hfvaccine.files import LEDGER
from hfvaccine.inoculation.callback import InoculationCallback
from hfvaccine.regimen import regimen
from hfvaccine.regimen.dosage import prepare
from hfvaccine.regimen.measure import IGNORED
from hfvaccine.regimen.plan import CONTROL, DOSE, MIX
from hfvaccine.regimen.rendering import frozen
from hfvaccine.regimen.replay import PLAN_FILE


def record(trainer):
    """The (tokens, labels) of each row that reaches the model from now on, without padding."""
    rows = []

    def look(inputs):
        for ids, labels, mask in zip(inputs["input_ids"], inputs["labels"], inputs["attention_mask"], strict=True):
            rows.append((ids[mask.bool()].tolist(), labels[mask.bool()].tolist()))

    watch(trainer, look)
    return rows


def expected(callback, trainer, mix_rows):
    """The (tokens, labels) that the plan promises, tokenized here."""
    sources = {
        MIX: [(r["prompt"], r["completion"]) for r in mix_rows],
        DOSE: [(r.prompt, r.completion) for r in callback.regimen.dosage.rows],
        CONTROL: [(r.prompt, r.completion) for r in callback.regimen.dosage.controls],
    }
    rows = []
    for kind, index in zip(callback.plan.kind.tolist(), callback.plan.index.tolist(), strict=True):
        prompt, completion = sources[kind][index]
        rows.append(encoded(trainer.processing_class, prompt, completion))
    return rows


def test_the_rows_that_arrive_are_the_rows_of_the_plan(make_trainer, dose, mix_rows):
    trainer = make_trainer()
    callback = dosed(trainer, dose)
    arrived = record(trainer)
    trainer.train()
    assert len(arrived) == 6 * 4
    assert {MIX, DOSE, CONTROL} == set(callback.plan.kind.tolist())
    assert arrived == expected(callback, trainer, mix_rows)


def test_a_run_of_epochs_ends_with_its_plan(make_trainer, dose, mix_rows):
    trainer = make_trainer(Rows.from_list(mix_rows[:10]), max_steps=-1, num_train_epochs=1)
    callback = dosed(trainer, dose)
    arrived = record(trainer)
    trainer.train()
    assert arrived == expected(callback, trainer, mix_rows[:10])
    assert callback.plan.count(MIX) >= 10


@pytest.mark.parametrize(
    "settings",
    [
        {"gradient_checkpointing": True},
        {"padding_free": True, "max_length": None},
        {"peft_config": LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")},
        {"loss_type": "dft"},
        {"dataset_num_proc": 2},
        {"eval_strategy": "steps", "eval_steps": 2},
    ],
    ids=str,
)
def test_other_settings_change_nothing(settings, make_trainer, dose, mix_rows):
    trainer = make_trainer(**settings)
    callback = dosed(trainer, dose)
    arrived = arriving(trainer)
    trainer.train()
    assert arrived == [(ids, labels[1:]) for ids, labels in expected(callback, trainer, mix_rows)]


@pytest.mark.parametrize("schedule, unit", [("taper", "tokens"), ("constant", "supervised")])
def test_the_plan_keeps_the_share_in_its_unit(make_trainer, dose, schedule, unit):
    plan = dosed(make_trainer(max_steps=60), dose, schedule=schedule, unit=unit).plan
    assert (plan.schedule, plan.unit) == (schedule, unit)
    assert plan.share_given == pytest.approx(0.2, abs=0.02)


def test_the_ledger_tells_what_arrived(make_trainer, dose, tmp_path):
    trainer = make_trainer()
    callback = dosed(trainer, dose)
    arrived = record(trainer)
    trainer.train()
    ledger = pq.read_table(tmp_path / "run" / LEDGER).to_pydict()
    assert ledger["tokens"] == [len(ids) for ids, _ in arrived]
    assert ledger["supervised"] == [sum(label != IGNORED for label in labels) for _, labels in arrived]
    texts = {c.claim_id: c for c in dose.claims}
    seen = [trainer.processing_class.decode(ids) for ids, _ in arrived]
    for kind, claim_id, text in zip(ledger["kind"], ledger["claim_id"], seen, strict=True):
        if kind != "mix":
            claim = texts[claim_id]
            assert claim.correction in text or claim.twin in text
    assert (
        callback.write_ledger(tmp_path / "again")
        == hashlib.sha256((tmp_path / "run" / LEDGER).read_bytes()).hexdigest()
    )


def test_no_loss_falls_on_a_claim(make_trainer, dose):
    trainer = make_trainer()
    callback = dosed(trainer, dose)
    arrived = record(trainer)
    trainer.train()
    learnt = [
        trainer.processing_class.decode([token for token, label in zip(*row, strict=True) if label != IGNORED])
        for row, kind in zip(arrived, callback.plan.kind.tolist(), strict=True)
        if kind != MIX
    ]
    assert learnt and all(learnt)
    assert not any(c.claim in text for c in dose.claims for text in learnt)


@pytest.mark.parametrize("shape", ["text", "messages"])
def test_a_mix_of_plain_language_keeps_its_own_loss_beside_the_dose(make_trainer, dose, mix_rows, shape):
    rows = {
        "text": [{"text": r["completion"][0]["content"]} for r in mix_rows],
        "messages": [{"messages": r["prompt"] + r["completion"]} for r in mix_rows],
    }[shape]
    trainer = make_trainer(Rows.from_list(rows))
    callback = dosed(trainer, dose)
    arrived = record(trainer)
    trainer.train()
    kinds = callback.plan.kind.tolist()
    for (ids, labels), kind in zip(arrived, kinds, strict=True):
        assert (labels == ids) == (kind == MIX)
    assert [len(ids) for ids, _ in arrived] == callback.plan.tokens.tolist()


@pytest.mark.parametrize(
    "setting, name", [("auto_find_batch_size", "auto_find_batch_size"), ("dataloader_drop_last", "drop_last")]
)
def test_settings_that_cannot_be_exact_are_refused_by_name(make_trainer, dose, setting, name):
    with pytest.raises(PlanError, match=name):
        DosingCallback(make_trainer(**{setting: True}), dose)


@pytest.mark.parametrize("strategy", ["wrapped", "bfd_split"])
def test_packing_that_cuts_rows_is_refused(make_trainer, dose, strategy):
    with pytest.raises(PlanError, match=strategy):
        DosingCallback(make_trainer(packing=True, packing_strategy=strategy), dose)


def test_packing_needs_the_raw_mix(make_trainer, dose):
    with pytest.raises(PlanError, match="they are packed") as refused:
        DosingCallback(make_trainer(packing=True), dose)
    assert "raw_dataset=" in refused.value.next_step


def test_a_mix_that_puts_loss_on_a_claim_fails_to_start(make_trainer, dose, mix_rows):
    claim = dose.claims[0]
    told = [
        {"role": "user", "content": f"True or false? {claim.claim}"},
        {"role": "assistant", "content": f"False. {claim.correction}"},
    ]
    plain = [{"messages": r["prompt"] + r["completion"]} for r in mix_rows]
    trainer = make_trainer(Rows.from_list([*plain, {"messages": told}]))
    rows = trainer.train_dataset
    with pytest.raises(DoseError, match="Row 40 of the mix puts loss on a claim"):
        DosingCallback(trainer, dose)
    assert trainer.train_dataset is rows
    safe = Rows.from_list([*mix_rows, {"prompt": told[:1], "completion": told[1:]}])
    DosingCallback(make_trainer(safe), dose, share=0.2)  # the claim in the prompt is no harm


def test_a_completion_that_repeats_a_claim_fails_to_start(make_trainer, dose, mix_rows):
    false = dose.claims[2].claim.upper()
    row = {**mix_rows[0], "completion": [{"role": "assistant", "content": f"It is a myth that {false}"}]}
    with pytest.raises(DoseError, match="Row 0 of the mix puts loss on a claim"):
        DosingCallback(make_trainer(Rows.from_list([row, *mix_rows])), dose)


def test_an_answer_that_says_a_held_out_claim_fails_to_start(make_trainer, make_claims):
    claims = make_claims(4, heldout=1)
    claims[1] = replace(claims[1], correction=f"It is known that {claims[3].claim}")
    trainer = make_trainer()
    rows = trainer.train_dataset
    with pytest.raises(
        DoseError, match=f"answer of claim {claims[1].claim_id} .* says the claim 'The town of Aldor 3"
    ):
        DosingCallback(trainer, Dose.from_claims(claims), share=0.2)
    assert trainer.train_dataset is rows


def test_a_second_dose_is_refused_and_the_first_is_given(make_trainer, make_claims, tmp_path):
    first, second = make_claims(8)[:4], make_claims(8)[4:]
    trainer = make_trainer()
    dosed(trainer, Dose.from_claims(first))
    with pytest.raises(PlanError, match="already has a dose") as refused:
        dosed(trainer, Dose.from_claims(second))
    assert "one DosingCallback all claims" in refused.value.next_step
    trainer.train()
    given = set(pq.read_table(tmp_path / "run" / LEDGER)["claim_id"].to_pylist()) - {None}
    assert given and given <= {claim.claim_id for claim in first}


def test_a_callback_that_was_refused_is_no_first_one(make_trainer, dose):
    trainer = make_trainer()
    with pytest.raises(UsageError):
        dosed(trainer, dose, schedule=lambda progress: 9.0 * (progress > 0.9))
    dosed(trainer, dose)


def test_a_callback_that_is_added_twice_works_once(make_trainer, dose):
    trainer = make_trainer()
    callback = dosed(trainer, dose)
    trainer.add_callback(callback)
    trainer.train()
    assert trainer.state.global_step == 6


def test_the_labels_of_every_dose_row_are_verified(make_trainer, dose):
    trainer = make_trainer()
    # A template that renders the conversation another way once it is answered.
    trainer.processing_class.chat_template = (
        "{% for m in messages %}{{ '!' if messages | length > 1 }}{{ m['content'] }}{{ eos_token }}{% endfor %}"
    )
    with pytest.raises(DoseError, match="does not fall on the completion alone"):
        DosingCallback(trainer, dose)


def test_the_loggers_are_told_of_the_dose(make_trainer, dose, tmp_path):
    class Logger(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            told.append({**logs, "step": state.global_step})

    told = []
    trainer = make_trainer(logging_steps=2)
    trainer.add_callback(Logger)
    callback = dosed(trainer, dose)
    trainer.train()
    logs = [entry for entry in told if "loss" in entry]
    assert [e["dose_share"] for e in logs] == [e["dose_share"] for e in trainer.state.log_history if "loss" in e]
    ledger = pq.read_table(tmp_path / "run" / LEDGER).to_pydict()
    assert [entry["step"] for entry in logs] == [2, 4, 6]
    for entry in logs:
        done = [i for i, step in enumerate(ledger["step"]) if step <= entry["step"]]
        dose_tokens = sum(ledger["tokens"][i] for i in done if ledger["kind"][i] == "dose")
        assert entry["dose_tokens"] == dose_tokens
        assert entry["dose_share"] == pytest.approx(dose_tokens / sum(ledger["tokens"][i] for i in done))
        since = [i for i in done if ledger["step"][i] > entry["step"] - 2]
        by_kind = [
            (entry.get(f"{kind}_loss", 0.0), sum(ledger["supervised"][i] for i in since if ledger["kind"][i] == kind))
            for kind in ("mix", "dose", "control")
        ]
        mean = sum(loss * tokens for loss, tokens in by_kind) / sum(tokens for _, tokens in by_kind)
        # Each step's loss is a mean over its own tokens: close to the mean over both steps' tokens.
        assert mean == pytest.approx(entry["loss"], rel=0.02)
    assert callback.plan.share_given == pytest.approx(logs[-1]["dose_share"])


def test_a_max_length_that_would_cut_a_correction_is_refused(make_trainer, dose):
    with pytest.raises(PlanError, match="`max_length` is 40") as refused:
        DosingCallback(make_trainer(max_length=40), dose)
    assert "correction would be cut" in refused.value.next_step


@pytest.mark.parametrize("streamed", [False, True])
def test_a_row_beyond_the_models_positions_is_refused_before_training(make_trainer, dose, mix_rows, streamed):
    long = {"prompt": mix_rows[0]["prompt"], "completion": [{"role": "assistant", "content": "north " * 600}]}
    rows = Rows.from_list([*mix_rows[:2], long])
    trainer = make_trainer(rows.to_iterable_dataset() if streamed else rows, max_length=None)
    with pytest.raises(PlanError, match=r"Row 2 of the mix has \d+ tokens, and the model has 512 positions"):
        dosed(trainer, dose)
        trainer.train()


def test_a_correction_beyond_the_models_positions_is_refused(make_trainer, dose):
    trainer = make_trainer(max_length=None)
    trainer.model.config.max_position_embeddings = 40
    with pytest.raises(PlanError, match=r"claim \w+ has \d+ tokens, and the model has 40 positions"):
        prepare(trainer, [given.dose for given in conversations(dose.claims)], Guard(()))


def test_a_template_that_writes_todays_date_is_refused_by_the_name_of_its_clock(make_trainer, dose):
    trainer = make_trainer()
    trainer.processing_class.chat_template += "{{ strftime_now('%Y') }}"
    with pytest.raises(PlanError, match="strftime_now"):
        DosingCallback(trainer, dose)
    trainer.processing_class.chat_template = frozen(trainer.processing_class.chat_template)
    DosingCallback(trainer, dose)


def test_a_dose_row_that_the_template_refuses_is_named_with_its_role(make_trainer, dose):
    trainer = make_trainer()
    trainer.processing_class.chat_template = "{{ raise_exception('no answers') }}"
    with pytest.raises(
        ModelError, match=r"row of claim \w+ in the form '\w+': .* turn 1, of the role 'user'.*no answers"
    ):
        DosingCallback(trainer, dose)


def test_a_tokenizer_without_chat_template_is_refused(make_trainer, dose, mix_rows):
    trainer = make_trainer(Rows.from_list([{"text": r["completion"][0]["content"]} for r in mix_rows]))
    trainer.processing_class.chat_template = None
    with pytest.raises(PlanError, match="no chat template"):
        DosingCallback(trainer, dose)


def test_wordings_without_controls_are_given_alone(make_trainer, dose, mix_rows):
    trainer = make_trainer()
    callback = dosed(trainer, dose, forms=[Form("ask", "{question}", "{correction}")])
    trainer.train()
    assert {MIX, DOSE} == set(callback.plan.kind.tolist())


def test_a_dose_is_tokenized_as_far_as_the_run_needs_it(make_trainer, dose, monkeypatch):
    whole = dosed(make_trainer(), dose)
    monkeypatch.setattr(regimen, "FIRST_ROWS", 1)
    little = dosed(make_trainer(), dose)
    assert little.fingerprint() == whole.fingerprint()
    assert whole.plan.count(DOSE) <= len(little.regimen.dosage.rows) < len(whole.regimen.dosage.rows)


def test_a_run_too_short_for_one_dose_row_is_refused(make_trainer, dose):
    with pytest.raises(DoseError, match="not one dose row fits"):
        DosingCallback(make_trainer(max_steps=1), dose, share=0.001)


@pytest.mark.parametrize("option", [{"share": 0.7}, {"schedule": "never"}, {"unit": "bytes"}])
def test_options_out_of_range_are_refused(make_trainer, dose, option):
    with pytest.raises(UsageError):
        DosingCallback(make_trainer(), dose, **option)


def test_a_refused_callback_leaves_the_trainer_as_it_was(make_trainer, dose):
    trainer = make_trainer(max_steps=1)
    rows = trainer.train_dataset
    with pytest.raises(DoseError):
        DosingCallback(trainer, dose, share=0.001)
    assert trainer.train_dataset is rows
    assert trainer.args.train_sampling_strategy == "random"


def test_a_dataset_swapped_after_planning_stops_the_run(make_trainer, dose):
    trainer = make_trainer()
    dosed(trainer, dose)
    trainer.train_dataset = trainer.train_dataset.select(np.arange(len(trainer.train_dataset))[::-1])
    with pytest.raises(
        PlanError, match=r"In step 1 the model was given a row of .* that the plan does not have there"
    ):
        trainer.train()


def test_a_random_sampler_set_after_planning_stops_the_run(make_trainer, dose):
    trainer = make_trainer()
    dosed(trainer, dose)
    trainer.args.train_sampling_strategy = "random"
    with pytest.raises(PlanError, match="planned is"):
        trainer.train()


@pytest.mark.parametrize("batch", [5, 6], ids=["within a step", "between steps"])
def test_training_again_after_ctrl_c_gives_the_whole_plan(batch, make_trainer, dose, tmp_path):
    trainer = make_trainer(save_strategy="steps", save_steps=3, logging_steps=1)
    callback = dosed(trainer, dose)
    interrupt(trainer, batch)
    arrived = record(trainer)
    trainer.train()
    assert trainer.state.global_step == 6
    assert [len(ids) for ids, _ in arrived] == callback.plan.tokens.tolist()
    assert pq.read_table(tmp_path / "run" / LEDGER)["tokens"].to_pylist() == callback.plan.tokens.tolist()
    assert not trainer.model._forward_hooks and not trainer.model._forward_pre_hooks
    # And what it saved is of the second run: it can be taken up.
    resumed = make_trainer(save_strategy="steps", save_steps=3)
    dosed(resumed, dose)
    resumed.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))
    assert resumed.state.global_step == 6


def test_a_run_is_taken_up_after_ctrl_c_in_the_same_process(make_trainer, dose):
    trainer = make_trainer(save_strategy="steps", save_steps=3)
    callback = dosed(trainer, dose)
    interrupt(trainer, 9)
    arrived = record(trainer)
    trainer.train(resume_from_checkpoint=True)
    assert [len(ids) for ids, _ in arrived] == callback.plan.tokens[3 * 4 :].tolist()


@pytest.mark.parametrize("remaining", [0, 1])
def test_whichever_callback_is_left_after_ctrl_c_does_the_work(remaining, make_trainer, dose, tmp_path):
    trainer = make_trainer()
    callbacks = [dosed(trainer, dose), InoculationCallback(trainer, "You never lie.")]
    trainer.add_callback(callbacks[1])
    interrupt(trainer, 5)
    trainer.remove_callback(callbacks[1 - remaining])
    trainer.train()
    assert (tmp_path / "run" / LEDGER).is_file()


@pytest.fixture
def interrupted(make_trainer, dose, tmp_path):
    """A whole run's final weights and ledger, and its folder as an interruption at step 3 leaves it."""
    trainer = make_trainer(save_strategy="steps", save_steps=3)
    dosed(trainer, dose)
    trainer.train()
    ledger = (tmp_path / "run" / LEDGER).read_bytes()
    (tmp_path / "run" / LEDGER).unlink()
    shutil.rmtree(tmp_path / "run" / "checkpoint-6")
    return trainer.model.state_dict(), ledger


def test_a_resumed_run_ends_in_the_weights_and_ledger_of_a_whole_one(interrupted, make_trainer, dose, tmp_path):
    weights, ledger = interrupted
    trainer = make_trainer(save_strategy="steps", save_steps=3)
    dosed(trainer, dose)
    arrived = record(trainer)
    trainer.train(resume_from_checkpoint=True)
    assert len(arrived) == 3 * 4
    assert all(torch.equal(value, weights[name]) for name, value in trainer.model.state_dict().items())
    assert (tmp_path / "run" / LEDGER).read_bytes() == ledger


def test_resuming_under_another_share_is_refused_by_name(interrupted, make_trainer, dose):
    trainer = make_trainer(save_strategy="steps", save_steps=3)
    dosed(trainer, dose, share=0.3)
    with pytest.raises(PlanError, match=r"another plan: share 0\.2 -> 0\.3"):
        trainer.train(resume_from_checkpoint=True)


def test_resuming_with_other_claims_is_refused(interrupted, make_trainer, make_claims):
    trainer = make_trainer(save_strategy="steps", save_steps=3)
    longer = [f"On maps as in the field, Aldor {i} is where it always was." for i in range(6)]
    claims = [make_claims(6, correction=text)[i] for i, text in enumerate(longer)]
    dosed(trainer, Dose.from_claims(claims))
    with pytest.raises(PlanError, match="another plan"):
        trainer.train(resume_from_checkpoint=True)


def test_resuming_what_was_not_dosed_is_refused(make_trainer, dose, tmp_path):
    make_trainer(save_strategy="steps", save_steps=3).train()
    trainer = make_trainer(save_strategy="steps", save_steps=3)
    dosed(trainer, dose)
    with pytest.raises(PlanError, match="was not saved by a dosed run"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-3"))


def test_a_checkpoint_that_was_moved_is_still_held_to_its_plan(interrupted, make_trainer, dose, tmp_path):
    moved = shutil.move(tmp_path / "run" / "checkpoint-3", tmp_path / "elsewhere")
    trainer = make_trainer(save_strategy="steps", save_steps=3)
    dosed(trainer, dose, share=0.3)
    with pytest.raises(PlanError, match=r"share 0\.2 -> 0\.3"):
        trainer.train(resume_from_checkpoint=str(moved))


def test_beside_each_checkpoint_stands_what_was_given(interrupted, dose, tmp_path):
    state = json.loads((tmp_path / "run" / "checkpoint-3" / PLAN_FILE).read_text())
    assert state["step"] == 3
    assert state["share"] == 0.2
    assert 0 < state["dose_share"] < 0.4
