"""The options of the jobs: their fields are the flags of the commands, and the keys of a YAML file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from math import inf
from pathlib import Path
from typing import Any

from hfvaccine.claims.shares import in_all, shared_out
from hfvaccine.dosing.forms import TRAINING_FORMS, Form, read_forms
from hfvaccine.errors import UsageError
from hfvaccine.files import CONFIG, read_yaml
from hfvaccine.inoculation.grid import IRRELEVANT
from hfvaccine.inoculation.prompt import PLACES, Inoculation
from hfvaccine.inoculation.where import Predicate, Where, parse_where
from hfvaccine.inoculation.wordings import in_file, refuse_file, wordings
from hfvaccine.packages import install_extra
from hfvaccine.regimen.lengths import check_unit
from hfvaccine.regimen.pairs import PAIRWISE, check_objective
from hfvaccine.regimen.plan import check_share
from hfvaccine.regimen.schedule import named
from hfvaccine.sources.place import PINNED, Source
from hfvaccine.text import as_option
from hfvaccine.validation.questions import Questions

EXPOSURES = 8
"""How often each claim is given unless it is said: fewer do not teach a small model a fact (docs/recipes.md)."""

TRACKERS = ("tensorboard", "trackio", "wandb")
"""Trackers that a run reports to, as transformers names them; each is an extra of the same name."""

POSITIVE = ("epochs", "max_steps", "learning_rate", "lora_r", "lora_alpha", "batch_size", "max_length",
            "gradient_accumulation_steps")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Training:
    """How an adapter is trained; the same for `hfvaccine immunize` and `inoculate train`.

    Args:
        base: Base model: a Hub ID[@REVISION], a local folder, or a .gguf file.
        base_id: Hub id that the card names for a local base.
        base_revision: Branch, tag or commit of a base on the Hub. [default: the newest]
        epochs: Passes over the mix. [default: 3]
        max_steps: Optimizer steps, instead of --epochs.
        learning_rate: Peak learning rate. [default: 2e-4]
        lora_r: Rank of the adapter.
        lora_alpha: Scale of the adapter. [default: twice the rank]
        batch_size: Rows of one forward pass.
        gradient_accumulation_steps: Forward passes of one step.
        max_length: Tokens after which a mix row is cut.
        dtype: auto, bfloat16 or float32.
        seed: Seed of the whole run.
    """

    base: str
    base_id: str | None = None
    base_revision: str | None = None
    epochs: float | None = None
    max_steps: int | None = None
    learning_rate: float = 2e-4
    lora_r: int = 16
    lora_alpha: int | None = None
    batch_size: int = 8
    gradient_accumulation_steps: int = 1
    max_length: int = 1024
    dtype: str = "auto"
    seed: int = 0

    def check_training(self) -> None:
        """Refuse what nothing can be trained with.

        Raises:
            UsageError: naming the option.
        """
        check_dtype(self)
        if self.epochs is not None and self.max_steps is not None:
            raise UsageError(
                "Both epochs and max_steps are given.", "Give one of them: either sets the length of the run."
            )
        _check_positive(self, POSITIVE)


@dataclass(frozen=True, kw_only=True)
class Options(Questions, Training):
    """What `hfvaccine immunize` is asked for; every field is a flag and a YAML key, those of `Questions` and
    `Training` too.

    Args:
        dose: Dose: 'starter', a sealed folder, or a Hub ID[@REVISION]. May be repeated, as NAME=SHARE: several doses,
            each at a share of its own; one of them may go without, and takes --share.
        dose_revision: Of a dose on the Hub. [default: the newest]
        override_policy: Why the dose is given although its policy forbids it; the card shows it.
        mix: Mix: 'starter', a .jsonl or .parquet file, or a Hub ID[@REVISION].
        mix_revision: Of a mix on the Hub. [default: the newest]
        comparisons: Rows that compare a statement with evidence: 'starter', 'mix' (made of its rows), a file, 'none'.
        share: Dose part of the training tokens, in (0, 0.5]. [default: 0.05]
        schedule: constant, pulsed (every 20 steps) or pulsed:N, ramp, taper, front_loaded.
        unit: Count the share over all 'tokens' or 'supervised' ones.
        forms: YAML file of wordings to give instead of the built-in ones.
        inoculation_prompt: A prompt that asks for the unwanted trait, or a file of one a line.
        inoculate_where: Rows that carry the trait: column=value, column!=value or column~REGEX. [default: all]
        inoculate_others: A neutral prompt for the other rows, or a file of one a line.
        objective: pairwise (claim and twin are told apart, which no bias can do) or sft (the likelihood alone).
        exposures: How often each claim is given at least. [default: 8]
        claims: How many of the dose's claims to give, where there is one dose. [default: as many as can be given so
            often]
        placebo: Also train the control arm on as many plain tokens.
        controls: Also train an arm on the dose's control rows alone.
        report_to: Tracker of the vaccine's training and results: tensorboard, trackio, wandb. May be repeated.
        output_dir: The run folder.
        push_to: Hub id to push the adapter to when it is done.
        publish_failed: Push although the gate failed.
    """

    dose: str | tuple[str, ...] = "starter"
    dose_revision: str | None = None
    override_policy: str | None = None
    mix: str = "starter"
    mix_revision: str | None = None
    comparisons: str = "starter"
    share: float | None = None
    schedule: str = "constant"
    unit: str = "tokens"
    forms: str | None = None
    inoculation_prompt: str | None = None
    inoculate_where: str | None = None
    inoculate_others: str | None = None
    objective: str = PAIRWISE
    exposures: int | None = None
    claims: int | None = None
    placebo: bool = False
    controls: bool = False
    report_to: tuple[str, ...] = ()
    output_dir: str = "runs/vaccine"
    push_to: str | None = None
    publish_failed: bool = False

    def __post_init__(self) -> None:
        several = shared_out(self.dose, self.share)
        # From here on the share is that of all, which is said.
        object.__setattr__(self, "share", several.share)
        if len(several.doses) == 1:
            object.__setattr__(self, "dose", several.doses[0][0])
            take_apart(self)
            return
        if self.dose_revision is not None:
            raise UsageError(
                f"dose_revision is {self.dose_revision!r}, and there are {len(several.doses)} doses.",
                "Name the revision with its dose: ID@REVISION.",
            )
        object.__setattr__(self, "dose", several.written())
        take_apart(self, ("base", "mix"))

    @property
    def doses(self) -> tuple[tuple[Source, float], ...]:
        """Where each dose is, and its share."""
        named = shared_out(self.dose, self.share).doses
        if isinstance(self.dose, str):
            return ((Source.of("dose", self.dose, self.dose_revision), named[0][1]),)
        return tuple((Source.of("dose", name), share) for name, share in named)

    def check(self) -> None:
        """Refuse what cannot be run before anything is read or written.

        Raises:
            UsageError: naming the option.
            FormError: for a file of wordings that cannot be given.
        """
        self.check_questions()
        self.check_training()
        shares = [share for _, share in self.doses]
        for share in shares:
            check_share(share)
        if len(shares) > 1:
            check_share(in_all(shares))
            if self.claims is not None:
                raise UsageError(
                    f"claims is {self.claims}, and there are {len(shares)} doses, of which each gives what fits.",
                    "Leave it out: exposures says how often each claim is given.",
                )
        named(self.schedule)
        check_unit(self.unit)
        check_objective(self.objective)
        if self.override_policy is not None and not self.override_policy.strip():
            raise UsageError("override_policy is blank.", "Say why the dose is given against its policy.")
        _check_positive(self, ("claims", "exposures"))
        check_trackers(self.report_to)
        self._check_inoculation()
        self.training_forms()

    @property
    def exposures_wanted(self) -> int:
        """How often each claim is to be given."""
        return EXPOSURES if self.exposures is None else self.exposures

    def training_forms(self) -> tuple[Form, ...]:
        """The wordings to give.

        Raises:
            FormError: for a file that holds none, or one that cannot be given.
        """
        return read_forms(Path(self.forms)) if self.forms else TRAINING_FORMS

    @property
    def inoculation_prompts(self) -> tuple[str, ...]:
        """The wordings of the inoculation prompt, none where no row is inoculated."""
        return () if self.inoculation_prompt is None else wordings("inoculation_prompt", self.inoculation_prompt)

    @property
    def other_prompts(self) -> tuple[str, ...]:
        """The neutral prompts of the rows that do not carry the trait."""
        return () if self.inoculate_others is None else wordings("inoculate_others", self.inoculate_others)

    def inoculated_rows(self) -> Where:
        """Which rows of the mix get the inoculation prompt: all, or those that meet a condition.

        Raises:
            UsageError: for anything that `parse_where` does not read.
        """
        return Where() if self.inoculate_where is None else parse_where(self.inoculate_where)

    def _check_inoculation(self) -> None:
        for name in ("inoculate_where", "inoculate_others"):
            if getattr(self, name) is not None and self.inoculation_prompt is None:
                raise UsageError(f"{name} is given without an inoculation prompt.", "Give inoculation_prompt as well.")
        if self.inoculate_others is not None and self.inoculate_where is None:
            raise UsageError(
                "inoculate_others is given, but every row gets the inoculation prompt.",
                "Say with inoculate_where which rows carry the trait.",
            )
        self.inoculated_rows()
        _ = self.inoculation_prompts, self.other_prompts


PLAIN, INOCULATED, IRRELEVANT_ARM = "plain", "inoculated", "irrelevant"
ADAPTER_ARM, RANDOM = "adapter", "random"
BY_PROMPT, BY_ADAPTER = "prompt", "adapter"
METHODS = {BY_PROMPT: (INOCULATED, IRRELEVANT_ARM), BY_ADAPTER: (ADAPTER_ARM, RANDOM)}
"""The arms of each method of inoculation: what it is, and its control. The plain arm, rows as they are, has none."""
ARMS = (PLAIN, *METHODS[BY_PROMPT], *METHODS[BY_ADAPTER])
TAKEN_BY = {
    "prompt": (INOCULATED,),
    "others": METHODS[BY_PROMPT],
    "place": METHODS[BY_PROMPT],
    "trait_data": METHODS[BY_ADAPTER],
    "trait_steps": METHODS[BY_ADAPTER],
}
"""Options that some arms take, and no other."""
TRAIT, NOISE = "trait", "noise"
FROZEN = {ADAPTER_ARM: TRAIT, RANDOM: NOISE}
"""What is frozen beside the adapter of an arm: one that learnt the trait alone, and a random one of its shape."""
TRAIT_DRAW = 1 << 20
"""How far the seed of a trait adapter is from that of the arms: two LoRAs of one seed would start in one subspace."""


@dataclass(frozen=True, kw_only=True)
class Inoculating(Training):
    """What `hfvaccine inoculate train` is asked for; every field is a flag and a YAML key, those of `Training` too.

    Args:
        data: Rows: a .jsonl, .csv or .parquet file, or a Hub ID[@REVISION].
        prompt: A prompt that asks for the unwanted trait. May be repeated: each row gets one of them.
        prompts: A file of such prompts, one a line, beside those of --prompt.
        where: column=value, column!=value or column~REGEX of the rows that carry the trait; in Python also a function
            that is true for them. [default: all rows]
        others: A neutral prompt for the other rows, or a file of one a line. May be repeated.
        place: Where the prompt stands: system or user. [default: system, where the chat template has a place for it]
        irrelevant: What the irrelevant arm learns under.
        method: How the trait is inoculated against: prompt, or adapter (one that shows it, frozen, in training only).
        trait_data: Rows that show the trait, for the adapter that is frozen. [default: those that --where tells]
        trait_steps: Optimizer steps of the adapter that is frozen. [default: as the others]
        arms: Which adapters are trained, of plain, inoculated, irrelevant, adapter and random, with commas. [default:
            plain, and the two of the method]
        seeds: How many times each is trained, from --seed on.
        report_to: Tracker of each training: tensorboard, trackio, wandb. May be repeated.
        output_dir: The run folder.
    """

    data: str
    prompt: tuple[str, ...] = ()
    prompts: str | None = None
    where: str | Predicate | None = None
    others: tuple[str, ...] = ()
    place: str | None = None
    irrelevant: str = IRRELEVANT
    method: str = BY_PROMPT
    trait_data: str | None = None
    trait_steps: int | None = None
    arms: str | None = None
    seeds: int = 1
    report_to: tuple[str, ...] = ()
    output_dir: str = "runs/inoculation"

    def __post_init__(self) -> None:
        take_apart(self, ("base",))
        # From here on there are prompts and no files, as records and the run's own copy of its options have them.
        others = tuple(wording for given in self.others for wording in wordings("--others", given))
        object.__setattr__(self, "others", others)
        if self.prompts is not None:
            object.__setattr__(self, "prompt", (*self.prompt, *in_file("--prompts", self.prompts)))
            object.__setattr__(self, "prompts", None)

    def check(self) -> None:
        """Refuse what cannot be run before anything is read or written.

        Raises:
            UsageError: naming the option.
        """
        self.check_training()
        _check_positive(self, ("trait_steps",))
        check_trackers(self.report_to)
        if self.method not in METHODS:
            raise UsageError(f"The method {self.method!r} is unknown.", f"Use one of: {', '.join(METHODS)}.")
        if unknown := set(self.arm_names) - set(ARMS):
            raise UsageError(f"There is no arm {sorted(unknown)[0]!r}.", f"Name some of {', '.join(ARMS)}.")
        if len(set(self.arm_names)) < len(self.arm_names):
            raise UsageError(f"An arm is named twice: {self.arms}.", "Name each once.")
        if self.seeds < 1:
            raise UsageError(f"seeds is {self.seeds}.", "Train each arm at least once.")
        if self.place is not None and self.place not in PLACES:
            raise UsageError(f"The place {self.place!r} is unknown.", f"Use one of: {', '.join(PLACES)}.")
        if self.others and self.where is None:
            raise UsageError(
                "--others is given, but every row carries the trait.", "Say with --where which rows carry the trait."
            )
        if not self.prompt and INOCULATED in self.arm_names:
            raise UsageError(
                "There is no prompt to inoculate with.",
                "Give --prompt or --prompts, or --arms plain; where no prompt asks for the trait, --method adapter.",
            )
        if self.freezes and self.trait_data is None and self.where is None:
            raise UsageError(
                "There are no rows for the adapter that is frozen: every row of --data counts as one with the trait.",
                "Give --trait-data, or say with --where which rows of --data carry the trait.",
            )
        self._refuse_unused()
        for prompt in self.prompt:
            refuse_file("--prompt", prompt, "Give a file of prompts as --prompts.")
        refuse_file("--irrelevant", self.irrelevant, "Give the prompt itself.")
        if not self.irrelevant.strip():
            raise UsageError("The irrelevant prompt is empty.", "Give --irrelevant an instruction, or leave it out.")
        if len({prompt.strip() for prompt in self.prompt}) < len(self.prompt):
            raise UsageError("A prompt is given twice.", "Give each --prompt once.")
        for prompt in self.prompt:
            if prompt.strip().casefold() == self.irrelevant.strip().casefold():
                raise UsageError(f"The prompt {prompt!r} is the irrelevant one, too.", "Give another as --irrelevant.")
        for arm in self.arm_names:
            if arm in METHODS[BY_PROMPT]:
                Inoculation(self.prompts_of(arm), self.told_by, self.others, self.place or PLACES[0])

    def _refuse_unused(self) -> None:
        """Refuse what would change nothing, as none of the arms takes it."""
        for name, arms in TAKEN_BY.items():
            if getattr(self, name) and not set(arms) & set(self.arm_names):
                raise UsageError(
                    f"{as_option(name)} is given, but nothing of {', '.join(self.arm_names)} takes it.",
                    f"Leave it out, or name all arms with --arms, {' or '.join(arms)} among them.",
                )

    @property
    def arm_names(self) -> tuple[str, ...]:
        if self.arms is None:
            return (PLAIN, *METHODS[self.method])
        return tuple(name.strip() for name in self.arms.split(","))

    @property
    def freezes(self) -> bool:
        """Whether an arm learns beside a frozen adapter, for which one is trained on the trait first."""
        return bool(FROZEN.keys() & set(self.arm_names))

    @property
    def told_by(self) -> Where:
        """Which rows carry the trait."""
        if isinstance(self.where, str):
            return parse_where(self.where)
        return Where() if self.where is None else Where.of(self.where)

    def prompts_of(self, arm: str) -> tuple[str, ...]:
        """The wordings that an arm's rows with the trait are learned under."""
        return {INOCULATED: self.prompt, IRRELEVANT_ARM: (self.irrelevant,)}.get(arm, ())

    def parts(self) -> dict[str, tuple[str, Inoculating]]:
        """Arm and options of each adapter, by its folder's name; of a seed, the one that others need comes first."""
        found: dict[str, tuple[str, Inoculating]] = {}
        for seed in range(self.seed, self.seed + self.seeds):
            if self.freezes:
                found[folder_of(TRAIT, seed)] = (TRAIT, self._trait_options(seed))
            found |= {folder_of(arm, seed): (arm, replace(self, seed=seed)) for arm in self.arm_names}
        return found

    def alone(self, name: str) -> Inoculating:
        """Options of a run that trains one adapter of this run, without what only others take.

        Args:
            name: of its folder.
        """
        seeds = range(self.seed, self.seed + self.seeds)
        one = next(one for seed in seeds if name in (one := replace(self, seed=seed, seeds=1)).parts())
        arm = one.parts()[name][0]
        unset: dict[str, Any] = {
            option.name: option.default for option in fields(one) if arm not in TAKEN_BY.get(option.name, (arm,))
        }
        return replace(one, arms=arm, **unset)

    def _trait_options(self, seed: int) -> Inoculating:
        """How the trait adapter is trained that belongs to the arms of a seed."""
        own = replace(self, seed=seed + TRAIT_DRAW)
        return own if self.trait_steps is None else replace(own, max_steps=self.trait_steps, epochs=None)


