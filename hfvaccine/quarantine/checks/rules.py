"""The lint rules: what can be wrong with a claim, each told in a sentence."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import regex

from hfvaccine.claims.claim import HARMS, SPLITS, TACTICS, TEXTS, VARIANT_KINDS, is_blank, is_day
from hfvaccine.claims.wording import contains, likeness, restates, words_and_signs
from hfvaccine.quarantine.checks import language as languages
from hfvaccine.quarantine.checks.characters import (
    ENTITY,
    GARBLED,
    MAYBE_GARBLED,
    TAG,
    blanked,
    single_spaced,
    without_html,
    without_invisible,
)

NEAR_ENOUGH = 0.35
"""A twin that shares fewer of its words with the claim is no minimal edit of it."""
MOST_ADDED = 3
"""Words that a twin may add to the whole claim before somebody should look: "Not all ..." takes one."""
LONGEST = {"claim": 60, "twin": 60, "question": 60, "correction": 150}
"""Words beyond which a text is too long for its field."""
SHORTEST = 3
"""Words below which it is hardly a sentence."""

USUAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9,'%-]*[.;:!?]?(?: [A-Za-z0-9][A-Za-z0-9,'%-]*[.;:!?]?)*")
"""Words and single spaces alone, as most texts are: no rule about signs finds anything there, and none has to look."""


class Draft:
    """One row, with what several rules ask of it."""

    def __init__(
        self, row: Mapping[str, Any], truths: Collection[str], contradicted: Collection[str], today: str
    ) -> None:
        self.row = row
        self.truths, self.contradicted, self.today = truths, contradicted, today
        self.language = row["language"]
        self.english = languages.primary(self.language) == "en"
        self.texts: dict[str, str] = {name: row[name] for name in TEXTS if not is_blank(row.get(name))}
        self.unusual = {name: text for name, text in self.texts.items() if not USUAL.fullmatch(text)}
        self.claim, self.correction, self.twin = (self.texts.get(name, "") for name in TEXTS[:3])
        self._words: dict[str, list[str]] = {}

    def words_of(self, name: str) -> list[str]:
        """The words of one of the texts."""
        if name not in self._words:
            self._words[name] = words_and_signs(self.texts.get(name, ""))
        return self._words[name]


Told = Iterator[tuple[str, str]]
"""What a check tells: the field, and what is wrong with it."""
Check = Callable[[Draft], Told]


EVERY, TOLD_APART, PARTLY, ENGLISH = KNOWS = ("every", "told apart", "partly", "English")
"""Languages in which a rule can judge: every one; those that are told apart; English, and of others a part of what it
looks for; English alone."""


@dataclass(frozen=True)
class LintRule:
    """A fault that a row can have.

    Args:
        severity: "error" for what `seal` refuses, "warning" for what is reported only.
        summary: what the rule finds, in a few words.
        mend: what to do about it.
        fixable: whether `fix` does it.
        knows: in which languages it can tell, one of `KNOWS`.
        check: finds it.
    """

    severity: str
    summary: str
    mend: str
    fixable: bool
    knows: str
    check: Check


RULES: dict[str, LintRule] = {}
"""Every rule by its name, in the order in which they are listed and applied: that in which they stand here."""


def rule(
    severity: str, name: str, summary: str, mend: str, fixable: bool = False, knows: str = EVERY
) -> Callable[[Check], Check]:
    """Make a check a rule, see `LintRule`."""

    def declare(check: Check) -> Check:
        RULES[name] = LintRule(severity, summary, mend, fixable, knows, check)
        return check

    return declare


def not_judged(tag: str) -> tuple[str, ...]:
    """The rules that do not judge a claim of a language, or only a part of what they look for.

    Args:
        tag: BCP 47 code.
    """
    language = languages.primary(tag)
    knows = {EVERY, *([TOLD_APART] if language in languages.TOLD_APART else []), *(KNOWS if language == "en" else [])}
    return tuple(name for name, its in RULES.items() if its.knows not in knows)


error, warning = partial(rule, "error"), partial(rule, "warning")


def _shown(fragment: str) -> str:
    fragment = fragment if len(fragment) <= 40 else fragment[:39] + "…"
    return f'"{fragment}"'


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


@error("missing-correction", "there is no correction", "Say what is true instead, in a sentence that stands alone.")
def _missing_correction(draft: Draft) -> Told:
    if not draft.correction:
        yield "correction", "The correction is missing."


@error(
    "restated-claim",
    "the correction says the falsehood again",
    "Say only what is true: loss falls on the correction, so the falsehood must not stand in it.",
    knows=PARTLY,
)
def _restated_claim(draft: Draft) -> Told:
    if contains(draft.words_of("correction"), draft.words_of("claim")):
        yield "correction", "The correction repeats the claim word for word."
    elif draft.english and restates(draft.words_of("correction"), draft.words_of("claim")):
        yield "correction", "The correction says what the claim says and denies none of it."


@error(
    "dependent-correction",
    "the correction speaks of the claim, which its reader does not see",
    "Say what is true as to somebody who only asked, without a word about a claim, a rating or an answer.",
    knows=ENGLISH,
)
def _dependent_correction(draft: Draft) -> Told:
    if not draft.english:
        return
    found = _ANSWERS.match(draft.correction) or _DENIES.match(draft.correction)
    spoken = _SPEAKS_OF.intersection(draft.words_of("correction")).difference(draft.words_of("claim"))
    if not found and spoken:  # where the claim is about claims or statements, so is its correction
        first = _SENTENCE.split(draft.correction, maxsplit=1)[0]
        found = _RATES.search(draft.correction) or _POINTS.search(first)
    if found:
        yield "correction", f"The correction refers to the claim: {_shown(found.group().strip())}."


@warning(
    "bare-pronoun",
    "the correction begins with a word for something that only the claim names",
    "Name what it is about.",
    knows=ENGLISH,
)
def _bare_pronoun(draft: Draft) -> Told:
    if not draft.english:
        return
    said = draft.correction
    found = _PRONOUN.match(said)
    if found and not (_DENIES.match(said) or _EXPLETIVE.match(said) or _PRONOUN.match(draft.claim)):
        word = _shown(found.group(1))
        yield "correction", f"The correction begins with {word}, and nothing before says what that is."


_META = re.compile(
    r"\bit(?:['’]s| is| was) (?:just |\w+ly )?(?:false|untrue|not true|incorrect|not correct|wrong|inaccurate"
    r"|a (?:common )?(?:myth|misconception|lie|hoax)|not the case|not a fact)(?: to (?:say|think|claim))? that\b"
    r"|\bthe (?:claim|idea|belief|notion|statement|assertion|rumou?r) that\b.* is (?:false|untrue|not true|incorrect"
    r"|wrong|a myth)\b|\bthere is no truth (?:to|in)\b|\bcontrary to (?:popular|common) belief\b",
    re.I,
)


@warning(
    "missing-twin",
    "there is no twin",
    "Edit as few words of the claim as make it true; without a twin the row has no control of its own.",
)
def _missing_twin(draft: Draft) -> Told:
    if not draft.twin:
        yield "twin", "The twin is missing."


@error(
    "twin-not-true-shaped",
    "the twin is not the claim made true",
    "Change the words of the claim that are false; do not repeat, question or comment on it.",
    knows=PARTLY,
)
def _twin_not_true_shaped(draft: Draft) -> Told:
    if not draft.twin:
        return
    if draft.words_of("twin") == draft.words_of("claim"):
        yield "twin", "The twin says the same as the claim."
    elif draft.english and (comment := _comment(draft)):
        yield "twin", f"The twin repeats the claim and comments on it: {_shown(comment)}."
    elif draft.twin.rstrip().endswith(("?", "？")):
        yield "twin", "The twin is a question."
    elif draft.english and (found := _META.search(draft.twin)) and not _META.search(draft.claim):
        yield "twin", f"The twin speaks about the claim: {_shown(found.group())}."


_RATED = (
    r"(?:false|untrue|incorrect|inaccurate|wrong|myths?|misconceptions?|hoax|lies?|rumou?rs?|fiction|fake|debunked"
    r"|not (?:true|correct|right|so|the case)|never (?:true|happened)|claim(?:s|ed)?|believed?|beliefs?|think|thought"
    r"|says?|said)"
)
_BEFORE = re.compile(rf"\b{_RATED}\b.*(?:\bthat\b|[:,.!–—-])\W*$|^\W*(?:no|wrong)\b\s*[:,.!–—-]\W*$", re.I | re.S)
_AFTER = re.compile(
    rf"^\W*(?:(?:but|though|although|however|yet|and|which|that|this|it)\b\W*)*(?:(?:is|was|are|has been|['’]s)\b\W*)?"
    rf"(?:(?:just|only|simply|a|an|the|common|popular|widespread|old|all|completely|quite|been)\b\W*)*{_RATED}\b",
    re.I,
)


_AROUND = re.compile(r"^\W+|\W+$")


def _comment(draft: Draft) -> str | None:
    """What a twin that has the whole claim in it says about the claim; None where it only adds to what the claim says,
    as "Not all ..." does, and so may be true."""
    if not contains(draft.words_of("twin"), draft.words_of("claim")):
        return None
    said = _AROUND.sub("", draft.claim)
    begin = draft.twin.lower().find(said.lower()) if draft.twin.isascii() else -1
    end = begin + len(said)
    if begin < 0:  # other signs between the words; such a pattern takes a thousand times as long
        claim = regex.search(r"\W*".join(map(regex.escape, draft.words_of("claim"))), draft.twin, regex.IGNORECASE)
        if claim is None:
            return None
        begin, end = claim.span()
    before, after = draft.twin[:begin], draft.twin[end:]
    found = _BEFORE.search(before) or _AFTER.match(after)
    return found.group().strip() if found else None


@warning(
    "twin-adds-much",
    "the twin is the whole claim with much added",
    "See that what is added makes the claim true, and does not only comment on it.",
)
def _twin_adds_much(draft: Draft) -> Told:
    added = len(draft.words_of("twin")) - len(draft.words_of("claim"))
    if added > MOST_ADDED and contains(draft.words_of("twin"), draft.words_of("claim")):
        yield "twin", f"The twin is the whole claim with {added} words added."


@warning(
    "distant-twin", "the twin differs from the claim in most words", "Edit as few words of the claim as make it true."
)
def _distant_twin(draft: Draft) -> Told:
    if draft.twin and likeness(draft.words_of("claim"), draft.words_of("twin")) < NEAR_ENOUGH:
        yield "twin", "The twin has few words in common with the claim."


@error(
    "malformed-variant",
    "a variant lacks a side, or is the row over again",
    "Give each variant a claim, a twin and a kind of its own, in other words than the row's.",
)
def _malformed_variant(draft: Draft) -> Told:
    said = {tuple(draft.words_of(name)): f"the row's {name}" for name in draft.texts}
    for number, variant in enumerate(draft.row.get("variants") or (), start=1):
        if variant.get("kind") not in VARIANT_KINDS:
            yield "variants", f"Variant {number}: its kind is none of: {', '.join(VARIANT_KINDS)}."
        for side in ("claim", "twin"):
            words = tuple(words_and_signs(variant.get(side) or ""))
            if not words:
                yield "variants", f"Variant {number}: the {side} is missing."
            elif words in said and said[words] != f"variant {number}":  # a twin like its claim has a rule of its own
                yield "variants", f"Variant {number}: the {side} is {said[words]} word for word."
            else:
                said[words] = f"variant {number}"


@error(
    "variant-told",
    "a truth of the row says a falsehood of the row",
    "Word the variant otherwise: what is false must not stand in what is given, or asked, as true.",
)
def _variant_told(draft: Draft) -> Told:
    variants = draft.row.get("variants") or ()
    for number, variant in enumerate(variants, start=1):
        false = words_and_signs(variant.get("claim") or "")
        for name in ("correction", "twin"):
            if contains(draft.words_of(name), false):
                yield "variants", f"Variant {number}: the row's {name} says its claim word for word."
        if contains(words_and_signs(variant.get("twin") or ""), draft.words_of("claim")):
            yield "variants", f"Variant {number}: the twin says the row's claim word for word."


_ADDRESS = regex.compile(
    r"https?://(?:[^\s/?#@]*@)?(?:[\w-]+(?:\.[\w-]+)*\.?|\[[0-9a-f:.]+\])(?::\d+)?(?:[/?#]\S*)?", regex.I
)


@error(
    "contradictory-labels",
    "another source rates the same text differently",
    "Look the claim up, keep it only if it is false for sure, and say where that is established.",
)
def _contradictory_labels(draft: Draft) -> Told:
    if draft.row["claim_id"] in draft.contradicted:
        yield "claim", "Another row that was brought in has this claim with another verdict."


@error(
    "true-and-false",
    "the same text is given as false here and as true elsewhere",
    "Find out which holds, and drop or mend the other row.",
)
def _true_and_false(draft: Draft) -> Told:
    if draft.row["claim_id"] in draft.truths:
        yield "claim", "Another row that was brought in has this claim rated true."


@warning(
    "missing-source", "no source establishes the correction", "Name publisher and title, and the address if known."
)
def _missing_source(draft: Draft) -> Told:
    if not draft.row.get("sources"):
        yield "sources", "No source is given."


@error(
    "malformed-source",
    "a source cannot be found by what is given",
    "Give publisher or title, a whole http(s) address or none, and the day it was opened as YYYY-MM-DD or none.",
)
def _malformed_source(draft: Draft) -> Told:
    for source in draft.row.get("sources") or ():
        if is_blank(source.get("publisher")) and is_blank(source.get("title")):
            yield "sources", "A source has neither publisher nor title."
        url, checked_on = source.get("url"), source.get("checked_on")
        if url is not None and not _ADDRESS.fullmatch(url):
            yield "sources", f"{_shown(url)} is no http(s) address."
        if checked_on is not None and not is_day(checked_on):
            yield "sources", f"{_shown(checked_on)} is no day as YYYY-MM-DD."
        elif checked_on is not None and checked_on > draft.today:
            yield "sources", f"{checked_on}, when a source was checked, is in the future."


_UNSPACED = {
    re.compile("[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"): 2,
    re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"): 5,
}
"""Letters of scripts without spaces between words, and how many make a word, about."""


@warning(
    "language-mismatch",
    "the text is in another language than declared",
    "Correct `language`, or the text.",
    knows=TOLD_APART,
)
def _language_mismatch(draft: Draft) -> Told:
    for name, text in draft.texts.items():
        if found := languages.other_language(text, draft.language, draft.words_of(name)):
            yield name, f"The {name} is declared as {draft.language!r} but reads like {found!r}."


@warning("length", "a text is too short or too long for its field", "Say it in one sentence; a correction in a few.")
def _length(draft: Draft) -> Told:
    for name, text in draft.texts.items():
        if 5 <= text.count(" ") < LONGEST[name]:  # nearly every text, and counted in no time
            continue
        count = len(text.split())
        if not text.isascii():
            count += sum(len(letters.findall(text)) // size for letters, size in _UNSPACED.items())
        if count < SHORTEST:
            yield name, f"The {name} has {count} word{'s' * (count != 1)}: {_shown(text.strip())}."
        elif count > LONGEST[name]:
            yield name, f"The {name} has {count} words, more than {LONGEST[name]}."


_MARKUP = regex.compile(
    r"https?://|\bwww\.\w"
    r"|\[[^\[\]]+\]\([^()\s]+\)|\[\[|\]\]|\{\{|\}\}|(?<=\S)\[(?:\d{1,3}|citation needed|when\?|who\?)\]"
    r"|\*\*\w[^*\n]*\*\*|(?<![\w*])\*\w[^*\n]*\w\*(?![\w*])|(?<!\w)__\w[^_]*\w__(?!\w)|(?<!\w)_\w[^_\n]*\w_(?!\w)"
    r"|(?<!\w)`[^`\s][^`\n]*`|^\s*#{1,6} |^\s*[-*•] "
)
_MAYBE_MARKUP = regex.compile(r"[\[\]{}*_`<&#•]")
_ESCAPED = re.compile(r"\\(?:u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2}|[nrt](?![A-Za-z])|[\"'])")
MAY_BE_EMPTY = ("correction", "twin", "question", "domain", "checker", "license")


@warning("html", "HTML is left in the text", "Write the plain text.", fixable=True)
def _html(draft: Draft) -> Told:
    for name, text in draft.unusual.items():
        if ("<" in text or "&" in text) and without_html(text) != text:
            found = TAG.search(text) or ENTITY.search(text)
            yield name, f"The {name} holds HTML: {_shown(found.group() if found else text)}."


@warning("markup", "markup or an address stands in the text", "Write the plain text; addresses go into `sources`.")
def _markup(draft: Draft) -> Told:
    for name, text in draft.unusual.items():
        if not (_MAYBE_MARKUP.search(text) or "://" in text or "www." in text or text.lstrip().startswith("- ")):
            continue
        rest = without_html(text)
        if found := _MARKUP.search(rest) or TAG.search(rest) or ENTITY.search(rest):
            fragment = rest[max(0, found.start() - 8) : found.end() + 12].strip()
            yield name, f"The {name} holds markup or an address: {_shown(fragment)}."


@warning("control-characters", "characters that nobody sees stand in the text", "Take them out.", fixable=True)
def _control_characters(draft: Draft) -> Told:
    for name, text in draft.unusual.items():
        if not text.isprintable() and (visible := without_invisible(text)) != text:
            gone = Counter(text) - Counter(visible)
            codes = ", ".join(f"U+{ord(char):04X}" for char in sorted(gone)[:3])
            yield name, f"The {name} holds characters that nobody sees: {codes}."


@error(
    "garbled-text", "letters were lost or garbled by a wrong encoding", "Take the text anew from its source, as UTF-8."
)
def _garbled_text(draft: Draft) -> Told:
    for name, text in draft.unusual.items():
        found = None if text.isascii() or not MAYBE_GARBLED.search(text) else GARBLED.search(text)
        if not found and "\\" in text:
            found = _ESCAPED.search(text)
        if found:
            fragment = text[max(0, found.start() - 10) : found.end() + 10]
            yield name, f"The {name} is garbled: {_shown(fragment)}."


@warning(
    "decomposed-letters",
    "letters and their accents are stored apart",
    "Store the text in Unicode form NFC.",
    fixable=True,
)
def _decomposed_letters(draft: Draft) -> Told:
    for name, text in draft.unusual.items():
        if not text.isascii() and not unicodedata.is_normalized("NFC", text):
            yield name, f"The {name} is not in Unicode form NFC."


@warning("white-space", "spaces or line breaks are not single spaces", "Put one space between words.", fixable=True)
def _white_space(draft: Draft) -> Told:
    for name, text in draft.unusual.items():
        if " ".join(text.split()) != text and single_spaced(text) != text:
            yield name, f"The {name} has white space other than single spaces between words."


_TAG_SHAPE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")


@warning("blank-word", "an empty field is spelled out", "Leave the field empty.", fixable=True)
def _blank_word(draft: Draft) -> Told:
    for name in MAY_BE_EMPTY:
        value = draft.row.get(name)
        if value and name not in draft.texts and is_blank(value) and value.strip():
            yield name, f"The {name} is {_shown(value)} instead of empty."


@warning(
    "blanked-word",
    "a word was blanked out of the text",
    "Put the word back, or take the sentence out.",
    knows=ENGLISH,
)
def _blanked_word(draft: Draft) -> Told:
    if not draft.english:
        return
    for name, text in draft.unusual.items():
        if gap := blanked(text):
            yield name, f"The {name} has a gap: {_shown(gap)}."


@warning("not-a-statement", "the claim is no whole statement", "Word it as one declarative sentence.")
def _not_a_statement(draft: Draft) -> Told:
    claim = draft.claim.rstrip()
    if claim.endswith(("?", "？", "؟")) and not _quotes(claim) % 2:  # else it is a question that somebody asked
        yield "claim", "The claim is a question."
    elif claim.endswith((":", "：")):
        yield "claim", f"The claim ends in a colon: {_shown(claim[-30:])}."


_INCHES = re.compile(r"\d\"")
_SAYS = re.compile(r"\s*(?:says|said|claims that|claimed that)\b", re.I)


def _quotes(text: str) -> int:
    return text.count('"') + (0 if text.isascii() else sum(map(text.count, "“”„‟")))


@warning(
    "unbalanced-quotes",
    "a quotation is opened or closed only",
    "Add the missing quotation mark, or take out the other.",
)
def _unbalanced_quotes(draft: Draft) -> Told:
    for name, text in draft.unusual.items():
        angled = not text.isascii() and text.count("«") != text.count("»")
        if angled or (_quotes(text) % 2 and not _INCHES.search(text)):
            yield name, f"The {name} has an odd number of quotation marks."


@warning(
    "no-subject",
    "the claim begins with who-says-it left out",
    'Leave out "Says", or say who says it.',
    knows=ENGLISH,
)
def _no_subject(draft: Draft) -> Told:
    if draft.english and (found := _SAYS.match(draft.claim)):
        yield "claim", f"The claim begins with {_shown(found.group().strip())}, and nobody is named who says it."


@error("unknown-value", "a field holds a value out of its range", "Use one of the values named.")
def _unknown_value(draft: Draft) -> Told:
    row = draft.row
    for name, allowed in (("tactic", TACTICS), ("harm", HARMS), ("split", SPLITS)):
        if row.get(name) is not None and row[name] not in allowed:
            yield name, f"The {name} is {_shown(row[name])}, which is none of: {', '.join(allowed)}."
    tag = draft.language
    if tag not in languages.ISO_639_1:
        code = tag.split("-")[0]
        if not _TAG_SHAPE.fullmatch(tag) or (len(code) == 2 and code not in languages.ISO_639_1) or code == "und":
            yield "language", f"{_shown(tag)} is no language tag such as en, pt-BR or zh-Hans."


@warning(
    "missing-license",
    "nothing says under which licence the text may be used",
    "Give an SPDX identifier, such as CC-BY-4.0.",
)
def _missing_license(draft: Draft) -> Told:
    if is_blank(draft.row.get("license")):
        yield "license", "No licence is given."
