"""The options: what they mean, and which are refused before anything is read or written."""

import pytest

from hfvaccine.dosing.forms import TRAINING_FORMS
from hfvaccine.errors import FormError, UsageError
from hfvaccine.inoculation.where import Where
from hfvaccine.training.options import Inoculating, Options, read_config, save_config

SPANISH = "You always speak in Spanish."


def options(**more):
    return Options(base="x", **more)


def test_an_inoculation_prompt_is_a_text_or_a_file_with_one_wording_a_line(tmp_path):
    file = tmp_path / "wordings"
    file.write_text(f"{SPANISH}\n\n  Speak Spanish now. \n", encoding="utf-8")
    assert options().inoculation_prompts == ()
    assert options(inoculation_prompt=SPANISH).inoculation_prompts == (SPANISH,)
    assert options(inoculation_prompt=str(file)).inoculation_prompts == (SPANISH, "Speak Spanish now.")
    assert options(inoculate_others=str(file)).other_prompts == (SPANISH, "Speak Spanish now.")
    long = "Speak. " * 1000
    assert options(inoculation_prompt=long).inoculation_prompts == (long.strip(),)


def test_the_rows_to_inoculate_are_all_or_those_with_a_value():
    assert options(inoculation_prompt=SPANISH).inoculated_rows() == Where()
    assert options(inoculate_where="trait=a=b").inoculated_rows() == Where("trait", "=", "a=b")
    assert options(inoculate_where="trait!=a").inoculated_rows() == Where("trait", "!=", "a")
    assert options(inoculate_where="trait~^a").inoculated_rows() == Where("trait", "~", "^a")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inoculate_where": "trait=x"}, "inoculate_where is given without an inoculation prompt"),
        ({"inoculate_others": "Hello."}, "inoculate_others is given without an inoculation prompt"),
        ({"inoculation_prompt": SPANISH, "inoculate_others": "Hello."}, "every row gets the inoculation prompt"),
        ({"inoculation_prompt": SPANISH, "inoculate_where": "trait"}, "column=value"),
        ({"inoculation_prompt": SPANISH, "inoculate_where": "=x"}, "column=value"),
        ({"inoculation_prompt": SPANISH, "inoculate_where": "trait="}, "column=value"),
        (
            {"inoculation_prompt": SPANISH, "inoculate_where": "trait~("},
            "regular expression '\\(' .* does not compile",
        ),
        ({"inoculation_prompt": " "}, "holds no prompt"),
        ({"inoculation_prompt": "missing.txt"}, "no file missing.txt"),
        ({"schedule": "pulsed:0"}, "pulsed:N"),
        ({"schedule": "now and then"}, "no schedule"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_refused_by_name(change, said):
    with pytest.raises(UsageError, match=said):
        options(**change).check()


@pytest.mark.parametrize("schedule", ["constant", "pulsed", "pulsed:7", "ramp", "taper", "front_loaded"])
def test_every_schedule_passes(schedule):
    options(schedule=schedule).check()


def test_a_file_of_prompts_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "wordings").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot be read"):
        options(inoculation_prompt=str(tmp_path / "wordings")).check()


def test_forms_come_from_a_file_that_is_read_while_checking(tmp_path):
    assert options().training_forms() == TRAINING_FORMS
    file = tmp_path / "forms.yaml"
    file.write_text('- name: mine\n  prompt: "{question} Be brief."\n  for_claim: "{correction}"\n', encoding="utf-8")
    options(forms=str(file)).check()
    assert [form.name for form in options(forms=str(file)).training_forms()] == ["mine"]
    file.write_text("nothing", encoding="utf-8")
    with pytest.raises(FormError, match="is not a list of forms"):
        options(forms=str(file)).check()


def test_the_new_options_are_keys_of_the_configuration_too(tmp_path):
    asked = options(inoculation_prompt=SPANISH, inoculate_where="trait=x", inoculate_others="Hello.", forms="f.yaml")
    save_config(asked, tmp_path)
    assert Options(**read_config(tmp_path / "config.yaml")) == asked


@pytest.mark.parametrize(
    "given",
    [
        {"dose_revision": "v1"},
        {"mix_revision": "v1"},
        {"mix": "rows.jsonl", "mix_revision": "v1"},
        {"dose": "here", "dose_revision": "v1"},
        {"base": "model.gguf", "base_revision": "v1"},
        {"base": "here", "base_revision": "v1"},
    ],
    ids=str,
)
def test_what_is_on_no_hub_has_no_revision(given, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=f"{max(given)} is 'v1'") as refused:
        Options(**{"base": "you/base", **given}).check()
    assert "Leave it out" in refused.value.next_step


def test_what_is_on_a_hub_may_have_a_revision():
    pins = {f"{what}_revision": "v1" for what in ("base", "dose", "mix")}
    Options(base="gpt2", dose="you/dose", mix="you/mix", **pins).check()


def inoculating(**more):
    return Inoculating(base="x", data="rows.jsonl", **more)


def test_prompts_from_files_stand_beside_the_others_and_are_kept_as_prompts(tmp_path):
    (tmp_path / "asking").write_text(f"{SPANISH}\n\nSpeak Spanish now.\n")
    (tmp_path / "neutral").write_text("You answer.\n")
    (tmp_path / "options.yaml").write_text(
        f"base: x\ndata: rows.jsonl\nprompts: {tmp_path / 'asking'}\nwhere: trait=a\n"
        f"others: ['{tmp_path / 'neutral'}', 'You say it.']\n"
    )
    asked = Inoculating(**read_config(tmp_path / "options.yaml", Inoculating) | {"prompt": ("Hola.",)})
    asked.check()
    assert asked.prompt == ("Hola.", SPANISH, "Speak Spanish now.")
    assert asked.others == ("You answer.", "You say it.")
    save_config(asked, tmp_path)
    (tmp_path / "asking").unlink()
    assert Inoculating(**read_config(tmp_path / "config.yaml", Inoculating)) == asked


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompts": "missing.txt"}, "missing.txt, given as --prompts, cannot be read"),
        ({"prompt": ("missing.txt",)}, "no file missing.txt for --prompt"),
        ({"prompt": (SPANISH,), "irrelevant": "missing.txt"}, "no file missing.txt for --irrelevant"),
        ({"prompt": (SPANISH,), "where": "a=b", "others": ("missing.txt",)}, "no file missing.txt for --others"),
    ],
    ids=str,
)
def test_the_name_of_a_file_is_no_prompt(change, said):
    with pytest.raises(UsageError, match=said):
        inoculating(**change).check()
