"""Requests in, likelihoods out; the one room of this stage that loads torch. Begin with `scorer.py`."""
