"""DosingCallback: an exact dose on a stock `trl.SFTTrainer`."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.dose import Dose
from hfvaccine.claims.shares import in_all
from hfvaccine.dosing.choice import ordered
from hfvaccine.dosing.forms import TRAINING_FORMS, Form, conversations
from hfvaccine.dosing.permission import permit
from hfvaccine.errors import DoseError, UsageError
from hfvaccine.quarantine.recalls import objections
from hfvaccine.regimen.attach import regimen_of
from hfvaccine.regimen.dosage import Dosage
from hfvaccine.regimen.given import marked
from hfvaccine.regimen.lengths import check_unit
from hfvaccine.regimen.pairs import SFT, check_objective
from hfvaccine.regimen.plan import check_share
from hfvaccine.regimen.replay import Replayed
from hfvaccine.regimen.schedule import Schedule, named

SHARE = 0.05
"""Of a dose that is given without one."""


class DosingCallback(Replayed):
    """Gives a dose at an exact share of the tokens of a stock `SFTTrainer` run.

    Add it before `trainer.train()`:

        trainer.add_callback(DosingCallback(trainer, dose, share=0.05))

    Making it prepares the dose with the trainer's own tokenization, verifies
    that no loss falls on a claim, plans the run, and sets the trainer up to
    replay the plan: `train_dataset` becomes the planned order,
    `args.train_sampling_strategy` "sequential" and `args.max_steps` the plan's
    steps. (A streamed mix is interleaved as it comes, by one dataloader worker
    at most.) The trainer's mix and its `num_train_epochs` (or `max_steps`) set the
    length of the run.

    While training, every row that reaches the model is compared with the plan,
    and the trainer's loggers get `dose_share` and `dose_tokens` so far, and
    `dose_loss`, `control_loss` and `mix_loss` (nats per token with loss). At the
    end `dosing_ledger.parquet` in the output folder says what was given to the
    model as it is then: with `load_best_model_at_end`, up to the best step. An
    epoch is a pass over the mix, and what the trainer does "epoch" by epoch
    comes with the step that ends it.

    Args:
        trainer: the trainer, with the mix as its `train_dataset`.
        dose: the dose; its held-out claims are never given. Several doses, each at a share of its own, are made one
            with `hfvaccine.claims.joined.together`.
        share: dose part of the training tokens, in (0, 0.5]. [default: 0.05; of several doses the sum of their shares]
        schedule: built-in name ("constant", "pulsed", "ramp", "taper", "front_loaded") or a
            function from progress in [0, 1] to a factor on the share.
        unit: count the share over all non-padding "tokens" or over "supervised" ones.
        seed: of the order of the mix; defaults to the trainer's.
        forms: wordings; defaults to `hfvaccine.dosing.forms.TRAINING_FORMS`.
        raw_dataset: the mix as it was before the trainer prepared it; needed under packing.
        override_policy: why the dose is given although its policy forbids it.
        objective: "sft", or "pairwise" for a loss that no bias satisfies beside it, on claim and twin at the verdict,
            see `hfvaccine.regimen.pairwise`; and on rows of the mix of which two have the same value in the column
            `pair`, the one whose statement is false first.
        exposures: how often each claim is given at least: of the dose, as many claims are given as that leaves room
            for, spread over the domains; of several doses, as many of each as its share leaves room for. None gives
            all of them, as often as comes of it.

    Attributes:
        claims: those that are given.

    Raises:
        UsageError: for a share, schedule, unit or objective out of its range, or a share besides those of several
            doses.
        PlanError: for a trainer whose settings cannot be exact (`auto_find_batch_size`, "wrapped"
            packing, truncation that would cut a correction), or that has a dose already.
        DoseError: for a dose whose policy forbids it, one that does not give a single row, or where loss would
            fall on a claim, given or held out, in the dose or in the mix; also where not one claim can be given
            `exposures` times.
        FormError: for a correction or twin that says a claim of the dose.
    """

    def __init__(
        self,
        trainer: Any,
        dose: Dose,
        share: float | None = None,
        schedule: str | Schedule = "constant",
        unit: str = "tokens",
        seed: int | None = None,
        forms: Sequence[Form] = TRAINING_FORMS,
        raw_dataset: Any = None,
        override_policy: str | None = None,
        objective: str = SFT,
        exposures: int | None = None,
    ) -> None:
        check_objective(objective)
        whole = _whole(dose, share)
        check_share(whole)
        permit(dose, whole, override_policy)
        for line in objections(dose)[1]:
            warnings.warn(f"Of the dose {dose.name!r}, {line}.", stacklevel=2)
        check_unit(unit)
        named(schedule)
        seed = trainer.args.seed if seed is None else seed
        regimen = regimen_of(trainer, raw_dataset)

        origins = dose.origins

        def parts(streams: Sequence[Sequence[Claim]]) -> dict[str, Any]:
            rows = [marked(conversations(claims, forms), origins) for claims in streams]
            dosage = Dosage(
                trainer,
                rows,
                dose.falsehoods,
                share=whole,
                shares=dose.shares,
                schedule=schedule,
                unit=unit,
                seed=seed,
            )
            return {"dosage": dosage, "objective": objective}

        streams = list(dose.streams)
        if exposures is None:
            regimen.change(**parts(streams))
        else:
            tried, in_order = regimen.trial(**parts(streams)), [ordered(claims, seed) for claims in streams]
            while short := [
                (number, rows)
                for number, rows in enumerate(tried.dosage.counts(tried.plan).tolist())
                if rows < len(streams[number]) * exposures
            ]:
                for number, rows in short:
                    streams[number] = in_order[number][: min(len(streams[number]) - 1, rows // exposures)]
                    if not streams[number]:
                        of = f" of dose {number + 1}" * (len(streams) > 1)
                        raise DoseError(
                            f"The run gives {rows} dose rows{of}: not one claim {exposures} times.",
                            "Train longer, raise the share, or ask for fewer exposures.",
                        )
                tried = regimen.trial(**parts(streams))
            regimen.adopt(tried)
        self.claims = tuple(claim for claims in streams for claim in claims)
        super().__init__(regimen)


def _whole(dose: Dose, share: float | None) -> float:
    """The share of all that is given."""
    if not dose.shares:
        return SHARE if share is None else share
    whole = in_all(dose.shares)
    if share not in (None, whole):
        raise UsageError(
            f"The share {share} is given, and each of the {len(dose.shares)} doses has its own, {whole:g} in all.",
            "Leave share out, or join the doses anew with other shares.",
        )
    return whole
