"""The house as pyproject.toml draws it: what `make lint` cannot see of it."""

import configparser
import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TRAINING_STACK = ("torch", "transformers", "datasets", "trl", "peft")
# What a trainer or a model is put together with; these alone load the training stack when they are imported.
HEAVY = (
    "runs.immunize",
    "runs.ingredients",
    "runs.inoculate",
    "runs.reproduce",
    "runs.trial",
    "runs.validate",
    "surveillance.booster",
    "dosing.callback",
    "inoculation.callback",
    "regimen.attach",
    "regimen.dosage",
    "regimen.pairwise",
    "regimen.regimen",
    "regimen.replay",
    "regimen.stream",
    "regimen.trainer",
    "regimen.watch",
    "training.trackers",
    "training.unpadded",
    "validation.callback",
    "validation.scoring.generate",
    "validation.scoring.harness",
    "validation.scoring.scorer",
    "validation.scoring.weights",
)


def test_importing_a_module_loads_no_training_stack_but_where_it_is_said():
    code = f"""
import importlib, json, pkgutil, sys
import hfvaccine
loads = []
for module in pkgutil.walk_packages(hfvaccine.__path__, "hfvaccine."):
    name = module.name.removeprefix("hfvaccine.")
    if name in {HEAVY} or name == "__main__":
        continue
    importlib.import_module(module.name)
    if found := [one for one in {TRAINING_STACK} if one in sys.modules]:
        loads.append([name, found])
        break
print(json.dumps(loads))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_the_wheel_holds_every_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    there = {".".join(file.parent.relative_to(ROOT).parts) for file in (ROOT / "hfvaccine").rglob("__init__.py")}
    cards = {"hfvaccine.dataset_cards", "hfvaccine.model_cards"}
    assert set(config["options"]["packages"].split()) == there | cards


def test_the_root_stays_small_and_files_readable():
    assert len(list((ROOT / "hfvaccine").glob("*.py"))) <= 10
    sizes = {file: len(file.read_text(encoding="utf-8").splitlines()) for file in (ROOT / "hfvaccine").rglob("*.py")}
    assert {str(file): size for file, size in sizes.items() if size > 600} == {}
