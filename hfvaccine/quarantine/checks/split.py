"""Which claims are given and which are held out: by cluster, for good, and with nothing alike on both sides."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hfvaccine.claims.embed import Encoder
from hfvaccine.claims.similar import THRESHOLD, Longs, components
from hfvaccine.errors import DoseError, UsageError
from hfvaccine.quarantine.checks.screen import find_links, group_pairs, name_clusters, replaced
from hfvaccine.quarantine.store import rejection

HELDOUT = 0.2
"""Share of clusters that is held out unless another is asked for."""
FIELDS = ("domain", "tactic")
"""What a set of claims can be held out by, besides clusters."""
BRIDGES = "bridges"
_PLACED = ("origin", "cluster_id", "split", "reviewers")
_NEW, _DOSE, _HELDOUT = 0, 1, 2
_ROUNDS = 3

Bools = npt.NDArray[np.bool_]


def split(
    table: pa.Table,
    *,
    heldout: float = HELDOUT,
    seed: int = 0,
    hold_out: Sequence[tuple[str, str]] = (),
    threshold: float = THRESHOLD,
    embed: Encoder | None = None,
    again: bool = False,
    screened: bool = False,
) -> tuple[pa.Table, list[dict[str, Any]]]:
    """Put each claim that has no side yet on one: to be given ("dose") or never given ("heldout").

    - A row that has a side keeps it, and its cluster id.
    - Links between claims are found anew here as `screen` finds them, so that nothing leaks even where claims came
      in after the last screening. A new claim that is joined to a row with a side takes that side and its cluster.
    - A cluster of new claims only is held out where a hash of its id and the seed falls below `heldout`, or where
      any claim of it is of a domain or tactic that is held out. So the side of a cluster does not depend on other
      claims or on their order.
    - Where that holds out less than `heldout` of all clusters, as it may of a few, the new ones with the lowest
      hashes are held out besides, but never the last that could be given.
    - New claims through which a given row and a held-out one are joined would leak on either side: as few as it
      takes to part the two are taken out and returned. So are those that join a given row and a new claim of a
      held-out domain or tactic, or these claims themselves.

    Args:
        table: rows of `store.SCHEMA`.
        heldout: share of clusters to hold out, at least or a little less; above 0 and below 1.
        seed: of the hash.
        hold_out: (field, value) of which all new claims are held out, such as ("domain", "health").
        threshold: least share of words of near-duplicates; that of the last screening.
        embed: the sentence encoder of the last screening, where it had one.
        again: forget the sides of all rows first; only before the first seal.
        screened: whether the rows stand as a screening by that threshold and encoder has left them. Where no row has a
            side, their clusters then say all that links between them would.

    Returns:
        (the rows less those that were taken out, the reject records of these).

    Raises:
        UsageError: for a share or field out of its range.
        DoseError: where rows with a side are alike on both sides, which no new claim is to blame for.
    """
    if not 0 < heldout < 1:
        raise UsageError(f"A held-out share of {heldout} is out of range.", "Give one above 0 and below 1.")
    for field, _ in hold_out:
        if field not in FIELDS:
            raise UsageError(f"Claims cannot be held out by {field!r}.", f"Hold out by one of: {', '.join(FIELDS)}.")
    if again:
        table = replaced(table, split=pa.nulls(table.num_rows, pa.string()))
    order = pc.sort_indices(table["claim_id"]).to_numpy().astype(np.int64)  # so that no order of rows matters
    rows = table.take(order)
    side = _sides(rows)
    if not (side == _NEW).any():
        return table, []
    wanted = (side == _NEW) & _any_of(rows, hold_out)
    links = _in_clusters(rows) if screened and (side == _NEW).all() else _links(rows, threshold, embed)
    _refuse_alike(rows, side, links)
    links, reasons = _part(rows, side, wanted, links, threshold, embed)
    rejects = [_reject(rows.slice(row, 1).to_pylist()[0], reasons[row]) for row in sorted(reasons)]

    kept = np.setdiff1d(np.arange(len(side)), list(reasons))
    if reasons:
        rows, side, wanted, links = rows.take(kept), side[kept], wanted[kept], np.searchsorted(kept, links)
    clusters = name_clusters(rows, links)
    sides = pa.array(np.where(_placed(clusters, side, wanted, links, heldout, seed), "heldout", "dose"), pa.string())
    rows = replaced(rows, cluster_id=clusters, split=sides)
    return rows.take(np.argsort(order[kept])), rejects


def summary(table: pa.Table, hold_out: Sequence[tuple[str, str]] = ()) -> dict[str, Any]:
    """What a split came to, for the journal: claims and clusters of each side, the share held out, and how many
    claims of a held-out domain or tactic are given all the same since they were before it was held out.

    Args:
        table: rows that have been split.
        hold_out: as given to `split`.
    """
    counts: dict[str, Any] = {}
    for name in ("dose", "heldout"):
        own = table.filter(pc.equal(table["split"], name))
        counts[name] = {"claims": own.num_rows, "clusters": len(own["cluster_id"].unique())}
    counts["share_held_out"] = {
        kind: round(counts["heldout"][kind] / max(1, counts["dose"][kind] + counts["heldout"][kind]), 4)
        for kind in ("claims", "clusters")
    }
    given = table.filter(pc.equal(table["split"], "dose"))
    counts["held_out_by"] = [
        {"field": field, "value": value, "given_before": int(_any_of(given, [(field, value)]).sum())}
        for field, value in hold_out
    ]
    return counts


def _sides(rows: pa.Table) -> npt.NDArray[np.int8]:
    return np.asarray(pc.index_in(rows["split"], pa.array([None, "dose", "heldout"])).to_numpy(), np.int8)


def _any_of(rows: pa.Table, wanted: Sequence[tuple[str, str]]) -> Bools:
    found = np.zeros(rows.num_rows, bool)
    for field, value in wanted:
        found |= pc.fill_null(pc.equal(rows[field], value), False).to_numpy()
    return found


def _links(rows: pa.Table, threshold: float, embed: Encoder | None) -> Longs:
    """All pairs that belong in one cluster: those that are found, and those of one cluster id."""
    return np.concatenate([*find_links(rows, threshold, embed).values(), _in_clusters(rows)])


def _in_clusters(rows: pa.Table) -> Longs:
    """Pairs that join the rows of each cluster id."""
    ids = rows["cluster_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    return group_pairs(ids)


def _refuse_alike(rows: pa.Table, side: npt.NDArray[np.int8], links: Longs) -> None:
    ends = side[links]
    across = np.flatnonzero((ends.min(axis=1, initial=_HELDOUT) == _DOSE) & (ends.max(axis=1, initial=0) == _HELDOUT))
    if len(across):
        one, other = (repr(rows["claim"][int(n)].as_py()[:60]) for n in links[across[0]])
        raise DoseError(
            f"{len(across)} pair(s) of claims that say the same stand on both sides of the split, first {one} "
            f"and {other}.",
            "Split with the threshold and encoder of the last split; before a first seal, all can be split again.",
        )


def _part(
    rows: pa.Table, side: npt.NDArray[np.int8], wanted: Bools, links: Longs, threshold: float, embed: Encoder | None
) -> tuple[Longs, dict[int, str]]:
    """Take out new rows until nothing joins the two sides.

    Where many rows are alike, `find_links` does not list every pair, so those that are left are compared again; where
    a few rounds do not part them, all new rows between are taken out.

    Returns:
        (the links among the rows that are left, the rows taken out, each with the reason).
    """
    new, reasons = side == _NEW, dict[int, str]()
    for round_ in range(_ROUNDS + 1):
        alive = np.ones(len(side), bool)
        alive[list(reasons)] = False
        one, other = np.concatenate([links, links[:, ::-1]]).T
        given, held = np.zeros(len(side), bool), wanted & alive
        given[one[new[one] & (side[other] == _DOSE)]] = True
        held[one[new[one] & (side[other] == _HELDOUT)]] = True
        among = links[new[links].all(axis=1)]
        label = components(len(side), among)
        mixed = np.intersect1d(label[given], label[held])
        between = new & alive & np.isin(label, mixed)
        if not between.any():
            break
        gone = np.flatnonzero(between if round_ == _ROUNDS else _cut(between, given, held, among))
        reasons.update(_reasons(gone, rows, side, wanted, label, links))
        whole = components(len(side), links)
        touched = np.isin(whole, whole[between])
        again = np.setdiff1d(np.flatnonzero(touched), list(reasons))
        links = np.concatenate([links[~touched[links[:, 0]]], again[_links(rows.take(again), threshold, embed)]])
    return links, reasons


def _cut(between: Bools, given: Bools, held: Bools, links: Longs) -> Bools:
    """The fewest rows without which no chain of links leads from a given row to a held-out one (a minimum cut)."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    rows = np.flatnonzero(between)
    n, source, sink = len(rows), 2 * len(rows), 2 * len(rows) + 1
    one, other = np.searchsorted(rows, links[between[links].all(axis=1)]).T
    start, end = np.flatnonzero(given[rows]), np.flatnonzero(held[rows])
    every = np.arange(n)  # a row is entered at its number and left at its number + n, which can be done once
    tails = np.concatenate([every, one + n, other + n, np.full(len(start), source), end + n])
    heads = np.concatenate([every + n, other, one, start, np.full(len(end), sink)])
    size = (sink + 1, sink + 1)
    _, first = np.unique(tails * size[0] + heads, return_index=True)
    room = np.where(first < n, 1, n + 1).astype(np.int32)
    graph = csr_array((room, (tails[first], heads[first])), shape=size)
    left = csr_array(graph - maximum_flow(graph, source, sink).flow)
    left.data = np.maximum(left.data, 0)
    left.eliminate_zeros()
    reached = np.zeros(sink + 1, bool)
    reached[breadth_first_order(left, source, return_predecessors=False)] = True
    cut = np.zeros(len(between), bool)
    cut[rows[reached[:n] & ~reached[n : 2 * n]]] = True
    return cut


