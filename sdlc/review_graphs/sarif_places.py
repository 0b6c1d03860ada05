"""Where a SARIF result points to: a file of the tree and its lines.

Tools write places in every way that the standard allows, and in some that it does not: absolute and relative URIs,
plain paths, base ids, indexes into a table, the backslashes of another system.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from sdlc.integrations.git.paths import path_text

LAST_LINE = 10_000_000
"""No file has as many lines; a number beyond is a mistake of the tool."""
OUTSIDE = ""
"""Stands for any file that is not in the tree."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):(?=/)", re.IGNORECASE)
_DRIVE = re.compile(r"/*[a-z]:/", re.IGNORECASE)
_DEEPEST = 8
"""Base ids that stand on each other; a circle has no end."""


def mapping(value: Any) -> Mapping[str, Any]:
    """The value if it is an object of JSON, else an empty one: what a tool got wrong is what it did not say."""
    return value if isinstance(value, dict) else {}


def items(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def whole(value: Any) -> int | None:
    """A whole number, also where it is written as 3.0; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if isinstance(value, int) or value.is_integer() else None


def entry(values: Any, index: Any) -> Mapping[str, Any]:
    """The object at an index of a table; an empty one where there is none."""
    at, table = whole(index), items(values)
    return mapping(table[at]) if at is not None and 0 <= at < len(table) else {}


class Files:
    """The files of one run, with its base ids and its table of artifacts."""

    def __init__(self, run: Mapping[str, Any], roots: Sequence[str]) -> None:
        self._bases = mapping(run.get("originalUriBaseIds"))
        self._artifacts = run.get("artifacts")
        self._roots = [root.rstrip("/") for root in roots]

    def path(self, location: Any) -> str | None:
        """The path of an `artifactLocation` relative to the tree, as git would give it.

        `OUTSIDE` for a file that lies elsewhere, None where no file is named.
        """
        found = mapping(location)
        if not text(found.get("uri")):
            found = mapping(entry(self._artifacts, found.get("index")).get("location"))
        if not text(found.get("uri")):
            return None
        try:
            path = self._resolved(found, _DEEPEST)
            return OUTSIDE if path is None else self._in_tree(path)
        except ValueError:  # half a character, which no file system knows
            return OUTSIDE

    def _resolved(self, location: Mapping[str, Any], left: int) -> str | None:
        """Absolute, or relative to the tree; None for what is no file."""
        path = _file_path(text(location.get("uri")))
        base = self._bases.get(text(location.get("uriBaseId")))
        if path is None or path.startswith("/") or base is None or not left:
            return path
        # The drafts of the standard had the URI itself there.
        beneath = self._resolved({"uri": base} if isinstance(base, str) else mapping(base), left - 1)
        return None if beneath is None else posixpath.join(beneath, path)

    def _in_tree(self, path: str) -> str | None:
        path = posixpath.normpath(path)
        if path.startswith("/"):
            path = "/" + path.lstrip("/")
            root = next((root for root in self._roots if f"{path}/".startswith(f"{root}/")), None)
            if root is None:
                return OUTSIDE
            path = path[len(root) + 1 :] or "."
        if path == ".":
            return None
        return OUTSIDE if path.startswith("../") or path == ".." else path_text(path.encode(errors="surrogateescape"))


def _file_path(uri: str) -> str | None:
    """A URI, or a path that stands where one should, as a path; None for what is no file of this system."""
    uri = uri.replace("\\", "/")
    scheme = _SCHEME.match(uri)
    if scheme:
        if scheme[1].lower() != "file":
            return None
        uri = uri[scheme.end() :]
        if uri.startswith("//"):
            host, slash, rest = uri[2:].partition("/")
            # Some write `file://` before an absolute path without its slash.
            uri = f"/{rest}" if host in ("", "localhost") else f"/{host}{slash}{rest}"
    uri = unquote_to_bytes(uri).decode(errors="surrogateescape")
    return None if _DRIVE.match(uri) else uri


def lines_of(region: Any) -> tuple[int, int] | None:
    """The first and last line of a region; (1, 1) for a file as a whole, None where its lines are not said."""
    region = mapping(region)
    if region.get("startLine") is None:
        return None if {"charOffset", "byteOffset"} & set(region) else (1, 1)
    first = whole(region.get("startLine"))
    if first is None or not 0 <= first <= LAST_LINE:
        return None
    first = max(first, 1)  # 0: the file as a whole
    last = whole(region.get("endLine"))
    last = first if last is None else min(max(first, last), LAST_LINE)
    # The end is the column after the last one: in the first column, the line before is the last.
    ends_before = last > first and whole(region.get("endColumn")) == 1
    return first, last - ends_before
