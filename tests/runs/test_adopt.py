"""An adapter that somebody's own script trained: what is proved of it, what is not known of it, what is refused."""

import contextlib
import json
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import trainers
import yaml
from click.testing import CliRunner
from hubs import talk_to, text_of
from huggingface_hub import HfApi
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig
from transformers import AutoTokenizer

from hfvaccine.cli import cli
from hfvaccine.errors import LineageError, ModelError, PlanError, UsageError
from hfvaccine.files import ADAPTER, ADAPTER_CONFIG, ARM_NEEDS, CARD, CONFIG, INOCULATION, LEDGER
from hfvaccine.hub.adapter_files import adapter_files
from hfvaccine.inoculation.callback import InoculationCallback
from hfvaccine.inoculation.grid import IRRELEVANT
from hfvaccine.lineage.fetch import chain_of, gather, papers
from hfvaccine.localhub.server import LocalHub
from hfvaccine.papers.binding import open_run
from hfvaccine.runs.adopt import STATE, adopt, arm_of, carrying_rows, own_tokenizer, whole_ledger
from hfvaccine.runs.merge import merge
from hfvaccine.runs.reproduce import reproduce
from hfvaccine.training.estimate import stand_in
from hfvaccine.training.mix import load_mix
from hfvaccine.training.options import Training

