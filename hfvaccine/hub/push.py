"""Publish a dose or an adapter on a Hub, real or embedded.

Endpoint and token are those of huggingface_hub (`HF_ENDPOINT`, `hf auth login`) unless given.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi
from huggingface_hub.errors import EntryNotFoundError, HTTPError, RepositoryNotFoundError

from hfvaccine.claims.dose import DOSE_FILES, MANIFEST, Dose, dump, proved_recalls, read_journal
from hfvaccine.errors import DoseError, HubError, ModelError, PublishError, UsageError
from hfvaccine.files import ADAPTER_CONFIG, RECALLS, RECORD, SIGNATURE, VEX, digest_of
from hfvaccine.hub.adapter_files import adapter_files, refuse_expired
from hfvaccine.hub.content import Content, read, sha256_of
from hfvaccine.hub.errors import as_hub_error, require_repo_id
from hfvaccine.hub.leaks import refuse_leaks
from hfvaccine.hub.pull import newest_recalls
from hfvaccine.hub.repo import VERSION_TAG, Pushed, Repo
from hfvaccine.hub.signature import APART, Signer, covered, digests
from hfvaccine.papers.arms import TREATED, is_control
from hfvaccine.papers.binding import read_json, read_record, recorded_doses
from hfvaccine.papers.kind import INOCULATED, kind_in, kind_of
from hfvaccine.sources.license import card_of
from hfvaccine.text import is_hub_id


def push_dose(
    folder: Path | str,
    repo_id: str,
    *,
    private: bool = False,
    sign: Signer | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Pushed:
    """Publish a sealed dose, byte for byte, as a gated dataset repo: one commit and its tag.

    A new repo is created private, gated, filled, and only then opened, so that nobody can ever
    read it ungated; an existing one is gated before anything is committed to it. The commit is fetched
    again into an empty cache and found to be what was sent before it can be read, see `Repo.publish`. Each
    commit that changes the dose gets the next tag: v1, v2 and so on.

    Recalls in the repo stay where they are, and those of the folder go on with them.

    Args:
        folder: the sealed dose.
        repo_id: `namespace/name` of the dataset repo, made if it is not there.
        private: keep the repo private; otherwise everybody sees its card and, once accepted, its data.
        sign: who signs it; None for nobody, and then a signature in the repo stays only if it is of just these files.
        token: Hub token, by default the one huggingface_hub finds.
        endpoint: the Hub, by default the one huggingface_hub talks to.
        progress: told what is about to be done, one line at a time.

    Returns:
        Where the dose is now. Pushing an unchanged dose again makes no commit and no tag, unless
        a push before it ended between the two: then the tag is made.

    Raises:
        DoseError: where the folder is not the dose that was sealed.
        PublishError: where the dose expired, the repo holds something else or recalls that do not go on with the
            journal of this dose, or a file a secret.
        SignatureError: where Sigstore did not sign; nothing was sent then.
        HubError: where the Hub refuses or cannot be reached, or what it holds is not what was sent. A repo made by
            this call is then gone again, or holds the whole dose, still private, and the next push does what is
            missing.
    """
    require_repo_id(repo_id)
    dose = Dose.load(folder)
    gating = dose.policy.get("gating")
    if gating not in ("manual", "auto"):
        raise PublishError(
            f"The policy's gating is {gating!r}.", "Seal the dose with 'manual' or 'auto': a dose is always gated."
        )
    refuse_expired(dose)
    proved = {**dose.manifest["files"], MANIFEST: digest_of(dump(dose.manifest).encode())}
    files: dict[str, Content] = {name: read(Path(folder) / name) for name in proved}
    for name, digest in proved.items():
        if sha256_of(files[name]) != digest:
            raise DoseError(f"{name} in {folder} was changed just now.", "Push again once nothing writes there.")
    api = HfApi(endpoint=endpoint, token=token)
    files |= _recalls(api, repo_id, dose)
    refuse_leaks(files, [Path(folder).resolve()])
    meant = dose.policy.get("repo_id")
    if progress and meant and meant != repo_id:
        progress(f"Note: the card of this dose was sealed for {meant} and names that repo, not {repo_id}")
    repo = Repo(api, repo_id, "dataset", progress)
    told: dict[str, Any] = {"ours": (*DOSE_FILES, SIGNATURE), "marker": MANIFEST, "message": f"Publish {dose.name}"}
    files = _signed(repo, files, sign, **told)
    return repo.publish(files, private=private, gating=gating, check=lambda fetched: None, **told)


def _signed(
    repo: Repo,
    files: Mapping[str, Content],
    signer: Signer | None,
    *,
    ours: tuple[str, ...],
    marker: str,
    message: str,
) -> dict[str, Content]:
    """The files and their signature, if there is to be one: that which is there already, or a new one.

    Args:
        repo: where they go.
        files: content by path.
        signer: who signs them; None for nobody.
        ours, marker, message: as in `Repo.publish`.

    Raises:
        PublishError: where the repo holds a file that nobody here has seen: a signature is over all files.
    """
    if signer is None:
        there = next(repo.held(SIGNATURE), None)
        if there is None:
            return dict(files)
        if {name: one for name, one in (covered(there) or {}).items() if name not in LEGAL} == digests(files):
            return {**files, SIGNATURE: there}
        repo.say(f"Note: {SIGNATURE} in {repo.id} is not of these files, and goes; --sign makes another")
        return dict(files)
    beside = repo.others(ours, marker) - {*APART, ".gitattributes"}
    if unseen := sorted(beside - set(LEGAL)):
        raise PublishError(
            f"{repo.id} holds {', '.join(unseen)}, which this push does not write; a signature is over every file.",
            "Delete it there, choose another repo, or push without --sign.",
        )
    whole = {**files, **{name: content for name in sorted(beside) for content in islice(repo.held(name), 1)}}
    # Each signature of a key is another one: what was signed already is kept, so that pushing again changes nothing.
    for there in repo.held(SIGNATURE, message):
        if signer.made(there, whole):
            return {**files, SIGNATURE: there}
    as_there = f", {' and '.join(sorted(beside))} as the repo has it" if beside else ""
    repo.say(f"Signing {len(digests(whole))} files with {signer.name}{as_there}")
    return {**files, SIGNATURE: signer.sign(whole, repo.id)}


LEGAL = ("LICENSE", "NOTICE")
"""What a publisher may put beside, and a signature takes in as it is there."""


def _recalls(api: HfApi, repo_id: str, dose: Dose) -> dict[str, Content]:
    """The recalls of a dose's folder, where the repo does not hold them yet.

    Raises:
        PublishError: where those of the repo are of another dose, or would be lost.
    """
    assert dose.path is not None  # it was loaded from there
    try:
        with as_hub_error(api, repo_id, "dataset"):
            content = newest_recalls(api, repo_id, "dataset")
    except HubError as error:
        if not isinstance(error.__cause__, RepositoryNotFoundError):
            raise
        content = None
    there = proved_recalls(content, repo_id) if content is not None else ()
    if there and there[0].before not in {entry.hash() for entry in read_journal(dose.path)}:
        raise PublishError(
            f"{repo_id} holds recalls that do not go on with the journal of this dose: it is another one.",
            "Seal it from the quarantine that the dose there was sealed from, or choose another repo.",
        )
    both = min(len(there), len(dose.recalls))
    if there[:both] != dose.recalls[:both]:
        raise PublishError(
            f"The recalls in {repo_id} and in {dose.path} went apart.",
            f"Take {RECALLS} from the repo into the folder, and say again what was said in the folder alone.",
        )
    if len(dose.recalls) <= len(there):
        return {}
    return {name: (dose.path / name).read_bytes() for name in (RECALLS, VEX) if (dose.path / name).is_file()}


def push_adapter(
    run_dir: Path | str,
    repo_id: str,
    *,
    base_id: str | None = None,
    dose_id: str | Sequence[str] = (),
    license: str | None = None,
    private: bool = False,
    publish_failed: bool = False,
    create_pr: bool = False,
    sign: Signer | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> Pushed:
    """Publish the adapter of a finished run, or a merged model, with its papers and a fresh card: one tagged commit.

    Of an inoculation that is the adapter which was trained against the trait; `push_arms` publishes its controls, too.

    The commit is fetched again into an empty cache, found to be what was sent, and seen to fit its base
    before it can be read on `main`, see `Repo.publish`. Each commit that changes the adapter gets the next
    tag: v1, v2 and so on. Recall notices in the repo stay where they are.

    Args:
        run_dir: the run folder, that of one adapter of an inoculation, or what `hfvaccine merge` wrote.
        repo_id: `namespace/name` of the model repo, made if it is not there.
        base_id: Hub id of the base, where the run was given a folder or a file.
        dose_id: Hub id of the dose, where the run was given a folder; pinned to its first version that is that dose.
            Of several doses also several ids, in any order; a dose that none of them has keeps its folder's name.
        license: Hub license id of the adapter; else that of the version before, and of an inoculated one that of its
            base, where the Hub tells it.
        private: make the repo private; otherwise a new one is public and an old one stays as it is.
        publish_failed: publish an adapter that failed its gate; its card says so first.
        create_pr: open a pull request with that commit instead: no tag, and nobody sees more or less than before.
        sign: who signs it; None for nobody, and then a signature in the repo stays only if it is of just these files.
        token: Hub token, by default the one huggingface_hub finds.
        endpoint: the Hub, by default the one huggingface_hub talks to.
        progress: told what is about to be done, one line at a time.

    Returns:
        Where the adapter is now. Pushing an unchanged run again makes no commit, no tag and no pull
        request, unless a push before it was cut off: then what is missing is done.

    Raises:
        LineageError: where the run is unfinished, or its files are not those that its record binds.
        PublishError: where it failed its gate, names its base by a local path or its dose by the repo of another,
            or would publish a secret; or where the repo holds something else.
        SignatureError: where Sigstore did not sign; nothing was sent then.
        HubError: where the Hub refuses or cannot be reached, or what it holds is not what was sent. A repo made
            by this call is then gone again, or holds the whole adapter, still private.
    """
    require_repo_id(repo_id)
    if create_pr and private:
        raise UsageError("A pull request cannot make the repo private.", "Leave out either --create-pr or --private.")
    api, run = HfApi(endpoint=endpoint, token=token), chosen(Path(run_dir))
    say = progress or (lambda line: None)
    repos = {}
    license = license or _license_in(api, repo_id)
    if kind_in(run) is INOCULATED:
        repos[read_record(run, INOCULATED)["adapter"].get("name")] = repo_id
        if dose_id:
            raise UsageError("An inoculation has no dose.", "Leave out --dose-id.")
        license = license or _license_of(api, run, base_id)
    files = adapter_files(
        run,
        repo_id,
        base_id=base_id,
        dose_ids=_versions_of_doses(api, [dose_id] if isinstance(dose_id, str) else dose_id, run, say),
        license=license,
        publish_failed=publish_failed,
        endpoint=api.endpoint,
        repos=repos,
    )
    files = _signed(Repo(api, repo_id, "model", progress), files, sign, **_terms(files))
    return _send(api, repo_id, files, private=private, create_pr=create_pr, progress=progress)


def push_arms(
    run_dir: Path | str,
    repo_id: str,
    *,
    base_id: str | None = None,
    license: str | None = None,
    private: bool = False,
    publish_failed: bool = False,
    create_pr: bool = False,
    sign: Signer | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Pushed]:
    """Publish an inoculated adapter, and each control of its run and seed as a repo of its own, `ID-ARM`.

    All of it is read, looked into and signed before anything is sent.

    Args:
        run_dir: folder of an inoculation with one adapter that was trained against the trait, or that adapter's own.
        repo_id, base_id, license, private, publish_failed, create_pr, sign, token, endpoint, progress: as in
            `push_adapter`.

    Returns:
        Where each is now, the inoculated adapter first.

    Raises:
        UsageError: for what is no such adapter, or has no controls.
        LineageError, PublishError, SignatureError, HubError: as in `push_adapter`.
    """
    run, api = chosen(Path(run_dir)), HfApi(endpoint=endpoint, token=token)
    if kind_in(run) is not INOCULATED or not (run / ADAPTER_CONFIG).is_file():
        raise UsageError(f"{run_dir} is no inoculated adapter with arms beside it.", "Leave out --push-arms.")
    record = read_record(run, INOCULATED)
    own, others = record["adapter"], record["run"].items()
    controls = {n: one["arm"] for n, one in others if one["seed"] == own["seed"] and one["arm"] not in TREATED}
    if own["arm"] not in TREATED or not controls:
        raise UsageError(f"{run_dir} has no controls beside it.", "Give the folder of a run with a plain arm.")
    repos = {own["name"]: repo_id} | {name: f"{repo_id}-{arm}" for name, arm in controls.items()}
    for one in repos.values():
        require_repo_id(one)
    license = license or _license_in(api, repo_id) or _license_of(api, run, base_id)
    prepared = {
        repo: adapter_files(
            run if name == own["name"] else run.resolve().parent / name,
            repo,
            base_id=base_id,
            license=license,
            publish_failed=publish_failed,
            endpoint=api.endpoint,
            repos=repos,
        )
        for name, repo in repos.items()
    }
    signed = {
        repo: _signed(Repo(api, repo, "model", progress), files, sign, **_terms(files))
        for repo, files in prepared.items()
    }
    return [
        _send(api, repo, files, private=private, create_pr=create_pr, progress=progress)
        for repo, files in signed.items()
    ]


def chosen(folder: Path) -> Path:
    """The folder of the adapter that is meant: of a run of several, the one that was trained against the trait.

    Raises:
        UsageError: where there is none, or more than one.
    """
    if kind_in(folder) is not INOCULATED or any((folder / name).is_file() for name in (ADAPTER_CONFIG, "config.json")):
        return folder
    adapters = read_json(folder, INOCULATED.record).get("adapters") or {}
    treated = [name for name, one in adapters.items() if one.get("arm") in TREATED]
    if len(treated) != 1:
        said = f"{len(treated)} inoculated adapters: {', '.join(treated)}" if treated else "no inoculated adapter"
        raise UsageError(f"{folder} has {said}.", f"Give the folder of one adapter, such as {folder / 'NAME'}.")
    return folder / str(treated[0])


def _license_of(api: HfApi, run: Path, base_id: str | None) -> str | None:
    """The license of an adapter's base, as its card on the Hub says; None where nobody can tell."""
    base = read_record(run, kind_in(run))["base"]
    name = base_id or base["id"]
    if not is_hub_id(name, namespace_needed=False):
        return None
    return _license_in(api, name, base.get("revision"))


