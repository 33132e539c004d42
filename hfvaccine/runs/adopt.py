"""`inoculate adopt`: papers for an adapter that a script of somebody's own trained with `InoculationCallback`.

What can be proved is proved before anything is written: that the ledger is whole, that the rows it gives are rows of
the data under its prompts, to the token, and that the adapter's tensors fit the base. What nothing here can show, such
as how the rows were learned and whether the weights came of them at all, stands in the record as null.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from hfvaccine.errors import HfvaccineError, LineageError, ModelError, UsageError
from hfvaccine.files import ADAPTER, ADAPTER_CONFIG, CONFIG, INOCULATION, LEDGER, RECORD, digest_of, whole_folder
from hfvaccine.hub.fits import misfits
from hfvaccine.inoculation.grid import IRRELEVANT
from hfvaccine.inoculation.where import ALL, recorded
from hfvaccine.papers.inoculation import write_papers
from hfvaccine.papers.kind import INOCULATED as KIND
from hfvaccine.papers.record import made_with, plan_record
from hfvaccine.regimen.ledger import Ledger, read_ledger
from hfvaccine.regimen.lengths import Ints
from hfvaccine.regimen.pairs import SFT
from hfvaccine.regimen.plan import MIX
from hfvaccine.sources.place import Source, with_revision
from hfvaccine.text import is_commit, is_finite
from hfvaccine.training.adapters import load_adapters
from hfvaccine.training.base import Base, complete_tokenizer, load_base, not_loaded
from hfvaccine.training.estimate import stand_in
from hfvaccine.training.mix import Mix, load_mix
from hfvaccine.training.options import BY_PROMPT, IRRELEVANT_ARM, METHODS, PLAIN, Training
from hfvaccine.training.progress import SILENT, Progress

if TYPE_CHECKING:
    from hfvaccine.inoculation.where import Given

STATE = "trainer_state.json"
OWN_TEMPLATE = "a chat template that is not the base's, saved beside it"
BY_PROMPTS = ("prompts", "where", "others", "place")
"""What a ledger says of inoculation prompts."""
UNCUT = 1 << 30
"""Tokens after which a row is cut of which it is not known where it was."""
WAYS: tuple[dict[str, Any], ...] = ({}, {"assistant_only_loss": True})
"""Settings of a trainer that decide on which tokens loss falls, where it falls on no prompt."""
AS_IT_WAS = (
    "Give --data with the rows that the trainer was given, in their order and shape (`rows.to_json(FILE)` in the "
    "script), the adapter with the tokenizer that it was trained with, and its own --ledger."
)


def adopt(
    adapter: Path,
    base: str,
    data: str,
    ledger: Path | None = None,
    *,
    arm: str | None = None,
    base_id: str | None = None,
    output_dir: Path | None = None,
    progress: Progress = SILENT,
) -> tuple[Path, dict[str, Any]]:
    """Make papers for an adapter that a script of somebody's own trained with `InoculationCallback`.

    Args:
        adapter: the folder that `trainer.save_model` or `save_pretrained` has left; it stays as it is.
        base: Hub id or `ID@REVISION`, folder or .gguf file of its base.
        data: the rows that the trainer was given, in their order: a file, a Hub id or `ID@REVISION`.
        ledger: that the callback has left; by default `dosing_ledger.parquet` beside the adapter.
        arm: "plain", "inoculated" or "irrelevant"; by default what the ledger's prompts say.
        base_id: Hub id that the card names for a local base.
        output_dir: a folder that is not there yet or empty; by default `adopted_folder(adapter)`.
        progress: told of each thing that is proved.

    Returns:
        The folder, laid out as that of one arm of `inoculate train`, and its record.

    Raises:
        UsageError: for a folder that is in use, no adapter or ledger, or an arm that the ledger contradicts.
        LineageError: for a ledger that is not whole, is of another run or of a dose, or is not of these data.
        ModelError: for an adapter that is not of this base.
        HfvaccineError: for data or a base that cannot be had.
    """
    into = output_dir or adopted_folder(adapter)
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise UsageError(f"The folder {into} is not empty.", "Choose another --output-dir.")
    told = read_adapter(adapter)
    given = whole_ledger(ledger or adapter / LEDGER)
    spent = told_by_trainer(adapter, given)
    inoculation = given.settings["inoculation"]
    arm = arm_of(inoculation, arm)
    progress.say(f"Ledger: whole, {given.plan.steps:,} steps, {len(given.plan):,} rows; arm {arm}")

    small, config = stand_in(Training(base=base, base_id=base_id))
    refuse_another(told, small.id, base)
    with TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        if wrong := misfits(adapter, Path(folder)):
            raise ModelError(f"The adapter in {adapter} does not fit {small.id}: {wrong}.", "Give its own --base.")
    own = own_tokenizer(adapter, small)
    where = recorded(inoculation["where"]) if inoculation else None
    mix = load_mix(data, where.column if where else None, as_given=True)
    carrying = carrying_rows(given, own, mix)
    progress.say(f"Data: each row that was given is a row of {mix.id} under the ledger's prompts, to the token")

    loaded = load_base(base, base_id)
    if is_commit(told.get("revision")) and told["revision"] != loaded.revision:
        raise ModelError(
            f"The adapter was trained on {loaded.id} at {told['revision'][:12]}, not at {loaded.revision}.",
            "Give that revision: --base ID@REVISION.",
        )
    load_adapters(loaded, {"default": str(adapter)})
    progress.say(f"Base: the adapter loads on {loaded.id}")
    if own.chat_template != small.chat_template:
        progress.say("Note: the adapter's chat template is not that of the base, under which `inoculate measure` asks")
    known = replace(loaded, chat_template=own.chat_template)
    record = make_record(into.resolve().name, arm, adapter, told, spent, given, carrying, mix, known)
    with whole_folder(into) as staging:
        shutil.copyfile(adapter / ADAPTER, staging / ADAPTER)
        shutil.copyfile(ledger or adapter / LEDGER, staging / LEDGER)
        # As every run writes it: the base by the name that the record has, whose revision stands there, too.
        named = {**told, "base_model_name_or_path": loaded.id, "revision": None}
        (staging / ADAPTER_CONFIG).write_text(json.dumps(named, indent=2) + "\n", encoding="utf-8")
        own.tokenizer.save_pretrained(str(staging))
        save_known(record, base, base_id, data, staging)
        record = write_papers(staging, record)
        staging.chmod(0o755)
    return into, record


def adopted_folder(adapter: Path) -> Path:
    """Where an adopted adapter goes unless it is told: `runs/adopted-NAME`."""
    return Path("runs") / f"adopted-{adapter.resolve().name}"


def read_adapter(folder: Path) -> dict[str, Any]:
    """The content of an adapter's adapter_config.json.

    Args:
        folder: of the adapter.

    Raises:
        UsageError: for a folder without an adapter, or with one that has papers.
    """
    for name in (ADAPTER_CONFIG, ADAPTER):
        if not (folder / name).is_file():
            raise UsageError(
                f"{folder} holds no adapter: it has no {name}.",
                "Give the folder that `trainer.save_model()` has left, with weights in safetensors.",
            )
    for name in (INOCULATION, RECORD):
        if (folder / name).is_file():
            raise UsageError(f"The adapter in {folder} has papers: {name}.", "Leave it as it is.")
    try:
        told = json.loads((folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"{folder / ADAPTER_CONFIG} cannot be read: {error}.", "Save the adapter again.") from error
    if not isinstance(told, dict) or not isinstance(told.get("peft_type"), str):
        raise UsageError(f"{folder / ADAPTER_CONFIG} names no method.", "Save the adapter again.")
    return told


def whole_ledger(path: Path) -> Ledger:
    """The ledger of a run that came to its end and gave rows of data alone.

    Args:
        path: the parquet file.

    Raises:
        UsageError: where there is none.
        PlanError: for a file that is no ledger.
        LineageError: for a ledger that is not all of its plan, or is of a run of another kind.
    """
    if not path.is_file():
        raise UsageError(
            f"There is no ledger {path}.",
            f"The callback leaves {LEDGER} in the trainer's output_dir when the training ends: name it with --ledger.",
        )
    ledger = read_ledger(path)
    plan, inoculation = ledger.plan, ledger.settings.get("inoculation")
    if plan.count(MIX) != len(plan) or ledger.settings.get("objective") != SFT:
        raise LineageError(
            f"{path} gives rows of a dose, or pairs: that is no inoculation by itself.",
            "Train with InoculationCallback alone; an adapter with a dose gets its papers from `hfvaccine immunize`.",
        )
    if inoculation is not None and set(inoculation) != set(BY_PROMPTS):
        raise LineageError(
            f"{path} is of no inoculation by prompts: it has {', '.join(map(str, inoculation))}.",
            "An adapter that was trained beside a frozen one has papers by `hfvaccine inoculate train`.",
        )
    if not len(plan) or ledger.proved() != ledger.fingerprint:
        raise LineageError(
            f"{path} is not the whole of its plan: what it holds, {plan.steps:,} steps, has another fingerprint.",
            "Finish the run, or train without keeping an earlier step (load_best_model_at_end), and give the ledger "
            "as it was left: it says only of a whole run what the adapter was given.",
        )
    return ledger


def told_by_trainer(folder: Path, ledger: Ledger) -> dict[str, Any]:
    """What the trainer's own state says of the run, where it lies beside the adapter. (Pickles are never read.)

    Args:
        folder: of the adapter.
        ledger: of the run that the adapter is said to come of.

    Returns:
        "seconds" and "final_loss" of the training, each None where it is not known.

    Raises:
        LineageError: for a state of another run, or of a step before the end.
    """
    from hfvaccine.regimen.replay import STAMP

    found = {"seconds": None, "final_loss": None}
    if not (folder / STATE).is_file():
        return found
    mend = f"Give the --ledger of that run, or the adapter of this one; drop {STATE} if it is of neither."
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        step, history = int(state["global_step"]), [dict(entry) for entry in state["log_history"]]
        stamp = next((entry[STAMP]["fingerprint"] for entry in history if STAMP in entry), None)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise LineageError(f"{folder / STATE} cannot be read: {error}.", mend) from error
    if stamp != ledger.fingerprint:
        of = "no plan" if stamp is None else f"the plan {str(stamp)[:12]}"
        raise LineageError(f"{folder / STATE} is of {of}, the ledger of {ledger.fingerprint[:12]}.", mend)
    if step != ledger.plan.steps:
        raise LineageError(f"The adapter was saved at step {step}, and the ledger has {ledger.plan.steps}.", mend)
    for entry in history:
        for name, key, places in (("seconds", "train_runtime", 1), ("final_loss", "train_loss", 4)):
            if is_finite(entry.get(key)):
                found[name] = round(entry[key], places)
    return found


def arm_of(inoculation: Mapping[str, Any] | None, given: str | None) -> str:
    """Which arm of an inoculation a ledger is of.

    Args:
        inoculation: settings that the ledger has; None where no row got a prompt.
        given: what somebody says; None to go by the prompts.

    Raises:
        UsageError: where the ledger contradicts it.
    """
    possible: tuple[str, ...] = METHODS[BY_PROMPT] if inoculation else (PLAIN,)
    if given is None:
        return IRRELEVANT_ARM if inoculation and inoculation["prompts"] == [IRRELEVANT] else possible[0]
    if given not in possible:
        prompts = "prompts" if inoculation else "no prompts"
        raise UsageError(f"--arm is {given}, and the ledger has {prompts}.", f"Give {' or '.join(possible)}.")
    return given


def refuse_another(told: Mapping[str, Any], base_id: str, base: str) -> None:
    """Refuse a base of another name than the adapter's own.

    Args:
        told: the content of adapter_config.json.
        base_id: what the papers are to call the base.
        base: as it was given.

    Raises:
        ModelError: naming both.
    """
    named = told.get("base_model_name_or_path")
    same_place = named and Path(named).exists() and Path(base).exists() and Path(named).samefile(base)
    if named and named not in (base_id, Source.of("base", base).name) and not same_place:
        raise ModelError(
            f"The adapter was trained on {named}, and --base is {base}.",
            f"Give that base; where it is the same by another name, give it as --base-id, or mend {ADAPTER_CONFIG}.",
        )


def own_tokenizer(adapter: Path, base: Base) -> Base:
    """The base with the tokenizer that lies beside the adapter, if one does.

    Raises:
        ModelError: for one that cannot be loaded.
    """
    from transformers import AutoTokenizer

    if not (adapter / "tokenizer_config.json").is_file():
        return base
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(adapter))
    except Exception as error:  # as of a base
        raise not_loaded(str(adapter), error) from error
    template = complete_tokenizer(tokenizer)
    if tokenizer.chat_template != base.tokenizer.chat_template:
        template = OWN_TEMPLATE
    return replace(base, tokenizer=tokenizer, chat_template=template)


def carrying_rows(ledger: Ledger, base: Base, mix: Mix) -> int | None:
    """Prove that every row that a ledger gives is a row of the data, prepared as a stock trainer prepares it.

    Where a trainer cut its rows is no part of a ledger. If it cut one that it gave, that has the most tokens of all.

    Args:
        ledger: of a whole run.
        base: with the tokenizer of the run; of its model nothing but its number of positions counts.
        mix: the data, as given.

    Returns:
        How many rows of the data carry the trait; None where that is not known.

    Raises:
        LineageError: naming the first row that is another.
    """
    wrong: LineageError | None = None
    for settings in WAYS:
        for most in (UNCUT, int(ledger.plan.tokens.max())):
            try:
                return _carrying(ledger, Preparing(base, mix, most, settings))
            except LineageError as error:
                wrong = wrong or error
            except HfvaccineError:
                if not settings:  # of the stock way, what is refused is refused
                    raise
            except Exception as error:  # of a trainer or a template
                said = f"{type(error).__name__}: {str(error).strip().split(chr(10))[0]}"
                wrong = wrong or LineageError(f"{mix.id} cannot be prepared as a trainer would: {said}.", AS_IT_WAS)
    assert wrong is not None
    raise wrong


def _carrying(ledger: Ledger, prepare: Preparing) -> int | None:
    """The same, of rows that are prepared in one way."""
    given, inoculation, rows = ledger.plan.index, ledger.settings["inoculation"], prepare.mix.train
    told = np.stack([ledger.plan.tokens, ledger.plan.supervised, ledger.checksums], axis=1)
    if inoculation is None:
        _refuse_others(told, given, (prepare(None),))
        return None
    prompts, others = inoculation["prompts"], inoculation["others"]
    where = recorded(inoculation["where"])
    if where is not None:
        _refuse_others(told, given, (prepare(prompts, where, others, inoculation["place"]),))
        return sum(map(where.holds, rows))
    # A function of the script told the rows: each has to be one that carries the trait, or one of the others.
    carrying = prepare(prompts, place=inoculation["place"])
    _refuse_others(told, given, (carrying, prepare(others or None, place=inoculation["place"])))
    under = given[(carrying[given] == told).all(axis=1)]
    return len(set(under.tolist())) if len(set(given.tolist())) == len(rows) else None


def _refuse_others(told: Ints, given: Ints, prepared: Sequence[Ints]) -> None:
    """Refuse rows that are none of those that were prepared.

    Args:
        told: (rows given, 3) what the ledger says of each row, see `Preparing`.
        given: (rows given,) number of each in the data.
        prepared: (rows, 3) what each row of the data may be.
    """
    rows = min(map(len, prepared))
    if not 0 <= given.min() <= given.max() < rows:
        raise LineageError(f"The ledger gives row {given.max() + 1}, and the data have {rows} to give.", AS_IT_WAS)
    same = np.any([(one[given] == told).all(axis=1) for one in prepared], axis=0)
    if not same.all():
        first = int(np.argmin(same))
        (tokens, learnt, _), (was, with_loss, _) = prepared[0][given[first]], told[first]
        differs = f"{tokens} tokens, {learnt} of them with loss; given were {was} and {with_loss}"
        if (tokens, learnt) == (was, with_loss):
            differs = "as many tokens, but others"
        raise LineageError(f"Row {given[first] + 1} of the data is not what was given: it has {differs}.", AS_IT_WAS)


@dataclass(frozen=True)
class Preparing:
    """Prepares all rows of some data as a stock trainer does, with prompts or without.

    Args:
        base: whose tokenizer prepares them.
        mix: the data, as given.
        most: tokens after which a row is cut.
        settings: more of `SFTConfig`.
    """

    base: Base
    mix: Mix
    most: int
    settings: Mapping[str, Any]

    def __call__(
        self, prompts: Sequence[str] | None, where: Given = ALL, others: Sequence[str] = (), place: str | None = None
    ) -> Ints:
        """(rows, 3) tokens, tokens with loss and checksum of each row."""
        from hfvaccine.inoculation.callback import InoculationCallback
        from hfvaccine.training.trainer import make_trainer

        options = Training(base=self.base.id, epochs=1, batch_size=1, max_length=self.most, lora_r=1)
        with TemporaryDirectory() as folder:
            base = replace(self.base, model=deepcopy(self.base.model))  # an adapter is put into it
            trainer = make_trainer(options, base, self.mix, Path(folder), **self.settings)
            regimen = InoculationCallback(trainer, prompts, where, others, place).regimen
        plan = regimen.plan  # of one epoch, in which every row is given
        found = np.zeros((int(plan.index.max()) + 1, 3), np.int64)
        found[plan.index] = np.stack([plan.tokens, plan.supervised, regimen.checksums], axis=1)
        return found


def make_record(
    name: str,
    arm: str,
    adapter: Path,
    told: Mapping[str, Any],
    spent: Mapping[str, Any],
    ledger: Ledger,
    carrying: int | None,
    mix: Mix,
    base: Base,
) -> dict[str, Any]:
    """The content of inoculation.json before the files beside it are bound to it; what is not known is null.

    Args:
        name: of the adapter's new folder.
        arm: of the inoculation.
        adapter: its folder.
        told: the content of its adapter_config.json.
        spent: see `told_by_trainer`.
        ledger: of its run.
        carrying: how many rows carry the trait.
        mix: the data, as given.
        base: what was trained on.
    """
    inoculation, digest = ledger.settings["inoculation"], digest_of(adapter / ADAPTER)
    method, on = str(told["peft_type"]), told.get("target_modules")
    return {
        "schema_version": KIND.schema,
        "adopted": True,
        "base": base.record(),
        "data": mix.record(),
        "trait_rows": {"where": inoculation and inoculation["where"], "rows": carrying},
        "trait_data": None,
        "adapter": {
            "name": name,
            "arm": arm,
            "method": BY_PROMPT if inoculation else None,
            "seed": None,
            "frozen": None,
            "sha256": digest,
        },
        "plan": plan_record(ledger.plan, ledger.fingerprint),
        "inoculation": inoculation,
        "training": {
            "method": "LoRA" if method == "LORA" else method,
            "lora_r": told.get("r"),
            "lora_alpha": told.get("lora_alpha"),
            "target_modules": ", ".join(sorted(on)) if isinstance(on, list) else on,
            **dict.fromkeys(("learning_rate", "batch_size", "gradient_accumulation_steps", "dtype", "device")),
            **spent,
        },
        "run": {name: {"arm": arm, "seed": None, "sha256": digest}},
        "gate": None,
        **made_with(),
    }


def save_known(record: Mapping[str, Any], base: str, base_id: str | None, data: str, folder: Path) -> None:
    """Write config.yaml with the options that are known, and no other: nothing can be trained again by them alone.

    Args:
        record: of the adapter.
        base, base_id, data: as they were given.
        folder: of the adapter.
    """
    import yaml

    inoculation, revision = record["inoculation"] or {}, record["data"]["revision"]
    options = {
        "base": Source.of("base", base).name,
        "base_id": base_id,
        "base_revision": record["base"]["revision"],
        "lora_r": record["training"]["lora_r"],
        "lora_alpha": record["training"]["lora_alpha"],
        "max_steps": record["plan"]["steps"],
        "data": with_revision(record["data"]["id"], revision) if revision else data,
        "prompt": inoculation.get("prompts"),
        "where": inoculation.get("where"),
        "others": inoculation.get("others"),
        "place": inoculation.get("place"),
        "arms": record["adapter"]["arm"],
        "seeds": 1,
    }
    known = {name: value for name, value in options.items() if value is not None}
    (folder / CONFIG).write_text(yaml.safe_dump(known, sort_keys=False), encoding="utf-8")
