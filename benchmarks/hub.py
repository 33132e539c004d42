"""How fast the embedded Hub takes in and gives out files, in how much memory, and how it stands a crowd.

    python benchmarks/hub.py --output hub.json
    python benchmarks/hub.py --megabytes 40 --files 200 --seconds 5

The parts:
  large   four files, a gigabyte together, by huggingface_hub over Xet and over git-lfs
  small   two thousand small files in one commit
  crowd   64 readers and 8 writers for a minute, all with huggingface_hub

Uploads and downloads are held against two others on the same machine and disk: copying the same bytes with the file
system (to disk for uploads, as the Hub promises that), and `git push` and `git clone` through `git http-backend` over
loopback, told not to compress and to seek no deltas; as it comes, git takes several times as long. Each side runs in
a process of its own; the times are of the transfer alone, without start-up and, for git, without `git add`. While the
crowd is there, `gc` runs again and again. Memory is the server's peak. It needs git, and ten times the size of the
files on the disk.
Exits with 1 where a target is missed.
"""

from __future__ import annotations

import functools
import http.server
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from dosing import listed, machine, target

from hfvaccine.files import write_json

REPO = "alice/benchmark"
SMALL_BYTES = 1000
MEMORY_TARGET = 400.0
"""Megabytes, far below the size of one large file."""
LARGE_TARGETS = {"lfs": 1.0, "xet": 2.0}
"""Times what git takes. Xet cuts, hashes and compresses every byte, which git was told not to do."""
GIT_SETTINGS = {"core.compression": "0", "core.bigFileThreshold": "1m"}


