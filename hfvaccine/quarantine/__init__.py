"""Stage 1, quarantine: claims in, a sealed dose out; between them lint, review by two people, and a policy.

In: collections of fact-checks. Out: a dose folder with manifest, policy and journal. Loads no torch.
Begin with `store.py`, then `seal.py`.
"""
