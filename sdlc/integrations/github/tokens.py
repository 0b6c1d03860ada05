"""With whose word we speak to GitHub: a personal token, or an App's installation token, renewed in time.

Never shown: a token stands in headers and in the environment of one git process, nowhere else.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import jwt
from github import Auth, Github, GithubException, GithubIntegration

from sdlc.config.github import GitHubSettings
from sdlc.errors import ConfigurationError, PermissionDenied, RepositoryInvalid
from sdlc.integrations.git.askpass import Credential, host_of
from sdlc.integrations.github.address import repository_address, web_host
from sdlc.integrations.github.failures import is_missing, said_of
from sdlc.integrations.github.transport import API_VERSION, USER_AGENT, guarded

RENEW_BEFORE = timedelta(minutes=10)
"""Of an hour. A push that begins with a token must also end with it."""


@dataclass
class _Installation:
    identity: int
    token: str = field(default="", repr=False)
    expires: datetime | None = None
    permissions: dict[str, str] = field(default_factory=dict)

    def is_fresh(self) -> bool:
        return bool(self.token) and self.expires is not None and datetime.now(UTC) < self.expires - RENEW_BEFORE


class Tokens:
    """Tokens by repository, and the login that they belong to. Usable from any number of tasks."""

    def __init__(self, settings: GitHubSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._installations: dict[str, _Installation] = {}
        self._login: str | None = settings.bot or None

    @property
    def is_app(self) -> bool:
        return bool(self.settings.app_id)

    async def token(self, repository: str) -> str:
        """A token that is good for `owner/name` for some minutes to come.

        Raises ConfigurationError without one or with a key that is none, PermissionDenied where the App is not
        installed or not known, ServiceUnavailable.
        """
        if not self.is_app:
            if self.settings.token is None:
                raise ConfigurationError("GitHub needs a token; set github.token, or app_id and private_key.")
            return self.settings.token.get_secret_value().strip()
        return await asyncio.to_thread(self._installation_token, repository)

    async def login(self) -> str:
        """Under which name we write; empty where GitHub does not tell, as for the token of a workflow."""
        if self._login is None:
            self._login = await asyncio.to_thread(self._asked_login)
        return self._login

    async def permissions(self, repository: str) -> dict[str, str]:
        """What the App may do there: permission → `read`, `write` or `admin`; empty for a personal token."""
        if not self.is_app:
            return {}
        await self.token(repository)
        with self._lock:
            return dict(self._installations[_owner(repository)].permissions)

    async def verify(self) -> None:
        """Ask GitHub who we are. Raises PermissionDenied or ConfigurationError for an App that it does not know."""
        if self.is_app:
            await asyncio.to_thread(self._asked_login)

    def forget(self, token: str) -> bool:
        """GitHub refused this token. True if another one can be had."""
        with self._lock:
            for installation in self._installations.values():
                if installation.token == token:
                    installation.token = ""
        return self.is_app

    # --- for git --------------------------------------------------------------------------------

    async def of(self, address: str) -> Credential | None:
        """The credential for git at `address`; None for any host but this GitHub's."""
        host, ours = host_of(address), host_of(self.settings.base_url)
        scheme = ours.partition("://")[0]
        if not host or host != host_of(f"{scheme}://{web_host(self.settings.base_url)}"):
            return None
        name = repository_address(address, self.settings.base_url).full_name
        return Credential(host=host, user="x-access-token", password=await self.token(name))

    async def refused(self, credential: Credential) -> bool:
        """Git was refused with this credential."""
        return self.forget(credential.password)

    # --- in a thread ----------------------------------------------------------------------------

    def _installation_token(self, repository: str) -> str:
        owner = _owner(repository)
        with self._lock:
            with self._asking("asking for a token of the App"):
                known = self._installations.get(owner)
                if known is None:
                    known = self._installations[owner] = _Installation(self._installation_of(repository))
                if not known.is_fresh():
                    made = self._app().get_access_token(known.identity)
                    known.token, known.expires = made.token, made.expires_at
                    known.permissions = {str(name): str(level) for name, level in (made.permissions or {}).items()}
            return known.token

    def _installation_of(self, repository: str) -> int:
        if self.settings.installation_id:
            return self.settings.installation_id
        owner, _, name = repository.partition("/")
        try:
            return int(self._app().get_repo_installation(owner, name).id)
        except GithubException as error:
            if is_missing(error):
                raise PermissionDenied(
                    f"The GitHub App is not installed for {repository}; install it there, or name its installation_id."
                ) from error
            raise

    def _asked_login(self) -> str:
        try:
            with self._asking("asking for our login"):
                if self.is_app:
                    return f"{self._app().get_app().slug}[bot]"
                token = self.settings.token
                client = Github(
                    auth=Auth.Token(token.get_secret_value().strip()) if token else None,
                    base_url=self.settings.base_url,
                    timeout=self.settings.timeout_seconds,
                    retry=None,
                    user_agent=USER_AGENT,
                    api_version=API_VERSION,
                )
                with client:
                    return str(client.get_user().login)
        except (PermissionDenied, RepositoryInvalid) as error:
            # The token of a workflow has no user. A token that is bad is found out by the first real call.
            if isinstance(error.__cause__, GithubException) and error.__cause__.status == 401:
                raise
            return ""

    @contextlib.contextmanager
    def _asking(self, doing: str) -> Iterator[None]:
        try:
            with guarded(doing):
                yield
        except PermissionDenied as error:
            cause = error.__cause__
            if self.is_app and isinstance(cause, GithubException) and cause.status == 401:
                raise PermissionDenied(
                    f"GitHub does not know the App by its id and key ({said_of(cause)}); check github.app_id and "
                    "github.private_key, and this machine's clock."
                ) from cause
            raise

    def _app(self) -> GithubIntegration:
        auth = Auth.AppAuth(self.settings.app_id, self._private_key())
        try:
            auth.create_jwt()
            return GithubIntegration(
                auth=auth,
                base_url=self.settings.base_url,
                timeout=self.settings.timeout_seconds,
                retry=None,
                user_agent=USER_AGENT,
                api_version=API_VERSION,
            )
        except (ValueError, TypeError, jwt.PyJWTError) as error:
            raise ConfigurationError("github.private_key is no private key in PEM; take the file again.") from error

    def _private_key(self) -> str:
        if self.settings.private_key is not None:
            return self.settings.private_key.get_secret_value()
        file = self.settings.private_key_file
        try:
            return file.read_text("ascii") if file else ""
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The private key {file} can't be read; check github.private_key_file.") from error


def _owner(repository: str) -> str:
    return repository.partition("/")[0].casefold()
