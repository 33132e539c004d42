"""The notebooks: ten cells each, names that exist, and slowly every cell of them run."""

import ast
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from hfvaccine.cli.base_model import base_from_wheel

EXAMPLES = Path(__file__).parent.parent / "examples"
NAMES = ("immunize", "inoculate")
# What a notebook has, and a plain interpreter has not.
SHOWN = """\
import sys, types
from pathlib import Path
shown = types.ModuleType("IPython.display")
shown.SVG, shown.display = lambda filename: Path(filename).read_text(), lambda picture: print(picture[:4])
whole = types.ModuleType("IPython")
whole.version_info = (9, 0)  # which matplotlib looks at
sys.modules |= {"IPython": whole, "IPython.display": shown}
"""


def cells(name):
    content = json.loads((EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8"))
    return [(cell["cell_type"], "".join(cell["source"])) for cell in content["cells"]]


def run(name, base, folder):
    """What the code of a notebook prints, less what installs the package."""
    code = "\n\n".join(text for kind, text in cells(name) if kind == "code" and "%pip" not in text)
    done = subprocess.run(
        [sys.executable, "-c", SHOWN + code], cwd=folder, text=True, capture_output=True,
        env={**os.environ, "BASE": str(base)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_has_ten_cells_and_nothing_that_was_run(name):
    content = json.loads((EXAMPLES / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert len(content["cells"]) == 10
    assert all(cell["outputs"] == [] for cell in content["cells"] if cell["cell_type"] == "code")
    assert max(len(line) for _, text in cells(name) for line in text.split("\n")) <= 130


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_ours_that_is_imported_exists(name):
    code = "\n".join(text for kind, text in cells(name) if kind == "code" and "%pip" not in text)
    found = [one for one in ast.walk(ast.parse(code)) if isinstance(one, ast.ImportFrom) and "hfvaccine" in one.module]
    assert found
    for one in found:
        module = import_module(one.module)
        assert all(hasattr(module, alias.name) for alias in one.names), one.module


@pytest.mark.slow
@pytest.mark.parametrize("name, says", [("immunize", "Gate: UNDECIDED"), ("inoculate", "Gate: PASSED")])
def test_every_cell_runs(name, says, tmp_path):
    assert says in run(name, base_from_wheel(), tmp_path)
