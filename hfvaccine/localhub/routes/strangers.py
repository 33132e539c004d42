"""What those may store who may read a repo and not write to it: little, in what they say, and in pull requests of
their own, in git alone.

The bound counts every text, and every object, with a file system's block at least. Nothing is written before it is
known to fit, so what is refused leaves nothing behind; `gc` removes pull requests of strangers that nobody else has
touched for long.
"""

from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.data.discussions import Discussion, size_of
from hfvaccine.localhub.hub import FOR_STRANGERS
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.call import Call
from hfvaccine.localhub.store.repository import BLOCK


def is_stranger(call: Call, repo: Repo) -> bool:
    """Whether the caller is bound at all. Raises Refusal 403 where this Hub lets no stranger store anything."""
    if call.may(repo, "write"):
        return False
    if not call.hub.for_strangers:
        call.hub.access.require(call.caller, repo, "write")
    return True


def require_room(call: Call, repo: Repo, size: int) -> None:
    """Refuse a stranger's bytes that are too many. Raises Refusal 413."""
    most = call.hub.for_strangers or FOR_STRANGERS  # where 0 allows no pull requests, there is still talk
    left = most - call.hub.discussions.stored(repo, call.signed_in())
    if size > left:
        raise Refusal(
            413,
            f"In pull requests and discussions of {repo.id} you may store {most / 1e6:g} MB, of which"
            f" {max(left, 0) / 1e6:.2f} MB are left, and this needs {size / 1e6:.2f} MB.",
        )


def require_room_to_say(call: Call, repo: Repo, *texts: str, more: int = 0) -> None:
    """Refuse what a stranger says, with more bytes that go with it, where it is too much. Raises Refusal 413."""
    if not call.may(repo, "write"):
        require_room(call, repo, size_of(*texts) + more)


def require_own(call: Call, repo: Repo, pull: Discussion) -> None:
    """Refuse a stranger's change to a pull request of somebody else. Raises Refusal 403."""
    if pull.user_id != call.signed_in().id:
        call.hub.access.require(call.caller, repo, "write")


def no_large_file(repo: Repo, path: str) -> Refusal:
    """Why a stranger's file cannot go into a pull request, however it would come there."""
    return Refusal(403, f"{path[:200]} would be a large file: only who may write to {repo.id} uploads those.")


def cost(path: str, data: bytes = b"") -> int:
    """What a file takes on the disk, with the folders that it stands in, at the most."""
    return len(data) + BLOCK * (1 + path.count("/"))
