"""Who is signed in with a browser: cookies that stand for tokens."""

import secrets
import threading
import time

SECONDS = 12 * 3600
MOST = 10_000


class Sessions:
    """Who is signed in, for as long as this process runs. A token that is revoked ends its sessions."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def begin(self, token: str) -> str:
        """The cookie of a new session; the oldest one ends when there are too many."""
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            while len(self._open) >= MOST:
                del self._open[next(iter(self._open))]
            self._open[cookie] = (token, time.monotonic() + SECONDS)
        return cookie

    def token(self, cookie: str) -> str | None:
        """The token that a cookie stands for, or None when it stands for none any more."""
        with self._lock:
            token, until = self._open.get(cookie, ("", 0.0))
            if time.monotonic() > until:
                self._open.pop(cookie, None)
                return None
            return token

    def end(self, cookie: str) -> None:
        """Sign out."""
        with self._lock:
            self._open.pop(cookie, None)
