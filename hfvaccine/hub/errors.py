"""What a Hub's client raises, as an error that says what to do about it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from huggingface_hub import HfApi
from huggingface_hub.errors import (
    BadRequestError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    HTTPError,  # of the HTTP library that huggingface_hub uses: what is raised when no answer came
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from hfvaccine.errors import HubError, UsageError
from hfvaccine.text import is_hub_id

IN_PLACE_OF_LOGIN = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Environment variables that hold a token; the first that is set comes before what `hf auth login` keeps."""
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Environment variables that forbid talking to a Hub, of which the client reads the first that is set."""


def first_set(names: Iterable[str]) -> str | None:
    """The first of some environment variables that is set, and not to nothing."""
    return next((name for name in names if os.environ.get(name)), None)


def log_in(api: HfApi) -> str:
    """What to do where a token is missing, wrong, or may too little.

    Args:
        api: that was asked, with the token it was given, if any.
    """
    variable = first_set(IN_PLACE_OF_LOGIN) if api.token is None else None
    if variable is None:
        return "Log in with `hf auth login`, or give --token."
    return f"The token of {variable} was taken: set another, or unset it and log in with `hf auth login`."


def require_repo_id(repo_id: str) -> None:
    """Refuse what cannot name a repo.

    Args:
        repo_id: what was given as one.

    Raises:
        UsageError: where it is not `namespace/name`.
    """
    if not is_hub_id(repo_id):
        raise UsageError(f"{repo_id!r} is not a repo id.", "Give it as `namespace/name`, such as `you/starter-dose`.")


def page_of(api: HfApi, repo_id: str, kind: str) -> str:
    """The address of a repo's page.

    Args:
        api: of the Hub that has it.
        repo_id: the repo.
        kind: "dataset", "model" or "space".
    """
    return f"{api.endpoint}/{'' if kind == 'model' else f'{kind}s/'}{repo_id}"


@contextmanager
def as_hub_error(api: HfApi, repo_id: str, kind: str) -> Iterator[None]:
    """Raise what a Hub's client raises as a `HubError` that says what to do.

    Args:
        api: of the Hub that is asked.
        repo_id: the repo it is asked about.
        kind: "dataset" or "model".

    Raises:
        HubError: in place of what `ERRORS` knows; anything else is raised as it is.
    """
    try:
        yield
    except (HTTPError, OSError, ValueError, RuntimeError) as error:
        explained = _explain(error, api, repo_id, kind)
        if explained is None:
            raise
        raise explained from error


def _status(*codes: int) -> Callable[[BaseException], bool]:
    return lambda error: isinstance(error, HfHubHTTPError) and error.response.status_code in codes


def _is(*kinds: type[BaseException]) -> Callable[[BaseException], bool]:
    return lambda error: isinstance(error, kinds)


def _gated(phrase: str) -> Callable[[BaseException], bool]:
    """How a request stands is known only from the Hub's sentence."""
    return lambda error: isinstance(error, GatedRepoError) and phrase in str(error.server_message or error)


ERRORS: tuple[tuple[Callable[[BaseException], bool], str, str], ...] = (
    (_is(LocalTokenNotFoundError), "No Hub token was found.", "{log_in}"),
    (_is(OfflineModeIsEnabled), "{offline} forbids talking to {endpoint}.", "Unset {offline}."),
    (_gated("awaiting a review"), "{repo} is gated: {said}", "Wait for its owner to decide, then run this again."),
    (_gated("been rejected"), "{repo} is gated: {said}", "Only its owner can change that; see the card at {page}."),
    (_is(GatedRepoError), "{repo} is gated: {said}", "Ask for access at {page}, logged in with `hf auth login`."),
    (
        lambda error: isinstance(error, RepositoryNotFoundError) and error.response.status_code == 401,
        "{endpoint} shows no {kind} {repo} to somebody who is not logged in.",
        "{log_in}",
    ),
    (
        _is(RepositoryNotFoundError),
        "{endpoint} has no {kind} {repo} that this account can see.",
        "Check the name and, with `hf auth whoami`, the account.",
    ),
    (_is(RevisionNotFoundError), "{repo} has no such revision.", "Choose a branch, tag or commit listed at {page}."),
    (_status(401), "{endpoint} does not know who is asking: {said}", "{log_in}"),
    (
        _status(403),
        "This account may not do that to {repo}: {said}",
        "Use a repo under your own name and a token with write access (`hf auth whoami`).",
    ),
    (_status(409, 412), "{repo} was changed by somebody else meanwhile: {said}", "Push again."),
    (
        _status(413, 507),
        "{endpoint} has no room for {repo}: {said}",
        "Free space on that Hub; the repo is as it was before.",
    ),
    (_status(429), "{endpoint} asks for fewer requests: {said}", "Wait a few minutes, then run this again."),
    (_status(500, 502, 503, 504), "{endpoint} failed: {said}", "Run this again later."),
    (_is(BadRequestError, HfHubHTTPError), "{endpoint} refused: {said}", "Change what it names, then run this again."),
    (
        _is(UnicodeEncodeError),
        "The Hub token, or the address of the Hub, holds characters that cannot be sent.",
        "Copy it anew: look at HF_TOKEN and HF_ENDPOINT, or log in again with `hf auth login`.",
    ),
    (_is(HFValidationError), "{said}", "Give the repo as `namespace/name`."),
    (
        _is(HTTPError, ConnectionError, TimeoutError),
        "{endpoint} cannot be reached: {said}",
        "Check the network and HF_ENDPOINT.",
    ),
    (
        # One upload that gets no connection closes the client under the others.
        lambda error: isinstance(error, RuntimeError) and "client has been closed" in str(error),
        "{endpoint} cannot be reached: the connection was lost.",
        "Check the network and HF_ENDPOINT.",
    ),
    (
        lambda error: isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT),
        "No space is left on this machine: {said}",
        "Free space, then run this again.",
    ),
)
"""From what a Hub's client raises to what a user reads; the first row that fits is taken."""


def _explain(error: BaseException, api: HfApi, repo_id: str, kind: str) -> HubError | None:
    cause: BaseException | None = error
    while cause is not None:
        for fits, message, next_step in ERRORS:
            if fits(cause):
                said = getattr(cause, "server_message", None) or str(cause).strip().split("\n")[0] or repr(cause)
                # Where to ask for access is the next step, with the whole address.
                said = re.split(r" (?:Ask for access at|Visit) ", said)[0].rstrip(".") + "."
                facts = {
                    "repo": repo_id,
                    "kind": kind,
                    "endpoint": api.endpoint,
                    "page": page_of(api, repo_id, kind),
                    "said": said,
                    "log_in": log_in(api),
                    "offline": first_set(OFFLINE) or OFFLINE[0],
                }
                return HubError(message.format(**facts), next_step.format(**facts))
        cause = cause.__cause__
    return None
