"""GitHub's REST and GraphQL API through PyGithub, without blocking the event loop.

PyGithub's `Requester` sends, signs and reads; which call is made when stands in the modules beside this
one. It repeats nothing by itself here (`retry=None`): by default it would send a POST again after a 5xx,
and the first one may have had its effect.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from github import Auth, Github, GithubException
from github.Requester import Requester

from sdlc.config.github import GitHubSettings
from sdlc.errors import PermissionDenied, SdlcError, ServiceUnavailable
from sdlc.integrations.github.failures import failure_of
from sdlc.integrations.github.tokens import Tokens
from sdlc.integrations.github.transport import API_VERSION, USER_AGENT, guarded

PER_PAGE = 100
MAX_DOWNLOAD = 50 * 1024**2
"""Bytes of a job's log that are read."""
_REMEMBERED_BYTES = 64 * 1024**2
"""Of answers that are kept to be asked for conditionally: about 15 kB for each run that waits for people."""
_REPOSITORY = re.compile(r"/repos/(?P<name>[^/]+/[^/]+)")


@dataclass(frozen=True)
class Answer:
    status: int
    data: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.status < 400


class Api:
    """Calls to one GitHub. Each takes `doing`, which says in an error what was wanted."""

    def __init__(self, settings: GitHubSettings, tokens: Tokens) -> None:
        self.settings = settings
        self.tokens = tokens
        self._free: deque[tuple[str, Requester]] = deque()
        self._remembered: OrderedDict[str, tuple[str, bytes]] = OrderedDict()
        self._remembered_bytes = 0

    async def get(
        self, path: str, *, doing: str, accept: Collection[int] = (), repository: str = "", **query: Any
    ) -> Answer:
        """GET, conditionally where the answer is known already: an unchanged one costs nothing of the rate limit.

        `repository` says whose token is taken for a path that names none.
        """
        key = f"{path}?{sorted(query.items())}"
        known = self._remembered.get(key)
        headers = {"If-None-Match": known[0]} if known else {}
        answer = await self.call(
            "GET", path, doing=doing, query=query, headers=headers, accept=accept, repository=repository
        )
        if known is not None and answer.ok and answer.data is None:
            self._remembered.move_to_end(key)
            return Answer(200, json.loads(known[1]), answer.headers)
        if answer.ok and (etag := answer.headers.get("etag")):
            self._remember(key, etag, answer.data)
        return answer

    def _remember(self, key: str, etag: str, data: Any) -> None:
        content = json.dumps(data, separators=(",", ":")).encode()
        before = self._remembered.pop(key, ("", b""))[1]
        self._remembered[key] = (etag, content)
        self._remembered_bytes += len(content) - len(before)
        while self._remembered_bytes > _REMEMBERED_BYTES:
            self._remembered_bytes -= len(self._remembered.popitem(last=False)[1][1])

    async def pages(
        self, path: str, *, doing: str, key: str = "", most: int = 100, **query: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """The items of a list, at most `most` pages; `key` where the list is a part of an object."""
        for page in range(1, most + 1):
            answer = await self.get(path, doing=doing, **query, per_page=PER_PAGE, page=page)
            items = answer.data.get(key) if key and isinstance(answer.data, dict) else answer.data
            if not isinstance(items, list):
                raise ServiceUnavailable(f"GitHub's answer was no list while {doing}; it is tried again.")
            for item in items:
                yield item
            link = answer.headers.get("link", "")
            if 'rel="next"' not in link and (link or len(items) < PER_PAGE):
                return

    async def listed(self, path: str, *, doing: str, key: str = "", most: int = 100, **query: Any) -> list[Any]:
        """All that `pages` gives."""
        return [item async for item in self.pages(path, doing=doing, key=key, most=most, **query)]

    async def call(
        self,
        verb: str,
        path: str,
        *,
        doing: str,
        body: Any = None,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (),
        repository: str = "",
    ) -> Answer:
        """One request. A status in `accept` is no error, unless it is a limit: that is always ServiceUnavailable.

        Raises what `failure_of` makes of any other refusal.
        """
        found = _REPOSITORY.match(path)
        sent = {"Accept": "application/vnd.github+json", **(headers or {})}

        def send(requester: Requester) -> Answer:
            try:
                got, data = requester.requestJsonAndCheck(
                    verb, path, parameters=dict(query or {}), headers=dict(sent), input=body
                )
            except GithubException as error:
                failure = failure_of(error, doing=doing)
                if error.status in accept and not isinstance(failure, ServiceUnavailable):
                    return Answer(int(error.status), error.data, error.headers or {})
                raise failure from error
            return Answer(200, data, {str(name): str(value) for name, value in got.items()})

        return await self._sent(send, found["name"] if found else repository, doing)

    async def graphql(self, query: str, variables: Mapping[str, Any], *, repository: str, doing: str) -> dict[str, Any]:
        """The `data` of a GraphQL query."""

        def send(requester: Requester) -> Answer:
            got, data = requester.graphql_query(query, dict(variables))
            return Answer(200, data, got)

        answer = await self._sent(send, repository, doing)
        return dict(answer.data.get("data") or {})

    async def download(self, path: str, *, doing: str) -> str | None:
        """The text behind a redirect, such as the log of a job; None if it is gone.

        The token stays with GitHub: the place to which it sends us gets none.
        """
        found = _REPOSITORY.match(path)

        def send(requester: Requester) -> Answer:
            # PyGithub itself follows to hosts of GitHub only, and logs lie elsewhere.
            status, got, text = requester.requestJson("GET", path)
            if status >= 400:
                raise requester.createException(status, got, {"message": text[:300]})
            return Answer(status, text, got)

        try:
            answer = await self._sent(send, found["name"] if found else "", doing)
        except SdlcError as error:
            if isinstance(error.__cause__, GithubException) and error.__cause__.status in (404, 410):
                return None
            raise
        location = answer.headers.get("location", "")
        if answer.status not in (301, 302, 307) or not location:
            return str(answer.data)[-MAX_DOWNLOAD:]
        if urlsplit(location).scheme != urlsplit(self.settings.base_url).scheme and not location.startswith("https://"):
            raise PermissionDenied(f"GitHub named an unsafe address while {doing}; nothing was read.")
        return await self._fetched(location, doing)

    async def _fetched(self, location: str, doing: str) -> str | None:
        got = bytearray()
        try:
            async with (
                httpx.AsyncClient(timeout=self.settings.timeout_seconds, follow_redirects=False) as client,
                client.stream("GET", location) as response,
            ):
                if response.status_code in (404, 410):
                    return None
                if response.status_code != 200:
                    raise ServiceUnavailable(f"{response.status_code} came while {doing}; it is tried again.")
                async for chunk in response.aiter_bytes():
                    got += chunk
                    if len(got) > MAX_DOWNLOAD:
                        # The end tells more than the beginning.
                        del got[: len(got) - MAX_DOWNLOAD // 2]
        except httpx.HTTPError as error:
            raise ServiceUnavailable(f"Nothing was reached while {doing} ({type(error).__name__}).") from error
        return got.decode("utf-8", "replace")

    async def _sent(self, send: Any, repository: str, doing: str) -> Answer:
        token = await self.tokens.token(repository)
        try:
            return await asyncio.to_thread(self._in_thread, send, token, doing)
        except PermissionDenied as error:
            refused = isinstance(error.__cause__, GithubException) and error.__cause__.status == 401
            if not refused or not self.tokens.forget(token):
                raise
        # Nothing was done with a token that is refused, so it is safe to ask again with another.
        return await asyncio.to_thread(self._in_thread, send, await self.tokens.token(repository), doing)

    def _in_thread(self, send: Any, token: str, doing: str) -> Answer:
        # A requester keeps the request under way in its connection, so no two threads may share one.
        requester = self._taken(token)
        try:
            with guarded(doing):
                answer: Answer = send(requester)
        except SdlcError as error:
            if isinstance(error.__cause__, GithubException):
                self._free.append((token, requester))
            else:
                requester.close()
            raise
        self._free.append((token, requester))
        return answer

    def _taken(self, token: str) -> Requester:
        while True:
            try:
                known, requester = self._free.popleft()
            except IndexError:
                break
            if known == token:
                return requester
            requester.close()
        return Github(
            auth=Auth.Token(token),
            base_url=self.settings.base_url,
            timeout=self.settings.timeout_seconds,
            retry=None,
            user_agent=USER_AGENT,
            api_version=API_VERSION,
            seconds_between_requests=self.settings.seconds_between_requests,
            seconds_between_writes=self.settings.seconds_between_writes,
        ).requester

    def close(self) -> None:
        """Close the connections that nobody uses at the moment."""
        while self._free:
            with closing(self._free.popleft()[1]):
                pass


def segment(text: str) -> str:
    """A name as a part of a path; a branch keeps its slashes."""
    return quote(text, safe="/")
