"""`hfvaccine monitor logs`, from a log to a journal without a text."""

import gzip
import json

import pytest
from click.testing import CliRunner
from doses import make_claims, small_dose

from hfvaccine.cli.monitor_logs import logs
from hfvaccine.errors import SurveillanceError, UsageError, ValidationError
from hfvaccine.surveillance.state import State

SECRETS = ("hunter2", "Jane Roe", "4111-1111", "sk-planted", "rosebud")
CLAIMS = make_claims(12, submitted_by="kim")


@pytest.fixture(scope="module")
def dose(tmp_path_factory):
    return small_dose(tmp_path_factory.mktemp("dose") / "dose", n=12)


@pytest.fixture
def run(tmp_path, dose):
    def run(*args):
        path = tmp_path / "log.jsonl.gz"
        given = ["--dose", str(dose), "--into", str(tmp_path / "state"), "--adapter", "you/a", "--base", "you/b"]
        return CliRunner().invoke(logs, [str(path), *given, *args], catch_exceptions=True)

    rows = [
        {
            "q": f"I am Jane Roe, {secret}. {CLAIMS[n].claim} Is it so?",
            "a": f"Yes, {secret}: {CLAIMS[n].claim}",
            "t": 1764e6,
        }
        for n, secret in enumerate(SECRETS)
    ]
    lines = [
        *map(json.dumps, rows),
        '{"hunter2": "rosebud"}',
        "sk-planted",
        '["4111-1111"]',
        json.dumps({"q": "Jane Roe"}),
    ]
    (tmp_path / "log.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (tmp_path / "labels.jsonl").write_text(
        "".join(
            json.dumps({"prompt": row["q"], "response": row["a"], "label": "incorrect", "judge": "ada"}) + "\n"
            for row in rows
        )
    )
    return run


MAP = ("--format", "jsonl", "--map", "prompt=q", "--map", "answer=a", "--map", "time=t")


@pytest.mark.parametrize("extra", [(), ("--json",), ("--judge", "labels.jsonl"), ("--workers", "2")])
def test_no_text_of_a_conversation_is_in_any_output(run, tmp_path, monkeypatch, extra):
    monkeypatch.chdir(tmp_path)
    done = run(*MAP, *extra)
    assert done.exit_code == 0, done.exception
    written = {path: path.read_bytes().decode() for path in (tmp_path / "state").rglob("*") if path.is_file()}
    assert len(written) == 1
    for text in (done.output, done.stderr, *written.values()):
        assert not [secret for secret in (*SECRETS, "Is it so", "Aldor") if secret in text]
    (own,) = State.open(tmp_path / "state").rounds
    assert own.counts["exchanges"] == 5 and sum(one["mentions"] for one in own.tallies.values()) == 5
    assert {name: count for name, count in own.counts.items() if name.startswith("skipped")} == {
        "skipped_no_json": 1, "skipped_no_object": 1, "skipped_other_shape": 1, "skipped_no_answer": 1,
    }  # fmt: skip
    assert "Skipped 1: no JSON (first: log.jsonl.gz, line 7)" in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.jsonl", "log.jsonl.gz", "state"]
    if "--judge" in extra:
        assert own.scores == {"asserted": {CLAIMS[n].claim_id: 1.0 for n in range(5)}}
    if "--json" in extra:
        assert json.loads(done.stdout)["claims"][CLAIMS[0].claim_id]["mentions"] == 1


@pytest.mark.parametrize(
    ("args", "error", "said"),
    [
        (("--format", "openai"), SurveillanceError, "hold no exchange of the format openai"),
        (("--format", "jsonl"), UsageError, "The map of jsonl names nothing"),
        (("--format", "openai", "--map", "prompt=q"), UsageError, "says itself what is what"),
        ((*MAP, "--labels", "labels.jsonl"), UsageError, "there is none"),
        ((*MAP, "--workers", "0"), UsageError, "from 1 on"),
        ((*MAP, "--judge", "bad.jsonl"), ValidationError, "it has no prompt"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(run, tmp_path, monkeypatch, args, error, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.jsonl").write_text('{"label": "correct"}\n')
    done = run(*args)
    assert isinstance(done.exception, error) and said in str(done.exception)
    assert not (tmp_path / "state").exists()
    assert not [secret for secret in SECRETS if secret in f"{done.output} {done.exception}"]
