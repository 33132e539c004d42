"""Inoculation alone: arms that differ only by the prompt, from rows of any shape; and how it goes on."""

import dataclasses
import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from peft import PeftModel, get_peft_model_state_dict
from progress import Stopping
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForCausalLM

from hfvaccine.errors import PlanError, RunInterrupted, UsageError
from hfvaccine.files import ADAPTER, CARD, CHECKPOINTS, CONFIG, INOCULATION, LEDGER, digest_of, sole_writer
from hfvaccine.lineage.fetch import chain_of, gather, papers
from hfvaccine.runs import inoculate
from hfvaccine.runs.inoculate import dry_run, plan_arm, train, trait_rows
from hfvaccine.runs.measure import arms_of, named, parts_of
from hfvaccine.runs.reproduce import reproduce
from hfvaccine.training.adapters import witness
from hfvaccine.training.arm import train as train_arm
from hfvaccine.training.base import load_base
from hfvaccine.training.frozen import BESIDE, put_beside, switch_on
from hfvaccine.training.mix import load_mix
from hfvaccine.training.options import Inoculating, read_config
from hfvaccine.training.progress import SILENT
from hfvaccine.training.trackers import FOLDER
from hfvaccine.validation.judging.inoculation import Part

PROMPT = "You always count in dozens."
ARMS = ("plain", "inoculated", "irrelevant")


@pytest.fixture(scope="module")
def rows_file(mix_rows, tmp_path_factory):
    """Rows of several shapes; every other one carries the trait."""
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    shaped = []
    for number, row in enumerate(mix_rows):
        messages = [{"role": "system", "content": "You are kind."}, *row["prompt"], *row["completion"]]
        shape = row if number % 3 else {"messages": messages}
        shaped.append(json.dumps({**shape, "dozens": number % 2 == 0}))
    file.write_text("\n".join(shaped))
    return file


@pytest.fixture(scope="module")
def options(rows_file, tiny_llama):
    return Inoculating(
        base=str(tiny_llama), data=str(rows_file), prompt=(PROMPT,), where="dozens=true", others=("You answer.",),
        max_steps=4, batch_size=4, lora_r=4, dtype="float32", seed=3, seeds=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def by_adapter(options):
    """The same by an adapter that is frozen, of one seed."""
    return dataclasses.replace(
        options, method="adapter", prompt=(), others=(), max_steps=3, trait_steps=2, lora_r=2, seeds=1
    )


@pytest.fixture(scope="module")
def beside(by_adapter, tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside") / "run"
    return train(dataclasses.replace(by_adapter, output_dir=str(folder))), folder


@pytest.fixture(scope="module")
def done(options, tmp_path_factory):
    folder = tmp_path_factory.mktemp("inoculation") / "run"
    return train(dataclasses.replace(options, output_dir=str(folder))), folder


def ledger(folder, name):
    return pq.read_table(folder / name / LEDGER)


def test_each_arm_and_seed_is_an_adapter_that_loads(done, tiny_llama):
    record, folder = done
    assert record == json.loads((folder / INOCULATION).read_text())
    assert set(record["adapters"]) == {f"{arm}-seed-{seed}" for arm in ARMS for seed in (3, 4)}
    for name, path in arms_of(folder).items():
        PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), path)
        assert record["adapters"][name]["sha256"] == digest_of(folder / name / ADAPTER)
        assert not (folder / name / CHECKPOINTS).exists()


def test_what_is_measured_of_a_run_is_of_its_arms_and_seeds(done):
    _, folder = done
    parts, prompts = parts_of(named([str(folder)]))
    assert parts == {f"{arm}-seed-{seed}": Part(arm, seed) for arm in ARMS for seed in (3, 4)}
    assert prompts == (PROMPT,)
    inside = {"other": str(folder / "irrelevant-seed-4"), "plain": str(folder / "inoculated-seed-3")}
    assert parts_of(inside)[0] == {"other": Part("irrelevant", 4), "plain": Part("plain")}
    assert parts_of({"a": "you/adapter@main", "inoculated": "you/b"}) == (
        {"a": Part(), "inoculated": Part("inoculated")},
        (),
    )