def _license_in(api: HfApi, repo_id: str, revision: str | None = None) -> str | None:
    """The license that a model's card on the Hub names; None where nobody can tell."""
    found = card_of(api, repo_id, revision=revision).get("license")
    return found if isinstance(found, str) else None


def _send(
    api: HfApi,
    repo_id: str,
    files: Mapping[str, Content],
    *,
    private: bool,
    create_pr: bool,
    progress: Callable[[str], None] | None,
) -> Pushed:
    """One commit that holds an adapter and its papers, or the pull request that does."""
    kind = kind_of(files)
    record = json.loads(files[kind.record])  # type: ignore[arg-type]
    repo = Repo(api, repo_id, "model", progress)
    if kind.results not in files:
        repo.say(f"Note: {record['adapter']['name']} was never measured, and its card says so first")

    def check(fetched: Path) -> None:
        _check_fit(api, repo_id, fetched, record["base"], repo.say)

    told = {**_terms(files), "check": check}
    return repo.propose(files, **told) if create_pr else repo.publish(files, private=private, **told)


def _terms(files: Mapping[str, Content]) -> dict[str, Any]:
    """How a repo of an adapter is told from others, and what its commit says."""
    kind = kind_of(files)
    record = json.loads(files[kind.record])  # type: ignore[arg-type]
    return {"ours": (*kind.published, SIGNATURE), "marker": kind.record, "message": _message(record)}


