"""What lock files say of each package: where it comes from, and which checksum it must have."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from sdlc.review_graphs.checks.security.risk import Risk

_LOCAL = re.compile(r"localhost$|127\.|\[::1\]|0\.0\.0\.0")
_YARN_ENTRY = re.compile(r"^\"?(?P<name>@?[^@\s\"]+)@")
_YARN_FIELD = re.compile(r"^ {2}\"?(?P<key>version|resolved|integrity|resolution|checksum)\"?:? \"?(?P<value>[^\"\s]+)")
_PNPM_ENTRY = re.compile(r"^ {2}['\"]?/?(?P<name>@?[^@/\s'\"]+(?:/[^@\s'\"]+)?)[@/](?P<version>[^:()'\"\s]+)[^:]*:\s*$")
_PNPM_FIELD = re.compile(r"\b(?P<key>integrity|tarball): (?P<value>[^,}\s]+)")


@dataclass(frozen=True)
class Locked:
    name: str
    version: str
    source: str = ""
    """URL that it is taken from; empty where the file does not say."""
    is_registry: bool = True
    """Taken from a registry by name and version; otherwise from a repository, an archive or a folder."""
    checksums: tuple[tuple[str, str], ...] = ()
    """(of what, checksum): a package has one of each of its files."""

    @property
    def host(self) -> str:
        try:
            return (urlsplit(self.source.removeprefix("git+")).hostname or "").lower()
        except ValueError:
            return ""

    @property
    def is_plain(self) -> bool:
        return self.source.startswith(("http://", "git://", "git+http://")) and not _LOCAL.match(self.host)


def is_lock_file(path: str) -> bool:
    return PurePosixPath(path).name in _READERS


def read_lock(path: str, text: str | None) -> list[Locked]:
    """What the file locks; nothing where it can't be read, which its own tool will tell."""
    try:
        return list(_READERS[PurePosixPath(path).name](text or ""))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return []


def lock_risks(path: str, text: str | None, base: str | None, said_elsewhere: str) -> Iterator[Risk]:
    """`said_elsewhere`: manifests and settings of the head; a host that they name was chosen by somebody."""
    head, before = read_lock(path, text), read_lock(path, base)
    lines = (text or "").split("\n")

    def at(what: str) -> tuple[int, ...]:
        return tuple(number for number, line in enumerate(lines, 1) if what and what in line)[:50]

    if not head:
        return
    moved = list(_places(head, before, said_elsewhere, at))
    yield from moved
    # What comes from elsewhere has another checksum, too, and that is said already.
    yield from (risk for risk in _checksums(head, before, at) if not moved)


def _checksums(head: list[Locked], before: list[Locked], at: Callable[[str], tuple[int, ...]]) -> Iterator[Risk]:
    old: dict[tuple[str, str, str], str] = {}
    for package in before:
        for of, checksum in package.checksums:
            old[package.name, package.version, of] = checksum
    with_checksum = {(name, version) for name, version, _ in old}
    for package in head:
        changed = [
            (of, checksum)
            for of, checksum in package.checksums
            if old.get((package.name, package.version, of), checksum) != checksum
        ]
        if changed:
            message = (
                f"`{package.name[:80]}` has the version that it had, and another checksum: what is installed is not"
                " what was looked at before. Find out who published it anew, or go back to the old line."
            )
            yield Risk("checksum-changed", "major", message, at(changed[0][1]), package.name, 0.9)
        elif not package.checksums and package.is_registry and (package.name, package.version) in with_checksum:
            message = (
                f"`{package.name[:80]}` loses its checksum, so whatever its host gives is installed. Make the lock file"
                " anew with its own tool."
            )
            yield Risk("checksum-removed", "major", message, at(package.source) or at(package.name), package.name, 0.9)


def _places(
    head: list[Locked], before: list[Locked], said_elsewhere: str, at: Callable[[str], tuple[int, ...]]
) -> Iterator[Risk]:
    known = {package.source for package in before}
    known_hosts = {package.host for package in before}
    held_to = {(package.name, package.version, *package.checksums) for package in before if package.checksums}
    from_registry = {package.name for package in before if package.is_registry}
    said: set[str] = set()
    for package in head:
        host = package.host
        if not host or package.source in known or host in said:
            continue
        is_asked_for = package.is_registry or _repository(package.source) in said_elsewhere
        if package.is_plain:
            why = "over a connection that anybody on the way can change"
        elif not is_asked_for and package.name in from_registry:
            why = "no longer from a registry, and no manifest asks for that"
        elif (package.name, package.version, *package.checksums) in held_to:
            continue  # the same bytes, whoever gives them
        elif package.is_registry and before and host not in known_hosts and host not in said_elsewhere.lower():
            why = "which neither this file nor a setting has named before"
        else:
            continue
        said.add(host)
        message = (
            f"`{package.name[:60]}` is taken from `{host[:60]}`, {why}: who owns that host decides what is installed."
            " Make the lock file anew against the right registry."
        )
        yield Risk("package-from-elsewhere", "major", message, at(package.source), host, 0.9)


