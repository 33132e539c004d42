"""What is done to a whole quarantine at once: lint and mend it, screen it, split it. Each act is one journal entry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from hfvaccine.claims.embed import load_encoder
from hfvaccine.claims.journal import Entry
from hfvaccine.claims.similar import THRESHOLD
from hfvaccine.errors import DoseError
from hfvaccine.quarantine.checks import lint as linting
from hfvaccine.quarantine.checks import screen as screening
from hfvaccine.quarantine.checks import split as splitting
from hfvaccine.quarantine.checks.evaluation_sets import read_evaluation_sets
from hfvaccine.quarantine.checks.screen import Screening
from hfvaccine.quarantine.checks.split import HELDOUT
from hfvaccine.quarantine.intake.intake import DUPLICATE
from hfvaccine.quarantine.policy import Policy
from hfvaccine.quarantine.store import BATCH, POLICY, SCHEMA, Quarantine, rejection


def findings(
    quarantine: Quarantine,
    rows: pa.Table | None = None,
    off: Sequence[str] | None = None,
    workers: int = 1,
) -> Iterator[linting.LintFinding]:
    """Everything lint finds.

    Args:
        quarantine: where the claims are.
        rows: those of its rows to look at, by default all.
        off: rules not to apply, by default those that the policy turns off.
        workers: as of `checks.lint.lint`.
    """
    if off is None:
        off = Policy.read(quarantine.folder / POLICY).lint_off
    ids: dict[str, set[str]] = {"not-false": set(), "contradictory": set()}
    for reject in quarantine.rejects():
        if reject["rule"] in ids and reject["claim_id"]:
            ids[reject["rule"]].add(reject["claim_id"])
    rows = quarantine.table() if rows is None else rows
    true, doubted = ids["not-false"], ids["contradictory"]
    return linting.lint(rows, off=off, truths=true, contradicted=doubted, workers=workers)


def fix(quarantine: Quarantine, by: str) -> Counter[str]:
    """Mend what can be mended without changing a word; decisions about mended rows no longer hold.

    A row that then says the same as another is not kept beside it, but goes to the rejects.

    Returns:
        How many rows each rule was mended in.
    """
    with quarantine.changing():
        table = quarantine.table()
        taken = set(table["claim_id"].to_pylist())
        applied: Counter[str] = Counter()
        batches, rejects = [], []
        for batch in table.to_batches(max_chunksize=BATCH):
            kept = []
            for row in batch.to_pylist():
                mended, names = linting.fix(row)
                applied.update(names)
                if mended["claim_id"] != row["claim_id"] and mended["claim_id"] in taken:
                    reason = f"With white space and signs mended it says the same as {mended['claim_id']}."
                    rejects.append(rejection(row, DUPLICATE, reason, row))
                    continue
                taken.add(mended["claim_id"])
                kept.append(mended)
            batches.append(pa.RecordBatch.from_pylist(kept, schema=SCHEMA))
        if applied:
            what = {"mended": dict(applied)}
            quarantine.commit("fix", by, what, table=pa.Table.from_batches(batches, SCHEMA), rejects=rejects)
        return applied


def screen(
    quarantine: Quarantine,
    by: str,
    *,
    against: Sequence[str] = (),
    embeddings: str | None = None,
    threshold: float = THRESHOLD,
    again: bool = False,
    say: Callable[[str], object] = lambda line: None,
) -> Screening:
    """Look for near-duplicates, overlap with evaluation sets and wording that gives falsehood away, and mark the rows.

    Args:
        quarantine: where the claims are.
        by: who screens.
        against: evaluation sets, see `evaluation_sets.read_evaluation_set`; TruthfulQA is added where it can be had.
        embeddings: folder or Hub id of a sentence encoder that also finds what is said in other words.
        threshold: least share of words of near-duplicates.
        again: forget the clusters of rows that are not split yet, as after a threshold that was too low.
        say: is told what could not be looked at.

    Returns:
        What was found.
    """
    sets = read_evaluation_sets(against, say=lambda line: None)  # the screening itself says what is missing
    encoder = load_encoder(embeddings) if embeddings else None
    with quarantine.changing():
        table = quarantine.table()
        found = screening.screen(table, against=sets, embed=encoder, threshold=threshold, again=again, say=say)
        record = {**found.record(), "embeddings": _name(embeddings)}
        quarantine.commit("screen", by, record, table=screening.apply(table, found))
    return found


def is_screened(history: Sequence[Entry]) -> bool:
    """Whether the claims were screened since they last changed."""
    screened, digest = False, None
    for entry in history:
        changed = entry.what.get("claims_sha256", digest) != digest
        digest = entry.what.get("claims_sha256", digest)
        screened = entry.act == "screen" or (screened and not (changed and entry.act in ("intake", "fix")))
    return screened


def split(
    quarantine: Quarantine,
    by: str,
    *,
    heldout: float = HELDOUT,
    seed: int = 0,
    hold_out: Sequence[tuple[str, str]] = (),
    embeddings: str | None = None,
    again: bool = False,
) -> dict[str, Any]:
    """Put each claim that has no side yet on one, see `split.split`.

    Args:
        quarantine: where the claims are, screened.
        by: who splits.
        heldout: share of new clusters to hold out.
        seed: which those are.
        hold_out: (field, value) of which all new claims are held out.
        embeddings: the sentence encoder of the last screening, where it had one.
        again: forget all sides first.

    Returns:
        `split.summary`, and how many claims were taken out under "taken_out".

    Raises:
        DoseError: before a screening, where the screening's encoder is missing, or for `again` after a seal.
    """
    with quarantine.changing():
        history = quarantine.history()
        screened = next((entry.what for entry in reversed(history) if entry.act == "screen"), None)
        if screened is None:
            raise DoseError("The claims were not screened yet.", "Run `hfvaccine quarantine screen` first.")
        if screened["embeddings"] != _name(embeddings):
            raise DoseError(
                f"The screening used the sentence encoder {screened['embeddings']}, the split {_name(embeddings)}.",
                "Give --embeddings as it was given to `screen`, so that nothing alike ends up on both sides.",
            )
        if again and any(entry.act == "seal" for entry in history):
            raise DoseError(
                "A dose was sealed of these claims, so their split stands: models may have been given some of them.",
                "Leave out --again; new claims are placed beside the old ones.",
            )
        table, rejects = splitting.split(
            quarantine.table(),
            heldout=heldout,
            seed=seed,
            hold_out=hold_out,
            threshold=screened["threshold"],
            embed=load_encoder(embeddings) if embeddings else None,
            again=again,
            screened=is_screened(history) and not again,  # clusters of rows that had sides may be kept apart
        )
        done = {**splitting.summary(table, hold_out), "taken_out": len(rejects)}
        asked = {"heldout": heldout, "seed": seed, "hold_out": [list(pair) for pair in hold_out], "again": again}
        quarantine.commit("split", by, {**asked, **done}, table=table, rejects=rejects)
        return done


def _name(model: str | None) -> str | None:
    """A model as the journal names it: a Hub id, or the last part of a path, which is nobody else's business."""
    return Path(model).name if model and Path(model).exists() else model
