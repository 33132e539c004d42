"""Training: one arm of a run with a stock `SFTTrainer`.

In: a run's options, a base, a mix and a dose. Out: adapters in their folders, with what their runs were.
Begin with `arm.py`; `options.py` says what may be asked for.
"""
