"""`hfvaccine monitor`: what is deployed, watched round after round."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from hfvaccine.cli.monitor_logs import logs
from hfvaccine.cli.monitor_probe import probe
from hfvaccine.cli.output import monitored, say

STATE = click.argument("state", type=click.Path(file_okay=False, path_type=Path))
FILE = click.Path(dir_okay=False, path_type=Path)


class Monitor(click.Group):
    """Its commands exit with 1 for an alarm and for nothing else: whatever is refused, or goes wrong, exits with 2."""

    def invoke(self, ctx: click.Context) -> Any:
        from hfvaccine.errors import HfvaccineError, SurveillanceError

        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit):
            raise
        except HfvaccineError as error:
            if error.exit_code != 1:
                raise
            raise SurveillanceError(error.message, error.next_step) from error
        except KeyboardInterrupt as error:
            raise SurveillanceError("Stopped, and no round was added.", "Run it again.") from error
        except OSError as error:
            raise SurveillanceError(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ") + ".") from error
        except Exception as error:  # which a scheduler must not take for an alarm
            said = f"{type(error).__name__}: {error}".rstrip(".")
            raise SurveillanceError(f"It was stopped by {said}.", "Tell us of this error.") from error


@click.group(cls=Monitor)
def monitor() -> None:
    """Watch what is deployed: probe it, read its logs, and be told when it is the same no longer.

    Probes and logs add rounds to the journal in a folder STATE; no text ever
    stands in it. Charts with a declared budget of false alarms are drawn from it.

    \b
    Examples:
      hfvaccine monitor probe you/adapter --into state
      hfvaccine monitor logs requests.jsonl.gz --format openai --into state
      hfvaccine monitor status state \\
          --prometheus /var/lib/node_exporter/hfvaccine.prom
      hfvaccine monitor page state --output monitor.html
    """


monitor.add_command(probe)
monitor.add_command(logs)


@monitor.command()
@STATE
@click.option("--json", "as_json", is_flag=True, help="Print the status as one JSON object.")
@click.option("--prometheus", type=FILE, help="Write it to this file in Prometheus' text format, whole or not at all.")
@click.option("--otlp", type=FILE, help="Write it to this file as OTLP JSON, a gen_ai.evaluation.result each chart.")
@click.option("--jsonl", type=FILE, help="Add it to this file of JSON lines.")
@click.option("--webhook", metavar="URL", help="Send it there unless it is ok, signed by $HFVACCINE_WEBHOOK_SECRET.")
def status(
    state: Path,
    as_json: bool,
    prometheus: Path | None,
    otlp: Path | None,
    jsonl: Path | None,
    webhook: str | None,
) -> None:
    """Say whether what is deployed is as it was: ok, alarm, no_data or stale.

    The exit code is 0 for ok, 1 for an alarm, and 2 for no_data (the last
    round could not be completed, or no chart has data enough), for stale (the
    schedule was missed), and for a state that cannot be read. An alarm says
    what moved, since when, by how much, on which claims, and what to run next;
    it stands until `hfvaccine monitor settle`.

    \b
    Examples:
      hfvaccine monitor status state
      hfvaccine monitor status state --json \\
          --webhook https://hooks.example.com/drift
    """
    from hfvaccine.errors import SurveillanceError
    from hfvaccine.surveillance import outlets
    from hfvaccine.surveillance.state import State
    from hfvaccine.surveillance.status import OK
    from hfvaccine.surveillance.status import status as status_of

    found = status_of(State.open(state))
    if as_json:
        click.echo(json.dumps(found.record()))
    else:
        monitored(found)
    for write, path in (
        (outlets.write_prometheus, prometheus),
        (outlets.write_events, otlp),
        (outlets.append_line, jsonl),
    ):
        if path is not None:
            try:
                write(found, path)
            except OSError as error:  # which is no alarm
                raise SurveillanceError(
                    f"{path} cannot be written: {error.strerror}.", "Mend its permissions, or name another file."
                ) from error
    if webhook is not None:
        secret = os.environ.get(outlets.SECRET, "")
        if found.state == OK:
            outlets.signed(b"", "", 0, secret)  # a secret that is missing is found before it is needed
        else:
            outlets.post(found, webhook, secret)
    sys.exit(found.exit_code)


@monitor.command()
@STATE
@click.option("--output", type=FILE, required=True, help="HTML file to write.")
def page(state: Path, output: Path) -> None:
    """Write one HTML page with the charts; it needs nothing else, and no text of a claim stands on it.

    \b
    Examples:
      hfvaccine monitor page state --output monitor.html
    """
    from hfvaccine.files import whole_file
    from hfvaccine.surveillance.page import render
    from hfvaccine.surveillance.state import State
    from hfvaccine.surveillance.status import status as status_of

    html = render(status_of(State.open(state)))
    with whole_file(output) as staged:
        staged.write_text(html, encoding="utf-8")
    say(f"Page: {output}")


@monitor.command()
@STATE
@click.option("--by", required=True, help="Who says so: a Hub user name, or another name.")
@click.option(
    "--outcome",
    required=True,
    type=click.Choice(["boosted", "rolled_back", "endpoint_mended", "judge_mended", "false_alarm"]),
    help="What came of the alarm.",
)
@click.option("--chart", "charts", multiple=True, help="A chart that alarms.  [default: all that do]")
def settle(state: Path, by: str, outcome: str, charts: tuple[str, ...]) -> None:
    """Write down that an alarm was dealt with; its charts begin anew with the next round.

    They are held against the same baseline as before. A model that was boosted,
    or is otherwise meant to be another, needs a new state in another folder.

    \b
    Examples:
      hfvaccine monitor settle state --by alice --outcome rolled_back
    """
    from hfvaccine.errors import UsageError
    from hfvaccine.surveillance.state import State
    from hfvaccine.surveillance.status import status as status_of

    journal = State.open(state)
    alarming = tuple(alarm.chart for alarm in status_of(journal).alarms)
    if not alarming or not set(charts) <= set(alarming):
        raise UsageError(
            f"{', '.join(charts) or 'No chart'} {'do' if len(charts) > 1 else 'does'} not alarm."
            if charts
            else "No chart alarms.",
            "`hfvaccine monitor status` says which do.",
        )
    journal.settle(charts or alarming, by, outcome)
    say(f"Written down; {', '.join(charts or alarming)} will begin anew.")
