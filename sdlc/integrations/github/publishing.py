"""The panels' word on a pull request: statuses or Check Runs, comments on lines each once, and one summary."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, Literal

import structlog

from sdlc import markdown
from sdlc.config.github import GitHubSettings
from sdlc.domain import PullRequest, RunIdentity
from sdlc.errors import FinalError, PermissionDenied, UsageError
from sdlc.integrations.github.api import Api
from sdlc.integrations.github.check_runs import CheckRuns
from sdlc.integrations.github.comments import Comments
from sdlc.integrations.github.inline import MAX_FILES, Placed, cut_body, elsewhere, finding_body, identity_of, placed
from sdlc.integrations.github.marks import is_by_us, is_same, mark_of, without_mark
from sdlc.integrations.ports import Review

MAX_STATUS = 140
"""Characters of a status' description."""
RESOLVED = "**Resolved:** no longer open"

_THREADS = """query($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) { pullRequest(number: $number) {
    reviewThreads(first: 100, after: $after) {
      pageInfo { hasNextPage endCursor }
      nodes { id isResolved comments(first: 1) { nodes { databaseId } } } } } } }"""
_RESOLVE = """mutation($id: ID!) { resolveReviewThread(input: {threadId: $id}) { thread { id } } }"""
_REOPEN = """mutation($id: ID!) { unresolveReviewThread(input: {threadId: $id}) { thread { id } } }"""

log = structlog.get_logger(__name__)


