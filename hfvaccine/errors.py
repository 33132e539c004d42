"""Every error a user can meet: what was refused, why, and what to do next.

Commands print the message and the next step and exit with `exit_code`; nobody
sees a traceback for something they can mend.
"""


class HfvaccineError(Exception):
    """Base of all errors.

    Args:
        message: what value was refused and why, in one sentence.
        next_step: what to do about it, in one sentence.
    """

    exit_code = 1

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.message} {self.next_step}".strip()


class UsageError(HfvaccineError):
    """An option or argument out of its range."""

    exit_code = 2


class ClaimError(HfvaccineError):
    """A claim row that cannot be given: no correction, unknown field, a wrong type."""


class DoseError(HfvaccineError):
    """A dose folder that is missing, incomplete, or does not match its manifest."""


class FormError(HfvaccineError):
    """A form that would put the falsehood where the loss falls, or lacks a wording."""


class PlanError(HfvaccineError):
    """A dosing plan that cannot be exact, or differs from the one on disk."""


class ModelError(HfvaccineError):
    """A base model or adapter that cannot be found, read, or is not what it says."""


class EndpointError(ModelError):
    """A served model that does not reply, or not with what it was asked for.

    Args:
        message: what happened, and what the server says of it.
        next_step: what to do about it.
        code: what happened in one word, such as "http_503"; nothing of what the server says.
    """

    def __init__(self, message: str, next_step: str, code: str) -> None:
        super().__init__(message, next_step)
        self.code = code


class ValidationError(HfvaccineError):
    """Probes that cannot be scored honestly: too few, NaN, contaminated."""


class HubError(HfvaccineError):
    """A Hub, real or embedded, that refused or cannot be reached."""


class PublishError(HfvaccineError):
    """Something that must not be published as it stands."""


class SignatureError(HfvaccineError):
    """A signature that could not be made, is not the one that was asked for, or cannot be looked at."""


class LineageError(HfvaccineError):
    """An adapter whose papers do not bind it to what it was made from."""


class SurveillanceError(HfvaccineError):
    """A monitor's state that cannot be used, or a round or baseline that does not belong in it.

    Of a monitor 1 is an alarm, which this is not.
    """

    exit_code = 2


class LocalHubError(HfvaccineError):
    """The embedded Hub cannot start or its state cannot be used."""


class RunInterrupted(HfvaccineError):
    """Training was stopped by Ctrl-C; the run folder can be resumed."""
