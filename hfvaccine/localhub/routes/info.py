"""What there is: listings, repo info, trees, paths, history. Names and metadata only, never content."""

from html import escape
from typing import Any
from urllib.parse import parse_qs

from dulwich.objects import Commit
from starlette.responses import Response

from hfvaccine.localhub.cards import metadata as cards
from hfvaccine.localhub.data.catalog import Repo
from hfvaccine.localhub.refusal import Refusal
from hfvaccine.localhub.routes.call import Call, answer, metadata_at, route
from hfvaccine.localhub.store.repository import Entry, Repository, date_of, told_of

FIELDS = {
    "author cardData createdAt disabled downloads downloadsAllTime gated lastModified likes private resourceGroup sha"
    " siblings tags trendingScore usedStorage": ("model", "dataset", "space"),
    "baseModels childrenModelCount config evalResults gguf inference inferenceProviderMapping library_name mask_token"
    " model-index pipeline_tag safetensors spaces transformersInfo widgetData": ("model",),
    "citation description mainSize paperswithcode_id": ("dataset",),
    "datasets models region runtime sdk subdomain": ("space",),
}
SORTS = {"lastModified", "createdAt", "downloads", "likes", "trendingScore"}
SAFE = {"status": "unscanned", "avScan": {"virusFound": False}, "pickleImportScan": None}


def listing(call: Call) -> Response:
    """All repos of one kind that the caller may see, filtered and sorted."""
    query = call.request.query_params
    sort, limit = query.get("sort", "trendingScore"), query.get("limit", "1000")
    if sort not in SORTS or not limit.isdecimal() or int(limit[:9]) == 0:
        raise Refusal(400, f"sort must be one of {', '.join(sorted(SORTS))}, and limit a positive number.")
    full, expand = call.flag("full"), _expand(call)
    siblings = full or "siblings" in expand
    found = []
    for repo in call.visible(call.kind):
        with call.hub.open(repo) as git:
            info = _describe(call, repo, git, git.resolve("main"), siblings)
        if _matches(info, call):
            found.append(info)
    found.sort(key=lambda info: (info[sort], info["createdAt"]), reverse=True)
    shown, headers = call.page(found, min(int(limit[:9]), 1000))
    left_out = set() if full or call.flag("cardData") else {"cardData", "model-index"}
    return answer([_chosen(info, expand, left_out) for info in shown], headers=headers)


def _matches(info: dict[str, Any], call: Call) -> bool:
    query = call.request.query_params
    if (author := query.get("author")) and author.lower() != info["author"].lower():
        return False
    if (gated := query.get("gated")) and (gated.lower() == "true") != bool(info["gated"]):
        return False
    if (task := query.get("pipeline_tag")) and task != info.get("pipeline_tag"):
        return False
    if not all(word.lower() in info["id"].lower() for word in query.getlist("search")):
        return False
    wanted = [one for given in query.getlist("filter") for one in given.split(",")]
    return set(wanted) <= set(info["tags"])


def info(call: Call) -> Response:
    """One repo at `main` or at a revision."""
    expand = _expand(call)
    return answer(_chosen(_describe(call, *call.content("see"), blobs=call.flag("blobs")), expand, set()))


def _expand(call: Call) -> set[str]:
    expand = set(call.request.query_params.getlist("expand"))
    known = {name for names, kinds in FIELDS.items() if call.kind in kinds for name in names.split()}
    if unknown := expand - known:
        raise Refusal(400, f"expand: {', '.join(sorted(unknown))[:200]} is not one of {', '.join(sorted(known))}.")
    return expand


def _chosen(info: dict[str, Any], expand: set[str], left_out: set[str]) -> dict[str, Any]:
    chosen = expand | {"id", "_id"} if expand else info.keys() - left_out
    return {key: value for key, value in info.items() if key in chosen}


