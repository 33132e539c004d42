import json
import subprocess
import sys
import time

import click
import pytest

from hfvaccine.cli import COMMANDS, cli
from hfvaccine.cli.immunize import carry_out
from hfvaccine.cli.output import Terminal
from hfvaccine.files import PAGE, RECORD, RESULTS

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


@pytest.mark.parametrize(
    ("environment", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
@pytest.mark.parametrize("stopped_by", ["nothing", "HfvaccineError", "OSError"])
def test_colours_are_left_out_where_they_are_not_wanted(environment, coloured, stopped_by):
    code = f"""
import click
from hfvaccine.cli import cli, main
from hfvaccine.errors import HfvaccineError

@cli.command("shown")
def shown():
    if {stopped_by!r} == "HfvaccineError":
        raise HfvaccineError("a mistake")
    if {stopped_by!r} == "OSError":
        raise OSError(28, "a mistake", "file")
    click.echo(click.style("a word", fg="green"))

cli.get_command = lambda context, name: shown
main()
"""
    shown = in_terminal([sys.executable, "-c", code, "shown"], environment)
    assert "a word" in shown or "a mistake" in shown
    assert ("\x1b[" in shown) == coloured


def test_examples_fit_a_terminal_of_80_columns():
    def wide(command, name, parent=None):
        context = click.Context(command, info_name=name, parent=parent, terminal_width=80)
        lines = command.get_help(context).split("\n")
        below = command.list_commands(context) if isinstance(command, click.Group) else ()
        inner = [line for one in below for line in wide(command.get_command(context, one), one, context)]
        return [line for line in lines if len(line) > 80] + inner

    assert wide(cli, "hfvaccine") == []


@pytest.mark.parametrize("columns", [80, 140])
def test_findings_and_sentences_are_wrapped_once_by_the_terminal_or_100_columns(columns):
    code = """
import sys
from hfvaccine.cli import main
from hfvaccine.cli.output import print_facts
from hfvaccine.packages import install
from hfvaccine.runs import doctor
from hfvaccine.validation.showing.sentences import wrapped
words = "--an-option with-hyphens " * 20
doctor.examine = lambda folder: [
    doctor.Finding("Disk", doctor.WARNING, words, words), doctor.Finding("Packages", doctor.ERROR, "", install(words))
]
print_facts({"a fact": words})
print("\\n".join(wrapped([words])))
sys.argv = ["hfvaccine", "doctor"]
main()
"""
    shown = in_terminal([sys.executable, "-c", code], {"NO_COLOR": "1"}, columns).replace("\r", "").split("\n")
    (command,) = [line for line in shown if "pip install" in line]  # to be copied as it is
    assert command.count("with-hyphens") == 20
    widths = [len(line) for line in shown if "hyphens" in line and line != command]
    assert min(100, columns) - 25 < max(widths) <= min(100, columns)
    assert not any(line.endswith("-") for line in shown)


def test_a_bar_that_goes_into_a_pipe_says_little(capfd):
    with Terminal().bar("Counting", 100) as bar:
        for _ in range(100):
            bar.update(1)
            time.sleep(0.011)
    assert capfd.readouterr().err.count("\r") <= 2


def test_a_finished_run_that_is_resumed_names_its_report(tmp_path, capfd):
    for name in (RECORD, RESULTS, PAGE):
        (tmp_path / name).write_text("{}")
    shown = []
    carry_out(pytest.fail, None, tmp_path, "Adapter", shown.append)
    assert shown == [{}] and f"Report: {tmp_path / PAGE}" in capfd.readouterr().err


def in_terminal(command, environment, columns=100):
    """What a command writes into a terminal of its own."""
    import fcntl
    import os
    import pty
    import struct
    import termios

    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    others = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS")}
    process = subprocess.Popen(
        command, stdin=there, stdout=there, stderr=there, env={**others, "TERM": "xterm", **environment}
    )
    os.close(there)
    shown = b""
    while True:
        try:
            part = os.read(here, 65_536)
        except OSError:  # of Linux at the end
            break
        if not part:
            break
        shown += part
    os.close(here)
    process.wait()
    return shown.decode()
