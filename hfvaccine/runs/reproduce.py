"""An adapter made again from its own papers, and held against them: plan, ledger, weights, every number, the gate."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hfvaccine.claims.dose import Dose
from hfvaccine.claims.shares import with_share
from hfvaccine.errors import FormError, UsageError
from hfvaccine.files import ADAPTER, CONFIG, LEDGER, RECORD, RESULTS, digest_of
from hfvaccine.inoculation.where import recorded as condition_of
from hfvaccine.lineage.fetch import named_doses, papers, refuse_unmeant
from hfvaccine.papers.arms import weights_digest
from hfvaccine.papers.binding import code_digest, open_run, read_json
from hfvaccine.papers.kind import IMMUNIZED
from hfvaccine.runs import inoculate
from hfvaccine.runs.immunize import check_folder, dry_run, immunize
from hfvaccine.sources.place import STARTER, Source, with_revision
from hfvaccine.text import as_option, is_hub_id
from hfvaccine.training.base import load_base
from hfvaccine.training.options import BY_PROMPT, FROZEN, METHODS, Inoculating, Options, Training, read_config
from hfvaccine.training.progress import SILENT, Progress

NEEDED = (CONFIG, RESULTS, LEDGER)
"""The files that a reproduction reads of an adapter; the weights are compared by the record's digest of them."""

IDENTITY = ("probe", "name", "reading", "condition", "of", "domain", "metric", "arm", "against", "claim_id")
"""What tells the rows of results.json apart."""


@dataclass(frozen=True)
class Difference:
    """A number of results.json that came out otherwise; None where it is not there.

    Args:
        where: which number, in words.
        recorded: what the adapter's papers say.
        now: what came out.
    """

    where: str
    recorded: float | None
    now: float | None

    @property
    def size(self) -> float:
        """How far apart they are, infinitely where one of them is not there."""
        if self.recorded is None or self.now is None:
            return float("inf")
        return abs(self.now - self.recorded)


@dataclass(frozen=True)
class Reproduction:
    """What came of making an adapter again.

    Args:
        folder: of the run that was made; None where the plan differs, as nothing was trained then.
        others: what is had now that is not what was recorded, in sentences.
        same_plan: whether the same rows were given in the same order.
        same_ledger: whether the ledger says the same, row by row.
        same_adapter: whether the weights are the same, bit for bit.
        numbers: how many numbers were compared.
        differences: those that are not the same, the largest difference first.
        verdict_recorded, verdict: of the gate; None of an inoculation, which is not measured again.
    """

    folder: Path | None
    others: tuple[str, ...]
    same_plan: bool
    same_ledger: bool = False
    same_adapter: bool = False
    numbers: int = 0
    differences: tuple[Difference, ...] = ()
    verdict_recorded: str | None = None
    verdict: str | None = None

    @property
    def same_numbers(self) -> bool:
        """Whether every number came out the same."""
        return self.same_plan and not self.differences

    @property
    def same_verdict(self) -> bool:
        """Whether the gate says what it said."""
        return self.same_plan and self.verdict == self.verdict_recorded

    @property
    def largest_difference(self) -> Difference | None:
        """Between a recorded number and the one now; None where all are the same."""
        return self.differences[0] if self.differences else None

    @property
    def missing(self) -> int:
        """How many numbers stand in one of the results alone."""
        return sum(None in (one.recorded, one.now) for one in self.differences)

    @property
    def reproduced(self) -> bool:
        """The same plan, the same numbers in the results or nearly so, and the same verdict of the gate."""
        return self.same_plan and self.same_verdict


