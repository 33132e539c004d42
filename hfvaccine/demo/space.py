"""A demo as a Space: what is pushed holds names only, and fetches all else when it starts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from importlib import metadata

from huggingface_hub import HfApi

from hfvaccine.demo.page import build, gradio, look
from hfvaccine.demo.subject import load, open_subject
from hfvaccine.errors import HubError, UsageError
from hfvaccine.files import CARD
from hfvaccine.hub.content import Content
from hfvaccine.hub.errors import as_hub_error, require_repo_id
from hfvaccine.hub.leaks import refuse_leaks
from hfvaccine.hub.repo import Pushed, Repo
from hfvaccine.lineage.fetch import Papers, papers
from hfvaccine.lineage.links import is_merged
from hfvaccine.packages import install_extra
from hfvaccine.papers.binding import open_run, recorded_doses
from hfvaccine.papers.kind import IMMUNIZED
from hfvaccine.sources.place import Source
from hfvaccine.text import Markdown, clean, fill, is_hub_id
from hfvaccine.version import VERSION

APP, REQUIREMENTS = "app.py", "requirements.txt"
FILES = (APP, REQUIREMENTS, CARD)
"""All that a Space of ours holds."""
SPACE = "SPACE_ID"
"""The environment variable that says on a Space which one it is."""
PROGRAM = '''"""A demo of {adapter}, made by hfvaccine: it fetches base and adapter, and holds no claim."""

from hfvaccine.demo.space import run

if __name__ == "__main__":
    run("{adapter}@{commit}")
'''
TITLE, SUMMARY = 60, "Base and adapter asked the same, side by side"
"""The longest title, and what the Hub lists a Space with."""


def push_space(
    adapter: str,
    repo_id: str,
    *,
    public: bool = False,
    requirement: str | None = None,
    token: str | None = None,
    progress: Callable[[str], None] | None = None,
) -> tuple[Pushed, tuple[str, ...]]:
    """Push the demo of a published adapter as a Space: three files, in one commit.

    No text of a claim goes along. A Space that was there stays as open as it is, or is made private.

    Args:
        adapter: Hub id or `ID@REVISION` of an adapter that was pushed with its papers.
        repo_id: `namespace/name` of the Space, made if it is not there.
        public: let everybody see a Space that is made; otherwise it is made private, as is one that is there.
        requirement: what it installs hfvaccine by, such as `hfvaccine[demo] @ git+https://...`.
        token: Hub token, by default the one huggingface_hub finds.
        progress: told what is about to be done, one line at a time.

    Returns:
        Where it is now, and what its owner has to know.

    Raises:
        UsageError: for an adapter that is on no Hub, or a package that nobody else could install.
        LineageError: where the adapter's files are not those that its record binds.
        PublishError: where the repo holds something else.
        HubError: where the Hub refuses or cannot be reached.
    """
    require_repo_id(repo_id)
    place = Source.of("adapter", adapter)
    if not place.on_hub:
        raise UsageError(
            f"{adapter} is on no Hub, and a Space fetches what it shows.",
            f"Push it first: hfvaccine push-adapter {adapter} NAMESPACE/NAME",
        )
    installs = requirement or installed_from()
    api = HfApi(token=token)
    found = papers(place.name, place.revision, token=token)
    if is_merged(found.record):
        raise UsageError(f"{adapter} is a merged model: its base and its adapter are one.", "Show its adapter.")
    open_run(found.folder, source=adapter)
    with as_hub_error(api, place.name, "model"):
        info = api.model_info(place.name, revision=found.commit)
    license = info.card_data.get("license") if info.card_data else None
    license = license if isinstance(license, str) else None
    files = space_files(found, place.name, installs, license, api.endpoint)
    refuse_leaks(files)
    pushed = Repo(api, repo_id, "space", progress).publish(
        files,
        ours=FILES,
        marker=APP,
        message=f"Show {place.name}",
        private=not public,
        check=lambda fetched: None,
    )
    with as_hub_error(api, repo_id, "space"):
        private = bool(api.space_info(repo_id).private)
    return pushed, tuple(_told(repo_id, public, private, bool(info.private), found))


def space_files(found: Papers, adapter: str, installs: str, license: str | None, endpoint: str) -> dict[str, Content]:
    """What a Space holds. It depends on the arguments alone, so that a second push is the same commit.

    Args:
        found: the papers of a published adapter.
        adapter: its Hub id.
        installs: what the Space installs hfvaccine by.
        license: Hub license id of the adapter.
        endpoint: the Hub on which it is.
    """
    try:
        sdk = metadata.version("gradio")
    except metadata.PackageNotFoundError as error:
        raise UsageError("A demo needs a package that is not here: gradio.", install_extra("demo")) from error
    record = found.record
    base = record["base"]["id"] if is_hub_id(record["base"].get("id"), namespace_needed=False) else None
    doses = recorded_doses(record) if found.kind is IMMUNIZED else []
    dose = next((one["id"] for one in doses if is_hub_id(one.get("id")) and one.get("revision")), None)
    title = f"{adapter.split('/')[-1]} beside its base"
    facts = {
        "title": title if len(title) <= TITLE else adapter.split("/")[-1][:TITLE],
        "emoji": "💉",
        "colorFrom": "gray",
        "colorTo": "blue",
        "sdk": "gradio",
        "sdk_version": sdk,
        "python_version": "3.11",
        "app_file": APP,
        "pinned": False,
        "short_description": SUMMARY,
        "license": license,
        "models": [name for name in (adapter, base) if name],
        "datasets": [dose] if dose else None,
        "tags": ["hfvaccine", "hfvaccine-demo"],
    }
    # JSON is YAML, and quotes what might be another type of it.
    lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in facts.items() if value is not None]
    values = {
        "metadata": Markdown("\n".join(lines)),
        "title": facts["title"],
        "adapter": Markdown(adapter),
        "commit": Markdown(found.commit or ""),
        "endpoint": Markdown(endpoint),
        "base": base,
        "dose": dose,
        "immunized": found.kind is IMMUNIZED,
        "verdict": ((record.get("gate") or {}).get("verdict") or "none").upper(),
        "version": VERSION,
    }
    return {
        APP: PROGRAM.format(adapter=adapter, commit=found.commit).encode(),
        REQUIREMENTS: f"{installs}\n".encode(),
        CARD: fill("hfvaccine.demo", "space.md", values).encode(),
    }


def installed_from() -> str:
    """What somebody else can install this hfvaccine by: the commit of a git repo, as the installer noted it.

    Source: PEP 610, direct_url.json.

    Raises:
        UsageError: where it was installed from a folder, which nobody else has.
    """
    refused = UsageError(
        "A Space cannot install hfvaccine from where it was installed here, which is no public git repo.",
        "Say with --requirement what it installs, such as 'hfvaccine[demo] @ git+https://HOST/OWNER/hfvaccine'.",
    )
    try:
        noted = json.loads(metadata.distribution("hfvaccine").read_text("direct_url.json") or "{}")
        url, commit = str(noted["url"]), str(noted["vcs_info"]["commit_id"])
    except (metadata.PackageNotFoundError, ValueError, LookupError, TypeError) as error:
        raise refused from error
    if noted["vcs_info"].get("vcs") != "git" or not re.fullmatch(r"https://[\w.-]+(/[\w.~-]+)+", url):
        raise refused  # a name and a password may stand in an address, and a path of this machine
    return f"hfvaccine[demo] @ git+{url}@{commit}"


def run(adapter: str) -> None:
    """Show a demo on a Space, until that is stopped: what its `app.py` does.

    Args:
        adapter: `ID@COMMIT`.

    Raises:
        HfvaccineError: for what cannot be had; a Space shows it in its log.
    """
    gradio()
    subject = open_subject(adapter, claims=not seen_by_everybody(os.environ))
    arms, place = load(subject)
    build(subject, arms, place).launch(show_error=False, ssr_mode=False, **look())


def seen_by_everybody(environment: Mapping[str, str]) -> bool:
    """Whether somebody without an account can see the Space that this runs on; also where that cannot be told.

    Args:
        environment: whose `SPACE_ID` names the Space.
    """
    space = environment.get(SPACE)
    if not space:
        return True
    api = HfApi(token=False)
    try:
        with as_hub_error(api, space, "space"):
            api.space_info(space)
    except HubError as error:
        answer = getattr(error.__cause__, "response", None)
        return getattr(answer, "status_code", None) not in (401, 403, 404)
    return True


def _told(repo_id: str, public: bool, private: bool, adapter_private: bool, found: Papers) -> list[str]:
    """What the owner of a Space has to know."""
    lines = []
    if public and private:
        lines.append(f"It stays private, as it was. To open it: hf repos settings {repo_id} --type space --public")
    if adapter_private:
        lines.append("The adapter is private: give the Space a secret HF_TOKEN that may read it, and nothing more.")
    elif private and found.kind is IMMUNIZED:
        lines.append(
            "Its claims stand ready only if the Space has a secret HF_TOKEN that may read the dose. Whoever sees the "
            "Space then sees them."
        )
    return [clean(line) for line in lines]
