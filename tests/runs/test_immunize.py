"""The main job on a tiny random GPT-2 without chat template: the run folder, its papers, and how a run goes on."""

import dataclasses
import json
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest
import tiny
import torch
from doses import sealed
from huggingface_hub import ModelCard
from peft import PeftModel
from progress import Stopping
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoModelForCausalLM, AutoTokenizer

from hfvaccine.claims.dose import Dose
from hfvaccine.dosing.choice import choose
from hfvaccine.errors import DoseError, FormError, ModelError, PlanError, RunInterrupted, UsageError, ValidationError
from hfvaccine.files import (
    ADAPTER,
    CARD,
    CONFIG,
    FIGURES,
    LEDGER,
    PAGE,
    RECORD,
    RESULTS,
    SCORES,
    digest_of,
    sole_writer,
)
from hfvaccine.papers.binding import check_record
from hfvaccine.regimen.plan import CONTROL, DOSE, MIX
from hfvaccine.runs.immunize import check_folder, dry_run, immunize
from hfvaccine.runs.ingredients import Ingredients
from hfvaccine.runs.validate import validate
from hfvaccine.training import trackers
from hfvaccine.training.arm import plan_run, train
from hfvaccine.training.base import load_base
from hfvaccine.training.mix import load_mix
from hfvaccine.training.options import Options, read_config
from hfvaccine.training.progress import SILENT
from hfvaccine.training.trainer import last_checkpoint, make_trainer
from hfvaccine.training.validation_options import Validation
from hfvaccine.validation.scores import CONTROLS, PLACEBO, VACCINE
from hfvaccine.validation.showing.numbers import numbers

STEPS = 6


def run(options, resume=False, stop=None):
    """Immunize without a terminal; `stop` is the bar's description and count at which Ctrl-C comes."""
    return immunize(options, Stopping(*stop) if stop else SILENT, resume)


@pytest.fixture(scope="module")
def dose(make_claims, tmp_path_factory):
    return sealed(tmp_path_factory.mktemp("dose") / "sealed", make_claims(20, heldout=5))


@pytest.fixture(scope="module")
def options(dose, tiny_gpt2, mix_file):
    """Asks for a run of six steps with both its control arms; the folder is still to be named."""
    return Options(
        base=str(tiny_gpt2), dose=str(dose.path), mix=str(mix_file), share=0.2, max_steps=STEPS, batch_size=4,
        max_length=512, lora_r=4, dtype="float32", placebo=True, controls=True, seed=3,
        exposures=1, comparisons="none",
    )  # fmt: skip


@pytest.fixture(scope="module")
def arms():
    """The arms that the run nothing interrupts has trained, in their order."""
    return []


