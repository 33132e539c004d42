"""`hfvaccine hub`: the embedded Hub from the command line."""

from __future__ import annotations

import getpass
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hfvaccine.cli.hub_storage import ROOT, fsck, gc, seed
from hfvaccine.cli.output import counted, say
from hfvaccine.errors import LocalHubError, UsageError

if TYPE_CHECKING:
    from hfvaccine.localhub.data.accounts import Accounts
    from hfvaccine.localhub.data.catalog import Repo
    from hfvaccine.localhub.data.database import Database


@click.group()
def hub() -> None:
    """A small Hugging Face Hub on this machine, for unmodified clients.

    \b
    Examples:
      hfvaccine hub serve
      hfvaccine hub user add alice
      HF_ENDPOINT=http://127.0.0.1:8009 hf auth whoami
    """


@hub.command()
@ROOT
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=int, default=8009, show_default=True, help="Port to listen on; 0 takes a free one.")
@click.option(
    "--tls-cert",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Certificate chain in PEM; the Hub then speaks HTTPS, and may listen anywhere.",
)
@click.option(
    "--tls-key",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The certificate's key in PEM, when it is in a file of its own.",
)
@click.option(
    "--allow-insecure", is_flag=True, help="Listen where other machines can reach it, although nothing is encrypted."
)
@click.option(
    "--grace",
    type=click.IntRange(min=0),
    default=30,
    show_default=True,
    help="Seconds for what is under way when the Hub is told to stop.",
)
@click.option(
    "--strangers-mb",
    type=click.FloatRange(min=0),
    default=5,
    show_default=True,
    help="MB that an account may store in pull requests and discussions of a repo that it may only read; 0 allows no"
    " pull requests.",
)
def serve(
    root: Path,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    allow_insecure: bool,
    grace: int,
    strangers_mb: float,
) -> None:
    """Serve until Ctrl-C.

    Each request is one JSON object on stderr, without tokens and queries.

    \b
    Examples:
      hfvaccine hub serve
      hfvaccine hub serve --root /srv/hub --port 9000
      hfvaccine hub serve --host 0.0.0.0 --tls-cert chain.pem --tls-key key.pem
    """
    from hfvaccine.localhub.server import serve as serve_hub

    serve_hub(root, host, port, allow_insecure, tls_cert, tls_key, grace, int(strangers_mb * 1e6))


@contextmanager
def _opened(root: Path) -> Iterator[tuple[Database, Accounts]]:
    from hfvaccine.localhub.data.accounts import Accounts
    from hfvaccine.localhub.data.database import open_database

    try:
        actor = f"command line: {getpass.getuser()}"
    except (KeyError, OSError):  # a user without a name, as in some containers
        actor = "command line"
    with open_database(root) as database:
        yield database, Accounts(database, actor)


@hub.group()
def user() -> None:
    """Accounts and tokens on the embedded Hub, also while it is being served.

    \b
    Examples:
      hfvaccine hub user add alice
      hfvaccine hub user token alice --repo datasets/alice/dose:read
      hfvaccine hub user list --tokens
      hfvaccine hub user revoke alice --all
    """


@user.command("add")
@click.argument("name")
@ROOT
@click.option(
    "--role",
    type=click.Choice(["write", "read"]),
    default="write",
    show_default=True,
    help="What the token may do.",
)
@click.option("--email", help="Shown to the owners of gated repos that NAME asks for.")
@click.option("--fullname", help="Shown beside the name.")
def add(name: str, root: Path, role: str, email: str | None, fullname: str | None) -> None:
    """Make the account NAME if there is none, and print a fresh token for it.

    The token is not stored and cannot be shown again.

    \b
    Examples:
      hfvaccine hub user add alice
      hfvaccine hub user add alice --email alice@example.org --fullname "Alice A."
      export HF_TOKEN=$(hfvaccine hub user add alice)
      hfvaccine hub user add robot --role read
    """
    with _opened(root) as (_, accounts):
        accounts.add_user(name, email, fullname)
        click.echo(accounts.add_token(name, role))


@user.command("token", short_help="Print a fresh token for an account.")
@click.argument("name")
@ROOT
@click.option(
    "--role",
    type=click.Choice(["read", "write", "fine-grained"]),
    help="What the token may do.  [default: write, or fine-grained with --repo]",
)
@click.option(
    "--repo",
    "repos",
    multiple=True,
    metavar="KINDS/NS/NAME:RIGHT",
    help="A repo that a fine-grained token is good for, with the right `read` or `write`; may be given often.",
)
@click.option("--name", "label", default="token", show_default=True, help="What to call the token.")
def token(name: str, root: Path, role: str | None, repos: tuple[str, ...], label: str) -> None:
    """Print a fresh token for the account NAME.

    A fine-grained token is good for the repos it names and what is public,
    for nothing else; it creates no repos. It follows a repo that is renamed
    and ends with one that is deleted. No token does more than its account.

    \b
    Examples:
      hfvaccine hub user token alice --role read --name laptop
      hfvaccine hub user token alice --repo datasets/alice/dose:read \\
          --repo models/alice/m:write
    """
    from hfvaccine.localhub.data.accounts import FINE_GRAINED

    role = role or ("fine-grained" if repos else "write")
    if (role == "fine-grained") != bool(repos):
        raise UsageError(
            "Only a fine-grained token names repos, and it names at least one.",
            "Use `--repo models/NS/NAME:read`, or another `--role`.",
        )
    with _opened(root) as (database, accounts):
        allowed = [_allowed(database, one) for one in repos]
        click.echo(accounts.add_token(name, FINE_GRAINED if repos else role, label, allowed))


