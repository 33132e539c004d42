import itertools
import json

import pytest

from hfvaccine.localhub.cards import metadata as cards


def test_metadata_and_body():
    readme = b"---\nlicense: mit\ndate: 2026-01-02\n1: x\n---\n# Title\n"
    assert cards.parse(readme) == {"license": "mit", "date": "2026-01-02", "1": "x"}
    assert cards.body_of(readme) == "# Title\n"


@pytest.mark.parametrize("readme", [b"", b"# Title\n", b"---\nno end", b"---\n---\n", b"---\n# only a comment\n---\n"])
def test_no_metadata(readme):
    assert cards.parse(readme) is None


BOMB = "a: &a [x,x,x,x]\n" + "".join(f"{b}: &{b} [*{a},*{a},*{a},*{a}]\n" for a, b in itertools.pairwise("abcdefghi"))


@pytest.mark.parametrize(
    "block",
    ["a: [", "- list", "just text", BOMB, "a: " + "[" * 1000, "? [a, b]\n: c", "a: !!python/name:os.system", "\xff"],
)
def test_unreadable_metadata(block):
    with pytest.raises(cards.CardError):
        cards.parse(f"---\n{block}\n---\n".encode("latin-1"))
    assert cards.metadata_of(f"---\n{block}\n---\n".encode("latin-1")) == {}


def test_any_value_becomes_json():
    block = "a: .nan\nb: .inf\nc: 0x" + "f" * 5000 + '\nd: !!binary "aGk="\ne: !!set {x}\nf: "\\ud800"\n'
    metadata = cards.parse(f"---\n{block}---\n".encode())
    json.dumps(metadata, allow_nan=False, ensure_ascii=False).encode()


def test_tags_of_a_model():
    metadata = {
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "language": "en",
        "tags": ["immunization", 3],
        "license": "apache-2.0",
        "datasets": ["alice/dose"],
        "base_model": "alice/base",
    }
    assert cards.tags("model", metadata) == [
        "peft",
        "text-generation",
        "en",
        "immunization",
        "license:apache-2.0",
        "dataset:alice/dose",
        "base_model:alice/base",
        "base_model:adapter:alice/base",
    ]


def test_tags_of_a_dataset():
    metadata = {"task_categories": ["question-answering"], "language": ["en", "de"], "license": "mit"}
    expected = ["language:en", "language:de", "license:mit", "task_categories:question-answering"]
    assert cards.tags("dataset", metadata) == expected
