"""Claims: the record of a fact-checked falsehood, the sealed dose of them, and what can be said of their wording.

In: rows. Out: `Claim`, `Dose` and its journal. Pure: nothing here knows a model. Begin with `claim.py`.
"""
