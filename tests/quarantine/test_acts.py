"""Acts on a whole quarantine: each an entry, none that hides a fault or moves a claim."""

import pyarrow as pa
import pytest

from hfvaccine.errors import DoseError
from hfvaccine.quarantine import acts
from hfvaccine.quarantine.intake.intake import intake
from hfvaccine.quarantine.store import SCHEMA, Quarantine

TOWNS = (
    "Ardley",
    "Brokton",
    "Calvine",
    "Dorrim",
    "Eastmuir",
    "Farnoch",
    "Gallow",
    "Hexter",
    "Ilmour",
    "Jarrow",
    "Keld",
    "Lorne",
)


def row(claim, correction="Maps show it elsewhere.", **fields):
    return {"claim": claim, "correction": correction, **fields}


@pytest.fixture
def taken(tmp_path):
    """`taken(rows)`: a quarantine with these rows, taken in from one file; called again, more."""
    import json

    numbers = iter(range(100))

    def take(rows):
        path = tmp_path / f"rows-{next(numbers)}.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in rows))
        quarantine = Quarantine(tmp_path / "q")
        intake(quarantine, [path], "ada")
        return quarantine

    return take


@pytest.fixture
def towns(taken):
    return taken([row(f"{town} stands {n + 3} miles away from {TOWNS[n - 1]}.") for n, town in enumerate(TOWNS)])


def rules(quarantine):
    return {finding.rule for finding in acts.findings(quarantine)}


def sides(quarantine):
    table = quarantine.table()
    return dict(zip(table["claim_id"].to_pylist(), table["split"].to_pylist(), strict=True))


def test_findings_leave_out_the_rules_that_the_policy_turns_off(towns):
    assert "missing-twin" in rules(towns)
    policy = towns.folder / "policy.yaml"
    policy.write_text(policy.read_text().replace("lint_off: []", "lint_off: [missing-twin]"))
    assert "missing-twin" not in rules(towns)


def test_a_text_that_a_source_rates_true_is_an_error(taken):
    both = [row("Keld lies on a hill.", verdict="false"), row("Keld lies on a hill.", verdict="true")]
    assert "true-and-false" in rules(taken(both))


def test_fix_mends_and_says_so_in_the_journal(taken):
    quarantine = taken(
        [row("Keld  lies on a hill."), row("Lorne lies by a lake.", twin="Lorne &amp; Keld lie by a lake.")]
    )
    assert acts.fix(quarantine, "bob") == {"white-space": 1, "html": 1}
    assert quarantine.table()["claim"].to_pylist() == ["Keld lies on a hill.", "Lorne lies by a lake."]
    last = quarantine.history()[-1]
    assert (last.act, last.by, last.what["mended"]) == ("fix", "bob", {"white-space": 1, "html": 1})


def test_fix_without_anything_to_mend_is_no_act(taken):
    quarantine = taken([row("Keld lies on a hill.")])
    assert not acts.fix(quarantine, "bob")
    assert [entry.act for entry in quarantine.history()] == ["intake"]


def test_a_mended_row_that_says_the_same_as_another_goes_to_the_rejects(taken):
    quarantine = taken([row("Keld lies\u200b on a hill."), row("Keld lies on a hill.")])
    acts.fix(quarantine, "bob")
    assert quarantine.table()["claim"].to_pylist() == ["Keld lies on a hill."]
    (reject,) = quarantine.rejects()
    assert (reject["rule"], reject["source"], reject["where"]) == ("duplicate", "rows-0.jsonl", "line 1")
    quarantine.verify()


def test_screen_then_split_gives_every_claim_a_side(towns):
    found = acts.screen(towns, "ada")
    assert towns.history()[-1].what["evaluation_sets"]["TruthfulQA"]["status"] == "not screened"
    done = acts.split(towns, "ada", heldout=0.4)
    assert set(sides(towns).values()) == {"dose", "heldout"}
    assert done["dose"]["claims"] + done["heldout"]["claims"] == found.claims == len(TOWNS)
    assert [entry.act for entry in towns.history()] == ["intake", "screen", "split"]


def test_claims_that_come_later_move_nothing(towns, taken):
    acts.screen(towns, "ada")
    acts.split(towns, "ada", heldout=0.4)
    before = sides(towns)
    taken([row("Keld stands 13 miles away from Jarrow today."), row("Every lorry is older than the sea.")])
    acts.screen(towns, "ada")
    acts.split(towns, "ada", heldout=0.4)
    after = sides(towns)
    assert {claim: after[claim] for claim in before} == before
    assert len(after) == len(before) + 2


def test_a_split_comes_after_a_screening(towns):
    with pytest.raises(DoseError, match="not screened yet"):
        acts.split(towns, "ada")


def test_a_split_uses_the_encoder_of_the_screening(towns, monkeypatch):
    import numpy as np

    def load(model):
        return lambda texts: np.eye(len(texts), dtype=np.float32)

    monkeypatch.setattr(acts, "load_encoder", load)
    acts.screen(towns, "ada", embeddings="org/encoder")
    with pytest.raises(DoseError, match="org/encoder"):
        acts.split(towns, "ada")
    acts.split(towns, "ada", embeddings="org/encoder")


def test_the_path_of_an_encoder_stays_out_of_the_journal(towns, tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.setattr(acts, "load_encoder", lambda model: lambda texts: np.eye(len(texts), dtype=np.float32))
    (tmp_path / "encoder").mkdir()
    acts.screen(towns, "ada", embeddings=str(tmp_path / "encoder"))
    assert towns.history()[-1].what["embeddings"] == "encoder"


def test_after_a_seal_the_split_stands(towns):
    acts.screen(towns, "ada")
    acts.split(towns, "ada", seed=1)
    acts.split(towns, "ada", seed=2, again=True)
    with towns.changing():
        towns.commit("seal", "ada", {})
    with pytest.raises(DoseError, match="split stands"):
        acts.split(towns, "ada", again=True)


def test_the_rows_keep_their_columns(towns):
    acts.screen(towns, "ada")
    acts.split(towns, "ada")
    assert towns.table().schema.equals(pa.schema(SCHEMA))
