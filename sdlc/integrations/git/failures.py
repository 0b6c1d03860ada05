"""What git says when it fails, as one of our errors."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from sdlc.errors import PermissionDenied, RepositoryInvalid, SdlcError, ServiceUnavailable, WorkspaceBroken

_REMOTE_DAMAGED = ("corruption on the remote side",)
_NOT_THERE = ("not our ref", "couldn't find remote ref")
_NO_CREDENTIALS = (
    "could not read Username",
    "could not read Password",
    "terminal prompts disabled",
    "Authentication failed",
    "Permission denied (publickey",
    "Permission denied (password",
    "Permission denied, please try again",
    "Too many authentication failures",
    "returned error: 401",
)
_UNKNOWN_HOST_KEY = ("Host key verification failed",)
_CERTIFICATE = ("SSL certificate problem", "server certificate verification failed", "certificate has expired")
_MAY_NOT_PUSH = (
    "returned error: 403",
    "hook declined",
    "protected branch",
    "denied to",
    "Write access",
    "rejected]",
    "insufficient permission",
)
_PUSHED_AT_ONCE = ("cannot lock ref", "failed to update ref", ".lock': File exists")
_NO_REPOSITORY = (
    "does not appear to be a git repository",
    "Repository not found",
    "repository not found",
    "not valid: is this a git repository?",
    "returned error: 404",
)
_NOT_ALLOWED = ("transport '", "Unable to find remote helper", "unknown scheme")
_WORLD = (
    "Could not resolve",
    "Couldn't resolve",
    "Temporary failure in name resolution",
    "Name or service not known",
    "onnection refused",
    "onnection timed out",
    "onnection reset",
    "onnection was reset",
    "onnection closed",
    "Operation timed out",
    "Operation too slow",
    "Failed to connect",
    "Couldn't connect to server",
    "Network is unreachable",
    "No route to host",
    "kex_exchange_identification",
    "remote end hung up unexpectedly",
    "early EOF",
    "RPC failed",
    "gnutls_handshake",
    "SSL_connect",
    "Recv failure",
    "Empty reply from server",
    "unexpected disconnect",
)
_NOT_FOUND = re.compile(r"repository '.*' not found")
_LATER = re.compile(r"returned error: (429|5\d\d)")
_FULL = ("No space left on device", "Disk quota exceeded")
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s]+@")


def failure(
    arguments: Sequence[str], exit_code: int, stderr: str, *, remote: str = "", place: Path | None = None
) -> SdlcError:
    """The error for a git command that failed.

    RepositoryInvalid and PermissionDenied where a person must do something about `remote`,
    ServiceUnavailable where the network or the disk is at fault, and WorkspaceBroken for the rest: our own
    clones and worktrees, in `place`, which can be made again.
    """
    said = _said(stderr) or f"exit code {exit_code}"
    if any(words in stderr for words in _FULL):
        return ServiceUnavailable(f"The disk is full ({said}); make room, the run goes on by itself.")
    if remote:
        error = _remote_failure(stderr, said, shown(remote), pushing=arguments[0] == "push")
        if error is not None:
            return error
    return WorkspaceBroken(f"`git {arguments[0]}` failed in {place or 'no repository'}: {said}")


def shown(address: str) -> str:
    """An address as it may stand in a message: without user name and password."""
    return _CREDENTIALS.sub("", address)


def _remote_failure(stderr: str, said: str, remote: str, *, pushing: bool) -> SdlcError | None:
    def says(words: Sequence[str]) -> bool:
        return any(word in stderr for word in words)

    if says(_UNKNOWN_HOST_KEY):
        return RepositoryInvalid(
            f"The SSH key of {remote} is not known to this machine; connect once with ssh to accept it, then try again."
        )
    if pushing and says(_PUSHED_AT_ONCE):
        return ServiceUnavailable(f"Somebody else is writing to {remote} ({said}); it is tried again.")
    if pushing and says(_MAY_NOT_PUSH):
        return PermissionDenied(f"Pushing to {remote} was refused ({said}); it needs write access for this worker.")
    if says(_NO_CREDENTIALS) or "returned error: 403" in stderr:
        return RepositoryInvalid(
            f"{remote} needs credentials that this worker doesn't have; use an SSH address with a key in the "
            "SSH agent, or give the path of a clone on this machine."
        )
    if says(_CERTIFICATE):
        return RepositoryInvalid(
            f"The TLS certificate of {remote} is not trusted ({said}); name its authority's file in GIT_SSL_CAINFO."
        )
    if says(_REMOTE_DAMAGED):
        return RepositoryInvalid(f"{remote} is damaged ({said}); run `git fsck` there and mend it.")
    if says(_NOT_THERE):
        return RepositoryInvalid(
            f"{remote} doesn't have what was asked for ({said}); was a branch rewritten or removed?"
        )
    if says(_NO_REPOSITORY) or _NOT_FOUND.search(stderr):
        return RepositoryInvalid(f"{remote} is not a git repository that this worker can see; check the address.")
    if says(_NOT_ALLOWED):
        return RepositoryInvalid(f"{remote} can't be used ({said}); give a path or an https, ssh or file address.")
    if says(_WORLD) or _LATER.search(stderr):
        return ServiceUnavailable(f"{remote} can't be reached at the moment ({said}); it is tried again.")
    return None


def _said(stderr: str) -> str:
    """The line that tells most, cut and without credentials."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(("fatal:", "error:", "remote: error", "ERROR", "! [", "ssh:"))]
    line = (telling or lines or [""])[0]
    return _CREDENTIALS.sub("", line.removeprefix("fatal: ").removeprefix("error: "))[:300]
