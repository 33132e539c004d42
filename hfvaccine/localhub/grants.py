"""Short-lived tokens for uploads by Xet, each good for one repo and only as long as the token behind it is."""

import secrets
import threading
import time
from typing import NamedTuple

from hfvaccine.localhub.catalog import Repo
from hfvaccine.localhub.refusal import Refusal

SECONDS = 15 * 60


class Grant(NamedTuple):
    """What one such token stands for."""

    credentials: str
    repo: Repo
    place: str
    expires: int


class Grants:
    """The tokens in force. They live in memory alone: after a restart clients ask for new ones."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._grants: dict[str, Grant] = {}

    def add(self, credentials: str, repo: Repo, place: str) -> tuple[str, int]:
        """A fresh token and when it expires.

        Args:
            credentials: the token of this Hub that it is given for; whether that one still holds is asked at each use.
            repo: the repo that it is for.
            place: the name of the place of that repo's xorbs.
        """
        token, at = "xet_" + secrets.token_hex(20), int(time.time())
        with self._lock:
            self._grants = {name: grant for name, grant in self._grants.items() if grant.expires > at}
            self._grants[token] = Grant(credentials, repo, place, at + SECONDS)
        return token, at + SECONDS

    def find(self, token: str) -> Grant:
        """What a token stands for.

        Raises:
            Refusal: 401 when there is no such token, or no longer.
        """
        grant = self._grants.get(token)
        if grant is None or grant.expires <= time.time():
            raise Refusal(401, "This token for an upload by Xet is not valid, or no longer.")
        return grant
