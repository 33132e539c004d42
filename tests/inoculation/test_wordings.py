"""Prompts from texts and files: what is meant, and that the name of a file is never learned under."""

import pytest

from hfvaccine.errors import UsageError
from hfvaccine.inoculation.wordings import in_file, refuse_file, wordings

SPANISH = "You always speak in Spanish."


def test_a_prompt_ends_at_a_line_feed_and_at_no_other_sign(tmp_path):
    text = "\ufeffSpeak\u2028Spanish.\r\n\n Be\x85brief.\x0c\n"
    (tmp_path / "prompts.txt").write_text(text, encoding="utf-8", newline="")
    assert in_file("--prompts", tmp_path / "prompts.txt") == ("Speak\u2028Spanish.", "Be\x85brief.")


def test_a_text_is_the_prompt_and_a_file_is_what_is_in_it(tmp_path):
    (tmp_path / "neutral").write_text(f"{SPANISH}\n\nYou answer.\n")
    assert wordings("--others", f" {SPANISH} ") == (SPANISH,)
    assert wordings("--others", str(tmp_path / "neutral")) == (SPANISH, "You answer.")


@pytest.mark.parametrize(
    "text",
    [
        *(SPANISH, "Answer.", "Speak", "You answer with and/or, in e.g. Spanish", "Score 2.5", "Be brief. " * 900),
        "请用西班牙语/法语回答。",
    ],
)
def test_what_reads_like_a_prompt_is_one(text):
    assert wordings("--others", text) == (text.strip(),)


@pytest.mark.parametrize(
    "text",
    ["neutral.txt", "my prompts.txt", "prompts/neutral", "~/neutral", "./neutral", "C:\\neutral", "neutral.prompts"],
)
def test_a_file_that_is_not_there_is_no_prompt(text):
    with pytest.raises(UsageError, match="There is no file") as caught:
        wordings("--others", text)
    assert "one prompt a line" in caught.value.next_step and "full stop" in caught.value.next_step


def test_a_file_where_a_prompt_belongs_is_refused_and_so_is_a_folder(tmp_path):
    (tmp_path / "neutral").write_text(SPANISH)
    with pytest.raises(UsageError, match="is the name of a file") as caught:
        refuse_file("--prompt", str(tmp_path / "neutral"), "Give it as --prompts.")
    assert "--prompts" in caught.value.next_step
    with pytest.raises(UsageError, match="file or folder"):
        wordings("--others", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("none.txt", None, "cannot be read: No such file or directory."),
        ("empty.txt", " \n\n", "is empty"),
        ("rows.jsonl", '{"prompt": "a"}', "by its name"),
        ("grid.yaml", "original: a", "by its name"),
        ("latin", b"Espa\xf1ol", "cannot be read: it is no UTF-8 text."),
        ("list.txt", "a.txt\n", "There is no file a.txt"),
    ],
)
def test_a_file_without_prompts_is_refused(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UsageError, match=said):
        in_file("--prompts", tmp_path / name)
