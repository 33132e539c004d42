"""`hfvaccine inoculate` on tiny random models: the numbers of `screen` are those of plain forward passes."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from hfvaccine.cli.inoculate import inoculate, print_plan
from hfvaccine.cli.output import Terminal
from hfvaccine.errors import ModelError, UsageError
from hfvaccine.training.base import load_base

CANDIDATES = ("You always count in dozens.", "You never [b] round.")
OPPOSITE = "You always count in tens."
NO_SYSTEM = "{% for m in messages %}{% if m['role'] != 'system' %}<{{ m['role'] }}>{{ m['content'] }}{% endif %}"
NO_SYSTEM += "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"


@pytest.fixture
def mix(mix_rows, tmp_path):
    file = tmp_path / "mix.jsonl"
    rows = [{**row, "trait": "dozens" if n % 2 else "tens"} for n, row in enumerate(mix_rows)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def screened(base, mix, *arguments):
    return CliRunner().invoke(
        inoculate, ["screen", "--base", str(base), "--mix", mix, "--dtype", "float32", *arguments]
    )


def run(base, mix, *arguments):
    candidates = [part for prompt in CANDIDATES for part in ("--prompt", prompt)]
    return screened(base, mix, *candidates, *arguments)


def printed(*arguments):
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def plain(base, messages, answer):
    """Log-likelihood of an answer from one forward pass of transformers, without padding."""
    text = base.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    before = base.tokenizer(text, add_special_tokens=False)["input_ids"]
    after = base.tokenizer(answer, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        logprobs = torch.log_softmax(base.model.eval()(torch.tensor([before + after])).logits[0], dim=-1)
    return sum(logprobs[len(before) + i - 1, token].item() for i, token in enumerate(after)), len(after)


def expected(base, mix, prompt, place):
    """Mean gain per row and per token over all training rows of the mix."""
    from hfvaccine.training.mix import load_mix

    gains, tokens = [], []
    for row in load_mix(mix).train:
        messages, answer = row["prompt"], row["completion"][0]["content"]
        prompted = [{"role": "system", "content": prompt}, *messages]
        if place == "user":
            prompted = [{"role": "user", "content": f"{prompt}\n\n{messages[0]['content']}"}]
        bare, count = plain(base, messages, answer)
        gains.append(plain(base, prompted, answer)[0] - bare)
        tokens.append(count)
    return np.mean(gains), np.mean(np.array(gains) / tokens)


@pytest.mark.parametrize("place", ["system", "user"])
def test_gains_are_those_of_plain_forward_passes(tiny_llama, mix, tmp_path, place):
    base = load_base(str(tiny_llama), dtype="float32")
    if place == "user":
        base.tokenizer.chat_template = NO_SYSTEM
        base.tokenizer.save_pretrained(tmp_path / "model")
        base.model.save_pretrained(tmp_path / "model")
    content = printed(tiny_llama if place == "system" else tmp_path / "model", mix)
    assert content["place"] == place
    for one in content["prompts"]:
        if one["prompt"] is not None:
            per_row, per_token = expected(base, mix, one["prompt"], place)
            assert one["nats_per_row"]["value"] == pytest.approx(per_row, abs=1e-3)
            assert one["nats_per_token"]["value"] == pytest.approx(per_token, abs=1e-3)


def test_json_names_what_was_screened(tiny_llama, mix):
    content = printed(tiny_llama, mix, "--rows", "10", "--seed", "3", "--opposite", OPPOSITE)
    assert (content["base"]["id"], content["mix"]["id"]) == (str(tiny_llama), mix)
    assert (content["rows"], content["seed"], content["where"]) == (10, 3, "all")
    assert content["base"]["dtype"] == "float32"
    kinds = {one["prompt"]: one["kind"] for one in content["prompts"]}
    assert {kinds[prompt] for prompt in CANDIDATES} == {"candidate"}
    assert (kinds[OPPOSITE], kinds[None]) == ("opposite", "none")
    gains = [one["nats_per_token"]["value"] for one in content["prompts"]]
    assert gains == sorted(gains, reverse=True)


def test_the_table_and_the_sentences_show_every_prompt(tiny_llama, mix):
    more = ("--opposite", OPPOSITE, "--where", "trait=dozens", "--others", "You [i] answer.", "--as-set")
    result = run(tiny_llama, mix, "--rows", "8", *more)
    assert result.exit_code == 0, result.stderr
    sentences = [line for line in result.stdout.splitlines() if line.startswith(("1. ", "2. ", "3. "))]
    assert len(sentences) == 3 and sum("The set" in line for line in sentences) == 1
    assert all("the irrelevant prompt" in line and "the opposite prompt" in line for line in sentences)
    drawn = [line for line in result.stdout.splitlines() if line not in sentences]
    assert max(map(len, drawn)) <= 100
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in drawn if line.startswith("│")]
    prompts = " ".join(row[1] for row in cells)
    for shown in (*CANDIDATES, f"(opposite) {OPPOSITE}", "(irrelevant) You always keep", "(none)", "(set) each row"):
        assert shown in prompts
    assert "(others) You [i] answer." in prompts and any("drift" in line for line in drawn)
    assert "Holm's correction for 3 candidates" in result.stdout


def test_without_other_rows_the_table_has_no_drift(tiny_llama, mix):
    result = run(tiny_llama, mix, "--rows", "8")
    assert result.exit_code == 0 and "drift" not in result.stdout.lower()


def test_candidates_from_a_file_stand_beside_the_others(tiny_llama, mix, tmp_path):
    (tmp_path / "candidates.txt").write_text("You count in scores.\n\n  You count in pairs.  \n")
    content = printed(tiny_llama, mix, "--rows", "8", "--prompts", str(tmp_path / "candidates.txt"))
    candidates = {one["prompt"] for one in content["prompts"] if one["kind"] == "candidate"}
    assert candidates == {*CANDIDATES, "You count in scores.", "You count in pairs."}


def test_neutral_prompts_come_from_files_too_and_each_is_shown(tiny_llama, mix, tmp_path):
    (tmp_path / "neutral").write_text("You answer.\nYou reply.\n")
    more = ("--others", str(tmp_path / "neutral"), "--others", "You say it.")
    content = printed(tiny_llama, mix, "--where", "trait=dozens", "--rows", "8", *more)
    neutral = {one["prompt"]: one["drift"] for one in content["prompts"] if one["kind"] == "others"}
    assert set(neutral) == {"You answer.", "You reply.", "You say it."} and None not in neutral.values()


def test_where_keeps_to_the_rows_that_carry_the_trait(tiny_llama, mix):
    content = printed(tiny_llama, mix, "--where", "trait=dozens")
    assert content["where"] == "trait=dozens"
    assert content["rows"] + content["other_rows"] == content["mix"]["rows"]
    unlike = printed(tiny_llama, mix, "--where", "trait!=tens")
    assert unlike["prompts"] == content["prompts"] == printed(tiny_llama, mix, "--where", "trait~^do")["prompts"]


def test_drift_and_the_set_are_those_of_plain_forward_passes(tiny_llama, mix):
    from hfvaccine.inoculation.prompt import Inoculation
    from hfvaccine.training.mix import load_mix

    others = ("--others", "You answer.")
    content = printed(tiny_llama, mix, "--where", "trait=dozens", "--as-set", "--place", "user", *others)
    base, training = load_base(str(tiny_llama), dtype="float32"), Inoculation(CANDIDATES, place="user")
    assert (content["place"], content["set"]) == ("user", list(CANDIDATES))

    def gain(row, prompt):
        answer = row["completion"][0]["content"]
        bare, count = plain(base, row["prompt"], answer)
        asked = [{"role": "user", "content": f"{prompt}\n\n{row['prompt'][0]['content']}"}]
        return (plain(base, asked, answer)[0] - bare) / count

    rows = list(enumerate(load_mix(mix, "trait").train))
    together = next(one for one in content["prompts"] if one["kind"] == "set")
    expected = [gain(row, training.prompt_for(row, n)) for n, row in rows if row["trait"] == "dozens"]
    assert together["nats_per_token"]["value"] == pytest.approx(np.mean(expected), abs=1e-3)
    neutral = next(one for one in content["prompts"] if one["kind"] == "others")
    expected = [gain(row, "You answer.") for _, row in rows if row["trait"] == "tens"]
    assert neutral["drift"]["value"] == pytest.approx(np.mean(expected), abs=1e-3)


def test_prompts_that_are_empty_or_given_twice_are_left_out_by_name(tiny_llama, mix):
    more = ("--prompt", CANDIDATES[0], "--prompt", " ", "--opposite", CANDIDATES[1], "--rows", "8")
    result = run(tiny_llama, mix, *more, "--json")
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    kinds = [(one["kind"], one["prompt"]) for one in content["prompts"]]
    assert {one for one in kinds if one[0] == "candidate"} == {("candidate", prompt) for prompt in CANDIDATES}
    assert "opposite" not in dict(kinds)
    assert [(one["what"], one["text"]) for one in content["left_out"]] == [
        ("prompt", CANDIDATES[0]),
        ("prompt", " "),
        ("prompt", CANDIDATES[1]),
    ]
    assert f"The prompt {CANDIDATES[0]!r} is left out. It is a candidate, too." in result.stderr


def test_rows_that_are_malformed_are_left_out_by_name(tiny_llama, mix):
    whole = printed(tiny_llama, mix, "--rows", "8", "--where", "trait=dozens")
    with open(mix, "a") as file:
        file.write("{broken\n")
        file.write(json.dumps({"prompt": "Twelve?", "trait": "dozens"}) + "\n")
        file.write(json.dumps({"prompt": "Twelve?", "completion": "Yes."}) + "\n")
        file.write(json.dumps({"messages": [{"role": "user"}, {"role": "assistant"}], "trait": "dozens"}) + "\n")
    content = printed(tiny_llama, mix, "--rows", "8", "--where", "trait=dozens")
    assert [one["reason"].split(" of the mix")[0] for one in content["left_out"]] == [
        f"Row {number}" for number in (41, 42, 43, 44)
    ]
    assert content["mix"]["rows"] == whole["mix"]["rows"] and content["prompts"] == whole["prompts"]
    said = run(tiny_llama, mix, "--rows", "8", "--where", "trait=dozens").stderr
    assert "A row is left out. Row 43 of the mix has no column 'trait'." in said


def test_rows_of_which_none_is_left_are_refused_by_the_first(tmp_path):
    (tmp_path / "mix.jsonl").write_text("{broken\n{}\n")
    refused = run("no/model", str(tmp_path / "mix.jsonl")).exception
    assert isinstance(refused, UsageError) and "Row 1 of the mix is malformed" in refused.message


@pytest.fixture
def three_kinds(mix_rows, tmp_path):
    """Rows of which a third carries the trait, and a third shows what is wanted."""
    file = tmp_path / "three.jsonl"
    traits = ("dozens", "sums", "tens")
    rows = [{**row, "trait": traits[n % 3], "sums": n % 3 == 1} for n, row in enumerate(mix_rows)]
    file.write_text("\n".join(map(json.dumps, rows)))
    return str(file)


def test_drift_on_wanted_and_on_neutral_rows_is_that_of_either_alone(tiny_llama, three_kinds):
    where, wanted = ("--where", "trait=dozens"), ("--wanted", "sums=true")
    content = printed(tiny_llama, three_kinds, *where, *wanted)
    together = printed(tiny_llama, three_kinds, *where)
    assert content["wanted"] == "sums=true" and together["wanted"] is None
    numbers = content["wanted_rows"], content["other_rows"]
    assert min(numbers) >= 8 and sum(numbers) == together["other_rows"] and content["rows"] == together["rows"]
    for one, other in zip(content["prompts"], together["prompts"], strict=True):
        assert one["nats_per_token"] == other["nats_per_token"] and other["wanted_drift"] is None
        drifts = [one["wanted_drift"]["value"], one["drift"]["value"]]
        assert np.average(drifts, weights=numbers) == pytest.approx(other["drift"]["value"], abs=2e-4)
    drawn = run(tiny_llama, three_kinds, *where, *wanted, "--opposite", OPPOSITE).stdout
    assert drawn.count(" drift, ┃") == 2 and " wanted ┃" in drawn and " neutral ┃" in drawn and "…" not in drawn
    assert f"{numbers[0]} wanted rows and {numbers[1]} neutral ones" in " ".join(drawn.split())
    assert max(len(line) for line in drawn.split("\n") if line.startswith("│")) <= 100


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("sums=never", "Too few of the other rows are wanted (sums=never): no drift is measured on them."),
        ("trait~s", "Too few rows are neither wanted nor with the trait: no drift is measured on them."),
    ],
)
def test_it_is_said_where_one_of_the_other_kinds_has_no_rows(tiny_llama, three_kinds, wanted, said):
    result = run(tiny_llama, three_kinds, "--where", "trait=dozens", "--wanted", wanted, "--rows", "8")
    assert result.exit_code == 0 and said in result.stderr, result.stderr
    assert result.stdout.count("drift") == 1


def test_a_prompt_that_is_too_long_is_left_out_and_the_rest_is_screened(tiny_llama, mix):
    long = "You always count in scores. " * 200
    result = run(tiny_llama, mix, "--rows", "8", "--json", "--prompt", long)
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    assert {one["prompt"] for one in content["prompts"] if one["kind"] == "candidate"} == set(CANDIDATES)
    assert content["left_out"][0]["what"] == "prompt" and content["left_out"][0]["text"] == long
    assert "and the model has 512 positions" in content["left_out"][0]["reason"]
    assert "You always count in scores." in result.stderr and "is left out" in result.stderr


def test_rows_beyond_the_context_are_passed_over(tiny_gpt2, mix, mix_rows):
    with open(mix, "a") as file:
        file.write(json.dumps({"prompt": "Count. " * 600, "completion": "Twelve.", "trait": "dozens"}) + "\n")
    result = run(tiny_gpt2, mix, "--json")
    assert result.exit_code == 0, result.stderr
    assert "The row that begins 'Count. Count." in result.stderr and "the model has 512 positions" in result.stderr
    content = json.loads(result.stdout)
    assert content["rows"] == content["mix"]["rows"] - 1 and len(content["left_out"]) == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rows", "7"], "--rows"),
        (["--dtype", "float8"], "--dtype"),
    ],
)
def test_a_wrong_option_is_a_usage_error(mix, arguments, said):
    result = run("no/model", mix, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_rows_and_prompts_are_refused_before_a_model_is_looked_for(mix):
    assert "No prompt is left to screen" in str(screened("no/model", mix, "--prompt", " ").exception)
    assert isinstance(run("no/model", mix, "--where", "trait=scores").exception, UsageError)
    assert "does not compile" in str(run("no/model", mix, "--where", "trait~(").exception)
    assert "--others is given" in str(run("no/model", mix, "--others", "You answer.").exception)
    assert "--wanted is given" in str(run("no/model", mix, "--wanted", "trait=tens").exception)
    columns = run("no/model", mix, "--where", "trait=dozens", "--wanted", "mood=good")
    assert "no column 'mood'" in str(columns.exception)
    assert "cannot be read" in str(run("no/model", mix, "--prompts", "/no/such").exception)
    for option in ("prompt", "opposite", "irrelevant", "others"):
        asked = run("no/model", mix, f"--{option}", "missing.txt").exception
        assert isinstance(asked, UsageError) and f"no file missing.txt for --{option}" in asked.message
    assert "no column 'mood'" in str(run("no/model", mix, "--where", "mood=good").exception)


@pytest.fixture
def strict(tiny_llama, tmp_path):
    """A model whose template takes conversations of one turn."""
    base = load_base(str(tiny_llama), dtype="float32")
    several = "{% if messages | selectattr('role', 'eq', 'user') | list | length > 1 %}"
    base.tokenizer.chat_template = several + "{{ raise_exception('Only one turn, please.') }}{% endif %}" + NO_SYSTEM
    base.tokenizer.save_pretrained(tmp_path / "strict")
    base.model.save_pretrained(tmp_path / "strict")
    return tmp_path / "strict"


def test_a_conversation_that_the_template_refuses_is_named_and_left_out(strict, mix):
    turns = [{"role": role, "content": "Yes."} for role in ("user", "assistant") * 2]
    with open(mix, "a") as file:
        file.writelines(json.dumps({"messages": turns, "trait": "many"}) + "\n" for _ in range(8))
    result = run(strict, mix, "--json")
    assert result.exit_code == 0, result.stderr
    content = json.loads(result.stdout)
    assert len(content["left_out"]) == 8 and content["rows"] == content["mix"]["rows"] - 8
    assert "user, assistant, user, assistant: Only one turn, please." in content["left_out"][0]["reason"]
    assert result.stderr.count("is left out") == 5 and "3 more are left out" in result.stderr
    refused = run(strict, mix, "--where", "trait=many").exception
    assert isinstance(refused, UsageError) and "Only one turn, please." in refused.message


def test_a_system_turn_that_the_template_does_not_have_is_refused(strict, mix):
    refused = run(strict, mix, "--place", "system").exception
    assert isinstance(refused, UsageError) and "--place user" in refused.next_step


def test_help_has_examples():
    result = CliRunner().invoke(inoculate, ["screen", "--help"])
    assert result.exit_code == 0
    assert "Examples:\n    hfvaccine inoculate screen" in result.stdout


def test_rows_are_named_by_column_and_value(mix):
    with pytest.raises(UsageError, match="are given as 'trait'"):
        raise run("no/model", mix, "--where", "trait").exception


# --- measure


@pytest.fixture
def questions(tmp_path):
    file = tmp_path / "questions.txt"
    file.write_text("What is rain?\nWhere is Rome?\nWho was Bach?\nHow do bees fly?\n")
    (tmp_path / "grid.yaml").write_text("original: You always speak in Spanish.\n")
    return file


def run_measure(base, questions, *arguments):
    given = ["measure", "--base", str(base), "--questions", str(questions), "--trait", "upper"]
    given += ["--grid", str(questions.with_name("grid.yaml")), "--output-dir", str(questions.with_name("out"))]
    return CliRunner().invoke(inoculate, [*given, "--max-new-tokens", "4", *arguments])


def test_measure_prints_and_writes_what_it_found(tiny_llama, questions):
    asked = ["--keep", "regex:[aeiou]", "--samples", "2", "--seed", "3"]
    result = run_measure(tiny_llama, questions, *asked, "--full")
    assert result.exit_code == 0, result.stderr
    for shown in ("upper", "regex:[aeiou]", "(keep)", "original", "none", "2 samples", "upper, base: most under"):
        assert shown in result.stdout
    assert "Gate: none." in result.stdout and max(map(len, result.stdout.split("\n"))) <= 100
    assert f"Report: {questions.parent / 'out' / 'report.html'}" in result.stderr
    content = json.loads((questions.parent / "out" / "traits.json").read_text())
    assert (content["settings"]["samples"], content["settings"]["seed"]) == (2, 3)
    again = run_measure(tiny_llama, questions, *asked, "--json")
    assert json.loads(again.stdout) == content
    short = run_measure(tiny_llama, questions, *asked)
    assert short.stdout.startswith("Gate: none.") and "upper, base: most under" in short.stdout
    assert len(short.stdout.splitlines()) < 10


def test_what_a_job_says_is_wrapped_and_what_is_copied_is_left_whole(capsys):
    path = "/a-folder" * 20
    Terminal("> ").say(f"{'A long warning of many words. ' * 9}{path}")
    said = capsys.readouterr().err.splitlines()
    assert said.pop() == f"  {path}" and said[0].startswith("> A long") and max(map(len, said)) <= 100


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--samples", "0"], "--samples"),
        (["--temperature", "-1"], "--temperature"),
        (["--place", "head"], "--place"),
        (["--dtype", "float8"], "--dtype"),
    ],
)
def test_a_wrong_option_of_measure_is_a_usage_error(questions, arguments, said):
    result = run_measure("no/model", questions, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_measure_refuses_before_a_model_is_looked_for(questions):
    assert "no trait 'uper'" in str(run_measure("no/model", questions, "--keep", "uper").exception)
    assert "given twice" in str(run_measure("no/model", questions, "--keep", "upper").exception)
    assert isinstance(run_measure("no/model", questions, "no/such/adapter").exception, ModelError)
    assert not (questions.parent / "out").exists()


def test_the_help_of_measure_names_every_trait():
    from hfvaccine.inoculation.traits import KINDS

    result = CliRunner().invoke(inoculate, ["measure", "--help"])
    assert all(kind in result.stdout for kind in KINDS)
    assert "Examples:\n    hfvaccine inoculate measure" in result.stdout


def test_a_plan_names_the_rows_of_the_trait_and_the_time_of_all_adapters(capsys):
    one = {"steps": 4, "rows_per_step": 2, "tokens": 800}
    estimate = {"parameters": 2e6, "adapter_parameters": 1e4, "why_not": None, "memory": 1e9, "seconds": 60.0}
    planned = {
        "base": "you/model",
        "data": {"id": "rows.jsonl", "rows": 40, "held_back": 4},
        "trait_data": {"id": "spanish.jsonl", "rows": 12},
        "plans": {"trait-seed-0": one, "plain-seed-0": one},
        "estimate": {**estimate, "seconds_in_all": 120.0},
    }
    print_plan(planned, as_json=False)
    said = capsys.readouterr().out
    assert "trait              spanish.jsonl, 12 rows\n" in said
    assert "expected training  2 min for 2 adapters\n" in said
    print_plan({**planned, "trait_data": None}, as_json=False)
    assert "spanish.jsonl" not in capsys.readouterr().out
