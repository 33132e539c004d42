"""Several doses in one run of a tiny random GPT-2: what is given, recorded, proved, made again, shown, published."""

import copy
import dataclasses
import json
from functools import partial

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from doses import sealed
from hubs import talk_to
from lineage.chains import states, why

from hfvaccine.claims.dose import Dose
from hfvaccine.cli import cli
from hfvaccine.demo.subject import open_subject
from hfvaccine.errors import DoseError, HubError, PublishError, UsageError
from hfvaccine.files import CARD, CONFIG, LEDGER, PAGE, RECORD, RESULTS
from hfvaccine.hub.adapter_files import adapter_files
from hfvaccine.hub.push import push_adapter, push_dose
from hfvaccine.lineage.chain import check
from hfvaccine.lineage.difference import differences
from hfvaccine.lineage.fetch import chain_of, dose_of, gather, papers
from hfvaccine.lineage.links import BROKEN, MISSING, OK
from hfvaccine.regimen.plan import CONTROL, DOSE
from hfvaccine.runs.immunize import dry_run, immunize
from hfvaccine.runs.reproduce import reproduce
from hfvaccine.runs.trial import trial
from hfvaccine.runs.validate import validate
from hfvaccine.sources.place import with_revision
from hfvaccine.surveillance.booster import prepared
from hfvaccine.surveillance.probing import Target
from hfvaccine.text import percent
from hfvaccine.training.arm import train
from hfvaccine.training.options import Boosting, Options, read_config
from hfvaccine.training.validation_options import Validation
from hfvaccine.validation.judging.results import evaluate


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    """Intervals are not what is tested here, nor pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hfvaccine.runs.study.evaluate", partial(evaluate, draws=200))
        yield


@pytest.fixture
def hub(local, monkeypatch, tmp_path):
    """The embedded Hub, and everybody in this process talks to it as ada."""
    talk_to(local, monkeypatch, "ada", tmp_path / "cache")
    return local


@pytest.fixture(scope="module")
def folders(make_claims, tmp_path_factory):
    """A dose of eight claims, and one of six, of which the first also stands in the other; each holds out the next."""
    folder, claims = tmp_path_factory.mktemp("doses"), make_claims(18)
    held_out = {8, 9, 10, 13}  # the other dose gives the last
    one = [dataclasses.replace(claim, split="heldout" if n in held_out else "dose") for n, claim in enumerate(claims)]
    mended = dataclasses.replace(claims[7], correction="Maps say otherwise.")
    return (
        sealed(folder / "one", [*one[:11], one[13]]).path,
        sealed(folder / "other", [mended, *claims[11:16]], name="Boreal", share_limits=[0.0, 0.2]).path,
    )


@pytest.fixture(scope="module")
def options(folders, tiny_gpt2, mix_file):
    one, other = folders
    return Options(
        base=str(tiny_gpt2), dose=(f"{one}=0.3", f"{other}=0.1"), mix=str(mix_file), max_steps=4, batch_size=8,
        max_length=512, lora_r=4, dtype="float32", seed=3, exposures=1, comparisons="none", adversarial=0,
        base_id="ada/tiny", output_dir="nowhere",
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(options, tmp_path_factory):
    """A run of both; never to be changed."""
    return immunize(dataclasses.replace(options, output_dir=str(tmp_path_factory.mktemp("runs") / "run")))


@pytest.fixture(scope="module")
def evidence(run, tiny_gpt2):
    return gather(papers(str(run.folder)), base=str(tiny_gpt2))


def test_the_record_names_each_dose_with_what_was_asked_and_given_of_it(run, folders):
    doses = run.record["dose"]["doses"]
    assert [one["id"] for one in doses] == list(map(str, folders))
    assert [one["manifest_sha256"] for one in doses] == [Dose.load(folder).digest() for folder in folders]
    assert [one["share_asked"] for one in doses] == [0.3, 0.1]
    rows = pq.read_table(run.folder / LEDGER).to_pylist()
    whole = sum(row["tokens"] for row in rows)
    longest = max(row["tokens"] for row in rows)
    for one in doses:
        own = [row for row in rows if row["kind"] == "dose" and row["origin"] == one["manifest_sha256"]]
        assert one["share_given"] == round(sum(row["tokens"] for row in own) / whole, 5)
        assert abs(one["share_given"] - one["share_asked"]) < 2 * longest / whole
        assert one["claims_given"] == len({row["claim_id"] for row in own})
    assert run.record["plan"]["share_asked"] == 0.4
    assert sum(one["claims_given"] for one in doses) == run.record["dose"]["claims_given"]


def test_a_claim_of_both_is_the_first_named_and_what_one_gives_the_other_does_not_hold_out(run, folders, make_claims):
    whole = dose_of(papers(str(run.folder)))
    one = Dose.load(folders[0])
    shared = make_claims(8)[7]
    assert whole.origins[shared.claim_id] == one.digest()
    assert next(c for c in whole.claims if c.claim_id == shared.claim_id).correction == shared.correction
    assert len(one.heldout) == 4 and len(whole.heldout) == 3
    rows = pq.read_table(run.folder / LEDGER).to_pylist()
    assert {row["origin"] for row in rows if row["claim_id"] == shared.claim_id} <= {one.digest()}


def test_its_chain_holds_link_by_link(run, evidence):
    chain = check(run.record, evidence)
    assert {name: state for name, state in states(chain).items() if state != OK} == {}


@pytest.mark.parametrize(
    ("change", "link"),
    [
        (lambda doses: doses[0].update(share_asked=0.2), "ledger"),
        (lambda doses: doses[1].update(share_given=0.2), "ledger"),
        (lambda doses: doses[1].update(claims_given=1, claims_chosen=1), "claims"),
        (lambda doses: doses[0].update(manifest_sha256="0" * 64), "dose"),
        (lambda doses: doses.reverse(), "dose"),
    ],
)
def test_another_dose_share_or_number_breaks_it(run, evidence, change, link):
    record = copy.deepcopy(run.record)
    change(record["dose"]["doses"])
    assert states(check(record, evidence))[link] == BROKEN


def test_card_report_and_materials_list_both_with_their_shares(run):
    card, page = (run.folder / CARD).read_text(), (run.folder / PAGE).read_text()
    for one in run.record["dose"]["doses"]:
        assert one["manifest_sha256"][:8] in card and percent(one["share_given"]) in page
    assert "of the tokens asked" in card and "Boreal" in page
    shown = CliRunner().invoke(cli, ["bom", str(run.folder)])
    assert shown.exit_code == 0, shown.output
    parts = {one["bom-ref"] for one in json.loads(shown.stdout)["components"]}
    assert {"dose", "dose-2"} <= parts


def test_it_is_made_again_from_its_papers(run, tmp_path):
    made = reproduce(str(run.folder), output_dir=tmp_path / "again")
    assert made.reproduced and made.same_ledger and made.same_adapter and not made.others
    record = json.loads((tmp_path / "again" / RECORD).read_text())
    assert not [one for one in differences(run.record, record) if one.group in ("dose", "plan")]
    assert read_config(tmp_path / "again" / CONFIG)["dose"] == read_config(run.folder / CONFIG)["dose"]


def test_it_is_validated_probed_and_shown_by_all_that_it_was_given(run, folders, tiny_gpt2, mix_file):
    given = set(run.record["dose"]["claim_ids"])
    for folder in folders:
        results = validate(
            Validation(
                base=str(tiny_gpt2), adapter=str(run.folder), dose=str(folder), mix=str(mix_file), adversarial=0
            )
        )
        assert results["claims"]["given"] == len(given)
    target = Target.of(str(run.folder))
    assert {claim.claim_id for claim in target.claims} == given
    asked = [one for group in open_subject(str(run.folder), claims=True).groups for one in group.ready]
    assert asked


def test_it_is_boosted_with_what_each_gave(run, tmp_path, make_claims, folders):
    claims = [dataclasses.replace(one, claim_id="", claim=f"{one.claim} Truly.") for one in make_claims(20)[18:]]
    new = sealed(tmp_path / "new", claims, name="New").path
    boosted, start = prepared(Boosting(adapter=str(run.folder), dose=str(new), output_dir=str(tmp_path / "boosted")))
    assert [part.name for part in start.dose.parts] == ["New", "Aldor", "Boreal"]
    assert boosted.share == 0.4 and boosted.dose == str(new)
    assert {claim.claim_id for claim in start.dose.claims} == {*run.record["dose"]["claim_ids"], *(
        claim.claim_id for claim in Dose.load(new).claims)}  # fmt: skip


def test_what_was_given_from_folders_is_published_without_them_and_proved_by_who_has_them(
    run, options, folders, make_claims, tiny_gpt2, hub, tmp_path
):
    one, other = folders
    third = sealed(tmp_path / "third", make_claims(5), name="Third").path
    push_dose(one, "ada/one")
    public = json.loads(adapter_files(run.folder, "ada/both", base_id="ada/tiny", publish_failed=True)[RECORD])
    assert [one["id"] for one in public["dose"]["doses"]] == [folder.name for folder in folders]
    pushed = push_adapter(run.folder, "ada/both", dose_id="ada/one", publish_failed=True)
    assert pushed
    found = papers("ada/both")
    assert found.record["dose"]["doses"][0]["id"] == "ada/one"
    chain = chain_of(found, gather(found, base=str(tiny_gpt2)))
    left = {name: state for name, state in states(chain).items() if state == BROKEN}
    assert not left, left
    assert states(chain)["dose"] == MISSING and why(chain, "dose") == "other was local: name it with --dose"

    def held(*dose):
        chain = chain_of(found, gather(found, dose, str(tiny_gpt2), options.mix))
        return states(chain)["dose"], why(chain, "dose")

    for named in ((other,), (other, one), (one, other), ("ada/one", other)):
        assert held(*map(str, named)) == (OK, ""), named
    assert held(str(third))[0] == BROKEN and f"{third} is none of the doses that it was given: ada/one at" in held(
        str(third)
    )[1]  # fmt: skip
    with pytest.raises(UsageError, match="'other', a folder that is neither") as caught:
        reproduce("ada/both", base=str(tiny_gpt2), mix=options.mix, output_dir=tmp_path / "again")
    assert caught.value.next_step == "Say with --dose where it is."
    again = reproduce("ada/both", base=str(tiny_gpt2), dose=str(other), mix=options.mix, output_dir=tmp_path / "again")
    assert again.reproduced and again.same_adapter and not again.others


def test_folders_that_are_on_a_hub_by_now_are_named_in_any_order_and_each_is_pinned(run, folders, make_claims, hub):
    commits = {name: push_dose(folder, f"ada/p-{name}").revision for folder, name in zip(folders, "ab", strict=True)}
    push_dose(sealed(folders[0].parent / "third", make_claims(5), name="Third").path, "ada/p-third")
    one, other = f"ada/p-a@{commits['a']}=0.3", f"ada/p-b@{commits['b']}=0.1"
    asked = {
        "ada/both-pinned": (("ada/p-b", "ada/p-a"), [one, other]),
        "ada/second-pinned": ("ada/p-b", [f"{folders[0].name}=0.3", other]),
    }
    for repo, (ids, written) in asked.items():
        push_adapter(run.folder, repo, dose_id=ids, publish_failed=True)
        found = papers(repo)
        assert list(read_config(found.folder / CONFIG)["dose"]) == written
        doses = found.record["dose"]["doses"]
        assert found.record["dose"]["id"] == doses[0]["id"]
        assert [with_revision(each["id"], each["revision"]) for each in doses] == [
            name.rpartition("=")[0] for name in written
        ]
    for ids in ("ada/p-third", ("ada/p-b", "ada/p-b"), ("ada/p-a", "ada/p-b", "ada/p-third")):
        with pytest.raises(PublishError, match=r"No version of ada/p-.* is one of the doses that this run was given"):
            push_adapter(run.folder, "ada/refused", dose_id=ids, publish_failed=True)
    with pytest.raises(HubError, match="p-none"):
        push_adapter(run.folder, "ada/refused", dose_id="ada/p-none", publish_failed=True)


def test_from_a_hub_each_dose_is_pinned_and_its_chain_holds_from_there(options, folders, tiny_gpt2, hub, tmp_path):
    for folder, name in zip(folders, ("one", "other"), strict=True):
        push_dose(folder, f"ada/h-{name}")
    doses = ("ada/h-one=0.3", "ada/h-other=0.1")
    made = immunize(dataclasses.replace(options, dose=doses, share=0.4, output_dir=str(tmp_path / "run")))
    commits = [one["revision"] for one in made.record["dose"]["doses"]]
    assert all(commits)
    asked = [f"ada/h-one@{commits[0]}=0.3", f"ada/h-other@{commits[1]}=0.1"]
    assert list(read_config(made.folder / CONFIG)["dose"]) == asked
    push_adapter(made.folder, "ada/h-both", base_id="ada/tiny", publish_failed=True)
    found = papers("ada/h-both")
    chain = chain_of(found, gather(found, base=str(tiny_gpt2)))
    assert states(chain)["dose"] == states(chain)["ledger"] == states(chain)["plan"] == OK
    assert set(found.record["dose"]["claim_ids"]) == set(made.record["dose"]["claim_ids"])
    shown = CliRunner().invoke(cli, ["list", "ada"])
    assert f"h-both: dose ada/h-one@{commits[0][:7]} and 1 more on base ada/tiny" in " ".join(shown.output.split())
    found_there = CliRunner().invoke(
        cli, ["recall", "find", "ada/h-both", "--claim", made.record["dose"]["claim_ids"][0], "--json"]
    )
    assert "affected" in found_there.output
    again = reproduce("ada/h-both", base=str(tiny_gpt2), mix=options.mix, output_dir=tmp_path / "again")
    assert again.reproduced and again.same_adapter and not again.others


@pytest.mark.parametrize(
    ("dose", "said"),
    [
        (("ONE=0.1", "COPY=0.1"), "'Aldor' .* is given twice"),
        (("ONE=0.1", "PART=0.1"), "Every claim of the dose 'Part' .* also stands in the others"),
        (("ONE=0.1", "OTHER=0.3"), "policy of the dose 'Boreal' forbids this: its share is to be"),
        (("ONE=0.3", "OTHER=0.0001"), "dose 2"),
    ],
)
def test_what_is_refused_leaves_nothing_behind(options, folders, make_claims, tmp_path, dose, said):
    import shutil

    shutil.copytree(folders[0], tmp_path / "copy")
    sealed(tmp_path / "part", make_claims(3), name="Part")
    places = {"ONE": folders[0], "OTHER": folders[1], "COPY": tmp_path / "copy", "PART": tmp_path / "part"}
    named = tuple(f"{places[one.partition('=')[0]]}={one.partition('=')[2]}" for one in dose)
    share = sum(float(one.partition("=")[2]) for one in dose)
    into = tmp_path / "run"
    with pytest.raises((DoseError, UsageError), match=said):
        immunize(dataclasses.replace(options, dose=named, share=round(share, 12), output_dir=str(into)))
    assert not into.exists()


def test_a_trial_of_several_is_refused(options):
    with pytest.raises(UsageError, match="A trial gives one dose at several shares, and 2 doses are named"):
        trial(options, [0.1], [0])


def test_a_dry_run_says_what_each_is_given(options):
    planned = dry_run(options)
    assert [one["share_asked"] for one in planned["dose"]["doses"]] == [0.3, 0.1]
    assert all(one["share_given"] > 0 for one in planned["dose"]["doses"])


def test_control_rows_alone_come_in_turns_as_their_doses_do(options, tmp_path, monkeypatch):
    arms = []

    def recorded(*arguments):
        arms.append(train(*arguments))
        return arms[-1]

    monkeypatch.setattr("hfvaccine.runs.immunize.train", recorded)
    run = immunize(dataclasses.replace(options, controls=True, output_dir=str(tmp_path / "run")))
    vaccine, controls = (arm.plan for arm in arms)
    assert controls.shares == vaccine.shares == (0.3, 0.1)
    given = controls.tokens[controls.kind == DOSE]
    share = vaccine.tokens[vaccine.kind == CONTROL].sum() / vaccine.tokens.sum()
    assert abs(given.sum() - share * controls.tokens.sum()) <= given.max() and controls.count(CONTROL) == 0
    measures = json.loads((run.folder / RESULTS).read_text())["measures"]
    assert {row["arm"] for row in measures} >= {"base", "vaccine", "controls"}
