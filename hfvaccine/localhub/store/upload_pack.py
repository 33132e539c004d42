"""The fetching half of git's own protocol: the references on offer, and a pack of what a client lacks.

This is version 0 in its stateless form (gitprotocol-pack, gitprotocol-http), which every client can fall back to.
Only what a visible reference reaches exists here. Anything else is neither sent nor acknowledged: otherwise
the files of a deleted branch could be had by whoever remembers its id.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO

from dulwich.errors import GitProtocolError, HangupException
from dulwich.object_store import MissingObjectFinder, find_shallow, peel_sha
from dulwich.objects import ZERO_SHA, Commit, ObjectID, valid_hexsha
from dulwich.pack import PackChunkGenerator, PackHint, generate_unpacked_objects
from dulwich.protocol import (
    NAK_LINE,
    Protocol,
    format_ack_line,
    format_ref_line,
    format_shallow_line,
    format_unshallow_line,
    pkt_line,
)
from dulwich.refs import Ref
from dulwich.repo import Repo as GitRepo

from hfvaccine.localhub.refusal import Refusal

VISIBLE = (b"refs/heads/", b"refs/tags/", b"refs/pr/")
CAPABILITIES = (
    b"multi_ack_detailed side-band-64k no-progress include-tag shallow allow-reachable-sha1-in-want"
    b" symref=HEAD:refs/heads/main object-format=sha1 agent=hfvaccine"
).split()
FAST = 1  # zlib's level: a pack is made anew for each client, so time counts more than bytes
_BAND = 65515


@dataclass
class Ask:
    """What one request to git-upload-pack says."""

    wants: list[ObjectID] = field(default_factory=list)
    capabilities: set[bytes] = field(default_factory=set)
    shallow: set[ObjectID] = field(default_factory=set)
    depth: int = 0
    haves: list[ObjectID] = field(default_factory=list)
    negotiates: bool = False
    done: bool = False


def parse(body: bytes) -> Ask:
    """Read a request.

    Raises:
        Refusal: 400 when it is not one.
    """
    ask, lines = Ask(), _lines(body)
    for line in lines:
        if line is None:
            break
        word, _, rest = line.rstrip(b"\n").partition(b" ")
        if word == b"want":
            oid, _, capabilities = rest.partition(b" ")
            ask.wants.append(_oid(oid))
            ask.capabilities.update(capabilities.split())
        elif word == b"shallow":
            ask.shallow.add(_oid(rest))
        elif word == b"deepen" and rest.isdigit() and len(rest) <= 10:
            ask.depth = int(rest)
        else:
            raise _malformed(line)
    for line in lines:
        ask.negotiates = True
        if line is None:
            break
        word, _, rest = line.rstrip(b"\n").partition(b" ")
        if word == b"done":
            ask.done = True
            break
        if word != b"have":
            raise _malformed(line)
        ask.haves.append(_oid(rest))
    return ask


class UploadPack:
    """Serves one repository to git clients; all that it yields goes to the client as it is.

    Args:
        git: the repository, open as long as anything is being yielded.
    """

    def __init__(self, git: GitRepo) -> None:
        self._store = git.object_store
        self._format = git.object_format
        found = sorted(git.refs.as_dict().items())
        self._refs = {ref: oid for ref, oid in found if ref.startswith(VISIBLE) and oid in self._store}

    def advertisement(self) -> Iterator[bytes]:
        """All references, as the answer to info/refs."""
        yield pkt_line(b"# service=git-upload-pack\n") + pkt_line(None)
        main = self._refs.get(Ref(b"refs/heads/main"))
        listed: list[tuple[bytes, ObjectID]] = [(b"HEAD", main)] if main else []
        for ref, oid in self._refs.items():
            listed.append((ref, oid))
            if (peeled := self._peeled(oid)) != oid:
                listed.append((ref + b"^{}", peeled))
        first, *others = listed or [(b"capabilities^{}", ZERO_SHA)]
        yield pkt_line(format_ref_line(*first, CAPABILITIES))
        yield b"".join(pkt_line(format_ref_line(*other)) for other in others) + pkt_line(None)

    def answer(self, ask: Ask) -> Iterator[bytes]:
        """What to say to a request: shallow borders, acknowledgements, and the pack when it is due."""
        if not ask.wants:
            return  # an empty request, by which clients try their credentials
        offered = set(self._refs.values())
        for oid in ask.wants:
            # A branch can move between a client's two requests: what it wants is no tip then, but still there.
            if oid not in offered and oid not in self._reachable:
                yield pkt_line(b"ERR upload-pack: not our ref " + oid)
                return
        border = ask.shallow
        if ask.depth:
            cut, passed = find_shallow(self._store, ask.wants, ask.depth)
            border = cut - passed
            shallow = [format_shallow_line(oid) for oid in sorted(border - ask.shallow)]
            unshallow = [format_unshallow_line(oid) for oid in sorted(passed & ask.shallow)]
            yield b"".join(pkt_line(line) for line in [*shallow, *unshallow, None])
        if not ask.negotiates:
            return
        common = [oid for oid in ask.haves if oid in self._reachable]
        yield b"".join(pkt_line(line) for line in _acknowledgements(ask, common))
        if ask.done:
            # The objects of commits on the client's side of a border are not all there: a new border sends all again.
            haves = [] if ask.depth else common
            objects = dict(MissingObjectFinder(self._store, haves, ask.wants, shallow=border))
            if b"include-tag" in ask.capabilities:
                objects |= {oid: None for oid in self._refs.values() if self._peeled(oid) in objects}
            yield from _packets(self._pack(list(objects.items())), b"side-band-64k" in ask.capabilities)

    @cached_property
    def _reachable(self) -> set[ObjectID]:
        tips = {self._peeled(oid) for oid in self._refs.values()}
        commits = [oid for oid in tips if isinstance(self._store[oid], Commit)]
        return self._store.get_reachability_provider().get_reachable_commits(commits)

    def _peeled(self, oid: ObjectID) -> ObjectID:
        peeled: ObjectID = peel_sha(self._store, oid)[1].id
        return peeled

    def _pack(self, objects: list[tuple[ObjectID, PackHint | None]]) -> Iterator[bytes]:
        # Deltas of several packs, used together, could lean on each other in a circle.
        records = generate_unpacked_objects(self._store, objects, reuse_deltas=False)
        return iter(PackChunkGenerator(self._format, len(objects), records, compression_level=FAST))


def _acknowledgements(ask: Ask, common: list[ObjectID]) -> Iterator[bytes]:
    several = b"multi_ack_detailed" in ask.capabilities
    if several:
        yield from (format_ack_line(oid, b"common") for oid in common)
    elif common:
        yield format_ack_line(common[0])
    if not common or (several and not ask.done):
        yield NAK_LINE
    elif several:
        yield format_ack_line(common[-1])


def _packets(chunks: Iterable[bytes], banded: bool) -> Iterator[bytes]:
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        while len(waiting) >= _BAND:
            piece = bytes(waiting[:_BAND])
            del waiting[:_BAND]
            yield pkt_line(b"\1" + piece) if banded else piece
    yield pkt_line(b"\1" + waiting) + pkt_line(None) if banded else bytes(waiting)


def _lines(body: bytes) -> Iterator[bytes | None]:
    source = Protocol(BytesIO(body).read, len)
    while True:
        try:
            yield source.read_pkt_line()
        except HangupException:
            return
        except GitProtocolError as error:
            raise _malformed(b"") from error


def _oid(text: bytes) -> ObjectID:
    if len(text) != 40 or not valid_hexsha(text):
        raise _malformed(text)
    return ObjectID(text)


def _malformed(line: bytes) -> Refusal:
    return Refusal(400, f"git-upload-pack does not understand {line[:60]!r}.")
