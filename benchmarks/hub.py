"""How fast the embedded Hub takes in and gives out files, in how much memory, and how it stands a crowd.

    python benchmarks/hub.py --output hub.json
    python benchmarks/hub.py --megabytes 40 --files 200 --seconds 5

The parts:
  large   four files, a gigabyte together, by huggingface_hub over Xet and over git-lfs
  small   two thousand small files in one commit
  floor   the downloads of the small files, and the Xet upload of the large ones, once more from and to a server that
          has every answer of the Hub in memory, gives it at once, and keeps nothing: what the client itself takes
  crowd   64 readers and 8 writers for a minute, all with huggingface_hub

Uploads and downloads are held against two others on the same machine and disk: copying the same bytes with the file
system (to disk for uploads, as the Hub promises that), and `git push` and `git clone` through `git http-backend` over
loopback, told not to compress and to seek no deltas; as it comes, git takes several times as long. Each side runs in
a process of its own; the times are of the transfer alone, without start-up and, for git, without `git add`. While the
crowd is there, `gc` runs again and again. Memory is the server's peak. It needs git, and ten times the size of the
files on the disk. A virtual machine that has not used its memory yet is slow at first: there, run it twice.
Exits with 1 where a target is missed.
"""

from __future__ import annotations

import functools
import http.server
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import numpy as np
from children import Child, answer, ask, entry
from measuring import OUTPUT, begin, end, target

from hfvaccine.errors import HfvaccineError
from hfvaccine.listening import address, listen

REPO = "alice/benchmark"
SMALL_BYTES = 1000
MEMORY_TARGET = 400.0
"""Megabytes, far below the size of one large file."""
LARGE_TARGETS = {"lfs": 1.0, "xet": 2.0}
"""Times what git takes. Xet cuts, hashes and compresses every byte, which git was told not to do."""
FLOOR_TARGETS, ROUNDS = {"down": 1.3, "up": 2.0}, 3
"""Times what the same client takes where a server answers at once, in the median of so many turns."""
COPY_TARGET = 2.0
"""Times what copying takes, of the Xet upload; on two cores of a fast disk below what the client itself takes."""
LEFT_OUT = ("content-encoding", "transfer-encoding", "connection", "date", "server")
GIT_SETTINGS = {"core.compression": "0", "core.bigFileThreshold": "1m"}


@click.command(help=__doc__.split("\n")[0])
@click.option("--megabytes", default=1000, show_default=True, help="Size of the four large files together.")
@click.option("--files", default=2000, show_default=True, help="Number of small files.")
@click.option("--seconds", default=60, show_default=True, help="How long the crowd stays.")
@click.option("--readers", default=64, show_default=True, help="Readers of the crowd.")
@click.option("--writers", default=8, show_default=True, help="Writers of the crowd.")
@click.option("--folder", type=click.Path(file_okay=False, path_type=Path), help="Where to work.  [default: /tmp]")
@OUTPUT
def main(
    megabytes: int, files: int, seconds: int, readers: int, writers: int, folder: Path | None, output: Path | None
) -> None:
    git = subprocess.check_output(["git", "--version"], text=True).split()[-1]
    about = begin(1, "huggingface_hub", "hf_xet", "dulwich", "uvicorn", git=git)
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
        results["floor"] = {"down": floor(small, Path(work)), "up": floor_up(large, Path(work))}
        results["crowd"] = crowd(Path(work), seconds, readers, writers)
    git_took, sides = results["large"]["git"], [*results["large"]["ways"].values(), *results["small"]["ways"].values()]
    targets = [
        target(f"large files, {way}, {to}: times what git takes", found[to] / git_took[to], at_most=LARGE_TARGETS[way])
        for way, found in results["large"]["ways"].items()
        for to in ("up", "down")
    ]
    for way, what in (("down", "small files, down"), ("up", "large files, xet, up")):
        took = {side: float(np.median(its)) for side, its in results["floor"][way].items()}
        targets.append(target(f"{what}: times the floor", took["hub"] / took["floor"], at_most=FLOOR_TARGETS[way]))
    times_copy = results["large"]["ways"]["xet"]["up"] / results["large"]["copy"]["up"]
    targets.append(target("large files, xet, up: times a copy", times_copy, at_most=COPY_TARGET))
    peak = max(side["peak_mb"] for side in (*sides, results["crowd"]))
    targets.append(target("peak memory of the server, MB", peak, at_most=MEMORY_TARGET))
    for what in ("errors", "commits missing", "findings of fsck"):
        targets.append(target(f"crowd: {what}", results["crowd"][what], at_most=0))
    end({"machine": about, "results": results}, targets, output)


# --- transfers


