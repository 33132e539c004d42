"""Writing: what to upload how, and commits."""

import base64
from collections.abc import Iterator
from io import BytesIO
from typing import Any

from dulwich.attrs import Pattern, parse_git_attributes
from dulwich.ignore import IgnoreFilter, read_ignore_patterns
from dulwich.objects import Blob, ObjectID
from starlette.responses import PlainTextResponse, Response

from hfvaccine.localhub.cards import metadata as cards
from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.data.discussions import Discussion, size_of
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes import discussions, strangers
from hfvaccine.localhub.routes.call import Call, answer, kind_of, parse_json, route
from hfvaccine.localhub.store.large_files import Pointer
from hfvaccine.localhub.store.repository import check_path

LARGEST_REGULAR = 10 << 20
LONGEST_LINE = 64 << 20
BUFFERED = 32 << 20


def validate_yaml(call: Call) -> Response:
    """Whether a README's metadata would be taken; clients ask before every commit of a card."""
    body = call.json()
    kind, content = kind_of(body.get("repoType"), "repoType"), body.get("content")
    if not isinstance(content, str):
        raise Refusal(400, "content must be a text.")
    errors, warnings = [], []
    try:
        if cards.checked(kind, content.encode()) is None:
            warnings.append({"message": "empty or missing yaml metadata in repo card"})
    except cards.CardError as error:
        errors.append({"message": _told(error)})
    if errors and "text/plain" in call.request.headers.get("accept", ""):
        return PlainTextResponse("".join(f"- Error: {error['message']}\n" for error in errors), 400)
    return answer({"errors": errors, "warnings": warnings}, 400 if errors else 200)


def _told(error: cards.CardError) -> str:
    return f"Invalid card metadata: {error}"


def preupload(call: Call) -> Response:
    """For each file whether it goes into the commit itself or to large-file storage, and what is there now."""
    repo, git, commit = call.content("propose" if _proposes(call) else "write")
    body, stranger = call.json(), not call.may(repo, "write")
    attributes = list(parse_git_attributes(BytesIO(git.read_file(commit, ".gitattributes") or b"")))
    patterns = [(Pattern(pattern), values) for pattern, values in attributes if b"filter" in values]
    ignore_text = body.get("gitIgnore")
    ignore = ignore_text.encode() if isinstance(ignore_text, str) else git.read_file(commit, ".gitignore") or b""
    ignored = IgnoreFilter(list(read_ignore_patterns(BytesIO(ignore))))
    answers = []
    files = body.get("files")
    if not isinstance(files, list) or not all(isinstance(file, dict) for file in files):
        raise Refusal(400, "files must be a list of objects.")
    for file in files:
        path, size = check_path(file.get("path")), file.get("size")
        sample = _decoded(file.get("sample"), path)
        large = not isinstance(size, int) or size > LARGEST_REGULAR or b"\0" in sample or not _is_text(sample)
        for pattern, values in patterns:
            if pattern.match(path.encode()):
                large = large or values[b"filter"] == b"lfs"
        if large and stranger:
            raise strangers.no_large_file(repo, path)
        said: dict[str, Any] = {
            "path": path,
            "uploadMode": "lfs" if large else "regular",
            "shouldIgnore": bool(ignored.is_ignored(path)),
        }
        if (entry := git.entry(commit, path)) and not entry.is_folder:
            said["oid"] = entry.large.oid if entry.large else entry.oid
        answers.append(said)
    return answer({"files": answers})


def _is_text(sample: bytes) -> bool:
    try:
        sample.decode()
    except UnicodeDecodeError as error:
        return error.start >= len(sample) - 3  # the sample may end inside a character
    return True


