"""A sealed dose: claims that may be given, claims held out, and the papers that go with them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfvaccine.claims import journal
from hfvaccine.claims.claim import Claim
from hfvaccine.errors import ClaimError, DoseError
from hfvaccine.files import CARD, FIGURES, RECALLS, digest_of, load_yaml
from hfvaccine.sources.license import licenses_in, licenses_of

SCHEMA_VERSION = 3
READ = (2, SCHEMA_VERSION)
"""Schema versions that can be read; claims of 2 have no variants."""
UNNAMED = "unnamed dose"
"""The name of one whose policy names none."""

MANIFEST = "manifest.json"
POLICY = "governance/policy.yaml"
JOURNAL = "governance/journal.jsonl"
FIGURE = f"{FIGURES}/contents.svg"
GIVEN = "data/dose-00000.parquet"
HELD_OUT = "data/heldout-00000.parquet"
FILES = (CARD, FIGURE, GIVEN, HELD_OUT, POLICY, JOURNAL)
"""Every file of a dose but the manifest, which holds their digests."""

NOT_OURS = re.compile(
    r"\.gitattributes|\.cache/.*|\.huggingface/.*|LICENSE|NOTICE|model\.sig|"
    r"\.?recalls\.(jsonl|openvex\.json)(-[0-9a-f]{8})?"
)
"""What the Hub and its client, and publishers, put beside a dose, and what is recalled of it later."""

AGAIN = "Fetch the dose again from its publisher, or seal it anew."


@dataclass(frozen=True)
class Dose:
    """Claims under quarantine, ready to be given.

    Args:
        claims: those that may be given (split "dose").
        heldout: those that are never given, only probed.
        manifest: counts, digests and canary; empty for a dose made in memory.
        policy: the governance policy it was sealed under.
        path: its folder, where it has one.
        source: Hub id or folder it came from, for the record.
        revision: commit of the Hub repo it came from.
        recalls: acts that recall claims of it: they came after the seal, and go on with its journal.
        recalls_asked: whether its Hub was asked for the newest of them; False where it could not be, and these are of
            the day when the dose was fetched.
    """

    claims: tuple[Claim, ...]
    heldout: tuple[Claim, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    source: str = ""
    revision: str | None = None
    recalls: tuple[journal.Entry, ...] = ()
    recalls_asked: bool = True

    def __post_init__(self) -> None:
        if not self.claims:
            raise DoseError("The dose holds no claim that may be given.", "Give it claims with split 'dose'.")
        shared = {c.cluster_id for c in self.claims} & {c.cluster_id for c in self.heldout}
        if shared:
            raise DoseError(
                f"{len(shared)} cluster(s) stand in both the dose and the held-out claims, first {min(shared)}.",
                "Paraphrases of one falsehood must be on one side of the split.",
            )

    @classmethod
    def from_claims(cls, claims: Sequence[Claim]) -> Dose:
        """A dose in memory, split by each claim's `split`.

        Raises:
            DoseError: without a claim to give, or with a cluster on both sides.
        """
        return cls(
            claims=tuple(c for c in claims if c.split == "dose"),
            heldout=tuple(c for c in claims if c.split == "heldout"),
        )

    @classmethod
    def load(cls, folder: Path | str) -> Dose:
        """A sealed dose folder, every file checked against the manifest.

        Raises:
            DoseError: naming the file that is missing or was changed.
            ClaimError: naming a row that cannot be given.
        """
        import pyarrow.parquet as pq

        folder = Path(folder)
        manifest = _prove(folder)
        claims: list[Claim] = []
        for name in (GIVEN, HELD_OUT):
            try:
                claims += [Claim.from_row(row) for row in pq.read_table(folder / name).to_pylist()]
            except ClaimError as error:
                raise ClaimError(f"{name}: {error.message}", error.next_step) from error
        policy = load_yaml((folder / POLICY).read_text(encoding="utf-8"))
        split = cls.from_claims(claims)
        recalls = read_recalls(folder)
        dose = cls(split.claims, split.heldout, manifest, policy, folder, str(folder), recalls=recalls)
        if dose.counts() != manifest.get("counts"):
            raise DoseError(f"The claims in {folder} are not those that its manifest counts.", AGAIN)
        return dose

    @property
    def falsehoods(self) -> tuple[str, ...]:
        """Everything false that its claims say, given or held out, and that no loss may fall on."""
        return tuple(text for claim in (*self.claims, *self.heldout) for text in claim.falsehoods)

    @property
    def name(self) -> str:
        return str(self.policy.get("name", UNNAMED))

    @property
    def licenses(self) -> tuple[str, ...]:
        """The licences that its claims name, or else its policy."""
        return licenses_of(vars(c) for c in (*self.claims, *self.heldout)) or licenses_in(self.policy)

    @property
    def origins(self) -> Mapping[str, str]:
        """Of a dose that was joined of several, the digest of the one that each claim is of, by the claim's id."""
        return {}

    @property
    def streams(self) -> tuple[tuple[Claim, ...], ...]:
        """The claims that may be given; of several doses with a share each, those of each by themselves."""
        return (self.claims,)

    @property
    def shares(self) -> tuple[float, ...]:
        """Of several doses that are given together, the share of each; of any other, none."""
        return ()

    def digest(self) -> str:
        """SHA-256 of the manifest, or of the rows for a dose made in memory."""
        if self.path is not None:
            return digest_of(self.path / MANIFEST)
        rows = sorted(c.digest() for c in (*self.claims, *self.heldout))
        return digest_of("".join(rows).encode())

    def counts(self) -> dict[str, Any]:
        """How many claims there are, of which kinds, as they stand in the manifest."""
        everything = (*self.claims, *self.heldout)
        return {
            "dose": len(self.claims),
            "heldout": len(self.heldout),
            "clusters": len({c.cluster_id for c in everything}),
            "with_twin": sum(c.twin is not None for c in everything),
            # Older manifests do not count them.
            **({"with_variants": varied} if (varied := sum(bool(c.variants) for c in everything)) else {}),
            "reviewed": sum(bool(c.reviewers) for c in everything),
            "reviewers": len({review.get("reviewer") for c in everything for review in c.reviewers}),
            "sources_opened": sum(any(s.checked_on for s in c.sources) for c in everything),
            "by_domain": _tally(c.domain for c in everything),
            "by_tactic": _tally(c.tactic for c in everything),
            "by_harm": _tally(c.harm for c in everything),
            "by_language": _tally(c.language for c in everything),
            "by_license": _tally(c.license for c in everything),
            "overlaps": _tally(name for c in everything for name in c.overlaps),
        }