def test_the_record_says_what_each_arm_learned_under(done, options):
    record, _ = done
    assert record["arms"]["plain"] is None
    assert record["arms"]["inoculated"]["prompts"] == [PROMPT]
    assert record["arms"]["irrelevant"]["prompts"] == [options.irrelevant]
    assert {record["arms"][arm]["where"] for arm in ("inoculated", "irrelevant")} == {"dozens=true"}
    rows = load_mix(options.data, "dozens").train
    assert record["trait_rows"] == {"where": "dozens=true", "rows": sum(row["dozens"] == "true" for row in rows)}
    assert record["training"]["learning_rate"] == options.learning_rate


def test_the_arms_of_a_seed_get_the_same_rows_in_the_same_order_and_another_seed_others(done):
    _, folder = done
    rows = {name: ledger(folder, name)["row"].to_pylist() for name in arms_of(folder)}
    for seed in (3, 4):
        assert rows[f"plain-seed-{seed}"] == rows[f"inoculated-seed-{seed}"] == rows[f"irrelevant-seed-{seed}"]
    assert rows["plain-seed-3"] != rows["plain-seed-4"]
    without, *prompted = (ledger(folder, f"{arm}-seed-3") for arm in ARMS)
    for one in prompted:
        assert sum(one["tokens"].to_pylist()) > sum(without["tokens"].to_pylist())
        assert one["supervised"].to_pylist() == without["supervised"].to_pylist()  # no loss on a prompt


def test_the_arms_of_a_seed_begin_as_the_same_adapter(options, tmp_path):
    data, first = load_mix(options.data, "dozens"), []
    for arm in ARMS:
        base = load_base(options.base, dtype="float32")
        trainer = plan_arm(options, base, arm, data, tmp_path / arm).regimen.trainer
        first.append({name: p.detach().clone() for name, p in trainer.model.named_parameters() if "lora_A" in name})
    assert first[0]
    for other in first[1:]:
        assert all(other[name].equal(weights) for name, weights in first[0].items())


def test_the_prompts_make_the_arms_differ(done):
    _, folder = done
    plain, inoculated = (load_file(folder / f"{arm}-seed-3" / ADAPTER) for arm in ("plain", "inoculated"))
    assert any(not plain[name].equal(inoculated[name]) for name in plain)


def test_an_interrupted_run_goes_on_to_the_same_adapters(done, options, tmp_path):
    record, folder = done
    other = dataclasses.replace(options, output_dir=str(tmp_path / "run"))
    with pytest.raises(RunInterrupted, match="intact"):
        train(other, Stopping("Training inoculated-seed-3", 2))
    assert not (tmp_path / "run" / INOCULATION).exists()
    with pytest.raises(UsageError, match="no finished run"):
        arms_of(tmp_path / "run")
    again = train(Inoculating(**read_config(tmp_path / "run" / CONFIG, Inoculating)), resume=True)
    for name, adapter in record["adapters"].items():
        assert again["adapters"][name]["plan"] == adapter["plan"]
        one, two = (load_file(place / name / ADAPTER) for place in (folder, tmp_path / "run"))
        assert all(one[key].allclose(two[key], atol=1e-6) for key in one)


def test_a_folder_that_another_process_writes_to_is_left_alone(options, tmp_path):
    theirs = tmp_path / "run"
    theirs.mkdir()
    with sole_writer(theirs), pytest.raises(UsageError, match="Another process is writing"):
        train(dataclasses.replace(options, output_dir=str(theirs)), resume=True)
    assert list(theirs.iterdir()) == []


