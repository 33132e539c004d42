"""The probes as tasks of lm-evaluation-harness, so that others can ask them without hfvaccine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hfvaccine.claims.claim import Claim
from hfvaccine.claims.reserved import QUESTION_PROBES, TACTIC_PROBES, VERDICT_PROBES, VerdictProbe
from hfvaccine.errors import ValidationError
from hfvaccine.files import whole_folder

TAG = "hfvaccine"
"""The name under which lm-eval runs all the tasks."""

_TASK = """\
# {canary} - this data must never appear in a general training corpus
task: {task}
tag: {tag}
custom_dataset: !function claims.load
dataset_kwargs:
  file: {file}
test_split: test
output_type: multiple_choice
doc_to_text: prompt
doc_to_choice: choices
doc_to_target: label
num_fewshot: 0
metric_list:
  - metric: acc
    aggregation: mean
    higher_is_better: true
metadata:
  version: 1.0
"""

# Rows are handed over in memory: load_dataset would leave a copy of the claims in a cache that nobody guards.
_LOADER = '''\
"""Gives lm-eval the questions of this folder, wherever the folder lies, and leaves no copy of them in a cache."""

import json
from pathlib import Path

from datasets import Dataset


def load(file, **_):
    text = (Path(__file__).parent / file).read_text(encoding="utf-8")
    return {"test": Dataset.from_list([json.loads(line) for line in text.split("\\n") if line])}
'''

_README = """\
# Probes for lm-evaluation-harness

**This folder holds false claims. It is as sensitive as the dose that they come from: keep it private, give it to
nobody who may not have the dose, and never train on it.** The claims and their true twins stand in it in full, and so
they do in what `lm_eval --log_samples` writes.

Canary: `{canary}`. This data must never appear in a general training corpus; whoever finds the canary in one has
found these claims there.

```
lm_eval --model hf --model_args pretrained=MODEL,peft=ADAPTER --apply_chat_template \\
    --include_path THIS_FOLDER --tasks {first}
```

`--tasks {tag}` runs them all; leave `peft=` out for the base. With `--apply_chat_template` the questions are put as
hfvaccine puts them, except under templates that write something between their generation prompt and an answer (Qwen3's
empty thought); without it, as raw text.

| task | questions |
|---|---|
{table}

*specific* are claims that were given, *cross* are claims that never were. A *verdict* task shows a claim, and then its
true twin, and asks in several wordings whether it is true; a *tactics* task does so while it presses the statement. As
there are as many claims as twins, a model that calls everything false gets 0.5, and so does one that calls everything
true. An *answer* task asks the question, and a model is right where it prefers the twin to the claim.

`acc` is the share of questions that are answered rightly, wording by wording. What hfvaccine reports is taken from
the same likelihoods but is not the same number: it adds up the spellings of a verdict and averages the wordings of a
statement before it counts. Probes in which the user insists, or the model recalls before it judges, need an earlier
turn of the model and are not here.
"""


def export_tasks(claims: Sequence[Claim], heldout: Sequence[Claim], folder: Path, canary: str) -> list[str]:
    """Write a folder that `lm_eval --include_path` reads: tasks, questions and a README.

    Args:
        claims: claims that are given ("specific").
        heldout: claims that are never given ("cross"); tasks without questions are left out.
        folder: to write; must be empty or not be there.
        canary: the dose's, put into every file.

    Returns:
        The names of the tasks.

    Raises:
        ValidationError: for a folder that is not empty, without a canary, or where no claim can be asked about.
    """
    if not canary.strip():
        raise ValidationError(
            "The tasks have no canary.", "Export from a sealed dose: its manifest holds one, and copies must carry it."
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValidationError(f"{folder} exists already and is not empty.", "Choose another folder.")
    tasks = {
        f"{TAG}_{name}_{reading}": rows
        for name, asked in (("specific", claims), ("cross", heldout))
        for reading, rows in (
            ("verdict", list(_verdicts(asked, VERDICT_PROBES))),
            ("tactics", list(_verdicts(asked, TACTIC_PROBES))),
            ("answer", list(_answers(asked))),
        )
        if rows
    }
    if not tasks:
        raise ValidationError("No claim has a twin.", "Give claims twins: without one a probe would be one-sided.")
    files = {"claims.py": f"# {canary}\n{_LOADER}"}
    for task, rows in tasks.items():
        files[f"{task}.yaml"] = _TASK.format(canary=canary, task=task, tag=TAG, file=f"{task}.jsonl")
        files[f"{task}.jsonl"] = "".join(
            json.dumps({**row, "canary": canary}, ensure_ascii=False) + "\n" for row in rows
        )
    files["README.md"] = _README.format(
        canary=canary,
        first=next(iter(tasks)),
        tag=TAG,
        table="\n".join(f"| {task} | {len(rows)} |" for task, rows in tasks.items()),
    )
    with whole_folder(folder) as staging:  # readable by its owner only
        for name, text in files.items():
            (staging / name).write_text(text, encoding="utf-8")
    return list(tasks)


def _verdicts(claims: Sequence[Claim], probes: Sequence[VerdictProbe]) -> Iterator[dict[str, Any]]:
    for claim in claims:
        for probe in probes if claim.twin else ():
            choices, accepts = (*probe.accept, *probe.reject), len(probe.accept)
            right = {"claim": list(range(accepts, len(choices))), "twin": list(range(accepts))}
            for side, statement in (("claim", claim.claim), ("twin", str(claim.twin))):
                prompt = probe.prompt.replace("{statement}", statement)
                yield _row(claim, side, probe.name, probe.tactic or "none", prompt, choices, right[side])


def _answers(claims: Sequence[Claim]) -> Iterator[dict[str, Any]]:
    for claim in claims:
        for number, wording in enumerate(QUESTION_PROBES) if claim.twin and claim.question else ():
            prompt = wording.replace("{question}", str(claim.question))
            # The claim stands first: lm-eval takes the first of equals, so that a tie is not counted as right.
            yield _row(claim, "both", f"question_{number}", "none", prompt, (claim.claim, str(claim.twin)), [1])


def _row(
    claim: Claim, side: str, wording: str, tactic: str, prompt: str, choices: tuple[str, ...], label: list[int]
) -> dict[str, Any]:
    return {
        "claim_id": claim.claim_id,
        "cluster_id": claim.cluster_id,
        "domain": claim.domain,
        "statement": side,
        "wording": wording,
        "tactic": tactic,
        "prompt": prompt,
        "choices": list(choices),
        "label": label,
    }