def _repository(source: str) -> str:
    """`owner/name` of a repository, as a manifest would name it, however it writes the rest."""
    path = urlsplit(source.removeprefix("git+")).path.removesuffix(".git").strip("/")
    return "/".join(path.split("/")[:2]).removesuffix(".git") or source


def _npm(text: str) -> Iterator[Locked]:
    document = json.loads(text)
    if isinstance(document.get("packages"), dict):
        for path, entry in document["packages"].items():
            if path and not entry.get("link"):
                yield _npm_entry(entry.get("name") or path.rpartition("node_modules/")[2], entry)
        return
    waiting = [document.get("dependencies") or {}]
    while waiting:
        for name, entry in waiting.pop().items():
            yield _npm_entry(name, entry)
            waiting.append(entry.get("dependencies") or {})


def _npm_entry(name: str, entry: dict[str, Any]) -> Locked:
    resolved = entry.get("resolved")
    source = resolved if isinstance(resolved, str) else ""
    is_registry = source.startswith(("http://", "https://")) or not source
    return Locked(name, str(entry.get("version")), source, is_registry, _integrity(str(entry.get("integrity") or "")))


def _integrity(value: str) -> tuple[tuple[str, str], ...]:
    """By algorithm, so that a stronger one in its place is no change."""
    return tuple((part.partition("-")[0], part) for part in value.split() if "-" in part)


def _yarn(text: str) -> Iterator[Locked]:
    name, fields = "", dict[str, str]()
    for line in [*text.split("\n"), "end:"]:
        if line and not line.startswith((" ", "#")):
            if name:
                yield _yarn_entry(name, fields)
            entry = _YARN_ENTRY.match(line)
            name, fields = entry["name"] if entry else "", {}
        elif field := _YARN_FIELD.match(line):
            fields[field["key"]] = field["value"]


def _yarn_entry(name: str, fields: dict[str, str]) -> Locked:
    resolution = fields.get("resolution", "")
    if resolution:
        found = re.search(r"@(?:git\+|git@)?(?P<url>https?://[^#\s]+)", resolution)
        checksum = (("checksum", fields["checksum"]),) if "checksum" in fields else ()
        # Between `/` and the rest stands the version of yarn's own cache.
        plain = tuple((of, value.rpartition("/")[2]) for of, value in checksum)
        return Locked(name, fields.get("version", ""), found["url"] if found else "", not found, plain)
    source = fields.get("resolved", "").partition("#")[0]
    is_registry = not source or bool(re.match(r"https?://[^#]+/-/", source))
    return Locked(name, fields.get("version", ""), source, is_registry, _integrity(fields.get("integrity", "")))


def _pnpm(text: str) -> Iterator[Locked]:
    entry: re.Match[str] | None = None
    for line in text.split("\n"):
        entry = _PNPM_ENTRY.match(line) or (entry if line.startswith("    ") else None)
        if entry and "resolution:" in line:
            fields = {field["key"]: field["value"].strip("'\"") for field in _PNPM_FIELD.finditer(line)}
            source = fields.get("tarball", "")
            is_registry = not source or "/-/" in source
            yield Locked(entry["name"], entry["version"], source, is_registry, _integrity(fields.get("integrity", "")))


def _toml(text: str) -> Iterator[Locked]:
    """uv, Poetry, PDM and Cargo: a list of packages, with more or less the same words."""
    for package in tomllib.loads(text).get("package", ()):
        source, is_registry = _toml_source(package.get("source"))
        files = [*package.get("wheels", ()), *package.get("files", ()), package.get("sdist") or {}]
        checksums = [
            (str(file.get("file") or file.get("url") or "").rpartition("/")[2], str(file["hash"]))
            for file in files
            if file.get("hash")
        ]
        if package.get("checksum"):
            checksums.append(("crate", str(package["checksum"])))
        yield Locked(str(package["name"]), str(package.get("version", "")), source, is_registry, tuple(checksums))


def _toml_source(source: Any) -> tuple[str, bool]:
    if isinstance(source, str):
        kind, _, url = source.partition("+")
        return url, kind in ("registry", "sparse")
    if not isinstance(source, dict):
        return "", True
    kind = str(source.get("type", ""))
    if kind:
        return str(source.get("url", "")), kind == "legacy"
    for key in ("registry", "git", "url"):
        if source.get(key):
            return str(source[key]), key == "registry"
    return "", False


def _go(text: str) -> Iterator[Locked]:
    for line in text.split("\n"):
        parts = line.split()
        if len(parts) == 3:
            yield Locked(parts[0], parts[1], checksums=(("h1", parts[2]),))


_READERS: dict[str, Callable[[str], Iterator[Locked]]] = {
    "package-lock.json": _npm,
    "npm-shrinkwrap.json": _npm,
    "yarn.lock": _yarn,
    "pnpm-lock.yaml": _pnpm,
    "uv.lock": _toml,
    "poetry.lock": _toml,
    "pdm.lock": _toml,
    "Cargo.lock": _toml,
    "go.sum": _go,
}
