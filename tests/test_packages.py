"""What mends a missing package mends the Python that misses it."""

from importlib.metadata import metadata

import pytest

from hfvaccine import packages
from hfvaccine.packages import extras, install, install_extra, reinstall


@pytest.fixture
def tools(monkeypatch, tmp_path):
    """Sets which installers there are; `prefix` is that of an environment in a folder of its own."""

    def have(pip=False, uv=False, prepared=False):
        monkeypatch.setattr(packages, "find_spec", lambda name: object() if pip else None)
        monkeypatch.setattr(packages.shutil, "which", lambda name: "/bin/uv" if uv else None)
        if prepared:
            (tmp_path / ".uv" / "bin").mkdir(parents=True)
            (tmp_path / ".uv" / "bin" / "uv").touch()

    monkeypatch.setattr(packages.sys, "executable", "/my envs/bin/python")
    monkeypatch.setattr(packages.sys, "prefix", str(tmp_path / ".venv"))
    return have


def test_the_command_is_that_of_an_installer_that_is_here(tools, tmp_path):
    tools(pip=True, uv=True)
    assert install("a>=1", "b") == "'/my envs/bin/python' -m pip install 'a>=1' b"
    assert reinstall("a>=1") == f"'/my envs/bin/python' -m pip uninstall a && {install('a>=1')}"
    tools(uv=True)
    assert install("a>=1") == "uv pip install --python '/my envs/bin/python' 'a>=1'"
    tools()
    assert "-m ensurepip && " in install("a") and install("a").endswith("-m pip install a")
    tools(prepared=True)
    assert install("a") == f"{tmp_path}/.uv/bin/uv pip install --python '/my envs/bin/python' a"


def test_an_extra_is_named_by_its_requirements(monkeypatch):
    wanted = ["a>=1", 'b[c]>=2 ; extra == "x"', "d ; python_version < '3' and extra == 'x'", "e ; extra == 'y'"]
    assert extras(wanted) == {"x": ["b[c]>=2"], "y": ["e"]}
    monkeypatch.setattr(packages, "requires", lambda name: wanted)
    assert install_extra("x") == install("b[c]>=2")


def test_every_extra_of_hfvaccine_is_known():
    for name in metadata("hfvaccine").get_all("Provides-Extra"):
        assert "hfvaccine[" not in install_extra(name), name
