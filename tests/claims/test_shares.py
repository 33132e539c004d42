"""Shares: several doses as somebody writes them, and what of it is refused by name."""

import pytest

from hfvaccine.claims.shares import shared_out
from hfvaccine.cli.flags import configured
from hfvaccine.errors import UsageError
from hfvaccine.training.options import Options, read_config, save_config


def options(dose, **more):
    return Options(base="x", dose=dose, **more)


def read(dose, share=None):
    return shared_out(dose, share)


def test_one_dose_is_as_it_was():
    assert (options("ada/dose").dose, options("ada/dose").share) == ("ada/dose", 0.05)
    assert (options(("ada/dose",)).dose, options(["ada/dose@v1"]).dose_revision) == ("ada/dose", "v1")
    assert (options("ada/dose=0.02").dose, options("ada/dose=0.02").share) == ("ada/dose", 0.02)


def test_each_of_several_has_its_share_and_the_share_is_that_of_all():
    both = options(("starter", "ada/dose@v1=0.02"))
    assert both.dose == ("starter=0.05", "ada/dose@v1=0.02")
    assert both.share == 0.07
    assert [(place.name, place.revision, share) for place, share in both.doses] == [
        ("starter", None, 0.05),
        ("ada/dose", "v1", 0.02),
    ]
    both.check()
    assert options(("starter", "ada/dose=0.02"), share=0.1).share == 0.12


def test_the_options_of_several_are_written_and_read_as_they_are(tmp_path):
    both = options(["starter=0.3", "ada/dose=1e-3"])
    save_config(both, tmp_path)
    assert Options(**read_config(tmp_path / "config.yaml")) == both
    with pytest.raises(UsageError, match=r"share 0.1 is given, and each dose has one of its own, 0.301 in all"):
        Options(**configured(Options, {"share": 0.1}, tmp_path / "config.yaml", None))
    (tmp_path / "two.yaml").write_text("base: x\ndose: [starter=0.02, ada/dose=0.02]\nshare: 0.05\n")
    with pytest.raises(UsageError, match=r"share 0.05 is given, and each dose has one of its own"):
        Options(**read_config(tmp_path / "two.yaml"))
    (tmp_path / "one.yaml").write_text("base: x\ndose: ada/dose\n")
    assert Options(**read_config(tmp_path / "one.yaml")).dose == "ada/dose"
    (tmp_path / "none.yaml").write_text("base: x\ndose: [1]\n")
    with pytest.raises(UsageError, match="dose is"):
        read_config(tmp_path / "none.yaml")


def test_what_lies_here_is_meant_by_its_whole_name(tmp_path):
    folder = tmp_path / "doses=0.3"
    folder.mkdir()
    assert read(str(folder)).doses == ((str(folder), 0.05),)
    assert read([str(folder) + "=0.1", "starter"]).doses == ((str(folder), 0.1), ("starter", 0.05))


@pytest.mark.parametrize(
    ("dose", "more", "said"),
    [
        (("starter", "ada/one", "ada/two=0.1"), {}, "2 of 3 doses have no share of their own: starter, ada/one"),
        (("starter", "ada/one=a lot"), {}, "share 'a lot' of the dose 'ada/one' is no number"),
        (("starter", "ada/one=0"), {}, "share 0.0 is outside"),
        (("starter", "ada/one=nan"), {}, "The share 'nan' of the dose 'ada/one' is no number"),
        (("starter=-inf", "ada/one=0.02"), {}, "The share '-inf' of the dose 'starter' is no number"),
        (("starter=nan", "ada/one=0.02"), {"share": 0.02}, "The share 'nan' of the dose 'starter' is no number"),
        (("starter=0.4", "ada/one=0.3"), {}, "share 0.7 is outside"),
        (("starter", "starter=0.1"), {}, "'starter' is given twice"),
        (("ada/one", "ada/one@v1=0.1", "ada/one@v1=0.2"), {}, "'ada/one@v1' is given twice"),
        (("starter", "ada/one=0.1"), {"dose_revision": "v1"}, "ID@REVISION"),
        (("starter", "ada/one=0.1"), {"claims": 5}, "claims is 5, and there are 2 doses"),
        (("starter=0.1", "ada/one=0.1"), {"share": 0.1}, "each dose has one of its own, 0.2 in all"),
        (
            ("starter=0.02", "ada/one=0.02"),
            {"share": 0.05},
            "share 0.05 is given, and each .* of its own, 0.04 in all",
        ),
        ("starter=0.1", {"share": 0.2}, "each dose has one of its own"),
        ("starter=0.1", {"share": 0.05}, "each dose has one of its own"),
        ((), {}, "There is no dose"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_by_name(dose, more, said):
    with pytest.raises(UsageError, match=said):
        options(dose, **more).check()
