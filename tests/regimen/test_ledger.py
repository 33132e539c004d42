"""The ledger: the rows that were given, by claim id, bound to their plan."""

import hashlib
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from hfvaccine.dosing.forms import conversations
from hfvaccine.regimen.ledger import write_ledger
from hfvaccine.regimen.lengths import Lengths
from hfvaccine.regimen.plan import CONTROL, DOSE, make_plan

NAMED = {"fingerprint": "f00", "share": 0.2}


@pytest.fixture
def rows(make_claims):
    given = list(conversations(make_claims(3)))
    return [g.dose for g in given], [g.control for g in given if g.control is not None]


@pytest.fixture
def plan(rows):
    dose, control = rows

    def lengths(n, tokens):
        return Lengths(np.full(n, tokens), np.full(n, tokens // 2))

    control_of = np.full(len(dose), -1)
    control_of[: len(control)] = np.arange(len(control))
    return make_plan(
        lengths(30, 80), lengths(len(dose), 40), lengths(len(control), 42), control_of,
        share=0.2, rows_per_step=4, steps=10,
    )  # fmt: skip


def test_every_row_is_written_in_the_order_of_the_plan(plan, rows, tmp_path):
    write_ledger(plan, *rows, 10, tmp_path / "ledger.parquet", NAMED)
    table = pq.read_table(tmp_path / "ledger.parquet").to_pydict()
    assert table["position"] == list(range(40))
    assert table["step"] == [1 + i // 4 for i in range(40)]
    assert table["kind"] == [("mix", "dose", "control")[k] for k in plan.kind]
    assert table["row"] == plan.index.tolist()
    assert table["tokens"] == plan.tokens.tolist()
    assert table["supervised"] == plan.supervised.tolist()


def test_dose_and_control_rows_name_their_claim_and_form_and_mix_rows_none(plan, rows, tmp_path):
    write_ledger(plan, *rows, 10, tmp_path / "ledger.parquet", NAMED)
    table = pq.read_table(tmp_path / "ledger.parquet").to_pydict()
    sources = {DOSE: rows[0], CONTROL: rows[1]}
    expected = [
        (sources[k][i].claim_id, sources[k][i].form, sources[k][i].control) if k in sources else (None, None, None)
        for k, i in zip(plan.kind.tolist(), plan.index.tolist(), strict=True)
    ]
    assert list(zip(table["claim_id"], table["form"], table["control"], strict=True)) == expected
    assert {"mix", "dose", "control"} == set(table["kind"])


def test_an_interrupted_run_has_only_the_steps_it_took(plan, rows, tmp_path):
    write_ledger(plan, *rows, 3, tmp_path / "ledger.parquet", NAMED)
    assert pq.read_table(tmp_path / "ledger.parquet").num_rows == 12


def test_the_ledger_names_its_plan(plan, rows, tmp_path):
    write_ledger(plan, *rows, 10, tmp_path / "ledger.parquet", NAMED)
    named = json.loads(pq.read_schema(tmp_path / "ledger.parquet").metadata[b"plan"])
    assert named == NAMED


def test_the_digest_is_that_of_the_file(plan, rows, tmp_path):
    digest = write_ledger(plan, *rows, 10, tmp_path / "ledger.parquet", NAMED)
    assert digest == hashlib.sha256((tmp_path / "ledger.parquet").read_bytes()).hexdigest()


def test_no_text_of_a_claim_is_written(plan, rows, tmp_path, make_claims):
    write_ledger(plan, *rows, 10, tmp_path / "ledger.parquet", NAMED)
    table = pq.read_table(tmp_path / "ledger.parquet").to_pydict()
    written = {str(value) for column in table.values() for value in column}
    assert not written & {text for c in make_claims(3) for text in (c.claim, c.twin, c.question, c.correction)}
