"""What a command with network needs in its environment to get through: certificates, mirrors, and the proxy."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from sdlc.integrations.sandbox.allowed import AllowedHosts
from sdlc.integrations.sandbox.port import Mount

_CERTIFICATES = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "GIT_SSL_CAINFO",
    "CARGO_HTTP_CAINFO",
)
_ADDRESSES = (
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL"),
    *("GOPROXY", "GOSUMDB", "npm_config_registry", "NPM_CONFIG_REGISTRY"),
)
_PROXY_VARIABLE = re.compile(
    r"(?:(?:NPM_CONFIG|YARN|PIP|CARGO)_)?(?:(?:HTTPS?|ALL|NO|FTP|SOCKS)_?)?PROXY", re.IGNORECASE
)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_WITH_CREDENTIALS = re.compile(r"//[^/\s]*@|^[^/\s]+:[^/\s]+@")


def network_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The part of `environ` that says how to reach the network; an address with a credential in it is left out."""
    found = {name: environ[name] for name in (*_CERTIFICATES, *_ADDRESSES) if environ.get(name)}
    return {name: value for name, value in found.items() if not _WITH_CREDENTIALS.search(value)}


def through(proxy: str, env: Mapping[str, str], allowed: AllowedHosts) -> dict[str, str]:
    """`env` for a command whose only way out is `proxy`, whatever other proxy `env` names.

    What the command serves to itself on its own loopback is not sent there, unless the operator allows just that.
    """
    own = ",".join(host for host in _LOOPBACK if host not in allowed.hosts)
    found = {name: value for name, value in env.items() if not _PROXY_VARIABLE.fullmatch(name)}
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        found |= {name: proxy, name.lower(): proxy}
    found |= {"NO_PROXY": own, "no_proxy": own, "NODE_USE_ENV_PROXY": "1"}
    # Over what a repository's `.npmrc` or `.cargo/config.toml` says.
    found |= {"npm_config_proxy": proxy, "npm_config_https_proxy": proxy, "npm_config_noproxy": own}
    return {**found, "CARGO_HTTP_PROXY": proxy}


def certificate_mounts(env: Mapping[str, str], *, own_system: bool = False) -> tuple[Mount, ...]:
    """The certificates that `env` names, where the sandbox doesn't have them anyway; with a system of its own, all."""
    paths = {Path(env[name]) for name in _CERTIFICATES if name in env}
    return tuple(
        Mount(path, str(path))
        for path in sorted(paths)
        if path.is_absolute() and path.exists() and (own_system or not _is_there(path))
    )


def _is_there(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in ("/usr", "/etc/ssl/certs", "/etc/pki", "/etc/ca-certificates"))
