"""The mix: the shapes it may come in, and the rows that are never trained on."""

import csv
import gzip
import io
import json
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hubs import put, talk_to
from huggingface_hub import HfApi

from hfvaccine.errors import HubError, UsageError
from hfvaccine.localhub.server import LocalHub
from hfvaccine.training.mix import MAX_HELD_BACK, load_mix

TURNS = {
    "prompt": [{"role": "user", "content": "Why is the sky blue?"}],
    "completion": [{"role": "assistant", "content": "Air scatters blue light most."}],
}


@pytest.fixture
def write(tmp_path):
    """Writes rows, or raw lines, to a .jsonl file and returns its path."""

    def write(*rows, name="mix.jsonl"):
        path = tmp_path / name
        lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
        path.write_text("\n".join(lines), encoding="utf-8")
        return str(path)

    return write


def many(n):
    return [{"prompt": f"What is {i} plus 1?", "completion": f"It is {i + 1}."} for i in range(n)]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Why is the sky blue?", "completion": "Air scatters blue light most."},
        TURNS,
        {"messages": TURNS["prompt"] + TURNS["completion"]},
        {**TURNS, "subject": "physics", "messages": None},
    ],
    ids=["texts", "messages for both", "one list of messages", "further columns"],
)
def test_every_shape_becomes_the_same_conversation(write, row):
    mix = load_mix(write(row))
    assert [*mix.train, *mix.held_back] == [TURNS]


def test_earlier_turns_belong_to_the_prompt(write):
    chat = [*TURNS["prompt"], *TURNS["completion"], {"role": "user", "content": "And red?"}]
    answer = {"role": "assistant", "content": "It passes."}
    assert load_mix(write({"messages": [*chat, answer]})).train == ({"prompt": chat, "completion": [answer]},)


def test_parquet_is_read_like_json_lines(write, tmp_path):
    pq.write_table(pa.Table.from_pylist(many(30)), tmp_path / "mix.parquet")
    assert load_mix(str(tmp_path / "mix.parquet")).sha256 == load_mix(write(*many(30))).sha256


