"""What an adapter is published with: its record, bound to every file beside it, and its card.

In: what a run was and what came of it. Out: immunization.json or inoculation.json, and README.md. Begin with
`record.py`, and with `inoculation.py` for an adapter that was inoculated.
"""
