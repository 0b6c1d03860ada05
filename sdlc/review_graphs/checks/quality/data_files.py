"""JSON and TOML that can't be read any more, or that says one thing twice."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator

from sdlc.review_graphs.checks.base import ChangedPath, Level, Raised, Trees, is_test
from sdlc.review_graphs.checks.quality.source import shown_at

_NEEDED = frozenset({"pyproject.toml", "package.json", "Cargo.toml", "composer.json"})
"""Without which nothing of the project can be built or installed."""
_LEFT_ALONE = re.compile(r"(^|/)(fixtures?|templates?|testdata|snapshots?|invalid)/|\{\{", re.IGNORECASE)
_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|(//[^\n]*|/\*.*?\*/)', re.DOTALL)
_TRAILING_COMMA = re.compile(r'"(?:[^"\\\n]|\\.)*"|(,)(?=\s*[}\]])')
_LINE = re.compile(r"\bline (\d+)")


class DataFiles:
    name = "data-files"
    required = True

    def looks_at(self, path: str) -> bool:
        return path.endswith((".json", ".toml")) and not is_test(path) and not _LEFT_ALONE.search(path)

    def run(self, trees: Trees) -> Iterable[Raised]:
        for file in trees.present:
            text = trees.head.text(file.path) if self.looks_at(file.path) else None
            if not text or not text.strip() or "{{" in text or "{%" in text or "<<<<<<< " in text:
                continue  # empty, a template, or a merge that `leftovers` tells of
            before = trees.before(file)
            if file.path.endswith(".toml"):
                yield from _toml(file, text, before)
            else:
                yield from _json(file, text.removeprefix("\ufeff"), before)


def _toml(file: ChangedPath, text: str, before: str | None) -> Iterator[Raised]:
    problem = _toml_problem(text)
    if problem and not (before and _toml_problem(before)):
        line = int(found[1]) if (found := _LINE.search(problem)) else len(text.splitlines())
        yield _broken(file, "TOML", line, problem.partition(" (at")[0])


def _toml_problem(text: str) -> str:
    try:
        tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        return str(error) or "too deep"
    return ""


def _json(file: ChangedPath, text: str, before: str | None) -> Iterator[Raised]:
    problem = _json_problem(text)
    if problem is None:
        known = _repeated(before.removeprefix("\ufeff")) if before else set()
        for key in sorted(_repeated(text) - known):
            lines = [at for at, line in enumerate(text.split("\n"), start=1) if f'"{key}"' in line]
            line = next((at for at in reversed(lines) if file.has_added(at)), 0)
            if line:
                yield _twice(file, line, key)
    elif not (before and _json_problem(before.removeprefix("\ufeff"))) and not _is_lenient(text):
        yield _broken(file, "JSON", problem.lineno, problem.msg)


def _json_problem(text: str) -> json.JSONDecodeError | None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error
    except RecursionError:
        return None
    return None


def _is_lenient(text: str) -> bool:
    """Is it JSON with comments or commas at the end, as some tools read it, or a document on each line?"""
    plain = _COMMENT.sub(lambda found: "" if found[1] else found[0], text)
    plain = _TRAILING_COMMA.sub(lambda found: "" if found[1] else found[0], plain)
    lines = [line for line in text.split("\n") if line.strip()]
    return _json_problem(plain) is None or (len(lines) > 1 and all(_json_problem(line) is None for line in lines))


def _repeated(text: str) -> set[str]:
    found: set[str] = set()

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        names = [name for name, _ in items]
        found.update(name for name in names if names.count(name) > 1 and not name.startswith(("//", "_comment")))
        return dict(items)

    if len(text) < 200_000 and _json_problem(text) is None:
        try:
            json.loads(text, object_pairs_hook=pairs)
        except RecursionError:
            return set()
    return found


def _broken(file: ChangedPath, kind: str, line: int, problem: str) -> Raised:
    level: Level = "blocker" if file.path.rpartition("/")[2] in _NEEDED else "major"
    line = max(line, 1)
    return Raised(
        rule=f"broken-{kind.lower()}",
        file=file.path,
        line=line if file.has_added(line) else shown_at(file, max(line - 2, 1), line),
        severity=level,
        message=(
            f"This is no {kind} any more ({problem[:80]}), so whatever reads the file fails or goes without it. "
            "Mend it."
        ),
    )


def _twice(file: ChangedPath, line: int, key: str) -> Raised:
    return Raised(
        rule="repeated-key",
        file=file.path,
        line=line,
        severity="minor",
        confidence=0.9,
        message=(
            f"`{key[:60]}` stands twice in one object: what reads it takes the last and drops the other without a "
            "word. Keep one."
        ),
    )