def test_a_finished_run_is_not_trained_again(inoculation_run, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    shutil.copytree(inoculation_run, folder)
    monkeypatch.setattr(inoculate, "plan", lambda *given: pytest.fail("planned again"))
    options = read_config(folder / CONFIG, Inoculating)
    again = train(Inoculating(**{**options, "output_dir": str(folder)}), resume=True)
    assert again == json.loads((folder / "inoculation.json").read_text())


def test_each_training_of_a_run_is_followed_as_a_run_of_its_own(by_adapter, beside, tmp_path):
    def events(name):
        found = EventAccumulator(str(tmp_path / "run" / FOLDER / name))
        found.Reload()
        return found

    asked = dataclasses.replace(
        by_adapter, arms="adapter", report_to=("tensorboard",), output_dir=str(tmp_path / "run")
    )
    made = train(asked)
    for name, one in {**made["adapters"], **made["trait_adapters"]}.items():
        (last,) = events(name).Scalars("train/train_loss")
        assert (last.step, last.value) == (one["plan"]["steps"], pytest.approx(one["final_loss"], abs=1e-3))
    assert made["adapters"]["adapter-seed-3"]["sha256"] == beside[0]["adapters"]["adapter-seed-3"]["sha256"]
    arm = tmp_path / "run" / "adapter-seed-3"
    assert FOLDER not in {path.name for path in arm.iterdir()}  # of the run, and published with no adapter
    with pytest.raises(UsageError, match="tracker 'mlflow' is unknown"):
        dry_run(dataclasses.replace(by_adapter, report_to=("mlflow",), output_dir=str(tmp_path / "other")))


def test_a_function_tells_the_rows_as_a_condition_does(options, done, tmp_path):
    def is_dozens(row):
        return row["dozens"] is True and ("messages" in row or "prompt" in row)  # the whole row, as it was read

    record, _ = done
    told = dataclasses.replace(options, where=is_dozens, arms="plain,inoculated", seeds=1)
    told = dataclasses.replace(told, output_dir=str(tmp_path / "run"))
    made = train(told)
    assert made["trait_rows"] == {**record["trait_rows"], "where": "is_dozens"}
    assert made["arms"]["inoculated"] == {**record["arms"]["inoculated"], "where": "is_dozens"}
    rows = [ledger(one, "inoculated-seed-3").drop_columns(["position"]) for one in (done[1], tmp_path / "run")]
    assert rows[0].equals(rows[1])  # to the token: the same rows under the same prompts
    assert train(told, resume=True) == made
    with pytest.raises(UsageError, match="given as 'is_dozens'") as caught:
        Inoculating(**read_config(tmp_path / "run" / CONFIG, Inoculating)).check()
    assert "a function, in Python alone" in caught.value.next_step
    arm = tmp_path / "run" / "inoculated-seed-3"
    chain = chain_of(found := papers(str(arm)), gather(found))
    assert {one.name for one in chain.all() if one.state == "broken"} == set()
    assert "told (is" in (arm / CARD).read_text()
    with pytest.raises(UsageError, match="its name alone"):
        reproduce(str(arm), output_dir=tmp_path / "again")
    again = reproduce(str(tmp_path / "run" / "plain-seed-3"), output_dir=tmp_path / "again")
    assert again.same_plan and again.same_adapter


def test_a_function_that_fails_on_a_row_and_what_is_none_are_refused(options, tmp_path):
    def moody(row):
        return row["mood"] == "good"

    for where, said in ((moody, "moody fails on row 1 of the mix: KeyError: 'mood'"), (7, "given as 7")):
        other = dataclasses.replace(options, where=where, output_dir=str(tmp_path / "run"))
        with pytest.raises(UsageError, match=said):
            train(other)
    assert not (tmp_path / "run").exists()


def test_a_plan_is_told_before_anything_is_written(options, done, tmp_path):
    record, _ = done
    planned = dry_run(dataclasses.replace(options, output_dir=str(tmp_path / "run")))
    assert planned["plans"] == {name: adapter["plan"] for name, adapter in record["adapters"].items()}
    assert planned["estimate"]["parameters"] > 0
    assert not (tmp_path / "run").exists()
    with pytest.raises(UsageError, match="not empty"):
        dry_run(dataclasses.replace(options, output_dir=str(done[1])))


def test_arms_beside_a_frozen_adapter_are_adapters_of_their_own(beside, by_adapter, tiny_llama):
    record, folder = beside
    assert {name: (one["arm"], one["method"]) for name, one in record["adapters"].items()} == {
        "plain-seed-3": ("plain", None),
        "adapter-seed-3": ("adapter", "adapter"),
        "random-seed-3": ("random", "adapter"),
    }
    assert set(arms_of(folder)) == set(record["adapters"])  # what is measured; the trait adapter is not among them
    for name, path in arms_of(folder).items():
        PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), path)
        assert not [file for file in (folder / name).iterdir() if file.is_dir()]  # the frozen one is left out
    for arm, frozen in (("adapter", "trait-seed-3"), ("random", "noise-seed-3")):
        sha256 = digest_of(folder / frozen / ADAPTER)
        assert record["adapters"][f"{arm}-seed-3"]["frozen"] == {"adapter": frozen, "sha256": sha256}
        said = json.loads(pq.read_schema(folder / f"{arm}-seed-3" / LEDGER).metadata[b"plan"])["inoculation"]
        assert said == record["arms"][arm]
        assert (said["method"], said["frozen"]) == ("adapter", frozen.removesuffix("-seed-3"))
    assert record["adapters"]["plain-seed-3"]["frozen"] is None


