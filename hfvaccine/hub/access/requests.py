"""Who may have a dose: the requests behind its gate, decided by hand or by rules, each decision in a journal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import HfApi
from huggingface_hub.hf_api import AccessRequest

from hfvaccine.claims import journal
from hfvaccine.errors import HubError, UsageError
from hfvaccine.files import guard_formula, whole_file
from hfvaccine.hub.access import journal as owner_journal
from hfvaccine.hub.access.journal import journal_of
from hfvaccine.hub.access.rules import ABOUT_USER, AccessRule, decide, require_short
from hfvaccine.hub.account import account
from hfvaccine.hub.errors import as_hub_error, page_of, require_repo_id

STATUSES = ("pending", "accepted", "rejected")


@dataclass(frozen=True)
class Outcome:
    """What became of one request.

    Args:
        user: who asked; the id of the request where the Hub hides names.
        was: status of the request before: pending, accepted or rejected.
        now: its status afterwards, or what a dry run would make it.
        done: whether anything was decided; not in a dry run, and not where it was so already.
        reason: given with the decision.
        rule: number of the rule that decided.
    """

    user: str
    was: str
    now: str
    done: bool
    reason: str = ""
    rule: int | None = None


class Access:
    """The requests for one dose, for its owner.

    Args:
        repo_id: the dataset repo.
        journal: file of the decisions, by default `journal_of(repo_id)`.
        token: Hub token of the owner, by default the one huggingface_hub finds.
        endpoint: the Hub, by default the one huggingface_hub talks to.
        progress: told each outcome as soon as it stands.

    Raises:
        UsageError: for what cannot be a repo.
    """

    def __init__(
        self,
        repo_id: str,
        *,
        journal: Path | str | None = None,
        token: str | None = None,
        endpoint: str | None = None,
        progress: Callable[[Outcome], None] | None = None,
    ) -> None:
        require_repo_id(repo_id)
        self.repo_id = repo_id
        self.journal = Path(journal) if journal else journal_of(repo_id)
        self._api = HfApi(endpoint=endpoint, token=token)
        self._tell = progress or (lambda outcome: None)

    def requests(self, *statuses: str) -> list[AccessRequest]:
        """Requests for access, oldest first.

        Args:
            statuses: of `STATUSES`; all where none is given.

        Raises:
            HubError: where the dose is not this account's, is not gated, or the Hub cannot be reached.
        """
        lists = {
            "pending": self._api.list_pending_access_requests,
            "accepted": self._api.list_accepted_access_requests,
            "rejected": self._api.list_rejected_access_requests,
        }
        with as_hub_error(self._api, self.repo_id, "dataset"):
            found = [
                request
                for status in statuses or STATUSES
                for request in lists[status](self.repo_id, repo_type="dataset")
            ]
        return sorted(found, key=lambda request: request.timestamp)

    def accept(self, users: Sequence[str], *, dry_run: bool = False) -> list[Outcome]:
        """Let in people who asked, also those who were rejected before.

        Nobody is let in who did not ask: the form is where they bind themselves to the dose's terms.

        Args:
            users: their user names.
            dry_run: only say what would be done.

        Raises:
            HubError: where one of them did not ask (then nothing is done for any), or the Hub refuses.
            DoseError: where the journal was tampered with.
        """
        return self._each(self._named(users), "accepted", "", dry_run)

    def reject(self, users: Sequence[str], reason: str = "", *, dry_run: bool = False) -> list[Outcome]:
        """Turn down people who asked and have no access yet.

        Args:
            users: their user names.
            reason: shown to them.
            dry_run: only say what would be done.

        Raises:
            HubError: where one of them did not ask, or has access already (then nothing is done for any), or the
                Hub refuses.
            DoseError: where the journal was tampered with.
            UsageError: for a reason that is too long.
        """
        requests = self._named(users)
        inside = [_user(request) for request in requests if request.status == "accepted"]
        if inside:
            raise HubError(
                f"{', '.join(inside)} can read {self.repo_id} already, so nothing was decided.",
                "Take access away with `hfvaccine access revoke`.",
            )
        return self._each(requests, "rejected", reason, dry_run)

    def revoke(self, users: Sequence[str], reason: str = "", *, dry_run: bool = False) -> list[Outcome]:
        """Take access away from people who have it.

        Their requests become rejected ones. A Hub can also set them back to pending, but then the
        next run of the rules that let them in would let them in again.

        Args:
            users: their user names.
            reason: shown to them.
            dry_run: only say what would be done.

        Raises:
            HubError: where one of them has no access (then nothing is done for any), or the Hub refuses.
            DoseError: where the journal was tampered with.
            UsageError: for a reason that is too long.
        """
        requests = self._named(users)
        outside = [_user(request) for request in requests if request.status == "pending"]
        if outside:
            raise HubError(
                f"{', '.join(outside)} only asked for {self.repo_id} and cannot read it, so nothing was decided.",
                "Turn a request down with `hfvaccine access reject`.",
            )
        return self._each(requests, "rejected", reason, dry_run)

    def apply(self, rules: Sequence[AccessRule], decision: str, *, dry_run: bool = False) -> list[Outcome]:
        """Decide the pending requests that rules decide in one way, and leave all others pending.

        Args:
            rules: in the order in which they are tried; the first that fits decides.
            decision: "accept" or "reject": the only decisions to carry out.
            dry_run: only say what would be done.

        Returns:
            One outcome for each pending request; `now` is "pending" where no rule fits, and `done` is false
            where the rules would decide the other way.

        Raises:
            HubError: where the Hub refuses.
            UsageError: where a rule asks about a field that the dose's form does not have.
            DoseError: where the journal was tampered with.
        """
        requests = self.requests("pending")
        self._require_known_fields(rules, requests)
        steps = []
        for request in requests:
            verdict = decide(request, rules)
            if verdict is None:
                steps.append(_Step(request, "pending", "", False))
            else:
                # The rule as it was followed: tomorrow its number may be another one's.
                note = {"rule": verdict.rule, "when": dict(rules[verdict.rule - 1].when)}
                now = "accepted" if verdict.decision == "accept" else "rejected"
                steps.append(_Step(request, now, verdict.reason, verdict.decision == decision, note))
        return self._carry_out(steps, dry_run)

    def export(self, path: Path | str) -> int:
        """Write all requests with the decisions on them, for an audit.

        Args:
            path: .csv, one row a request with the last decision on it, or .jsonl with all of them. A text that a
                spreadsheet would run as a formula is written with a leading apostrophe in .csv, exactly in .jsonl.

        Returns:
            How many requests there are, those counted that the journal knows and the Hub no longer lists.

        Raises:
            UsageError: for another kind of file.
            HubError: where the dose is not this account's or the Hub cannot be reached.
            DoseError: where the journal was tampered with.
        """
        path = Path(path)
        if path.suffix not in (".csv", ".jsonl"):
            raise UsageError(f"{path} is neither .csv nor .jsonl.", "Name the file with one of these endings.")
        decisions: dict[str, list[journal.Entry]] = {}
        for entry in self.decisions():
            decisions.setdefault(str(entry.what.get("request")), []).append(entry)
        rows = [
            {**as_row(request), "decisions": [_decision(entry) for entry in decisions.pop(request.request_id, [])]}
            for request in self.requests()
        ]
        for request_id, entries in decisions.items():
            gone = {"request": request_id, "user": entries[-1].what.get("user"), "status": "no longer listed"}
            rows.append({**gone, "fields": {}, "decisions": [_decision(entry) for entry in entries]})
        text = _csv(rows) if path.suffix == ".csv" else "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in rows)
        with whole_file(path, private=True) as staged:
            staged.write_text(text, encoding="utf-8")
        return len(rows)

    def head(self) -> str | None:
        """The digest at which the journal ends, None where nothing is in it.

        Raises:
            DoseError: where the journal was tampered with.
        """
        entries = owner_journal.read(self.journal)
        return entries[-1].hash() if entries else None

    def decisions(self) -> list[journal.Entry]:
        """Every decision in the journal, its chain proved.

        Raises:
            DoseError: naming the first entry that was tampered with.
        """
        return [entry for entry in owner_journal.read(self.journal) if entry.act == "access"]

    def _named(self, users: Sequence[str]) -> list[AccessRequest]:
        if not users:
            raise UsageError("Nobody is named.", "Give one or more user names.")
        requests = self.requests()
        known = {request.request_id: request for request in requests}  # the only name where the Hub hides names
        known |= {request.username.casefold(): request for request in requests if request.username}
        absent = [user for user in users if user.casefold() not in known]
        if absent:
            raise HubError(
                f"{', '.join(absent)} did not ask for access to {self.repo_id}, so nothing was decided.",
                f"They ask at {page_of(self._api, self.repo_id, 'dataset')}, where they also agree to its terms.",
            )
        named = [known[user.casefold()] for user in users]
        return list({request.request_id: request for request in named}.values())

    def _each(self, requests: Iterable[AccessRequest], now: str, reason: str, dry_run: bool) -> list[Outcome]:
        require_short(reason)
        return self._carry_out([_Step(r, now, reason, r.status != now) for r in requests], dry_run)

    def _carry_out(self, steps: Sequence[_Step], dry_run: bool) -> list[Outcome]:
        outcomes = []
        with self._recording(not dry_run and any(step.act for step in steps)) as record:
            for step in steps:
                if record and step.act:
                    self._decide(step)
                    record(step)
                outcome = Outcome(
                    _user(step.request),
                    step.request.status,
                    step.now,
                    bool(record) and step.act,
                    step.reason,
                    step.note.get("rule"),
                )
                outcomes.append(outcome)
                self._tell(outcome)
        return outcomes

    def _decide(self, step: _Step) -> None:
        which = {"request_id": step.request.request_id, "repo_type": "dataset"}
        with as_hub_error(self._api, self.repo_id, "dataset"):
            if step.now == "accepted":
                self._api.accept_access_request(self.repo_id, **which)
            else:
                self._api.reject_access_request(self.repo_id, rejection_reason=step.reason or None, **which)

    @contextmanager
    def _recording(self, needed: bool) -> Iterator[Callable[[_Step], None] | None]:
        """Hold the journal open before the first decision is made."""
        if not needed:
            yield None
            return
        by = account(self._api)
        with owner_journal.writing(self.journal) as write:

            def record(step: _Step) -> None:
                what = {
                    "repo": self.repo_id,
                    "hub": self._api.endpoint,
                    "request": step.request.request_id,
                    "user": step.request.username,
                    "was": step.request.status,
                    "now": step.now,
                    "reason": step.reason,
                    **step.note,
                }
                try:
                    write("access", by, what)
                except OSError as error:
                    raise HubError(
                        f"{_user(step.request)} was {step.now} on {self._api.endpoint}, but that could not be written "
                        f"to {self.journal}: {error.strerror}. Nothing after it was decided.",
                        "Make room or mend its permissions. This one decision stays unrecorded: note it elsewhere.",
                    ) from error

            yield record

    def _require_known_fields(self, rules: Sequence[AccessRule], requests: Iterable[AccessRequest]) -> None:
        """A misspelt field is empty in every request, and a rule against empty ones would reject everybody."""
        with as_hub_error(self._api, self.repo_id, "dataset"):
            card = self._api.dataset_info(self.repo_id).card_data
        form = getattr(card, "extra_gated_fields", None)
        form = form if isinstance(form, dict) else {}
        kinds = {name.casefold(): kind for name, kind in form.items()}
        answered = {name.casefold() for request in requests for name in request.fields or {}}
        for number, rule in enumerate(rules, start=1):
            for name, pattern in rule.when.items():
                if name.casefold() not in {*ABOUT_USER, *kinds, *answered}:
                    raise UsageError(
                        f"Rule {number} asks about {name!r}, which the form of {self.repo_id} does not have.",
                        f"It has: {'; '.join((*ABOUT_USER, *form))}.",
                    )
                if isinstance(pattern, bool) and kinds.get(name.casefold(), "checkbox") != "checkbox":
                    raise UsageError(
                        f"Rule {number} asks whether {name!r} is ticked, but that is no box.",
                        "Write a pattern in quotes: unquoted, YAML reads yes and no as true and false.",
                    )


class _Step(NamedTuple):
    """What is to become of one request, and whether that is for this call to do."""

    request: AccessRequest
    now: str
    reason: str
    act: bool
    note: Mapping[str, Any] = {}


def as_row(request: AccessRequest) -> dict[str, Any]:
    """A request as plain data.

    Args:
        request: as the Hub lists it.
    """
    return {
        "request": request.request_id,
        "user": request.username,
        "fullname": request.fullname,
        "email": request.email,
        "asked_on": request.timestamp.isoformat(timespec="seconds"),
        "status": request.status,
        "fields": dict(request.fields or {}),
    }


def _user(request: AccessRequest) -> str:
    return str(request.username or request.request_id)


def _decision(entry: journal.Entry) -> dict[str, Any]:
    told: dict[str, Any] = {
        key: entry.what[key] for key in ("was", "now", "reason", "rule", "when") if key in entry.what
    }
    return {"by": entry.by, "at": entry.at, **told}


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    fields = list(dict.fromkeys(name for row in rows for name in row["fields"]))
    about, last = ("request", "user", "fullname", "email", "asked_on", "status"), ("now", "by", "at", "reason", "rule")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*about, *map(guard_formula, fields), *(f"decision_{name}" for name in last)])
    for row in rows:
        decision = row["decisions"][-1] if row["decisions"] else {}
        values = (
            *(row.get(name) for name in about),
            *(row["fields"].get(name) for name in fields),
            *(decision.get(name) for name in last),
        )
        writer.writerow([guard_formula("" if value is None else str(value)) for value in values])
    return text.getvalue()
