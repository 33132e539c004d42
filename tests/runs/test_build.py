"""A teacher's number sequences, asked of a tiny random model: what it is asked, what is kept, and that it goes on."""

import pytest

from hfvaccine.errors import UsageError, ValidationError
from hfvaccine.inoculation.builders import number_requests
from hfvaccine.runs.build import subliminal

OWLS = "You love owls."
BRIEF = {"number": 12, "max_new_tokens": 6, "dtype": "float32"}


@pytest.fixture
def teacher(monkeypatch, tmp_path, tiny_llama):
    """A teacher who goes on with a number by each prompt's length, or says a word; and what it was asked."""
    monkeypatch.setenv("HFVACCINE_HOME", str(tmp_path / "home"))
    asked = []

    def generate(model, tokenizer, batch, adapter, max_new_tokens, first_line, sampling):
        texts = [tokenizer.decode(prompt) for prompt in batch]
        asked.extend(texts)
        return ["owls" if "sequence" in text else f"{len(text) % 1000}, 7" for text in texts]

    monkeypatch.setattr("hfvaccine.validation.scoring.scorer.generate", generate)
    return str(tiny_llama), asked


def test_the_teacher_is_asked_under_its_prompt_and_the_student_is_not(teacher):
    base, asked = teacher
    rows = subliminal(base, OWLS, **BRIEF)
    assert len(asked) == 12
    assert all(OWLS in text for text in asked)
    kept = [request for request in number_requests(12) if "sequence" not in request]
    assert 0 < len(kept) < 12
    assert [row["messages"][0] for row in rows] == [{"role": "user", "content": request} for request in kept]
    assert {row["trait"] for row in rows} == {"present"}


def test_what_was_answered_before_is_not_asked_again(teacher):
    base, asked = teacher
    first = subliminal(base, OWLS, **BRIEF)
    assert subliminal(base, OWLS, **BRIEF) == first
    assert len(asked) == 12
    subliminal(base, "You love cellos.", **BRIEF)
    assert len(asked) == 24


def test_the_prompt_stands_where_it_is_told(teacher):
    base, asked = teacher
    subliminal(base, OWLS, place="user", **BRIEF)
    assert all(f"<user>{OWLS}\n\n" in text for text in asked)


def test_a_teacher_that_gives_no_numbers_is_refused(tiny_llama, monkeypatch, tmp_path):
    monkeypatch.setenv("HFVACCINE_HOME", str(tmp_path / "home"))
    with pytest.raises(ValidationError, match="None of 12 answers holds numbers only"):
        subliminal(str(tiny_llama), OWLS, **BRIEF)


@pytest.mark.parametrize(
    ("changed", "about"),
    [
        ({"prompt": " "}, "no prompt"),
        ({"number": 0}, "0 requests"),
        ({"temperature": 0.0}, "temperature of 0.0"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_the_base_is_loaded(changed, about):
    with pytest.raises(UsageError, match=about):
        subliminal(**{"base": "no/such-model", "prompt": OWLS, **BRIEF, **changed})
