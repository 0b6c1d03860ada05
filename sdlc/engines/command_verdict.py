"""How the run of a program ended, and what that means: pure decisions, and the sentences for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sdlc.errors import EngineUnusable, ModelKeyRefused, SdlcError, ServiceUnavailable

if TYPE_CHECKING:
    from sdlc.integrations.gateway import Trouble
    from sdlc.integrations.git.diff import ChangedFile
    from sdlc.integrations.sandbox import Limit

FEW_FILES = 20
"""A change that removes fewer files than this is never taken for an accident."""

_LIMITS: dict[Limit, str] = {
    "time": "the time of this step was over",
    "cpu": "it used more processor time than sandbox.cpu_seconds",
    "memory": "it used more memory than sandbox.memory_bytes",
    "processes": "it started more processes than sandbox.processes",
    "disk": "it wrote more to disk than sandbox.disk_bytes",
    "file": "it wrote a file larger than sandbox.file_bytes",
    "output": "it printed more than a gigabyte",
}


@dataclass(frozen=True)
class End:
    """How a program's run ended."""

    exit_code: int | None = None
    """None: it was stopped, or not begun."""
    limit: Limit | None = None
    stopped: str = ""
    """`turns`, `budget`, `time` or `interrupted`; empty: nobody stopped it on purpose."""
    reason: str = ""
    trouble: Trouble | None = None
    """Why the model's last call failed."""


def verdict(end: End, label: str, *, changed: bool, left_out: str = "", said: str = "") -> tuple[str, str]:
    """(`EngineResult.ended`, its reason). `label` names the program, `said` is what it printed last.

    Raises ModelKeyRefused, ServiceUnavailable and EngineUnusable where nothing was changed and that is why.
    """
    told = _told(end, said)
    if end.stopped:
        return end.stopped, end.reason
    if end.limit is None and end.exit_code == 0 and changed:
        return "submitted", left_out
    if not changed and end.trouble is not None and (error := _as_error(end.trouble, label)) is not None:
        raise error
    if end.limit == "time":
        return "time", " ".join(filter(None, [_failed(end, label), left_out, told]))
    if changed:
        return "submitted", " ".join(filter(None, [f"{_failed(end, label)} What it did is kept.", left_out, told]))
    if left_out:
        return "failed", f"Nothing that {label} changed could be kept. {left_out}"
    if end.limit is None and end.exit_code == 0:
        return "no_change", f"{label} ended as if all were well, but changed no file. {told}".strip()
    if end.limit is None and end.exit_code in (126, 127):
        raise EngineUnusable(f"{label} could not be started, or a command that it needs is missing. {told}".strip())
    return "failed", f"{_failed(end, label)} It changed no file. {told}".strip()


def emptied(changed: Sequence[ChangedFile], files_before: int) -> str:
    """What makes a change look like an accident, which people look at first; empty if nothing does."""
    removed = sum(file.status == "D" for file in changed)
    if removed < FEW_FILES or 2 * removed <= files_before:
        return ""
    return f"it deleted {removed:,} of the repository's {files_before:,} files"


def _as_error(trouble: Trouble, label: str) -> SdlcError | None:
    status = trouble.status
    if status in (401, 403):
        return ModelKeyRefused(
            f"The model's endpoint refused the key of {label} (HTTP {status}: {trouble.message}); "
            "set engine.api_key, or llm.api_key where engine.base_url is not set."
        )
    if status in (0, 408, 429) or status >= 500:
        why = f"HTTP {status}" if status else "not reached"
        return ServiceUnavailable(
            f"{label} got no answer from its model ({why}: {trouble.message}); it is started again.",
            retry_after=trouble.retry_after,
        )
    return None


def _failed(end: End, label: str) -> str:
    if end.limit is not None:
        return f"{label} was stopped: {_LIMITS[end.limit]}."
    return f"{label} ended with exit code {end.exit_code}."


def _told(end: End, said: str) -> str:
    model = f"Its model's last answer: {end.trouble.message}" if end.trouble is not None else ""
    return " ".join(filter(None, [model, f"It printed last: {' | '.join(said.splitlines())}" if said else ""]))
