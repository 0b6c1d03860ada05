"""`replaced`: what is on its way out, or does again what the stack has already."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sdlc.review_graphs.checks.base import ChangedPath, Raised, Trees
from sdlc.review_graphs.checks.techstack import imports, ranges
from sdlc.review_graphs.checks.techstack.declared import Dependency, Manifest
from sdlc.review_graphs.checks.techstack.locks import LOCKS
from sdlc.review_graphs.checks.techstack.manifests import added, governing, is_manifest, manifests, names
from sdlc.review_graphs.checks.techstack.stack_names import words

REMOVED = {
    "asynchat": ("3.12", "asyncio"),
    "asyncore": ("3.12", "asyncio"),
    "distutils": ("3.12", "setuptools, or packaging for versions"),
    "imp": ("3.12", "importlib"),
    "smtpd": ("3.12", "aiosmtpd"),
    "aifc": ("3.13", "another library"),
    "audioop": ("3.13", "another library"),
    "cgi": ("3.13", "urllib.parse, email.message or multipart"),
    "cgitb": ("3.13", "traceback"),
    "chunk": ("3.13", "another library"),
    "crypt": ("3.13", "hashlib, or a library for passwords"),
    "imghdr": ("3.13", "filetype or puremagic"),
    "lib2to3": ("3.13", "libcst"),
    "mailcap": ("3.13", "mimetypes"),
    "msilib": ("3.13", "another tool"),
    "nis": ("3.13", "another library"),
    "nntplib": ("3.13", "another library"),
    "ossaudiodev": ("3.13", "another library"),
    "pipes": ("3.13", "subprocess and shlex"),
    "sndhdr": ("3.13", "filetype or puremagic"),
    "spwd": ("3.13", "another library"),
    "sunau": ("3.13", "another library"),
    "telnetlib": ("3.13", "telnetlib3"),
    "uu": ("3.13", "base64"),
    "xdrlib": ("3.13", "another library"),
}
"""Module → the Python that no longer has it, and what to use instead.

