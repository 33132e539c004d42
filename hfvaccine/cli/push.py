"""`hfvaccine push-dose`, `pull-dose` and `push-adapter`: publishing and fetching from the command line."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hfvaccine.cli.output import say
from hfvaccine.cli.signing import PROVIDER, SIGN, SIGNER, expected, signer_of

if TYPE_CHECKING:
    from hfvaccine.hub.repo import Pushed

TOKEN = click.option("--token", help="Hub token; by default that of `hf auth login` or HF_TOKEN.")
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object: url, repo_id, revision, tag.")


@click.command("push-dose")
@click.argument("dose_dir", type=click.Path(path_type=Path))
@click.argument("repo_id")
@click.option("--private", is_flag=True, help="Keep the repo private. Without it everybody sees the card.")
@SIGN
@TOKEN
@AS_JSON
def publish_dose(
    dose_dir: Path, repo_id: str, private: bool, sign: str | None, token: str | None, as_json: bool
) -> None:
    """Publish the sealed dose in DOSE_DIR as the gated dataset REPO_ID.

    DOSE_DIR is a folder, or the word `starter` for the dose that comes with
    hfvaccine. The data can never be read ungated: a new repo is private until
    it is gated and complete. Each push that changes the dose is one commit with
    the next tag: v1, v2 and so on, and is noted in your own journal of the dose.
    Pushing an unchanged dose changes nothing. With --sign all of it is signed,
    in model.sig; a push of other files without --sign removes that.

    \b
    Examples:
      hfvaccine push-dose starter you/starter-dose
      hfvaccine push-dose my-dose you/my-dose --private
      hfvaccine push-dose my-dose you/my-dose --sign key.pem
      HF_ENDPOINT=http://127.0.0.1:8009 hfvaccine push-dose my-dose you/my-dose
    """
    from huggingface_hub import HfApi

    from hfvaccine.claims.dose import MANIFEST
    from hfvaccine.files import digest_of
    from hfvaccine.hub.access import journal as owner_journal
    from hfvaccine.hub.account import account
    from hfvaccine.hub.errors import require_repo_id
    from hfvaccine.hub.push import push_dose

    require_repo_id(repo_id)
    signer = signer_of(sign)
    if str(dose_dir) == "starter":
        from hfvaccine import starter

        dose_dir = starter.sealed()
    path = owner_journal.journal_of(repo_id)
    noted = {entry.what.get("revision") for entry in owner_journal.read(path)}
    with owner_journal.writing(path) as write:
        pushed = push_dose(dose_dir, repo_id, private=private, sign=signer, token=token, progress=say)
        _report(pushed, as_json)
        if pushed.revision not in noted:
            what = {"repo": pushed.repo_id, "url": pushed.url, "revision": pushed.revision, "tag": pushed.tag}
            what["manifest_sha256"] = digest_of(dose_dir / MANIFEST)
            write("publish", account(HfApi(token=token)), what)
            say(f"Noted in {path}")


@click.command("pull-dose")
@click.argument("repo_id")
@click.option("--revision", help="Branch, tag such as v1, or commit.  [default: the newest]")
@click.option(
    "--local-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to copy it to.  [default: it stays in the Hub cache]",
)
@click.option("--allow-recalled", is_flag=True, help="Take it also where its policy refuses recalled claims.")
@SIGNER
@PROVIDER
@TOKEN
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print one JSON object: path, repo_id, revision, name, claims, heldout, manifest_sha256.",
)
def pull_dose(
    repo_id: str,
    revision: str | None,
    local_dir: Path | None,
    allow_recalled: bool,
    signer: str | None,
    signer_provider: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Fetch the dose REPO_ID, as ID[@REVISION], prove every file of it, and print its folder.

    A dose is gated: without access, the page to ask at is named. The folder in
    --local-dir is complete or not there; another dose in it is not overwritten.
    A dose with a claim that was recalled as affected is refused, or warned of,
    as its policy says (`recalled`). With --signer one that somebody else signed,
    nobody did, or that was changed since, is refused.

    \b
    Examples:
      hfvaccine pull-dose you/my-dose
      hfvaccine pull-dose you/my-dose@v1 --local-dir my-dose
      hfvaccine pull-dose you/my-dose --signer you.pub
    """
    from hfvaccine.hub.pull import pull_dose as pull
    from hfvaccine.quarantine.recalls import objections
    from hfvaccine.text import clean

    who = expected(signer, signer_provider)
    how: dict[str, Any] = {"local_dir": local_dir, "allow_recalled": allow_recalled, "signer": who}
    dose = pull(repo_id, revision=revision, token=token, **how)
    for line in (one for found in objections(dose) for one in found):
        say(f"Warning: {clean(line)}.")
    if as_json:
        facts = {
            "path": str(dose.path),
            "repo_id": dose.source,
            "revision": dose.revision,
            "name": dose.name,
            "claims": len(dose.claims),
            "heldout": len(dose.heldout),
            "manifest_sha256": dose.digest(),
        }
        click.echo(json.dumps(facts))
    else:
        click.echo(dose.path)
    say(f"{clean(dose.name)}: {len(dose.claims)} claims to give, {len(dose.heldout)} held out")
    say(f"Every file proved, at commit {dose.revision}" + (f", signed by {who.name}" if who else ""))


