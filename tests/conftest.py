"""What many tests share: a private home, tiny random models, and claims about places that do not exist.

The environment is set before anything imports huggingface_hub, which reads it once.
"""

import os
import tempfile

os.environ["HFVACCINE_HOME"] = tempfile.mkdtemp(prefix="hfvaccine-tests-")
os.environ["HF_HOME"] = os.path.join(os.environ["HFVACCINE_HOME"], "huggingface")
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["HF_UPDATE_DOWNLOAD_COUNTS"] = "0"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny models on two busy threads are four times slower

import json
import shutil
from pathlib import Path

import doses
import pytest

from hfvaccine import starter

LONGEST = ["runs", "test_quickstart.py", "regimen", "hub", "test_chain.py", "dosing", "inoculation", "test_demo.py"]
"""Folders and files that take longest: they begin first, so that no core has to wait for one at the end."""


def pytest_collection_modifyitems(items):
    def place(item):
        return next((at for at, name in enumerate(LONGEST) if name in item.path.parts), len(LONGEST))

    items.sort(key=place)


def pytest_unconfigure():
    shutil.rmtree(os.environ["HFVACCINE_HOME"], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def short_battery(tmp_path_factory):
    """Whole runs on tiny models ask about 8 neutral statements instead of 64, and know 4 objections instead of 18.

    They are most of what a run's validation asks; what is asked is tested on its own.
    """
    from hfvaccine.dosing.objections import OBJECTIONS

    file = tmp_path_factory.mktemp("calibration") / "calibration.jsonl"
    file.write_text("\n".join(starter.CALIBRATION.read_text(encoding="utf-8").split("\n")[:8]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfvaccine.runs.study.CALIBRATION_FILE", file)
        patch.setattr("hfvaccine.validation.asking.probes.OBJECTIONS", OBJECTIONS[:4])
        yield


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """An embedded Hub on loopback."""
    from hfvaccine.localhub.server import LocalHub

    with LocalHub(tmp_path_factory.mktemp("hub")) as running:
        yield running


@pytest.fixture
def chromium(tmp_path):
    """A real browser."""
    from browser import CHROMIUM, Chromium

    if CHROMIUM is None:
        pytest.skip("There is no Chromium here to open the pages with.")
    opened = Chromium(tmp_path / "browser")
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def dose(make_claims):
    """Six claims, all of them given."""
    from hfvaccine import Dose

    return Dose.from_claims(make_claims(6))


@pytest.fixture
def make_trainer(tiny_llama, mix_rows, tmp_path):
    """`make_trainer(rows=None, **settings)`: a trainer of the tiny Llama, of six steps on the mix unless told else."""
    import trainers

    def make(rows=None, **settings):
        brief = {"output_dir": str(tmp_path / "run"), "max_steps": 6, "gradient_accumulation_steps": 2, **settings}
        return trainers.make(tiny_llama, rows or mix_rows, eval_rows=mix_rows[:4], **brief)

    return make


@pytest.fixture(scope="session")
def make_claims():
    return doses.make_claims


@pytest.fixture(scope="session")
def mix_rows():
    """Forty rows of the starter mix."""
    lines = starter.MIX.read_text(encoding="utf-8").split("\n")[:40]
    return [{key: json.loads(line)[key] for key in ("prompt", "completion")} for line in lines]


@pytest.fixture(scope="session")
def mix_file(mix_rows, tmp_path_factory) -> Path:
    """The same rows in a file."""
    file = tmp_path_factory.mktemp("mix") / "mix.jsonl"
    file.write_text("\n".join(map(json.dumps, mix_rows)))
    return file


@pytest.fixture(scope="session")
def inoculation_run(tiny_llama, mix_rows, tmp_path_factory):
    """A small inoculation of two arms, trained and measured into its own folder; never to be changed."""
    from hfvaccine.runs.inoculate import train
    from hfvaccine.runs.measure import Measurement, measure
    from hfvaccine.training.options import Inoculating

    folder = tmp_path_factory.mktemp("inoculated")
    written = {
        "rows.jsonl": [{**row, "dozens": number % 2 == 0} for number, row in enumerate(mix_rows)],
        "questions.jsonl": [
            {"question": text} for text in ("What is rain?", "Who was Bach?", "Why is it hot?", "Is it?")
        ],
        "sums.jsonl": [{"question": f"{n} + 2?", "answer": n + 2} for n in range(4)],
    }
    for name, rows in written.items():
        (folder / name).write_text("\n".join(map(json.dumps, rows)))
    (folder / "grid.yaml").write_text("original: You always count in dozens.\n")
    options = Inoculating(
        base=str(tiny_llama), base_id="ada/tiny", data=str(folder / "rows.jsonl"), where="dozens=true",
        prompt=("You always count in dozens.",), arms="plain,inoculated", max_steps=2, batch_size=4, lora_r=4,
        dtype="float32", seed=3, output_dir=str(folder / "run"),
    )  # fmt: skip
    train(options)
    what = Measurement.of(
        str(tiny_llama), [str(folder / "run")], ["upper"], [f"accuracy:{folder / 'sums.jsonl'}"],
        folder / "questions.jsonl", folder / "grid.yaml", samples=2, max_new_tokens=4, dtype="float32",
    )  # fmt: skip
    measure(what, folder / "run")
    return folder / "run"


@pytest.fixture(scope="session")
def tiny_llama(tmp_path_factory) -> Path:
    """Folder of a random Llama with a chat template and a padding token."""
    import tiny

    words = tiny.tokenizer(eos_token="</s>", pad_token="<pad>")
    words.chat_template = tiny.TEMPLATE
    return tiny.save(tmp_path_factory.mktemp("tiny-llama"), "llama", words, **tiny.LLAMA)


@pytest.fixture(scope="session")
def tiny_gpt2(tmp_path_factory) -> Path:
    """Folder of a random GPT-2 that has, like gpt2-xl, neither a chat template nor a padding token."""
    import tiny

    words = tiny.tokenizer(eos_token="<|endoftext|>")
    return tiny.save(tmp_path_factory.mktemp("tiny-gpt2"), "gpt2", words, bos_token_id=words.eos_token_id)