def reproduce(
    source: str,
    base: str | None = None,
    dose: str | Sequence[str] = (),
    mix: str | None = None,
    output_dir: Path | str | None = None,
    progress: Progress = SILENT,
    data: str | None = None,
    trait_data: str | None = None,
) -> Reproduction | None:
    """Make an adapter again from its record and its options, and compare.

    Scores of exactly the same weights that this machine has computed before are found again, not computed. An adapter
    of an inoculation is trained again, not measured.

    Args:
        source: a run folder, that of one adapter of an inoculation, or an adapter on the Hub as `ID` or `ID@REVISION`.
        base: its base, where that was not on the Hub: a Hub id or `ID@REVISION`, folder or .gguf file.
        dose: its dose, likewise: a sealed folder, a Hub id or `ID@REVISION`; or several of its doses, in any order.
        mix: its mix, likewise: a file, a Hub id or `ID@REVISION`.
        output_dir: the folder of the new run; by default `reproduced_folder(source)`.
        progress: told of each stage, and of whatever is not what was recorded.
        data: of an inoculation, where they are not under their recorded name: a file, a Hub id or `ID@REVISION`.
        trait_data: the rows of the adapter that was frozen beside it, likewise.

    Returns:
        What is the same and what differs. None on all processes but the main one.

    Raises:
        LineageError: where the adapter's papers are not what its record binds.
        HubError: where the adapter, or what it was made from, cannot be had.
        HfvaccineError: for what the run itself refuses.
    """
    found = papers(source, patterns=NEEDED)
    folder, immunized = found.folder, found.kind is IMMUNIZED
    refuse_unmeant(found, dose=dose or None, mix=mix, data=data, trait_data=trait_data)
    into = Path(output_dir) if output_dir is not None else reproduced_folder(source)
    check_folder(into, resume=False)
    if not immunized:
        return _arm_again(source, folder, into, base, {"data": data, "trait_data": trait_data}, progress)
    record, config = open_run(folder, (RECORD, *NEEDED), source), read_config(folder / CONFIG)
    if record.get("booster"):
        raise UsageError(
            f"{source} is a booster: it was made of its parent's doses as well.",
            "Make it again with `hfvaccine boost`, as its card says, and compare the fingerprints of the plans.",
        )
    options = options_of(record, config, into, base=base, dose=dose, mix=mix)
    refuse_other_steps(source, options, record)
    planned = dry_run(options)
    if planned is None:
        return None
    progress.say(f"Making {source} again, as of {record['finished_at']}")
    weights = load_base(options.base, options.base_id, options.base_revision, options.dtype).weights_sha256
    others = tuple(other_than_recorded(record, planned, weights))
    for other in others:
        progress.say(f"  {other}")
    if planned["plan"]["fingerprint"] != record["plan"]["fingerprint"]:
        return Reproduction(None, others, same_plan=False)
    run = immunize(options, progress)
    if run is None:
        return None
    recorded = read_json(folder, RESULTS, source)
    merged = record["training"].get("merged")
    adapter = merged["adapter_sha256"] if merged else record["files"].get(ADAPTER)
    compared, differences = compare_numbers(recorded, run.results)
    return Reproduction(
        run.folder,
        others,
        same_plan=run.record["plan"]["fingerprint"] == record["plan"]["fingerprint"],
        same_ledger=_same_ledger(folder / LEDGER, run.folder / LEDGER),
        same_adapter=digest_of(run.folder / ADAPTER) == adapter,
        numbers=compared,
        differences=differences,
        verdict_recorded=recorded["gate"]["verdict"],
        verdict=run.results["gate"]["verdict"],
    )


def _arm_again(
    source: str, folder: Path, into: Path, base: str | None, rows: Mapping[str, str | None], progress: Progress
) -> Reproduction | None:
    """One adapter of an inoculation, trained again and compared."""
    record = open_run(folder, (CONFIG, LEDGER), source)
    if record.get("adopted"):
        raise UsageError(
            f"{source} was adopted: a script of somebody's own trained it, and with what learning rate, optimizer, "
            "batches and seed is not known.",
            "Run that script again, adopt what it makes, and compare the two with `hfvaccine diff`.",
        )
    options = arm_options_of(record, read_config(folder / CONFIG, Inoculating), into, base=base, **rows)
    refuse_other_steps(source, options, record)
    planned = inoculate.dry_run(options)
    if planned is None:
        return None
    name = record["adapter"]["name"]
    progress.say(f"Making {source} again, as of {record['finished_at']}")
    weights = load_base(options.base, options.base_id, options.base_revision, options.dtype).weights_sha256
    now = {"data": planned["data"], "trait_data": planned["trait_data"], "plan": planned["plans"][name]}
    others = tuple(other_than_recorded(record, now, weights))
    for other in others:
        progress.say(f"  {other}")
    if now["plan"]["fingerprint"] != record["plan"]["fingerprint"]:
        return Reproduction(None, others, same_plan=False)
    made = inoculate.train(options, progress)
    if made is None:
        return None
    one, losses = made["adapters"][name], [record["training"]["final_loss"]]
    losses.append(one["final_loss"])
    return Reproduction(
        into / name,
        others,
        same_plan=one["plan"]["fingerprint"] == record["plan"]["fingerprint"],
        same_ledger=_same_ledger(folder / LEDGER, into / name / LEDGER),
        same_adapter=one["sha256"] == weights_digest(record),
        numbers=1,
        differences=() if losses[0] == losses[1] else (Difference("final loss", *losses),),
    )


