"""All that talks to a Hub, real or embedded: publish a dose or an adapter, ask for a dose, fetch it.

Endpoint and token are those of huggingface_hub (`HF_ENDPOINT`, `hf auth login`) unless given.
"""

from __future__ import annotations

import copy
import fnmatch
import hashlib
import io
import json
import logging
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError
from huggingface_hub.utils import get_session, hf_raise_for_status

from hfvaccine.cards import adapter_card, is_hub_id
from hfvaccine.errors import DoseError, HfvaccineError, HubError, PublishError, UsageError
from hfvaccine.files import ADAPTER, ADAPTER_CONFIG, CARD, CONFIG, LEDGER, RECORD, RESULTS, SCORES, whole_folder
from hfvaccine.hub_errors import LOG_IN, as_hub_error, page_of, require_repo_id
from hfvaccine.quarantine.dose import MANIFEST, Dose

ADAPTER_NEEDS = (ADAPTER_CONFIG, ADAPTER, RECORD, RESULTS, LEDGER, CONFIG)
"""Files without which a run folder is not published."""

ADAPTER_FILES = (
    *ADAPTER_NEEDS,
    SCORES,
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("chat_template.jinja", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model"),
    *("figures/*.png", "figures/*.svg"),
)
"""The only files of a run folder that are ever published, besides the card."""

DOSE_FILES = (CARD, MANIFEST, "data/*", "governance/*", "figures/*")
"""What a push of a dose may write and a pull fetches; what is really in a dose is said by its manifest."""

OWN_OPTIONS = ("base_id", "output_dir", "push_to", "publish_failed")
"""Options of a run that mean something only where it ran, left out of the published `config.yaml`."""

SECRETS = (
    ("a Hub token", re.compile(rb"\bhfv?_[A-Za-z0-9]{30,}")),
    ("a private key", re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")),
    ("a GitHub token", re.compile(rb"\bgh[opsu]_[A-Za-z0-9]{36,}")),
    ("an AWS key", re.compile(rb"\bAKIA[0-9A-Z]{16}\b")),
    (
        "a path in somebody's home folder",
        re.compile(rb"(?<![\w.])(?:/home/|/Users/|/root/|[A-Za-z]:\\{1,2}Users\\{1,2})[\w.-]+"),
    ),
)


@dataclass(frozen=True)
class Pushed:
    """Where something was published.

    Args:
        url: the page of the repo.
        repo_id: the repo.
        revision: the commit that holds it.
        tag: the tag of that commit, "v1", "v2" and so on, for a dose.
    """

    url: str
    repo_id: str
    revision: str
    tag: str | None = None


def push_dose(
    folder: Path | str,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Pushed:
    """Publish a sealed dose, byte for byte, as a gated dataset repo: one commit and its tag.

    A new repo is created private, gated, filled, and only then opened, so that nobody can ever
    read it ungated; an existing one is gated before anything is committed to it. Each commit that
    changes the dose gets the next tag: v1, v2 and so on.

    Args:
        folder: the sealed dose.
        repo_id: `namespace/name` of the dataset repo, made if it is not there.
        private: keep the repo private; otherwise everybody sees its card and, once accepted, its data.
        token: Hub token, by default the one huggingface_hub finds.
        endpoint: the Hub, by default the one huggingface_hub talks to.
        progress: told what is about to be done, one line at a time.

    Returns:
        Where the dose is now. Pushing an unchanged dose again makes no commit and no tag, unless
        a push before it ended between the two: then the tag is made.

    Raises:
        DoseError: where the folder is not the dose that was sealed.
        PublishError: where the dose expired, the repo holds something else, or a file a secret.
        HubError: where the Hub refuses or cannot be reached. A repo made by this call is then gone again, or
            holds the whole dose, still private, and the next push does what is missing.
    """
    require_repo_id(repo_id)
    dose = Dose.load(folder)
    gating = dose.policy.get("gating")
    if gating not in ("manual", "auto"):
        raise PublishError(
            f"The policy's gating is {gating!r}.", "Seal the dose with 'manual' or 'auto': a dose is always gated."
        )
    _refuse_expired(dose)
    files = {name: (Path(folder) / name).read_bytes() for name in (*dose.manifest["files"], MANIFEST)}
    meant = dose.policy.get("repo_id")
    if progress and meant and meant != repo_id:
        progress(f"Note: the card of this dose was sealed for {meant} and names that repo, not {repo_id}")
    repo = _Repo(HfApi(endpoint=endpoint, token=token), repo_id, "dataset", progress)
    return repo.publish(
        files,
        ours=DOSE_FILES,
        marker=MANIFEST,
        message=f"Publish {dose.name}",
        private=private,
        gating=gating,
        versions=True,
    )


def push_adapter(
    run_dir: Path | str,
    repo_id: str,
    *,
    base_id: str | None = None,
    dose_id: str | None = None,
    license: str | None = None,
    private: bool = False,
    publish_failed: bool = False,
    token: str | None = None,
    endpoint: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Pushed:
    """Publish the adapter of a finished run with its record, results and card, in one commit.

    Args:
        run_dir: the run folder.
        repo_id: `namespace/name` of the model repo, made if it is not there.
        base_id: Hub id of the base, where the run was given a folder or a file.
        dose_id: Hub id of the dose, where the run was given a folder.
        license: Hub license id of the adapter.
        private: make the repo private; otherwise a new one is public and an old one stays as it is.
        publish_failed: publish an adapter that failed its gate; its card says so first.
        token: Hub token, by default the one huggingface_hub finds.
        endpoint: the Hub, by default the one huggingface_hub talks to.
        progress: told what is about to be done, one line at a time.

    Returns:
        Where the adapter is now. Pushing an unchanged run again makes no commit.

    Raises:
        PublishError: where the run is unfinished, failed its gate, names its base by a local path,
            or would publish a secret; or where the repo holds something else.
        HubError: where the Hub refuses or cannot be reached; a repo made by this call is gone again.
    """
    require_repo_id(repo_id)
    api = HfApi(endpoint=endpoint, token=token)
    files = _adapter_files(Path(run_dir), base_id, dose_id)
    record, results = json.loads(files[RECORD]), json.loads(files[RESULTS])
    _require_gate(record, results, publish_failed)
    files[CARD] = adapter_card.render(record, results, repo_id, license, api.endpoint).encode()
    message = f"Publish an adapter whose gate is {record['gate']['verdict']}"
    repo = _Repo(api, repo_id, "model", progress)
    return repo.publish(files, ours=ADAPTER_FILES, marker=RECORD, message=message, private=private)


def pull_dose(
    repo_id: str,
    *,
    revision: str | None = None,
    local_dir: Path | str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> Dose:
    """Fetch a dose into the Hub cache, prove every file of it, and copy it where it is wanted.

    Args:
        repo_id: its dataset repo.
        revision: branch, tag or commit; the newest by default.
        local_dir: folder to copy it to, whole or not at all; a dose that is there already stays if it
            is the same one. By default it is left in the cache.
        token: Hub token, by default the one huggingface_hub finds.
        endpoint: the Hub, by default the one huggingface_hub talks to.

    Returns:
        The dose, with `source` and `revision` (always a commit) saying where it came from.

    Raises:
        HubError: without access, naming where to ask for it, or where the Hub cannot be reached.
        DoseError: where the repo does not hold a dose as it was sealed, or `local_dir` holds anything else.
    """
    require_repo_id(repo_id)
    api = HfApi(endpoint=endpoint, token=token)
    with as_hub_error(api, repo_id, "dataset"):
        cached = api.snapshot_download(
            repo_id, repo_type="dataset", revision=revision, allow_patterns=list(DOSE_FILES)
        )
    folder = Path(cached)
    if not (folder / MANIFEST).is_file():
        raise DoseError(
            f"{repo_id} has no {MANIFEST}, so it holds no dose.", f"See {page_of(api, repo_id, 'dataset')}."
        )
    dose = replace(Dose.load(folder), source=repo_id, revision=folder.name)
    return dose if local_dir is None else _copied(dose, Path(local_dir))


def _copied(dose: Dose, into: Path) -> Dose:
    """The dose in a folder of its own: made beside it and moved there at the end."""
    if into.exists() and not (into.is_dir() and not any(into.iterdir())):
        try:
            there = Dose.load(into)
        except HfvaccineError as error:
            raise DoseError(
                f"{into} exists and is not this dose: {error.message}", "Choose a folder that is not there yet."
            ) from error
        if there.digest() != dose.digest():
            raise DoseError(
                f"{into} holds another dose, {there.name!r} or another version of this one.",
                "Choose a folder that is not there yet: a dose is never overwritten.",
            )
        return replace(there, source=dose.source, revision=dose.revision)
    cached = dose.path
    assert cached is not None  # it was loaded from there
    with whole_folder(into) as staging:
        for name in (*dose.manifest["files"], MANIFEST):
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(cached / name, staging / name)
        copied = Dose.load(staging)
        staging.chmod(0o755)
    return replace(copied, path=into, source=dose.source, revision=dose.revision)


def account(*, token: str | None = None, endpoint: str | None = None) -> str:
    """The name of the account behind a token.

    Args:
        token: Hub token, by default the one huggingface_hub finds.
        endpoint: the Hub, by default the one huggingface_hub talks to.

    Raises:
        HubError: without a token, or where the Hub cannot be reached.
    """
    api = HfApi(endpoint=endpoint, token=token)
    with as_hub_error(api, "", "dataset"):
        return str(api.whoami()["name"])


def check_write(repo_id: str, *, token: str | None = None, endpoint: str | None = None) -> None:
    """Refuse a repo that this account cannot write to, before any work is done for it.

    Args:
        repo_id: `namespace/name` of the repo to be.
        token: Hub token, by default the one huggingface_hub finds.
        endpoint: the Hub, by default the one huggingface_hub talks to.

    Raises:
        HubError: without a token, with one that only reads, or for a namespace that is not the account's.
    """
    require_repo_id(repo_id)
    api = HfApi(endpoint=endpoint, token=token)
    with as_hub_error(api, repo_id, "model"):
        me = api.whoami()
    namespace = repo_id.split("/")[0]
    own = {str(me["name"]).lower(), *(str(org["name"]).lower() for org in me.get("orgs", ()))}
    if namespace.lower() not in own:
        raise HubError(
            f"The account {me['name']} has no namespace {namespace!r} to push {repo_id} to.",
            f"Push to {me['name']}/{repo_id.split('/')[1]}, or log in as somebody else with `hf auth login`.",
        )
    if me.get("auth", {}).get("accessToken", {}).get("role") == "read":
        raise HubError("This token may only read.", LOG_IN)


def read_record(adapter: str) -> dict[str, Any]:
    """The immunization.json of a run folder or of an adapter on the Hub.

    Args:
        adapter: folder or Hub id.

    Raises:
        HubError: where the repo cannot be had.
        PublishError: where it holds no immunization record.
    """
    if Path(adapter).is_dir():
        folder = Path(adapter)
    else:
        require_repo_id(adapter)
        api = HfApi()
        with as_hub_error(api, adapter, "model"):
            folder = Path(api.snapshot_download(adapter, allow_patterns=RECORD))
    if not (folder / RECORD).is_file():
        raise PublishError(f"{adapter} has no {RECORD}: hfvaccine did not make it.", "Give an immunized adapter.")
    return _json_object({RECORD: (folder / RECORD).read_bytes()}, RECORD)


def ask_access(
    repo_id: str, fields: Mapping[str, Any], *, token: str | None = None, endpoint: str | None = None
) -> str:
    """Ask for access to a gated dose on an embedded Hub; the real Hub only has a page for it.

    Args:
        repo_id: the dataset repo.
        fields: what its access form asks for.
        token: Hub token of who asks.
        endpoint: the Hub, by default the one huggingface_hub talks to.

    Returns:
        "accepted" or "pending".

    Raises:
        HubError: where access can only be asked for in a browser, naming the page, or the Hub refuses.
    """
    require_repo_id(repo_id)
    api = HfApi(endpoint=endpoint, token=token)
    page = page_of(api, repo_id, "dataset")
    with as_hub_error(api, repo_id, "dataset"):
        response = get_session().post(
            f"{api.endpoint}/api/datasets/{repo_id}/ask-access", headers=api._build_hf_headers(), json=dict(fields)
        )
        try:
            hf_raise_for_status(response)
        except RepositoryNotFoundError:
            raise
        except HfHubHTTPError as error:
            if response.status_code not in (404, 405):
                raise
            raise HubError(
                f"{api.endpoint} takes requests for access in a browser only.", f"Ask at {page} while logged in."
            ) from error
        return str(response.json()["status"])


class _Repo:
    """The repo of one push."""

    def __init__(self, api: HfApi, repo_id: str, kind: str, progress: Callable[[str], None] | None) -> None:
        self.api = api
        self.id = repo_id
        self.kind = kind
        self.say = progress or (lambda line: None)

    def publish(
        self,
        files: Mapping[str, bytes],
        *,
        ours: tuple[str, ...],
        marker: str,
        message: str,
        private: bool,
        gating: Any = None,
        versions: bool = False,
    ) -> Pushed:
        """Put exactly these files into the repo in one commit, making the repo if need be.

        Args:
            files: content by path.
            ours: patterns of what a push may write; what else matches them in the repo is of an
                earlier push and goes in the same commit.
            marker: the file that says that an existing repo is of our kind.
            message: of the commit.
            private: whether the repo is to be private.
            gating: "manual" or "auto" for a gated repo.
            versions: whether each commit gets the next tag.
        """
        _refuse_secrets(files)
        with as_hub_error(self.api, self.id, self.kind):
            there = self._info()
            if there is not None:
                self._require_ours(there, marker)
        made = False
        try:
            with as_hub_error(self.api, self.id, self.kind):
                if there is None:
                    self.say(f"Creating {self.id}, private until it is complete")
                    self.api.create_repo(self.id, repo_type=self.kind, private=True)
                    made = True
                gate_it = gating and (there is None or there.gated != gating)
                hide_it = private and there is not None and not there.private
                if gate_it or hide_it:
                    self.say(f"Gating {self.id} ({gating})" if gate_it else f"Making {self.id} private")
                    self._settle(gated=gating, private=True if hide_it else None)
                if gate_it and not self.api.repo_info(self.id, repo_type=self.kind).gated:
                    raise HubError(
                        f"{self.api.endpoint} did not gate {self.id}, so nothing was published.",
                        "Use a Hub and an account that can gate datasets.",
                    )
                self.say(f"Committing {len(files)} files")
                stale = self._of_earlier_push(there, ours) - set(files)
                revision = self._commit(files, stale, message, parent=there.sha if there else None)
        except BaseException as error:
            if made:
                self._undo(error)
            raise
        if there is not None and revision == there.sha:
            self.say("Nothing had changed since the last push, so there is no new commit")
        tag = self._tag(revision) if versions else None
        # A gate keeps the data closed whoever sees the page; opening an old adapter repo is its owner's decision.
        if not private and (there is None or (gating and there.private)):
            self.say(f"Opening {self.id}")
            try:
                with as_hub_error(self.api, self.id, self.kind):
                    self._settle(gated=gating, private=False)
            except HubError as error:
                raise HubError(
                    f"{self.id} is complete but still private: {error.message}",
                    f"Open it with `hf repos settings {self.id} --type {self.kind} --public`.",
                ) from error
        return Pushed(page_of(self.api, self.id, self.kind), self.id, revision, tag)

    def _info(self) -> Any:
        try:
            return self.api.repo_info(self.id, repo_type=self.kind)
        except GatedRepoError:
            raise
        except RepositoryNotFoundError:
            return None

    def _require_ours(self, there: Any, marker: str) -> None:
        names = {file.rfilename for file in there.siblings or []}
        if marker not in names and names - {".gitattributes", CARD, "LICENSE"}:
            raise PublishError(
                f"{self.id} exists and holds something else: it has no {marker}.", "Choose another repo name."
            )

    def _of_earlier_push(self, there: Any, ours: tuple[str, ...]) -> set[str]:
        names = {file.rfilename for file in there.siblings or []} if there else set()
        return {name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in ours)}

    def _settle(self, gated: Any, private: bool | None) -> None:
        self.api.update_repo_settings(self.id, repo_type=self.kind, gated=gated, private=private)

    def _commit(self, files: Mapping[str, bytes], stale: set[str], message: str, parent: str | None) -> str:
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            # File objects go through plain LFS, which every Hub takes; bytes would go through Xet alone.
            *(CommitOperationAdd(name, io.BytesIO(content)) for name, content in sorted(files.items())),
            *(CommitOperationDelete(name) for name in sorted(stale)),
        ]
        with warnings.catch_warnings(), _quiet():
            # The ledger is a parquet file in a model repo, and it belongs there.
            warnings.filterwarnings("ignore", message="It seems that you are about to commit a data file")
            commit = self.api.create_commit(
                self.id, operations, repo_type=self.kind, commit_message=message, parent_commit=parent
            )
        return str(commit.oid)

    def _tag(self, revision: str) -> str:
        """The newest version tag of a commit, made if it has none."""
        try:
            with as_hub_error(self.api, self.id, self.kind):
                versions = {
                    int(tag.name[1:]): tag.target_commit
                    for tag in self.api.list_repo_refs(self.id, repo_type=self.kind).tags
                    if re.fullmatch(r"v[1-9]\d*", tag.name)
                }
                of_commit = [number for number, target in versions.items() if target == revision]
                if of_commit:
                    return f"v{max(of_commit)}"
                tag = f"v{max(versions, default=0) + 1}"
                self.say(f"Tagging it {tag}")
                self.api.create_tag(self.id, tag=tag, revision=revision, repo_type=self.kind)
                return tag
        except HubError as error:
            raise HubError(
                f"{self.id} holds the dose at commit {revision}, but has no tag for it: {error.message}",
                "Push again: that does only what is still missing.",
            ) from error

    def _undo(self, error: BaseException) -> None:
        try:
            self.api.delete_repo(self.id, repo_type=self.kind, missing_ok=True)
        except Exception:
            if isinstance(error, HfvaccineError):
                error.next_step += (
                    f" An empty private repo was left behind: `hf repos delete {self.id} --type {self.kind}`."
                )


def _adapter_files(run: Path, base_id: str | None, dose_id: str | None) -> dict[str, bytes]:
    """What is to be published of a run folder: listed files only, local paths replaced by Hub ids."""
    if not run.is_dir():
        raise PublishError(f"No run folder at {run}.", "Give the --output-dir of a finished run.")
    files = {
        path.relative_to(run).as_posix(): path.read_bytes()
        for pattern in ADAPTER_FILES
        for path in sorted(run.glob(pattern))
        if path.is_file()
    }
    for name in ADAPTER_NEEDS:
        if name not in files:
            step = "Run `hfvaccine validate` on it first." if name == RESULTS else "Finish the run first (--resume)."
            raise PublishError(f"{run} has no {name}.", step)
    record = _json_object(files, RECORD)
    _json_object(files, RESULTS)
    bound = record.get("results_sha256")
    if bound and bound != hashlib.sha256(files[RESULTS]).hexdigest():
        raise PublishError(
            f"{RESULTS} is not the file that {RECORD} names by its hash.", "Run `hfvaccine validate` again."
        )
    options = _options(files)
    public = _with_public_ids(record, options, base_id, dose_id)
    if public != record:
        files[RECORD] = _json_bytes(public)
    adapter = _json_object(files, ADAPTER_CONFIG)
    if adapter.get("base_model_name_or_path") != public["base"]["id"]:
        files[ADAPTER_CONFIG] = _json_bytes({**adapter, "base_model_name_or_path": public["base"]["id"]})
    files[CONFIG] = _public_config(options, public)
    return files


def _with_public_ids(
    record: Mapping[str, Any], options: Mapping[str, Any], base_id: str | None, dose_id: str | None
) -> dict[str, Any]:
    """The record with names that mean something elsewhere in place of paths."""
    for given, what in ((base_id, "base"), (dose_id, "dose")):
        if given is not None and not is_hub_id(given, namespace_needed=what == "dose"):
            raise UsageError(f"{given!r} is not a Hub id.", f"Give the {what} as `namespace/name`.")
    try:
        public = copy.deepcopy(dict(record))
        base, dose, mix = public["base"], public["dose"], public["mix"]
        # Local weights under the very name the run was given: that name is a path, whatever it looks like.
        local = bool(base["weights_sha256"]) and base["id"] == options.get("base")
        if base_id is None and (local or not is_hub_id(base["id"], namespace_needed=False)):
            raise PublishError(
                f"The base {base['id']!r} is not a Hub id, so nobody else could load the adapter.",
                "Give the base's Hub id with --base-id.",
            )
        base["id"] = base_id or base["id"]
        for part in (dose, mix):
            if not part.get("revision"):  # what came from a Hub has one
                part["id"] = Path(part["id"]).name
        dose["id"] = dose_id or dose["id"]
    except (KeyError, TypeError) as error:
        raise PublishError(f"{RECORD} is malformed: {error!r}.", "Run the immunization again.") from error
    return public


def _options(files: Mapping[str, bytes]) -> dict[str, Any]:
    import yaml

    try:
        options = yaml.safe_load(files[CONFIG])
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PublishError(f"{CONFIG} is not YAML: {error}.", "Run the immunization again.") from error
    if not isinstance(options, dict):
        raise PublishError(f"{CONFIG} holds no options.", "Run the immunization again.")
    return options


def _public_config(options: Mapping[str, Any], record: Mapping[str, Any]) -> bytes:
    """The options of the run as somebody else can use them."""
    import yaml

    public = {name: _without_folders(value) for name, value in options.items() if name not in OWN_OPTIONS}
    public.update({name: record[name]["id"] for name in ("base", "dose", "mix") if public.get(name)})
    return yaml.safe_dump(public, sort_keys=False, allow_unicode=True).encode()


def _without_folders(value: Any) -> Any:
    """A file, also in NAME=FILE and in lists, by its last name: the folders of a machine are nobody's business."""
    if isinstance(value, list):
        return [_without_folders(entry) for entry in value]
    if isinstance(value, str):
        name, sign, file = value.rpartition("=")
        if Path(file).is_file():
            return name + sign + Path(file).name
    return value


def _require_gate(record: Mapping[str, Any], results: Mapping[str, Any], publish_failed: bool) -> None:
    gate = record.get("gate")
    if not gate:
        raise PublishError("This adapter was never validated.", "Run `hfvaccine validate` on the run folder first.")
    verdict = gate.get("verdict")
    if verdict not in ("passed", "failed", "undecided") or (results.get("gate") or {}).get("verdict") != verdict:
        raise PublishError(
            f"{RECORD} and {RESULTS} do not agree on the gate's verdict.", "Run `hfvaccine validate` again."
        )
    if verdict == "failed" and not publish_failed:
        failed = ", ".join(c["name"] for c in gate.get("criteria", []) if c.get("verdict") == "failed")
        raise PublishError(
            f"This adapter failed its gate ({failed or 'no criterion named'}).",
            "Give --publish-failed to publish it all the same; its card will say FAILED first.",
        )


def _refuse_secrets(files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        for what, pattern in SECRETS:
            found = pattern.search(content)
            if found:
                line = content.count(b"\n", 0, found.start()) + 1
                raise PublishError(
                    f"{name}, line {line}, holds {what}, so nothing was published.", "Take it out, then push again."
                )


def _refuse_expired(dose: Dose) -> None:
    expires_on = dose.policy.get("expires_on")
    if expires_on and str(expires_on) <= datetime.now(UTC).date().isoformat():
        raise PublishError(
            f"{dose.name} expired on {expires_on}.", "Check its facts again, then seal it with a later date."
        )


def _json_object(files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        value = json.loads(files[name])
    except ValueError as error:
        raise PublishError(f"{name} is not JSON: {error}.", "Run the immunization or the validation again.") from error
    if not isinstance(value, dict):
        raise PublishError(f"{name} is not a JSON object.", "Run the immunization or the validation again.")
    return value


def _json_bytes(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the client's warnings that file objects skip Xet and that an unchanged push makes no commit."""
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
