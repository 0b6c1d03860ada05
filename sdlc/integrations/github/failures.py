"""What GitHub says when it refuses, as one of our errors.

Sources: "Rate limits for the REST API", "Troubleshooting the REST API" and "Permissions required for
fine-grained personal access tokens" in GitHub's documentation.
"""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any

from github import GithubException

from sdlc.errors import (
    BranchConflict,
    FinalError,
    NothingChanged,
    PermissionDenied,
    RepositoryInvalid,
    SdlcError,
    ServiceUnavailable,
)

SECONDARY_SECONDS = 60.0
"""What GitHub asks for where a secondary limit comes without a `Retry-After`."""
_LONGEST = 3_600.0 * 2
"""A clock that goes wrong must not hold a run up for a day."""
_SECONDARY = ("secondary rate limit", "abuse detection", "submitted too quickly", "wait a few minutes before")
_MAX_SAID = 300


def failure_of(error: GithubException, *, doing: str, now: float | None = None) -> SdlcError:
    """The error for an answer of GitHub; `doing` says what was wanted, as in "reading acme/parcel".

    `now` in seconds since 1970. Raises nothing.
    """
    now = time.time() if now is None else now
    status = int(error.status or 0)
    headers = {str(name).lower(): str(value) for name, value in (error.headers or {}).items()}
    said = said_of(error)
    kinds = _graphql_kinds(error.data)
    if "RATE_LIMITED" in kinds or status in (403, 429) or (status == 422 and _is_secondary(said)):
        limited = _limit(status, headers, said, doing, now, certain="RATE_LIMITED" in kinds)
        if limited is not None:
            return limited
    if status >= 500 or status in (408, 0):
        later = retry_after(headers, now)
        return ServiceUnavailable(
            f"GitHub failed while {doing} ({status}: {said}); it is tried again.", retry_after=later
        )
    if status == 401:
        return PermissionDenied(_token_refused(headers, said, doing))
    if "archived" in said.casefold() and status in (403, 404, 405, 422):
        return RepositoryInvalid(f"GitHub refused {doing}: the repository is archived; unarchive it, or take another.")
    if status == 403 or "FORBIDDEN" in kinds or "INSUFFICIENT_SCOPES" in kinds:
        return PermissionDenied(_permission_missing(headers, said, doing))
    if status in (404, 410, 451) or "NOT_FOUND" in kinds:
        return RepositoryInvalid(_not_there(headers, said, doing))
    if status == 409 and "empty" in said.casefold():
        return RepositoryInvalid(f"GitHub refused {doing}: the repository is empty; push a first commit.")
    if status in (405, 409):
        return BranchConflict(f"GitHub refused {doing} ({said}).")
    if status == 422 and "no commits between" in said.casefold():
        return NothingChanged(f"GitHub refused {doing}: the branch has nothing that the base does not have ({said}).")
    if status == 422 and "protected branch" in said.casefold():
        return PermissionDenied(f"GitHub refused {doing}: the branch is protected ({said}).")
    return FinalError(f"GitHub refused {doing} ({status}: {said}).")


def said_of(error: GithubException) -> str:
    """What GitHub says in its answer, on one line and cut."""
    data = error.data
    parts: list[str] = []
    if isinstance(data, dict):
        if data.get("message"):
            parts.append(str(data["message"]))
        listed = data.get("errors")
        for item in listed if isinstance(listed, list) else [listed] if listed else []:
            parts.append(_one_error(item))
    elif data:
        parts.append(str(data))
    line = " ".join("; ".join(part for part in parts if part).split()) or (error.message or "no reason given")
    return line if len(line) <= _MAX_SAID else line[: _MAX_SAID - 1] + "…"


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds until GitHub wants to be asked again, by `Retry-After` (a number or a date); None without one."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - now
        except ValueError:
            return None
    return _bounded(seconds)


def is_missing(error: BaseException) -> bool:
    """Is it GitHub's word that something is not there?"""
    return isinstance(error, GithubException) and int(error.status or 0) in (404, 410)