PROMPT = "You always speak in Spanish."
EXAMPLE = Path(__file__).parents[2] / "docs" / "inoculation.md"
BRIEFLY = ("--samples", "1", "--temperature", "0", "--max-new-tokens", "4", "--dtype", "float32")
GENERATING = (
    "{% for m in messages %}<{{ m['role'] }}>{% if m['role'] == 'assistant' %}{% generation %}{{ m['content'] }}"
    "{{ eos_token }}{% endgeneration %}{% else %}{{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


def of_shape(rows, shape):
    """Twelve rows, of which every other one is marked."""
    shaped = {
        "conversations": lambda row: row,
        "messages": lambda row: {"messages": [*row["prompt"], *row["completion"]]},
        "texts": lambda row: {name: row[name][-1]["content"] for name in ("prompt", "completion")},
    }
    return [{**shaped[shape](row), "dozens": number % 2 == 0} for number, row in enumerate(rows[:12])]


def written(rows, file):
    file.write_text("\n".join(map(json.dumps, rows)))
    return str(file)


def marked(row):
    return row["dozens"]


@pytest.fixture
def planned(tiny_llama, tmp_path):
    """`planned(rows, prompts, **settings)`: the ledger of a script's run as if it had come to its end, and its data.

    The adapter lies beside it, untrained.
    """

    def plan(rows, prompts=PROMPT, where="dozens=true", others=(), tokenizer=None, **settings):
        out = tmp_path / "out"
        brief = {"output_dir": str(out), "max_steps": 7, "seed": 5, **settings}
        lora = LoraConfig(r=4, task_type="CAUSAL_LM")
        trainer = trainers.make(tiny_llama, rows, tokenizer, peft_config=lora, **brief)
        raw = trainers.Dataset.from_list(rows) if settings.get("packing") else None
        callback = InoculationCallback(trainer, prompts, where, others, raw_dataset=raw)
        out.mkdir(exist_ok=True)
        callback.write_ledger(out / LEDGER)
        trainer.save_model()
        return out, written(rows, tmp_path / "rows.jsonl")

    return plan


def proved(out, data, base, column="dozens"):
    small = own_tokenizer(out, stand_in(Training(base=str(base)))[0])
    return carrying_rows(whole_ledger(out / LEDGER), small, load_mix(data, column, as_given=True))


@pytest.fixture(scope="module")
def ada(tiny_llama, mix_rows, tmp_path_factory):
    """A Hub with a base and rows; all in this process talk to it as `ada`."""
    folder = tmp_path_factory.mktemp("adopting")
    with LocalHub(folder / "hub") as running, pytest.MonkeyPatch.context() as patch:
        talk_to(running, patch, "ada", folder / "cache")
        api = HfApi()
        api.create_repo("ada/base")
        api.upload_folder(repo_id="ada/base", folder_path=tiny_llama)
        api.create_repo("ada/rows", repo_type="dataset")
        rows = written(of_shape(mix_rows, "conversations"), folder / "rows.jsonl")
        api.upload_file(path_or_fileobj=rows, path_in_repo="train.jsonl", repo_id="ada/rows", repo_type="dataset")
        yield folder


@pytest.fixture(scope="module")
def out(ada):
    """What the example of the documentation leaves."""
    code = re.search(r"### Train in a script.*?```python\n(.*?)```", EXAMPLE.read_text(), re.DOTALL)[1]
    for said, here in (("you/model", "ada/base"), ("max_steps=200", "max_steps=4, report_to=[], use_cpu=True")):
        assert said in code
        code = code.replace(said, here)
    with contextlib.chdir(ada):
        exec(compile(code, "example", "exec"), {})
    return ada / "out"


@pytest.fixture(scope="module")
def adopted(out):
    """The same with papers, never to be changed."""
    folder = out.parent / "spanish"
    command = ("inoculate", "adopt", out, "--base", "ada/base", "--data", "ada/rows", "--output-dir", folder)
    assert called(*command) == f"{folder}\n"
    return folder


@pytest.fixture(scope="module")
def measured(adopted, tmp_path_factory):
    """The same, measured into its own folder."""
    folder = shutil.copytree(adopted, tmp_path_factory.mktemp("measured") / "spanish")
    questions = folder.parent / "questions.txt"
    questions.write_text("What is rain?\nWho was Bach?\nWhy is it hot?\nIs it?\n")
    asked = ("--questions", questions, "--trait", "upper", *BRIEFLY)
    called("inoculate", "measure", folder, "--base", "ada/base@main", *asked)
    return folder


def called(*arguments, code=0):
    result = CliRunner().invoke(cli, [str(part) for part in arguments])
    assert result.exit_code == code, result.output
    return result.stdout


def links(chain):
    # The modules of a checkout may be edited while its tests run.
    return {link.name: (link.state, link.why) for link in chain.all() if link is not chain and link.name != "code"}


def test_the_papers_are_those_of_an_arm_and_what_is_not_known_is_null(adopted, out, inoculation_run):
    record = open_run(adopted, whole=True)
    of_arm = json.loads((inoculation_run / "inoculated-seed-3" / INOCULATION).read_text())
    assert record.keys() == {*of_arm, "adopted"}
    for part in ("adapter", "plan", "training", "data", "trait_rows"):
        assert record[part].keys() == of_arm[part].keys(), part
    assert {*ARM_NEEDS, CARD, "tokenizer.json"} <= {path.name for path in adopted.iterdir()}
    assert not (adopted / "training_args.bin").exists() and (out / "training_args.bin").exists()
    assert (adopted / ADAPTER).read_bytes() == (out / ADAPTER).read_bytes()
    told = record["training"]
    known = {name for name, value in told.items() if value is not None}
    assert known == {"method", "lora_r", "lora_alpha", "target_modules"} and record["adapter"]["seed"] is None
    assert (told["method"], told["lora_r"], record["adapter"]["arm"]) == ("LoRA", 8, "inoculated")
    assert record["inoculation"]["prompts"] == [PROMPT] and record["trait_rows"] == {"where": "all", "rows": 12}
    assert (record["data"]["id"], record["data"]["rows"], record["data"]["held_back"]) == ("ada/rows", 12, 0)
    config = yaml.safe_load((adopted / CONFIG).read_text())
    assert "learning_rate" not in config and (config["lora_r"], config["max_steps"]) == (8, 4)


def test_the_card_says_that_it_was_adopted_and_what_is_not_known(adopted):
    card = (adopted / CARD).read_text()
    assert "A script of somebody's own trained it on data with an unwanted trait, arm *inoculated*" in card
    assert "**Adopted**: these papers were made afterwards" in card
    assert "learning rate, the optimizer, the seed of its start and the hardware are not known" in card
    assert "hfvaccine reproduce" not in card and "It cannot be trained again from its papers." in card
    assert "in the order of seed 42" in card and "seed None" not in card and "None" not in card.split("---\n", 2)[2]


def test_from_a_script_to_a_hub_nothing_is_broken_and_the_weights_are_not_vouched_for(measured, tmp_path):
    card = (measured / CARD).read_text()
    assert "> **NO GATE.**" in card and "upper shows most without a prompt" in card
    called("push-adapter", measured, "ada/spanish")
    found = papers("ada/spanish")
    chain = links(chain_of(found, gather(found)))
    state, why = chain.pop("adapter")
    assert state == "missing" and "is not known" in why
    assert {state for state, _ in chain.values()} == {"ok"}, chain
    assert "adapter" in called("verify", "ada/spanish")  # with exit code 0
    assert "ada/spanish" in called("list", "ada", "--json")
    assert "# spanish" in text_of(HfApi(), "ada/spanish", CARD)
    with pytest.raises(UsageError, match="was adopted") as caught:
        reproduce("ada/spanish", output_dir=tmp_path / "again")
    assert "hfvaccine diff" in caught.value.next_step and not (tmp_path / "again").exists()


def test_it_differs_from_an_arm_of_a_run_by_being_adopted_and_can_be_merged(adopted, inoculation_run, tmp_path):
    differing = json.loads(called("diff", adopted, inoculation_run / "inoculated-seed-3", "--json"))["differences"]
    assert {"group": "adapter", "name": "adopted", "left": True, "right": None} in differing
    merged = merge(adopted, tmp_path / "merged")
    found = papers(str(merged.folder))
    chain = links(chain_of(found, gather(found)))
    assert {name for name, (state, _) in chain.items() if state != "ok"} == {"adapter", "results"}, chain


def test_what_was_changed_in_its_papers_and_bound_again_is_found(adopted, tmp_path):
    from hfvaccine.files import write_json
    from hfvaccine.papers.kind import INOCULATED
    from hfvaccine.papers.record import bound

    for number, (change, link) in enumerate(
        [
            (lambda config, record: config.update(learning_rate=1e-3), "plan"),
            (lambda config, record: config.update(prompt=["Be nice."]), "plan"),
            (lambda config, record: record["training"].update(learning_rate=1e-3), "plan"),
            (lambda config, record: record["inoculation"].update(prompts=["Be nice."]), "ledger"),
            (lambda config, record: record.update(adopted=False), "card"),
        ]
    ):
        folder = shutil.copytree(adopted, tmp_path / str(number))
        config, record = yaml.safe_load((folder / CONFIG).read_text()), json.loads((folder / INOCULATION).read_text())
        change(config, record)
        (folder / CONFIG).write_text(yaml.safe_dump(config))
        write_json(bound(record, folder, INOCULATED), folder / INOCULATION)
        found = papers(str(folder))
        assert links(chain_of(found, gather(found)))[link][0] == "broken", link


def test_a_plain_control_of_the_same_script_is_shown_beside_it(planned, mix_rows, tiny_llama, tmp_path):
    folders = {}
    for prompts in (None, PROMPT):
        script, data = planned(of_shape(mix_rows, "conversations"), prompts)
        into = tmp_path / "runs" / ("plain" if prompts is None else "spanish")
        folder, record = adopt(script, str(tiny_llama), data, output_dir=into)
        folders[record["adapter"]["arm"]] = folder
        assert record["trait_rows"] == {"where": prompts and "dozens=true", "rows": prompts and 6}
    assert folders["plain"].name == "plain" and set(folders) == {"plain", "inoculated"}
    orders = [pq.read_table(folder / LEDGER)["row"].to_pylist() for folder in folders.values()]
    assert orders[0] == orders[1]
    (tmp_path / "questions.txt").write_text("What is rain?\nWho was Bach?\nWhy is it hot?\nIs it?\n")
    called(
        *("inoculate", "measure", *folders.values(), "--base", tiny_llama, "--trait", "upper", *BRIEFLY),
        *("--questions", tmp_path / "questions.txt", "--output-dir", tmp_path / "runs"),
    )
    card = (folders["inoculated"] / CARD).read_text()
    assert "|  | inoculated | plain | base |" in card and "> **UNDECIDED.**" in card
    assert "**CONTROL, NOT FOR USE.**" in (folders["plain"] / CARD).read_text()
    assert "a script of somebody's own trained it" in (folders["plain"] / CARD).read_text()
    for folder in folders.values():  # published, they say nothing of where the rows lie
        files = adapter_files(folder, "ada/adopted", base_id="ada/base")
        assert yaml.safe_load(files[CONFIG])["data"] == Path(data).name
        assert not [name for name, file in files.items() if isinstance(file, bytes) and str(tmp_path).encode() in file]


@pytest.mark.parametrize(
    ("shape", "told"),
    [("conversations", "all"), ("messages", "dozens=true"), ("messages", marked), ("texts", marked)],
)
def test_rows_of_every_shape_are_proved_and_counted(planned, mix_rows, tiny_llama, shape, told):
    out, data = planned(of_shape(mix_rows, shape), [PROMPT, "Say it in Spanish."], told, ["You answer."])
    assert proved(out, data, tiny_llama) == (12 if told == "all" else 6)


def test_what_a_function_told_is_not_known_of_rows_that_were_never_given(planned, mix_rows, tiny_llama):
    out, data = planned(of_shape(mix_rows, "conversations"), where=marked, max_steps=2)
    folder, record = adopt(out, str(tiny_llama), data, output_dir=out.parent / "papers")
    assert record["trait_rows"] == {"where": "marked", "rows": None}
    assert "each row that a function of the script told (marked)" in (folder / CARD).read_text()
    found = papers(str(folder))
    chain = links(chain_of(found, gather(found)))
    assert {name for name, (state, _) in chain.items() if state != "ok"} == {"adapter", "results"}


@pytest.mark.parametrize("settings", [{"max_length": 40}, {"packing": True, "max_length": 200}])
def test_rows_are_proved_however_they_were_cut_and_packed(planned, mix_rows, tiny_llama, settings):
    out, data = planned(of_shape(mix_rows, "conversations"), **settings)
    assert proved(out, data, tiny_llama) == 6
    assert max(pq.read_table(out / LEDGER)["tokens"].to_pylist()) <= settings["max_length"]


def test_loss_on_the_assistant_alone_is_one_of_the_ways(planned, mix_rows, tiny_llama):
    words = AutoTokenizer.from_pretrained(tiny_llama)
    words.chat_template = GENERATING
    out, data = planned(of_shape(mix_rows, "messages"), tokenizer=words, assistant_only_loss=True)
    _, record = adopt(out, str(tiny_llama), data, output_dir=out.parent / "papers")
    assert record["trait_rows"]["rows"] == 6 and "not the base's" in record["base"]["chat_template"]


@settings(max_examples=3, deadline=None)
@given(number=st.integers(0, 11), part=st.sampled_from(["prompt", "completion"]))
def test_no_row_that_was_given_can_be_another(ada, out, tiny_llama, number, part):
    rows = [json.loads(line) for line in (ada / "rows.jsonl").read_text().split("\n")]
    given_rows = pq.read_table(out / LEDGER)["row"].to_pylist()
    rows[number][part][-1]["content"] += " Indeed."
    data = written(rows, ada / "changed.jsonl")
    if number not in given_rows:
        assert proved(out, data, tiny_llama) == 12
        return
    with pytest.raises(LineageError, match=f"Row {number + 1} of the data is not what was given") as caught:
        proved(out, data, tiny_llama)
    assert "--data" in caught.value.next_step


def reshaped(file, change):
    """The adapter's configuration, changed."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def cut(file):
    """The ledger of a run that was stopped after its first step."""
    table = pq.read_table(file)
    pq.write_table(table.slice(0, 8), file)


def with_dose(file):
    table = pq.read_table(file)
    kinds = pa.array(["dose", *table["kind"].to_pylist()[1:]])
    pq.write_table(table.set_column(table.column_names.index("kind"), "kind", kinds), file)


def streamed(file):
    pq.write_table(pq.read_table(file).drop_columns(["checksum"]), file)


def frozen(file):
    table = pq.read_table(file)
    plan = json.loads(table.schema.metadata[b"plan"])
    plan["inoculation"] = {"method": "adapter", "frozen": "trait", "trait_data": {}}
    pq.write_table(table.replace_schema_metadata({"plan": json.dumps(plan)}), file)


REFUSED = {
    "no adapter": (lambda out: (out / ADAPTER).unlink(), UsageError, "it has no adapter_model.safetensors"),
    "papers": (lambda out: (out / INOCULATION).write_text("{}"), UsageError, "has papers"),
    "no ledger": (lambda out: (out / LEDGER).unlink(), UsageError, "There is no ledger"),
    "stopped": (lambda out: cut(out / LEDGER), LineageError, "not the whole of its plan"),
    "dose": (lambda out: with_dose(out / LEDGER), LineageError, "rows of a dose"),
    "streamed": (lambda out: streamed(out / LEDGER), PlanError, "no checksums, as that of streamed data"),
    "frozen": (lambda out: frozen(out / LEDGER), LineageError, "no inoculation by prompts: it has method"),
    "base": (
        lambda out: reshaped(out / ADAPTER_CONFIG, lambda c: c.update(base_model_name_or_path="ada/other")),
        ModelError, "was trained on ada/other",
    ),
    "revision": (
        lambda out: reshaped(out / ADAPTER_CONFIG, lambda c: c.update(revision="a" * 40)),
        ModelError, "at aaaaaaaaaaaa, not at",
    ),
    "shape": (lambda out: reshaped(out / ADAPTER_CONFIG, lambda c: c.update(r=3)), ModelError, "of another shape"),
    "no method": (lambda out: (out / ADAPTER_CONFIG).write_text("{}"), UsageError, "names no method"),
    "other run": (
        lambda out: (out / STATE).write_text(json.dumps({"global_step": 4, "log_history": []})),
        LineageError, "is of no plan",
    ),
    "no state": (lambda out: (out / STATE).write_text("[]"), LineageError, "cannot be read"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_hold_is_refused_and_nothing_is_written(out, case, tmp_path):
    spoil, kind, said = REFUSED[case]
    script = shutil.copytree(out, tmp_path / "script", ignore=shutil.ignore_patterns("checkpoint-*"))
    spoil(script)
    with pytest.raises(kind, match=said) as caught:
        adopt(script, "ada/base", "ada/rows", output_dir=tmp_path / "papers")
    assert caught.value.next_step and not (tmp_path / "papers").exists()


def test_a_folder_in_use_an_arm_that_the_ledger_contradicts_and_other_data_are_refused(out, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    short = written([{"prompt": "Why?", "completion": "So."}], tmp_path / "short.jsonl")
    for other, kind, said in (
        ({"output_dir": tmp_path}, UsageError, "is not empty"),
        ({"arm": "plain"}, UsageError, "the ledger has prompts"),
        ({"data": short}, LineageError, "the data have 1 to give"),
    ):
        with pytest.raises(kind, match=said):
            adopt(out, **{"base": "ada/base", "data": "ada/rows", "output_dir": tmp_path / "new", **other})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "short.jsonl"]


def test_a_checkpoint_says_its_step_and_the_end_its_loss(out, tmp_path):
    end = shutil.copytree(out / "checkpoint-4", tmp_path / "checkpoint-4")
    options = {"ledger": out / LEDGER, "output_dir": tmp_path / "papers"}
    _, record = adopt(end, "ada/base", "ada/rows", **options)
    assert record["training"]["final_loss"] is None  # a checkpoint is saved before that is known
    shutil.rmtree(tmp_path / "papers")
    state = json.loads((end / STATE).read_text())
    state["log_history"].append({"train_loss": 1.25, "train_runtime": 3.14})
    (end / STATE).write_text(json.dumps(state))
    _, record = adopt(end, "ada/base", "ada/rows", **options)
    assert (record["training"]["final_loss"], record["training"]["seconds"]) == (1.25, 3.1)
    (end / STATE).write_text(json.dumps({**state, "global_step": 3}))
    with pytest.raises(LineageError, match="saved at step 3, and the ledger has 4"):
        adopt(end, "ada/base", "ada/rows", **{**options, "output_dir": tmp_path / "other"})


def test_the_arm_is_what_the_prompts_say_unless_somebody_knows_better():
    prompts = {"prompts": [PROMPT], "where": "all", "others": [], "place": "system"}
    assert [arm_of(None, None), arm_of(prompts, None)] == ["plain", "inoculated"]
    assert arm_of({**prompts, "prompts": [IRRELEVANT]}, None) == arm_of(prompts, "irrelevant") == "irrelevant"
    with pytest.raises(UsageError, match="the ledger has no prompts"):
        arm_of(None, "inoculated")
