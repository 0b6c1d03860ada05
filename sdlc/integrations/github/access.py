"""What our token lacks for what we do, found out by reading alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import requests

from sdlc.config.github import GitHubSettings
from sdlc.domain import Repository
from sdlc.errors import ConfigurationError, ServiceUnavailable
from sdlc.integrations.github import checks
from sdlc.integrations.github.api import Answer, Api, segment
from sdlc.integrations.github.transport import guarded

SAMPLE_BRANCH = "sdlc/any"
"""Rules are asked for by the name of a branch, which need not be there."""
_GITHUB = "asking GitHub what the token may do"


@dataclass(frozen=True)
class _Need:
    """A permission of an App or a fine-grained token."""

    permission: str
    level: str
    use: str
    path: str = ""
    """Below the repository, and answered only to who may read it; empty: not found out that way."""


_NEEDS = (
    _Need("contents", "write", "to push branches, and to merge"),
    _Need("pull_requests", "write", "to open pull requests, to comment on them and to ask for reviews", "/pulls"),
    _Need("statuses", "write", "to show panels as statuses, and to read those of others", "/commits/{sha}/statuses"),
    _Need("checks", "read", "to see the project's checks", "/commits/{sha}/check-runs"),
    _Need("actions", "read", "to read the logs of jobs that failed", "/actions/runs"),
)
_CHECK_RUNS = _Need("checks", "write", "to show panels as Check Runs; without it they are statuses")
_CLASSIC = ("repo", "public_repo")


class Access:
    """Each question is a GET; nothing is written."""

    def __init__(self, api: Api, settings: GitHubSettings) -> None:
        self.api = api
        self.settings = settings
        self._scopes: frozenset[str] | None = None
        """Of a classic token; None for any other."""

    async def of_account(self) -> tuple[str, ...]:
        """What the token itself lacks.

        Raises ConfigurationError where no GitHub answers at the address, PermissionDenied for a token or an App
        that it does not know, ServiceUnavailable.
        """
        said = []
        if self.settings.reviews == "checks" and not self.api.tokens.is_app:
            said.append("github.reviews is `checks`, which GitHub takes from Apps only; panels are shown as statuses.")
        if self.api.tokens.is_app:
            await self.api.tokens.verify()
            return tuple(said)
        # Not conditionally: what is left out of an unchanged answer is what is looked for here. The token of a
        # workflow has no user.
        answer = await self.api.call("GET", "/user", doing=_GITHUB, accept=(403, 404))
        if answer.status == 404 or (answer.ok and not _is_user(answer)):
            raise ConfigurationError(
                f"{self.settings.base_url} answers, but not as GitHub's API does; check github.base_url."
            )
        headers = {name.lower(): value for name, value in answer.headers.items()}
        self._scopes = None
        if "x-oauth-scopes" in headers:
            self._scopes = frozenset(one.strip() for one in headers["x-oauth-scopes"].split(",") if one.strip())
            if not self._scopes & set(_CLASSIC):
                has = ", ".join(sorted(self._scopes)) or "none"
                said.append(
                    f"The token lacks the scope repo (it has {has}), which pushing and pull requests need; "
                    "public_repo does where all repositories are public."
                )
        return tuple(said)

    async def of_repository(self, repository: Repository) -> tuple[str, ...]:
        """What is missing for work on a repository that can be read; after `of_account`."""
        name = repository.name
        tokens = self.api.tokens
        if tokens.is_app:
            said = _lacking(await tokens.permissions(name), self._needs(), name)
        else:
            said = await self._tried(repository) if self._scopes is None else []
            if not await self._may_push(repository):
                said.insert(0, _sentence(_NEEDS[0], name))
        return (*said, *await self._rules(repository))

    def _needs(self) -> list[_Need]:
        if self.settings.reviews == "statuses":
            return list(_NEEDS)
        return [_CHECK_RUNS if need.permission == "checks" else need for need in _NEEDS]

    async def _tried(self, repository: Repository) -> list[str]:
        """By reading, as GitHub does not tell what a fine-grained token has; whether it may write shows later."""
        missing = []
        for need in _NEEDS:
            if need.path:
                path = f"/repos/{repository.name}{need.path.format(sha=repository.base_sha)}"
                answer = await self.api.get(path, doing=_GITHUB, accept=(403, 404), per_page=1)
                if not answer.ok:
                    missing.append(need)
        # Many fine-grained tokens can't have `checks`; the runs of Actions stand in for them.
        if "actions" not in {need.permission for need in missing}:
            missing = [need for need in missing if need.permission != "checks"]
        return [_sentence(need, repository.name) for need in missing]

    async def _may_push(self, repository: Repository) -> bool:
        """What git asks first when it pushes: which branches there are, of the service that takes them."""
        credential = await self.api.tokens.of(repository.url)
        if credential is None:
            return False

        def asked() -> int:
            with (
                guarded(f"asking whether {repository.name} takes a push"),
                requests.get(
                    f"{repository.url}/info/refs",
                    params={"service": "git-receive-pack"},
                    auth=(credential.user, credential.password),
                    timeout=self.settings.timeout_seconds,
                    allow_redirects=False,
                    # The list of branches may be long, and is not wanted.
                    stream=True,
                ) as response,
            ):
                return int(response.status_code)

        status = await asyncio.to_thread(asked)
        if status == 429 or status >= 500:
            raise ServiceUnavailable(f"{repository.url} answered {status}; try again in a while.")
        return status == 200

    async def _rules(self, repository: Repository) -> list[str]:
        name, base = repository.name, repository.base_branch
        said = []
        branch = await self.api.get(f"/repos/{name}/branches/{segment(base)}", doing=_GITHUB, accept=(403, 404))
        about: dict[str, Any] = branch.data if branch.ok and isinstance(branch.data, dict) else {}
        rules = await self._rules_of(name, base)
        if about.get("protected") and not isinstance(about.get("protection"), dict):
            need = _Need("administration", "read", f"to see which checks the protection of {base} asks for")
            said.append(_sentence(need, name))
        elif self.settings.checks == "required" and not checks.required_of(about, rules):
            why = "names no required checks" if about.get("protected") or rules else "is missing"
            said.append(f"Branch protection of {base} in {name} {why}, so any check of a head counts.")
        kinds = {str(rule.get("type")) for rule in await self._rules_of(name, SAMPLE_BRANCH)}
        if kinds & {"creation", "update"}:
            said.append(
                f"A rule set of {name} keeps branches named sdlc/** from being pushed; let this account past it."
            )
        return said

    async def _rules_of(self, name: str, branch: str) -> list[dict[str, Any]]:
        """Of rule sets; older Enterprise servers have none."""
        path = f"/repos/{name}/rules/branches/{segment(branch)}"
        answer = await self.api.get(path, doing=_GITHUB, accept=(403, 404), per_page=100)
        return answer.data if answer.ok and isinstance(answer.data, list) else []


def _lacking(has: dict[str, str], needs: Iterable[_Need], name: str) -> list[str]:
    order = ("", "read", "write", "admin")
    return [
        _sentence(need, name) for need in needs if order.index(has.get(need.permission, "")) < order.index(need.level)
    ]


def _sentence(need: _Need, name: str) -> str:
    return f"The permission {need.permission} ({need.level}) is missing for {name}: {need.use}."


def _is_user(answer: Answer) -> bool:
    return isinstance(answer.data, dict) and "login" in answer.data
