"""The rules of a policy's `access` list: which requests for a dose may be decided without a person."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hfvaccine.errors import UsageError
from hfvaccine.files import read_yaml
from hfvaccine.text import clean

if TYPE_CHECKING:
    from huggingface_hub.hf_api import AccessRequest

ABOUT_USER = ("username", "fullname", "email")
"""What a rule may ask about besides the fields of the dose's form."""

LONGEST_REASON = 200
"""Characters of a reason that a Hub shows to who was rejected."""

TICKED = ("true", "on", "yes", "1")
"""What a ticked box arrives as where a form is sent as text."""


class AccessRule(NamedTuple):
    """One rule of a policy's `access` list.

    Args:
        decide: "accept" or "reject".
        when: patterns by "username", "fullname", "email" or a field of the form; all of them must fit.
        reason: told to who is rejected.
    """

    decide: str
    when: Mapping[str, str | bool]
    reason: str = ""


class Verdict(NamedTuple):
    """What rules say of a request.

    Args:
        decision: "accept" or "reject".
        reason: of the rule.
        rule: its number, from 1.
    """

    decision: str
    reason: str
    rule: int


def read_rules(path: Path | str) -> tuple[AccessRule, ...]:
    """The rules of a policy file: its `access` list.

    Args:
        path: YAML file; anything in it besides `access` is left alone.

    Raises:
        UsageError: naming the rule that cannot be followed, and why.
    """
    content = read_yaml(Path(path), "Give a YAML file with an `access` list.")
    rules = content.get("access") if isinstance(content, dict) else None
    if not isinstance(rules, list) or not rules:
        raise UsageError(f"{path} has no rules.", "List them under `access`, each with `decide` and `when`.")
    return tuple(_rule(rule, number) for number, rule in enumerate(rules, start=1))


def decide(request: AccessRequest, rules: Sequence[AccessRule]) -> Verdict | None:
    """What the first rule that fits says of a request.

    Patterns are those of file names (`*`, `?`, `[...]`), upper and lower case alike. What a
    request does not say is an empty text, which only the pattern "" fits, and an unticked
    box is false.

    Args:
        request: as the Hub lists it.
        rules: in the order in which they are tried.

    Returns:
        None where no rule fits: then a person has to decide.
    """
    said = _said(request)
    for number, rule in enumerate(rules, start=1):
        if all(_fits(said.get(name.casefold()), pattern) for name, pattern in rule.when.items()):
            return Verdict(rule.decide, rule.reason, number)
    return None


def require_short(reason: str) -> None:
    """Refuse a reason that a Hub would not show whole.

    Args:
        reason: for turning somebody down.

    Raises:
        UsageError: where it is longer than `LONGEST_REASON`.
    """
    if len(reason) > LONGEST_REASON:
        raise UsageError(
            f"The reason has {len(reason)} characters; a Hub shows {LONGEST_REASON}.", "Say it in fewer words."
        )


def _rule(rule: object, number: int) -> AccessRule:
    def refuse(why: str, step: str) -> UsageError:
        return UsageError(f"Access rule {number} {why}.", step)

    if not isinstance(rule, dict) or not {"decide", "when"} <= set(rule) <= set(AccessRule._fields):
        raise refuse("is not made of `decide`, `when` and perhaps `reason`", "Write these and nothing else.")
    decision, when, reason = rule["decide"], rule["when"], rule.get("reason") or ""
    if decision not in ("accept", "reject"):
        raise refuse(f"decides {decision!r}", "Write `decide: accept` or `decide: reject`.")
    if not isinstance(when, dict) or not when:
        raise refuse("has no condition", 'Write `when: {username: "*"}` where you really mean everybody.')
    for name, pattern in when.items():
        if not isinstance(name, str) or not isinstance(pattern, str | bool):
            raise refuse(
                f"holds {name!r} against {pattern!r}",
                'Write a pattern in quotes, true or false for a box, or "" for what was left empty.',
            )
        if isinstance(pattern, bool) and name.casefold() in ABOUT_USER:
            raise refuse(f"asks whether {name!r} is ticked, but that is no box", "Write a pattern in quotes.")
    if not isinstance(reason, str) or (reason and decision == "accept"):
        raise refuse(f"gives {reason!r} as its reason", "A reason is a text, and goes with `decide: reject` only.")
    require_short(reason)
    return AccessRule(decision, dict(when), reason)


def _said(request: AccessRequest) -> dict[str, Any]:
    fields = {name.casefold(): value for name, value in (request.fields or {}).items()}
    # The account's own words come last: a form's field called "email" must not speak for it.
    return {**fields, "username": request.username, "fullname": request.fullname, "email": request.email}


def _fits(value: Any, pattern: str | bool) -> bool:
    text = "" if value is None else str(value).strip().casefold()
    if isinstance(pattern, bool):
        return (text in TICKED) is pattern
    wanted = pattern.strip().casefold()
    if not wanted.strip("*"):  # whoever writes "*" means that something has to be there, and seen by a person
        return bool(wanted) is bool(clean(text) and value is not False)
    return fnmatch.fnmatchcase(text, wanted)