def _allowed(database: Database, text: str) -> tuple[Repo, str]:
    from hfvaccine.localhub.data.catalog import KINDS, Catalog

    path, _, right = text.rpartition(":")
    kinds, _, repo_id = path.partition("/")
    namespace, _, name = repo_id.partition("/")
    kind = kinds.removesuffix("s")
    if kinds == kind or kind not in KINDS or right not in ("read", "write"):
        raise UsageError(
            f"{text!r} does not name a repo and a right.", "Write it like `datasets/alice/dose:read` or `...:write`."
        )
    repo = Catalog(database).find(kind, namespace, name)
    if repo is None:
        raise LocalHubError(f"There is no {kind} {repo_id!r} on this Hub.", "Create the repo first.")
    return repo, right


@user.command("list")
@ROOT
@click.option("--tokens", is_flag=True, help="Print the tokens instead: user, id, role, name, made, last used.")
def list_users(root: Path, tokens: bool) -> None:
    """Print the names of all accounts, one a line, or their tokens.

    Of a token there is all but the token itself. Its last use is exact to the hour.

    \b
    Examples:
      hfvaccine hub user list
      hfvaccine hub user list --tokens
      hfvaccine hub user list --root /srv/hub
    """
    with _opened(root) as (_, accounts):
        if not tokens:
            for name in accounts.names():
                click.echo(name)
            return
        for one in accounts.tokens():
            click.echo("\t".join([one.user, one.id, one.role, one.name, one.created_at, one.last_used or "never"]))


@user.command("revoke", short_help="Make tokens of an account worthless.")
@click.argument("name")
@ROOT
@click.option("--token", "token_ids", multiple=True, metavar="ID", help="Which, as `hub user list --tokens` names it.")
@click.option("--all", "everything", is_flag=True, help="All tokens of the account.")
def revoke(name: str, root: Path, token_ids: tuple[str, ...], everything: bool) -> None:
    """Make tokens of the account NAME worthless from now on, also while the Hub is being served.

    \b
    Examples:
      hfvaccine hub user revoke alice --token 3f2a9c01be57
      hfvaccine hub user revoke alice --all
    """
    if everything == bool(token_ids):
        raise UsageError(
            "Which tokens?", "Name some with `--token ID` (`hfvaccine hub user list --tokens`), or give `--all`."
        )
    with _opened(root) as (_, accounts):
        count = accounts.revoke(name, None if everything else token_ids)
    say(f"{counted(count, 'token')} of {name} revoked")


@hub.group()
def org() -> None:
    """Organisations on the embedded Hub: namespaces that several accounts share.

    \b
    Examples:
      hfvaccine hub org add lab
      hfvaccine hub org member lab alice --role write
      hfvaccine hub org list --members
    """


@org.command("add")
@click.argument("name")
@ROOT
@click.option("--fullname", help="Shown beside the name.")
@click.option(
    "--private/--public",
    default=None,
    help="What new repos are whose maker does not say.  [default: public, or what it was]",
)
def add_org(name: str, root: Path, fullname: str | None, private: bool | None) -> None:
    """Make the organisation NAME if there is none, or change what is given of it.

    \b
    Examples:
      hfvaccine hub org add lab
      hfvaccine hub org add lab --fullname "The Lab"
      hfvaccine hub org add lab --private
    """
    with _opened(root) as (_, accounts):
        accounts.add_org(name, fullname, private)
    say(f"{name} has no members until `hfvaccine hub org member {name} USER` adds them.")


@org.command("list")
@ROOT
@click.option("--members", is_flag=True, help="Print the members instead: organisation, user, role.")
def list_orgs(root: Path, members: bool) -> None:
    """Print the names of all organisations, one a line, or their members.

    \b
    Examples:
      hfvaccine hub org list
      hfvaccine hub org list --members
    """
    with _opened(root) as (_, accounts):
        for line in ["\t".join([m.org, m.user, m.role]) for m in accounts.members()] if members else accounts.orgs():
            click.echo(line)


@org.command("member", short_help="Let an account into an organisation, or take it out.")
@click.argument("name", metavar="ORG")
@click.argument("user")
@ROOT
@click.option(
    "--role",
    type=click.Choice(["admin", "write", "read", "none"]),
    default="write",
    show_default=True,
    help="`read` sees and reads all its repos, `write` and `admin` also make and change them; `none` takes out.",
)
def member(name: str, user: str, root: Path, role: str) -> None:
    """Let the account USER into the organisation ORG, in a role, or take it out.

    \b
    Examples:
      hfvaccine hub org member lab alice
      hfvaccine hub org member lab bob --role read
      hfvaccine hub org member lab alice --role none
    """
    with _opened(root) as (_, accounts):
        accounts.set_member(name, user, None if role == "none" else role)
    say(f"{user} is {'no member' if role == 'none' else f'a member with the role {role}'} of {name}")


for command in (fsck, gc, seed):
    hub.add_command(command)
