"""Coverage of the lines that a change adds or edits: how it is measured, and how it is counted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence, Set
from typing import Any

from sdlc.domain import ChangedLineCoverage

LARGEST_COVERAGE = 64 * 1024**2
"""Bytes of coverage's JSON that are read."""


def coverage_configuration(results: str, files: Sequence[str]) -> str:
    """coverage's own configuration, in place of the repository's: a change can't exclude itself by editing that.

    `results` is the folder for its data inside the sandbox, `files` the changed files, which alone are reported.
    """
    included = "".join(f"    {path}\n" for path in files)
    return (
        "[run]\nparallel = true\nsource = .\nrelative_files = true\nsigterm = true\n"
        f"data_file = {results}/coverage.data\n"
        "disable_warnings =\n    no-data-collected\n    module-not-measured\n    already-imported\n"
        f"[report]\ninclude =\n{included}"
        f"[json]\noutput = {results}/coverage.json\n"
    )


def measurable(files: Sequence[str]) -> list[str]:
    """Those of the changed files that coverage can measure and be told about, one pattern a line."""
    return [path for path in files if path.endswith(".py") and not set(path) & set('*?[]\n\r,#;$%{}"')]


def changed_line_coverage(data: bytes, changed: Mapping[str, Set[int]]) -> ChangedLineCoverage | None:
    """How many of the changed lines that can be executed were; from coverage's JSON.

    `changed` has line numbers by file. None if the data can't be read.
    """
    try:
        loaded = json.loads(data)
        files: Mapping[str, Any] = loaded["files"]
        covered = total = 0
        for path, lines in changed.items():
            found = files.get(path)
            if found is None:
                continue
            executed = lines & {int(line) for line in found["executed_lines"]}
            missing = lines & {int(line) for line in found["missing_lines"]}
            covered += len(executed)
            total += len(executed | missing)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return ChangedLineCoverage(covered=covered, total=total)
