"""The pairwise objective: it looks at the verdict, moves no bias, and lies in the trainer's own forward pass."""

import numpy as np
import pytest
import torch
import trainers
from hypothesis import given
from hypothesis import strategies as st

from hfvaccine.dosing.wordings import Form
from hfvaccine.errors import PlanError, UsageError
from hfvaccine.regimen.measure import IGNORED
from hfvaccine.regimen.pairwise import Side, sides

VERDICTS = (
    Form("at_once", "True or false? {statement}", "False. {correction}", "True. {correction}"),
    Form(
        "recalled",
        "So is this right? {statement}",
        "No.",
        "Yes.",
        recall=("{question}", "{correction}"),
    ),
)


def row(prompt, answer):
    return [*prompt, *answer], [*[IGNORED] * len(prompt), *answer]


def test_the_verdict_is_where_the_answers_part():
    found = sides([(row([1, 2], [7, 8, 9]), row([1, 2, 3], [7, 5, 9]))], [(100, 200)])
    assert found == {100: Side(0, False, 2, (5, 8)), 200: Side(0, True, 3, (5, 8))}


def test_answers_that_never_part_make_no_pair():
    assert sides([(row([1], [7, 8]), row([2], [7, 8]))], [(1, 2)]) == {}


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_the_two_places_say_the_two_verdicts(false, true):
    found = sides([(row([9], false), row([9, 9], true))], [(1, 2)])
    for checksum, (ids, _) in ((1, row([9], false)), (2, row([9, 9], true))):
        if checksum in found:
            side = found[checksum]
            assert ids[side.place + 1] == side.verdicts[0 if side.true else 1]


def pairwise(trainer, dose, **options):
    return trainers.dosed(trainer, dose, **{"objective": "pairwise", "forms": VERDICTS, **options})


def paired(mix_rows, names):
    return [{**row, "pair": name} for row, name in zip(mix_rows, names, strict=True)]


def plain(model, tokenizer, false, true):
    """The loss of one pair, reckoned row by row: (ids, labels) of each."""
    learnt = [[n for n, label in enumerate(labels) if n and label != IGNORED] for _, labels in (false, true)]
    at = next((a, b) for a, b in zip(*learnt, strict=False) if false[0][a] != true[0][b])
    verdict_true, verdict_false = true[0][at[1]], false[0][at[0]]
    leaning = []
    for (ids, _), place in zip((false, true), at, strict=True):
        logits = model(input_ids=torch.tensor([ids])).logits[0, place - 1]
        leaning.append(logits[verdict_true] - logits[verdict_false])
    return float(torch.nn.functional.softplus(leaning[0] - leaning[1]))


