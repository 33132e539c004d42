"""The signature of what is published: `model.sig`, made and looked at by `model_signing`, which is the extra [sign].

It is a Sigstore bundle over the digest of every file: `model_signing verify` holds it against a download as well.
"""

from __future__ import annotations

import base64
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfvaccine.errors import PublishError, SignatureError, UsageError
from hfvaccine.files import NOTICE, RECALLS, SIGNATURE, VEX, digest_of
from hfvaccine.hub.content import Content, sha256_of
from hfvaccine.packages import install_extra
from hfvaccine.text import few

SIGSTORE = "sigstore"
"""Given in place of a key: an identity, by the public Sigstore, which needs a network."""
APART = (SIGNATURE, RECALLS, NOTICE, VEX)
"""Files that no signature is over: itself, and recalls, which come later and from others."""
BESIDE_DOWNLOADS = ".cache/huggingface"
"""What `hf download --local-dir` keeps beside the files."""
MAKE = (
    "Make a pair with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -aes256 -out key.pem` and "
    "`openssl pkey -in key.pem -pubout -out key.pub`."
)
KEY = "an elliptic curve key in PEM, of P-256, P-384 or P-521"


@dataclass(frozen=True)
class Signer:
    """Who signs what is pushed. Make one with `Signer.of`.

    Args:
        name: of who it is, as it is said to the user.
        config: of `model_signing.signing`, knowing the key, or where an identity is asked for.
        public: the public half of the key, in PEM; None for an identity.
    """

    name: str
    config: Any
    public: bytes | None = None

    @classmethod
    def of(cls, key: Path | str, password: str | None = None) -> Signer:
        """Whoever has a key; or by Sigstore the identity of this CI job, or else of who logs in by a browser.

        Args:
            key: file of a private key, or the word `sigstore`.
            password: of the key, where it has one.

        Raises:
            UsageError: for what is no private key, a wrong password, or where the extra is not installed.
            SignatureError: where Sigstore cannot be reached.
        """
        signing = _library().signing
        if str(key) == SIGSTORE:
            with _sigstore():
                return cls("Sigstore", signing.Config().use_sigstore_signer(use_ambient_credentials=True))
        from cryptography.hazmat.primitives import serialization

        path, text = Path(key), _read_key(Path(key), f"Give the file of a private key, or the word {SIGSTORE}. {MAKE}")
        if b"PUBLIC KEY-----" in text and b"PRIVATE KEY-----" not in text:
            raise UsageError(
                f"{key} is a public key, and signing takes the private one.", f"Keep it for --signer. {MAKE}"
            )
        if b"SIGSTORE PRIVATE KEY" in text or b"COSIGN PRIVATE KEY" in text:
            raise UsageError(f"{key} is in a form that only cosign reads.", MAKE)
        if encrypted(key) and password is None:
            raise UsageError(f"{key} has a password.", "Give it as well.")
        secret = password.encode() if password is not None and encrypted(key) else None
        private: Any = None
        try:
            private = serialization.load_pem_private_key(text, secret)
            _require_elliptic(private)
            # Said to be text there, and handed on to what takes bytes.
            config = signing.Config().use_elliptic_key_signer(private_key=path, password=secret)
        except Exception as error:  # whatever cryptography raises over any file
            if secret is not None and private is None:
                raise UsageError(f"That is not the password of {key}.", "Give the right one.") from error
            raise UsageError(f"{key} is not {KEY}: {_why(error)}.", MAKE) from error
        form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return cls(path.name, config, private.public_key().public_bytes(*form))

    def sign(self, files: Mapping[str, Content], name: str) -> bytes:
        """The signature of what a repo is to hold.

        Args:
            files: content by path.
            name: what the signature calls it; nothing rests on that.

        Raises:
            SignatureError: where Sigstore did not sign.
            PublishError: where a file was changed meanwhile.
        """
        with _staged(files, name) as folder:
            made = folder.parent / SIGNATURE
            with _sigstore() if self.public is None else contextlib.nullcontext(), _quiet():
                self.config.set_hashing_config(_hashing()).sign(folder, made)
            signature = made.read_bytes()
        if covered(signature) != digests(files):
            raise PublishError("A file was changed just now.", "Push again once nothing writes there.")
        return signature

    def made(self, signature: bytes, files: Mapping[str, Content]) -> bool:
        """Whether this key made a signature of just these files before; who an identity is, is not known yet."""
        if self.public is None or covered(signature) != digests(files):
            return False
        with _staged(files, "files") as folder, tempfile.NamedTemporaryFile(suffix=".pub") as key:
            key.write(self.public)
            key.flush()
            return not Expected.of(key.name).objection(folder, tuple(files), signature)


