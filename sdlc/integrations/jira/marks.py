"""The hidden mark by which a comment of ours is found again: which run wrote it, on what.

On Cloud it is a property of the comment, which is made in the same request as the comment. On Data Center it stands
in the text, as the name of an anchor, which nobody sees.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sdlc.domain import RunIdentity

PROPERTY = "vishkar-sdlc"
_ANCHOR = re.compile(r"\{anchor:sdlc-([\w-]{1,4000})\}")


@dataclass(frozen=True)
class Mark:
    marker: str
    """`RunIdentity.marker`."""
    workflow: str
    topic: str
    live: bool = False
    """Of a claim: does it still hold?"""

    @classmethod
    def of(cls, run: RunIdentity, topic: str, *, live: bool = False) -> Mark:
        return cls(run.marker, run.workflow_id, topic, live)

    @property
    def value(self) -> dict[str, Any]:
        """As a property holds it."""
        return {"marker": self.marker, "workflow": self.workflow, "topic": self.topic, "live": self.live}

    @property
    def anchor(self) -> str:
        """As a text holds it, on a line of its own."""
        packed = json.dumps([self.marker, self.workflow, self.topic, self.live], separators=(",", ":")).encode()
        return f"{{anchor:sdlc-{base64.urlsafe_b64encode(packed).decode().rstrip('=')}}}"


def of_value(value: object) -> Mark | None:
    """The mark of a property's value."""
    if not isinstance(value, Mapping):
        return None
    return _checked(value.get("marker"), value.get("workflow"), value.get("topic"), value.get("live"))


def of_text(text: object) -> Mark | None:
    """The mark in a comment's wiki markup: the last one, which is where we put it."""
    packed = _ANCHOR.findall(text)[-1:] if isinstance(text, str) else []
    if not packed:
        return None
    try:
        found = json.loads(base64.urlsafe_b64decode(packed[0] + "=" * (-len(packed[0]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    return _checked(*found) if isinstance(found, list) and len(found) == 4 else None


def without_anchor(text: str) -> str:
    return _ANCHOR.sub("", text).strip()


def _checked(marker: object, workflow: object, topic: object, live: object) -> Mark | None:
    if isinstance(marker, str) and isinstance(workflow, str) and isinstance(topic, str):
        return Mark(marker, workflow, topic, live is True)
    return None
