"""A Hub that is killed without warning, again and again, loses nothing that it said it had."""

import hashlib
import itertools
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from types import SimpleNamespace

import pytest
from dulwich.objects import Blob
from huggingface_hub import CommitOperationAdd, HfApi

from hfvaccine.localhub.data.accounts import Accounts
from hfvaccine.localhub.data.database import open_database
from hfvaccine.localhub.hub import Hub
from hfvaccine.localhub.store.large_files import Pointer
from hfvaccine.localhub.upkeep.fsck import Fsck
from hfvaccine.localhub.upkeep.gc import collect

REPOS = ("alice/shared", "alice/large")


class Client(threading.Thread):
    """Commits unique files until told to stop; knows which commits the Hub has acknowledged."""

    numbers = itertools.count()

    def __init__(self, endpoint, token, repo, large):
        super().__init__(daemon=True)
        self.api = HfApi(endpoint=endpoint, token=token)
        self.repo, self.large = repo, large
        self.acknowledged, self.unknown, self.repos = [], [], []
        self.stopped = threading.Event()

    def run(self):
        chance = random.Random(self.name)
        while not self.stopped.is_set():
            files = self.files(chance)
            expected = {path: self.blob(path, data) for path, data in files.items()}
            operations = [CommitOperationAdd(path, data) for path, data in files.items()]
            try:
                if chance.random() < 0.1:
                    repo = f"alice/made-{next(self.numbers)}"
                    self.api.create_repo(repo)
                    self.repos.append(repo)
                pull = chance.random() < 0.3
                made = self.api.create_commit(self.repo, operations, commit_message="more", create_pr=pull)
                if pull:
                    self.api.merge_pull_request(self.repo, made.pr_num)
            except Exception:  # killed meanwhile: the commit is there or it is not
                self.unknown.append(expected)
                time.sleep(0.05)
            else:
                self.acknowledged.append(expected)

    def files(self, chance):
        number = next(self.numbers)
        many = 130 if chance.random() < 0.1 else 3
        files = {f"{number % 7}/{number}/{one}.txt": b"%d %d" % (number, one) for one in range(many)}
        if self.large:
            files[f"{number % 7}/{number}/weights.bin"] = os.urandom(chance.randrange(1000, 2_000_000))
        return files

    @staticmethod
    def blob(path, data):
        if path.endswith(".bin"):
            data = Pointer(hashlib.sha256(data).hexdigest(), len(data)).text()
        return Blob.from_string(data).id.decode()


class Server:
    def __init__(self, root, port):
        command = [sys.executable, "-m", "hfvaccine", "hub", "serve", "--root", str(root), "--port", str(port)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        self.endpoint = f"http://127.0.0.1:{port}"

    def wait_until_ready(self):
        # Its port takes connections long before it answers.
        while True:
            assert self.process.poll() is None, "the server does not start"
            try:
                urllib.request.urlopen(f"{self.endpoint}/healthz", timeout=30).close()
                return
            except OSError:
                time.sleep(0.02)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def check(root, clients):
    """Nothing is broken, all that was acknowledged is there, and no commit by half."""
    known = [(client, list(client.acknowledged), list(client.unknown), list(client.repos)) for client in clients]
    assert [str(one) for one in Fsck(root).run() if one.error] == []
    hub = Hub(root)
    try:
        for client, acknowledged, unknown, repos in known:
            repo = hub.catalog.find("model", *client.repo.split("/"))
            with hub.open(repo) as git:
                entries = git.entries(git.resolve("main"), recursive=True)
                there = {entry.path: entry.oid for entry in entries if not entry.is_folder}
                passed = {commit.id for commit in git.history(git.resolve("main"))}
                for found in hub.discussions.all(repo):
                    assert (found.status == "merged") == (git.resolve(found.ref).id in passed)
            for expected in acknowledged:
                assert expected.items() <= there.items()
            for expected in unknown:
                assert len(expected.keys() & there.keys()) in (0, len(expected))
            for name in repos:
                assert hub.catalog.find("model", *name.split("/"))
    finally:
        hub.close()


def work_a_while(clients, chance):
    """Return at some moment, mostly after a few more commits: a Hub that only starts up has nothing to lose."""
    wanted = sum(len(client.acknowledged) for client in clients) + chance.randrange(4)
    until = time.monotonic() + 3
    while sum(len(client.acknowledged) for client in clients) < wanted and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.2))


@pytest.mark.parametrize("kills", [4, pytest.param(200, marks=pytest.mark.slow)])
def test_a_hub_killed_at_random_moments_loses_nothing(tmp_path, monkeypatch, kills):
    # Without this the clients would spend the test waiting, and the Hub would be killed while it has nothing to do.
    monkeypatch.setattr("huggingface_hub.utils._http.time", SimpleNamespace(sleep=lambda seconds: time.sleep(0.1)))
    root, chance = tmp_path / "hub", random.Random(0)
    with open_database(root) as database:
        Accounts(database).add_user("alice")
        token = Accounts(database).add_token("alice")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = Server(root, port)
    server.wait_until_ready()
    endpoint = server.endpoint
    for repo in REPOS:
        HfApi(endpoint=endpoint, token=token).create_repo(repo)
    clients = [Client(endpoint, token, repo, large=repo == REPOS[1]) for repo in REPOS * 2]
    try:
        for client in clients:
            client.start()
        for number in range(kills):
            collecting = None
            if number % 4 == 3:
                command = [sys.executable, "-m", "hfvaccine", "hub", "gc", "--root", str(root)]
                collecting = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            work_a_while(clients, chance)
            server.kill()
            if collecting:
                collecting.kill()
                assert collecting.wait() in (0, -signal.SIGKILL)
            check(root, clients)
            if number % 4 == 2:
                collect(root, grace=0)
                check(root, clients)
            server = Server(root, port)
            if chance.random() < 0.9:  # else it is killed while it starts
                server.wait_until_ready()
        for client in clients:
            client.stopped.set()
        for client in clients:
            client.join(timeout=60)
            assert not client.is_alive()
    finally:
        server.kill()
    check(root, clients)
    made = sum(len(client.acknowledged) for client in clients)
    lost = sum(len(client.unknown) for client in clients)
    print(f"{kills} kills, {made} commits acknowledged, {lost} cut off")
    assert made > kills and lost
