"""What somebody means who names a base, dose, mix or adapter."""

import pytest

from hfvaccine.errors import UsageError
from hfvaccine.sources.place import Source, at_revision

KINDS = ("base", "dose", "mix", "adapter")


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize("revision", ["v1", "main", "a" * 40, "refs/pr/3", "a@b"])
def test_an_id_is_on_a_hub_at_its_revision_however_that_is_given(what, revision):
    assert Source.of(what, "you/thing") == Source("you/thing", None, True)
    assert Source.of(what, f"you/thing@{revision}") == Source("you/thing", revision, True)
    assert Source.of(what, "you/thing", revision) == Source("you/thing", revision, True)


@pytest.mark.parametrize(
    ("what", "given", "on_hub"),
    [
        ("base", "gpt2", True),
        ("mix", "squad", True),
        ("adapter", "tiny", False),
        ("dose", "mine", False),  # a dose has a namespace, and so has an adapter
        ("dose", "starter", False),
        ("mix", "starter", False),
        ("base", "tiny.gguf", False),
        ("base", "you/tiny.gguf", False),
        ("mix", "rows.jsonl", False),
        ("mix", "you/rows.parquet", False),
        ("dose", "you/rows.jsonl", True),
        ("base", "_you/_tiny", True),
    ],
)
def test_what_is_not_here_is_told_by_its_name(what, given, on_hub):
    assert Source.of(what, given) == Source(given, None, on_hub)


@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize(
    "given",
    [
        "C:\\models\\tiny",
        "C:\\Users\\me@home\\tiny",
        "C:/models/tiny@v1",
        "./you/tiny@v1",
        "../tiny@v1",
        "/models/tiny@v1",
        "~/tiny@v1",
        "a/b/c@v1",
        "you/tiny@",
        "@v1",
        "@",
        "you/../tiny@v1",
        "you/ti ny@v1",
        "name=you/tiny",
    ],
)
def test_what_cannot_be_an_id_is_a_path_and_kept_whole(what, given):
    assert Source.of(what, given) == Source(given, None, False)


@pytest.mark.parametrize("what", ["base", "dose", "adapter"])
@pytest.mark.parametrize("name", ["you/tiny", "you/tiny@v1", "tiny@v1", "tiny"])
def test_a_folder_that_is_here_is_that_folder_whatever_it_looks_like(what, name, empty_folder):
    (empty_folder / name).mkdir(parents=True)
    assert Source.of(what, name) == Source(name, None, False)
    with pytest.raises(UsageError, match="has no revisions"):
        Source.of(what, name, "v2")


def test_a_folder_does_not_stand_in_the_way_of_a_mix(empty_folder):
    (empty_folder / "you" / "mix").mkdir(parents=True)
    assert Source.of("mix", "you/mix@v1") == Source("you/mix", "v1", True)


@pytest.mark.parametrize("given", ["rows@v1.jsonl", "rows@old/mix.parquet"])
def test_a_file_may_have_the_sign_in_its_name(given):
    assert Source.of("mix", given) == Source(given, None, False)
    assert Source.of("base", "you/tiny@q4.gguf") == Source("you/tiny@q4.gguf", None, False)


@pytest.mark.parametrize(
    ("what", "option"),
    [("base", "base_revision"), ("dose", "dose_revision"), ("mix", "mix_revision"), ("adapter", "--revision")],
)
def test_two_revisions_and_one_of_what_has_none_are_refused_by_option(what, option):
    with pytest.raises(UsageError, match=f"^you/thing@v1 names a revision, and so does {option}"):
        Source.of(what, "you/thing@v1", "v1")
    with pytest.raises(UsageError, match=f"^{option} is 'v2', and the {what} '/a/path' is on no Hub"):
        Source.of(what, "/a/path", "v2")


def test_a_repo_is_asked_for_by_its_id_alone_whatever_is_here(empty_folder):
    (empty_folder / "you" / "dose@v1").mkdir(parents=True)
    assert at_revision("you/dose@v1") == ("you/dose", "v1")
    assert at_revision("you/dose", "v1") == ("you/dose", "v1")
    assert at_revision("you/dose@") == ("you/dose@", None)
    with pytest.raises(UsageError, match="so does --revision"):
        at_revision("you/dose@v1", "v2")


@pytest.mark.parametrize("what", ["base", "dose", "mix", "adapter"])
def test_an_empty_text_is_not_the_current_folder(what):
    with pytest.raises(UsageError, match=f"{what} is named by an empty text"):
        Source.of(what, "")