def refuse_other_steps(source: str, options: Training, record: Mapping[str, Any]) -> None:
    """Refuse a run that several processes made: in one its steps would have other rows.

    Args:
        source: the adapter, as it was named.
        options: of the run that makes it again.
        record: of the adapter.

    Raises:
        UsageError: with how to run it again.
    """
    rows, of_each = record["plan"]["rows_per_step"], options.batch_size * options.gradient_accumulation_steps
    if rows == of_each:
        return
    command = "inoculate train" if "adapter" in record else "immunize"
    raise UsageError(
        f"{source} was given {rows} rows a step, {of_each} in each of several processes; one gives {of_each}.",
        f"Run it again with its {CONFIG}: accelerate launch --num_processes {rows // of_each} -m hfvaccine {command} "
        f"--config FILE --output-dir NEW; and compare: hfvaccine diff {source} NEW",
    )


def arm_options_of(
    record: Mapping[str, Any],
    config: Mapping[str, Any],
    output_dir: Path,
    *,
    base: str | None = None,
    data: str | None = None,
    trait_data: str | None = None,
) -> Inoculating:
    """The options of a run that trains one adapter of an inoculation again, pinned to what was recorded.

    Args:
        record: the content of its inoculation.json.
        config: the options it was made with.
        output_dir: the folder of the new run.
        base, data, trait_data: what to take instead of what the record names.

    Raises:
        UsageError: where the run was given something that is not published, and it is not given here.
    """
    values = {**config, **_on_base(record, _named("base", base, config, record))}
    for part, given in (("data", data), ("trait_data", trait_data)):
        values[part] = given or config.get(part)
        if values[part] is None:
            continue
        rows = Source.of("mix", values[part])
        published = rows.name == STARTER or (rows.on_hub and rows.revision is not None)
        if given is None and not published and not Path(rows.name).exists():
            raise UsageError(
                f"The {part.replace('_', ' ')} of the run were {rows.name!r}, "
                "a file that is neither published nor here.",
                f"Say with {as_option(part)} where they are.",
            )
    where, arm = config.get("where"), record["adapter"]["arm"]
    if where is not None and condition_of(where) is None:
        if arm in METHODS[BY_PROMPT] or (arm in FROZEN and values["trait_data"] is None):
            raise UsageError(
                f"A function told the rows that carry the trait ({where}), and the papers have its name alone.",
                "Train again in Python with that function, and compare the two with `hfvaccine diff`.",
            )
        values["where"] = None  # which rows carry the trait is nothing to this arm
    options = Inoculating(**values | {"output_dir": str(output_dir), "report_to": ()})
    options.check()
    return options


def _named(part: str, given: str | None, config: Mapping[str, Any], record: Mapping[str, Any]) -> Source:
    """Where the base, dose or mix of a run is now: as it is given, else as the run was given it.

    Raises:
        UsageError: where that is not published, and not here.
    """
    name, revision = (given, None) if given else (config.get(part) or STARTER, record[part]["revision"])
    source = Source.of(part, name, revision)
    if given is None and name != STARTER and not source.on_hub and not Path(name).exists():
        raise UsageError(
            f"The {part} of the run was {name!r}, a file or folder that is neither published nor here.",
            f"Say with --{part} where it is.",
        )
    return source


def _one_of_several(recorded: Mapping[str, Any], named: Mapping[str, tuple[Source, Dose]]) -> str:
    """One of several doses of a run, as its options name it: where it is named, else where it was, with its share.

    Raises:
        UsageError: where that is not published, and not here.
    """
    name = recorded["id"]
    there = named.get(recorded["manifest_sha256"])
    place = Source.of("dose", name, recorded["revision"]) if there is None else there[0]
    if there is None and name != STARTER and not place.on_hub and not Path(name).exists():
        raise UsageError(
            f"A dose of the run was {name!r}, a folder that is neither published nor here.",
            "Say with --dose where it is.",
        )
    return with_share(with_revision(place.name, place.revision), recorded["share_asked"])


def _on_base(record: Mapping[str, Any], base: Source) -> dict[str, Any]:
    """The options that say on what base, and in what precision, a recorded run is made again."""
    # "auto" means what the hardware does best, and this may be other hardware.
    values = {"base": base.name, "base_revision": base.revision, "dtype": record["training"]["dtype"]}
    if not base.on_hub and is_hub_id(record["base"]["id"], namespace_needed=False):
        values["base_id"] = record["base"]["id"]
    return values


def reproduced_folder(source: str) -> Path:
    """Where a reproduction goes unless it is told: `runs/reproduced-NAME`."""
    return Path("runs") / f"reproduced-{Path(Source.of('adapter', source).name).resolve().name}"