PEP 594 (dead batteries), PEP 632 (distutils), and "What's New" of 3.12 and 3.13 for imp, asyncore and lib2to3.
"""
BACKPORTS = {
    "asynchat": words("pyasynchat standard-asynchat"),
    "asyncore": words("pyasyncore standard-asyncore"),
    "audioop": words("audioop-lts"),
    "cgi": words("legacy-cgi"),
    "cgitb": words("legacy-cgi"),
    "crypt": words("legacycrypt crypt-r standard-crypt"),
    "distutils": words("setuptools"),
    "imp": words("zombie-imp"),
}
"""Distributions that bring a removed module back; others are named `standard-` and the module."""

DEPRECATED_MODULES = {
    "pkg_resources": ("setuptools has announced its removal", "importlib.metadata, importlib.resources or packaging"),
}
"""Module → what is to become of it, and what to use instead."""

DEPRECATED_PYTHON = {
    "nose": "it does not run on Python 3.10 and later; use pytest",
    "pycrypto": "it has known holes and no maintainer; use pycryptodome or cryptography",
    "oauth2client": "its authors have given it up; use google-auth",
    "fabric3": "it was a copy for the time before fabric 2; use fabric",
    "aioredis": "it has become a part of redis (redis.asyncio)",
}
DEPRECATED_NPM = {
    "request": "its authors have given it up; use fetch, or undici",
    "request-promise": "its authors have given it up together with request; use fetch, or undici",
    "request-promise-native": "its authors have given it up together with request; use fetch, or undici",
    "node-sass": "its authors have given it up; use sass",
    "tslint": "its authors have given it up; use typescript-eslint",
    "babel-eslint": "it has become @babel/eslint-parser",
}

SAME_PURPOSE = {
    "HTTP requests": (words("requests httpx"), words("axios got superagent node-fetch request")),
    "dates": (words("arrow pendulum"), words("moment dayjs luxon date-fns")),
    "formatting": (words("black yapf autopep8"), words("prettier @biomejs/biome")),
    "tests": (words("nose nose2"), words("jest mocha vitest jasmine ava")),
    "logging": (words("loguru structlog"), words("winston pino bunyan")),
    "web servers": (words("flask fastapi bottle sanic falcon"), words("express fastify koa")),
    "mapping objects to tables": (words("sqlalchemy peewee tortoise-orm pony"), words("sequelize typeorm prisma")),
    "schemas": (words("cerberus voluptuous"), words("joi yup zod")),
}
"""Purpose → distributions and packages of npm of which a project needs one."""

_MANAGERS = {
    "python": words("uv.lock poetry.lock pdm.lock Pipfile.lock"),
    "npm": words("package-lock.json yarn.lock pnpm-lock.yaml bun.lock"),
}


NEWEST_PYTHON = 15
"""Minor version, up to which a project may say what it runs on."""


_KNOWN = sorted({*REMOVED, *DEPRECATED_MODULES})
_MAY_IMPORT = re.compile(rf"^\s*(?:import|from)\b[^\n]*\b(?:{'|'.join(_KNOWN)})\b", re.MULTILINE)
"""Faster than a parser, which few files then need."""


class Replaced:
    """Small lists, of what is certain."""

    name = "replaced"
    required = True

    def looks_at(self, path: str) -> bool:
        return path.endswith(".py") or is_manifest(path) or path.rpartition("/")[2] in LOCKS

    def run(self, trees: Trees) -> Iterator[Raised]:
        for file in trees.present:
            if file.path.endswith(".py") and file.added:
                yield from _removed_modules(trees, file)
        yield from _second_manager(trees)
        for item in added(trees):
            yield from _about(trees, item)


def _removed_modules(trees: Trees, file: ChangedPath) -> Iterator[Raised]:
    text = trees.head.text(file.path) or ""
    if not _MAY_IMPORT.search(text):
        return
    before = {one.top for one in imports.imports_in(trees.before(file) or "")}
    seen: set[str] = set()
    for one in imports.imports_in(text):
        if one.top not in _KNOWN or one.is_optional or one.is_typing or one.top in before | seen:
            continue
        seen.add(one.top)
        if one.top in DEPRECATED_MODULES and file.has_added(one.line):
            fate, instead = DEPRECATED_MODULES[one.top]
            message = f"`{one.top}` is deprecated: {fate}. Use {instead}."
            yield Raised("deprecated", file.path, one.line, "minor", message)
            continue
        if not file.has_added(one.line) or imports.is_first_party(trees.head, one.top, file.path):
            continue
        here = governing(trees.head, file.path, "python")
        declared = {item.name for manifest in here for item in manifest.dependencies}
        if declared & {*BACKPORTS.get(one.top, ()), f"standard-{one.top}"}:
            continue
        version, instead = REMOVED[one.top]
        allowed = _allows(here, version)
        if allowed is False:
            continue
        yield Raised(
            "removed-module",
            file.path,
            one.line,
            "major" if allowed else "minor",
            f"`{one.top}` is no longer part of Python from {version} on"
            f"{', which the project supports: there the import fails' if allowed else ''}. Use {instead}.",
        )


def _allows(here: list[Manifest], version: str) -> bool | None:
    """May the project run on a version of Python, or on a later one? None if it does not say."""
    said = [manifest for manifest in here if manifest.requires]
    if not said:
        return None
    later = [f"3.{minor}.1" for minor in range(int(version.partition(".")[2]), NEWEST_PYTHON + 1)]
    return all(
        any(ranges.accepts(manifest.requires, manifest.requires_dialect, release) for release in later)
        for manifest in said
    )


def _about(trees: Trees, item: Dependency) -> Iterator[Raised]:
    known = {"python": DEPRECATED_PYTHON, "npm": DEPRECATED_NPM}.get(item.ecosystem, {})
    if item.name in known:
        yield Raised(
            "deprecated",
            item.file,
            item.line,
            "minor",
            f"{item.name} is deprecated: {known[item.name]}.",
            confidence=0.9,
        )
        return
    if item.ecosystem not in ("python", "npm") or item.kind not in ("main", "dev"):
        return
    head, base = manifests(trees.head), manifests(trees.base)
    kept = names(head, item.ecosystem) & names(base, item.ecosystem)
    for purpose, (python, npm) in SAME_PURPOSE.items():
        group = python if item.ecosystem == "python" else npm
        others = sorted((kept & group) - {item.name}) if item.name in group else []
        if others and _is_same_list(head, item, others[0]):
            yield Raised(
                "second-library",
                item.file,
                item.line,
                "minor",
                f"{item.name} comes beside {others[0]}, which the project has for the same purpose ({purpose}): two "
                f"ways to do one thing, and both to be kept up to date. Use {others[0]}, or replace it altogether.",
                confidence=0.6,
            )


def _is_same_list(head: tuple[Manifest, ...], item: Dependency, other: str) -> bool:
    """Does the other one stand in the same file, and for the same people?"""
    return any(
        one.name == other and one.kind == item.kind
        for manifest in head
        if manifest.path == item.file
        for one in manifest.dependencies
    )


def _second_manager(trees: Trees) -> Iterator[Raised]:
    """A lock file that comes beside one of another program."""
    for file in trees.files:
        folder, _, name = file.path.rpartition("/")
        if file.status != "A" or name not in LOCKS:
            continue
        for group in _MANAGERS.values():
            beside = sorted(
                other for other in group - {name} if name in group and trees.head.text(f"{folder}/{other}".lstrip("/"))
            )
            kept = [other for other in beside if trees.base.text(f"{folder}/{other}".lstrip("/"))]
            if kept:
                yield Raised(
                    "second-lock",
                    file.path,
                    1,
                    "minor",
                    f"{name} comes beside {kept[0]}: two programs now lock the same dependencies, and what is "
                    "installed depends on which of them one uses. Keep one of the two.",
                    confidence=0.9,
                )
