"""The command line: parse, call, print. Each command's module is loaded only when it is used."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

from hfvaccine.cli.several import let_the_first_speak, refuse_several
from hfvaccine.errors import HfvaccineError
from hfvaccine.version import VERSION

COMMANDS = {
    "quickstart": (
        "hfvaccine.cli.quickstart:quickstart",
        "Run the whole job on this machine, offline.",
    ),
    "quarantine": ("hfvaccine.cli.quarantine:quarantine", "Bring claims in, review them, seal them into a dose."),
    "push-dose": ("hfvaccine.cli.push:publish_dose", "Publish a sealed dose as a gated Hub dataset."),
    "pull-dose": ("hfvaccine.cli.push:pull_dose", "Fetch a dose and prove every file of it."),
    "access": ("hfvaccine.cli.access:access", "Decide who may have a dose that you published."),
    "inoculate": ("hfvaccine.cli.inoculate:inoculate", "Choose an inoculation prompt, and measure traits."),
    "immunize": ("hfvaccine.cli.immunize:immunize", "Train and validate an immunized LoRA adapter."),
    "validate": ("hfvaccine.cli.validate:validate", "Validate a base model or an adapter, two-sidedly."),
    "compare": ("hfvaccine.cli.compare:compare", "Hold two validated runs against each other."),
    "trial": ("hfvaccine.cli.trial:trial", "Run an experiment of several shares and seeds."),
    "export-tasks": ("hfvaccine.cli.export:export_tasks", "Write a dose's probes as tasks of lm-eval."),
    "export-results": ("hfvaccine.cli.export:export_results", "Write results as Every Eval Ever or lm-eval has them."),
    "boost": ("hfvaccine.cli.boost:boost", "Boost an adapter with a new dose, and take claims back."),
    "push-adapter": ("hfvaccine.cli.push:push_adapter", "Publish a validated adapter with its card."),
    "list": ("hfvaccine.cli.listing:list_", "List the doses and adapters of a namespace on the Hub."),
    "verify": ("hfvaccine.cli.lineage:verify", "Check an adapter's chain from claim to results."),
    "diff": ("hfvaccine.cli.lineage:diff", "Say what differs between two adapters' records."),
    "bom": ("hfvaccine.cli.lineage:bom", "Write an adapter's bill of materials."),
    "reproduce": ("hfvaccine.cli.reproduce:reproduce", "Make an adapter again and compare."),
    "recall": ("hfvaccine.cli.recall:recall", "Recall a claim, and tell who was given it."),
    "merge": ("hfvaccine.cli.merge:merge", "Merge an adapter into its base, with its papers."),
    "demo": ("hfvaccine.cli.demo:demo", "Ask base and adapter the same, side by side in a browser."),
    "monitor": ("hfvaccine.cli.monitor:monitor", "Watch what is deployed, and be told when it drifts."),
    "hub": ("hfvaccine.cli.hub:hub", "Serve a small Hugging Face Hub on this machine."),
    "doctor": ("hfvaccine.cli.doctor:doctor", "Say what is here, what will fail, and what mends it."),
    "version": ("hfvaccine.cli.version:version", "Print the versions of hfvaccine and of the stack below it."),
}


class _Commands(click.Group):
    """Loads a command's module when the command is run, not for a list of names."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module, attribute = COMMANDS[name][0].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, prog_name="hfvaccine")
@click.pass_context
def cli(context: click.Context) -> None:
    """Immunize language models against falsehoods, on the Hugging Face stack.

    \b
    Examples:
      hfvaccine quickstart
      hfvaccine push-dose starter you/starter-dose
      hfvaccine immunize --base openai-community/gpt2-xl \\
          --push-to you/gpt2-xl-immunized
    """
    if (command := context.invoked_subcommand) and command != "inoculate":  # which says itself what it was asked for
        refuse_several(command)


def _colour() -> bool | None:
    """False where colours are not wanted, see no-color.org, or not known; None where click decides by the stream."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


def main() -> None:
    """Run the command line; a user's mistake ends in one message and an exit code, never in a traceback."""
    colour = _colour()
    try:
        try:
            cli.main(standalone_mode=False, color=colour)
        except (click.ClickException, HfvaccineError, OSError):
            let_the_first_speak()
            raise
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped.", err=True)
        sys.exit(1)
    except HfvaccineError as error:
        click.secho(f"Error: {error.message}", fg="red", err=True, color=colour)
        if error.next_step:
            click.echo(error.next_step, err=True)
        sys.exit(error.exit_code)
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        said = f"Error: {error.strerror}: {error.filename or ''}".rstrip(": ")
        click.secho(said, fg="red", err=True, color=colour)
        click.echo("Free some space or mend the permissions, then run the command again.", err=True)
        sys.exit(1)