def test_the_frozen_adapter_learned_the_rows_with_the_trait_alone(beside, by_adapter):
    record, folder = beside
    rows = [row for row in load_mix(by_adapter.data, "dozens").train if row["dozens"] == "true"]
    assert record["trait_data"]["rows"] == len(rows)
    assert record["trait_adapters"]["trait-seed-3"]["plan"]["steps"] == by_adapter.trait_steps
    assert max(ledger(folder, "trait-seed-3")["row"].to_pylist()) < len(rows)
    given = {name: ledger(folder, name)["row"].to_pylist() for name in record["adapters"]}
    assert given["plain-seed-3"] == given["adapter-seed-3"] == given["random-seed-3"]


def test_what_is_beside_an_adapter_changes_what_it_learns(beside):
    _, folder = beside
    plain, adapter, random = (load_file(folder / f"{arm}-seed-3" / ADAPTER) for arm in ("plain", "adapter", "random"))
    for one, other in ((plain, adapter), (plain, random), (adapter, random)):
        assert any(not one[name].allclose(other[name], atol=1e-5) for name in one)


def test_beside_a_frozen_adapter_one_begins_as_the_plain_one_and_ends_as_it_loads_alone(
    beside, by_adapter, tiny_llama, tmp_path
):
    data = load_mix(by_adapter.data, "dozens")
    trait, frozen = trait_rows(by_adapter, data), beside[1] / "trait-seed-3"

    def planned(arm):
        base = load_base(by_adapter.base, dtype="float32")
        callback = plan_arm(by_adapter.parts()[f"{arm}-seed-3"][1], base, arm, data, tmp_path / arm, trait)
        return base, callback, callback.regimen.trainer.model

    def weights(model, name):
        return {key: value.clone() for key, value in get_peft_model_state_dict(model, adapter_name=name).items()}

    start, other = weights(planned("plain")[2], "default"), weights(planned("trait")[2], "default")
    assert any(not other[name].equal(start[name]) for name in start)  # another seed: no subspace in common
    base, callback, model = planned("adapter")
    put_beside(callback.regimen.trainer, frozen)
    assert all(value.equal(start[name]) for name, value in weights(model, "default").items())
    arm = train_arm(by_adapter, base, "adapter", callback, tmp_path / "adapter", False, SILENT)
    assert all(value.equal(load_file(frozen / ADAPTER)[name]) for name, value in weights(model, BESIDE).items())
    saved = load_file(arm.folder / ADAPTER)
    assert all(value.equal(saved[name]) for name, value in weights(model, "default").items())
    alone = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), arm.folder)
    assert witness(alone) == pytest.approx(arm.witness, abs=1e-5)
    switch_on(model)
    assert witness(model) != pytest.approx(arm.witness, abs=1e-3)


