"""Scores in, results out: metrics with intervals, contrasts between arms, the gate. Begin with `results.py`."""
