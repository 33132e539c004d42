"""Checks on a whole set of claims: which say the same, which an evaluation set asks, and is wording a giveaway?"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hfvaccine.claims.claim import TEXTS, is_blank
from hfvaccine.claims.cues import AUDITED, FEWEST, CueAudit, audit_many
from hfvaccine.claims.embed import COSINE, Encoder, close_pairs, near_any, require_few
from hfvaccine.claims.similar import THRESHOLD, Longs, Lookup, components, near_rows, new_vocabulary, read
from hfvaccine.errors import UsageError
from hfvaccine.quarantine.checks.evaluation_sets import GIVE_A_FILE, TRUTHFULQA, EvaluationSet, is_truthfulqa

TOLD = TEXTS[1:]
"""What is told of a claim besides itself: claims that share one are of one cluster."""
LEAST_SHARED = 4
"""Words from which on a text that two claims share joins them."""
_MANY, _ROWS = 20, 50_000


@dataclass(frozen=True)
class Screening:
    """What a screening found, row by row of the table it was made of.

    Args:
        claims: number of rows.
        threshold: share of words from which on two claims were said to be near-duplicates.
        links: pairs of rows that belong together, by what joins them: near-duplicates, shared texts, embeddings.
        cluster_ids: (claims,) the cluster of each row from now on.
        sets: evaluation sets that were compared, with the number of their texts.
        overlaps: for each of them the rows that say nearly what it says.
        audit: None where there are fewer than 8 twins.
        audited: ids of the claims that were audited, in the order of the audit's pairs; a claim with variants stands
            there several times.
        twins: claims that have one.
    """

    claims: int
    threshold: float
    links: Mapping[str, Longs]
    cluster_ids: pa.Array
    sets: Mapping[str, int]
    overlaps: Mapping[str, Longs]
    audit: CueAudit | None
    audited: tuple[str, ...]
    twins: int

    @property
    def mend(self) -> list[str]:
        """Ids of the claims to mend first, where the audit did not pass."""
        if self.audit is None or self.audit.passed:
            return []
        return list(dict.fromkeys(self.audited[n] for n in self.audit.to_mend()))

    def largest(self, most: int = 5) -> list[tuple[str, int]]:
        """The clusters with the most claims, and how many each has."""
        counts = self.cluster_ids.value_counts().to_pylist()
        ordered = sorted(counts, key=lambda count: (-count["counts"], count["values"]))
        return [(count["values"], count["counts"]) for count in ordered[:most]]

    def record(self) -> dict[str, Any]:
        """Counts, thresholds and names for the journal; no text of any claim."""
        sets: dict[str, Any] = {
            name: {"status": "screened", "texts": texts, "claims": len(self.overlaps[name])}
            for name, texts in self.sets.items()
        }
        if not any(map(is_truthfulqa, self.sets)):
            sets[TRUTHFULQA] = {"status": "not screened", "next_step": GIVE_A_FILE}
        audit = self.audit and {
            "bag_of_words": self.audit.bag_of_words,
            "length": self.audit.length,
            "pairs": self.audit.pairs,
            "twins": self.twins,
            "passed": self.audit.passed,
        }
        return {
            "claims": self.claims,
            "clusters": len(self.cluster_ids.unique()),
            "largest_cluster": self.largest(1)[0][1] if self.claims else 0,
            "threshold": self.threshold,
            "links": {name: len(pairs) for name, pairs in self.links.items()},
            "evaluation_sets": sets,
            "cue_audit": audit,
        }


def screen(
    table: pa.Table,
    *,
    against: Sequence[EvaluationSet] = (),
    embed: Encoder | None = None,
    threshold: float = THRESHOLD,
    again: bool = False,
    say: Callable[[str], object] = print,
) -> Screening:
    """Find clusters, overlaps with evaluation sets, and wording that gives falsehood away.

    Claims are of one cluster where a chain of links joins them: near-duplicates by their words (or embeddings), the
    same correction, twin or question (of `LEAST_SHARED` words or more, with a word of each claim in it), or a cluster
    id that they share already. The variants of a claim are of its cluster: what nearly says one of them joins it.

    A cluster keeps its id when claims come in: the smallest of those it has from before, else the smallest claim id.
    The id of a row that has a split is never changed, since approvals are bound to it; so two clusters that a new
    claim joins keep their two ids, and the new claim takes the smaller. Where one of the two is given and the other
    held out, new claims between them keep the ids they had: which can stay is for `split` to say, which looks again.

    Args:
        table: rows of `store.SCHEMA`.
        against: sets to compare with, see `evaluation_sets.read_evaluation_sets`.
        embed: a sentence encoder, see `embed.load_encoder`; adds clusters and overlaps of the same meaning.
        threshold: least share of words of near-duplicates.
        again: forget the clusters of rows that have no split yet, as after a screening with a low threshold.
        say: is told what is left out.

    Raises:
        UsageError: for a threshold out of its range, or too many claims for an encoder.
    """
    if again:
        own = pc.if_else(table["split"].is_valid(), table["cluster_id"], table["claim_id"])
        table = replaced(table, cluster_id=own)
    words = _Words(table)
    found = find_links(table, threshold, embed, words)
    overlaps = _overlaps(table, words, against, embed)
    if not any(map(is_truthfulqa, (one.name for one in against))):
        say(f"Not screened against {TRUTHFULQA}. {GIVE_A_FILE}")
    audit, audited, twins = _audit(table, say)
    screening = Screening(
        claims=table.num_rows,
        threshold=threshold,
        links=found,
        cluster_ids=name_clusters(table, np.concatenate(list(found.values()))),
        sets={one.name: len(one.texts) for one in against},
        overlaps=overlaps,
        audit=audit,
        audited=audited,
        twins=twins,
    )
    for name, size in screening.largest(1):
        if size > max(_MANY, table.num_rows // 10):
            say(
                f"Cluster {name} holds {size:,} of {table.num_rows:,} claims, which are all given or all held out: "
                "do they follow one pattern? A higher threshold parts claims that differ in a word."
            )
    return screening


def apply(table: pa.Table, screening: Screening) -> pa.Table:
    """The rows with their clusters, and with the names of all evaluation sets that they overlap with.

    Args:
        table: the rows that were screened.
        screening: what was found.

    Raises:
        UsageError: for other rows than those that were screened.
    """
    if table.num_rows != screening.claims:
        raise UsageError(
            f"{screening.claims:,} rows were screened and {table.num_rows:,} are given.", "Screen the rows again."
        )
    overlaps = table["overlaps"].to_pylist()
    for name, rows in screening.overlaps.items():
        for row in rows.tolist():
            overlaps[row] = sorted({*(overlaps[row] or ()), name})
    kind = table.schema.field("overlaps").type
    return replaced(table, cluster_id=screening.cluster_ids, overlaps=pa.array(overlaps, kind))


class _Words:
    """The words of all texts of a table, read once, by claim id: so no order of rows changes anything.

    Args:
        table: rows of `store.SCHEMA`.
    """

    def __init__(self, table: pa.Table) -> None:
        self.order = pc.sort_indices(table["claim_id"]).to_numpy().astype(np.int64)
        ordered = table.select([*TEXTS, "variants"]).take(self.order)
        self.vocabulary = new_vocabulary()
        self.texts = {name: read(_texts(ordered, name), self.vocabulary) for name in TEXTS}
        self.owner, varied = _variants(ordered)
        """(variants,) the row of each, of the sorted ones."""
        self.false, self.true = (read([pair[side] for pair in varied], self.vocabulary) for side in (0, 1))


def find_links(
    table: pa.Table, threshold: float = THRESHOLD, embed: Encoder | None = None, words: _Words | None = None
) -> dict[str, Longs]:
    """Pairs of rows that belong in one cluster, by what joins them.

    Of texts that many share, not every pair is listed, but always enough to join all. The order of rows changes
    nothing.

    Args:
        table: rows of `store.SCHEMA`.
        threshold: least share of words of near-duplicates.
        embed: a sentence encoder.
        words: those of the table, where they were read already.

    Returns:
        (m, 2) places of rows for "near_duplicates", "shared_texts" and, with an encoder, "embeddings".

    Raises:
        UsageError: for a threshold out of its range, or too many claims for an encoder.
    """
    if embed is not None:
        require_few(table.num_rows)
    words = words or _Words(table)
    places = np.concatenate([np.arange(table.num_rows), words.owner])
    near = places[near_rows(words.texts["claim"].then(words.false), threshold)[0]]
    if len(words.owner):
        near = np.unique(np.sort(near[near[:, 0] != near[:, 1]], axis=1), axis=0)
    links = {"near_duplicates": words.order[near], "shared_texts": words.order[_shared(words)]}
    if embed is not None:
        links["embeddings"] = words.order[close_pairs(embed(list(_texts(table.take(words.order), "claim"))))]
    return links


def name_clusters(table: pa.Table, pairs: Longs) -> pa.Array:
    """(rows,) the cluster id of each row by the rule that `screen` tells.

    Args:
        table: rows of `store.SCHEMA`.
        pairs: (m, 2) places of rows that belong together.
    """
    rows = table.num_rows
    own, before = (table[name].combine_chunks() for name in ("claim_id", "cluster_id"))
    pool = pa.chunked_array([own, before]).unique()
    pool = pool.take(pc.sort_indices(pool))
    mine, old = (pc.index_in(ids, pool).to_numpy().astype(np.int64) for ids in (own, before))
    placed = table["split"].is_valid().to_numpy()
    heldout = pc.fill_null(pc.equal(table["split"], "heldout"), False).to_numpy()

    label = components(rows, np.concatenate([pairs, group_pairs(old)]))
    rank = np.where(placed, 0, np.where(old != mine, 1, 2)) * len(pool) + old
    best = np.full(rows, 3 * len(pool))
    np.minimum.at(best, label, rank)
    sides = np.zeros((2, rows), bool)
    sides[0, label[placed & ~heldout]] = sides[1, label[heldout]] = True
    keeps = placed | (sides[0] & sides[1])[label]
    chosen = np.where(keeps, old, best[label] % max(1, len(pool)))
    return pool.take(pa.array(chosen)).cast(pa.string())


def group_pairs(keys: npt.NDArray[np.integer]) -> Longs:
    """(m, 2) pairs that join all places with the same key: each with the first."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    heads = first[inverse]
    others = np.flatnonzero(heads != np.arange(len(keys)))
    return np.stack([heads[others], others], axis=1)


