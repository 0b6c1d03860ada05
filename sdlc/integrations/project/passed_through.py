"""What set-up gets from the worker's own environment: where packages come from and whom to trust, nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from sdlc.integrations.sandbox import Mount

_WANTED = re.compile(
    r"(?:UV_(?:DEFAULT_INDEX|INDEX|INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|INDEX_STRATEGY|KEYRING_PROVIDER"
    r"|INDEX_\w+_(?:USERNAME|PASSWORD)|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS|HTTP_TIMEOUT|HTTP_RETRIES"
    r"|EXCLUDE_NEWER|CONCURRENT_\w+|OFFLINE|PYTHON_INSTALL_MIRROR|PYPY_INSTALL_MIRROR)"
    r"|PIP_(?:INDEX_URL|EXTRA_INDEX_URL|FIND_LINKS|NO_INDEX|TRUSTED_HOST|TIMEOUT|DEFAULT_TIMEOUT|RETRIES|PROXY|CERT)"
    r"|NPM_CONFIG_(?!PREFIX|CACHE|USERCONFIG|GLOBALCONFIG)\w+"
    r"|GOPROXY|GONOPROXY|GOPRIVATE|GOSUMDB|GONOSUMDB|GONOSUMCHECK|GOINSECURE|GOFLAGS"
    r"|CARGO_(?:HTTP|NET|REGISTRIES|REGISTRY|SOURCE)_\w+"
    r"|(?:HTTPS?|ALL|NO|FTP)_PROXY)\Z",
    re.IGNORECASE,
)
_UNWANTED = re.compile(r"CARGO_REGISTRY_TOKEN\Z|\w*PUBLISH\w*\Z|NPM_CONFIG_\w*(?:OTP|TOKEN)\w*\Z", re.IGNORECASE)
"""Rights to write somewhere, which set-up never needs."""

_CERTIFICATES = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PIP_CERT",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
    "NPM_CONFIG_CAFILE",
    "GIT_SSL_CAINFO",
)
_CERTIFICATES_INSIDE = "/opt/sdlc/certificates"
_ALREADY_INSIDE = ("/usr/", "/etc/ssl/certs/")
"""What every sandbox shows at its own path."""

_SECRET = re.compile(r"(?<=://)[^/@\s]+@")


def passed_through(environ: Mapping[str, str], target: str = "") -> tuple[dict[str, str], tuple[Mount, ...]]:
    """The variables of `environ` that set-up gets, and the mounts for the certificates that they name.

    `target` is "" where the sandbox moves mounts, so that the variables name their new places, and `host`
    where it can't.
    """
    env = {name: value for name, value in environ.items() if _WANTED.match(name) and not _UNWANTED.match(name)}
    mounts: list[Mount] = []
    for name in _CERTIFICATES:
        value = environ.get(name) or environ.get(name.lower())
        if not value:
            continue
        path = Path(value)
        if not path.is_absolute() or not path.exists():
            env.pop(name, None)
        elif target == "host" or str(path.resolve()).startswith("/usr/") or value.startswith(_ALREADY_INSIDE):
            env[name] = value
        else:
            inside = f"{_CERTIFICATES_INSIDE}/{name.lower()}"
            mounts.append(Mount(path.resolve(), inside))
            env[name] = inside
    return env, tuple(mounts)


def without_secrets(text: str, env: Mapping[str, str]) -> str:
    """A log of set-up as it may be kept: credentials in addresses and the values of password variables are gone."""
    text = _SECRET.sub("***@", text)
    for name, value in env.items():
        if re.search(r"PASSWORD|TOKEN|AUTH|SECRET", name, re.IGNORECASE) and len(value) > 3:
            text = text.replace(value, "***")
    return text
