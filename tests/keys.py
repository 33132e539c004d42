"""Pairs of keys, as `openssl` makes them."""

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec


def make_key(path, password=None, key=None):
    """Write a private key, and its public half beside it as `.pub`; the paths of both.

    Args:
        path: of the private key.
        password: of it.
        key: what to write; a new one of P-256 by default.
    """
    key = key or ec.generate_private_key(ec.SECP256R1())
    kept = serialization.BestAvailableEncryption(password.encode()) if password else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, kept))
    public = path.with_suffix(".pub")
    half = serialization.PublicFormat.SubjectPublicKeyInfo
    public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, half))
    return path, public
