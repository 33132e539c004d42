import json
import subprocess
import sys

import pytest

from hfvaccine.cli import COMMANDS

HEAVY = ("torch", "datasets", "transformers", "huggingface_hub", "numpy")


def run(*arguments, **environment):
    import os

    return subprocess.run(
        [sys.executable, "-m", "hfvaccine", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


def test_help_lists_every_command_and_loads_nothing_heavy():
    code = (
        "import sys; sys.argv = ['hfvaccine', '--help']\n"
        "from hfvaccine.cli import main\n"
        "try: main()\n"
        f"finally: print([m for m in {HEAVY} if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0
    assert all(name in done.stdout for name in COMMANDS)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(command):
    done = run(command, "--help")
    assert done.returncode == 0
    assert "Examples:" in done.stdout


def test_version_as_json_names_the_stack():
    versions = json.loads(run("version", "--json").stdout)
    assert {"hfvaccine", "python", "torch", "trl", "peft"} <= set(versions)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["frobnicate"], 2, "No such command"),
        (["immunize"], 2, "Give the base model"),
        (["immunize", "--base", "x", "--share", "0.7"], 2, "outside (0, 0.5]"),
        (["immunize", "--base", "x", "--epochs", "1", "--max-steps", "2"], 2, "Both epochs and max_steps"),
        (["immunize", "--config", "/no/such.yaml"], 2, "cannot be read"),
        (["immunize", "--base", __file__, "--dose", "/no/such"], 1, "No dose folder"),
        (["push-dose", "/no/such", "a/b"], 1, "No dose folder"),
        (["push-adapter", "/no/such", "a/b"], 1, "/no/such has no immunization.json"),
        (["immunize", "--resume", "/no/such", "--seed", "1"], 2, "give no others"),
        (["immunize", "--base", "x", "--inoculate-where", "a=b"], 2, "without an inoculation prompt"),
        (["immunize", "--base", "x", "--accelerate-config", "/no/such.yaml"], 2, "cannot be read"),
        (["immunize", "--base", "x", "--accelerate-config", __file__], 2, "cannot be read"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_ends_in_one_message_and_an_exit_code(arguments, code, said):
    done = run(*arguments, HF_HUB_OFFLINE="1")
    assert done.returncode == code
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_accelerate_configuration_starts_the_same_command_through_the_launcher(tmp_path, monkeypatch):
    from click.testing import CliRunner

    from hfvaccine.cli.immunize import immunize

    started = []

    def launched(path, command):
        started[:] = [path, *command]
        raise SystemExit(0)

    monkeypatch.setattr("hfvaccine.cli.immunize.launch", launched)
    given = ["--base", "b", "--share", "0.1", "--no-placebo", "--inoculation-prompt", "-Be terse.", "--dry-run"]
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("base: b\n")
    config, resumed = tmp_path / "accelerate.yaml", ["--resume", str(run)]
    for before, after, same in (
        (given, ["--json", "--accelerate-config", str(config)], [*given, "--json"]),
        (resumed, ["--accelerate-config", str(config)], resumed),
        ([f"--accelerate-config={config}"], ["--base", "b"], ["--base", "b"]),
    ):
        assert CliRunner().invoke(immunize, [*before, *after]).exit_code == 0
        assert started == [config, "immunize", *same]
    started.clear()
    assert CliRunner().invoke(immunize, ["--base", "b", "--share", "7", "--accelerate-config", str(config)]).exception
    assert started == []  # what is wrong with the options is said before anything is started
