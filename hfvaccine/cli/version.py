"""`hfvaccine version`."""

from __future__ import annotations

import json

import click

STACK = ("huggingface-hub", "datasets", "transformers", "trl", "peft", "torch", "accelerate", "safetensors")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def version(as_json: bool) -> None:
    """Print the versions of hfvaccine, of Python and of the stack below it.

    \b
    Examples:
      hfvaccine version
      hfvaccine version --json
    """
    import platform
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    from hfvaccine.version import VERSION

    versions = {"hfvaccine": VERSION, "python": platform.python_version()}
    for name in STACK:
        try:
            versions[name] = installed(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    if as_json:
        click.echo(json.dumps(versions))
    else:
        for name, number in versions.items():
            click.echo(f"{name} {number}")
