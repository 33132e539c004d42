import base64
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import RepositoryNotFoundError

from hfvaccine.errors import LocalHubError
from hfvaccine.localhub.data.accounts import Accounts
from hfvaccine.localhub.data.database import open_database
from hfvaccine.localhub.server import LocalHub, serve


def test_state_outlives_the_server(tmp_path):
    with LocalHub(tmp_path) as hub:
        token = hub.add_user("alice")
        HfApi(endpoint=hub.endpoint, token=token).create_repo("alice/m")
    with LocalHub(tmp_path) as hub:
        assert HfApi(endpoint=hub.endpoint, token=token).model_info("alice/m").author == "alice"


def test_a_taken_port_is_refused_before_anything_happens(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(LocalHubError, match="--port"):
        LocalHub(tmp_path / "new", port=other.getsockname()[1]).start()
    assert not (tmp_path / "new").exists()


def test_a_folder_is_served_once(tmp_path):
    with LocalHub(tmp_path), pytest.raises(LocalHubError, match="another process"):
        LocalHub(tmp_path).start()


@pytest.mark.parametrize("host", ["0.0.0.0", "example.org", "::", "", "192.0.2.1"])
def test_only_loopback(tmp_path, host):
    with pytest.raises(LocalHubError, match="--allow-insecure"):
        LocalHub(tmp_path, host=host).start()


def test_users_need_a_running_hub(tmp_path):
    with pytest.raises(LocalHubError, match="start"):
        LocalHub(tmp_path).add_user("alice")


@pytest.fixture
def token(tmp_path):
    """Alice's, in the folder of a Hub that does not run yet."""
    with open_database(tmp_path) as database:
        accounts = Accounts(database)
        accounts.add_user("alice")
        return accounts.add_token("alice")


@contextmanager
def serving(root, **options):
    """A Hub in the foreground of another process, with the address it prints."""
    code = f"import pathlib, hfvaccine.localhub.server as s; s.serve(pathlib.Path({str(root)!r}), port=0, **{options})"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=os.environ)
    try:
        line = process.stderr.readline()
        assert " at " in line, line + process.stderr.read()
        yield process, line.split(" at ")[1].split()[0]
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def stopped(process, sent=signal.SIGTERM):
    """What the process logged until it stopped, as objects."""
    process.send_signal(sent)
    lines = process.stderr.read().splitlines()
    assert process.wait(10) == 0
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_foreground_serving_stops_on_signals(tmp_path, sent):
    with serving(tmp_path) as (process, endpoint):
        with pytest.raises(Exception, match="Invalid credentials"):
            HfApi(endpoint=endpoint, token="hfv_wrong").model_info("a/b")
        (entry,) = stopped(process, sent)
    assert (entry["method"], entry["path"], entry["status"]) == ("GET", "/api/models/a/b", 401)


def test_the_log_says_who_did_what_and_no_secrets(tmp_path, token):
    with serving(tmp_path) as (process, endpoint):
        api = HfApi(endpoint=endpoint, token=token)
        api.create_repo("alice/m")
        api.upload_file(path_or_fileobj=io.BytesIO(b"\0" * 5000), path_in_repo="x.bin", repo_id="alice/m")
        basic = base64.b64encode(f"git:{token}".encode()).decode()
        cookies = {"Cookie": "session=COOKIE", "Authorization": f"Basic {basic}"}
        with httpx2.Client(base_url=endpoint) as client:
            found = client.get("/alice/m/resolve/main/x.bin?download=QUERY&token=QUERY", headers=cookies)
            assert found.content == b"\0" * 5000
            client.get("/alice/m%0A%22/x", headers=cookies)
            form = {"token": token}
            client.post("/api/models/alice/m/ask-access", data=form, headers=cookies)
        entries = stopped(process)
    log = json.dumps(entries)
    for secret in (token, token.removeprefix("hfv_"), basic, "QUERY", "COOKIE", "signature", "expires"):
        assert secret not in log
    download = next(one for one in entries if one["path"] == "/alice/m/resolve/main/x.bin")
    assert download["request_id"] == found.headers["X-Request-Id"]
    assert (download["status"], download["bytes"], download["user"]) == (200, 5000, "alice")
    assert 0 < download["ms"] < 60_000 and download["time"].endswith("Z")
    upload = next(one for one in entries if one["method"] == "PUT")
    assert upload["status"] == 200 and "user" not in upload
    assert entries[-1]["user"] == "alice" and entries[-1]["status"] == 400
    assert any(one["path"] == "/alice/m%0A%22/x" for one in entries)


