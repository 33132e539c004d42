"""`hfvaccine demo`: base and adapter side by side in a browser."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from hfvaccine.cli.output import Terminal, quiet_downloads, say


@click.command()
@click.argument("adapter")
@click.option("--base", help="Its base, where that was local or has moved: a Hub ID[@REVISION], folder or .gguf file.")
@click.option("--dose", help="Its dose, where that was local: a sealed folder, or a Hub ID[@REVISION].")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=7860, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option(
    "--allow-insecure", is_flag=True, help="Listen where other machines can reach it, although everybody is let in."
)
@click.option("--space", metavar="REPO_ID", help="Push the demo as this Space instead; ADAPTER is one on the Hub.")
@click.option("--public", is_flag=True, help="Let everybody see a new Space. It then shows no claim of a dose.")
@click.option(
    "--requirement",
    help="What the Space installs hfvaccine by.  [default: as it was installed here, where that was git]",
)
@click.option("--token", help="Hub token for --space; by default that of `hf auth login` or HF_TOKEN.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the Space as one JSON object: url, repo_id, revision, tag."
)
def demo(
    adapter: str,
    base: str | None,
    dose: str | None,
    host: str,
    port: int,
    allow_insecure: bool,
    space: str | None,
    public: bool,
    requirement: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Ask the base and ADAPTER the same, side by side in a browser.

    ADAPTER is a run folder, that of one adapter of an inoculation, a Hub id, or
    ID@REVISION. Its papers are proved, and its base is loaded once. The gate's
    verdict stands on top; claims that were given, claims that never were, tactics,
    or the conditions of a grid stand ready as questions. What is said of a claim
    and of its true twin is drawn as bars, read as the validation reads it. The
    claims are left out where the dose cannot be had. An inoculated adapter stands
    beside its plain arm, where that is there. It is served on this machine only,
    until Ctrl-C. It needs the extra [demo].

    With --space nothing is served: a Space is pushed, private unless --public. It
    holds no claim, and fetches base and adapter, and the dose where its own token
    may have it and not everybody can see the Space, when it starts.

    \b
    Examples:
      hfvaccine demo runs/vaccine
      hfvaccine demo you/model-immunized@v1 --port 0
      hfvaccine demo runs/inoculation --base models/mine
      hfvaccine demo you/model-immunized --space you/model-demo
    """
    if space is not None:
        from hfvaccine.demo.space import push_space

        quiet_downloads()
        pushed, lines = push_space(adapter, space, public=public, requirement=requirement, token=token, progress=say)
        click.echo(json.dumps(asdict(pushed)) if as_json else pushed.url)
        for line in lines:
            say(line)
        return
    for name, given in (("--public", public), ("--requirement", requirement), ("--token", token), ("--json", as_json)):
        if given:
            raise click.UsageError(f"{name} is about a Space: give --space REPO_ID, too.")
    from hfvaccine.cli.output import quiet_libraries
    from hfvaccine.demo import page
    from hfvaccine.demo.subject import load, open_subject

    page.gradio()
    listening = page.listen(host, port, allow_insecure)  # before anything is loaded
    quiet_downloads()
    subject = open_subject(adapter, dose)
    for note in subject.notes:
        say(f"Note: {note}")
    quiet_libraries()
    arms, place = load(subject, base, Terminal())
    say(f"{subject.head.word}. {subject.head.meaning}")
    serving = page.server(subject, page.build(subject, arms, place), allow_insecure)
    click.echo(page.address(listening))
    say("Open it in a browser; Ctrl-C ends it.")
    page.serve(serving, listening)
