"""Shell commands that take away what protects a build: wherever they stand, in pipelines, images and scripts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sdlc.review_graphs.checks.security.risk import Risk

MOST_PARTS = 200
"""Lines of one command."""

_SAYS = re.compile(r"^\s*(?:-\s+)?(?:run:\s*)?@?(?:echo|printf|log|info|warn|error|die|fail|usage|print)\b")
"""A command that only tells people what they might run."""
_DOCUMENT = re.compile(r"\b(?:cat|tee|read)\b[^|;]*<<-?\s*[\"']?(?P<end>\w+)")

_DOWNLOAD = r"\b(?:curl|wget|fetch)\b"
_SHELL = r"(?:sudo\s+(?:-\S+\s+)*)?(?:env\s+)?(?:\w+=\S*\s+)*(?:/\S*/)?"
_PIPED = re.compile(
    rf"{_DOWNLOAD}(?:(?!&&|;).)*?\|\s*{_SHELL}(?:(?:ba|z|da|k|a)?sh(?!\s+-c)\b(?![\w./-])|(?:python3?|node|perl|ruby|php)(?=\s*(?:-\s|-?$|[;&)])))"
    rf"|\b(?:ba|z|da)?sh\s+(?:-\w+\s+)*[\"']?(?:\$\(|`)\s*{_DOWNLOAD}"
    rf"|(?:\b(?:ba|z)?sh|\bsource|(?:^|\s)\.)\s+<\(\s*{_DOWNLOAD}"
    rf"|\beval\s+[\"']?(?:\$\(|`)\s*{_DOWNLOAD}"
    r"|\b(?:iwr|irm|invoke-webrequest|invoke-restmethod)\b.*\|\s*(?:iex|invoke-expression)\b"
    r"|\b(?:iex|invoke-expression)\b.*downloadstring",
    re.IGNORECASE,
)
_VERIFIED = re.compile(r"sha(?:256|512)sum|shasum|gpg\s+--verify|cosign\s+verify|minisign")
_URL = re.compile(r"https?://(?P<host>\[[^\]]*\]|[^\s/:\"'|)?#]+)[^\s\"'|)]*", re.IGNORECASE)
_OWN_HOST = re.compile(
    r"^(?:localhost|127\.[\d.]+|0\.0\.0\.0|\[::1?\]|host\.docker\.internal|[\w-]+\.localhost)$", re.IGNORECASE
)
_FIXED = re.compile(r"\b[0-9a-f]{40}\b|/v?\d+\.\d+[\w.-]*/")
"""A URL that names a commit or a version."""

_NO_TLS = (
    (re.compile(r"\bcurl\b[^|;&]*?\s(?:-[A-Za-z]*k[A-Za-z]*|--insecure)(?=\s|$)"), "`curl -k`"),
    (re.compile(r"--no-check-certificate\b"), "`--no-check-certificate`"),
    (
        re.compile(r"\bGIT_SSL_NO_VERIFY[=: ]+[\"']?(?:1|true)|http\.sslverify[= ]+[\"']?(?:false|0)", re.I),
        "git without its check of certificates",
    ),
    (re.compile(r"\bNODE_TLS_REJECT_UNAUTHORIZED[=: ]+[\"']?0"), "`NODE_TLS_REJECT_UNAUTHORIZED=0`"),
    (re.compile(r"\bPYTHONHTTPSVERIFY[=: ]+[\"']?0"), "`PYTHONHTTPSVERIFY=0`"),
    (re.compile(r"strict-ssl[= ]+[\"']?false"), "`strict-ssl=false`"),
    (re.compile(r"\bapt(?:-get)?\b[^|;&]*\s--(?:allow-unauthenticated|force-yes)\b"), "apt without signatures"),
    (re.compile(r"\b(?:yum|dnf|microdnf|zypper)\b[^|;&]*\s--no-?gpg-?checks?\b"), "packages without signatures"),
    (re.compile(r"--insecure-skip-tls-verify\b"), "`--insecure-skip-tls-verify`"),
)
_TRUSTED_HOST = re.compile(r"--trusted-host[= ]+[\"']?(?P<host>[^\s\"']+)")
_EXTRA_INDEX = re.compile(r"(?:--extra-index-url[= ]+|\bPIP_EXTRA_INDEX_URL[= ]+)[\"']?(?P<url>[^\s\"']+)")
_PLAIN_REGISTRY = re.compile(
    r"(?:--(?:index-url|registry|default-index)[= ]+|\s-i\s+|\bregistry[= ]+|\bPIP_INDEX_URL[= ]+"
    r"|npmRegistryServer:?\s+)"
    r"[\"']?(?P<url>http://[^\s\"']+)"
)
_WELL_KNOWN_INDEX = re.compile(
    r"https://(?:download\.pytorch\.org|pypi\.nvidia\.com|pypi\.ngc\.nvidia\.com|data\.pyg\.org|(?:test\.)?pypi\.org"
    r"|storage\.googleapis\.com/(?:jax|libtpu)[\w-]*|www\.piwheels\.org|wheels\.vllm\.ai)(?:/|$)"
)
"""Indexes of projects that publish only their own wheels there."""
_OPEN_MODE = re.compile(r"\bchmod\s+(?:-\w+\s+)*(?:0?777|a\+rwx|ugo\+rwx)\s+(?P<target>\S+)")
_HOST_KEYS = re.compile(r"StrictHostKeyChecking[= ]+[\"']?no\b", re.IGNORECASE)


@dataclass(frozen=True)
class Command:
    """One line as a shell reads it, with the lines of the file that it stands on."""

    parts: tuple[tuple[int, str], ...]

    @property
    def text(self) -> str:
        return " ".join(text for _, text in self.parts)

    @property
    def lines(self) -> tuple[int, ...]:
        return tuple(number for number, _ in self.parts)

    def where(self, what: str) -> tuple[int, ...]:
        """The lines that have `what` in them, then the others."""
        return tuple(number for number, text in sorted(self.parts, key=lambda part: what not in part[1]))


def commands(lines: Iterable[tuple[int, str]]) -> Iterator[Command]:
    """Continued lines are joined; comments, and texts that are only written to a file, are left out."""
    parts: list[tuple[int, str]] = []
    end = ""
    for number, line in lines:
        bare = line.strip()
        if end:
            end = "" if bare == end else end
            continue
        if bare.startswith(("#", "//")):
            continue
        parts.append((number, bare.removesuffix("\\").strip()))
        if bare.endswith("\\") and len(parts) < MOST_PARTS:
            continue
        document = _DOCUMENT.search(parts[-1][1])
        end = document["end"] if document else ""
        if any(text for _, text in parts):
            yield Command(tuple(parts))
        parts = []
    if parts:
        yield Command(tuple(parts))


def shell_risks(given: Iterable[Command]) -> Iterator[Risk]:
    for command in given:
        if not _SAYS.match(command.text):
            downloads = list(_downloads(command))
            yield from downloads or _unverified(command)
            yield from _indexes(command)
            yield from _permissions(command)


def _downloads(command: Command) -> Iterator[Risk]:
    if _VERIFIED.search(command.text):
        return
    for piped in _PIPED.finditer(command.text):
        if _SAYS.match(re.split(r"&&|\|\||;", command.text[: piped.start()])[-1] + piped[0]):
            continue
        url = _URL.search(command.text, piped.start(), piped.end() + 400)
        host = url["host"].lower() if url else ""
        is_open = _NO_TLS[0][0].search(piped[0]) or _NO_TLS[1][0].search(piped[0])
        plain = bool(is_open or (url and url[0].lower().startswith("http://")))
        if url and (_OWN_HOST.match(host) or (_FIXED.search(url[0]) and not plain)):
            continue
        source = f"`{host[:80]}`" if host and "$" not in host else "another host"
        how = "over a connection that anybody on the way can change" if plain else "unseen, whatever it is that day"
        yield Risk(
            rule="download-and-run",
            severity="major" if plain else "minor",
            message=f"A script from {source} is run {how}. Download a fixed version, compare its checksum, run that.",
            lines=command.where(url[0] if url else piped[0][:12]),
            key=host,
        )


def _unverified(command: Command) -> Iterator[Risk]:
    hosts = [match["host"] for match in _URL.finditer(command.text)]
    is_local = bool(hosts) and all(_OWN_HOST.match(host) for host in hosts)
    for pattern, what in _NO_TLS:
        if not is_local and (found := pattern.search(command.text)):
            message = (
                f"{what[:1].upper()}{what[1:]}: whoever is on the way can send another file, and the build takes it."
                " Leave the check on, and give the certificate of a host of your own."
            )
            yield Risk("unverified-download", "major", message, command.where(found[0][-12:].strip()), what)
    if _HOST_KEYS.search(command.text):
        message = (
            "With `StrictHostKeyChecking=no` any machine on the way can pass for the host and take what is sent."
            " Commit the host's key as `known_hosts`."
        )
        yield Risk("unverified-host", "minor", message, command.where("StrictHostKeyChecking"), "ssh")


def _indexes(command: Command) -> Iterator[Risk]:
    trusted = _TRUSTED_HOST.search(command.text)
    if trusted and not _OWN_HOST.match(trusted["host"].partition(":")[0]):
        message = (
            "`--trusted-host` switches the check of the certificate off: whoever is on the way can give another"
            " package. Name the certificate with `--cert`."
        )
        yield Risk("unverified-index", "major", message, command.where("--trusted-host"), trusted["host"])
    extra = _EXTRA_INDEX.search(command.text)
    if extra and not _WELL_KNOWN_INDEX.match(extra["url"]) and "--hash=" not in command.text:
        message = (
            "With `--extra-index-url` pip takes the highest version of either index: whoever publishes an inner name on"
            " the public one is installed. Use one index (`--index-url`) that passes the public one on, or pin hashes."
        )
        yield Risk(
            "second-index",
            "major",
            message,
            command.where(extra["url"]),
            extra["url"].partition("@")[2] or extra["url"],
            0.7,
        )
    plain = _PLAIN_REGISTRY.search(command.text)
    host = _URL.match(plain["url"]) if plain else None
    if host and not _OWN_HOST.match(host["host"]):
        message = (
            "Packages are taken from a registry over plain HTTP: whoever is on the way can put another in place."
            " Use its `https://` address."
        )
        yield Risk("plain-registry", "major", message, command.where(plain["url"] if plain else ""), host["host"])


def _permissions(command: Command) -> Iterator[Risk]:
    for opened in _OPEN_MODE.finditer(command.text):
        message = (
            f"`{opened['target'][:80]}` may be written by everybody, so any other process can put its own file there."
            " Give it to the user that needs it (`chown`), with 755 or 775."
        )
        yield Risk("open-permissions", "minor", message, command.where(opened["target"]), opened["target"])
