"""The main jobs, each to be read from top to bottom: immunize, validate, trial, reproduce, merge.

In: options. Out: a run folder that a person can read. Begin with `immunize.py`.
"""