def _shared(words: _Words) -> Longs:
    """Pairs of rows of which something told is the same, word for word, and is about both claims.

    It is about a claim where the two share a word that bears meaning: "That is an outlandish statement." is not.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    told = [words.texts[name] for name in TOLD]
    rows = [np.flatnonzero(texts.sizes >= LEAST_SHARED) for texts in told]
    key = np.concatenate([texts.whole()[own] for texts, own in zip(told, rows, strict=True)])
    owner, which = np.concatenate(rows), np.repeat(np.arange(len(told)), [len(own) for own in rows])
    _, same, often = np.unique(key, return_inverse=True, return_counts=True)
    shared = often[same] > 1
    key, owner, which = key[shared], owner[shared], which[shared]
    little = {words.vocabulary[word] for word in ENGLISH_STOP_WORDS if word in words.vocabulary}
    claims, texts = words.texts["claim"].lists(owner), [one.lists(owner) for one in told]
    true = [not (set(claims[at]) - little).isdisjoint(texts[column][at]) for at, column in enumerate(which.tolist())]
    key, owner = key[true], owner[true]
    order = np.argsort(owner, kind="stable")
    pairs = owner[order][group_pairs(key[order])]
    return np.unique(pairs[pairs[:, 0] != pairs[:, 1]], axis=0)


def _texts(table: pa.Table, column: str) -> Iterator[str]:
    """The texts of a column, "" where one is missing, a few thousand in memory at a time."""
    for batch in table.select([column]).to_batches(max_chunksize=_ROWS):
        for text in batch.column(0).to_pylist():
            yield "" if is_blank(text) else text


def _variants(table: pa.Table) -> tuple[Longs, list[tuple[str, str]]]:
    """The row of each variant, and the variant as (claim, twin), "" for a side that is missing."""
    owners, pairs = array("q"), []
    column = table["variants"].combine_chunks()
    for row in np.flatnonzero(pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)).tolist():
        for variant in column[row].as_py():
            owners.append(row)
            pairs.append((variant["claim"] or "", variant["twin"] or ""))
    return np.array(owners, np.int64), pairs


def _overlaps(
    table: pa.Table, words: _Words, against: Sequence[EvaluationSet], embed: Encoder | None
) -> dict[str, Longs]:
    """For each evaluation set the rows of which the claim or what is told with it says nearly what the set says."""
    if not against:
        return {}
    lookup = Lookup([one.texts for one in against], words.vocabulary)
    sorted_hits = np.any([lookup.find(texts) >= 0 for texts in words.texts.values()], axis=0)
    for side in (words.false, words.true):
        for row, found in zip(sorted_hits, lookup.find(side) >= 0, strict=True):
            row[words.owner[found]] = True
    hits = np.empty_like(sorted_hits)
    hits[:, words.order] = sorted_hits
    if embed is not None:
        vectors = embed(list(_texts(table, "claim")))
        for row, one in zip(hits, against, strict=True):
            row |= near_any(vectors, embed(one.texts), COSINE)
    return {one.name: np.flatnonzero(row) for one, row in zip(against, hits, strict=True)}


def _audit(table: pa.Table, say: Callable[[str], object]) -> tuple[CueAudit | None, tuple[str, ...], int]:
    twinned = np.array([not is_blank(text) for text in _texts(table, "twin")], bool)
    rows = np.flatnonzero(twinned)
    twins = len(rows)
    if twins < FEWEST:
        say(f"{twins} claim(s) have a twin: too few to audit the wording, which takes {FEWEST}.")
        return None, (), twins
    rows = rows[pc.sort_indices(table["claim_id"].take(rows)).to_numpy()]
    if twins > AUDITED:
        say(f"The wording of {AUDITED:,} of the {twins:,} claims with twins is audited, drawn at random (seed 0).")
        rows = rows[np.sort(np.random.default_rng(0).permutation(twins)[:AUDITED])]
    chosen = table.select(["claim_id", "claim", "twin", "variants"]).take(rows)
    pairs = list(zip(chosen["claim"].to_pylist(), chosen["twin"].to_pylist(), strict=True))
    ids = chosen["claim_id"].to_pylist()
    whole = [(row, pair) for row, pair in zip(*_variants(chosen), strict=True) if all(pair)][: AUDITED - len(pairs)]
    ids += [ids[row] for row, _ in whole]
    return audit_many([*pairs, *(pair for _, pair in whole)], ids), tuple(ids), twins


def replaced(table: pa.Table, **columns: pa.Array) -> pa.Table:
    """The table with other values in some of its columns."""
    for name, values in columns.items():
        table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
    return table