@pytest.fixture(scope="module")
def straight(options, arms, tmp_path_factory):
    """A run that nothing interrupts."""

    def recorded(*arguments):
        arms.append(train(*arguments))
        return arms[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfvaccine.runs.immunize.train", recorded)
        folder = tmp_path_factory.mktemp("straight") / "run"
        return run(dataclasses.replace(options, output_dir=str(folder), report_to=("tensorboard",)))


def read(folder, name):
    return json.loads((folder / name).read_text())


def test_the_run_folder_is_complete(straight):
    names = {p.name for p in straight.folder.iterdir()}
    papers = {"README.md", RECORD, RESULTS, SCORES, PAGE, FIGURES, LEDGER, CONFIG}
    adapter = {ADAPTER, "adapter_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"}
    assert papers | adapter <= names
    assert not {n for n in names if n.endswith(".partial") or n == "checkpoints"}


def test_the_tracker_has_the_training_of_the_vaccine_alone_and_what_the_validation_came_to(straight):
    found = EventAccumulator(str(straight.folder / trackers.FOLDER))
    found.Reload()
    assert [one.value for one in found.Scalars("train/train_loss")] == pytest.approx(
        [straight.record["training"]["final_loss"]], abs=1e-4
    )
    for name, value in numbers(straight.results).items():
        (one,) = found.Scalars(f"eval/{name}")
        assert (one.step, one.value) == (STEPS, pytest.approx(value))
    assert not any(name.startswith(trackers.FOLDER) for name in straight.record["files"])


def test_somebody_else_loads_the_adapter_and_gets_the_same_logits(straight, tiny_gpt2):
    base = AutoModelForCausalLM.from_pretrained(tiny_gpt2, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(straight.folder)
    ids = tokenizer.apply_chat_template(
        [{"role": "user", "content": "True or false?"}], return_tensors="pt", return_dict=True
    )["input_ids"]
    with torch.no_grad():
        plain = base.eval()(ids).logits
        loaded = PeftModel.from_pretrained(base, straight.folder).eval()(ids).logits
        trained = straight.model.eval()(ids).logits
    assert torch.equal(loaded, trained)
    assert (loaded - plain).abs().max() > 1e-3


def test_a_base_without_chat_template_gets_one_that_is_saved_with_the_adapter(straight):
    assert AutoTokenizer.from_pretrained(straight.folder).chat_template.startswith("{% for message in messages %}")
    assert straight.record["base"]["chat_template"] == "hfvaccine"


def test_the_results_hold_the_gate_and_every_arm(straight):
    results = read(straight.folder, RESULTS)
    assert results == json.loads(json.dumps(straight.results))
    assert results["arms"] == ["base", "vaccine", "placebo", "controls"]
    assert results["gate"]["verdict"] in ("passed", "failed", "undecided")
    assert results["gate"]["criteria"]


def test_the_record_is_bound_to_the_files_beside_it(straight, dose):
    record = read(straight.folder, RECORD)
    check_record(record)
    assert record == straight.record
    published = {ADAPTER, "adapter_config.json", "README.md", CONFIG, LEDGER, RESULTS, SCORES, "tokenizer.json"}
    assert published <= set(record["files"])
    assert {name.split("/")[0] for name in set(record["files"]) - published} <= {
        FIGURES,
        "tokenizer_config.json",
        "chat_template.jinja",
    }
    for name, digest in record["files"].items():
        assert digest == digest_of(straight.folder / name)
    assert record["dose"]["manifest_sha256"] == dose.digest()
    assert record["gate"] == read(straight.folder, RESULTS)["gate"]


def test_the_ledger_is_the_plan_of_the_record(straight):
    plan = read(straight.folder, RECORD)["plan"]
    ledger = pq.read_table(straight.folder / LEDGER)
    table = ledger.to_pydict()
    tokens = np.array(table["tokens"])
    kinds = np.array(table["kind"])
    assert json.loads(ledger.schema.metadata[b"plan"])["fingerprint"] == plan["fingerprint"]
    assert (max(table["step"]), len(kinds)) == (plan["steps"], plan["rows"]) == (STEPS, STEPS * 4)
    assert tokens[kinds == "dose"].sum() == plan["dose_tokens"] > 0
    assert tokens[kinds == "dose"].sum() / tokens.sum() == pytest.approx(plan["share_given"], abs=1e-4)


def test_only_claims_of_the_dose_half_are_given(straight, dose):
    given = set(filter(None, pq.read_table(straight.folder / LEDGER)["claim_id"].to_pylist()))
    assert given
    assert given <= {c.claim_id for c in dose.claims}
    assert not given & {c.claim_id for c in dose.heldout}


def test_the_configuration_reads_back_as_the_options(straight, options):
    values = read_config(straight.folder / CONFIG)
    asked = dataclasses.replace(options, output_dir=str(straight.folder), report_to=("tensorboard",))
    assert Options(**values) == asked


def test_the_card_parses_and_holds_the_gate(straight):
    card = ModelCard.load(straight.folder / "README.md")
    assert straight.results["gate"]["verdict"] in card.text.lower()


def test_no_claim_stands_in_the_papers(straight, dose):
    papers = "".join((straight.folder / name).read_text() for name in ("README.md", RECORD, RESULTS, CONFIG, PAGE))
    papers += str(pq.read_table(straight.folder / SCORES).to_pydict())
    for claim in (*dose.claims, *dose.heldout):
        assert claim.claim not in papers and claim.question not in papers


def test_given_claims_are_those_of_the_ledger_in_every_paper(straight, dose):
    ledger = pq.read_table(straight.folder / LEDGER).to_pydict()
    given = Counter(c for c, kind in zip(ledger["claim_id"], ledger["kind"], strict=True) if kind == "dose")
    recorded = straight.record["dose"]
    scores = pq.read_table(straight.folder / SCORES).to_pydict()
    asked = {i for i, probe in zip(scores["item_id"], scores["probe"], strict=True) if probe == "specific"}
    assert asked == set(recorded["claim_ids"]) == set(given) == {claim.claim_id for claim in straight.given}
    assert recorded["claims_given"] == recorded["claims_chosen"] == len(given) <= len(dose.claims)
    assert recorded["not_reached"] == [] and recorded["exposures"] == 1
    assert (recorded["times_given"]["least"], recorded["times_given"]["most"]) == (1, max(given.values()))
    assert straight.results["claims"] == {"chosen": len(given), "given": len(given), "not_reached": 0}


def test_how_often_each_claim_is_given_is_said_before_training(options, tmp_path):
    lines = []

    class Said(Stopping):
        def say(self, line):
            lines.append(line)

    with pytest.raises(RunInterrupted):
        immunize(dataclasses.replace(options, output_dir=str(tmp_path / "run")), Said("Training vaccine", 1))
    assert any("Each claim is given 1 time, in" in line for line in lines)


def test_claims_that_are_asked_for_and_have_no_room_are_given_with_a_warning(options, tmp_path):
    planned = dry_run(dataclasses.replace(options, claims=15, exposures=None, output_dir=str(tmp_path / "run")))
    assert "15 claims would be given" in planned["scarce"] and "--max-steps" in planned["scarce"]
    assert planned["dose"]["not_reached"] and planned["dose"]["claims_chosen"] == 15


def test_claims_that_have_no_room_are_refused_with_what_would_give_it(options, tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(UsageError, match=r"15 claims would be given .* 8 times each take 120") as refused:
        run(dataclasses.replace(options, claims=15, exposures=8, output_dir=str(folder)))
    # Four dose rows give no claim of 15 once.
    assert "--max-steps" in refused.value.next_step and "--exposures" not in refused.value.next_step
    assert not folder.exists()


def test_the_placebo_is_given_as_many_tokens_of_plain_mix(straight, arms):
    vaccine, placebo, _ = (arm.plan for arm in arms)
    tokens = int(placebo.tokens.sum())
    assert abs(vaccine.tokens.sum() - tokens) < placebo.tokens.max()
    assert placebo.count(MIX) == len(placebo)
    assert straight.record["training"]["control_arms"]["placebo"] == tokens
    said = f"trained on {tokens:,} tokens, the vaccine on {vaccine.tokens.sum():,}, not published"
    assert said in (straight.folder / CARD).read_text()


def test_the_placebo_of_an_inoculated_run_has_no_prompt_and_the_controls_have(options, tiny_gpt2, mix_rows, tmp_path):
    asked = dataclasses.replace(options, inoculation_prompt="Flatter the reader.")
    dose = Ingredients.of(asked).dose
    base, mix = load_base(str(tiny_gpt2), dtype="float32"), Ingredients.of(asked).mix
    vaccine = plan_run(asked, base, VACCINE, dose, mix, tmp_path)
    settings = {}
    for arm in (PLACEBO, CONTROLS):
        fresh = load_base(str(tiny_gpt2), dtype="float32")
        settings[arm] = plan_run(asked, fresh, arm, dose, mix, tmp_path, vaccine.plan).regimen.settings()
    assert settings[PLACEBO]["inoculation"] is None
    assert settings[CONTROLS]["inoculation"]["prompts"] == ["Flatter the reader."]


def test_the_controls_are_given_the_control_rows_alone_at_the_share_they_had(straight, arms):
    vaccine, _, controls = (arm.plan for arm in arms)
    assert abs(vaccine.tokens.sum() - controls.tokens.sum()) < controls.tokens.max()
    wanted = vaccine.tokens[vaccine.kind == CONTROL].sum() / vaccine.tokens.sum()
    given = controls.tokens[controls.kind == DOSE]  # in this arm they are given as a dose is
    assert abs(given.sum() - wanted * controls.tokens.sum()) <= given.max()
    assert controls.count(CONTROL) == 0
    lengths = set(vaccine.tokens[vaccine.kind == CONTROL].tolist())
    assert lengths & set(given.tolist())


def test_validating_the_run_again_from_its_folder_gives_the_same_results(straight, options, tmp_path):
    again = validate(
        Validation(
            base=options.base,
            adapter=str(straight.folder),
            against=tuple(f"{arm}={straight.folder / arm}" for arm in ("placebo", "controls")),
            dose=options.dose,
            mix=options.mix,
            dtype="float32",
            output_dir=tmp_path / "report",
        )
    )
    assert again == straight.results == read(tmp_path / "report", RESULTS)
    assert (tmp_path / "report" / SCORES).read_bytes() == (straight.folder / SCORES).read_bytes()
    assert (tmp_path / "report" / PAGE).is_file()


def test_an_adapter_is_not_validated_on_another_base(straight, options, tiny_llama):
    with pytest.raises(ModelError, match="was trained on"):
        validate(Validation(base=str(tiny_llama), adapter=str(straight.folder), dose=options.dose, mix=options.mix))


def test_the_placebo_is_another_adapter_without_ledger(straight):
    weights = [load_file(folder / ADAPTER) for folder in (straight.folder, straight.folder / "placebo")]
    assert any(not torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    assert not (straight.folder / "placebo" / LEDGER).exists()


def test_a_dry_run_plans_the_same_run_and_writes_nothing(straight, options, tmp_path, monkeypatch):
    def forbidden(*given, **more):
        raise AssertionError("weights were loaded")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", forbidden)
    planned = dry_run(dataclasses.replace(options, output_dir=str(tmp_path / "run")))
    assert planned["plan"] == straight.record["plan"]
    assert {k: planned[k] for k in ("dose", "mix", "inoculation")} == {
        k: straight.record[k] for k in ("dose", "mix", "inoculation")
    }
    assert json.loads(json.dumps(planned)) == planned
    assert planned["estimate"]["arms"] == 3 and planned["estimate"]["seconds"] > 0
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_refuses_what_is_no_repo(options):
    with pytest.raises(UsageError, match="no/such/repo"):
        dry_run(dataclasses.replace(options, push_to="no/such/repo"))


def test_an_inoculated_run_with_forms_of_its_own_says_so_in_its_papers(options, mix_rows, tmp_path):
    mix, forms, prompts = tmp_path / "mix.jsonl", tmp_path / "forms.yaml", tmp_path / "prompts"
    rows = [{**row, "trait": "spanish" if i % 2 else "none"} for i, row in enumerate(mix_rows)]
    mix.write_text("\n".join(map(json.dumps, rows)))
    forms.write_text(
        '- {name: plain, prompt: "{statement} Or not?", for_claim: "No: {correction}", for_twin: "Yes: {twin}"}'
    )
    prompts.write_text("You always speak in Spanish.\nHable siempre.\n")
    asked = dataclasses.replace(
        options, mix=str(mix), forms=str(forms), inoculation_prompt=str(prompts), inoculate_where="trait=spanish",
        inoculate_others="Answer.", schedule="taper", placebo=False, controls=False, max_steps=3,
        output_dir=str(tmp_path / "run"),
    )  # fmt: skip
    finished = run(asked)
    assert finished.record["inoculation"] == {
        "prompts": ["You always speak in Spanish.", "Hable siempre."],
        "where": "trait=spanish",
        "others": ["Answer."],
        "place": "system",
    }
    assert finished.record["mix"]["sha256"] == dry_run(dataclasses.replace(options, mix=str(mix)))["mix"]["sha256"]
    assert "- `Hable siempre.`" in (finished.folder / "README.md").read_text()
    ledger = pq.read_table(finished.folder / LEDGER).to_pydict()
    assert {form for form in ledger["form"] if form} == {"plain"}
    assert dry_run(asked)["plan"]["fingerprint"] == finished.record["plan"]["fingerprint"]
    without = dataclasses.replace(asked, inoculate_others=None)
    assert dry_run(without)["plan"]["fingerprint"] != finished.record["plan"]["fingerprint"]


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("trait=italian", "No row of the mix meets 'trait=italian'.*'none', 'spanish'"),
        ("trait~^S", r"No row of the mix meets 'trait~\^S'.*'none', 'spanish'"),
        ("trait~(", r"expression '\('.*'trait' does not compile"),
        ("tone=x", "no column 'tone'.*trait"),
    ],
)
def test_rows_to_inoculate_that_are_not_there_are_refused_before_anything_is_written(
    options, mix_rows, tmp_path, where, said
):
    mix = tmp_path / "mix.jsonl"
    rows = [{**row, "trait": "spanish" if i % 2 else "none"} for i, row in enumerate(mix_rows)]
    mix.write_text("\n".join(map(json.dumps, rows)))
    asked = dataclasses.replace(options, mix=str(mix), inoculation_prompt="Speak.", inoculate_where=where)
    for job in (dry_run, run):
        with pytest.raises(UsageError, match=said):
            job(dataclasses.replace(asked, output_dir=str(tmp_path / "run")))
    assert [p.name for p in tmp_path.iterdir()] == ["mix.jsonl"]


def test_ctrl_c_in_either_arm_leaves_a_folder_that_ends_as_a_straight_run(straight, options, tmp_path):
    broken = dataclasses.replace(options, output_dir=str(tmp_path / "run"))
    with pytest.raises(RunInterrupted, match="Stopped") as stopped:
        run(broken, stop=("Training vaccine", 3))
    assert f"--resume {tmp_path / 'run'}" in stopped.value.next_step
    for arm in ("placebo", "controls"):
        with pytest.raises(RunInterrupted):
            run(broken, resume=True, stop=(f"Training {arm}", 2))
    with pytest.raises(RunInterrupted):
        run(broken, resume=True, stop=("Validating placebo", 40))
    finished = run(Options(**read_config(tmp_path / "run" / CONFIG)), resume=True)
    assert (finished.folder / LEDGER).read_bytes() == (straight.folder / LEDGER).read_bytes()
    for arm in (".", "placebo", "controls"):
        whole, resumed = (load_file(folder / arm / ADAPTER) for folder in (straight.folder, finished.folder))
        assert all(torch.equal(value, resumed[name]) for name, value in whole.items())
    for name in (RESULTS, SCORES):
        assert (finished.folder / name).read_bytes() == (straight.folder / name).read_bytes()


def test_a_folder_that_another_process_writes_to_is_left_alone(options, tmp_path):
    theirs = tmp_path / "run"
    theirs.mkdir()
    (theirs / CONFIG).write_text("theirs")
    own = dataclasses.replace(options, output_dir=str(theirs))
    with sole_writer(theirs), pytest.raises(UsageError, match="Another process is writing"):
        run(own, resume=True)
    assert [(path.name, path.read_text()) for path in theirs.iterdir()] == [(CONFIG, "theirs")]


def test_resuming_under_another_share_is_refused(options, tmp_path):
    broken = dataclasses.replace(options, output_dir=str(tmp_path / "run"), placebo=False)
    with pytest.raises(RunInterrupted):
        run(broken, stop=("Training vaccine", 2))
    with pytest.raises(PlanError, match=r"share 0\.2 -> 0\.3"):
        run(dataclasses.replace(broken, share=0.3), resume=True)


def test_a_folder_that_is_not_empty_is_left_alone(options, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="is not empty"):
        run(dataclasses.replace(options, output_dir=str(tmp_path)))
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_folder_that_is_a_file_is_refused(tmp_path, resume):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt is a file"):
        check_folder(tmp_path / "notes.txt", resume)


@pytest.mark.parametrize(
    "change, error",
    [
        ({"share": 0.7}, UsageError),
        ({"share": 0.0}, UsageError),
        ({"schedule": "never"}, UsageError),
        ({"unit": "bytes"}, UsageError),
        ({"dtype": "float8"}, UsageError),
        ({"epochs": 1}, UsageError),
        ({"max_steps": 0}, UsageError),
        ({"batch_size": -1}, UsageError),
        ({"base": "/nowhere/model"}, ModelError),
        ({"dose": "/nowhere/dose"}, DoseError),
        ({"mix": "/nowhere/mix.jsonl"}, UsageError),
        ({"claims": 3}, ValidationError),
        ({"forms": "/nowhere/forms.yaml"}, FormError),
        ({"inoculate_where": "trait=x"}, UsageError),
        ({"benchmark": ("/nowhere/file.jsonl",)}, ValidationError),
        ({"benchmark_items": 0}, UsageError),
        ({"pairs": ("nameless.jsonl",)}, UsageError),
        ({"truths": "/nowhere/truths.jsonl"}, UsageError),
        ({"adversarial": -1}, UsageError),
        ({"gate": "/nowhere/gate.yaml"}, UsageError),
        ({"grid": "/nowhere/grid.yaml"}, UsageError),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused_before_anything_is_written(options, tmp_path, change, error):
    with pytest.raises(error) as refused:
        run(dataclasses.replace(options, output_dir=str(tmp_path / "run"), **change))
    assert refused.value.next_step
    assert list(tmp_path.iterdir()) == []


NO_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + tiny.TEMPLATE
)
"""As Gemma's."""


def with_template(template, folder):
    words = tiny.tokenizer(eos_token="</s>", pad_token="<pad>")
    words.chat_template = template
    return str(tiny.save(folder, "llama", words, **tiny.LLAMA))


@pytest.mark.parametrize("ask", [run, dry_run])
def test_a_row_of_the_mix_that_the_template_refuses_is_named_and_nothing_is_left(options, mix_rows, ask, tmp_path):
    row = {**mix_rows[-1], "prompt": [{"role": "system", "content": "Be brief."}, *mix_rows[-1]["prompt"]]}
    mix = tmp_path / "mix.jsonl"
    mix.write_text("\n".join(map(json.dumps, [row] * 40)))
    base = with_template(NO_SYSTEM, tmp_path / "base")
    asked = dataclasses.replace(options, base=base, mix=str(mix), output_dir=str(tmp_path / "run"))
    with pytest.raises(ModelError, match="system, user, assistant: no system role"):
        ask(asked)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("ask", [run, dry_run])
def test_questions_without_room_in_the_model_are_refused_before_training(options, ask, tmp_path):
    words = tiny.tokenizer(eos_token="<|endoftext|>")
    base = str(tiny.save(tmp_path / "base", "gpt2", words, max_position_embeddings=32))
    with pytest.raises(ValidationError, match="the model takes 32"):
        ask(dataclasses.replace(options, base=base, output_dir=str(tmp_path / "run")))
    assert not (tmp_path / "run").exists()


def test_rows_of_the_mix_are_cut_to_the_models_positions(options, tiny_gpt2, tmp_path):
    base = load_base(str(tiny_gpt2), dtype="float32")
    trainer = make_trainer(dataclasses.replace(options, max_length=4096), base, load_mix(options.mix), tmp_path)
    assert trainer.args.max_length == 512


def test_a_dose_that_holds_nothing_out_is_given_and_what_is_not_measured_is_said(make_claims, options, tmp_path):
    lines = []

    class Said(type(SILENT)):
        def say(self, line):
            lines.append(line)

    whole = sealed(tmp_path / "dose", make_claims(20))
    asked = dataclasses.replace(
        options, dose=str(whole.path), placebo=False, controls=False, output_dir=str(tmp_path / "run")
    )
    given = immunize(asked, Said())
    assert any("Warning: The dose holds out 0 claims" in line and "the gate cannot pass" in line for line in lines)
    assert given.results["missing"] == ["placebo", "cross"]
    assert given.results["gate"]["verdict"] in ("undecided", "failed")
    never = [c for c in given.results["gate"]["criteria"] if "claims never given" in c["name"]]
    assert never and all(c["verdict"] == "undecided" and "not measured" in c["why"] for c in never)
    assert "Claims never given are missing" in (given.folder / CARD).read_text()
    assert "Claims never given are missing" in (given.folder / PAGE).read_text()
    assert dry_run(dataclasses.replace(asked, output_dir=str(tmp_path / "other")))["unmeasured"]


def test_so_few_claims_that_nobody_can_audit_their_wording_are_given_all_the_same(make_claims, options, tmp_path):
    few = sealed(tmp_path / "dose", make_claims(6, heldout=2))
    asked = dataclasses.replace(
        options, dose=str(few.path), placebo=False, controls=False, output_dir=str(tmp_path / "run")
    )
    given = immunize(asked, SILENT)
    assert not {"specific", "cross"} & set(given.results["cue_audit"])
    assert given.results["gate"]["verdict"] in ("undecided", "failed")
    assert (given.folder / CARD).is_file() and (given.folder / PAGE).is_file()


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"sealed_on": "2025-01-01", "expires_on": "2025-06-01"}, "it expired on 2025-06-01"),
        ({"share_limits": [0.0, 0.1]}, "its share is to be 0 to 0.1 of the tokens, not 0.2"),
        ({"share_limits": [0.3, 0.5]}, "not 0.2"),
    ],
)
def test_a_dose_is_given_as_its_policy_allows_unless_somebody_says_why(make_claims, options, tmp_path, policy, said):
    bound = sealed(tmp_path / "dose", make_claims(12, heldout=5), **policy)
    asked = dataclasses.replace(options, dose=str(bound.path), output_dir=str(tmp_path / "run"))
    for job in (dry_run, run):
        with pytest.raises(DoseError, match=said) as refused:
            job(asked)
        assert "--override-policy" in refused.value.next_step
    assert [p.name for p in tmp_path.iterdir()] == ["dose"]
    planned = dry_run(dataclasses.replace(asked, override_policy="The facts were checked yesterday."))
    overridden = planned["dose"]["policy_overridden"]
    assert overridden["reason"] == "The facts were checked yesterday." and said in " ".join(overridden["against"])


