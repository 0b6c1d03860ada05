"""Coverage of the lines that a change adds or edits: how it is measured, and how diff-cover counts it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from sdlc.domain import ChangedLineCoverage

LARGEST_COVERAGE = 16 * 1024**2
"""Bytes of coverage's report that are read; it has the changed files only."""


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
        f"[lcov]\noutput = {results}/coverage.lcov\n"
    )


def measurable(files: Sequence[str]) -> list[str]:
    """Those of the changed files that coverage can measure and be told about, one pattern a line."""
    return [path for path in files if path.endswith(".py") and not set(path) & set('*?[]\n\r\\,#;$%{}"')]


def changed_line_coverage(data: bytes, changed: Mapping[str, Set[int]]) -> ChangedLineCoverage | None:
    """How many of the changed lines that can be executed were; from coverage's LCOV.

    `changed` has line numbers by file. None if the data can't be read.
    """
    # Templates and a highlighter come with it, and only a worker that measures needs them.
    from diff_cover.report_generator import JsonReportGenerator
    from diff_cover.violationsreporters.violations_reporter import LcovCoverageReporter

    with tempfile.TemporaryDirectory(prefix="sdlc-coverage-") as folder:
        file = Path(folder, "coverage.lcov")
        file.write_bytes(data)
        try:
            hits: Mapping[str, Mapping[int, int]] = LcovCoverageReporter.parse(str(file))
        except (ValueError, TypeError):
            return None
    counts = JsonReportGenerator(_Measured(hits), _Changed(changed)).report_dict()
    total = int(counts["total_num_lines"])
    return ChangedLineCoverage(covered=total - int(counts["total_num_violations"]), total=total)


# diff-cover's own two sides of the comparison ask git where the working folder is, and read the change anew
# from a patch, in which a lone carriage return in a line of code would count as a line. Here is no working
# folder, and `git.diff` has the changed lines: these two give diff-cover what it compares, by its own interfaces
# (`BaseDiffReporter`, `BaseViolationReporter`).


class _Changed:
    """The changed lines."""

    def __init__(self, lines: Mapping[str, Set[int]]) -> None:
        self._lines = lines

    def name(self) -> str:
        return "the change"

    def src_paths_changed(self) -> list[str]:
        return sorted(self._lines)

    def lines_changed(self, src_path: str) -> list[int]:
        return sorted(self._lines.get(src_path, ()))


class _Measured:
    """What coverage measured: line number → times it ran, by file."""

    def __init__(self, hits: Mapping[str, Mapping[int, int]]) -> None:
        self._hits = hits

    def name(self) -> str:
        return "coverage"

    def violations_batch(self, src_paths: Sequence[str]) -> dict[str, list[Any]]:
        return {path: self.violations(path) for path in src_paths}

    def violations(self, src_path: str) -> list[Any]:
        from diff_cover.violationsreporters.base import Violation

        return [Violation(line, None) for line, times in self._hits.get(src_path, {}).items() if times == 0]

    def measured_lines(self, src_path: str) -> list[int]:
        return list(self._hits.get(src_path, {}))