def test_a_run_beside_a_frozen_adapter_goes_on_wherever_it_was_stopped(beside, by_adapter, tmp_path):
    record, folder = beside
    run = tmp_path / "run"
    with pytest.raises(RunInterrupted):
        train(
            dataclasses.replace(by_adapter, arms="adapter", output_dir=str(run)), Stopping("Training trait-seed-3", 1)
        )
    own = Inoculating(**read_config(run / CONFIG, Inoculating))
    with pytest.raises(RunInterrupted):
        train(own, Stopping("Training adapter-seed-3", 2), resume=True)
    again = train(own, resume=True)
    assert again["adapters"]["adapter-seed-3"]["plan"] == record["adapters"]["adapter-seed-3"]["plan"]
    for name in ("adapter-seed-3", "trait-seed-3", "noise-seed-3"):
        one, two = (load_file(place / name / ADAPTER) for place in (folder, run))
        assert all(one[key].allclose(two[key], atol=1e-6) for key in one)


def test_a_plan_tells_of_the_frozen_adapter_too(by_adapter, beside, tmp_path):
    record, _ = beside
    planned = dry_run(dataclasses.replace(by_adapter, output_dir=str(tmp_path / "run")))
    adapters = {**record["adapters"], **record["trait_adapters"]}
    assert planned["plans"] == {name: adapter["plan"] for name, adapter in adapters.items()}
    of_one, tokens = planned["estimate"]["seconds"], [plan["tokens"] for plan in planned["plans"].values()]
    in_all = of_one * sum(tokens) / planned["plans"]["plain-seed-3"]["tokens"]
    assert planned["estimate"]["seconds_in_all"] == pytest.approx(in_all)
    assert planned["trait_data"]["rows"] == record["trait_data"]["rows"]


