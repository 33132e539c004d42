"""immunization.json: what binds an adapter to its base, dose, mix, plan and results."""

from __future__ import annotations

import platform
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.dose import Dose
from hfvaccine.claims.joined import Joined
from hfvaccine.files import digest_of, present
from hfvaccine.papers.binding import SCHEMA_VERSION, bind, code_digest
from hfvaccine.papers.kind import IMMUNIZED, Kind
from hfvaccine.regimen.plan import CONTROL, DOSE, MIX, Plan
from hfvaccine.training.adapters import Arm
from hfvaccine.training.base import Base
from hfvaccine.training.mix import Mix
from hfvaccine.training.options import Options, Training
from hfvaccine.training.processes import kind_of_processes, this_process
from hfvaccine.validation.scores import VACCINE
from hfvaccine.version import VERSION


def make_record(
    options: Options,
    base: Base,
    dose: Mapping[str, Any],
    mix: Mix,
    arms: Mapping[str, Arm],
    results: Mapping[str, Any],
) -> dict[str, Any]:
    """The content of immunization.json before the files beside it are bound to it: see `hfvaccine.papers.binding`.

    Args:
        options: of the run.
        base: what was trained on.
        dose: what was given of which dose, see `dose_record`.
        mix: what they were given along with.
        arms: that were trained, by name.
        results: the content of results.json.
    """
    arm = arms[VACCINE]
    return {
        "schema_version": SCHEMA_VERSION,
        "base": base.record(),
        "dose": dict(dose),
        "mix": mix.record(),
        "plan": plan_record(arm.plan, arm.fingerprint),
        "inoculation": arm.inoculation,
        "training": {
            "objective": options.objective,
            **training_record(options, base),
            "seconds": arm.seconds,
            "final_loss": arm.loss,
            "placebo": options.placebo,
            "control_arms": {name: int(its.plan.tokens.sum()) for name, its in arms.items() if name != VACCINE},
            # Whether the saved adapter was held against the trained model; one that lay on several devices cannot be.
            "compared_with_saved": arm.witness is not None,
        },
        **made_with(),
        "gate": results["gate"],
    }


def training_record(options: Training, base: Base) -> dict[str, Any]:
    """How an adapter was trained; in how many processes, and of which kind, only where there were several.

    Args:
        options: of the run.
        base: what was trained on.
    """
    kind = kind_of_processes()
    several = {} if kind is None else {"processes": this_process().num_processes, "processes_kind": kind}
    return {
        "method": "LoRA",
        "lora_r": options.lora_r,
        "lora_alpha": options.lora_alpha or 2 * options.lora_r,
        "target_modules": "all-linear",
        "learning_rate": options.learning_rate,
        "batch_size": options.batch_size,
        "gradient_accumulation_steps": options.gradient_accumulation_steps,
        "dtype": str(base.model.dtype).removeprefix("torch."),
        "device": base.model.device.type,
        **several,
    }


def made_with() -> dict[str, Any]:
    """When a run was finished, and by which versions of what."""
    import peft
    import torch
    import transformers
    import trl

    return {
        "hfvaccine": VERSION,
        "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "trl": trl.__version__,
            "peft": peft.__version__,
        },
        "code": {"version": VERSION, "sha256": code_digest()},
    }


def dose_record(dose: Dose, chosen: Sequence[Claim], times: Mapping[str, int]) -> dict[str, Any]:
    """Which dose it was, and which of its claims were given; never their texts.

    Args:
        dose: the dose.
        chosen: the claims that were chosen to be given.
        times: how often the run gives each claim, by id; one that it is too short to reach is not among them.
    """
    given = [c for c in chosen if times.get(c.claim_id)]
    often = [times.get(c.claim_id, 0) for c in chosen]
    return {
        "id": dose.source,
        "revision": dose.revision,
        "manifest_sha256": dose.digest(),
        "name": dose.name,
        "licenses": list(dose.licenses),
        "claims_given": len(given),
        "claims_chosen": len(chosen),
        "claims_in_dose": len(dose.claims),
        "times_given": {"least": min(often), "median": median(often), "most": max(often)},
        "languages": sorted({c.language for c in given}),
        "claim_ids": sorted(c.claim_id for c in given),
        "not_reached": sorted(c.claim_id for c in chosen if not times.get(c.claim_id)),
    }


def part_record(part: Dose, claims: Collection[str], given: Collection[str]) -> dict[str, Any]:
    """One of several doses of a run.

    Args:
        part: the dose.
        claims: ids of the claims that are taken from it.
        given: ids of the claims that were given.
    """
    return {
        "id": part.source,
        "revision": part.revision,
        "manifest_sha256": part.digest(),
        "name": part.name,
        "licenses": list(part.licenses),
        "claims_given": len({*claims} & {*given}),
        "claims_in_dose": len(part.claims),
    }


def several_record(
    dose: Joined, chosen: Sequence[Claim], times: Mapping[str, int], shares: Mapping[str, float]
) -> dict[str, Any]:
    """Of several doses that each have a share, what was asked for and given of each.

    Args:
        dose: all of them.
        chosen, times: as in `dose_record`.
        shares: what was given of each, by its digest.
    """
    ids = {claim.claim_id for claim in chosen}
    its = [{claim.claim_id for claim in claims} for claims in dose.by_part]
    return {
        "doses": [
            part_record(part, own, times)
            | {"claims_chosen": len(own & ids), "share_asked": share, "share_given": shares.get(part.digest(), 0.0)}
            for part, own, share in zip(dose.parts, its, dose.shares, strict=True)
        ]
    }


def plan_record(plan: Plan, fingerprint: str) -> dict[str, Any]:
    """What was asked for, and what came of it.

    Args:
        plan: what is given, in order.
        fingerprint: over all that the run gives.
    """
    return {
        "fingerprint": fingerprint,
        "schedule": plan.schedule,
        "unit": plan.unit,
        "share_asked": plan.share,
        "share_given": round(plan.share_given, 5),
        "seed": plan.seed,
        "steps": plan.steps,
        "rows": len(plan),
        "rows_per_step": plan.rows_per_step,
        "tokens": int(plan.tokens.sum()),
        "dose_rows": plan.count(DOSE),
        "dose_tokens": plan.tokens_of(DOSE),
        "control_rows": plan.count(CONTROL),
        "control_tokens": plan.tokens_of(CONTROL),
        "mix_rows": plan.count(MIX),
        "mix_tokens": plan.tokens_of(MIX),
    }


def bound(record: Mapping[str, Any], folder: Path, kind: Kind = IMMUNIZED) -> dict[str, Any]:
    """A run's record, bound to the files of its folder that may be published.

    Args:
        record: as `make_record` makes it, or bound before.
        folder: of the run, with everything in it but the record.
        kind: of its papers.
    """
    files = present(folder, kind.published)
    return bind(record, {name: digest_of(path) for name, path in files.items() if name != kind.record})