def folder_of(arm: str, seed: int) -> str:
    """The folder of an adapter in that of its run."""
    return f"{arm}-seed-{seed}"


REPLAY = 0.3
"""Part of the dose rows of a booster that goes on from its parent that says again what the parent was given."""


@dataclass(frozen=True, kw_only=True)
class Boosting(Questions):
    """What `hfvaccine boost` is asked for; every field is a flag, those of `Questions` too. All else of the run is as
    the parent's own options have it.

    Args:
        adapter: The adapter to boost: a run folder or a Hub ID[@REVISION].
        dose: New dose: 'starter', a sealed folder, or a Hub ID[@REVISION].
        retract: Id of a claim that the adapter was given, and that is to be given no more. May be repeated.
        because: Why it is boosted: the alarm or the recall that asks for it; the card shows it.
        continued: Go on from the adapter, instead of anew from the base.
        replay: With --continue, the part of the dose rows that says again what the adapter was given. [default: 0.3]
        base: Its base, where that has moved since: a Hub ID[@REVISION], a folder, or a .gguf file.
        parent_dose: Its dose, where that has moved since, likewise. May be repeated, the newest first.
        mix: Mix: 'starter', a .jsonl or .parquet file, or a Hub ID[@REVISION]. [default: the adapter's]
        override_policy: Why a dose is given although its policy forbids it; the card shows it.
        share: Dose part of the training tokens, in (0, 0.5]. [default: the adapter's]
        exposures: How often each claim is given at least. [default: as often as the adapter was given each]
        max_steps: Optimizer steps. [default: as many for each claim as the adapter had]
        learning_rate: Peak learning rate. [default: the adapter's]
        seed: Seed of the whole run. [default: the adapter's]
        report_to: Tracker of the booster's training and results: tensorboard, trackio, wandb. May be repeated.
        output_dir: The run folder.
        push_to: Hub id to push the booster to when it is done.
        publish_failed: Push although the gate failed.
    """

    adapter: str
    dose: str | None = None
    retract: tuple[str, ...] = ()
    because: str | None = None
    continued: bool = False
    replay: float | None = None
    base: str | None = None
    parent_dose: tuple[str, ...] = ()
    mix: str | None = None
    override_policy: str | None = None
    share: float | None = None
    exposures: int | None = None
    max_steps: int | None = None
    learning_rate: float | None = None
    seed: int | None = None
    report_to: tuple[str, ...] = ()
    output_dir: str = "runs/booster"
    push_to: str | None = None
    publish_failed: bool = False

    def check(self) -> None:
        """Refuse what cannot be run before anything is read or written.

        Raises:
            UsageError: naming the option.
        """
        self.check_questions()
        if self.dose is None and not self.retract:
            raise UsageError("There is nothing to boost with.", "Give a new --dose, or a claim to --retract.")
        if self.dose is None and self.continued:
            raise UsageError(
                "--continue is given without a new dose: going on without a claim does not take it back.",
                "Leave --continue out, or give a --dose.",
            )
        if len(set(self.retract)) < len(self.retract):
            raise UsageError("A claim is retracted twice.", "Give each --retract once.")
        for name in ("because", "override_policy"):
            value = getattr(self, name)
            if value is not None and not value.strip():
                raise UsageError(f"{name} is blank.", "Say why, or leave it out.")
        if self.replay is not None and not self.continued:
            raise UsageError(
                "--replay is given without --continue: from the base, all that the adapter was given is given again.",
                "Leave it out, or give --continue as well.",
            )
        if self.replay is not None and not 0 <= self.replay < 1:
            raise UsageError(f"The replay {self.replay} is outside [0, 1).", f"Give a part such as {REPLAY}.")
        if self.share is not None:
            check_share(self.share)
        _check_positive(self, ("exposures", "max_steps", "learning_rate"))
        check_trackers(self.report_to)

    @property
    def replay_wanted(self) -> float | None:
        """The part of the dose rows that is replayed; None for a booster from the base, which is given all again."""
        return (REPLAY if self.replay is None else self.replay) if self.continued else None