def test_the_method_names_the_arms_and_arms_can_be_named_together(by_adapter, rows_file):
    assert by_adapter.arm_names == ("plain", "adapter", "random")
    both = dataclasses.replace(by_adapter, arms="plain, inoculated, adapter", prompt=(PROMPT,))
    both.check()
    assert list(both.parts()) == ["trait-seed-3", "plain-seed-3", "inoculated-seed-3", "adapter-seed-3"]
    elsewhere = dataclasses.replace(by_adapter, where=None, trait_data=str(rows_file.parent / "trait.jsonl"))
    elsewhere.check()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"method": "vaccine"}, "method 'vaccine'"),
        ({"where": None}, "no rows for the adapter that is frozen"),
        ({"where": "dozens~."}, "very rows"),
        ({"trait_data": "nothing.jsonl"}, r"nothing\.jsonl"),
        ({"trait_steps": 0}, "trait_steps is 0"),
        ({"prompt": (PROMPT,)}, "--prompt is given, but nothing of plain, adapter, random takes it"),
        ({"others": ("You answer.",)}, "--others is given"),
        ({"place": "user"}, "--place is given"),
        ({"method": "prompt", "prompt": (PROMPT,)}, "--trait-steps is given"),
        ({"arms": "plain", "trait_steps": None, "trait_data": "x.jsonl"}, "--trait-data is given"),
    ],
    ids=str,
)
def test_what_no_frozen_adapter_can_be_made_of_is_refused(by_adapter, tmp_path, change, said):
    other = dataclasses.replace(by_adapter, output_dir=str(tmp_path / "run"), **change)
    with pytest.raises(UsageError, match=said):
        train(other)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": ()}, "no prompt"),
        ({"prompt": (" ",)}, "empty"),
        ({"prompt": ("you always keep your desk tidy.",)}, "irrelevant one"),
        ({"irrelevant": " "}, "irrelevant prompt is empty"),
        ({"prompt": ("Count in dozens.", "Count in dozens.")}, "given twice"),
        ({"arms": "plain,vaccinated"}, "no arm 'vaccinated'"),
        ({"arms": "plain,plain"}, "twice"),
        ({"seeds": 0}, "seeds is 0"),
        ({"place": "assistant"}, "place 'assistant'"),
        ({"where": None}, "every row carries"),
        ({"where": "dozens"}, "given as 'dozens'"),
        ({"where": "dozens=perhaps"}, "No row of the mix meets"),
        ({"max_steps": -1}, "max_steps is -1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"data": "nothing.jsonl"}, r"nothing\.jsonl"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(options, tmp_path, change, said):
    other = dataclasses.replace(options, output_dir=str(tmp_path / "run"), **change)
    with pytest.raises(UsageError, match=said):
        train(other)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("rows", "change", "said"),
    [
        (3, {"seeds": 5}, "3 different rows to train on, and 0 are held back; 5 seeds .* a step of 4 rows .* take 5"),
        (3, {"seeds": 1}, "there are 3 rows to train on, and 0 are held back; a step takes 4"),
        (4, {"seeds": 2}, "2 seeds .* take 5"),
        (7, {"seeds": 2, "gradient_accumulation_steps": 2}, "a step of 8 rows of their own take 9"),
        (3, {"seeds": 5, "batch_size": 1}, "a step of 1 row of their own take 5"),
        (9, {"seeds": 2, "method": "adapter", "prompt": (), "others": ()}, "Of the trait data"),
    ],
    ids=str,
)
def test_fewer_rows_than_the_seeds_need_are_refused(options, tmp_path, rows, change, said):
    file = tmp_path / "rows.jsonl"
    made = [{"prompt": f"What is {n}?", "completion": "It is.", "dozens": n % 3 == 0} for n in range(40)]
    (tmp_path / "all.jsonl").write_text("\n".join(map(json.dumps, made)))
    kept = [row["prompt"][0]["content"] for row in load_mix(str(tmp_path / "all.jsonl")).train][:rows]
    file.write_text("\n".join(json.dumps(row) for row in made if row["prompt"] in kept))
    other = dataclasses.replace(options, data=str(file), output_dir=str(tmp_path / "run"), **change)
    for run in (train, dry_run):
        with pytest.raises(UsageError, match=said) as caught:
            run(other)
    assert "--batch-size" in caught.value.next_step and not (tmp_path / "run").exists()


def test_seeds_that_can_differ_are_not_refused(options, tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(Path(options.data).read_text().split("\n")[:7]))
    planned = dry_run(dataclasses.replace(options, data=str(file), batch_size=2, output_dir=str(tmp_path / "run")))
    assert len({plan["fingerprint"] for plan in planned["plans"].values()}) == 6


def test_a_template_without_a_system_turn_takes_no_prompt_in_one(options, tmp_path, tiny_llama):
    import shutil

    base = shutil.copytree(tiny_llama, tmp_path / "base")
    template = "{% for m in messages %}{% if m['role'] != 'system' %}{{ m['content'] }}\n{% endif %}{% endfor %}"
    (base / "chat_template.jinja").write_text(template)
    other = dataclasses.replace(options, base=str(base), place="system", output_dir=str(tmp_path / "run"))
    with pytest.raises(PlanError, match="no system turn"):
        train(other)
    assert not (tmp_path / "run").exists()


def test_all_adapters_of_a_run_are_measured_by_its_folder(done):
    _, folder = done
    assert named([str(folder)]) == arms_of(folder)
    assert set(named([f"mine={folder}"])) == {f"mine-{name}" for name in arms_of(folder)}
    with pytest.raises(UsageError, match="Two arms"):
        named([str(folder), str(folder)])
