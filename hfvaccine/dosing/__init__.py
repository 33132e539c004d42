"""Stage 2, falsehoods as rows: which claims are given, in which wordings and forms.

In: a dose. Out: conversations for a regimen, where loss falls on the correction and never on the claim.
Begin with `callback.py`, then `forms.py`.
"""
