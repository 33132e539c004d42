"""Lineage: an adapter's chain from claim to results, checked link by link.

In: a published adapter or a run folder. Out: which links hold, which are broken and why. Begin with `chain.py`.
"""
