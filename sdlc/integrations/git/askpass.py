"""A token on its way to git: by askpass, for one host, for the one git process that talks to it.

Git asks for a name and a password by running the program in GIT_ASKPASS. Ours is a script without any
secret in it, which answers from the environment of that git process, and only if the question names the
host that the token is for: a redirect to somewhere else gets nothing. The token is never in an address,
an argument, a file or a log.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from sdlc.config import default_cache_dir
from sdlc.errors import ConfigurationError, PermissionDenied, RepositoryInvalid, SdlcError, ServiceUnavailable
from sdlc.integrations.git.failures import failure, shown
from sdlc.integrations.git.runner import LOCAL_SECONDS, Answer, Git

_FOR, _USER, _PASSWORD = "SDLC_GIT_HOST", "SDLC_GIT_USER", "SDLC_GIT_PASSWORD"

LIMITED_SECONDS = 60.0
"""Git does not show what a host says of when to come back; this is what GitHub asks for where it says nothing."""
_LIMITED = ("returned error: 429", "rate limit", "abuse detection", "too many requests", "wait a few minutes")
_FAILED = (1, 128)
"""Exit codes of a git whose transfer was refused."""

_HELPER = f"""#!/bin/sh
# Git's questions are "Username for 'https://host': " and "Password for 'https://user@host': ".
case "$1" in
"Username for '${_FOR}': "|"Username for '${_FOR}/': ") printf '%s\\n' "${_USER}" ;;
"Password for '${{{_FOR}%%://*}}://${_USER}@${{{_FOR}#*://}}': ") printf '%s\\n' "${_PASSWORD}" ;;
*) echo "sdlc has no password for this: $1" >&2; exit 1 ;;
esac
"""


@dataclass(frozen=True)
class Credential:
    """A name and a password for one host."""

    host: str
    """Scheme, host and port as in `https://github.example:8443`, in small letters, without a path."""
    user: str
    password: str = field(repr=False)

    def environment(self, helper: Path) -> dict[str, str]:
        """What a git process needs to answer for this host; `helper` is what `prepared_helper` has given."""
        return {
            "GIT_ASKPASS": str(helper),
            _FOR: self.host,
            _USER: self.user,
            _PASSWORD: self.password,
            # Newer gits ask nobody, not even askpass, where this is `never`, as the runner has it.
            # These parameters are read after GIT_CONFIG_COUNT, so they win.
            "GIT_CONFIG_PARAMETERS": "'credential.interactive'='true'",
        }


class Credentials(Protocol):
    """Where tokens come from."""

    async def of(self, address: str) -> Credential | None:
        """The credential for the host of `address`; None if there is none for it."""
        ...

    async def refused(self, credential: Credential) -> bool:
        """The host did not take it. True if another one may be had by asking again."""
        ...


@dataclass(frozen=True)
class TokenGit(Git):
    """Git that has credentials for the hosts it talks to; in all else the same."""

    credentials: Credentials | None = None

    async def run(
        self,
        *arguments: str,
        stdin: bytes | None = None,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        accept: Collection[int] = (0,),
        timeout: float = LOCAL_SECONDS,
        remote: str = "",
    ) -> Answer:
        """As `Git.run`; a `remote` whose host has a credential gets it, and nothing else does.

        Raises PermissionDenied where the host refuses the credential, also after it was renewed once, and
        ServiceUnavailable with its delay where the host wants fewer requests.
        """

        async def go(more: Mapping[str, str]) -> Answer:
            answer = await super(TokenGit, self).run(
                *arguments,
                stdin=stdin,
                cwd=cwd,
                env={**(env or {}), **more},
                accept=(*accept, *_FAILED) if remote else accept,
                timeout=timeout,
                remote=remote,
            )
            if remote and answer.exit_code in _FAILED and _is_limited(answer.stderr):
                raise ServiceUnavailable(
                    f"{shown(remote)} wants fewer requests of git for a while; it goes on by itself in "
                    f"{LIMITED_SECONDS:.0f} s.",
                    retry_after=LIMITED_SECONDS,
                )
            if answer.exit_code not in accept:
                raise failure(arguments, answer.exit_code, answer.stderr, remote=remote, place=self.git_dir)
            return answer

        credential = await self.credentials.of(remote) if self.credentials is not None and remote else None
        if credential is None or self.credentials is None:
            return await go({})
        helper = prepared_helper(self.home)
        try:
            return await go(credential.environment(helper))
        except (RepositoryInvalid, PermissionDenied) as error:
            if not _was_refused(error):
                raise
            renewed = await self.credentials.of(remote) if await self.credentials.refused(credential) else None
            if renewed is None or renewed == credential:
                raise _refusal(remote) from error
        try:
            return await go(renewed.environment(helper))
        except (RepositoryInvalid, PermissionDenied) as error:
            raise (_refusal(remote) if _was_refused(error) else error) from error


def host_of(address: str) -> str:
    """`https://host:port` of an http or https address, in small letters; empty for any other."""
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme.lower()}://{host}{f':{port}' if port is not None else ''}"


def prepared_helper(home: Path | None) -> Path:
    """The askpass program in `home` (default: git's folder in the cache), written if it is not there as it should be.

    Raises ConfigurationError if the folder can't be written.
    """
    file = (home or default_cache_dir() / "git").absolute() / "askpass-token"
    try:
        if file.is_file() and file.read_text() == _HELPER and os.access(file, os.X_OK):
            return file
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = file.with_name(f"{file.name}.{os.getpid()}")
        draft.write_text(_HELPER)
        draft.chmod(0o700)
        draft.replace(file)
    except OSError as error:
        raise ConfigurationError(f"The cache folder {file.parent} can't be written: {error.strerror}.") from error
    return file


def _is_limited(stderr: str) -> bool:
    """What may be done is said when a transfer begins: a 403 in the midst of one is a limit, whatever words it has."""
    said = stderr.casefold()
    return any(words in said for words in _LIMITED) or "rpc failed; http 403" in said


def _was_refused(error: SdlcError) -> bool:
    return "needs credentials" in str(error) or "returned error: 401" in str(error)


def _refusal(remote: str) -> PermissionDenied:
    return PermissionDenied(
        f"{shown(remote)} refused the token for git; it has expired, was revoked, or has no access to the contents of "
        "this repository."
    )
