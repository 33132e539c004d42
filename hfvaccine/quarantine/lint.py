"""Lint: what is wrong with draft rows, as far as wording and form can tell, and the mends that change no word.

Each rule is a plain function on one draft and tells of one fault; errors keep a row out of a dose, warnings are for a
person to weigh.
"""

from __future__ import annotations

import html
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from html.entities import html5
from typing import Any

from hfvaccine.errors import UsageError
from hfvaccine.quarantine import language as languages
from hfvaccine.quarantine import wording
from hfvaccine.quarantine.claim import HARMS, SPLITS, TACTICS, claim_id, is_blank, normalise

NEAR_ENOUGH = 0.35
"""A twin that shares fewer of its words with the claim is no minimal edit of it."""

LONGEST = {"claim": 60, "twin": 60, "question": 60, "correction": 150}
"""Words beyond which a text is too long for its field."""
SHORTEST = 3
"""Words below which it is hardly a sentence."""

COMPARED = 500
"""Letters of the longest twin or correction that is looked for among the claims."""

TEXTS = ("claim", "correction", "twin", "question")

Told = Iterator[tuple[str, str]]
"""What a rule tells: the field, and what is wrong with it."""


@dataclass(frozen=True)
class Rule:
    """What a rule looks for.

    Args:
        severity: "error" for what `seal` refuses, "warning" for what is reported only.
        summary: what the rule finds, in a few words.
        mend: what to do about it.
        fixable: whether `fix` does it.
    """

    severity: str
    summary: str
    mend: str
    fixable: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault of one row.

    Args:
        claim_id: the row.
        origin: file and line it came from.
        field: the column at fault.
        rule: a name of `RULES`.
        severity: the rule's.
        message: what is wrong, in one sentence.
        mend: what to do about it.
    """

    claim_id: str
    origin: str
    field: str
    rule: str
    severity: str
    message: str
    mend: str


RULES: dict[str, Rule] = {
    "missing-correction": Rule(
        "error", "there is no correction", "Say what is true instead, in a sentence that stands alone."
    ),
    "restated-claim": Rule(
        "error",
        "the correction says the falsehood again",
        "Say only what is true: loss falls on the correction, so the falsehood must not stand in it.",
    ),
    "dependent-correction": Rule(
        "error",
        "the correction speaks of the claim, which its reader does not see",
        "Say what is true as to somebody who only asked, without a word about a claim, a rating or an answer.",
    ),
    "bare-pronoun": Rule(
        "warning",
        "the correction begins with a word for something that only the claim names",
        "Name what it is about.",
    ),
    "missing-twin": Rule(
        "warning",
        "there is no twin",
        "Edit as few words of the claim as make it true; without a twin the row has no control of its own.",
    ),
    "twin-not-true-shaped": Rule(
        "error",
        "the twin is not the claim made true",
        "Change the words of the claim that are false; do not repeat, question or comment on it.",
    ),
    "distant-twin": Rule(
        "warning", "the twin differs from the claim in most words", "Edit as few words of the claim as make it true."
    ),
    "contradictory-labels": Rule(
        "error",
        "another source rates the same text differently",
        "Look the claim up, keep it only if it is false for sure, and say where that is established.",
    ),
    "true-and-false": Rule(
        "error",
        "the same text is given as false here and as true elsewhere",
        "Find out which holds, and drop or mend the other row.",
    ),
    "missing-source": Rule(
        "warning", "no source establishes the correction", "Name publisher and title, and the address if known."
    ),
    "malformed-source": Rule(
        "error",
        "a source cannot be found by what is given",
        "Give publisher or title, a whole http(s) address or none, and the day it was opened as YYYY-MM-DD or none.",
    ),
    "language-mismatch": Rule(
        "warning", "the text is in another language than declared", "Correct `language`, or the text."
    ),
    "length": Rule(
        "warning", "a text is too short or too long for its field", "Say it in one sentence; a correction in a few."
    ),
    "html": Rule("warning", "HTML is left in the text", "Write the plain text.", fixable=True),
    "markup": Rule(
        "warning", "markup or an address stands in the text", "Write the plain text; addresses go into `sources`."
    ),
    "control-characters": Rule(
        "warning", "characters that nobody sees stand in the text", "Take them out.", fixable=True
    ),
    "garbled-text": Rule(
        "error", "letters were lost or garbled by a wrong encoding", "Take the text anew from its source, as UTF-8."
    ),
    "decomposed-letters": Rule(
        "warning", "letters and their accents are stored apart", "Store the text in Unicode form NFC.", fixable=True
    ),
    "white-space": Rule(
        "warning", "spaces or line breaks are not single spaces", "Put one space between words.", fixable=True
    ),
    "blank-word": Rule("warning", "an empty field is spelled out", "Leave the field empty.", fixable=True),
    "blanked-word": Rule(
        "warning", "a word was blanked out of the text", "Put the word back, or take the sentence out."
    ),
    "not-a-statement": Rule("warning", "the claim is no whole statement", "Word it as one declarative sentence."),
    "unbalanced-quotes": Rule(
        "warning", "a quotation is opened or closed only", "Add the missing quotation mark, or take out the other."
    ),
    "no-subject": Rule(
        "warning", "the claim begins with who-says-it left out", 'Leave out "Says", or say who says it.'
    ),
    "unknown-value": Rule("error", "a field holds a value out of its range", "Use one of the values named."),
    "missing-license": Rule(
        "warning",
        "nothing says under which licence the text may be used",
        "Give an SPDX identifier, such as CC-BY-4.0.",
    ),
}
"""Every rule by its name."""


class _Draft:
    """One row, with what several rules ask of it."""

    def __init__(
        self, row: Mapping[str, Any], truths: Collection[str], contradicted: Collection[str], today: str
    ) -> None:
        self.row = row
        self.truths, self.contradicted, self.today = truths, contradicted, today
        self.language = row["language"]
        self.english = self.language == "en" or self.language[:3].lower() in ("en", "en-")
        self.texts: dict[str, str] = {name: row[name] for name in TEXTS if not is_blank(row.get(name))}
        self.claim: str = self.texts.get("claim", "")
        self.correction: str | None = self.texts.get("correction")
        self.twin: str | None = self.texts.get("twin")

        self._words: dict[str, list[str]] = {}

    def words(self, name: str) -> list[str]:
        """The words of one of the texts."""
        if name not in self._words:
            self._words[name] = wording.words(self.texts.get(name, ""))
        return self._words[name]


def lint(
    rows: Iterable[Mapping[str, Any]],
    *,
    off: Collection[str] = (),
    truths: Collection[str] = frozenset(),
    contradicted: Collection[str] = frozenset(),
    today: date | None = None,
) -> Iterator[Finding]:
    """Everything the rules find, in one pass; what only shows between rows comes last.

    Args:
        rows: draft rows, as in `store.SCHEMA`.
        off: rules not to apply.
        truths: claims that a source rates true.
        contradicted: claims that sources rate differently.
        today: the day after which no source can have been checked, by default today.

    Raises:
        UsageError: for a rule in `off` that does not exist.
    """
    refuse_unknown(off)
    checks = {name: check for name, check in _CHECKS.items() if name not in off}
    # The day may have begun already where the row was written.
    last = today or (datetime.now(UTC) + timedelta(hours=14)).date()
    return _findings(rows, checks, "true-and-false" not in off, frozenset(truths), frozenset(contradicted), last)


def refuse_unknown(names: Iterable[str]) -> None:
    """See that all of these are rules.

    Raises:
        UsageError: naming those that are not.
    """
    unknown = sorted(set(names) - set(RULES))
    if unknown:
        raise UsageError(f"There is no lint rule {', '.join(unknown)}.", f"The rules are: {', '.join(RULES)}.")


def fix(row: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """A row with all done that can be done without changing a word.

    HTML is made plain, invisible characters are taken out, accents joined to their letters, white space made single
    spaces, and fields that say "nan" or the like made empty. A claim of which nothing would be left stays as it is.
    If the claim's text changes, its id is derived anew, and the id of a cluster that it alone gives its name to.

    Args:
        row: a draft row; not changed.

    Returns:
        The mended row, and the names of the rules that it no longer breaks.
    """
    mended = dict(row)
    applied: set[str] = set()
    for name in TEXTS:
        text = row.get(name)
        if isinstance(text, str):
            plain, rules = _mend_text(text)
            if name != "claim" or not is_blank(plain):
                mended[name] = plain
                applied |= rules
    for name in _MAY_BE_EMPTY:
        value = mended.get(name)
        if value is not None and is_blank(value):
            mended[name] = None
            applied |= {"blank-word"} if value.strip() else set()
    if mended["claim"] != row["claim"]:
        mended["claim_id"] = claim_id(mended["claim"], row["language"])
        if row["cluster_id"] == row["claim_id"]:
            mended["cluster_id"] = mended["claim_id"]
    return mended, [name for name in RULES if name in applied]


def _findings(
    rows: Iterable[Mapping[str, Any]],
    checks: Mapping[str, Callable[[_Draft], Told]],
    compare: bool,
    truths: frozenset[str],
    contradicted: frozenset[str],
    last: date,
) -> Iterator[Finding]:
    told = _Truths()
    today = last.isoformat()
    for row in rows:
        draft = _Draft(row, truths, contradicted, today)
        for rule, check in checks.items():
            for where, message in check(draft):
                yield _finding(row["claim_id"], row["origin"], where, rule, message)
        if compare:
            told.add(draft)
    yield from told.findings()


def _finding(claim: str, origin: str, where: str, rule: str, message: str) -> Finding:
    kind = RULES[rule]
    return Finding(claim, origin, where, rule, kind.severity, message, kind.mend)


class _Truths:
    """What is said to be false and what to be true over a whole pass, in 8 bytes each."""

    def __init__(self) -> None:
        self._origins: list[str] = []
        self._ids = array("Q")
        self._false = array("q")
        self._true = array("q")
        self._true_rows = array("q")  # row * 2, + 1 for a correction

    def add(self, draft: _Draft) -> None:
        number = len(self._origins)
        self._origins.append(draft.row["origin"])
        self._ids.append(int(draft.row["claim_id"], 16))
        self._false.append(_key(draft.language, draft.claim))
        for which, text in enumerate((draft.twin, draft.correction)):
            if text is not None and len(text) <= COMPARED:
                self._true.append(_key(draft.language, text))
                self._true_rows.append(number * 2 + which)

    def findings(self) -> Iterator[Finding]:
        if not self._true:
            return
        import numpy as np

        false, true = np.asarray(self._false), np.asarray(self._true)
        order = np.argsort(false, kind="stable")
        places = np.searchsorted(false, true, sorter=order)
        places[places == len(false)] = 0
        for at in np.flatnonzero(false[order[places]] == true):
            here, (there, which) = int(order[places[at]]), divmod(self._true_rows[at], 2)
            if here != there:  # within one row it is a fault of the twin or the correction
                what = ("twin", "correction")[which]
                yield self._finding(here, "claim", f"The claim is the {what} of {self._name(there)}.")
                yield self._finding(there, what, f"The {what} is the claim of {self._name(here)}.")

    def _finding(self, number: int, where: str, message: str) -> Finding:
        return _finding(self._id(number), self._origins[number], where, "true-and-false", message)

    def _name(self, number: int) -> str:
        return f"{self._id(number)} ({self._origins[number]})"

    def _id(self, number: int) -> str:
        return f"{self._ids[number]:016x}"


def _key(language: str, text: str) -> int:
    """Equal for texts that `claim_id` takes for the same, within this process; a fraction of its time."""
    same = " ".join(text.lower().split()).rstrip(".!?") if text.isascii() else normalise(text)
    return hash(f"{language}\n{same}")


def _shown(fragment: str) -> str:
    fragment = fragment if len(fragment) <= 40 else fragment[:39] + "…"
    return f'"{fragment}"'


# --- The correction --------------------------------------------------------------------------------------------------

_ANSWERS = re.compile(r"\s*(?:no|yes|nope|wrong|false|incorrect|untrue|true|not true)\s*(?:[,.:;!]|\s[-–—]|$)", re.I)
_RATES = re.compile(
    r"\b(?:we|politifact|fact-checkers) (?:have )?(?:rate|rated|rule|ruled|judge|judged) "
    r"(?:this|that|it|the|his|her|their|these|those|its)\b|\bas claimed\b|\bthe above (?:claim|statement|sentence)"
    r"|\b(?:claim|statement|sentence) above\b|\babove (?:claim|statement|sentence)\b",
    re.I,
)
_POINTS = re.compile(
    r"\b(?:this|that|the|these|those)(?: \w+)? (?:claim|statement|assertion|allegation)s?\b"
    r"(?! (?:that|of|about|by|from|made|on|in|to|for)\b)",
    re.I,
)
_DENIES = re.compile(
    r"\s*(?:it|this|that)(?:['’]s| is| was) (?:just |all |\w+ly )?(?:false|untrue|not true|incorrect|not correct|wrong"
    r"|a myth|a misconception|a lie|not the case|the opposite|the other way)\b(?!.{0,20} (?:that|to)\b)",
    re.I,
)
_SPOKEN = """
    claim claims claimed statement statements assertion assertions allegation allegations sentence
    rate rated rule ruled judge judged
