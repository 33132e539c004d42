"""A sealed dose: claims that may be given, claims held out, and the papers that go with them."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import tempfile
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hfvaccine import journal
from hfvaccine.errors import ClaimError, DoseError
from hfvaccine.quarantine.claim import COLUMNS, Claim, arrow_schema
from hfvaccine.quarantine.screen import cue_audit
from hfvaccine.version import VERSION

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
POLICY = "governance/policy.yaml"
JOURNAL = "governance/journal.jsonl"
CANARY_NAMESPACE = uuid.UUID("5f3f2a0e-6f0c-5d1b-9a57-0b1ad05e0001")

POLICY_DEFAULTS: dict[str, Any] = {
    "name": "unnamed dose",
    "contact": "",
    "license": "other",
    "gating": "manual",
    "reviewers_needed": 2,
    "waives": [],
    "share_limits": [0.0, 0.5],
    "expires_on": None,
    "sealed_by": "",
    "sealed_on": "1970-01-01",
}


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
    """

    claims: tuple[Claim, ...]
    heldout: tuple[Claim, ...] = ()
    manifest: Mapping[str, Any] = field(default_factory=dict)
    policy: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None
    source: str = ""
    revision: str | None = None

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
        import yaml

        folder = Path(folder)
        manifest = verify(folder)
        claims: list[Claim] = []
        for name in sorted(manifest["files"]):
            if name.endswith(".parquet"):
                try:
                    claims += [Claim.from_row(row) for row in pq.read_table(folder / name).to_pylist()]
                except ClaimError as error:
                    raise ClaimError(f"{name}: {error.message}", error.next_step) from error
        policy = yaml.safe_load((folder / POLICY).read_text(encoding="utf-8"))
        loaded = cls.from_claims(claims)
        return cls(loaded.claims, loaded.heldout, manifest, policy, folder, str(folder))

    @property
    def name(self) -> str:
        return str(self.policy.get("name", "unnamed dose"))

    def digest(self) -> str:
        """SHA-256 of the manifest, or of the rows for a dose made in memory."""
        if self.path is not None:
            return hashlib.sha256((self.path / MANIFEST).read_bytes()).hexdigest()
        rows = sorted(c.digest() for c in (*self.claims, *self.heldout))
        return hashlib.sha256("".join(rows).encode()).hexdigest()