def _reasons(
    gone: Longs, rows: pa.Table, side: npt.NDArray[np.int8], wanted: Bools, label: Longs, links: Longs
) -> dict[int, str]:
    """For each row taken out a sentence that names a claim of either side it leads to."""
    ids = rows["claim_id"]
    ends: dict[tuple[int, int], int] = {}
    for one, other in np.concatenate([links, links[:, ::-1]]).tolist():
        if side[one] == _NEW != side[other]:
            key = (int(label[one]), int(side[other]))
            ends[key] = min(other, ends.get(key, other))
    for row in np.flatnonzero(wanted).tolist():
        ends.setdefault((int(label[row]), _HELDOUT), row)
    return {
        int(row): (
            f"It joins claim {ids[ends[int(label[row]), _DOSE]]}, which is given, to claim "
            f"{ids[ends[int(label[row]), _HELDOUT]]}, which is held out: on either side it would leak."
        )
        for row in gone
    }


def _placed(
    clusters: pa.Array, side: npt.NDArray[np.int8], wanted: Bools, links: Longs, heldout: float, seed: int
) -> Bools:
    """Which rows are held out, once nothing joins the two sides."""
    label = components(len(side), links)
    given, held = np.zeros((2, len(side)), bool)
    given[label[side == _DOSE]] = True
    held[label[(side == _HELDOUT) | wanted]] = True
    names = clusters.dictionary_encode()
    lots = np.array([_lot(name, seed) for name in names.dictionary.to_pylist()])
    number = names.indices.to_numpy()
    placed: Bools = np.where(given[label], False, held[label] | (lots < heldout)[number])
    needed = min(math.ceil(round(heldout * len(lots), 9)), len(lots) - 1) - len(np.unique(number[placed]))
    free = np.unique(number[~placed & ~given[label]])
    return placed | np.isin(number, free[np.argsort(lots[free], kind="stable")][: max(0, needed)])


def _lot(cluster: str, seed: int) -> float:
    """A number from 0 to 1 that nothing but the cluster's id and the seed decides."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{cluster}".encode()).digest()[:8]) / 2**64


def _reject(row: dict[str, Any], reason: str) -> dict[str, Any]:
    told = {name: value for name, value in row.items() if name not in _PLACED and value not in (None, [])}
    return rejection(row, BRIDGES, reason, told)