def test_what_is_under_way_is_finished(tmp_path, token):
    with serving(tmp_path) as (process, endpoint):
        body = json.dumps({"name": "m"}).encode()
        with begun(endpoint, token, body) as connection:
            process.send_signal(signal.SIGTERM)
            refused_soon(endpoint)
            connection.sendall(body[5:])
            assert connection.recv(1000).startswith(b"HTTP/1.1 200")
        assert process.wait(10) == 0
    with LocalHub(tmp_path) as hub:
        assert HfApi(endpoint=hub.endpoint).model_info("alice/m").id == "alice/m"


def test_what_takes_too_long_is_cut_off_and_leaves_nothing(tmp_path, token):
    with serving(tmp_path, grace=1) as (process, endpoint), begun(endpoint, token, b'{"name": "m"}'):
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert 0.9 < time.monotonic() - began < 8
    with LocalHub(tmp_path) as hub, pytest.raises(RepositoryNotFoundError):
        HfApi(endpoint=hub.endpoint, token=token).model_info("alice/m")


def begun(endpoint, token, body):
    """A connection on which the first five bytes of a request's body have been sent."""
    host, port = endpoint.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    head = f"POST /api/repos/create HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
    connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:5])
    time.sleep(0.3)
    return connection


def refused_soon(endpoint):
    """Wait until no new connection is taken."""
    host, port = endpoint.removeprefix("http://").split(":")
    for _ in range(100):
        try:
            socket.create_connection((host, int(port))).close()
        except ConnectionRefusedError:
            return
        time.sleep(0.05)
    raise AssertionError("the Hub still takes connections")


def test_health(tmp_path):
    with LocalHub(tmp_path) as hub, httpx2.Client(base_url=hub.endpoint) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        incoming = tmp_path / "incoming"
        incoming.rmdir()
        answer = client.get("/healthz")
        assert (answer.status_code, answer.json()) == (503, {"status": "unusable", "why": "disk"})
        incoming.mkdir()
        assert client.get("/healthz").status_code == 200
        hub._hub.database.change("ALTER TABLE users RENAME TO lost")
        assert client.get("/healthz").json() == {"status": "unusable", "why": "database"}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("makes a certificate with openssl")
    folder = tmp_path_factory.mktemp("tls")
    cert, key = folder / "cert.pem", folder / "key.pem"
    made = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout {key} -out {cert}"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    subprocess.run([openssl, *made.split(), "-addext", names], check=True, capture_output=True)
    return cert, key


def test_tls(tmp_path, token, certificate):
    cert, key = certificate
    script = (
        "import io, huggingface_hub as h; print(h.create_repo('alice/m'));"
        " h.upload_file(path_or_fileobj=io.BytesIO(b'\\0' * 9), path_in_repo='x.bin', repo_id='alice/m');"
        " print(open(h.hf_hub_download('alice/m', 'x.bin'), 'rb').read())"
    )
    # To listen everywhere is refused without the certificate: `test_only_loopback`.
    with serving(tmp_path, host="0.0.0.0", tls_cert=str(cert), tls_key=str(key)) as (process, endpoint):
        assert endpoint.startswith("https://0.0.0.0:")
        endpoint = endpoint.replace("0.0.0.0", "localhost")
        environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_TOKEN": token, "HF_HOME": str(tmp_path / "home")}
        environment["SSL_CERT_FILE"] = str(cert)
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
        assert done.stdout.split("\n")[0] == f"{endpoint}/alice/m", done.stderr[-2000:]
        assert r"\x00" * 9 in done.stdout, done.stderr[-2000:]
        with httpx2.Client() as client, pytest.raises(httpx2.TransportError):
            client.get(endpoint.replace("https", "http") + "/healthz")
        stopped(process)


def test_an_unusable_certificate_is_one_clear_error(tmp_path, certificate):
    cert, key = certificate
    (tmp_path / "no.pem").write_text("no certificate")
    for pair in ((tmp_path / "no.pem", key), (cert, tmp_path / "no.pem"), (cert, None), (tmp_path / "missing", None)):
        with pytest.raises(LocalHubError, match="certificate"):
            serve(tmp_path / "hub", port=0, tls_cert=pair[0], tls_key=pair[1])
    with pytest.raises(LocalHubError, match="--tls-cert"):
        serve(tmp_path / "hub", host="0.0.0.0", port=0, tls_key=key)
    with pytest.raises(LocalHubError, match="without a certificate"):
        serve(tmp_path / "hub", port=0, tls_key=key)
    with LocalHub(tmp_path / "hub"):  # the folder was let go of each time
        pass
