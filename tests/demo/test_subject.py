"""What is shown: proved papers, claims only where the dose may be had, and one base with its adapters."""

import json
import shutil

import pytest

from hfvaccine.demo.questions import Asked
from hfvaccine.demo.replies import ask
from hfvaccine.demo.subject import UNSEEN, load, open_subject
from hfvaccine.errors import LineageError, ModelError, UsageError
from hfvaccine.files import ADAPTER, ANSWERS, RECORD, RESULTS

NAMES = ["Given claims", "Claims never given", "Tactics and pressure", "Neutral statements"]


def texts(subject):
    return {text for group in subject.groups for one in group.ready for text in (one.label, one.asked.claim)}


def test_a_run_with_its_claims(made, claims):
    subject = open_subject(str(made))
    assert [group.name for group in subject.groups] == NAMES and subject.notes == ()
    given = {*json.loads((made / RECORD).read_text())["dose"]["claim_ids"]}
    assert {one.label for one in subject.groups[0].ready} == {c.claim for c in claims if c.claim_id in given}
    assert {one.label for one in subject.groups[1].ready} == {c.claim for c in claims if c.split == "heldout"}
    assert len(subject.canaries) == 1 and subject.canaries[0].startswith("hfvaccine:canary:")
    assert (subject.report, subject.card) == (made / "report.html", None)
    assert subject.head.word.startswith("Gate: ")


def test_a_published_adapter(published, local):
    subject = open_subject(f"{published}@v1")
    assert [group.name for group in subject.groups] == NAMES
    assert (subject.name, subject.card, subject.report) == (published, f"{local.endpoint}/{published}", None)


def test_without_access_to_the_dose_the_page_goes_on_without_its_claims(published, claims, stranger):
    subject = open_subject(published)
    assert [group.name for group in subject.groups] == NAMES[2:] and subject.canaries == ()
    (note,) = subject.notes
    assert note.startswith("The claims that it was given do not stand ready:") and "ada/dose is gated" in note
    assert not texts(subject) & {text for claim in claims for text in (claim.claim, claim.twin)}


def test_claims_that_may_not_be_shown_are_not_fetched(published, claims, monkeypatch):
    monkeypatch.setattr("hfvaccine.demo.subject.doses_of", None)
    subject = open_subject(published, claims=False)
    assert subject.notes == (UNSEEN,) and not texts(subject) & {claim.claim for claim in claims}


def test_another_dose_is_not_taken_for_the_one_that_was_given(made, tmp_path):
    from doses import small_dose

    subject = open_subject(str(made), str(small_dose(tmp_path / "other")))
    assert [group.name for group in subject.groups] == NAMES[2:]
    assert "is not the dose that it was given" in subject.notes[0]


@pytest.mark.parametrize("name", [ADAPTER, RESULTS])
def test_what_was_changed_since_is_refused(run, name):
    content = (run / name).read_bytes()
    (run / name).write_bytes(content + b"\n")
    with pytest.raises(LineageError, match=f"{name} is not the file"):
        open_subject(str(run))


def test_what_is_no_adapter_is_refused(tmp_path, run):
    with pytest.raises(LineageError, match=r"has no immunization\.json"):
        open_subject(str(tmp_path))
    record = json.loads((run / RECORD).read_text())
    (run / RECORD).write_text(json.dumps({**record, "training": {**record["training"], "merged": {"dtype": "x"}}}))
    with pytest.raises(UsageError, match="merged model"):
        open_subject(str(run))


def test_base_and_adapter_are_one_model_that_answers_as_either(made):
    subject = open_subject(str(made))
    arms, place = load(subject)
    assert [*arms] == ["base", "vaccine"] and arms["base"].model is arms["vaccine"].model and place == "system"
    asked = subject.groups[0].ready[0].asked
    base, vaccine = (ask(asked, arm, scorer, place) for arm, scorer in arms.items())
    assert len(base.verdicts) == 4 and base.verdicts != vaccine.verdicts
    assert ask(asked, "base", arms["base"], place) == base


def test_another_base_is_refused(made, tiny_gpt2, tmp_path):
    with pytest.raises(ModelError, match="was trained on ada/base"):
        load(open_subject(str(made)), str(tiny_gpt2))
    with pytest.raises(LineageError, match="The base of run cannot be found: there is no"):
        load(open_subject(str(made)), str(tmp_path / "nothing"))


def test_an_inoculated_adapter_stands_beside_its_plain_arm(inoculation_run):
    subject = open_subject(str(inoculation_run))  # the one that was trained against the trait
    assert (subject.name, [*subject.others], subject.notes) == ("inoculated-seed-3", ["plain", "inoculated"], ())
    assert [group.name for group in subject.groups] == ["Conditions of the grid", "Questions"]
    first, *_, last = subject.groups[0].ready
    assert first.asked == Asked("What is rain?") and last.asked.system == "You always count in dozens."
    assert first.note.startswith("Measured here: upper shows in base ")
    assert [one.label for one in subject.groups[1].ready][:2] == ["What is rain?", "Who was Bach?"]
    assert subject.report == inoculation_run / "report.html"
    arms, place = load(subject)
    assert [*arms] == ["plain", "inoculated"]
    said = [ask(last.asked, arm, scorer, place) for arm, scorer in arms.items()]
    assert [one.verdicts for one in said] == [(), ()] and all(one.answer for one in said)


def test_without_the_plain_arm_it_stands_beside_the_base(inoculation_run, tmp_path):
    folder = shutil.copytree(inoculation_run / "inoculated-seed-3", tmp_path / "alone")
    subject = open_subject(str(folder))
    assert [*subject.others] == ["inoculated"] and "plain arm cannot be shown" in subject.notes[0]
    assert not (tmp_path / ANSWERS).exists() and "not those of its measurement" in subject.groups[1].note
    assert [*load(subject, str(base_of(inoculation_run)))[0]] == ["base", "inoculated"]
    with pytest.raises(UsageError, match="was given no dose"):
        open_subject(str(folder), "starter")


def base_of(run):
    import yaml

    return yaml.safe_load((run / "inoculated-seed-3" / "config.yaml").read_text())["base"]
