"""`hfvaccine hub`: the embedded Hub from the command line."""

from pathlib import Path

import click

ROOT = click.option(
    "--root",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("hfvaccine-hub"),
    show_default="./hfvaccine-hub",
    help="Folder that holds the Hub's whole state.",
)


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
    "--allow-insecure", is_flag=True, help="Listen where other machines can reach it, although nothing is encrypted."
)
def serve(root: Path, host: str, port: int, allow_insecure: bool) -> None:
    """Serve until Ctrl-C.

    \b
    Examples:
      hfvaccine hub serve
      hfvaccine hub serve --root /srv/hub --port 9000
    """
    from hfvaccine.localhub.server import serve as serve_hub

    serve_hub(root, host, port, allow_insecure)


@hub.group()
def user() -> None:
    """Accounts on the embedded Hub, also while it is being served.

    \b
    Examples:
      hfvaccine hub user add alice
      hfvaccine hub user list
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
def add(name: str, root: Path, role: str) -> None:
    """Make the account NAME if there is none, and print a fresh token for it.

    The token is not stored and cannot be shown again.

    \b
    Examples:
      hfvaccine hub user add alice
      export HF_TOKEN=$(hfvaccine hub user add alice)
      hfvaccine hub user add robot --role read
    """
    from hfvaccine.localhub.accounts import Accounts
    from hfvaccine.localhub.database import open_database

    with open_database(root) as database:
        accounts = Accounts(database)
        accounts.add_user(name)
        click.echo(accounts.add_token(name, role))


@user.command("list")
@ROOT
def list_users(root: Path) -> None:
    """Print the names of all accounts, one a line.

    \b
    Examples:
      hfvaccine hub user list
      hfvaccine hub user list --root /srv/hub
    """
    from hfvaccine.localhub.accounts import Accounts
    from hfvaccine.localhub.database import open_database

    with open_database(root) as database:
        for name in Accounts(database).names():
            click.echo(name)