@dataclass(frozen=True)
class Expected:
    """Who should have signed what is fetched. Make one with `Expected.of`.

    Args:
        name: of who it is.
        config: of `model_signing.verifying`, knowing the key or the identity.
        identity: whether it is an identity.
    """

    name: str
    config: Any
    identity: bool = False

    @classmethod
    def of(cls, signer: str, provider: str | None = None) -> Expected:
        """Whoever has the private half of a key, or an identity.

        Args:
            signer: file of a public key; with a provider the identity: an e-mail address, or the URI of a CI job.
            provider: the OpenID Connect issuer that vouches for the identity.

        Raises:
            UsageError: for what is no public key, or where the extra is not installed.
            SignatureError: where Sigstore cannot be reached.
        """
        verifying = _library().verifying
        if provider is not None:
            with _sigstore():
                config = verifying.Config().use_sigstore_verifier(identity=signer, oidc_issuer=provider)
            return cls(f"{signer} by {provider}", config, identity=True)
        text = _read_key(
            Path(signer),
            "Give the file of a public key; or of an identity the provider as well, such as "
            "--signer-provider https://github.com/login/oauth.",
        )
        if b"PRIVATE KEY-----" in text:
            half = f"openssl pkey -in {signer} -pubout -out key.pub"
            raise UsageError(f"{signer} is a private key, and this takes the public one.", f"Make it with `{half}`.")
        if b"BEGIN CERTIFICATE-----" in text:
            raise UsageError(
                f"{signer} is a certificate, and this takes a public key.",
                "What was signed with a certificate is checked with `model_signing verify certificate`.",
            )
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        try:
            _require_elliptic(load_pem_public_key(text))
            config = verifying.Config().use_elliptic_key_verifier(public_key=signer)
        except Exception as error:  # whatever cryptography raises over any file
            raise UsageError(
                f"{signer} is not {KEY}: {_why(error)}.", "Ask whoever signed for the public key."
            ) from error
        return cls(Path(signer).name, config)

    def objection(self, folder: Path, names: tuple[str, ...], signature: bytes | None) -> str:
        """Why what was fetched is not signed by them; empty where it is.

        Args:
            folder: holds every file that was fetched.
            names: of all files of the repo.
            signature: the content of its model.sig; None where there is none.
        """
        if signature is None:
            return f"there is no {SIGNATURE}: nobody signed it"
        if (signed := covered(signature)) is None:
            return f"{SIGNATURE} is no signature that model_signing 1.0 or later makes"
        if _with_key(signature) is self.identity:
            return (
                "a key made it, and no identity" if self.identity else "no key made it, but an identity or certificate"
            )
        with tempfile.TemporaryDirectory(prefix="hfvaccine-") as place:
            held = Path(place) / SIGNATURE  # the bytes that were looked into
            held.write_bytes(signature)
            try:
                with _quiet():
                    self.config.set_hashing_config(_hashing()).verify(folder, held)
            except Exception as error:  # whatever the libraries raise over a stranger's file
                return _told(error, folder, names, signed)
        # Git's own files are none of the library's business, and of ours.
        added = [name for name in names if name not in signed and name not in (*APART, ".gitattributes")]
        return f"added after it was signed: {few(sorted(added))}" if added else ""


def digests(files: Mapping[str, Content]) -> dict[str, str]:
    """SHA-256 of each file that a signature is over."""
    return {name: sha256_of(content) for name, content in files.items() if name not in APART}


def covered(signature: bytes) -> dict[str, str] | None:
    """SHA-256 by name of what a signature says it is over, whoever made it; None where it is no signature."""
    try:
        statement = json.loads(base64.b64decode(json.loads(signature)["dsseEnvelope"]["payload"]))
        return {str(one["name"]): str(one["digest"]) for one in statement["predicate"]["resources"]}
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def _with_key(signature: bytes) -> bool:
    material = json.loads(signature).get("verificationMaterial")
    return isinstance(material, dict) and "publicKey" in material


def encrypted(key: Path | str) -> bool:
    """Whether the file of a private key asks for a password."""
    text = Path(key).read_bytes() if Path(key).is_file() else b""
    return b"BEGIN ENCRYPTED PRIVATE KEY" in text or b"4,ENCRYPTED" in text


def _library() -> Any:
    try:
        import model_signing
    except ImportError as error:
        raise UsageError(
            f"Signatures need a package that is not here: {error.name}.", install_extra("sign")
        ) from error
    return model_signing


def _hashing() -> Any:
    """All files but those apart; the Hub's cache keeps its files behind links."""
    paths = [*APART, BESIDE_DOWNLOADS]
    return _library().hashing.Config().set_ignored_paths(paths=paths).set_allow_symlinks(True)


def _read_key(path: Path, next_step: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"There is no key {str(path)!r}: {error.strerror}.", next_step) from error


@contextlib.contextmanager
def _staged(files: Mapping[str, Content], name: str) -> Iterator[Path]:
    """A folder that holds what a repo is to hold; weights stay where they are."""
    with tempfile.TemporaryDirectory(prefix="hfvaccine-") as place:
        folder = Path(place) / name.rpartition("/")[2]
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, bytes):
                (folder / path).write_bytes(content)
            else:
                (folder / path).symlink_to(content.path.resolve())
        yield folder


@contextlib.contextmanager
def _sigstore() -> Iterator[None]:
    """Say in one sentence what Sigstore's client, its network or a login raises."""
    try:
        yield
    except Exception as error:
        raise SignatureError(
            f"Sigstore cannot be used: {_why(error)}.",
            "It needs a network, and to sign a login by a browser or the identity of a CI job; a key needs neither.",
        ) from error


def _quiet() -> Any:
    """What a library prints is not what a command prints."""
    return contextlib.redirect_stdout(sys.stderr)


def _require_elliptic(key: Any) -> None:
    if not hasattr(key, "curve"):
        raise ValueError("it is a key of another kind")


def _why(error: BaseException) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def _told(error: Exception, folder: Path, names: tuple[str, ...], signed: Mapping[str, str]) -> str:
    """What a verification that failed says, in words."""
    said = _why(error)
    if said.startswith("Key mismatch") or type(error).__name__ == "InvalidSignature":
        return "another key made it, or it was changed"
    if not said.startswith("Signature mismatch"):
        return f"it is not theirs: {said}"
    here = {name: folder / name for name in names if name not in APART}
    states = {
        "gone": [name for name in signed if name not in here],
        "changed": [n for n, path in here.items() if n in signed and path.is_file() and digest_of(path) != signed[n]],
        "added": [name for name in here if name not in signed and name != ".gitattributes"],
    }
    found = [f"{state} after it was signed: {few(sorted(some))}" for state, some in states.items() if some]
    return "; ".join(found) or said
