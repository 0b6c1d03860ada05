"""Who approves what: policies by repository, and groups of people."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping

from pydantic import Field

from sdlc.config.section import Section
from sdlc.domain import ApprovalPolicy, Seconds, Source
from sdlc.errors import ConfigurationError


class ApprovalSettings(Section):
    """What is left out is as `run.approval` says."""

    repositories: tuple[str, ...]
    """Names as `owner/name`, with `*` for any part."""
    required: int | None = Field(default=None, ge=1)
    protected_required: int | None = Field(default=None, ge=0)
    """Approvals where the change touches protected paths."""
    approvers: tuple[str, ...] | None = None
    """Names, or `@group`."""
    code_owners: bool | None = None
    sources: tuple[Source, ...] | None = None
    allow_starter: bool | None = None
    deadline_seconds: Seconds | None = None
    reminder_seconds: tuple[Seconds, ...] | None = None
    escalate_to: tuple[str, ...] | None = None
    escalate_seconds: Seconds | None = None


def policy_for(repository: str, general: ApprovalPolicy, special: Iterable[ApprovalSettings]) -> ApprovalPolicy:
    """The general policy, with what the first fitting entry says differently. Case does not count."""
    name = repository.casefold()
    for entry in special:
        if any(fnmatch.fnmatchcase(name, pattern.casefold()) for pattern in entry.repositories):
            return general.model_copy(update=entry.model_dump(exclude={"repositories"}, exclude_none=True))
    return general


def expanded(policy: ApprovalPolicy, groups: Mapping[str, Iterable[str]]) -> ApprovalPolicy:
    """The policy with people in place of groups. Raises ConfigurationError for a group that is not there."""
    return policy.model_copy(
        update={
            "approvers": _people(policy.approvers, groups, "approvers"),
            "escalate_to": _people(policy.escalate_to, groups, "escalate_to"),
        }
    )


def _people(names: Iterable[str], groups: Mapping[str, Iterable[str]], setting: str) -> tuple[str, ...]:
    people: list[str] = []
    for name in names:
        if not name.startswith("@"):
            people.append(name)
        elif name[1:] in groups:
            people += groups[name[1:]]
        else:
            known = ", ".join(f"@{group}" for group in groups) or "none yet"
            raise ConfigurationError(
                f"`{setting}` names {name}, and there is no such group (there is {known}); add it to `groups`."
            )
    return tuple(dict.fromkeys(people))
