"""What is found in files that are to be published, packed ones included."""

import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from finished_runs import bound

from hfvaccine import hub
from hfvaccine.errors import PublishError
from hfvaccine.files import ADAPTER_CONFIG, CONFIG
from hfvaccine.hub.content import read
from hfvaccine.hub.leaks import refuse_leaks

TOKEN = "hf_" + "aB3" * 11


def parquet(columns, compression="zstd", metadata=None):
    table = pa.table(columns)
    if metadata:
        table = table.replace_schema_metadata(metadata)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression=compression)
    return sink.getvalue()


def safetensors(metadata=None, tensors=b""):
    header = json.dumps({"__metadata__": metadata or {}}).encode()
    return len(header).to_bytes(8, "little") + header + tensors


def refusal(files, here=()):
    with pytest.raises(PublishError) as caught:
        refuse_leaks(files, here)
    assert TOKEN not in str(caught.value)
    return caught.value.message


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd"])
@pytest.mark.parametrize(
    "column",
    [
        pa.array(["a", TOKEN]),
        pa.array(["a", TOKEN], pa.large_string()),
        pa.array([b"a", TOKEN.encode()]),
        pa.array(["a", TOKEN]).dictionary_encode(),
        pa.array([["a"], [TOKEN]]),
        pa.array([{"x": "a"}, {"x": TOKEN}]),
    ],
    ids=["text", "large text", "bytes", "dictionary", "list", "struct"],
)
def test_a_parquet_file_is_decoded(column, compression):
    content = parquet({"position": [0, 1], "note": column}, compression)
    assert refusal({"scores.parquet": content}).startswith("scores.parquet, in its column 'note', holds a Hub token")


def test_a_token_hidden_by_compression_is_found_in_the_values_alone():
    content = parquet({"note": [TOKEN * 40] * 3}, "gzip")
    without_statistics = io.BytesIO()
    table = pq.read_table(io.BytesIO(content))
    pq.write_table(table, without_statistics, compression="gzip", write_statistics=False, use_dictionary=False)
    assert TOKEN.encode() not in without_statistics.getvalue()
    assert "in its column 'note'" in refusal({"x.parquet": without_statistics.getvalue()})


def test_a_parquet_files_metadata_is_read():
    content = parquet({"a": [1]}, metadata={"plan": json.dumps({"output": "/home/somebody/run"})})
    assert "in its metadata, holds a path in somebody's home folder" in refusal({"ledger.parquet": content})
    assert "in its metadata, holds a Hub token" in refusal({"ledger.parquet": parquet({TOKEN: [1]})})
    field = pa.schema([pa.field("a", pa.int64(), metadata={"note": TOKEN})])
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array([1])], schema=field), sink)
    assert "in its metadata, holds a Hub token" in refusal({"ledger.parquet": sink.getvalue()})


def test_a_parquet_file_that_is_none_is_refused():
    assert "is no parquet file" in refusal({"ledger.parquet": b"PAR1"})


def test_the_header_of_a_safetensors_file_is_looked_into(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors({"by": TOKEN}, b"tensors"))
    assert "in its header, holds a Hub token" in refusal({path.name: read(path)})
    path.write_bytes(safetensors({"by": "somebody"}, TOKEN.encode()))
    refuse_leaks({path.name: read(path)})  # what is no text is not looked into


@pytest.mark.parametrize(
    "value",
    [
        "/srv/models/tiny",
        "/mnt/x",
        "gate=/srv/gates/mine.yaml",
        "~/models",
        "C:\\models\\tiny",
        "D:/models",
        "file:///srv/x",
    ],
)
@pytest.mark.parametrize("name", ["immunization.json", "config.yaml", "tokenizer_config.json", "config.json"])
def test_a_value_that_is_a_path_is_refused_with_its_key(name, value):
    content = json.dumps({"plan": {"from": [value]}, "chat_template": "{{ x }} / y"}).encode()
    assert refusal({name: content}) == (
        f"{name}, under plan.from, holds a path of this machine, so nothing was published."
    )


@pytest.mark.parametrize(
    "value", ["alice/tiny", "a / b", "/", "/no_think", "https://x.example/a/b", "either/or", "10/11/2026", "</s>"]
)
def test_a_value_that_is_no_path_passes(value):
    refuse_leaks({"immunization.json": json.dumps({"x": value}).encode()})


def test_tokens_of_a_vocabulary_are_no_paths():
    refuse_leaks({"tokenizer.json": json.dumps({"merges": ["/usr/lib"], "model": {"/var/www": 3}}).encode()})


def test_the_folders_of_this_run_are_found_in_any_text(tmp_path):
    here = tmp_path / "my run"
    said = refusal({"README.md": f"a\nMade in {here}/run.\n".encode()}, [here])
    assert said.startswith("README.md, line 2, holds a path of this machine")
    refuse_leaks({"README.md": f"{here}-and-more, x{here}".encode()}, [here])
    refuse_leaks({"README.md": b"You can run this in /data."}, [Path("/data")])  # too short to mean this machine


def test_what_is_no_text_is_searched_as_it_is():
    assert "roc.png" in refusal({"figures/roc.png": b"\x89PNG\r\n\x1a\ntEXtAuthor\0" + TOKEN.encode()})


HOMES = ["/home/somebody/models/tiny", "/root/.cache/x"]
SECRETS = [TOKEN, "-----BEGIN OPENSSH PRIVATE KEY-----", *HOMES, "C:\\\\Users\\\\somebody\\\\x"]
HELD = [
    (name, secret)
    for name in ("tokenizer_config.json", CONFIG, "chat_template.jinja", ADAPTER_CONFIG)
    for secret in SECRETS
    if name != CONFIG or secret not in HOMES
]


@pytest.mark.parametrize("path", HOMES)
def test_the_folders_of_an_option_are_cut_off(alice, api, repo_id, run, path):
    (run / CONFIG).write_text(f"base: alice/tiny\nnote: {path}\n")
    bound(run)
    hub.push_adapter(run, repo_id, **alice)
    published = Path(api.hf_hub_download(repo_id, CONFIG)).read_text()
    assert f"note: {Path(path).name}" in published and path not in published


@pytest.mark.parametrize(("name", "secret"), HELD)
def test_secrets_and_home_paths_are_refused_without_being_shown(alice, api, repo_id, run, name, secret):
    if name.endswith(".json"):
        (run / name).write_text(f'{{"base_model_name_or_path": "alice/tiny",\n "note": "{secret}"}}')
    else:
        (run / name).write_text(f"base: alice/tiny\nnote: {secret}\n")
    bound(run)
    with pytest.raises(PublishError, match=f"{name}, line 2, holds") as caught:
        hub.push_adapter(run, repo_id, **alice)
    assert secret not in str(caught.value)
    assert not api.repo_exists(repo_id)


def test_words_that_only_look_like_secrets_pass(alice, repo_id, run):
    (run / "tokenizer.json").write_text('{"/home/": 1, "hf_": 2, "https://x.example/home/page": 3, "/Users": 4}')
    bound(run)
    hub.push_adapter(run, repo_id, **alice)