def _message(record: Mapping[str, Any]) -> str:
    """What a commit says of an adapter."""
    what = "a merged model" if record["training"].get("merged") else "an adapter"
    if "adapter" in record and is_control(record):
        return f"Publish {what}, a control: {record['adapter']['arm']}"
    return f"Publish {what} whose gate is {(record.get('gate') or {'verdict': 'missing'})['verdict']}"


def _versions_of_doses(
    api: HfApi, dose_ids: Sequence[str], run: Path, say: Callable[[str], None]
) -> dict[str, tuple[str, str | None]]:
    """Where the doses of a run are on the Hub: id and commit by the digest of their manifests.

    Of each repo that is its first version which is one of those doses, and none that was found before. Where the run
    was given one dose, and this account may not read the repo, there is no commit.

    Raises:
        UsageError: for an id that is none.
        PublishError: where none of a repo's versions is such a dose.
        HubError: where the run was given several, and a repo cannot be read.
    """
    for dose_id in dose_ids:
        if not is_hub_id(dose_id):
            raise UsageError(f"{dose_id!r} is not a Hub id.", "Give the dose as `namespace/name`.")
    if not dose_ids:
        return {}
    given = [str(one.get("manifest_sha256")) for one in recorded_doses(read_json(run, RECORD))]
    found: dict[str, tuple[str, str | None]] = {}
    for dose_id in dose_ids:
        try:
            with as_hub_error(api, dose_id, "dataset"):
                version = _version_among(api, dose_id, set(given) - found.keys())
        except HubError as error:
            if len(given) > 1:  # nobody can tell which of them it is
                raise
            say(f"Not pinned to a version of {dose_id}: {error.message}")
            return {given[0]: (dose_id, None)}
        if version is None:
            which = (
                "the dose that this run was given" if len(given) == 1 else "one of the doses that this run was given"
            )
            raise PublishError(
                f"No version of {dose_id} is {which}{' and that no repo named before it has' * bool(found)}.",
                "Push that dose there first, or name the repo that has it with --dose-id.",
            )
        digest, commit = version
        found[digest] = dose_id, commit
    return found