@click.command(help=__doc__.split("\n")[0])
@click.option("--megabytes", default=1000, show_default=True, help="Size of the four large files together.")
@click.option("--files", default=2000, show_default=True, help="Number of small files.")
@click.option("--seconds", default=60, show_default=True, help="How long the crowd stays.")
@click.option("--readers", default=64, show_default=True, help="Readers of the crowd.")
@click.option("--writers", default=8, show_default=True, help="Writers of the crowd.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Where to work.  [default: /tmp]")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="JSON file of everything.")
@click.option("--child", hidden=True)
def main(
    megabytes: int,
    files: int,
    seconds: int,
    readers: int,
    writers: int,
    folder: Path | None,
    output: Path | None,
    child: str | None,
) -> None:
    if child:
        return CHILDREN[child](**json.loads(sys.stdin.readline()))
    from importlib.metadata import version

    about = machine(1) | {package: version(package) for package in ("huggingface_hub", "hf_xet", "dulwich", "uvicorn")}
    about |= {"git": subprocess.check_output(["git", "--version"], text=True).split()[-1]}
    click.echo(" | ".join(f"{name} {value}" for name, value in about.items()))
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(dir=folder) as work:
        large, small = Path(work) / "large", Path(work) / "small"
        large.mkdir()
        for number in range(4):
            with open(large / f"model-{number}.safetensors", "wb") as file:
                for _ in range(megabytes // 4):
                    file.write(random.randbytes(1_000_000))
        for number in range(files):
            file_path = small / f"{number // 100:03d}" / f"{number}.txt"
            file_path.parent.mkdir(parents=True, exist_ok=True)
            file_path.write_text(f"{number} " * (SMALL_BYTES // (len(str(number)) + 1)))
        results["large"] = transfer("large files", large, Path(work), ways=("xet", "lfs"))
        results["small"] = transfer("small files", small, Path(work), ways=("lfs",))
        results["crowd"] = crowd(Path(work), seconds, readers, writers)
    targets = []
    for way, found in results["large"]["ways"].items():
        for direction in ("up", "down"):
            ratio = found[direction] / results["large"]["git"][direction]
            name = f"large files, {way}, {direction}: times what git takes"
            targets.append(target(name, ratio, at_most=LARGE_TARGETS[way]))
    memory = [way["peak_mb"] for part in ("large", "small") for way in results[part]["ways"].values()]
    targets.append(
        target("peak memory of the server, MB", max(*memory, results["crowd"]["peak_mb"]), at_most=MEMORY_TARGET)
    )
    for what in ("errors", "commits missing", "findings of fsck"):
        targets.append(target(f"crowd: {what}", results["crowd"][what], at_most=0))
    targets = listed(targets)
    if output is not None:
        write_json({"machine": about, "results": results, "targets": targets}, output)
    sys.exit(int(any(not one["met"] for one in targets)))


# --- transfers


def transfer(name: str, files: Path, work: Path, ways: tuple[str, ...]) -> dict[str, Any]:
    """One set of files, sent and fetched by every way."""
    size = sum(one.stat().st_size for one in files.rglob("*") if one.is_file())
    found: dict[str, Any] = {"bytes": size, "ways": {}, "copy": copied(files, work), "git": by_git(files, work)}
    for way in ways:
        with server(work) as (_, endpoint, token, process):
            job = {"endpoint": endpoint, "token": token, "folder": str(files)}
            times = ask(
                "client", job, {"HF_HUB_DISABLE_XET": "" if way == "xet" else "1", "HF_HOME": str(work / "home")}
            )
            found["ways"][way] = times | {"peak_mb": peak_mb(process)}
        shutil.rmtree(work / "home", ignore_errors=True)
    click.echo(f"\n{name}, {size / 1e6:,.1f} MB")
    click.echo(f"  {'':10} {'up':>9} {'down':>9}   times copying      times git    server's peak")
    for way, times in {"copy": found["copy"], "git": found["git"], **found["ways"]}.items():
        ratios = [f"{times[d] / found[other][d]:7.2f}" for other in ("copy", "git") for d in ("up", "down")]
        memory = f"{times['peak_mb']:9.0f} MB" if "peak_mb" in times else ""
        click.echo(f"  {way:10} {times['up']:7.2f} s {times['down']:7.2f} s {' '.join(ratios)} {memory}")
    return found


def copied(files: Path, work: Path) -> dict[str, float]:
    """Copying with the file system: to disk, and back from the cache as a download reads it."""

    def copy(source: Path, target: Path, sync: bool) -> float:
        begun = time.perf_counter()
        shutil.copytree(source, target)
        for path in target.rglob("*") if sync else ():
            if path.is_file():
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
        return time.perf_counter() - begun

    times = {"up": copy(files, work / "copy", True), "down": copy(work / "copy", work / "copy2", False)}
    shutil.rmtree(work / "copy")
    shutil.rmtree(work / "copy2")
    return times


def by_git(files: Path, work: Path) -> dict[str, float]:
    """`git push` and `git clone` over loopback."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(work), "GIT_CONFIG_COUNT": str(len(GIT_SETTINGS))}
    for number, (key, value) in enumerate(GIT_SETTINGS.items()):
        environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    git = functools.partial(subprocess.run, check=True, capture_output=True, env=environment)
    served, source = work / "git" / "served.git", work / "git" / "source"
    git(["git", "init", "-q", "--bare", "-b", "main", str(served)])
    git(["git", "-C", str(served), "config", "http.receivepack", "true"])
    shutil.copytree(files, source)
    git(["git", "init", "-q", "-b", "main"], cwd=source)
    git(["git", "add", "."], cwd=source)
    git(["git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all", "--no-gpg-sign"], cwd=source)
    handler = functools.partial(GitBackend, environment={**environment, "GIT_PROJECT_ROOT": str(work / "git")})
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{listening.server_port}/served.git"
    try:
        begun = time.perf_counter()
        git(["git", "push", "-q", address, "main"], cwd=source)
        pushed = time.perf_counter()
        git(["git", "clone", "-q", address, str(work / "git" / "clone")])
        return {"up": pushed - begun, "down": time.perf_counter() - pushed}
    finally:
        listening.shutdown()
        listening.server_close()
        shutil.rmtree(work / "git")


class GitBackend(http.server.BaseHTTPRequestHandler):
    """Hands each request to `git http-backend` as CGI."""

    def __init__(self, *arguments: Any, environment: dict[str, str]) -> None:
        self.environment = environment
        super().__init__(*arguments)

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        environment = {
            **self.environment,
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "alice",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        if length := self.headers.get("Content-Length"):
            environment["CONTENT_LENGTH"] = length
        process = subprocess.Popen(
            ["git", "http-backend"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert process.stdin and process.stdout
        feeding = threading.Thread(target=self.feed, args=(process.stdin,))
        feeding.start()
        headers = []
        while (line := process.stdout.readline().strip()) != b"":
            headers.append(line.decode().split(": ", 1))
        status = next((value for name, value in headers if name == "Status"), "200 OK")
        self.send_response(int(status.split()[0]))
        for name, value in headers:
            if name != "Status":
                self.send_header(name, value)
        self.end_headers()
        shutil.copyfileobj(process.stdout, self.wfile, 1 << 20)
        feeding.join()
        process.wait()

    do_POST = do_GET

    def feed(self, target: Any) -> None:
        with target:
            if self.headers.get("Transfer-Encoding") == "chunked":
                while size := int(self.rfile.readline(), 16):
                    target.write(self.rfile.read(size))
                    self.rfile.readline()
            else:
                left = int(self.headers.get("Content-Length", 0))
                while left and (data := self.rfile.read(min(left, 1 << 20))):
                    target.write(data)
                    left -= len(data)

    def log_message(self, *_: Any) -> None:
        pass


# --- the crowd


def crowd(work: Path, seconds: int, readers: int, writers: int) -> dict[str, Any]:
    """Many clients at once; what was acknowledged must be there, and everything whole."""
    from hfvaccine.localhub.upkeep.fsck import Fsck

    with server(work) as (root, endpoint, token, process):
        job = {"endpoint": endpoint, "token": token, "seconds": seconds, "readers": readers, "writers": writers}
        child = start("crowd", job, {"HF_HUB_DISABLE_XET": "1", "HF_HOME": str(work / "home")})
        done, collections = threading.Event(), []
        collecting = threading.Thread(target=collect_until, args=(root, done, collections))
        collecting.start()
        found = answer(child)
        child.communicate()
        done.set()
        collecting.join()
        found["gc"] = collections
        found["findings of fsck"] = len(list(Fsck(root).run()))
        found["peak_mb"] = peak_mb(process)
    shutil.rmtree(work / "home", ignore_errors=True)
    click.echo(f"\n{readers} readers and {writers} writers for {seconds} s")
    click.echo(f"  {found['reads']:,} files read, {found['commits']:,} commits, {found['errors']} errors")
    click.echo(f"  {found['commits missing']} commits missing, {found['findings of fsck']} findings of fsck")
    click.echo(f"  gc ran {len(collections)} times, the longest took {max(collections, default=0):.1f} s")
    click.echo(f"  server's peak {found['peak_mb']:.0f} MB")
    return found


def collect_until(root: Path, done: threading.Event, seconds: list[float]) -> None:
    from hfvaccine.localhub.upkeep.gc import collect

    while not done.wait(3):
        begun = time.perf_counter()
        collect(root)
        seconds.append(time.perf_counter() - begun)


def crowd_child(endpoint: str, token: str, seconds: int, readers: int, writers: int) -> None:
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=endpoint, token=token)
    for number in range(writers):
        files = {"README.md": b"# card", "weights.bin": os.urandom(1_000_000), "data/rows.jsonl": b"{}\n" * 1000}
        api.create_repo(f"{REPO}-{number}")
        adds = [CommitOperationAdd(path, data) for path, data in files.items()]
        api.create_commit(f"{REPO}-{number}", adds, commit_message="first")
    until = time.monotonic() + seconds
    acknowledged: dict[str, set[str]] = {f"{REPO}-{number}": set() for number in range(writers)}
    errors: list[str] = []
    reads = [0] * readers

    def read(number: int) -> None:
        repo = f"{REPO}-{number % writers}"
        with tempfile.TemporaryDirectory() as cache:
            for path in chosen(number):
                api.hf_hub_download(repo, path, cache_dir=cache, force_download=True)
                reads[number] += 1

    def chosen(number: int) -> Iterator[str]:
        chance = random.Random(number)
        while time.monotonic() < until:
            yield chance.choice(["README.md", "weights.bin", "data/rows.jsonl"])

    def write(number: int) -> None:
        repo = f"{REPO}-{number}"
        count = 0
        while time.monotonic() < until:
            count += 1
            adds = [CommitOperationAdd(f"more/{count}.txt", b"%d" % count)]
            if count % 5 == 0:
                adds.append(CommitOperationAdd(f"more/{count}.bin", os.urandom(100_000)))
            acknowledged[repo].add(api.create_commit(repo, adds, commit_message=f"{count}").oid)

    def guarded(job: Callable[[int], None], number: int) -> None:
        try:
            job(number)
        except Exception as error:
            errors.append(f"{type(error).__name__}: {error}"[:500])

    threads = [threading.Thread(target=guarded, args=(read, number)) for number in range(readers)]
    threads += [threading.Thread(target=guarded, args=(write, number)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    missing = 0
    for repo, made in acknowledged.items():
        missing += len(made - {commit.commit_id for commit in api.list_repo_commits(repo)})
    commits = sum(map(len, acknowledged.values()))
    tell(
        {
            "reads": sum(reads),
            "commits": commits,
            "errors": len(errors),
            "said": errors[:5],
            "commits missing": missing,
        }
    )


# --- processes


def client_child(endpoint: str, token: str, folder: str) -> None:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, token=token)
    api.create_repo(REPO)
    begun = time.perf_counter()
    api.upload_folder(repo_id=REPO, folder_path=folder)
    sent = time.perf_counter()
    got = api.snapshot_download(REPO)
    times = {"up": sent - begun, "down": time.perf_counter() - sent}
    for path in Path(folder).rglob("*"):
        assert not path.is_file() or path.stat().st_size == (Path(got) / path.relative_to(folder)).stat().st_size
    tell(times)


def server_child(root: str) -> None:
    from hfvaccine.localhub.server import LocalHub

    with LocalHub(Path(root)) as hub:
        tell({"endpoint": hub.endpoint, "token": hub.add_user("alice")})
        sys.stdin.read()


CHILDREN: dict[str, Callable[..., None]] = {"client": client_child, "crowd": crowd_child, "server": server_child}


def tell(content: dict[str, Any]) -> None:
    """The answer of a child, marked: libraries print as well."""
    print(f"\nANSWER {json.dumps(content)}", flush=True)


def start(name: str, job: dict[str, Any], environment: dict[str, str]) -> subprocess.Popen[str]:
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    process = subprocess.Popen(
        [sys.executable, __file__, "--child", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **quiet, **environment},
        text=True,
    )
    assert process.stdin
    process.stdin.write(json.dumps(job) + "\n")
    process.stdin.flush()
    return process


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout
    for line in process.stdout:
        if line.startswith("ANSWER "):
            said: dict[str, Any] = json.loads(line.removeprefix("ANSWER "))
            return said
    raise click.ClickException(f"A process failed with {process.wait()}; see above.")


def ask(name: str, job: dict[str, Any], environment: dict[str, str]) -> dict[str, Any]:
    process = start(name, job, environment)
    said = answer(process)
    process.communicate()
    return said


@contextmanager
def server(work: Path) -> Iterator[tuple[Path, str, str, subprocess.Popen[str]]]:
    """A fresh Hub in a process of its own."""
    root = Path(tempfile.mkdtemp(dir=work))
    process = start("server", {"root": str(root)}, {})
    try:
        said = answer(process)
        yield root, said["endpoint"], said["token"], process
    finally:
        process.communicate()
        shutil.rmtree(root)


def peak_mb(process: subprocess.Popen[str]) -> float:
    lines = Path(f"/proc/{process.pid}/status").read_text().split("\n")
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