def _describe(
    call: Call, repo: Repo, git: Repository, commit: Commit, siblings: bool = True, blobs: bool = False
) -> dict[str, Any]:
    metadata = metadata_at(git, commit)
    described: dict[str, Any] = {
        "_id": repo.folder,
        "id": repo.id,
        "author": repo.namespace,
        "sha": commit.id.decode(),
        "lastModified": date_of(commit),
        "createdAt": repo.created_at,
        "private": repo.private,
        "gated": repo.gated or False,
        "disabled": False,
        "downloads": 0,
        "downloadsAllTime": 0,
        "likes": call.hub.likes.count(repo),
        "trendingScore": 0,
        "tags": cards.tags(repo.kind, metadata),
        "cardData": metadata,
        "usedStorage": call.hub.catalog.used_storage(repo),
    }
    if siblings:
        files = (entry for entry in git.entries(commit, recursive=True) if not entry.is_folder)
        described["siblings"] = [_sibling(entry, blobs) for entry in files]
    if repo.kind == "model":
        described["modelId"] = repo.id
        for field in ("library_name", "pipeline_tag"):
            if isinstance(metadata.get(field), str):
                described[field] = metadata[field]
        if "model-index" in metadata:
            described["model-index"] = metadata["model-index"]
    if repo.kind == "space":
        described["sdk"] = metadata.get("sdk")
    return described


def _sibling(entry: Entry, blobs: bool) -> dict[str, Any]:
    if not blobs:
        return {"rfilename": entry.path}
    return {"rfilename": entry.path, "size": entry.size, "blobId": entry.oid, **_lfs(entry, "sha256")}


def _lfs(entry: Entry, oid: str) -> dict[str, Any]:
    """What is told of a large file; `oid` is the name that its hash goes by there."""
    if not entry.large:
        return {}
    return {"lfs": {oid: entry.large.oid, "size": entry.large.size, "pointerSize": len(entry.large.text())}}


def tree(call: Call) -> Response:
    """What a folder holds."""
    _, git, commit = call.content("see")
    folder = call.parameter("path").strip("/")
    entries, headers = call.page(list(git.entries(commit, folder, call.flag("recursive"))))
    return answer(_listed(call, git, commit, entries, call.flag("expand")), headers=headers)


def paths_info(call: Call) -> Response:
    """The files and folders asked for; what is not there is left out."""
    form = parse_qs(call.read().decode(errors="replace"), keep_blank_values=True)
    _, git, commit = call.content("see")
    found = [git.entry(commit, path.strip("/")) for path in form.get("paths", []) if path.strip("/")]
    expand = form.get("expand", ["false"])[0].lower() == "true"
    listed = _listed(call, git, commit, [entry for entry in found if entry], expand)
    for item in listed if not expand else ():
        if "lfs" in item:
            # Clients copy no large file between repos without this, also none that came by git-lfs and has no hash of
            # Xet's. What goes by those when it downloads asks for a listing, or to expand.
            item.setdefault("xetHash", f"sha256:{item['lfs']['oid']}")
    return answer(listed)


def _listed(call: Call, git: Repository, commit: Any, entries: list[Entry], expand: bool) -> list[dict[str, Any]]:
    xet_hashes = call.hub.catalog.xet_hashes(entry.large.oid for entry in entries if entry.large)
    last = git.last_commits(commit, [entry.path for entry in entries]) if expand else {}
    listed = []
    for entry in entries:
        kind = "directory" if entry.is_folder else "file"
        item: dict[str, Any] = {"type": kind, "oid": entry.oid, "size": entry.size, "path": entry.path}
        item |= _lfs(entry, "oid")
        if entry.large and entry.large.oid in xet_hashes:
            item["xetHash"] = xet_hashes[entry.large.oid]
        if changed := last.get(entry.path):
            item["lastCommit"] = {name: told_of(changed)[name] for name in ("id", "title", "date")}
            if not entry.is_folder:
                item["securityFileStatus"] = SAFE
        listed.append(item)
    return listed


def commits(call: Call) -> Response:
    """The history of a revision, newest first."""
    _, git, start = call.content("see")
    history, headers = call.page(list(git.history(start)), 50)
    listed = []
    for commit in history:
        item: dict[str, Any] = told_of(commit)
        item["authors"] = [{"user": item.pop("author")}]
        if "formatted" in call.request.query_params.getlist("expand[]"):
            item["formatted"] = {name: escape(item[name]) for name in ("title", "message")}
        listed.append(item)
    return answer(listed, headers=headers)


ROUTES = [
    route("GET", "/api/{kinds}", listing),
    route("GET", "/api/{kinds}/{repo}", info),
    route("GET", "/api/{kinds}/{repo}/revision/{rev}", info),
    route("GET", "/api/{kinds}/{repo}/tree/{rev}", tree),
    route("GET", "/api/{kinds}/{repo}/tree/{rev}/{path:path}", tree),
    route("POST", "/api/{kinds}/{repo}/paths-info/{rev}", paths_info),
    route("GET", "/api/{kinds}/{repo}/commits/{rev}", commits),
]
