"""What those may store who may read a repo and not write to it: little, in pull requests of their own, in git alone.

The bound counts every object, with a file system's block at least. Nothing is written before a commit is known to
fit, so refused ones leave nothing behind; `gc` removes pull requests of strangers that nobody has touched for long.
"""

from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.data.discussions import Discussion
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
    most = call.hub.for_strangers
    left = most - call.hub.discussions.stored(repo, call.signed_in())
    if size > left:
        raise Refusal(
            413,
            f"In pull requests of {repo.id} you may store {most / 1e6:g} MB, of which {max(left, 0) / 1e6:.2f} MB are"
            f" left, and this needs {size / 1e6:.2f} MB.",
        )


def require_own(call: Call, repo: Repo, pull: Discussion) -> None:
    """Refuse a stranger's change to a pull request of somebody else. Raises Refusal 403."""
    if pull.user_id != call.signed_in().id:
        call.hub.access.require(call.caller, repo, "write")


def cost(path: str, data: bytes = b"") -> int:
    """What a file takes on the disk, with the folders that it stands in, at the most."""
    return len(data) + BLOCK * (1 + path.count("/"))