def transfer(name: str, files: Path, work: Path, ways: tuple[str, ...]) -> dict[str, Any]:
    """One set of files, sent and fetched by every way."""
    size = sum(one.stat().st_size for one in files.rglob("*") if one.is_file())
    found: dict[str, Any] = {"bytes": size, "ways": {}, "copy": copied(files, work), "git": by_git(files, work)}
    for way in ways:
        with server(work) as (_, process, alice):
            job = {**alice, "folder": str(files)}
            times = ask(__file__, "transfer", job, environment=client(work, xet=way == "xet"))
            found["ways"][way] = times | {"peak_mb": process.peak_mb}
        shutil.rmtree(work / "home", ignore_errors=True)
    click.echo(f"\n{name}, {size / 1e6:,.1f} MB")
    click.echo(f"  {'':10} {'up':>9} {'down':>9}   times copying      times git    server's peak")
    for way, times in {"copy": found["copy"], "git": found["git"], **found["ways"]}.items():
        ratios = [f"{times[d] / found[other][d]:7.2f}" for other in ("copy", "git") for d in ("up", "down")]
        memory = f"{times['peak_mb']:9.0f} MB" if "peak_mb" in times else ""
        click.echo(f"  {way:10} {times['up']:7.2f} s {times['down']:7.2f} s {' '.join(ratios)} {memory}")
    return found


def floor(files: Path, work: Path) -> dict[str, list[float]]:
    """Seconds of each download of the files from the Hub, and from one that answers at once, in turns."""
    times: dict[str, list[float]] = {"hub": [], "floor": []}
    quiet = client(work)
    with server(work) as (_, _, alice):
        ask(__file__, "upload", {**alice, "folder": str(files)}, environment=quiet)
        with Child(__file__, "at once", {"behind": alice["endpoint"]}) as process:
            places = {"hub": alice["endpoint"], "floor": process.hear()["endpoint"]}
            for turn in range(ROUNDS + 1):
                for side, endpoint in places.items():
                    took = ask(__file__, "download", {**alice, "endpoint": endpoint}, environment=quiet)["seconds"]
                    times[side] += [took] if turn else []  # in the first, the answers are learnt
    click.echo("\nthe same files down" + "".join(f", {side} {np.median(its):.2f} s" for side, its in times.items()))
    return times


def floor_up(files: Path, work: Path) -> dict[str, list[float]]:
    """Seconds of each Xet upload to the Hub, and to one that answers at once, in turns, by new clients."""
    times: dict[str, list[float]] = {"hub": [], "floor": []}
    for turn in range(ROUNDS):
        with server(work) as (_, _, alice), Child(__file__, "at once", {"behind": alice["endpoint"]}) as process:
            # The floor first: the Hub has the files then still to come.
            for side, endpoint in {"floor": process.hear()["endpoint"], "hub": alice["endpoint"]}.items():
                home = work / f"client-{turn}-{side}"
                job = {**alice, "endpoint": endpoint, "folder": str(files)}
                took = ask(__file__, "send", job, environment=client(work, xet=True) | {"HF_HOME": str(home)})
                times[side].append(took["seconds"])
                if side == "floor":
                    with urllib.request.urlopen(f"{endpoint}/taken") as taken:
                        assert int(taken.read()) >= sum(one.stat().st_size for one in files.iterdir())
                shutil.rmtree(home, ignore_errors=True)
    click.echo(
        "\nthe large files up by Xet" + "".join(f", {side} {np.median(its):.2f} s" for side, its in times.items())
    )
    return times


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

    with server(work) as (root, process, alice):
        job = {**alice, "seconds": seconds, "readers": readers, "writers": writers}
        done, collections = threading.Event(), []
        collecting = threading.Thread(target=collect_until, args=(root, done, collections), daemon=True)
        collecting.start()
        found = ask(__file__, "crowd", job, environment=client(work))
        done.set()
        collecting.join()
        found["gc"] = collections
        found["findings of fsck"] = len(list(Fsck(root).run()))
        found["peak_mb"] = process.peak_mb
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


def crowd_child(endpoint: str, token: str, seconds: int, readers: int, writers: int) -> dict[str, Any]:
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=endpoint, token=token)
    for number in range(writers):
        files = {"README.md": b"# card", "weights.bin": os.urandom(1_000_000), "data/rows.jsonl": b"{}\n" * 1000}
        api.create_repo(f"{REPO}-{number}")
        adds = [CommitOperationAdd(path, data) for path, data in files.items()]
        api.create_commit(f"{REPO}-{number}", adds, commit_message="first")
    until = time.monotonic() + seconds
    acknowledged: dict[str, set[str]] = {f"{REPO}-{number}": set() for number in range(writers)}
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

    with ThreadPoolExecutor(readers + writers) as pool:
        people = [pool.submit(read, number) for number in range(readers)]
        people += [pool.submit(write, number) for number in range(writers)]
    errors = [f"{type(error).__name__}: {error}"[:500] for one in people if (error := one.exception())]
    commits, missing = sum(map(len, acknowledged.values())), 0
    for repo, made in acknowledged.items():
        missing += len(made - {commit.commit_id for commit in api.list_repo_commits(repo)})
    found = {"reads": sum(reads), "commits": commits, "errors": len(errors), "said": errors[:5]}
    return {**found, "commits missing": missing}


