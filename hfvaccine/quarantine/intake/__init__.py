"""Collections in, claims out, and back again. Begin with `intake.py`; `formats.py` knows the collections."""