class Publisher:
    """Publishes reviews; every part of it finds what it did before."""

    def __init__(self, api: Api, comments: Comments, settings: GitHubSettings) -> None:
        self.api = api
        self.comments = comments
        self.max_inline = settings.max_inline
        self.check_runs = CheckRuns(api, settings)

    async def publish(self, repository: str, pull_request: PullRequest, review: Review, run: RunIdentity) -> None:
        """A verdict for each panel on the head, findings where they belong, earlier ones that are gone marked so, the
        summary."""
        number = pull_request.number
        if not await self.check_runs.publish(repository, pull_request, review, run):
            await self._statuses(repository, review, pull_request.url)
        files = await self._files(repository, number)
        listed = placed(review.findings, files, max_inline=self.max_inline)
        earlier = await self._earlier(repository, number, run)
        listed = await self._new(repository, number, review.head_sha, listed, earlier, run)
        changed = _changed(listed, earlier)
        # The threads first: once a comment says that its finding is gone, nobody looks at its thread again.
        await self._threads(repository, number, {int(comment["id"]): one is None for comment, one in changed})
        for comment, one in changed:
            await self._mark(repository, review.head_sha, comment, one, run)
        parts = [review.summary.rstrip(), elsewhere(listed)]
        if len(files) >= MAX_FILES:
            parts.append(
                f"GitHub shows the first {MAX_FILES:,} files of this change only; findings in others stand here."
            )
        summary = "\n\n".join(part for part in parts if part)
        await self.comments.say(repository, number, summary, run=run, topic="review")

    # --- statuses -----------------------------------------------------------------------------

    async def _statuses(self, repository: str, review: Review, url: str) -> None:
        """One for each panel. GitHub takes 1,000 of a context for one head, so an equal one is not sent again."""
        if not review.statuses:
            return
        doing = f"setting the statuses of {review.head_sha[:10]} in {repository}"
        present: dict[str, tuple[str, str]] = {}
        path = f"/repos/{repository}/commits/{review.head_sha}/statuses"
        async for status in self.api.pages(path, doing=doing, most=10):
            context = str(status.get("context"))
            present.setdefault(context, (str(status.get("state")), str(status.get("description") or "")))
        for context, (state, said) in review.statuses.items():
            wanted = state, _cut(said, MAX_STATUS)
            if present.get(context) != wanted:
                body = {"state": state, "context": context, "description": wanted[1]}
                if url.startswith(("https://", "http://")):
                    body["target_url"] = url
                await self.api.call("POST", f"/repos/{repository}/statuses/{review.head_sha}", body=body, doing=doing)

    # --- findings -----------------------------------------------------------------------------

    async def _files(self, repository: str, number: int) -> list[Any]:
        doing = f"reading the files of pull request {number} of {repository}"
        path = f"/repos/{repository}/pulls/{number}/files"
        return await self.api.listed(path, doing=doing, most=MAX_FILES // 100)

    async def _earlier(self, repository: str, number: int, run: RunIdentity) -> dict[str, dict[str, Any]]:
        """Comments that this run made for findings, by the finding's identity."""
        doing = f"reading the comments of pull request {number} of {repository}"
        login = await self.api.tokens.login()
        found: dict[str, dict[str, Any]] = {}
        async for comment in self.api.pages(f"/repos/{repository}/pulls/{number}/comments", doing=doing):
            marker, _, identity = mark_of(str(comment.get("body") or "")).rpartition(" finding:")
            if identity and is_same(marker, run.marker) and is_by_us(comment, login):
                found.setdefault(identity, comment)
        return found

    async def _new(
        self,
        repository: str,
        number: int,
        head_sha: str,
        listed: Sequence[Placed],
        earlier: dict[str, dict[str, Any]],
        run: RunIdentity,
    ) -> list[Placed]:
        """Comment on what was not commented before. The list comes back with the places that GitHub took."""
        new = [one for one in listed if one.at != "summary" and identity_of(one.finding) not in earlier]
        on_lines = [one for one in new if one.at == "line"]
        refused: list[Placed] = []
        if on_lines and not await self._review(repository, number, head_sha, on_lines, run):
            # One line that GitHub refuses makes it refuse all of them: each by itself then.
            refused = [one for one in on_lines if not await self._single(repository, number, head_sha, one, run)]
        on_files = [one for one in new if one.at == "file"] + [replace(one, at="file") for one in refused]
        lost = {
            identity_of(one.finding)
            for one in on_files
            if not await self._single(repository, number, head_sha, one, run)
        }
        return [replace(one, at="summary") if identity_of(one.finding) in lost else one for one in listed]

    async def _review(
        self, repository: str, number: int, head_sha: str, listed: Iterable[Placed], run: RunIdentity
    ) -> bool:
        comments = [{"path": one.finding.file, "body": _body(one, run), **_lines(one)} for one in listed]
        answer = await self.api.call(
            "POST",
            f"/repos/{repository}/pulls/{number}/reviews",
            body={"commit_id": head_sha, "event": "COMMENT", "comments": comments},
            doing=f"writing the review of pull request {number} of {repository}",
            accept=(422,),
        )
        return answer.ok

    async def _single(self, repository: str, number: int, head_sha: str, one: Placed, run: RunIdentity) -> bool:
        where = _lines(one) if one.at == "line" else {"subject_type": "file"}
        answer = await self.api.call(
            "POST",
            f"/repos/{repository}/pulls/{number}/comments",
            body={"commit_id": head_sha, "path": one.finding.file, "body": _body(one, run), **where},
            doing=f"commenting on {one.finding.file} in pull request {number} of {repository}",
            accept=(422,),
        )
        return answer.ok

    async def _mark(
        self, repository: str, head_sha: str, comment: dict[str, Any], one: Placed | None, run: RunIdentity
    ) -> None:
        """Say in a comment that its finding is gone (None), or take that back."""
        said = f"{RESOLVED} at {markdown.code(head_sha[:10])}."
        at: Literal["line", "file"] = "file" if comment.get("subject_type") == "file" else "line"
        text = _body(replace(one, at=at), run) if one else _above(said, str(comment.get("body") or ""))
        doing = f"marking a finding in {repository}"
        # A comment that a person has deleted in the meantime is marked enough.
        path = f"/repos/{repository}/pulls/comments/{comment['id']}"
        await self.api.call("PATCH", path, body={"body": text}, doing=doing, accept=(404,))

    async def _threads(self, repository: str, number: int, changed: dict[int, bool]) -> None:
        """Resolve the threads of findings that are gone. What the marks say already, so a refusal stops nothing."""
        if not changed:
            return
        try:
            async for thread, comment, resolved in self._each_thread(repository, number):
                gone = changed.get(comment)
                if gone is not None and gone != resolved:
                    await self.api.graphql(
                        _RESOLVE if gone else _REOPEN,
                        {"id": thread},
                        repository=repository,
                        doing=f"resolving a thread of pull request {number}",
                    )
        except (FinalError, UsageError) as error:
            log.warning("threads_not_resolved", pull_request=number, reason=str(error))

    async def _each_thread(self, repository: str, number: int) -> Any:
        owner, _, name = repository.partition("/")
        after: str | None = None
        while True:
            data = await self.api.graphql(
                _THREADS,
                {"owner": owner, "name": name, "number": number, "after": after},
                repository=repository,
                doing=f"reading the threads of pull request {number} of {repository}",
            )
            pull = (data.get("repository") or {}).get("pullRequest")
            if not pull:
                raise PermissionDenied(f"GitHub does not show the threads of pull request {number} of {repository}.")
            threads = pull["reviewThreads"]
            for node in threads["nodes"]:
                first = (node["comments"]["nodes"] or [{}])[0]
                yield node["id"], int(first.get("databaseId") or 0), bool(node["isResolved"])
            if not threads["pageInfo"]["hasNextPage"]:
                return
            after = threads["pageInfo"]["endCursor"]


def _changed(
    listed: Iterable[Placed], earlier: dict[str, dict[str, Any]]
) -> list[tuple[dict[str, Any], Placed | None]]:
    """Comments whose finding is gone (None) and does not say so, or is back and says that it is gone."""
    current = {identity_of(one.finding): one for one in listed}
    return [
        (comment, current.get(identity))
        for identity, comment in earlier.items()
        if (identity not in current) != str(comment.get("body") or "").startswith(RESOLVED)
    ]


def _lines(one: Placed) -> dict[str, Any]:
    where: dict[str, Any] = {"line": one.line, "side": "RIGHT"}
    return where | ({"start_line": one.start_line, "start_side": "RIGHT"} if one.start_line else {})


def _body(one: Placed, run: RunIdentity) -> str:
    return finding_body(one, f"{run.marker} finding:{identity_of(one.finding)}")


def _above(said: str, body: str) -> str:
    """The word above a comment whose mark stays at its end."""
    above, tail = without_mark(body)
    return cut_body(f"{said}\n\n{above.rstrip()}", limit=65_536 - len(tail) - 2) + f"\n\n{tail}"


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
