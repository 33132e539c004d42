"""Whatever is asked for: an answer in the protocol or a refusal, and nothing that no reference reaches."""

import io

import pytest
from dulwich.objects import Blob, Commit, Tag, Tree
from dulwich.pack import PackData, PackInflater
from dulwich.protocol import pkt_line
from dulwich.repo import Repo
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.store.upload_pack import UploadPack, parse


def commit(repo, parents, **files):
    tree = Tree()
    for name, content in files.items():
        blob = Blob.from_string(content.encode())
        repo.object_store.add_object(blob)
        tree.add(name.encode(), 0o100644, blob.id)
    made = Commit()
    made.tree, made.parents = tree.id, parents
    made.author = made.committer = b"x <x@x>"
    made.author_time = made.commit_time = 1_700_000_000 + len(list(repo.object_store))
    made.author_timezone = made.commit_timezone = 0
    made.message = made.encoding = b"UTF-8"
    repo.object_store.add_objects([(tree, None), (made, None)])
    return made.id


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A repository with a merge, an annotated tag and a commit that no reference reaches; and ids to ask with."""
    with Repo.init_bare(tmp_path_factory.mktemp("git"), default_branch=b"main") as repo:
        first = commit(repo, [], a="first", b="stays")
        left, right = commit(repo, [first], a="left", b="stays"), commit(repo, [first], a="right", b="stays")
        merged = commit(repo, [left, right], a="merged", b="stays")
        hidden = commit(repo, [first], secret="SECRET")
        tag = Tag()
        tag.name, tag.message, tag.object = b"t", b"said", (Commit, right)
        tag.tagger, tag.tag_time, tag.tag_timezone = b"x <x@x>", 1, 0
        repo.object_store.add_object(tag)
        repo.refs[b"refs/heads/main"], repo.refs[b"refs/tags/t"] = merged, tag.id
        repo.refs[b"refs/heads/first"], repo.refs[b"refs/kept/hidden"] = first, hidden
        tree = repo[hidden].tree
        secret = {hidden, tree, repo[tree][b"secret"][1]}
        commits = {"first": first, "left": left, "right": right, "merged": merged, "tag": tag.id}
        yield repo, commits, secret


def objects_of(repo, answer: bytes) -> set[bytes]:
    """The ids of all objects in the pack that ends an answer without bands."""
    pack = answer[answer.index(b"PACK") :]
    with PackData("pack", repo.object_format, file=io.BytesIO(pack), size=len(pack)) as data:
        data.check()
        return {one.id for one in PackInflater.for_pack_data(data)}


def closure(repo, oid: bytes) -> set[bytes]:
    """Everything that an object leads to."""
    found, waiting = set(), [oid]
    while waiting:
        if (oid := waiting.pop()) not in found:
            found.add(oid)
            one = repo[oid]
            if isinstance(one, Commit):
                waiting += [one.tree, *one.parents]
            elif isinstance(one, Tag):
                waiting.append(one.object[1])
            elif isinstance(one, Tree):
                waiting += [item.sha for item in one.items()]
    return found


def ask(repo, *lines) -> bytes:
    return b"".join(UploadPack(repo).answer(parse(b"".join(pkt_line(line) for line in lines))))


@pytest.mark.parametrize(
    ("wanted", "had"),
    [("merged", ()), ("tag", ()), ("merged", ("left",)), ("merged", ("first",)), ("tag", ("first",)), ("left", ())],
)
def test_a_pack_is_what_the_client_lacks(place, wanted, had):
    repo, known, _ = place
    haves = [b"have " + known[name] for name in had]
    sent = objects_of(repo, ask(repo, b"want " + known[wanted], None, *haves, b"done"))
    has = set().union(*(closure(repo, known[name]) for name in had))
    assert sent | has >= closure(repo, known[wanted])
    assert not {known[name] for name in had} & sent


def test_a_border_is_told_and_kept(place):
    repo, known, _ = place
    want = b"want " + known["merged"]
    answer = ask(repo, want, b"deepen 2", None, b"done")
    border = b"".join(pkt_line(b"shallow " + one) for one in sorted((known["left"], known["right"])))
    assert answer.startswith(border + pkt_line(None) + pkt_line(b"NAK\n"))
    assert {known["merged"], known["left"], known["right"]} == objects_of(repo, answer) & set(known.values())
    told = ask(repo, want, b"shallow " + known["left"], b"deepen 2", None)
    assert told == pkt_line(b"shallow " + known["right"]) + pkt_line(None)
    # What is near to one wanted commit is no border, however far from another.
    answer = ask(repo, want, b"want " + known["left"], b"deepen 2", None, b"done")
    border = b"".join(pkt_line(b"shallow " + one) for one in sorted((known["first"], known["right"])))
    assert answer.startswith(border + pkt_line(None))
    shallow = [b"shallow " + known["left"], b"shallow " + known["right"]]
    answer = ask(repo, want, *shallow, b"deepen 3", None, b"have " + known["merged"], b"done")
    told = [b"shallow " + known["first"], *(b"un" + line for line in sorted(shallow))]
    assert answer.startswith(b"".join(pkt_line(line) for line in told) + pkt_line(None))
    assert objects_of(repo, answer) >= {known["first"]}


def test_a_client_with_a_border_gets_what_lies_below_it(place):
    repo, known, _ = place
    lines = (b"want " + known["first"], b"want " + known["merged"], b"shallow " + known["left"])
    sent = objects_of(repo, ask(repo, *lines, None, b"have " + known["left"], b"done"))
    assert sent >= closure(repo, known["first"]) - closure(repo, repo[known["left"]].tree)


@pytest.mark.parametrize(
    "lines",
    [
        (b"want " + b"g" * 40,),
        (b"want " + b"1" * 64,),
        (b"have " + b"1" * 40,),
        (b"want " + b"1" * 40, b"deepen -1"),
        (b"want " + b"1" * 40, b"filter sparse:oid=" + b"1" * 40),
        (b"want " + b"1" * 40, None, b"want " + b"1" * 40),
        (b"",),
    ],
)
def test_lines_that_are_not_understood(lines):
    with pytest.raises(Refusal) as refused:
        parse(b"".join(pkt_line(line) for line in lines))
    assert refused.value.status == 400


def test_an_empty_repository_can_be_cloned(tmp_path):
    with Repo.init_bare(tmp_path, default_branch=b"main") as repo:
        told = b"".join(UploadPack(repo).advertisement())
        assert b"0" * 40 + b" capabilities^{}\0" in told
        assert ask(repo) == b""


# The names stand for ids; `place` has them.
NAMES = ("first", "left", "right", "merged", "tag", "secret0", "secret1", "secret2", "unknown")
ids = st.sampled_from(NAMES).map("<{}>".format)
capabilities = st.sampled_from(["", " multi_ack_detailed include-tag", " side-band-64k", " filter", " \xff"])
nonsense = st.sampled_from(
    ["", "want", "want ", "have x", "deepen", "deepen -1", "deepen-since 1", "filter blob:none"]
)
wants = st.builds("want {}{}".format, ids, capabilities)
others = st.one_of(
    wants,
    st.builds("have {}".format, ids),
    st.builds("shallow {}".format, ids),
    st.builds("deepen {}".format, st.integers(0, 5) | st.sampled_from([2147483647, 9999999999, 10**12])),
    st.just("done"),
    st.none(),
    nonsense,
)


def filled(place, line: str | None) -> bytes | None:
    _, known, secret = place
    words = {**known, "unknown": b"9" * 40, **{f"secret{number}": oid for number, oid in enumerate(sorted(secret))}}
    for name, oid in words.items() if line else ():
        line = line.replace(f"<{name}>", oid.decode())
    return None if line is None else line.encode("latin-1")


@settings(max_examples=300, deadline=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(wants, max_size=3), st.lists(others, max_size=8), st.lists(others, max_size=5), st.booleans())
def test_any_conversation(place, first, second, third, done):
    repo, known, secret = place
    lines = [filled(place, line) for line in [*first, *second, None, *third, *(["done"] if done else [])]]
    try:
        answer = ask(repo, *lines)
    except Refusal as refusal:
        assert refusal.status == 400
        return
    for oid in secret:
        assert b"ACK " + oid not in answer
    if b"PACK" in answer and not any(b"side-band" in (line or b"") for line in lines):
        assert objects_of(repo, answer) <= closure(repo, known["merged"]) | {known["tag"]}


@settings(max_examples=200, deadline=10_000)
@given(st.binary(max_size=200) | st.lists(st.binary(max_size=60).map(pkt_line), max_size=6).map(b"".join))
def test_any_bytes(body):
    try:
        parse(body)
    except Refusal as refusal:
        assert refusal.status == 400


@settings(max_examples=60, deadline=10_000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([b"", b"gzip", b"x-gzip", b"deflate"]), st.binary(max_size=200))
def test_any_bytes_over_http(live, encoding, body):
    live.api("alice").create_repo("alice/fuzzed", exist_ok=True)
    headers = {"Content-Encoding": encoding.decode()} if encoding else {}
    answer = live.request("POST", "/alice/fuzzed.git/git-upload-pack", content=body, headers=headers, timeout=10)
    assert answer.status_code in (200, 400, 415)
