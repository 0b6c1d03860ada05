"""Tickets found by JQL: those that are taken unasked, and those that we look after. Waits for the network."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import structlog

from sdlc.config.jira import JiraSettings
from sdlc.errors import ConfigurationError, FinalError
from sdlc.integrations.jira import jql
from sdlc.integrations.jira.client import JiraClient

_PAGE = 50
_MOST_LOOKED_AT = 500
_MOST_LOOKED_AFTER = 200
_NO_BOARDS = re.compile(r"sprint|rank", re.IGNORECASE)

log = structlog.get_logger(__name__)
Json = dict[str, Any]
Page = tuple[list[Json], str | int | None]
"""Issues, and what the next page is asked for with; None after the last."""


class Selection:
    """What the settings select on one server. Raises ConfigurationError for a query that Jira refuses."""

    def __init__(self, client: JiraClient, settings: JiraSettings) -> None:
        self.client = client
        self.settings = settings
        self._boards = True

    def issues(self) -> Iterator[Json]:
        """The tickets of the selection in its order. A server without sprints and ranks is asked without them."""
        pages = self._first_pages()
        for query, page in zip(jql.queries(self.settings, boards=self._boards), pages, strict=True):
            yield from self._following(query, page, _MOST_LOOKED_AT)

    def has(self, key: str, issue_id: str) -> bool:
        """Is this ticket among them, whatever the index of the search has heard of it so far?"""
        query = jql.of_one(self.settings, key)
        try:
            issues, _ = self._page(query, None, fresh=issue_id)
        except FinalError as error:
            raise _refused(query, error) from None
        return any(str(issue.get("id")) == issue_id for issue in issues)

    def looked_after(self, minutes: int) -> Iterator[Json]:
        """Tickets of ours in which something happened in the last `minutes`, the latest first, at most 200."""
        query = jql.looked_after(self.settings, minutes)
        try:
            page = self._page(query, None, fields="updated")
        except FinalError as error:
            raise _refused(query, error) from None
        yield from self._following(query, page, _MOST_LOOKED_AFTER, fields="updated")

    def _following(self, query: str, page: Page, most: int, *, fields: str = "") -> Iterator[Json]:
        issues, following = page
        seen = len(issues)
        yield from issues
        while following is not None and seen < most:
            issues, following = self._page(query, following, fields=fields)
            seen += len(issues)
            yield from issues
        if following is not None:
            log.warning("jira_selection_cut", query=query, looked_at=seen)

    def _first_pages(self) -> list[Page]:
        """Of every query, before the first ticket is given on: a bad one fails before anything is written."""
        queries = jql.queries(self.settings, boards=self._boards)
        try:
            return [self._page(query, None) for query in queries]
        except FinalError as error:
            if self.settings.jql or not self._boards or not _NO_BOARDS.search(str(error)):
                raise _refused(" / ".join(queries), error) from None
            log.info("jira_without_boards", reason=str(error))
        self._boards = False
        return self._first_pages()

    def _page(self, query: str, following: str | int | None, *, fields: str = "", fresh: str = "") -> Page:
        """A page of issues, and what to ask the next one with; None after the last.

        `fresh` is the id of an issue that is to be found as it is now.
        """
        params: Json = {"jql": query, "fields": fields or ",".join(jql.FIELDS), "maxResults": _PAGE}
        is_cloud = self.client.server.is_cloud
        if following is not None:
            params["nextPageToken" if is_cloud else "startAt"] = following
        if fresh and is_cloud:
            params["reconcileIssues"] = fresh
        found = self.client.get(
            "search/jql" if is_cloud else "search",
            doing="search for tickets",
            needs="Browse Projects",
            params=params,
        )
        issues = [issue for issue in found.get("issues", []) if isinstance(issue, dict)]
        if is_cloud:
            return issues, found.get("nextPageToken") if not found.get("isLast") else None
        after = int(found.get("startAt", 0)) + len(issues)
        return issues, after if issues and after < int(found.get("total", 0)) else None


def _refused(query: str, error: FinalError) -> ConfigurationError:
    return ConfigurationError(
        f"The selection of tickets can't be used; check jira.jql, jira.projects and jira.label. {error} "
        f"The query was: {query}"
    )