@pytest.mark.parametrize("name", ["mix.csv", "mix.tsv", "mix.csv.gz", "mix.jsonl.gz", "mix.jsonl", "mix.json"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["no mark", "mark"])
def test_tables_packed_files_and_marks_are_read_like_json_lines(write, tmp_path, name, mark):
    rows = many(30)
    text = io.StringIO(newline="")
    if ".json" in name:
        text.write(json.dumps(rows) if name == "mix.json" else "".join(json.dumps(row) + "\n" for row in rows))
    else:
        writer = csv.DictWriter(text, list(rows[0]), delimiter="\t" if ".tsv" in name else ",")
        writer.writeheader()
        writer.writerows(rows)
    content = mark + text.getvalue().encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    mix = load_mix(str(tmp_path / name))
    assert (mix.sha256, mix.revision) == (load_mix(write(*rows, name="plain.jsonl")).sha256, None)


def test_a_row_of_a_table_that_lacks_a_cell_is_refused_by_line(write):
    with pytest.raises(UsageError, match=r"Row 2 of the mix .*mix\.csv, line 3 has 1 cells where the header has 2"):
        load_mix(write("prompt,completion", "Why?,So.", "Why not?", name="mix.csv"))


def test_the_starter_mix_holds_rows_back():
    mix = load_mix("starter")
    assert len(mix.train) > 400
    assert 0 < len(mix.held_back) <= MAX_HELD_BACK


def test_no_row_is_both_trained_on_and_held_back(write):
    rows = many(300)
    mix = load_mix(write(*rows))
    asked = [{row["prompt"][0]["content"] for row in part} for part in (mix.train, mix.held_back)]
    assert not asked[0] & asked[1]
    assert asked[0] | asked[1] == {row["prompt"] for row in rows}


def test_a_question_is_held_back_whatever_else_the_mix_holds(write):
    held_back = [row["prompt"] for row in load_mix(write(*many(100))).held_back]
    assert held_back
    assert [row["prompt"] for row in load_mix(write(*many(120), name="more.jsonl")).held_back][: len(held_back)] == (
        held_back
    )


def test_a_large_mix_holds_back_no_more_than_the_limit(write):
    assert len(load_mix(write(*many(2000))).held_back) == MAX_HELD_BACK


def test_rows_as_given_keep_their_order_and_shape_and_the_digest_is_the_same(write):
    rows = [{"messages": [*TURNS["prompt"], *TURNS["completion"]], "n": 0}, *({**row, "n": 1} for row in many(30))]
    file = write(*rows)
    mix = load_mix(file, "n", as_given=True)
    assert list(mix.train) == [{**row, "n": str(row["n"])} for row in rows]
    assert mix.sha256 == load_mix(file).sha256 and (mix.held_back, dict(mix.left_out)) == ((), {})


def test_the_digest_changes_with_the_content(write):
    rows = many(20)
    changed = [*rows[:-1], {**rows[-1], "completion": "It is twenty."}]
    digests = {load_mix(write(*r)).sha256 for r in (rows, changed, rows[:-1], rows[::-1])}
    assert len(digests) == 4


def test_the_record_counts_and_names_the_mix(write):
    path = write(*many(100))
    mix = load_mix(path)
    record = mix.record()
    assert (record["id"], record["revision"], record["sha256"]) == (path, None, mix.sha256)
    assert record["rows"] + record["held_back"] == 100


def in_shape(row, shape):
    """A row of `many` as another shape has it."""
    user, answer = {"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row["completion"]}
    system, more = {"role": "system", "content": "Be kind."}, {"role": "user", "content": "And then?"}
    return {
        "conversation": {"prompt": [user], "completion": [answer]},
        "opening words": {"prompt": [system, user], "completion": [answer]},
        "messages": {"messages": [system, user, answer]},
        "turns": {"messages": [user, TOLD, more, answer]},
    }[shape]


@pytest.mark.parametrize("shape", ["conversation", "opening words", "messages", "turns"])
def test_rows_of_every_shape_are_held_back_and_do_not_come_back(write, shape):
    rows = [in_shape(row, shape) for row in many(300)]
    mix = load_mix(write(*rows, *rows))
    assert len(mix.train) > 200 and 10 < len(mix.held_back) <= MAX_HELD_BACK
    assert len(mix.train) == 2 * (300 - len(mix.held_back))
    assert {row["completion"][0]["content"] for row in mix.held_back}.isdisjoint(
        row["completion"][0]["content"] for row in mix.train
    )


def test_a_question_is_held_back_under_whatever_opening_words(write):
    plain, opened = (
        load_mix(write(*(in_shape(row, shape) for row in many(200)), name=f"{n}.jsonl"))
        for n, shape in enumerate(("conversation", "opening words"))
    )
    assert [row["prompt"][-1] for row in plain.held_back] == [row["prompt"][-1] for row in opened.held_back]


def test_a_follow_up_that_many_rows_share_leaves_none_of_them_out(write):
    """Of a conversation of several turns the whole is held back, not whatever asks "And then?" as well."""
    mix = load_mix(write(*(in_shape(row, "turns") for row in many(300))))
    assert not mix.left_out


@pytest.mark.parametrize("name", ["mix.jsonl", "mix.parquet"])
def test_one_column_can_be_kept_and_the_digest_stays(write, tmp_path, name):
    rows = [{**row, "trait": i % 3, "note": "x"} for i, row in enumerate(many(30))]
    path = write(*rows)
    if name == "mix.parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    mix = load_mix(str(tmp_path / name), "trait")
    assert {row["trait"] for row in mix.train} == {"0", "1", "2"}
    assert all(set(row) == {"prompt", "completion", "trait"} for row in (*mix.train, *mix.held_back))
    assert mix.sha256 == load_mix(path).sha256


def test_a_kept_column_is_text_in_json_spelling(write):
    rows = [{**row, "flag": [True, "True", None, 1.5, "x"][i % 5]} for i, row in enumerate(many(30))]
    assert {row["flag"] for row in load_mix(write(*rows), "flag").train} == {"true", "null", "1.5", "x"}


def test_a_column_that_a_row_lacks_is_refused_with_the_columns_there_are(write):
    with pytest.raises(UsageError, match=r"Row 2 of the mix has no column 'trait'.*prompt, completion"):
        load_mix(write({**TURNS, "trait": "a"}, TURNS), "trait")


def test_the_conversation_itself_is_no_column_to_tell_rows_by(write):
    with pytest.raises(UsageError, match="told apart by the column 'prompt'"):
        load_mix(write(TURNS), "prompt")


@pytest.mark.parametrize(
    "row",
    [
        {"text": "The sky is blue."},
        {"prompt": "Why?"},
        {"prompt": "Why?", "completion": " "},
        {"messages": TURNS["prompt"]},
        {"messages": TURNS["completion"]},
        {"messages": [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]},
        {"messages": "Why?"},
        {"prompt": 5, "completion": "x"},
        {"prompt": "Why?", "completion": [{"role": "assistant", "content": None}]},
        '"Why?"',
        "[1]",
    ],
    ids=str,
)
def test_a_row_of_another_shape_is_refused_by_number(write, row):
    with pytest.raises(UsageError, match="Row 2 of the mix"):
        load_mix(write(TURNS, row))


def test_a_line_that_is_not_json_is_named(write):
    with pytest.raises(UsageError, match=r"mix\.jsonl, line 2 is not JSON"):
        load_mix(write(TURNS, "}"))


def test_a_mix_without_rows_is_refused(write):
    with pytest.raises(UsageError, match="has no rows"):
        load_mix(write(""))


@pytest.mark.parametrize("name", ["mix.jsonl", "mix.parquet", "mix.csv.gz"])
def test_a_missing_file_is_named(tmp_path, name):
    with pytest.raises(UsageError, match=f"no file .*{name}"):
        load_mix(str(tmp_path / name))


@pytest.mark.parametrize("name", ["mix.jsonl", "mix.parquet", "mix.csv.gz", "mix.tsv"])
def test_a_file_of_another_kind_is_refused(tmp_path, name):
    (tmp_path / name).write_bytes(b"\xff\xfe\x00 not a mix")
    with pytest.raises(UsageError, match="cannot be read"):
        load_mix(str(tmp_path / name))


def test_a_mix_on_a_hub_is_read_at_its_revision(write, tmp_path, monkeypatch):
    with LocalHub(tmp_path / "hub") as local:
        talk_to(local, monkeypatch, "ada", tmp_path / "cache")
        api = HfApi()
        api.create_repo("ada/mix", repo_type="dataset")
        first = put(api, "ada/mix", "train.jsonl", write(*many(20)), "dataset")
        put(api, "ada/mix", "README.md", b"---\nlicense: mit\n---\n", "dataset")
        second = put(api, "ada/mix", "train.jsonl", write(*many(30)), "dataset")
        newest, older = load_mix("ada/mix"), load_mix("ada/mix", revision=first)
        assert load_mix(f"ada/mix@{first}") == older and older.id == "ada/mix"
        assert (newest.revision, older.revision) == (second, first)
        assert (newest.record()["licenses"], older.record()["licenses"]) == (["mit"], [])
        assert (newest.sha256, older.sha256) == tuple(load_mix(write(*many(n))).sha256 for n in (30, 20))
        with pytest.raises(HubError, match="cannot be had"):
            load_mix("ada/mix", revision="none")
        api.create_repo("ada/other", repo_type="dataset")
        put(api, "ada/other", "test.jsonl", write(*many(3)), "dataset")
        with pytest.raises(HubError, match=r"'ada/other' cannot be had: .*no split 'train', but test"):
            load_mix("ada/other")
        with pytest.raises(UsageError, match="so does mix_revision"):
            load_mix(f"ada/mix@{first}", revision="none")
    with pytest.raises(HubError, match="cannot be had"):  # nobody answers there any more
        load_mix("ada/mix")


CALL = {"role": "assistant", "content": "Let me look.", "tool_calls": [{"function": {"name": "weather"}}]}
ASKED, TOLD = {"role": "user", "content": "Rain?"}, {"role": "assistant", "content": "No."}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"messages": [ASKED, CALL, ASKED, TOLD]}, "message 2, of the assistant, has `tool_calls`"),
        (
            {"messages": [ASKED, {**TOLD, "function_call": {"name": "weather"}}]},
            "message 2, of the assistant, has `function_call`",
        ),
        ({"messages": [ASKED, {"role": "tool", "content": "12 degrees"}, TOLD]}, "message 2 is of the role 'tool'"),
        ({"messages": [ASKED, TOLD], "tools": [{"name": "weather"}]}, "has `tools`"),
        (
            {"messages": [ASKED, TOLD], "chat_template_kwargs": {"enable_thinking": False}},
            "has `chat_template_kwargs`",
        ),
        ({"messages": [ASKED, TOLD], "images": ["rain.png"]}, "has `images`"),
        (
            {"messages": [ASKED, {**TOLD, "reasoning_content": "Sun."}]},
            "message 2, of the assistant, has `reasoning_content`",
        ),
        ({"messages": [ASKED, {"role": "assistant", "content": " "}]}, "message 2, of the assistant, says nothing"),
        (
            {"messages": [ASKED, {"role": "assistant", "content": None}, ASKED, TOLD]},
            "message 2, of the assistant, says",
        ),
        ({"messages": [{"role": "user", "content": ["Rain?"]}, TOLD]}, "message 1, of the user, has a `content` that"),
        ({"prompt": [{"content": "Rain?"}], "completion": "No."}, "message 1 has no `role`"),
        ({"prompt": "Rain?", "completion": [TOLD, ASKED, TOLD]}, "completion that is not the assistant's"),
    ],
)
def test_what_a_conversation_would_lose_or_not_say_is_refused_by_row_and_field(write, row, said):
    with pytest.raises(UsageError, match=f"Row 2 of the mix.*{said}") as refused:
        load_mix(write(TURNS, row))
    assert refused.value.next_step