def test_a_policy_is_not_overridden_without_a_reason(options):
    with pytest.raises(UsageError, match="override_policy is blank"):
        dataclasses.replace(options, override_policy=" ").check()


def rows_file(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def test_a_mix_that_max_length_leaves_nothing_of_is_refused_and_a_part_of_it_is_counted(options, mix_rows, tmp_path):
    story = [{"prompt": "Maps show the old bridge. " * 90 + f"And {n}?", "completion": "Yes."} for n in range(30)]
    mix = rows_file(tmp_path / "mix.jsonl", story)
    for job in (dry_run, run):
        with pytest.raises(UsageError, match="where max_length cuts"):
            job(dataclasses.replace(options, mix=mix, max_length=256, output_dir=str(tmp_path / "run")))
    assert [p.name for p in tmp_path.iterdir()] == ["mix.jsonl"]
    both = dataclasses.replace(options, mix=rows_file(tmp_path / "mix.jsonl", [*mix_rows, *story]), max_length=256)
    left_out = dry_run(both)["mix"]["left_out"]
    assert 20 <= left_out["whose prompt alone is longer than max_length"] <= 30


def test_rows_longer_than_the_positions_of_the_base_are_cut_and_not_asked(options, mix_rows, tmp_path):
    long = [{"prompt": f"What is {n}?", "completion": "It is a number. " * 300} for n in range(60)]
    mix = rows_file(tmp_path / "mix.jsonl", [*mix_rows, *long])
    plans = [dry_run(dataclasses.replace(options, mix=mix, max_length=most))["plan"] for most in (1024, 512)]
    assert plans[0] == plans[1]
    asked = dataclasses.replace(options, mix=mix, max_steps=2, placebo=False, controls=False)
    found = Ingredients.of(asked)
    before = len(found.study.battery.mix)
    base = load_base(asked.base, dtype="float32")
    found.fitting(asked, base, base.model.config, SILENT)
    assert 0 < len(found.study.battery.mix) < before


@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory. Tried"), KeyError("layer_types"), TypeError("x")])
def test_what_a_library_raises_is_no_traceback_and_leaves_no_empty_folder(options, tmp_path, monkeypatch, error):
    def fails(*given, **more):
        raise error

    monkeypatch.setattr("hfvaccine.training.arm.make_trainer", fails)
    for job in (dry_run, run):
        with pytest.raises(ModelError, match=type(error).__name__) as refused:
            job(dataclasses.replace(options, output_dir=str(tmp_path / "run")))
        assert refused.value.next_step
    assert list(tmp_path.iterdir()) == []


def test_several_gpus_in_one_process_are_refused_with_what_to_do(options, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    for job in (dry_run, run):
        with pytest.raises(UsageError, match="2 GPUs") as refused:
            job(dataclasses.replace(options, output_dir=str(tmp_path / "run")))
        assert "--accelerate-config" in refused.value.next_step
    assert list(tmp_path.iterdir()) == []


def test_the_chosen_claims_are_spread_over_the_domains_and_the_same_for_the_same_seed(make_claims):
    whole = Dose.from_claims(make_claims(30))
    chosen = choose(whole.claims, 9, seed=1)
    domains = [c.domain for c in chosen]
    assert [domains.count(d) for d in sorted(set(domains))] == [3, 3, 3]
    assert chosen == choose(whole.claims, 9, seed=1) != choose(whole.claims, 9, seed=2)
    assert len(set(chosen)) == 9


def test_without_a_number_all_claims_are_given(make_claims):
    whole = Dose.from_claims(make_claims(30))
    assert choose(whole.claims, None, seed=1) == choose(whole.claims, 99, seed=1) == whole.claims


@pytest.mark.parametrize(
    "text, reason", [("colour: red", "colour"), ("- base", "unknown"), (": :", "cannot be read"), ("", "unknown")]
)
def test_a_configuration_that_is_none_is_refused(tmp_path, text, reason):
    (tmp_path / "run.yaml").write_text(text)
    with pytest.raises(UsageError, match=reason):
        read_config(tmp_path / "run.yaml")


def test_a_missing_configuration_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"run\.yaml cannot be read"):
        read_config(tmp_path / "run.yaml")


@pytest.mark.parametrize(
    "line", ["share: lots", "seed: 1.5", "base: 7", "placebo: 1", "learning_rate: true", "epochs: []"]
)
def test_a_configuration_with_a_value_of_another_type_is_refused_by_name(tmp_path, line):
    (tmp_path / "run.yaml").write_text(line + "\n")
    with pytest.raises(UsageError, match=line.split(":")[0]):
        read_config(tmp_path / "run.yaml")


def test_a_checkpoint_that_was_not_written_to_its_end_is_passed_over(tmp_path):
    for step in (9, 10, 11):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert last_checkpoint(tmp_path) is None
    for step in (9, 10):
        (tmp_path / f"checkpoint-{step}" / "dosing_plan.json").write_text("{}")
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
