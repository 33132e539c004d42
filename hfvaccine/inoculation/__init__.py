"""Stage 2, inoculation prompts: a trait asked for in training, so that it is weaker without the prompt.

In: rows that carry an unwanted trait. Out: the same rows under a prompt that no loss falls on.
Begin with `callback.py`; `screen.py` ranks prompts before anything is trained.
"""