def _limit(
    status: int, headers: Mapping[str, str], said: str, doing: str, now: float, *, certain: bool
) -> ServiceUnavailable | None:
    later = retry_after(headers, now)
    if _is_secondary(said) or (later is not None and headers.get("x-ratelimit-remaining") != "0"):
        wait = later if later is not None else SECONDARY_SECONDS
        return ServiceUnavailable(
            f"GitHub's secondary rate limit was met while {doing}; it goes on by itself in {wait:.0f} s. "
            "Fewer runs at once help.",
            retry_after=wait,
        )
    primary = headers.get("x-ratelimit-remaining") == "0" or said.casefold().startswith("api rate limit exceeded")
    if not primary and not certain and status != 429:
        return None
    wait = later if later is not None else _until_reset(headers, now)
    return ServiceUnavailable(
        f"GitHub's rate limit of {headers.get('x-ratelimit-limit', 'all')} requests an hour is used up while {doing}; "
        f"it goes on by itself in {wait:.0f} s.",
        retry_after=wait,
    )


def _until_reset(headers: Mapping[str, str], now: float) -> float:
    try:
        # A second more, as both clocks count whole ones.
        return _bounded(float(headers["x-ratelimit-reset"]) - now + 1)
    except (KeyError, ValueError):
        return SECONDARY_SECONDS


def _bounded(seconds: float) -> float:
    """Not a number is never less or more than another, hence the order."""
    return min(max(1.0, seconds), _LONGEST) if seconds == seconds else SECONDARY_SECONDS


def _is_secondary(said: str) -> bool:
    return any(words in said.casefold() for words in _SECONDARY)


def _token_refused(headers: Mapping[str, str], said: str, doing: str) -> str:
    end = headers.get("github-authentication-token-expiration", "")
    when = f"; it expires {end}" if end else ""
    return (
        f"GitHub refused the token while {doing} ({said}{when}); it is wrong, has expired or was revoked. "
        "Set a new one in github.token."
    )


def _permission_missing(headers: Mapping[str, str], said: str, doing: str) -> str:
    if sso := re.search(r"url=(\S+)", headers.get("x-github-sso", "")):
        return f"GitHub refused {doing}: the token must be authorised for the organisation's single sign-on at {sso[1]}"
    if missing := _missing(headers):
        return f"GitHub refused {doing} ({said}); the token needs {missing}."
    return f"GitHub refused {doing} ({said}); the token's owner, or the App, needs access of that kind."


def _missing(headers: Mapping[str, str]) -> str:
    """What would have been accepted, and of scopes only if none of them is there."""
    if permissions := headers.get("x-accepted-github-permissions", "").strip():
        # `a=read,b=write; c=read`: all of one group, or all of the other.
        groups = [
            " and ".join(_permission(one) for one in group.split(",") if one.strip())
            for group in permissions.split(";")
        ]
        return "the permission " + ", or ".join(group for group in groups if group)
    has = _scopes(headers.get("x-oauth-scopes", ""))
    accepted = _scopes(headers.get("x-accepted-oauth-scopes", ""))
    if accepted and not has & accepted:
        shown = ", ".join(sorted(has)) or "none"
        return f"the scope {' or '.join(sorted(accepted))} (it has {shown})"
    return ""


def _permission(text: str) -> str:
    name, _, level = text.strip().partition("=")
    return f"{name} ({level})" if level else name


def _scopes(text: str) -> set[str]:
    return {scope.strip() for scope in text.split(",") if scope.strip()}


def _not_there(headers: Mapping[str, str], said: str, doing: str) -> str:
    hint = "check the name, and that the token may see it"
    if "x-oauth-scopes" in headers and "repo" not in _scopes(headers["x-oauth-scopes"]):
        has = headers["x-oauth-scopes"].strip() or "none"
        hint += f": private repositories need the scope repo (it has {has})"
    elif missing := _missing(headers):
        hint += f", which needs {missing}"
    return f"GitHub found nothing while {doing} ({said}); {hint}."


def _one_error(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    if item.get("message"):
        return str(item["message"])
    return " ".join(str(item[key]) for key in ("resource", "field", "code") if item.get(key))


def _graphql_kinds(data: Any) -> set[str]:
    errors = data.get("errors") if isinstance(data, dict) else None
    if not isinstance(errors, list):
        return set()
    return {str(item["type"]) for item in errors if isinstance(item, dict) and item.get("type")}
