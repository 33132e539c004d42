"""Rows of a quarantine as tests need them, with what every row must have."""

import pyarrow as pa

from hfvaccine.claims.claim import claim_id
from hfvaccine.quarantine.store import SCHEMA


def row(number, **fields):
    claim = fields.pop("claim", f"Claim number {number} is so")
    own = claim_id(claim, "en")
    filled = {"claim_id": own, "claim": claim, "language": "en", "cluster_id": own, "submitted_by": "ada"}
    return {**dict.fromkeys(SCHEMA.names), **filled, "origin": f"a.jsonl, line {number}", "verdict": "false", **fields}


def source(publisher="WHO", **fields):
    return {"publisher": publisher, "title": "A page", "url": None, "checked_on": None, **fields}


def table(*rows):
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)