def commit(call: Call) -> Response:
    """One commit from a stream of operations, to a branch or a pull request, also a new one; all of it or nothing."""
    repo = call.repo("propose" if _proposes(call) else "write")
    stranger, size = strangers.is_stranger(call, repo), strangers.cost("refs/pr/N")
    branch = call.parameter("rev").removeprefix("refs/heads/")
    header: dict[str, Any] = {}
    additions: dict[str, ObjectID] = {}
    deletions: dict[str, str] = {}
    waiting: list[Blob] = []
    git = call.git(repo)
    for key, value in _operations(call):
        if key == "header":
            header = value
        elif key in ("file", "lfsFile"):
            path = check_path(value.get("path"))
            blob = _regular(value, path) if key == "file" else _pointer(call, repo, value, path)
            if path == "README.md":
                _require_card(repo, blob.data)
            additions[path] = blob.id
            waiting.append(blob)
            size += strangers.cost(path, blob.data)
            if stranger:
                strangers.require_room(call, repo, size)
            elif sum(len(one.data) for one in waiting) > BUFFERED:
                git.add_blobs(waiting)
                waiting = []
        elif key in ("deletedFile", "deletedFolder"):
            path = check_path(str(value.get("path", "")).rstrip("/"))
            deletions[path] = "file" if key == "deletedFile" else "folder"
            size += strangers.cost(path)
        else:
            raise Refusal(400, f"Unknown operation {key[:50]!r}.")
    summary, description = header.get("summary"), header.get("description") or ""
    if not isinstance(summary, str) or not summary.strip() or not isinstance(description, str):
        raise Refusal(400, "A commit begins with a header that has a summary.")
    message = " ".join(summary.split("\n")) + (f"\n\n{description}" if description else "")
    parent = str(header.get("parentCommit") or "") or None
    size += len(message.encode()) + size_of(message)  # of a new pull request it is the first comment, too
    told: dict[str, Any] = {"success": True}
    pull: Discussion | None
    with git.writing():  # a pull request must not be merged between the look at it and the commit
        if stranger:
            strangers.require_room(call, repo, size)  # another commit may have come first
        if call.flag("create_pr"):
            oid, pull = discussions.commit_to_new(
                call, repo, git, branch, parent, message, deletions, additions, waiting
            )
            told["pullRequestUrl"] = f"{call.address(repo)}/discussions/{pull.num}"
        else:
            pull = call.hub.discussions.open_for(repo, branch)
            if pull and stranger:
                strangers.require_own(call, repo, pull)
            oid = git.commit(branch, call.signed_in().name, message, deletions, additions, parent, blobs=waiting)
        if pull:
            call.hub.discussions.charge(pull, git.written if stranger else 0)
    return answer({**told, "commitOid": oid, "commitUrl": f"{call.address(repo)}/commit/{oid}"})


def _proposes(call: Call) -> bool:
    """Whether this is about a pull request, a new one or one that is there."""
    return call.flag("create_pr") or call.parameter("rev").startswith("refs/pr/")


def _operations(call: Call) -> Iterator[tuple[str, dict[str, Any]]]:
    while line := call.body.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE:
            raise Refusal(413, "A file is too large to stand in a commit: upload it as a large file.")
        if not line.strip():
            continue
        operation = parse_json(line, "A line of the commit")
        key, value = operation.get("key"), operation.get("value")
        if not isinstance(key, str) or not isinstance(value, dict):
            raise Refusal(400, "Each line of a commit needs a key and a value.")
        yield key, value


def _regular(value: dict[str, Any], path: str) -> Blob:
    content, encoding = value.get("content"), value.get("encoding", "base64")
    if encoding == "utf-8" and isinstance(content, str):
        return Blob.from_string(content.encode())
    if encoding != "base64":
        raise Refusal(400, f"{path}: encoding must be base64 or utf-8.")
    return Blob.from_string(_decoded(content, path))


def _pointer(call: Call, repo: Repo, value: dict[str, Any], path: str) -> Blob:
    oid = str(value.get("oid"))
    size = call.hub.catalog.large_file_size(repo, oid)
    if size is None or value.get("size", size) != size:
        raise Refusal(422, f"{path}: the large file {oid[:64]} has not been uploaded to {repo.id}.")
    return Blob.from_string(Pointer(oid, size).text())


def _require_card(repo: Repo, readme: bytes) -> None:
    """Refuse a README whose metadata is wrong, in the words of the clients, which ask before they commit."""
    try:
        cards.checked(repo.kind, readme)
    except cards.CardError as error:
        message = _told(error)
        raise Refusal(
            400, f"Invalid metadata in README.md.\n- {message}", body={"errors": [{"message": message}]}
        ) from error


def _decoded(text: Any, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError) as error:
        raise Refusal(400, f"{path}: content is not base64.") from error


ROUTES = [
    route("POST", "/api/validate-yaml", validate_yaml),
    route("POST", "/api/{kinds}/{repo}/preupload/{rev}", preupload),
    route("POST", "/api/{kinds}/{repo}/commit/{rev}", commit),
]