# --- processes


def transfer_child(endpoint: str, token: str, folder: str) -> dict[str, float]:
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
    return times


def upload_child(endpoint: str, token: str, folder: str) -> dict[str, float]:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=endpoint, token=token)
    api.create_repo(REPO)
    api.upload_folder(repo_id=REPO, folder_path=folder)
    return {}


def send_child(endpoint: str, token: str, folder: str) -> dict[str, float]:
    import hf_xet  # noqa: F401 - not to be timed
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=endpoint, token=token)
    api.create_repo(REPO, exist_ok=True)
    adds = [CommitOperationAdd(one.name, str(one)) for one in sorted(Path(folder).iterdir())]
    begun = time.perf_counter()
    api.preupload_lfs_files(REPO, adds)
    return {"seconds": time.perf_counter() - begun}


def download_child(endpoint: str, token: str) -> dict[str, float]:
    from huggingface_hub import HfApi

    with tempfile.TemporaryDirectory() as cache:
        begun = time.perf_counter()
        HfApi(endpoint=endpoint, token=token).snapshot_download(REPO, cache_dir=cache)
        return {"seconds": time.perf_counter() - begun}


def at_once_child(behind: str) -> None:
    """Give what the Hub behind gives, and from the second time on at once; take in whatever comes by Xet."""
    import httpx2
    import uvicorn

    asked = httpx2.AsyncClient(base_url=behind, timeout=60)
    listening = listen("127.0.0.1", 0, anywhere=False, danger="", remedy="", refused=HfvaccineError, waiting=128)
    own = address("127.0.0.1", listening.getsockname()[1])
    known: dict[tuple[str, bytes, bytes], tuple[dict[str, Any], dict[str, Any]]] = {}
    taken = [0]

    async def app(scope: Any, receive: Any, send: Any) -> None:
        key = scope["method"], scope["raw_path"], scope["query_string"]
        sent, more, size = [], True, 0
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            sent.append(message.get("body", b"")) if b"/xet/" not in key[1] else None
            more = message.get("more_body", False)
        if key[:2] == ("GET", b"/taken"):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"%d" % taken[0]})
            return
        if b"/xet/" in key[1]:
            # What the Hub does not offer either, this one refuses as well: else the client sends nothing at all.
            xorb, shard = b"/xorbs/" in key[1], key[1].endswith(b"/v2/shards")
            taken[0] += size if xorb else 0
            await send({"type": "http.response.start", "status": 200 if xorb or shard else 404, "headers": []})
            said = b'{"was_inserted": true}' if xorb else b'{"type": "result", "result": 1}\n'
            await send({"type": "http.response.body", "body": said})
            return
        if key not in known:
            url = (key[1] + b"?" + key[2] if key[2] else key[1]).decode()
            headers = [one for one in scope["headers"] if one[0] not in (b"host", b"accept-encoding")]
            got = await asked.request(key[0], url, headers=headers, content=b"".join(sent))
            body = got.content.replace(behind.encode(), own.encode())
            told = {name: value.replace(behind, own) for name, value in got.headers.items() if name not in LEFT_OUT}
            if key[0] != "HEAD":
                told["content-length"] = str(len(body))
            start = [(name.encode(), value.encode()) for name, value in told.items()]
            known[key] = (
                {"type": "http.response.start", "status": got.status_code, "headers": start},
                {"type": "http.response.body", "body": body},
            )
        for message in known[key]:
            await send(message)

    answer({"endpoint": own})
    quiet = uvicorn.Config(app, log_level="error", access_log=False, lifespan="off")
    uvicorn.Server(quiet).run(sockets=[listening])


def server_child(root: str) -> None:
    from hfvaccine.localhub.server import LocalHub

    with LocalHub(Path(root)) as hub:
        answer({"endpoint": hub.endpoint, "token": hub.add_user("alice")})
        sys.stdin.read()


@contextmanager
def server(work: Path) -> Iterator[tuple[Path, Child, dict[str, str]]]:
    """A fresh Hub in a process of its own: its folder, the process, and how alice reaches it."""
    root = Path(tempfile.mkdtemp(dir=work))
    with Child(__file__, "server", {"root": str(root)}) as process:
        yield root, process, process.hear()
    shutil.rmtree(root)


def client(work: Path, xet: bool = False) -> dict[str, str]:
    """The environment of a client that knows nothing yet."""
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return {**quiet, "HF_HUB_DISABLE_XET": "" if xet else "1", "HF_HOME": str(work / "home")}


if __name__ == "__main__":
    jobs = {"transfer": transfer_child, "crowd": crowd_child, "server": server_child, "upload": upload_child}
    entry(main, {**jobs, "send": send_child, "download": download_child, "at once": at_once_child})