def verify(folder: Path | str) -> dict[str, Any]:
    """Prove a dose folder: its manifest, its journal, every file of it, and that the claims are those counted.

    Returns:
        The manifest.

    Raises:
        DoseError: naming the first thing that is missing, changed or added; of the journal, the entry.
        ClaimError: naming a row that cannot be given.
    """
    return dict(Dose.load(folder).manifest)


def dump(manifest: Mapping[str, Any]) -> str:
    """A manifest with its own digest, as it stands in the file."""
    content = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    content["manifest_sha256"] = digest_of(json.dumps(content, sort_keys=True).encode())
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def _prove(folder: Path) -> dict[str, Any]:
    if not folder.is_dir():
        raise DoseError(f"No dose folder at {folder}.", "Give a sealed dose folder, a Hub dataset id, or 'starter'.")
    if not (folder / MANIFEST).is_file():
        raise DoseError(
            f"{folder} has no {MANIFEST}: it is not a sealed dose.", "Seal claims into a dose folder first."
        )
    try:
        text = (folder / MANIFEST).read_bytes().decode()
        manifest: dict[str, Any] = json.loads(text)
        version, files = manifest["schema_version"], dict(manifest["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise DoseError(f"{folder / MANIFEST} is malformed: {error}.", AGAIN) from error
    if version not in READ:
        raise DoseError(
            f"The dose has schema version {version}, this hfvaccine reads {' and '.join(map(str, READ))}.",
            "Seal its claims anew." if version in range(SCHEMA_VERSION) else "Upgrade hfvaccine.",
        )
    if text != dump(manifest):
        raise DoseError(f"{MANIFEST} in {folder} is not what was sealed.", AGAIN)
    _prove_files(folder, files, manifest.get("journal_head"))
    return manifest


def _prove_files(folder: Path, files: Mapping[str, str], journal_head: object) -> None:
    for name in files:
        if name not in FILES:
            raise DoseError(f"{name} is in the manifest of {folder} but no file of a dose.", AGAIN)
    for name in FILES:
        if name not in files:
            raise DoseError(f"{name} is not in the manifest of {folder}.", AGAIN)
        if not (folder / name).is_file():  # not resolved: the Hub's cache keeps its files behind links
            raise DoseError(f"{name} is in the manifest of {folder} but not in the folder.", AGAIN)
    stray = [name for name in _inside(folder) if name not in (*FILES, MANIFEST) and not NOT_OURS.fullmatch(name)]
    if stray:
        raise DoseError(f"{min(stray)} in {folder} was never sealed.", AGAIN)
    entries = read_journal(folder)
    if not entries or entries[-1].hash() != journal_head:
        raise DoseError(f"The journal of {folder} does not end where the manifest says.", AGAIN)
    for name, digest in files.items():
        if digest_of(folder / name) != digest:
            raise DoseError(f"{name} in {folder} is not the file that was sealed.", AGAIN)


def read_journal(folder: Path) -> list[journal.Entry]:
    """The journal of a dose folder, its chain proved.

    Raises:
        DoseError: naming the first entry that was tampered with.
    """
    return journal.loads((folder / JOURNAL).read_bytes())


def read_recalls(folder: Path) -> tuple[journal.Entry, ...]:
    """The acts that recall claims of a dose in its folder; none where there is no such file.

    Raises:
        DoseError: naming the first entry that was tampered with, or for recalls that do not go on with its journal.
    """
    if not (folder / RECALLS).is_file():
        return ()
    recalls = proved_recalls((folder / RECALLS).read_bytes(), folder)
    if recalls and recalls[0].before not in {entry.hash() for entry in read_journal(folder)}:
        raise DoseError(f"{RECALLS} in {folder} does not go on with the journal of this dose.", AGAIN)
    return recalls


def proved_recalls(content: bytes, where: object) -> tuple[journal.Entry, ...]:
    """Acts that recall claims, their chain proved, whichever journal they go on with.

    Args:
        content: of the file.
        where: the folder or repo that it stands in, for the message.

    Raises:
        DoseError: naming the first entry that was tampered with.
    """
    try:
        return tuple(journal.loads(content, before=None))
    except DoseError as error:
        raise DoseError(f"{RECALLS} in {where}: {error.message}", error.next_step) from error


def _inside(folder: Path) -> list[str]:
    """Everything in a folder that is no plain folder."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return [path.relative_to(folder).as_posix() for path in found]


def _tally(values: Iterable[str]) -> dict[str, int]:
    return dict(sorted(Counter(values).items()))


DOSE_FILES = (CARD, MANIFEST, "data/*", "governance/*", "figures/*")
"""What a push of a dose may write and a pull fetches; what is really in a dose is said by its manifest."""