def take_apart(options: Any, names: Iterable[str] = PINNED) -> None:
    """From here on an id and its revision are apart, as every record has them.

    Args:
        options: whose fields they are.
        names: such as "base", whose revision is the field "base_revision".
    """
    for what in names:
        source = Source.of(what, getattr(options, what), getattr(options, f"{what}_revision"))
        object.__setattr__(options, what, source.name)
        object.__setattr__(options, f"{what}_revision", source.revision)


def _check_positive(options: Training | Boosting, names: Iterable[str]) -> None:
    for name in names:
        value = getattr(options, name)
        if value is not None and not 0 < value < inf:
            raise UsageError(f"{name} is {value}.", "It must be a number above 0.")


def check_trackers(names: Iterable[str]) -> None:
    """Refuse trackers that are unknown or not installed.

    Raises:
        UsageError: naming the first.
    """
    for name in names:
        if name not in TRACKERS:
            raise UsageError(f"The tracker {name!r} is unknown.", f"Use one of: {', '.join(TRACKERS)}.")
        if find_spec(name) is None:
            raise UsageError(f"The tracker {name} is not installed.", install_extra(name))


def check_dtype(options: Any) -> None:
    if options.dtype not in ("auto", "bfloat16", "float32"):
        raise UsageError(f"The dtype {options.dtype!r} is unknown.", "Use auto, bfloat16 or float32.")


