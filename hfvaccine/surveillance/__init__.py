"""Stage 4, surveillance: what is deployed is probed round after round; an alarm says when it is the same no longer.

In: rounds of scores of claims and true twins, and the baseline of an adapter's results.json. Out: a journal of rounds
without a text in it, charts with a bounded rate of false alarms, a status. Begin with `charts.py`, then `state.py`;
rounds come of `probing.py` and `logs.py`.
A claim that turns out wrong is recalled, and whoever was given it is found and told: `recall.py`, `affected.py`. An
adapter is made anew without it, or with more: `booster.py`.
"""
