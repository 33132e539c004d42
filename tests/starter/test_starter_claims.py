"""The packaged starter dose and mix: what anybody may rely on in the files themselves."""

from __future__ import annotations

import datetime
import difflib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from hfvaccine import starter
from hfvaccine.claims.claim import SPLITS, TACTICS, Claim, normalise, read_jsonl
from hfvaccine.claims.cues import CUE_LIMIT, cue_audit
from hfvaccine.claims.dose import Dose
from hfvaccine.quarantine.policy import Policy
from hfvaccine.quarantine.seal import seal

BRITISH = re.compile(
    r"metre|litre|centre|fibre|theatre|colour|favour|flavour|behaviour|neighbour|labour|honour|harbour|humour|tumour"
    r"|rumour|vapour|odour|armour|vigour|grey|aluminium|cheque|defence|licence|offence|kerb|mould|plough|sceptic|sulph"
    r"|tyre|pyjama|manoeuv|whilst|amongst|learnt|spelt|ageing|travell|cancelled|labelled|modelled|fuelled|signalled"
    r"|jeweller|anaesth|oestr|haem|paediatr|foetus|faec|diarrhoea|organis(?:e|ation)|realise|recognise|crystallise"
    r"|minimise|maximise|emphasise|specialise|summarise|standardise|sterilise|fertilise|immunise|neutralise",
    re.I,
)
"""Parts of words that only British spelling has."""
DATED = re.compile(
    r"\b(?:current|currently|recent|recently|nowadays|lately|latest|presently|present-day|upcoming|so far|to date"
    r"|as of now|at present|at the moment|these days|right now|(?:this|last|past) (?:year|decade|century)"
    r"|(?:last|past) (?:few|several|two|three|ten) (?:years|decades)|(?:years|decades) ago)\b",
    re.I,
)
"""What is true only for as long as nobody reads it later."""


@pytest.fixture(scope="module")
def claims() -> list[Claim]:
    return read_jsonl(starter.CLAIMS)


@pytest.fixture(scope="module")
def mix() -> list[dict[str, Any]]:
    return [json.loads(line) for line in starter.MIX.read_text(encoding="utf-8").split("\n") if line.strip()]


def changed(before: str, after: str) -> float:
    """Share of the longer text's words that stand in no common run of both texts."""
    a, b = before.lower().split(), after.lower().split()
    same = sum(block.size for block in difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks())
    return 1 - same / max(len(a), len(b))


def test_there_are_enough_claims_over_enough_domains(claims: list[Claim]) -> None:
    assert len(claims) >= 160
    assert len({c.domain for c in claims}) >= 8


def test_each_row_is_complete(claims: list[Claim]) -> None:
    for claim in claims:
        assert claim.question, claim.claim
        assert claim.twin, claim.claim
        assert claim.correction.split()[0].strip(",.").lower() not in {"yes", "no"}, claim.correction
        assert claim.sources, claim.claim
        assert claim.license == "Apache-2.0"
        for source in claim.sources:
            assert source.publisher.strip()
            assert source.title.strip()


def test_dates_of_checking_are_absent_or_iso(claims: list[Claim]) -> None:
    for date in (s.checked_on for c in claims for s in c.sources if s.checked_on is not None):
        assert datetime.date.fromisoformat(date).isoformat() == date


def test_no_fact_is_asked_twice(claims: list[Claim]) -> None:
    assert len({c.claim_id for c in claims}) == len(claims)
    assert len({normalise(c.question or "") for c in claims}) == len(claims)
    texts = [normalise(text) for c in claims for text in (c.claim, c.twin or "")]
    assert len(set(texts)) == len(texts)


def test_twins_change_few_words(claims: list[Claim]) -> None:
    shares = [changed(c.claim, c.twin or "") for c in claims]
    assert sum(share <= 0.6 for share in shares) >= 0.95 * len(shares)
    assert min(shares) > 0