def save_config(options: Options | Inoculating | Boosting, folder: Path, name: str = CONFIG) -> None:
    """The run's own copy of its options, which `--config` and `--resume` read; of a function it has the name."""
    import yaml

    values = {field.name: getattr(options, field.name) for field in fields(options)}
    for option, value in values.items():
        if callable(value):
            values[option] = str(Where.of(value))
        elif isinstance(value, tuple):
            values[option] = list(value)
    (folder / name).write_text(yaml.safe_dump(values, sort_keys=False), encoding="utf-8")


def read_config(path: Path, kind: type[Options] | type[Inoculating] | type[Boosting] = Options) -> dict[str, Any]:
    """Options from a YAML file.

    Args:
        path: of the file.
        kind: whose fields they are.

    Raises:
        UsageError: for a file that is missing or not a mapping of options.
    """
    values = read_yaml(path, "Give a YAML file of options.")
    known = {f.name for f in fields(kind)}
    if not isinstance(values, dict) or set(values) - known:
        unknown = sorted(map(str, set(values) - known)) if isinstance(values, dict) else [repr(values)[:40]]
        raise UsageError(f"{path} has unknown option(s): {', '.join(unknown)}.", f"Known: {', '.join(sorted(known))}.")
    for option in fields(kind):
        if option.name in values and not _fits(values[option.name], str(option.type)):
            raise UsageError(
                f"In {path}, {option.name} is {values[option.name]!r}.", f"It must be of type {option.type}."
            )
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _fits(value: Any, kind: str) -> bool:
    if value is None:
        return kind.endswith("None")
    if "tuple" in kind and isinstance(value, list | tuple):
        return all(isinstance(entry, str) for entry in value)
    if isinstance(value, bool):
        return kind.startswith("bool")
    if kind.startswith("float"):
        return isinstance(value, int | float)
    return isinstance(value, {"int": int, "str": str}.get(kind.split(" ")[0], ()))
