"""Checks of the local forge: it runs none itself, and reports what a person or a script puts beside a pull request."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sdlc.domain import CiReport, CiState, TestFailure
from sdlc.errors import ConfigurationError

_MAX_FAILURES = 50


def read_checks(text: str, path: Path, head_sha: str) -> CiReport:
    """What `checks.json` says about a head; NONE without the file or when it is about another head.

    `{"state": "green|red|pending", "failures": [{"test": …, "message": …}], "head_sha": …, "note": …}`,
    all but the state optional. Raises ConfigurationError for what can't be read so; `path` is for the message.
    """
    if not text.strip():
        return _none(head_sha, "the local forge runs no checks of its own")
    try:
        said: dict[str, Any] = dict(json.loads(text))
        state = CiState(str(said["state"]).lower())
        failures = tuple(TestFailure.model_validate(failure) for failure in said.get("failures") or ())
    except (ValueError, TypeError, KeyError) as error:
        problem = " ".join(str(error).split())[:200]
        raise ConfigurationError(
            f"{path} can't be read as checks ({problem}); "
            'write {"state": "green"}, or "red" with "failures", or remove it.'
        ) from error
    about = str(said.get("head_sha") or head_sha)
    if not head_sha.startswith(about):
        return _none(head_sha, f"the checks that are known are about {about[:10]}")
    return CiReport(state=state, head_sha=head_sha, failures=failures[:_MAX_FAILURES], note=str(said.get("note") or ""))


def _none(head_sha: str, note: str) -> CiReport:
    return CiReport(state=CiState.NONE, head_sha=head_sha, note=note)
