"""Prints docs/cli.md from the help of every command: `make docs-cli` keeps it. A test holds the page to it."""

from __future__ import annotations

from collections.abc import Iterator

import click

from hfvaccine.cli import cli

WIDTH = 80
HEAD = """# Command line

Every command says this itself with `--help`. Data goes to stdout and everything else to stderr; the exit code is 0, 1
where something was refused or failed, and 2 for a wrong use. Commands that talk to a Hub use `HF_ENDPOINT` and the
token of `hf auth login` or `HF_TOKEN`.

This page is made from the code by `make docs-cli`: mend the help, not the page.
"""


def page() -> str:
    """The whole page."""
    root = click.Context(cli, info_name="hfvaccine", terminal_width=WIDTH, **cli.context_settings)
    return HEAD + "".join(_section(context) for context in _commands(root))


def _commands(context: click.Context) -> Iterator[click.Context]:
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command is not None, name
            yield from _commands(click.Context(command, info_name=name, parent=context, terminal_width=WIDTH))


def _section(context: click.Context) -> str:
    depth = len(context.command_path.split()) + 1
    return f"\n{'#' * min(depth, 4)} {context.command_path}\n\n```text\n{context.get_help()}\n```\n"


if __name__ == "__main__":
    click.echo(page(), nl=False)