def options_of(
    record: Mapping[str, Any],
    config: Mapping[str, Any],
    output_dir: Path,
    *,
    base: str | None = None,
    dose: str | Sequence[str] = (),
    mix: str | None = None,
) -> Options:
    """The options of a run that makes a recorded one again, with everything pinned to what was recorded.

    Args:
        record: the content of its immunization.json.
        config: the options it was made with.
        output_dir: the folder of the new run.
        base, dose, mix: what to take instead of what the record names; of several doses as many, in any order.

    Raises:
        UsageError: where the run was given something that is not published, and it is not given here, or it is given
            several doses and had one.
        DoseError: for one that is none of several doses.
    """
    values = {**config, **_on_base(record, _named("base", base, config, record))}
    doses = (dose,) if isinstance(dose, str) else tuple(dose)
    several = () if isinstance(config.get("dose"), str) else record["dose"].get("doses")
    if several:
        named = named_doses(record, doses)
        values["dose"] = tuple(_one_of_several(one, named) for one in several)
        values["dose_revision"] = None  # published options had that of the first here
    elif len(doses) > 1:
        raise UsageError(f"{len(doses)} doses are named, and the adapter was given one.", "Name that one.")
    for part, given in (("mix", mix),) if several else (("dose", doses[0] if doses else None), ("mix", mix)):
        source = _named(part, given, config, record)
        values |= {part: source.name, f"{part}_revision": source.revision}
    # A run that its dose's policy allowed may be made again to compare it, also after the dose expired.
    values["override_policy"] = config.get("override_policy") or "The run is made again, to be compared."
    ours = {"output_dir": str(output_dir), "push_to": None, "publish_failed": False, "report_to": ()}
    options = Options(**values | ours)
    try:
        options.check()
    except (FormError, UsageError) as error:
        raise UsageError(
            f"The run was given a file that is not here: {error.message}",
            "Run this where the files lie that the run was given besides base, dose and mix.",
        ) from error
    return options


def other_than_recorded(record: Mapping[str, Any], planned: Mapping[str, Any], weights: str | None) -> Iterator[str]:
    """What is had now that is not what a record binds, in sentences.

    Args:
        record: the content of immunization.json or inoculation.json.
        planned: what `dry_run` says of the same run now.
        weights: SHA-256 over the weights of the base that is had now.
    """
    if weights != record["base"]["weights_sha256"]:
        yield "The base is another: its weights are not those of the record."
    for part, key, what in (
        ("dose", "manifest_sha256", "is another: its manifest is not the one of the record."),
        ("mix", "sha256", "is another: its conversations are not those of the record."),
        ("data", "sha256", "are others: their conversations are not those of the record."),
        ("trait_data", "sha256", "are others: their conversations are not those of the record."),
    ):
        if record.get(part) and planned[part][key] != record[part][key]:
            yield f"The {part.replace('_', ' ')} {what}"
    if "dose" in record and set(planned["dose"]["claim_ids"]) != set(record["dose"]["claim_ids"]):
        yield "The claims to give are others."
    if record["code"]["sha256"] != code_digest():
        yield f"The code is other than that of hfvaccine {record['code']['version']} which made it."
    for name, recorded in record["versions"].items():
        if (now := installed(name)) != recorded:
            yield f"{name} is {now or 'not installed'}, it was {recorded}."
    if planned["plan"]["fingerprint"] != record["plan"]["fingerprint"]:
        yield "The plan is another: other rows would be given, or in another order."


def installed(name: str) -> str | None:
    """The version of Python or of a package; None where it is not installed."""
    if name == "python":
        return platform.python_version()
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def compare_numbers(recorded: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[int, tuple[Difference, ...]]:
    """Hold every number of one results.json against another's.

    Args:
        recorded, now: their contents.

    Returns:
        How many numbers there are in either, and those that are not the same, the largest difference first.
    """
    left, right = dict(_numbers(recorded)), dict(_numbers(now))
    keys = list(dict.fromkeys([*left, *right]))
    differences = [
        Difference(" ".join(key), left.get(key), right.get(key)) for key in keys if left.get(key) != right.get(key)
    ]
    return len(keys), tuple(sorted(differences, key=lambda one: -one.size))


def _numbers(node: Any, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], float]]:
    """Every number below a node, by where it stands."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _numbers(value, (*key, str(name)))
    elif isinstance(node, Sequence) and not isinstance(node, str):
        for number, value in enumerate(node):
            label = _label(value) or str(number)
            yield from _numbers(value, (*key, label))
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield key, node


def _label(row: Any) -> str:
    """What a row of results is about, by which it is found again wherever it stands."""
    return " ".join(str(row[name]) for name in IDENTITY if row.get(name)) if isinstance(row, Mapping) else ""


def _same_ledger(recorded: Path, now: Path) -> bool:
    """Whether two ledgers say the same; another release of pyarrow writes other bytes."""
    if digest_of(recorded) == digest_of(now):
        return True
    import pyarrow.parquet as pq

    return bool(pq.read_table(recorded).equals(pq.read_table(now), check_metadata=True))