@pytest.mark.parametrize("part", ["all", "dose", "heldout", "tactic", "none"])
def test_wording_does_not_give_falsehood_away(claims: list[Claim], part: str) -> None:
    parts = {c.claim_id: ("all", c.split, "none" if c.tactic == "none" else "tactic") for c in claims}
    pairs = [(c.claim, c.twin) for c in claims if c.twin and part in parts[c.claim_id]]
    audit = cue_audit(pairs, folds=5, repeats=2)
    assert audit.bag_of_words <= CUE_LIMIT, audit.giveaways
    assert audit.length <= CUE_LIMIT


def test_a_third_of_the_claims_persuade_by_a_tactic(claims: list[Claim]) -> None:
    tactics = [tactic for tactic in TACTICS if tactic != "none"]
    used = Counter((c.tactic, c.split) for c in claims if c.tactic != "none")
    sizes = [sum(used[tactic, split] for split in SPLITS) for tactic in tactics]
    assert sum(sizes) >= len(claims) / 3
    assert max(sizes) - min(sizes) <= 2
    assert all(used[tactic, split] >= 4 for tactic in tactics for split in SPLITS)
    for domain in {c.domain for c in claims}:
        assert len({c.tactic for c in claims if c.domain == domain} - {"none"}) >= 4, domain


def test_what_persuades_stands_in_the_twin_too(claims: list[Claim]) -> None:
    for claim in claims:
        if claim.tactic != "none":
            assert changed(claim.claim, claim.twin or "") <= 0.5, claim.claim


def test_the_spelling_is_american(claims: list[Claim], mix: list[dict[str, Any]]) -> None:
    said = [t for c in claims for t in (c.claim, c.correction, c.twin or "", c.question or "")]
    said += [message["content"] for row in mix for message in (*row["prompt"], *row["completion"])]
    for text in said:
        assert not (found := BRITISH.search(text)), f"{found} in {text}"


def test_nothing_said_ages_with_the_day_it_is_read(claims: list[Claim]) -> None:
    for text in (t for c in claims for t in (c.claim, c.correction, c.twin or "", c.question or "")):
        assert not (found := DATED.search(text)), f"{found} in {text}"


def test_about_thirty_percent_of_each_domain_is_held_out(claims: list[Claim]) -> None:
    sizes = Counter(c.domain for c in claims)
    held = Counter(c.domain for c in claims if c.split == "heldout")
    for domain, size in sizes.items():
        assert 0.2 <= held[domain] / size <= 0.4, domain


def test_few_rows_overlap_with_truthfulqa(claims: list[Claim]) -> None:
    assert sum("TruthfulQA" in c.overlaps for c in claims) < 0.06 * len(claims)


def test_the_policy_seals_the_claims(claims: list[Claim], tmp_path: Path) -> None:
    dose = seal(claims, Policy.read(starter.POLICY), tmp_path / "dose")
    assert len(dose.claims) + len(dose.heldout) == len(claims)


def test_the_sealed_starter_is_kept_and_can_be_loaded() -> None:
    folder = starter.sealed()
    assert starter.sealed() == folder
    assert Dose.load(folder).name == "hfvaccine starter dose"


def test_the_mix_is_pairs_of_one_prompt_and_one_answer(mix: list[dict[str, Any]]) -> None:
    assert len(mix) >= 400
    for row in mix:
        assert [turn["role"] for turn in row["prompt"]] == ["user"]
        assert [turn["role"] for turn in row["completion"]] == ["assistant"]
        assert row["prompt"][0]["content"].strip()
        assert row["completion"][0]["content"].strip()


def test_no_mix_prompt_asks_what_a_claim_asks(claims: list[Claim], mix: list[dict[str, Any]]) -> None:
    prompts = {normalise(row["prompt"][0]["content"]) for row in mix}
    assert prompts.isdisjoint(normalise(c.question or "") for c in claims)
    assert prompts.isdisjoint(normalise(c.claim) for c in claims)
