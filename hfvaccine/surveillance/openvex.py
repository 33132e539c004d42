"""The recalls of a dose as an OpenVEX 0.2 document, which other people's tools read. Pure.

The format is that of https://github.com/openvex/spec (OPENVEX-SPEC.md, v0.2.0): product and vulnerability are the dose
and the claim, both by digests, since neither place nor text of a claim is to be public. Later statements override
earlier ones.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from hfvaccine.claims.dose import Dose
from hfvaccine.quarantine.recalls import Recall
from hfvaccine.version import VERSION

CONTEXT = "https://openvex.dev/ns/v0.2.0"


def document(dose: Dose, recalls: Sequence[Recall]) -> dict[str, Any]:
    """All that holds of a dose's claims, the oldest first.

    Args:
        dose: as it was sealed.
        recalls: at least one, since a document without a statement is none.
    """
    last = recalls[-1]
    digest = dose.digest()
    return {
        "@context": CONTEXT,
        "@id": named(last.entry),
        "author": str(dose.policy.get("contact") or ", ".join(last.by)),
        "role": "those who answer for the dose",
        "timestamp": last.at,
        "version": len(recalls),
        "tooling": f"hfvaccine {VERSION}",
        "statements": [_statement(recall, digest) for recall in recalls],
    }


def named(sha256: str) -> str:
    """Something by its digest, as an IRI that says nothing of where it is (RFC 6920).

    Args:
        sha256: in hexadecimal.
    """
    return "ni:///sha-256;" + base64.urlsafe_b64encode(bytes.fromhex(sha256)).decode().rstrip("=")


def _statement(recall: Recall, digest: str) -> dict[str, Any]:
    because = f"{recall.why} Source: {recall.source}" if recall.source else recall.why
    given = {"action_statement": recall.action, "justification": recall.justification}
    products = [digest, *(str(one["adapter_sha256"]) for one in recall.boosters)]
    return {
        "@id": named(recall.entry),
        "vulnerability": {"name": recall.claim_id},
        "timestamp": recall.at,
        "products": [{"@id": named(one), "hashes": {"sha-256": one}} for one in products],
        "status": recall.status,
        "status_notes": because,
        **{name: value for name, value in given.items() if value is not None},
    }