@click.command("push-adapter")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.argument("repo_id")
@click.option("--base-id", help="Hub id of the base, where the run was given a folder or a file.")
@click.option(
    "--dose-id",
    multiple=True,
    help="Hub id of the dose, where the run was given a folder; its version is found. May be repeated, in any order.",
)
@click.option("--license", "license_id", help="License of the adapter, as the Hub spells it, such as apache-2.0.")
@click.option(
    "--publish-failed", is_flag=True, help="Publish an adapter that failed its gate; its card says so first."
)
@click.option("--private", is_flag=True, help="Make the repo private. Without it an existing repo stays as it is.")
@click.option("--create-pr", is_flag=True, help="Open a pull request instead, and print its address; no tag.")
@SIGN
@click.option(
    "--push-arms", is_flag=True, help="Of an inoculation, publish its controls, too, as REPO_ID-plain and its like."
)
@TOKEN
@AS_JSON
def push_adapter(
    run_dir: Path,
    repo_id: str,
    base_id: str | None,
    dose_id: tuple[str, ...],
    license_id: str | None,
    publish_failed: bool,
    private: bool,
    create_pr: bool,
    sign: str | None,
    push_arms: bool,
    token: str | None,
    as_json: bool,
) -> None:
    """Publish the adapter in RUN_DIR as the model REPO_ID, in one commit.

    RUN_DIR is a run folder, or what `hfvaccine merge` wrote. Of the run of
    `inoculate train` the adapter is meant that was trained against the trait;
    any other is meant by its own folder, and its card says first that it is a
    control. Published are the adapter or the merged model, its tokenizer, card,
    record, ledger, results and figures, never checkpoints or answers. A failed gate, a file that the record does
    not bind, and a secret or a path of this machine in any of them are refused.
    The commit is fetched again into an empty cache and seen to fit its base
    before a new repo is opened. Each commit that changes the adapter gets the
    next tag: v1, v2 and so on. Pushing an unchanged run changes nothing.
    With --sign every file is signed, in model.sig, which `model_signing verify`
    reads as well; a push of other files without --sign removes that.

    \b
    Examples:
      hfvaccine push-adapter run you/my-model-immunized
      hfvaccine push-adapter run you/my-model-immunized \\
          --base-id openai-community/gpt2-xl
      hfvaccine push-adapter run you/a-null-result --publish-failed --json
      hfvaccine push-adapter run an-organisation/model-immunized --create-pr
      hfvaccine push-adapter run you/my-model-immunized --sign key.pem
      hfvaccine push-adapter run you/my-model-immunized --sign sigstore
      hfvaccine push-adapter runs/inoculation you/my-model-inoculated --push-arms
      hfvaccine push-adapter runs/inoculation/inoculated-seed-1 \\
          you/my-model-inoculated
    """
    from hfvaccine.hub.push import push_adapter as push
    from hfvaccine.hub.push import push_arms as push_all

    how: dict[str, Any] = {
        "base_id": base_id,
        "license": license_id,
        "private": private,
        "publish_failed": publish_failed,
        "create_pr": create_pr,
        "sign": signer_of(sign),
        "token": token,
        "progress": say,
    }
    if not push_arms:
        _report(push(run_dir, repo_id, dose_id=dose_id, **how), as_json)
        return
    if dose_id:
        raise click.UsageError("An inoculation has no dose: leave out --dose-id.")
    for pushed in push_all(run_dir, repo_id, **how):
        _report(pushed, as_json)


def _report(pushed: Pushed, as_json: bool) -> None:
    click.echo(json.dumps(asdict(pushed)) if as_json else pushed.url)
    say(f"Published at commit {pushed.revision}" + (f", tagged {pushed.tag}" if pushed.tag else ""))