@pytest.mark.parametrize("padding_free", [False, True])
@pytest.mark.parametrize("peft", [False, True])
def test_the_loss_is_that_of_the_pairs_in_the_pass(padding_free, peft, make_trainer, dose, mix_rows):
    from peft import LoraConfig

    rows = paired(mix_rows[:20], [None] * 8 + [n // 2 for n in range(12)])
    trainer = make_trainer(
        rows,
        max_steps=1,
        per_device_train_batch_size=12,
        gradient_accumulation_steps=1,
        peft_config=LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM") if peft else None,
    )
    if padding_free:
        from hfvaccine.training.unpadded import remove_padding

        assert remove_padding(trainer)
    callback = pairwise(trainer, dose)
    regimen = callback.regimen
    rows = [(row["input_ids"], row["labels"]) for row in trainer.train_dataset]
    model = trainer.accelerator.unwrap_model(trainer.model).eval()
    found, waiting = [], {}
    for row, checksum in zip(rows, regimen.checksums.tolist(), strict=True):
        side = regimen.sides.get(checksum)
        if side is not None and side.pair in waiting:
            false, true = (waiting.pop(side.pair), row) if side.true else (row, waiting.pop(side.pair))
            found.append(plain(model, trainer.processing_class, false, true))
        elif side is not None:
            waiting[side.pair] = row
    assert len(found) >= 3 and not waiting
    trainer.train()
    (logged,) = (entry["pairwise_loss"] for entry in trainer.state.log_history if "pairwise_loss" in entry)
    assert logged == pytest.approx(np.mean(found), rel=1e-3)


def test_the_loss_of_a_step_is_the_mean_over_its_pairs(make_trainer, dose):
    """Beside the likelihood alone, and whichever pass of a step a pair is in."""
    trainer = make_trainer(max_steps=1, per_device_train_batch_size=8, gradient_accumulation_steps=2)
    added = pairwise(trainer, dose).regimen._pairwise
    batches, _ = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 2, "cpu")
    trainer.current_gradient_accumulation_steps = 2
    trainer.model.train()
    many = [len(added._pairs(batch)) for batch in batches]
    assert many[0] > 0 and many[1] > 0
    for items in (torch.tensor(100), None):
        total = 0.0
        for batch, pairs in zip(batches, many, strict=True):
            own = added._own_loss(trainer.model, batch, num_items_in_batch=items)
            added._losses = None
            both = trainer.compute_loss(trainer.model, batch, num_items_in_batch=items)
            mean = trainer._metrics["train"]["pairwise_loss"][-1]
            passes = 1 if items is not None else 2  # by which the trainer divides
            assert float(both - own) == pytest.approx(passes * mean * pairs / sum(many), rel=1e-3)
            assert both.requires_grad
            total += float(both - own) / passes
        assert total > 0


def test_a_step_in_many_passes_moves_the_weights_as_one_in_one_pass(make_trainer, dose):
    moved, given = [], []
    for rows, passes in ((8, 1), (4, 2), (2, 4)):
        trainer = make_trainer(
            max_steps=1, per_device_train_batch_size=rows, gradient_accumulation_steps=passes, optim="sgd",
            learning_rate=0.1, max_grad_norm=0.0, lr_scheduler_type="constant",
        )  # fmt: skip
        callback = pairwise(trainer, dose, share=0.4)
        given.append(sorted(zip(callback.plan.kind.tolist(), callback.plan.index.tolist(), strict=True)))
        trainer.train()
        assert callback.regimen._pairwise._in_step > 1
        moved.append(torch.cat([one.detach().reshape(-1) for one in trainer.model.parameters()]))
    assert given[0] == given[1] == given[2]
    assert (moved[0] - moved[1]).abs().max() < 1e-6 and (moved[0] - moved[2]).abs().max() < 1e-6


def test_a_bias_changes_nothing(make_trainer, dose):
    trainer = make_trainer(max_steps=1, per_device_train_batch_size=8)
    callback = pairwise(trainer, dose, forms=VERDICTS[:1])
    batch = trainer._prepare_inputs(next(iter(trainer.get_train_dataloader())))
    trainer.model.train()
    (verdicts,) = {side.verdicts for side in callback.regimen.sides.values()}
    head, seen = trainer.model.get_output_embeddings(), []
    for bias in (0.0, 5.0):
        shift = torch.zeros(head.out_features)
        shift[verdicts[0]] = bias
        handle = head.register_forward_hook(lambda module, args, out, shift=shift: out + shift)
        trainer.compute_loss(trainer.model, batch)
        seen.append(trainer._metrics["train"]["pairwise_loss"][-1])
        handle.remove()
    assert seen[0] == pytest.approx(seen[1], rel=1e-4) and seen[0] > 0


def test_no_pair_is_parted_in_training(make_trainer, dose, mix_rows):
    rows = paired(mix_rows, [None] * 20 + [n // 2 for n in range(20)])
    trainer = make_trainer(rows, max_steps=12, per_device_train_batch_size=3)
    callback = pairwise(trainer, dose)
    batches = []
    trainers.watch(trainer, lambda inputs: batches.append(inputs))
    trainer.train()
    sums = callback.regimen.checksums.tolist()
    passes = [sums[at : at + 3] for at in range(0, len(sums), 3)]
    assert len(passes) == len(batches)
    for pairs in passes[:-2]:
        its = [callback.regimen.sides[c].pair for c in pairs if c in callback.regimen.sides]
        assert all(its.count(pair) == 2 for pair in its)


def test_loss_falls_on_what_is_recalled_and_on_the_verdict_alone(make_trainer, dose):
    trainer = make_trainer(max_steps=4, per_device_train_batch_size=4)
    callback = pairwise(trainer, dose, forms=VERDICTS[1:])
    words = trainer.processing_class
    rows = {row.claim_id: row for row in callback.regimen.dosage.rows}
    doses, _ = callback.regimen.dosage.tokenized()
    assert len(doses) == len(rows) == 6
    for row, tokens in zip(callback.regimen.dosage.rows, doses, strict=True):
        claim = next(c for c in dose.claims if c.claim_id == row.claim_id)
        under = words.decode([t for t, label in zip(*tokens.values(), strict=True) if label != IGNORED])
        assert under == f"{claim.correction}</s>No.</s>"


def test_an_unknown_objective_is_refused(make_trainer, dose):
    with pytest.raises(UsageError, match="'dpo'"):
        trainers.dosed(make_trainer(), dose, objective="dpo")


def test_a_pass_of_one_row_is_refused(make_trainer, dose):
    with pytest.raises(PlanError, match="holds one row"):
        pairwise(make_trainer(per_device_train_batch_size=1), dose)


def test_the_plan_knows_its_objective(make_trainer, dose):
    assert pairwise(make_trainer(), dose).regimen.settings()["objective"] == "pairwise"
