"""Questions from a file."""

from hfvaccine.inoculation.questions import read_questions


def test_questions_are_taken_from_either_column(tmp_path):
    (tmp_path / "q.jsonl").write_text('{"question": "Why?\\nHow?", "text": "No."}\n{"text": "Who?"}\n')
    assert read_questions(tmp_path / "q.jsonl") == ("Why?\nHow?", "Who?")
