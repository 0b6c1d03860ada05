"""Settings by which fewer tests are run, or less has to be covered: of pytest, coverage and jest, and command lines."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sdlc.review_graphs.checks.base import ChangedPath, Trees
from sdlc.review_graphs.checks.quality import settings
from sdlc.review_graphs.checks.quality.losses import Loss
from sdlc.review_graphs.checks.quality.settings import number, options, tokens, words
from sdlc.review_graphs.checks.quality.source import head_line

_COMMANDS = re.compile(
    r"(^|/)(\.github/workflows/[^/]+\.ya?ml|\.gitlab-ci\.ya?ml|azure-pipelines\.ya?ml|\.circleci/config\.yml"
    r"|\.sdlc\.yml|tox\.ini|makefile|justfile|noxfile\.py|package\.json|[^/]+\.sh)$",
    re.IGNORECASE,
)
_RUNS_TESTS = re.compile(
    r"\b(pytest|py\.test|unittest|nox|tox|jest|vitest|mocha|ava|playwright test|node --test|go test|cargo test"
    r"|(?:npm|yarn|pnpm|bun|deno|dotnet)(?: run)? test|gradlew? test|mvn (?:test|verify)|rspec|phpunit)\b"
)
_PASSES_ANYHOW = re.compile(r"(?:\|\||;)\s*(?:true\b|:(?=[\s\"']|$)|exit 0\b)|^\t@?-")
"""Also the `-` of make, by which a failing line is passed over."""
_RUNS_NOTHING = re.compile(r"\s*(?:(?:echo|true|:|exit 0)\b[^&|;]*(?:&&|;|$)\s*)+\Z")
_FILES_OF_TESTS = ["test_*.py", "*_test.py"]
"""What pytest takes for tests where nothing is said."""
_NO_TESTS = frozenset({"/node_modules/", "node_modules", "<rootDir>/node_modules/", "dist", "/dist/", "build"})


def looks_at(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name in settings.FILES or name in ("conftest.py", "package.json") or bool(_COMMANDS.search(path))


def losses(trees: Trees) -> Iterator[Loss]:
    """What the change of settings leaves out."""
    for file in trees.present:
        before, after = trees.before(file), trees.head.text(file.path)
        if before is not None and after is not None and looks_at(file.path):
            yield from _Changed(trees, file, before, after).losses()


@dataclass(frozen=True)
class _Changed:
    """One file with settings, before and after."""

    trees: Trees
    file: ChangedPath
    before: str
    after: str

    def losses(self) -> Iterator[Loss]:
        name = self.file.path.rpartition("/")[2]
        if name == "conftest.py":
            yield from self._collection()
        if name in settings.FILES:
            old, new = settings.sections(name, self.before), settings.sections(name, self.after)
            if old and new:
                yield from self._pytest(old["pytest"], new["pytest"])
                yield from self._covered("fail_under", old["coverage"].get("fail_under"), new["coverage"])
        if name == "package.json":
            yield from self._script()
            of_before, of_after = settings.jest(self.before), settings.jest(self.after)
            if of_before is not None and of_after is not None:
                yield from self._jest(of_before, of_after)
        if _COMMANDS.search(self.file.path):
            yield from self._commands()

    @cached_property
    def _tests(self) -> list[str]:
        """The test files below the file's folder, relative to it."""
        # Commands run at the root of the repository, wherever they are written down.
        folder = "" if _COMMANDS.search(self.file.path) else self.file.path.rpartition("/")[0]
        prefix = f"{folder}/" if folder else ""
        inside = (path.removeprefix(prefix) for path in self.trees.head.paths if path.startswith(prefix))
        return [path for path in inside if path.endswith(".py") and "test" in path.rpartition("/")[2]]

    def _pytest(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Loss]:
        old, new = tokens(before.get("addopts")), tokens(after.get("addopts"))
        for option in self._leaving_out(new, old):
            yield self._loss(option, "leaves out tests that ran before", "Take the option out.", option.split("=")[0])
        yield from self._covered("--cov-fail-under", options(old).get("--cov-fail-under"), options(new))
        yield from self._paths(words(before.get("testpaths")), words(after.get("testpaths")))
        for name in sorted(set(words(after.get("norecursedirs"))) - set(words(before.get("norecursedirs")))):
            inside = [path for path in self._tests if any(fnmatch.fnmatch(part, name) for part in path.split("/")[:-1])]
            if inside:
                what = f"now leaves out `{name}`, so that its test files ({len(inside)}) are not run"
                yield self._loss("norecursedirs", what, "Take the name out.", name)
        found = words(before.get("python_files")) or _FILES_OF_TESTS
        patterns = words(after.get("python_files")) or _FILES_OF_TESTS
        lost = [path for path in self._tests if _matches(path, found) and not _matches(path, patterns)]
        if lost:
            what = f"no longer matches `{lost[0]}`, whose tests are not run any more"
            yield self._loss("python_files", what, "Widen the pattern again.")

    def _paths(self, before: list[str], after: list[str]) -> Iterator[Loss]:
        for folder in before:
            lost = [path for path in self._tests if _is_below(path, [folder]) and not _is_below(path, after)]
            if after and lost:
                what = f"no longer takes in all of `{folder}`, so that `{lost[0]}` is not run"
                yield self._loss("testpaths", what, "Put the folder back.")

    def _covered(self, name: str, before: object, after: Mapping[str, Any]) -> Iterator[Loss]:
        old, new = number(before), number(after.get(name))
        if old and (new is None or new < old):
            now = "is gone" if new is None else f"is {new:g}"
            what = f"{now} and was {old:g}, so that code which no test runs passes from now on"
            yield self._loss(name, what, "Restore it, and test what the change adds.", rule="coverage-lowered")

    def _collection(self) -> Iterator[Loss]:
        """`collect_ignore` of a conftest.py, with names of files that hold tests."""
        for name, ignored in settings.collect_ignored(self.after).items():
            new = sorted(ignored - settings.collect_ignored(self.before).get(name, frozenset()))
            hit = [one for one in new if any(self._is_left_out(path, one) for path in self._tests)]
            if hit:
                mend = "Mend them, or give them a mark with a condition that says where they can't run."
                yield self._loss(name, f"leaves out the tests of `{hit[0]}`, which ran before", mend, hit[0])

    def _jest(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Loss]:
        now = settings.thresholds(after)
        for name, was in settings.thresholds(before).items():
            short = name.rpartition(".")[2]
            yield from self._covered(short, was, {short: now.get(name)})
        key = "testPathIgnorePatterns"
        for pattern in sorted(set(words(after.get(key))) - set(words(before.get(key))) - _NO_TESTS):
            yield self._loss(key, f"now has `{pattern}`, and leaves out tests that ran before", "Take it out.", pattern)

    def _script(self) -> Iterator[Loss]:
        """The script `test`, where it runs nothing any more."""
        old, new = settings.test_script(self.before), settings.test_script(self.after)
        if _RUNS_TESTS.search(old) and new != old and (not new or _RUNS_NOTHING.match(new)):
            yield self._loss("test", "is a script that runs no test any more", "Put its command back.", '"test"')

    def _commands(self) -> Iterator[Loss]:
        """Lines that run tests. One that stands for none of the base may well run some of the tests only."""
        old = [line for line in self.before.split("\n") if _RUNS_TESTS.search(line)]
        runners = {match[0] for line in old for match in _RUNS_TESTS.finditer(line)}
        was = [token for line in old for token in tokens(line)]
        for at, line in enumerate(self.after.split("\n"), start=1):
            match = _RUNS_TESTS.search(line)
            if not match or match[0] not in runners or not self.file.has_added(at):
                continue
            if line.lstrip().startswith(("#", "//")):
                continue
            for option in self._leaving_out(tokens(line), was):
                yield self._loss(option, "leaves out tests that ran before", "Take the option out.", line=at)
            if _PASSES_ANYHOW.search(line) and not any(_PASSES_ANYHOW.search(other) for other in old):
                yield self._loss(match[0], "is told to succeed when tests fail", "Let it fail.", line=at)
            key = "--cov-fail-under"
            if key in line:
                yield from self._covered(key, options(was).get(key), options(tokens(line)))

    def _leaving_out(self, new: list[str], old: list[str]) -> Iterator[str]:
        """Options that leave out tests, with their values, of which the base has none."""
        there = set(settings.pairs(old))
        for option, value in settings.pairs(new):
            if (option, value) in there or not value:
                continue
            if option in ("--ignore", "--ignore-glob"):
                if any(self._is_left_out(path, value) for path in self._tests):
                    yield f"{option}={value}"
            elif option in ("--deselect", "--testPathIgnorePatterns"):
                yield f"{option}={value}"
            elif option == "-k" and re.match(r"not\b|.*\band not\b", value):
                yield f"{option} {value}"

    def _is_left_out(self, path: str, value: str) -> bool:
        return _is_below(path, [value]) or path == value or fnmatch.fnmatch(path, value)

    def _loss(
        self, name: str, what: str, mend: str, where: str = "", *, rule: str = "deselected", line: int = 0
    ) -> Loss:
        line = line or self._line(where or name, name)
        return Loss(rule=rule, file=self.file.path, line=line, name=name, what=what, mend=mend)

    def _line(self, *names: str) -> int:
        """The added line that says so; else where it stood before."""
        for name in names:
            for at, line in enumerate(self.after.split("\n"), start=1):
                if name in line and self.file.has_added(at):
                    return at
        for at, line in enumerate(self.before.split("\n"), start=1):
            if names[-1] in line:
                return head_line(self.before, self.after, at)
        return self.file.first_added


def _is_below(path: str, folders: Iterable[str]) -> bool:
    return any(
        folder in (".", "./") or path == folder or path.startswith(f"{folder.removeprefix('./').rstrip('/')}/")
        for folder in folders
    )


def _matches(path: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatch(path.rpartition("/")[2], pattern) for pattern in patterns)
