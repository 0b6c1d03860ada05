"""Every error that the system raises on purpose.

    SdlcError
    ├── UsageError            wrong use: told to the caller, exit code 2
    │   ├── ConfigurationError    a setting is wrong or missing
    │   ├── TicketInvalid         the ticket file can't be read as a ticket
    │   ├── RepositoryInvalid     not a repository, empty, or needs something we can't give
    │   └── RunNotFound           no such run, or it is over
    ├── FinalError            the input is at fault: not retried, a person is asked
    │   ├── TicketNotFound
    │   ├── TicketTaken           claimed by somebody else
    │   ├── PermissionDenied      names the permission that is missing
    │   ├── ModelRefused          the model's endpoint won't take the request
    │   │   ├── ModelKeyRefused       a bad key, or one without the right to this model
    │   │   ├── ContentRefused        the model, or its filter, declines to answer
    │   │   └── ContextTooLong        the conversation is longer than the model takes
    │   ├── ModelAnswerInvalid    not the JSON that was asked for, after one repair
    │   ├── EngineUnusable        a coding engine isn't installed, has another version, or can't be started
    │   ├── SandboxUnavailable    repository code will not be run without one
    │   ├── GuardRailViolation    the change touches what it may not
    │   ├── BranchConflict        somebody else's work is on our branch
    │   └── NothingChanged        the engine ended without a change
    └── WorldError            the world is at fault: retried
        ├── ServiceUnavailable    429, 5xx, time-out, connection refused; may know when to come back
        └── WorkspaceBroken       a clone or worktree is damaged; made anew on the next try
            ├── ArtifactMissing       a document is not in the artifact folder, or damaged
            └── PayloadMissing        a payload of a history is not there: a worker with another folder

A message says what is wrong, where, and what to do next, in one sentence or two.
"""

from __future__ import annotations


class SdlcError(Exception):
    """Base of all our errors; `str(error)` is fit for a person."""


class UsageError(SdlcError):
    pass


class ConfigurationError(UsageError):
    pass


class TicketInvalid(UsageError):
    pass


class RepositoryInvalid(UsageError):
    pass


class RunNotFound(UsageError):
    pass


class FinalError(SdlcError):
    pass


class TicketNotFound(FinalError):
    pass


class TicketTaken(FinalError):
    pass


class PermissionDenied(FinalError):
    pass


class ModelRefused(FinalError):
    pass


class ModelKeyRefused(ModelRefused):
    pass


class ContentRefused(ModelRefused):
    pass


class ContextTooLong(ModelRefused):
    """Asking again with less may help."""


class ModelAnswerInvalid(FinalError):
    pass


class EngineUnusable(FinalError):
    pass


class SandboxUnavailable(FinalError):
    pass


class GuardRailViolation(FinalError):
    pass


class BranchConflict(FinalError):
    pass


class NothingChanged(FinalError):
    pass


class WorldError(SdlcError):
    pass


class ServiceUnavailable(WorldError):
    """`retry_after` in seconds, where the service said when to come back."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class WorkspaceBroken(WorldError):
    pass


class ArtifactMissing(WorkspaceBroken):
    """Retried: another host's store may be a moment behind, and a person can put the folder back."""


class PayloadMissing(WorkspaceBroken):
    """Temporal repeats what needed it."""


def _subclasses(root: type[SdlcError]) -> list[type[SdlcError]]:
    found = [root]
    for child in root.__subclasses__():
        found.extend(_subclasses(child))
    return found


PASSING: frozenset[str] = frozenset(error.__name__ for error in _subclasses(WorldError))
"""Names of errors that are nobody's to mend here: they are over when the service is back."""

NON_RETRYABLE: tuple[str, ...] = tuple(
    sorted({error.__name__ for root in (UsageError, FinalError) for error in _subclasses(root)})
)
"""Error type names for `RetryPolicy.non_retryable_error_types`: Temporal knows errors by name."""
