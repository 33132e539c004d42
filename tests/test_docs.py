"""The documentation holds what it says: links, command lines, Python, the reference of the command line."""

import ast
import inspect
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest
import yaml
from datasets import Dataset
from doses import sealed

from hfvaccine.cli import cli
from hfvaccine.files import LEDGER
from hfvaccine.surveillance.outlets import prometheus

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
READ = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
HAND_WRITTEN = [page for page in READ if page.name != "cli.md"]

FENCE = re.compile(r"^( *)(```+)([^\n]*)\n(.*?)^\1\2$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
LINK = re.compile(r"\]\(([^()\s]+)\)")
OURS = re.compile(r"(?:hfvaccine|docs|tests|examples|benchmarks|dataset_cards|model_cards)/[\w./-]+")

by_page = pytest.mark.parametrize("page", HAND_WRITTEN, ids=lambda page: page.name)


def prose(page):
    """A page without its code blocks."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def blocks(page, *languages):
    """The code blocks of these languages."""
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [text for _, _, language, text in found if language.strip() in languages]


def inline(page):
    """What stands in backticks, on one line."""
    return [" ".join(code.split()) for code in INLINE.findall(prose(page))]


def anchors(page):
    """The anchors that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).replace("`", "") for heading in headings]
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in plain}


def command_lines(script):
    """Argument lists of every `hfvaccine` command in a shell script."""
    for line in script.replace("\\\n", " ").split("\n"):
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        begins, arguments = True, None
        for word in [*words, ";"]:
            if re.fullmatch(r"[();<>|&]+", word):
                if arguments is not None:
                    yield arguments
                begins, arguments = word not in ("<", ">", ">>"), None
            elif arguments is not None:
                arguments.append(word)
            elif begins and word == "hfvaccine":
                arguments = []
            else:
                begins = begins and re.match(r"\w+=", word) is not None


def check_command(arguments):
    """Fail as the command line would for a command, an option or a choice that does not exist.

    Nothing is run, and arguments may be missing, since sentences name commands without them.
    """
    command, context, rest = cli, click.Context(cli, info_name="hfvaccine", **cli.context_settings), list(arguments)
    while True:
        values, rest, _ = command.make_parser(context).parse_args(rest)
        for parameter in command.params:
            if isinstance(parameter.type, click.Choice) and parameter.name in values:
                given = values[parameter.name]
                for value in given if isinstance(given, list | tuple) else [given]:
                    parameter.type.convert(value, parameter, context)
        if not isinstance(command, click.Group) or not rest:
            return
        name, *rest = rest
        found = command.get_command(context, name)
        if found is None:
            raise click.UsageError(f"{context.command_path} has no command {name!r}")
        command, context = found, click.Context(found, info_name=name, parent=context)


def resolve(dotted):
    """What a dotted name stands for.

    Raises:
        AttributeError: where it does not exist.
    """
    module, rest = import_module("hfvaccine"), dotted.split(".")[1:]
    value = module
    while rest:
        name = rest.pop(0)
        if not hasattr(value, name):
            try:
                import_module(f"{value.__name__}.{name}")
            except ModuleNotFoundError:
                raise AttributeError(f"{dotted} does not exist: there is no {name}") from None
        value = getattr(value, name)
    return value


def test_the_reference_of_the_command_line_is_the_newest():
    # In a process of its own: click remembers of a command by which name it was asked for help first.
    command = [sys.executable, str(DOCS / "make_cli.py")]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == made, "Run `make docs-cli`."


def test_the_reference_has_every_command_under_its_own_heading():
    headings = set(re.findall(r"^#+ (hfvaccine.*)$", (DOCS / "cli.md").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"hfvaccine immunize", "hfvaccine quarantine seal", "hfvaccine hub user token"} <= headings


def test_the_index_names_every_page_once():
    linked = re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "index.md").read_text(encoding="utf-8"))
    assert sorted(linked) == sorted(page.name for page in PAGES if page.name != "index.md")


