"""Random texts that stand for tokens for a while: the cookies of browsers, and what Xet uploads are sent with."""

import secrets
import threading
import time

SECONDS = 12 * 3600
MOST = 10_000


class Sessions:
    """What was handed out, for as long as this process runs. A token that is revoked ends its sessions.

    Args:
        seconds: how long each session lasts.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._open: dict[str, tuple[str, str, float]] = {}
        self._lock = threading.Lock()

    def begin(self, token: str, scope: str = "") -> str:
        """The cookie of a new session, good within one scope; the oldest one ends when there are too many."""
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._open) >= MOST:
                del self._open[next(iter(self._open))]
            self._open[cookie] = (token, scope, time.monotonic() + self.seconds)
        return cookie

    def token(self, cookie: str, scope: str = "") -> str | None:
        """The token that a cookie stands for within a scope, or None when it stands for none, or none any more."""
        with self._lock:
            token, given, until = self._open.get(cookie, ("", "", 0.0))
            if time.monotonic() > until:
                self._open.pop(cookie, None)
                return None
            return token if given == scope else None

    def end(self, cookie: str) -> None:
        """Sign out."""
        with self._lock:
            self._open.pop(cookie, None)
