"""A small Hugging Face Hub on this machine, for unmodified clients: point `HF_ENDPOINT` at it.

Needs the extra `hfvaccine[localhub]`. `LocalHub` in `server.py` is the way in.
"""
