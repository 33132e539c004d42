"""The regimen: what a trainer is given, planned ahead to the token, and the proof that it was.

In: a trainer and rows to give. Out: the rows in their order, and the ledger of what reached the model.
Begin with `plan.py`, then `regimen.py`, which sets a trainer up to replay a plan.
"""