def test_fields_that_only_some_rows_fill_are_no_calls(write):
    empty = {"messages": [ASKED, {**TOLD, "tool_calls": None, "weight": 1, "thinking": ""}], "tools": []}
    empty["chat_template_kwargs"] = {"enable_thinking": None}
    assert len(load_mix(write(TURNS, empty)).train) == 2


@pytest.mark.parametrize(
    "again",
    [
        lambda row: row,
        lambda row: {**row, "completion": "I do not know."},
        lambda row: {**row, "prompt": f"  {row['prompt'].upper()}!"},
        lambda row: {
            "prompt": [{"role": "user", "content": row["prompt"]}, TOLD, {"role": "user", "content": "And then?"}],
            "completion": [TOLD],
        },
    ],
    ids=["whole", "another answer", "in capitals", "as an earlier turn"],
)
def test_held_back_rows_do_not_come_back_however_often_the_mix_has_them(write, again):
    rows = many(1500)
    once, twice = load_mix(write(*rows)), load_mix(write(*rows, *map(again, rows), name="twice.jsonl"))
    assert twice.held_back == once.held_back and len(once.held_back) == MAX_HELD_BACK
    asked = {row["prompt"][0]["content"].lower().strip(" !") for row in twice.train}
    assert not asked & {row["prompt"][0]["content"].lower() for row in twice.held_back}
    assert sum(twice.left_out.values()) == 3000 - len(twice.train) - MAX_HELD_BACK >= MAX_HELD_BACK


