"""The one error of the embedded Hub's inside: why a request is refused, as its clients understand it."""

from typing import Any


class Refusal(Exception):
    """A request that is not granted.

    Args:
        status: HTTP status. Clients retry 408, 429 and most 5xx, so a caller's mistake never gets one of those.
        message: what was refused and why, in one line.
        code: the `X-Error-Code` that clients turn into an exception (RepoNotFound, GatedRepo, ...).
        headers: further headers of the answer.
        body: further fields of the JSON answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        body: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.headers = headers or {}
        self.body = body or {}


def unknown_revision(name: str) -> Refusal:
    """For a revision that is not there, in the words and the code that clients look for."""
    return Refusal(404, f"Invalid rev id: {name[:200]}", "RevisionNotFound")