def seal(claims: Sequence[Claim], policy: Mapping[str, Any], into: Path) -> Dose:
    """Write the dose folder: the same claims and policy give the same bytes.

    Everything is written beside `into` and moved there at the end, so that an
    interrupted or refused seal leaves nothing behind.

    Args:
        claims: all claims, each with its split.
        policy: governance policy; missing keys take `POLICY_DEFAULTS`.
        into: the folder to make; must not exist.

    Returns:
        The dose as `Dose.load` reads it back.

    Raises:
        DoseError: where `into` exists, two claims are the same, or the policy refuses a claim.
    """
    import yaml

    if into.exists():
        raise DoseError(f"{into} exists already.", "A sealed dose is never overwritten: choose another folder.")
    unknown = sorted(set(policy) - set(POLICY_DEFAULTS))
    if unknown:
        raise DoseError(
            f"The policy has unknown key(s): {', '.join(unknown)}.", f"Known: {', '.join(POLICY_DEFAULTS)}."
        )
    policy = {**POLICY_DEFAULTS, **policy}
    claims = sorted(claims, key=lambda c: c.claim_id)
    _refuse(claims, policy)
    draft = Dose.from_claims(claims)

    rows_digest = hashlib.sha256("".join(c.digest() for c in claims).encode()).hexdigest()
    policy_text = yaml.safe_dump(dict(policy), sort_keys=True, allow_unicode=True)
    guid = uuid.uuid5(CANARY_NAMESPACE, rows_digest + policy_text)
    canary = f"hfvaccine:canary:{guid}"
    policy_text = f"# {canary} - this data must never appear in a general training corpus\n" + policy_text
    entries = journal.chain(
        [
            journal.Entry(
                "intake", _one(c.submitted_by for c in claims), str(policy["sealed_on"]), {"claims": len(claims)}
            ),
            journal.Entry(
                "seal",
                str(policy["sealed_by"]),
                str(policy["sealed_on"]),
                {"rows_sha256": rows_digest, "canary": canary},
            ),
        ]
    )
    files = {
        "data/dose-00000.parquet": _parquet(draft.claims, canary),
        "data/heldout-00000.parquet": _parquet(draft.heldout, canary),
        POLICY: policy_text.encode(),
        JOURNAL: journal.dumps(entries).encode(),
    }
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "name": policy["name"],
        "canary": canary,
        "counts": _counts(draft),
        "cue_audit": _audit(claims),
        "files": {name: hashlib.sha256(content).hexdigest() for name, content in sorted(files.items())},
        "policy_sha256": hashlib.sha256(files[POLICY]).hexdigest(),
        "journal_head": entries[-1].hash(),
        "tools": {"hfvaccine": VERSION},
    }
    manifest["manifest_sha256"] = _self_digest(manifest)
    files[MANIFEST] = (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()

    into.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{into.name}-", dir=into.parent))
    try:
        for name, content in files.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_bytes(content)
        staging.chmod(0o755)
        staging.rename(into)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return Dose.load(into)


def verify(folder: Path) -> dict[str, Any]:
    """Prove manifest, files and journal of a dose folder; returns the manifest.

    Raises:
        DoseError: naming the first thing that is missing, changed or added.
    """
    again = "Fetch the dose again from its publisher, or seal it anew."
    if not folder.is_dir():
        raise DoseError(f"No dose folder at {folder}.", "Give a sealed dose folder, a Hub dataset id, or 'starter'.")
    if not (folder / MANIFEST).is_file():
        raise DoseError(
            f"{folder} has no {MANIFEST}: it is not a sealed dose.", "Seal claims into a dose folder first."
        )
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        version, files = manifest["schema_version"], dict(manifest["files"])
    except (ValueError, KeyError, TypeError) as error:
        raise DoseError(f"{folder / MANIFEST} is malformed: {error}.", again) from error
    if version != SCHEMA_VERSION:
        raise DoseError(
            f"The dose has schema version {version}, this hfvaccine reads {SCHEMA_VERSION}.", "Upgrade hfvaccine."
        )
    if manifest.get("manifest_sha256") != _self_digest(manifest):
        raise DoseError(f"{MANIFEST} in {folder} is not what was sealed.", again)
    for name, digest in files.items():
        path = folder / name  # not resolved: the Hub's cache keeps its files behind links
        if ".." in Path(name).parts or Path(name).is_absolute() or not path.is_file():
            raise DoseError(f"{name} is in the manifest of {folder} but not in the folder.", again)
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise DoseError(f"{name} in {folder} is not the file that was sealed.", again)
    stray = {p.relative_to(folder).as_posix() for p in folder.glob("data/*")} - set(files)
    if stray:
        raise DoseError(f"{min(stray)} in {folder} was never sealed.", again)
    entries = journal.loads((folder / JOURNAL).read_text(encoding="utf-8"))
    if not entries or entries[-1].hash() != manifest.get("journal_head"):
        raise DoseError(f"The journal of {folder} does not end where the manifest says.", again)
    return manifest


def _self_digest(manifest: Mapping[str, Any]) -> str:
    rest = {key: value for key, value in manifest.items() if key != "manifest_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def _refuse(claims: Sequence[Claim], policy: Mapping[str, Any]) -> None:
    doubled = [cid for cid, n in Counter(c.claim_id for c in claims).items() if n > 1]
    if doubled:
        text = next(c.claim for c in claims if c.claim_id == doubled[0])
        raise DoseError(f"{len(doubled)} claim(s) stand twice, first {text!r}.", "Keep one row of each.")
    if policy["gating"] not in ("manual", "auto"):
        raise DoseError(
            f"The policy's gating is {policy['gating']!r}.", "Use 'manual' or 'auto': a dose is always gated."
        )
    needed = int(policy["reviewers_needed"])
    if needed < 2 and "two_person_rule" not in policy["waives"]:
        raise DoseError(
            f"The policy asks for {needed} reviewer(s).",
            "Ask for two, or list 'two_person_rule' under `waives` so that the card says so.",
        )
    for claim in claims:
        approvals = {
            r.get("reviewer")
            for r in claim.reviewers
            if r.get("decision") == "approve" and r.get("digest") == claim.digest()
        } - {claim.submitted_by}
        if len(approvals) < needed:
            raise DoseError(
                f"The claim {claim.claim[:60]!r} has {len(approvals)} valid approval(s) of the {needed} asked for.",
                "Review it, or lower `reviewers_needed` and say so under `waives`.",
            )


def _one(names: Any) -> str:
    return ", ".join(sorted(set(names) - {""}))


def _counts(dose: Dose) -> dict[str, Any]:
    everything = (*dose.claims, *dose.heldout)

    def tally(values: Any) -> dict[str, int]:
        return dict(sorted(Counter(values).items()))

    return {
        "dose": len(dose.claims),
        "heldout": len(dose.heldout),
        "clusters": len({c.cluster_id for c in everything}),
        "with_twin": sum(c.twin is not None for c in everything),
        "reviewed": sum(bool(c.reviewers) for c in everything),
        "by_domain": tally(c.domain for c in everything),
        "by_tactic": tally(c.tactic for c in everything),
        "by_harm": tally(c.harm for c in everything),
        "by_language": tally(c.language for c in everything),
        "by_license": tally(c.license for c in everything),
        "overlaps": tally(name for c in everything for name in c.overlaps),
    }


def _audit(claims: Sequence[Claim]) -> dict[str, Any] | None:
    pairs = [(c.claim, c.twin) for c in claims if c.twin]
    if len(pairs) < 8:
        return None
    audit = cue_audit(pairs)
    # The giveaways stay out: fragments of quarantined text do not belong in a public manifest.
    return {"bag_of_words": audit.bag_of_words, "length": audit.length, "pairs": audit.pairs}


def _parquet(claims: Sequence[Claim], canary: str) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema().with_metadata({"canary": canary})
    table = pa.Table.from_pylist([c.to_row() for c in claims], schema=schema).select(list(COLUMNS))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()
