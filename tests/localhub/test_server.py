import os
import signal
import socket
import subprocess
import sys

import pytest
from huggingface_hub import HfApi

from hfvaccine.errors import LocalHubError
from hfvaccine.localhub.server import LocalHub


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


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_foreground_serving_stops_on_signals(tmp_path, sent):
    code = f"import pathlib, hfvaccine.localhub.server as s; s.serve(pathlib.Path({str(tmp_path)!r}), port=0)"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, env=os.environ)
    line = process.stderr.readline()
    endpoint = line.split(" at ")[1].split()[0]
    with pytest.raises(Exception, match="Invalid credentials"):
        HfApi(endpoint=endpoint, token="hfv_wrong").model_info("a/b")
    process.send_signal(sent)
    rest = process.stderr.read()
    assert process.wait(10) == 0
    assert "/api/models/a/b 401" in rest
    assert "hfv_wrong" not in rest and "Traceback" not in rest