def _version_among(api: HfApi, dose_id: str, wanted: Collection[str]) -> tuple[str, str] | None:
    """The digest and the commit of the first version of a dose on the Hub whose manifest has one of some digests."""
    refs = api.list_repo_refs(dose_id, repo_type="dataset")
    versions = sorted((int(t.name[1:]), t.target_commit) for t in refs.tags if VERSION_TAG.fullmatch(t.name))
    heads = [(0, branch.target_commit) for branch in refs.branches if branch.name == "main"]
    for _, commit in [*versions, *heads]:
        with suppress(EntryNotFoundError):
            digest = digest_of(Path(api.hf_hub_download(dose_id, MANIFEST, repo_type="dataset", revision=commit)))
            if digest in wanted:
                return digest, str(commit)
    return None


def _check_fit(api: HfApi, repo_id: str, fetched: Path, base: Mapping[str, Any], say: Callable[[str], None]) -> None:
    """Prove that what was fetched is an adapter of its base, or a whole model.

    Raises:
        HubError: naming what does not fit.
    """
    from hfvaccine.hub.fits import misfits

    with tempfile.TemporaryDirectory(prefix="hfvaccine-") as cache:
        config = fetched
        if (fetched / ADAPTER_CONFIG).is_file():
            try:
                pin = {"revision": base["revision"]} if base.get("revision") else {}
                config = Path(api.hf_hub_download(base["id"], "config.json", cache_dir=cache, **pin)).parent
            except (HTTPError, OSError, ValueError):
                say(f"Not checked that it fits its base: {api.endpoint} shows no config.json of {base['id']}")
                return
        try:
            wrong = misfits(fetched, config)
        except ModelError as error:
            say(f"Not checked that it fits its base: {error.message}")
            return
    if wrong:
        merged = config == fetched
        raise HubError(
            f"{repo_id} at commit {fetched.name} does not {'load' if merged else 'fit ' + base['id']}: {wrong}.",
            "Merge it again, then push." if merged else "Give the base that it was trained on with --base-id.",
        )
