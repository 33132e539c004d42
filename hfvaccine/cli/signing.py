"""Options that say who signs what is pushed, and who should have signed what is fetched."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from hfvaccine.errors import UsageError

if TYPE_CHECKING:
    from hfvaccine.hub.signature import Expected, Signer

PASSWORD = "HFVACCINE_SIGN_PASSWORD"

SIGN = click.option(
    "--sign",
    metavar="KEY",
    help="Sign it with this private key, or as yourself with the word `sigstore`. A key's password is asked for, "
    f"or taken from {PASSWORD}. Needs the extra [sign].",
)
SIGNER = click.option(
    "--signer",
    metavar="KEY|IDENTITY",
    help="Who should have signed it: the file of a public key, or an identity. Needs the extra [sign].",
)
PROVIDER = click.option(
    "--signer-provider",
    metavar="URL",
    help="Of an identity: the OpenID Connect issuer that vouches for it, as Sigstore names it.",
)


def signer_of(key: str | None) -> Signer | None:
    """Who signs; None where nobody does.

    Raises:
        UsageError: for what is no private key, or where its password is not given.
    """
    if key is None:
        return None
    from hfvaccine.hub.signature import Signer, encrypted

    password = os.environ.get(PASSWORD)
    if encrypted(key) and password is None:
        try:
            password = click.prompt(f"Password of {key}", hide_input=True, err=True)
        except click.Abort as error:
            raise UsageError(f"The password of {key} was not given.", f"Type it, or set {PASSWORD}.") from error
    return Signer.of(key, password)


def expected(signer: str | None, provider: str | None) -> Expected | None:
    """Who should have signed; None where that does not matter.

    Raises:
        UsageError: for what is no public key, or a provider without an identity.
    """
    if signer is None and provider is None:
        return None
    from hfvaccine.hub.signature import Expected

    if signer is None:
        raise UsageError(f"{provider} vouches for an identity, and none is given.", "Give it with --signer.")
    return Expected.of(signer, provider)
