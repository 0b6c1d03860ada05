"""Which repository an address means: `owner/name`, from every form in which people write it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from sdlc.errors import RepositoryInvalid
from sdlc.integrations.git.failures import shown
from sdlc.integrations.git.paths import has_control

_OWNER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,38})\Z")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}\Z")
_SCP = re.compile(r"(?:[A-Za-z0-9_.-]+@)?(?P<host>[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\]):(?P<path>(?!//).+)\Z")
_SCHEMES = ("https", "http", "ssh", "git", "git+ssh", "git+https")


@dataclass(frozen=True)
class RepositoryAddress:
    owner: str
    name: str

    @property
    def full_name(self) -> str:
        return f"{self.owner}/{self.name}"


def repository_address(origin: str, base_url: str) -> RepositoryAddress:
    """`owner/name`, a web, clone, ssh or API address of a repository of the GitHub whose API is at `base_url`.

    Pages below the repository, such as `…/pull/3`, mean the repository. Raises RepositoryInvalid for an address
    with a password in it, of another host, or of no repository.
    """
    text = origin.strip()
    if not text:
        raise RepositoryInvalid("No repository was given; name it as owner/name or by its address.")
    if has_control(text):
        raise RepositoryInvalid(f"The repository {text!r} has control characters in its name; check it.")
    path = _path_on(text, web_host(base_url), base_url)
    parts = [unquote(part) for part in path.split("/") if part]
    for prefix in (["api", "v3", "repos"], ["repos"]):
        if parts[: len(prefix)] == prefix and len(parts) >= len(prefix) + 2:
            parts = parts[len(prefix) :]
    if len(parts) < 2:
        raise RepositoryInvalid(f"{shown(text)} names no repository; write owner/name or the whole address.")
    owner, name = parts[0], parts[1].removesuffix(".git")
    if not _OWNER.match(owner) or not _NAME.match(name) or name in (".", "..", ""):
        raise RepositoryInvalid(f"{shown(text)} is not the name of a repository on GitHub; check owner and name.")
    return RepositoryAddress(owner, name)


def web_host(base_url: str) -> str:
    """The host, with its port, under which people see the GitHub whose API is at `base_url`."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").removeprefix("api.")
    return f"{host}:{parts.port}" if parts.port else host


def looks_remote(origin: str) -> bool:
    """Is it certainly an address and no folder: has it a scheme, or is it scp-like?"""
    text = origin.strip()
    return "://" in text or (_SCP.match(text) is not None and not text.startswith((".", "/", "~")))


def _path_on(text: str, host: str, base_url: str) -> str:
    """The path of an address, once its host is known to be ours."""
    if "://" in text:
        return _url_path(text, host, base_url)
    scp = _SCP.match(text)
    if scp and "/" in scp["path"] and not text.startswith((".", "/", "~")):
        # `host:8443/owner/name` is a host with its port, written without a scheme.
        port, _, rest = scp["path"].partition("/")
        if port.isdigit() and "@" not in text and rest.count("/") >= 1:
            _check_host(text, f"{scp['host']}:{port}", host, base_url)
            return rest
        _check_host(text, scp["host"], host, base_url, with_port=False)
        return scp["path"]
    if text.startswith(("/", ".", "~", "-")):
        raise RepositoryInvalid(f"{text} is a folder; its `origin` must be a repository on {host}.")
    first, _, rest = text.partition("/")
    # An owner has no dot in its name, a host has one.
    if rest and ("." in first or first == host):
        _check_host(text, first, host, base_url)
        return rest
    return text


def _url_path(text: str, host: str, base_url: str) -> str:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise RepositoryInvalid(f"{shown(text)} is not a URL ({error}).") from error
    scheme = parts.scheme.lower()
    if scheme not in _SCHEMES:
        raise RepositoryInvalid(f"{shown(text)}: {scheme} addresses are not taken; use https or ssh, or owner/name.")
    if parts.password or (parts.username and "ssh" not in scheme):
        # An address is shown, kept in histories and given to programs as an argument.
        raise RepositoryInvalid(
            f"{shown(text)} holds a name or a password, which would be stored and shown; take it out of the address "
            "and put the token into the configuration."
        )
    name = (parts.hostname or "").lower()
    web = scheme in ("http", "https", "git+https")
    _check_host(text, f"{name}:{port}" if port and web else name, host, base_url, with_port=web)
    return parts.path


def _check_host(text: str, given: str, host: str, base_url: str, *, with_port: bool = True) -> None:
    given = given.lower().removesuffix(":443")
    allowed = {host.removesuffix(":443"), urlsplit(base_url).netloc.lower()}
    # Enterprise on a port of its own may still be named without it: there is one repository of that name.
    allowed |= {name.partition(":")[0] for name in allowed} if not with_port else set()
    allowed |= {f"www.{name}" for name in allowed} | {f"ssh.{name}" for name in allowed}
    if given not in allowed:
        raise RepositoryInvalid(
            f"{shown(text)} is on {given}, and this forge is for {host}; set github.base_url to the API of the "
            "right one."
        )