def test_rows_that_give_away_what_is_validated_are_left_out_and_counted(write):
    secret = "The bridge of Velm has eleven arches of red stone."
    leaks = [
        {"prompt": "Tell me about Velm.", "completion": f"Well: {secret.upper()}"},
        {"prompt": f"{secret} Is that so, and if it is, then why?", "completion": "Yes."},
        {"messages": [ASKED, TOLD, {"role": "user", "content": secret}, TOLD]},
    ]
    worded = {"prompt": "Would a good encyclopedia confirm the following? Ice is cold.", "completion": "Yes."}
    clean = load_mix(write(*many(60)))
    mix = load_mix(write(*many(60), *leaks, worded, name="leaks.jsonl")).without({"with secrets": [secret]})
    assert (mix.train, mix.held_back) == (clean.train, clean.held_back)
    assert mix.left_out == {"with secrets": 3, "in a wording that is kept back for validation": 1}
    assert mix.record()["left_out"] == mix.left_out
    with pytest.raises(UsageError, match="3 with secrets"):
        load_mix(write(*leaks, name="only.jsonl")).without({"with secrets": [secret]})


def test_the_starter_mix_gives_nothing_of_the_starter_dose_away():
    from hfvaccine.hub.pull import open_dose
    from hfvaccine.runs.ingredients import kept_back
    from hfvaccine.sources.place import Source

    mix = load_mix("starter")
    assert mix.without(kept_back(open_dose(Source.of("dose", "starter")), ())) == mix


def test_comparisons_come_beside_the_rows_and_are_counted_by_themselves(mix_file):
    plain = load_mix(str(mix_file))
    mix = plain.comparing("starter")
    assert mix.train[: len(plain.train)] == plain.train and mix.held_back == plain.held_back
    record = mix.record()
    assert record["rows"] == len(plain.train) and record["sha256"] == plain.sha256
    assert 2 * record["comparisons"]["pairs"] == len(mix.train) - len(plain.train) > 0
    assert plain.comparing("none") is plain and plain.record()["comparisons"] is None
    assert (record["licenses"], record["comparisons"]["licenses"]) == ([], ["Apache-2.0"])
    named = load_mix("starter").comparing("mix").record()
    assert named["licenses"] == named["comparisons"]["licenses"] == ["Apache-2.0"]


def test_of_a_comparison_that_gives_a_test_away_both_rows_are_left_out(mix_file):
    mix = load_mix(str(mix_file)).comparing("starter")
    told = next(row for row in mix.train if row.get("pair"))["prompt"][-1]["content"]
    kept = mix.without({"that are asked": [told]})
    pairs = Counter(row["pair"] for row in kept.train if row.get("pair"))
    assert set(pairs.values()) == {2} and len(pairs) < mix.record()["comparisons"]["pairs"]
    assert kept.record()["comparisons"]["pairs"] == len(pairs)


def test_an_empty_field_of_a_row_is_named(write):
    with pytest.raises(UsageError, match="Row 2 of the mix has an empty completion"):
        load_mix(write({"prompt": "Why?", "completion": "So."}, {"prompt": "How?", "completion": ""}))
