"""Chains as the tests look at them, and how somebody would change an adapter's papers who hides that they did."""

import json

from hfvaccine.claims import journal
from hfvaccine.files import CARD, FIGURES, PUBLISHED, RECORD, RESULTS, digest_of, present, write_json
from hfvaccine.lineage.links import BROKEN
from hfvaccine.papers.binding import bind
from hfvaccine.papers.card import render


def record_of(folder):
    return json.loads((folder / RECORD).read_text())


def rebind(folder, change=lambda record: None, card=False):
    """Change the record as somebody would who hides what they changed: every digest fits again.

    Args:
        folder: of the run.
        change: of its record.
        card: whether the card is made again as well.
    """
    record = record_of(folder)
    change(record)
    if card:
        results = json.loads((folder / RESULTS).read_text())
        figures = tuple(present(folder, (f"{FIGURES}/*",)))
        (folder / CARD).write_text(render(record, results, None, figures=figures), encoding="utf-8")
    files = present(folder, PUBLISHED)
    record = bind(record, {name: digest_of(path) for name, path in files.items() if name in record["files"]})
    write_json(record, folder / RECORD)
    return record


def states(chain):
    return {link.name: link.state for link in chain.all() if link is not chain}


def broken(chain):
    return {name for name, state in states(chain).items() if state == BROKEN}


def why(chain, name):
    return next(link.why for link in chain.all() if link.name == name)


def notices(*claim_ids):
    entries = []
    for claim_id in claim_ids:
        what = {"claim_id": claim_id, "reason": "the fact-check was withdrawn"}
        entries.append(journal.follow(entries, "recall", "ada", "2026-11-01", what))
    return journal.dumps(entries).encode()