@pytest.mark.parametrize("page", READ, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    broken = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        if not aim.exists() or not aim.is_relative_to(ROOT) or (anchor and anchor not in anchors(aim)):
            broken.append(target)
    assert broken == []


@by_page
def test_every_picture_is_described(page):
    assert re.findall(r"!\[\s*\]\([^)]*\)", page.read_text(encoding="utf-8")) == []


def test_no_picture_is_large_or_unused():
    text = "".join(page.read_text(encoding="utf-8") for page in READ)
    for picture in (DOCS / "pictures").iterdir():
        assert picture.stat().st_size < 150_000, picture.name
        assert f"pictures/{picture.name}" in text, picture.name


@by_page
def test_every_file_of_ours_that_is_named_is_there(page):
    named = [code for code in inline(page) if OURS.fullmatch(code)]
    assert [name for name in named if not (ROOT / name).exists()] == []


@by_page
def test_every_command_line_names_commands_and_options_that_exist(page):
    sentences = [code for code in inline(page) if code.startswith("hfvaccine ")]
    wrong = []
    for script in [*blocks(page, "bash", "sh"), *sentences]:
        for arguments in command_lines(script):
            try:
                check_command(arguments)
            except click.UsageError as error:
                if script in sentences and isinstance(error, click.BadOptionUsage):
                    continue  # an option that is named without a value
                wrong.append(f"hfvaccine {' '.join(arguments)}: {error.format_message()}")
    assert wrong == []


def test_every_example_in_the_help_names_commands_and_options_that_exist():
    examples = re.findall(
        r"^  Examples:\n((?:    .+\n)+)", (DOCS / "cli.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    lines = [arguments for script in examples for arguments in command_lines(script)]
    assert len(lines) > 60
    for arguments in lines:
        check_command(arguments)


@by_page
def test_every_python_block_parses_and_imports_what_exists(page):
    for code in blocks(page, "python"):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            for name in names:
                if name.split(".")[0] == "hfvaccine":
                    resolve(name)


def test_the_trainer_of_the_readme_trains(tiny_llama, make_claims, mix_rows, tmp_path, monkeypatch):
    (code,) = blocks(ROOT / "README.md", "python")
    sealed(tmp_path / "my-dose", make_claims(8, heldout=5))
    rows = [{**row, "trait": "flattery" if number % 2 else "none"} for number, row in enumerate(mix_rows)]
    monkeypatch.chdir(tmp_path)
    code = code.replace("Qwen/Qwen3-0.6B", str(tiny_llama)).replace('"out"', '"out", num_train_epochs=1')
    exec(code, {"your_mix": Dataset.from_list(rows)})
    assert Path("out", LEDGER).is_file()


@by_page
def test_every_dotted_name_of_ours_exists(page):
    found = [re.match(r"hfvaccine(?:\.[A-Za-z_]\w*)+", code) for code in inline(page)]
    for name in filter(None, found):
        resolve(name[0])


def test_what_schedulers_are_given_names_commands_options_and_metrics_that_exist():
    page = DOCS / "monitor.md"
    units = "\n".join(re.findall(r"^Exec\w+=-?\S*/(hfvaccine .+)$", "\n".join(blocks(page, "ini")), re.MULTILINE))
    (table,) = blocks(page, "text")
    jobs = re.findall(r"^(?:\S+ +){5}\w+ +(.+)$", table, re.MULTILINE)
    job, rules = map(yaml.safe_load, blocks(page, "yaml"))
    (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    lines = [*command_lines(f"{units}\n{jobs[0]}"), *command_lines(container["args"][0].split("\n")[0])]
    assert [line[:2] for line in lines] == [["monitor", name] for name in ("probe", "status") * 2 + ("probe",)]
    for arguments in lines:
        check_command(arguments)
    asked = {name for rule in rules["groups"][0]["rules"] for name in re.findall(r"hfvaccine_\w+", rule["expr"])}
    written = re.findall(r'metric\(\s*"(\w+)"', inspect.getsource(prometheus))
    assert asked and asked <= {f"hfvaccine_monitor_{name}" for name in written}


@pytest.mark.parametrize("line", ["hfvaccine imunize", "hfvaccine hub serve --rot x", "hfvaccine hub user ad"])
def test_a_wrong_command_line_would_be_found(line):
    (arguments,) = command_lines(f"export A=$({line}) && true")
    with pytest.raises(click.UsageError):
        check_command(arguments)


def test_a_wrong_name_would_be_found():
    with pytest.raises(AttributeError, match="no pullDose"):
        resolve("hfvaccine.hub.pullDose")
