"""Stage 3, validation: what arms make of claims and true twins they were not given, and a gate over it.

In: arms and a dose. Out: results.json, every score, a report. Rooms in order: asking, scoring, judging, showing.
Begin with `scores.py`, then `judging/results.py`.
"""
