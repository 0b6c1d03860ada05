"""What goes wrong between us and Jira, in our words: without its pages, its headers and our token.

429, 5xx, time-outs and cut connections are the world's fault (`ServiceUnavailable`, with when to come back where
Jira says so). 403 is `PermissionDenied` and names the permission, 404 of a ticket `TicketNotFound`, a wrong
address, certificate or token `ConfigurationError`, and what Jira refuses to do `FinalError`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import requests
from jira import JIRAError

from sdlc.errors import (
    ConfigurationError,
    FinalError,
    PermissionDenied,
    SdlcError,
    ServiceUnavailable,
    TicketNotFound,
)
from sdlc.integrations.answers import LONGEST_RETRY_AFTER, redacted, seconds_until, shown_url

_WRONG_ADDRESS = (
    requests.exceptions.MissingSchema,
    requests.exceptions.InvalidSchema,
    requests.exceptions.InvalidURL,
    requests.exceptions.TooManyRedirects,
    requests.exceptions.InvalidHeader,
)
_PASSING = frozenset({408, 409, 423, 425, 429})
"""Besides 5xx. 409 is what Jira answers to two changes of an issue at once."""
_NOT_ASSIGNABLE = re.compile(r"cannot be assigned|can't be assigned|not assignable", re.IGNORECASE)
_NOT_PERMITTED = re.compile(r"do(?:es)? not have (?:the )?permission", re.IGNORECASE)
_UNKNOWN_HOST = re.compile(r"NameResolutionError|getaddrinfo|Name or service not known", re.IGNORECASE)


@dataclass(frozen=True)
class Asked:
    """What was asked of Jira: for messages."""

    url: str
    doing: str
    """As in "Jira refused to {doing}"."""
    needs: str = ""
    """The permission that it takes, as Jira's pages name it."""
    key: str = ""
    """The ticket it is about; empty for none."""
    scope: str = ""
    """Which scope an OAuth token needs for it."""
    is_known: bool = False
    """This server has already answered as Jira does: a page of HTML is then a passing trouble."""
    may_lack: bool = False
    """That it is not there is an answer too (`Lacking`), such as a user who is not known."""
    secret: str = field(default="", repr=False)


class Lacking(FinalError):
    """404 of something that may not be there. Never leaves `JiraClient`."""


def translated(error: Exception, asked: Asked) -> SdlcError:
    """The failure as one of ours. Raise it `from None`: the original carries headers and text of the ticket."""
    url = shown_url(asked.url)
    if isinstance(error, JIRAError) and error.status_code:
        return _of_status(error, asked, url)
    if isinstance(error, requests.exceptions.SSLError):
        return ConfigurationError(
            f"The certificate of {url} is not one that is trusted; give the file of your authority's certificates "
            f"as jira.verify. ({redacted(str(error), asked.secret, limit=200)})"
        )
    if isinstance(error, _WRONG_ADDRESS):
        return ConfigurationError(
            f"{url or 'The address of Jira'} can't be asked ({type(error).__name__}); check jira.url and jira.token."
        )
    if isinstance(error, requests.exceptions.Timeout):
        return ServiceUnavailable(f"Jira at {url} did not answer in time when asked to {asked.doing}.")
    if isinstance(error, RecursionError):
        return FinalError(f"What Jira answers when asked to {asked.doing} is nested deeper than can be read.")
    if isinstance(error, ValueError) and not asked.is_known:
        return not_jira(url)
    if isinstance(error, requests.exceptions.RequestException) and not isinstance(error, ValueError):
        unknown = "; its host name is not known here, check jira.url" if _UNKNOWN_HOST.search(str(error)) else ""
        return ServiceUnavailable(f"The connection to Jira at {url} failed when asked to {asked.doing}{unknown}.")
    return ServiceUnavailable(
        f"Jira at {url} gave no answer to be understood when asked to {asked.doing} ({type(error).__name__})."
    )


def not_jira(url: str) -> ConfigurationError:
    """What answers there is no REST API of Jira: a log-in page, a proxy, another service."""
    return ConfigurationError(
        f"What answers at {shown_url(url)} is not Jira's REST API; check jira.url (its context path too, as in "
        "https://host/jira) and that no log-in page stands before it."
    )


def retry_after(headers: Mapping[str, str], *, now: datetime | None = None) -> float | None:
    """Seconds until Jira wants to be asked again: `Retry-After` (seconds or a date), else `X-RateLimit-Reset`."""
    try:
        if (delay := seconds_until(headers.get("Retry-After"), now=now)) is not None:
            return delay
        reset = datetime.fromisoformat(headers.get("X-RateLimit-Reset", ""))
    except (ValueError, TypeError, OverflowError):
        return None
    reset = reset if reset.tzinfo else reset.replace(tzinfo=UTC)
    return min(max((reset - (now or datetime.now(UTC))).total_seconds(), 0.0), LONGEST_RETRY_AFTER)


def _of_status(error: JIRAError, asked: Asked, url: str) -> SdlcError:
    status = error.status_code or 0
    headers: Mapping[str, str] = getattr(error.response, "headers", None) or {}
    said = _said(error, asked.secret)
    if status in _PASSING or status >= 500:
        return ServiceUnavailable(
            f"Jira at {url} answered {status} when asked to {asked.doing}{said}.", retry_after=retry_after(headers)
        )
    if "AUTHENTICATION_DENIED" in headers.get("X-Seraph-LoginReason", ""):
        return PermissionDenied(
            f"Jira at {url} wants a captcha solved after failed log-ins; log in there once by a browser as our user."
        )
    if status == 401 and "scope" in said.casefold():
        return PermissionDenied(
            f"The OAuth token may not be used to {asked.doing} (401): it lacks the scope "
            f"{asked.scope or 'read:jira-work or write:jira-work'}; give the app that scope and make a new token."
        )
    if status == 401:
        return ConfigurationError(
            f"Jira at {url} refuses the token (401); check jira.token, that it has not expired, and jira.email "
            "(set for an API token of Cloud, empty for a personal access token or OAuth)."
        )
    if status == 403 or (status == 400 and asked.needs and _NOT_PERMITTED.search(said)):
        needs = f'our user needs the permission "{asked.needs}"' if asked.needs else "our user may not do that"
        where = f" in the project of {asked.key}" if asked.key else ""
        return PermissionDenied(f"Jira refuses to {asked.doing} ({status}): {needs}{where}{said}.")
    if status == 404 and asked.may_lack:
        return Lacking(f"Jira at {url} has nothing there when asked to {asked.doing}.")
    if status == 404 and asked.key:
        return TicketNotFound(
            f"Jira at {url} has no ticket {asked.key}, or our user may not see it (permission "
            '"Browse Projects", and the issue security level).'
        )
    if status in (404, 405):
        return not_jira(url)
    if status == 400 and _NOT_ASSIGNABLE.search(said):
        where = f" in the project of {asked.key}" if asked.key else ""
        return PermissionDenied(
            f'Jira can\'t assign to our user: it needs the permission "Assignable User"{where}, '
            f"or set jira.assign to false{said}."
        )
    return FinalError(f"Jira refuses to {asked.doing} ({status}){said}.")


def _said(error: JIRAError, secret: str) -> str:
    """Jira's own words, as the end of a sentence. A page of HTML says nothing to a person."""
    text = error.text if isinstance(error.text, str) else ""
    shown = "" if "<html" in text[:2_000].casefold() else redacted(text, secret).rstrip(".")
    return f": {shown}" if shown else ""