"""
_SPEAKS_OF = frozenset(_SPOKEN.split())
_SENTENCE = re.compile(r"(?<=[.!?])\s")
_PRONOUN = re.compile(r"\s*(it|they|he|she|this|that|these|those|its|their|his|her)(?:['’]\w+)?\b", re.I)
_EXPLETIVE = re.compile(
    r"\s*(?:it(?:['’](?:s|d)| \w+(?:['’]t)?)\b[^.]*?\b(?:to|that|for|when|if|who|because|how|\w+ing)\b"
    r"|th(?:is|at|ese|ose) (?:who|which|with|of|that)\b|those\b)",
    re.I,
)


def _missing_correction(draft: _Draft) -> Told:
    if draft.correction is None:
        yield "correction", "The correction is missing."


def _restated_claim(draft: _Draft) -> Told:
    if draft.correction is None:
        return
    if wording.contains(draft.words("correction"), draft.words("claim")):
        yield "correction", "The correction repeats the claim word for word."
    elif draft.english and wording.restates(draft.words("correction"), draft.words("claim")):
        yield "correction", "The correction says what the claim says and denies none of it."


def _dependent_correction(draft: _Draft) -> Told:
    if draft.correction is None or not draft.english:
        return
    found = _ANSWERS.match(draft.correction) or _DENIES.match(draft.correction)
    if not found and not _SPEAKS_OF.isdisjoint(draft.words("correction")):
        first = _SENTENCE.split(draft.correction, maxsplit=1)[0]
        found = _RATES.search(draft.correction) or _POINTS.search(first)
    if found:
        yield "correction", f"The correction refers to the claim: {_shown(found.group().strip())}."


def _bare_pronoun(draft: _Draft) -> Told:
    if draft.correction is None or not draft.english:
        return
    found = _PRONOUN.match(draft.correction)
    if (
        found
        and not _DENIES.match(draft.correction)
        and not _EXPLETIVE.match(draft.correction)
        and not _PRONOUN.match(draft.claim)
    ):
        yield (
            "correction",
            f"The correction begins with {_shown(found.group(1))}, and nothing before says what that is.",
        )


# --- The twin --------------------------------------------------------------------------------------------------------

_META = re.compile(
    r"\bit(?:['’]s| is| was) (?:just |\w+ly )?(?:false|untrue|not true|incorrect|not correct|wrong|inaccurate"
    r"|a (?:common )?(?:myth|misconception|lie|hoax)|not the case|not a fact)(?: to (?:say|think|claim))? that\b"
    r"|\bthe (?:claim|idea|belief|notion|statement|assertion|rumou?r) that\b.* is (?:false|untrue|not true|incorrect"
    r"|wrong|a myth)\b|\bthere is no truth (?:to|in)\b|\bcontrary to (?:popular|common) belief\b",
    re.I,
)


def _missing_twin(draft: _Draft) -> Told:
    if draft.twin is None:
        yield "twin", "The twin is missing."


def _twin_not_true_shaped(draft: _Draft) -> Told:
    if draft.twin is None:
        return
    if draft.words("twin") == draft.words("claim"):
        yield "twin", "The twin says the same as the claim."
    elif wording.contains(draft.words("twin"), draft.words("claim")):
        yield "twin", "The twin is the whole claim with something added."
    elif draft.twin.rstrip().endswith(("?", "？")):
        yield "twin", "The twin is a question."
    elif draft.english and (found := _META.search(draft.twin)) and not _META.search(draft.claim):
        yield "twin", f"The twin speaks about the claim: {_shown(found.group())}."


def _distant_twin(draft: _Draft) -> Told:
    if draft.twin is not None and wording.likeness(draft.words("claim"), draft.words("twin")) < NEAR_ENOUGH:
        yield "twin", "The twin has few words in common with the claim."


# --- Other sources ---------------------------------------------------------------------------------------------------

_ADDRESS = re.compile(
    r"https?://(?:[^\s/?#@]*@)?(?:[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-f:.]+\])(?::\d+)?(?:[/?#]\S*)?", re.I
)


def _contradictory_labels(draft: _Draft) -> Told:
    if draft.row["claim_id"] in draft.contradicted:
        yield "claim", "Another row that was brought in has this claim with another verdict."


def _true_and_false(draft: _Draft) -> Told:
    if draft.row["claim_id"] in draft.truths:
        yield "claim", "Another row that was brought in has this claim rated true."


def _missing_source(draft: _Draft) -> Told:
    if not draft.row.get("sources"):
        yield "sources", "No source is given."


def _malformed_source(draft: _Draft) -> Told:
    for source in draft.row.get("sources") or ():
        if is_blank(source.get("publisher")) and is_blank(source.get("title")):
            yield "sources", "A source has neither publisher nor title."
        url, checked_on = source.get("url"), source.get("checked_on")
        if url is not None and not _ADDRESS.fullmatch(url):
            yield "sources", f"{_shown(url)} is no http(s) address."
        if checked_on is not None:
            if not _is_day(checked_on):
                yield "sources", f"{_shown(checked_on)} is no day as YYYY-MM-DD."
            elif checked_on > draft.today:
                yield "sources", f"{checked_on}, when a source was checked, is in the future."


def _is_day(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _missing_license(draft: _Draft) -> Told:
    if is_blank(draft.row.get("license")):
        yield "license", "No licence is given."


# --- Wording ---------------------------------------------------------------------------------------------------------

_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_GAP = re.compile(r" +[.,!](?!\s*\.)(?=[\s\"”]|$)|  +(?=(?:that|to|is|of|and|as|has|about|the|in)\b)|\b_{3,}")
_HANGING = "this that it is are was were be as a an the his her their its our no statement claim rating"
_LEFT_HANGING = frozenset(_HANGING.split())
_INCHES = re.compile(r"\d\"")
_SAYS = re.compile(r"\s*(?:says|said|claims that|claimed that)\b", re.I)


def _language_mismatch(draft: _Draft) -> Told:
    for name, text in draft.texts.items():
        found = languages.other_language(text, draft.language, draft.words(name))
        if found is not None:
            yield name, f"The {name} is declared as {draft.language!r} but reads like {found!r}."


def _length(draft: _Draft) -> Told:
    for name, text in draft.texts.items():
        if 5 <= text.count(" ") < LONGEST[name]:  # nearly every text, and counted in no time
            continue
        count = len(text.split())
        if not text.isascii():
            count += len(_UNSPACED.findall(text)) // 2
        if count < SHORTEST:
            yield name, f"The {name} has {count} word{'s' * (count != 1)}: {_shown(text.strip())}."
        elif count > LONGEST[name]:
            yield name, f"The {name} has {count} words, more than {LONGEST[name]}."


def _blanked_word(draft: _Draft) -> Told:
    if not draft.english:
        return
    for name, text in draft.texts.items():
        gap = _gap(text)
        if gap:
            yield name, f"The {name} has a gap: {_shown(gap)}."


def _gap(text: str) -> str | None:
    """The first place where a word was blanked out, with what stands around it."""
    if "  " in text or " ." in text or " ," in text or " !" in text or "___" in text:
        for gap in _GAP.finditer(text):
            before = (text[max(0, gap.start() - 20) : gap.start()].lower().split() or [""])[-1]
            if before in _LEFT_HANGING or before.endswith(("'s", "’s")) or "_" in gap.group():
                return (before + text[gap.start() : gap.end() + 15]).strip()
    return None


def _not_a_statement(draft: _Draft) -> Told:
    claim = draft.claim.rstrip()
    if claim.endswith(("?", "？", "؟")) and not _quotes(claim) % 2:  # else it is a question that somebody asked
        yield "claim", "The claim is a question."
    elif claim.endswith((":", "：")):
        yield "claim", f"The claim ends in a colon: {_shown(claim[-30:])}."


def _quotes(text: str) -> int:
    return text.count('"') + (0 if text.isascii() else sum(map(text.count, "“”„‟")))


def _unbalanced_quotes(draft: _Draft) -> Told:
    for name, text in draft.texts.items():
        angled = not text.isascii() and text.count("«") != text.count("»")
        if angled or (_quotes(text) % 2 and not _INCHES.search(text)):
            yield name, f"The {name} has an odd number of quotation marks."


def _no_subject(draft: _Draft) -> Told:
    if draft.english and (found := _SAYS.match(draft.claim)):
        yield "claim", f"The claim begins with {_shown(found.group().strip())}, and nobody is named who says it."


# --- Characters ------------------------------------------------------------------------------------------------------

_SIMPLE_TAGS = {"b", "i", "em", "strong", "u", "span", "a", "font", "small", "p", "br", "div", "li", "ul", "ol", "hr"}
_BLOCKS = {"p", "br", "div", "li", "ul", "ol", "hr"}
_VOID = {"br", "hr"}
_TAG = re.compile(r"<(/?)([A-Za-z][A-Za-z0-9]*)(?:\s[^<>]*)?/?>")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")
_MARKUP = re.compile(
    r"https?://|\bwww\.\w"
    r"|\[[^\[\]]+\]\([^()\s]+\)|\[\[|\]\]|\{\{|\}\}|(?<=\S)\[(?:\d{1,3}|citation needed|when\?|who\?)\]"
    r"|\*\*\w[^*\n]*\*\*|(?<![\w*])\*\w[^*\n]*\w\*(?![\w*])|(?<!\w)__\w[^_]*\w__(?!\w)|(?<!\w)_\w[^_\n]*\w_(?!\w)"
    r"|(?<!\w)`[^`\s][^`\n]*`|^\s*#{1,6} |^\s*[-*•] "
)
_MAYBE_MARKUP = re.compile(r"[\[\]{}*_`<&#•]")
_CONTROLS = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f\u00ad\u202d\u202e\u2060-\u2064\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f]"
)
_CONDITIONAL = re.compile("[\u061c\u200b-\u200f\u202a-\u202c\u2066-\u2069]")
_RIGHT_TO_LEFT = re.compile(
    "[\u0590-\u061b\u061d-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
_NO_SPACES = re.compile("[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff]")
_CP1252 = "\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ"
_GARBLED = re.compile(
    f"[\x80-\x9f\ufffd\ue000-\uf8ff\U000f0000-\U0010ffff]|[ÂÃ][{_CP1252}]|[ÄÅ][\xa1-\xbf]|â€[{_CP1252}]?|ï»¿|ï¿½"
    f"|(?:[ÐÑ][{_CP1252}]){{2}}"
)
_MAYBE_GARBLED = re.compile("[\x80-\x9f\ufffd\ue000-\uf8ff\U000f0000-\U0010ffffÂÃÄÅâïÐÑ]")
_ESCAPED = re.compile(r"\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[nrt](?![A-Za-z])|[\"'])")
_BREAKS = "\t\n\r\x0b\x0c\x1c-\x1f\u1680\u2000-\u200a\u2028\u2029\u205f\u00a0\u202f"
_SPACES = re.compile(f"[{_BREAKS}][{_BREAKS} ]*| [{_BREAKS} ]+")
_MAY_BE_EMPTY = ("correction", "twin", "question", "domain", "checker", "license")


def _plain(text: str) -> str:
    """A text without HTML where it is plain what was meant, else as it is."""
    if "<" not in text and "&" not in text:
        return text
    plain = text
    while (unescaped := _ENTITY.sub(_unescape, plain)) != plain:
        plain = unescaped
    if len(_TAG.findall(plain)) > len(_TAG.findall(text)):  # was it written about a tag, or with one?
        return text
    opened: Counter[str] = Counter()
    for slash, name in _TAG.findall(plain):
        if name.lower() not in _SIMPLE_TAGS:
            return plain
        if name.lower() not in _VOID:
            opened[name.lower()] += -1 if slash else 1
    return plain if any(opened.values()) else _TAG.sub(lambda tag: " " * (tag[2].lower() in _BLOCKS), plain)


def _unescape(entity: re.Match[str]) -> str:
    name = entity.group()[1:]
    char = html.unescape(entity.group()) if name.startswith("#") else html5.get(name, "")
    return char if char and not _GARBLED.search(char) else entity.group()


def _visible(text: str) -> str:
    """A text without the characters that nobody sees, but for those that its script needs."""
    text = _CONTROLS.sub("", text)
    if text.isascii() or not _CONDITIONAL.search(text):
        return text
    right_to_left = _RIGHT_TO_LEFT.search(text) is not None

    def needed(mark: re.Match[str]) -> str:
        char, before = mark.group(), text[mark.start() - 1 : mark.start()]
        if char == "\u200b":
            keep = _NO_SPACES.match(before) is not None
        elif char in "\u200c\u200d":
            keep = before > "\u0590" and not "\u2000" <= before <= "\u206f"
        else:
            keep = right_to_left
        return char * keep

    return _CONDITIONAL.sub(needed, text)


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _spaced(text: str) -> str:
    """A text with single spaces, and none-breaking ones only where typography asks for them."""
    if " ".join(text.split()) == text or _gap(text):  # spaces that tell of a blanked word are not mended away
        return text

    def space(found: re.Match[str]) -> str:
        before, after = text[found.start() - 1 : found.start()], text[found.end() : found.end() + 1]
        typographic = before and after and (before.isdigit() or before == "«" or after.isdigit() or after in ":;!?»%")
        return found.group() if typographic and found.group() in ("\u00a0", "\u202f") else " "

    return _SPACES.sub(space, text).strip(" \u3000")


_MENDS = {
    "html": _plain,
    "control-characters": _visible,
    "decomposed-letters": _composed,
    "white-space": _spaced,
}


def _mend_text(text: str) -> tuple[str, set[str]]:
    rules: set[str] = set()
    while True:
        before = text
        for rule, mend in _MENDS.items():
            mended = mend(text)
            if mended != text:
                rules.add(rule)
                text = mended
        if text == before:
            return text, rules


def _html(draft: _Draft) -> Told:
    for name, text in draft.texts.items():
        if ("<" in text or "&" in text) and _plain(text) != text:
            found = _TAG.search(text) or _ENTITY.search(text)
            yield name, f"The {name} holds HTML: {_shown(found.group() if found else text)}."


def _markup(draft: _Draft) -> Told:
    for name, text in draft.texts.items():
        if not (_MAYBE_MARKUP.search(text) or "://" in text or "www." in text or text.lstrip().startswith("- ")):
            continue
        rest = _plain(text)
        if found := _MARKUP.search(rest) or _TAG.search(rest) or _ENTITY.search(rest):
            fragment = rest[max(0, found.start() - 8) : found.end() + 12].strip()
            yield name, f"The {name} holds markup or an address: {_shown(fragment)}."


def _control_characters(draft: _Draft) -> Told:
    for name, text in draft.texts.items():
        if not text.isprintable() and (visible := _visible(text)) != text:
            gone = Counter(text) - Counter(visible)
            codes = ", ".join(f"U+{ord(char):04X}" for char in sorted(gone)[:3])
            yield name, f"The {name} holds characters that nobody sees: {codes}."


def _garbled_text(draft: _Draft) -> Told:
    for name, text in draft.texts.items():
        found = None if text.isascii() or not _MAYBE_GARBLED.search(text) else _GARBLED.search(text)
        if not found and "\\" in text:
            found = _ESCAPED.search(text)
        if found:
            fragment = text[max(0, found.start() - 10) : found.end() + 10]
            yield name, f"The {name} is garbled: {_shown(fragment)}."


def _decomposed_letters(draft: _Draft) -> Told:
    for name, text in draft.texts.items():
        if not text.isascii() and not unicodedata.is_normalized("NFC", text):
            yield name, f"The {name} is not in Unicode form NFC."


def _white_space(draft: _Draft) -> Told:
    for name, text in draft.texts.items():
        if " ".join(text.split()) != text and _spaced(text) != text:
            yield name, f"The {name} has white space other than single spaces between words."


# --- Values ----------------------------------------------------------------------------------------------------------

_TAG_SHAPE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")


def _blank_word(draft: _Draft) -> Told:
    for name in _MAY_BE_EMPTY:
        value = draft.row.get(name)
        if value and name not in draft.texts and is_blank(value) and value.strip():
            yield name, f"The {name} is {_shown(value)} instead of empty."


def _unknown_value(draft: _Draft) -> Told:
    row = draft.row
    for name, allowed in (("tactic", TACTICS), ("harm", HARMS), ("split", SPLITS)):
        if row.get(name) is not None and row[name] not in allowed:
            yield name, f"The {name} is {_shown(row[name])}, which is none of: {', '.join(allowed)}."
    tag = draft.language
    if tag not in languages.ISO_639_1:
        code = tag.split("-")[0]
        if not _TAG_SHAPE.fullmatch(tag) or (len(code) == 2 and code not in languages.ISO_639_1) or code == "und":
            yield "language", f"{_shown(tag)} is no language tag such as en, pt-BR or zh-Hans."


_CHECKS: dict[str, Callable[[_Draft], Told]] = {
    "missing-correction": _missing_correction,
    "restated-claim": _restated_claim,
    "dependent-correction": _dependent_correction,
    "bare-pronoun": _bare_pronoun,
    "missing-twin": _missing_twin,
    "twin-not-true-shaped": _twin_not_true_shaped,
    "distant-twin": _distant_twin,
    "contradictory-labels": _contradictory_labels,
    "true-and-false": _true_and_false,
    "missing-source": _missing_source,
    "malformed-source": _malformed_source,
    "language-mismatch": _language_mismatch,
    "length": _length,
    "html": _html,
    "markup": _markup,
    "control-characters": _control_characters,
    "garbled-text": _garbled_text,
    "decomposed-letters": _decomposed_letters,
    "white-space": _white_space,
    "blank-word": _blank_word,
    "blanked-word": _blanked_word,
    "not-a-statement": _not_a_statement,
    "unbalanced-quotes": _unbalanced_quotes,
    "no-subject": _no_subject,
    "unknown-value": _unknown_value,
    "missing-license": _missing_license,
}
