"""Tests of pytest and unittest that a change removes or switches off."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cached_property

from sdlc.review_graphs.checks.base import Trees, is_test
from sdlc.review_graphs.checks.quality import skips
from sdlc.review_graphs.checks.quality.decisions import decisions
from sdlc.review_graphs.checks.quality.losses import Loss
from sdlc.review_graphs.checks.quality.skips import Skip
from sdlc.review_graphs.checks.quality.source import Function, behaviour, functions, head_line, is_same, parsed
from sdlc.review_graphs.checks.quality.tested import Tested, offered, tests_of
from sdlc.review_graphs.checks.quality.weakened_claims import fewer_cases, swallowed, weaker

MOST_COMPARED = 200_000
"""Pairs of a removed and an added test. Where there are more, all tests were written anew, and people look anyway."""

_COLLECTED = re.compile(r"(^|/)(test_[^/]*|[^/]*_test|tests)\.py$")
_CONFIGURATIONS = ("pyproject.toml", "pytest.ini", ".pytest.ini", "setup.cfg", "tox.ini")


class PythonTests:
    """The changed tests, before and after."""

    def __init__(self, trees: Trees) -> None:
        self._trees = trees
        self._files = {file.path: file for file in trees.files}
        self._before: dict[str, dict[str, Tested]] = {}
        self._after: dict[str, dict[str, Tested]] = {}
        for file in trees.files:
            after = trees.head.text(file.path) if file.status != "D" and file.is_text else None
            if file.status != "D" and parsed(after) is None:
                continue  # ruff says what is wrong with it
            if file.old_path.endswith(".py") and is_test(file.old_path):
                self._before[file.path] = tests_of(file.path, trees.base.text(file.old_path))
            if file.path.endswith(".py") and is_test(file.path):
                self._after[file.path] = tests_of(file.path, after)

    def losses(self) -> Iterator[Loss]:
        yield from self._not_collected()
        for before, after in self._pairs:
            if before.text != after.text or before.path != after.path:
                yield from self._paired(before, after)
        for test in self._removed:
            is_gone = self._is_gone(test.words) or not self._gone_parameters.isdisjoint(test.keywords)
            is_gone = is_gone or not self._doing_less.isdisjoint(test.words)
            # One for certain versions or systems goes when they are no longer supported.
            is_gone = is_gone or skips.is_conditional(test.function)
            if not is_gone and not test.skip and not self._is_replaced(test):
                yield self._lost(test)
        known = {after.function for _, after in self._pairs}
        for test in self._added:
            if test.function not in known:
                yield from self._new(test)

    @cached_property
    def _split(self) -> tuple[list[tuple[Tested, Tested]], list[Tested]]:
        """The tests that are there before and after, moved ones too, and those that are there no more."""
        pairs: list[tuple[Tested, Tested]] = []
        removed: list[Tested] = []
        by_name: dict[str, list[Tested]] = {}
        for test in self._added:
            by_name.setdefault(test.bare, []).append(test)
        for path, tests in self._before.items():
            for name, test in tests.items():
                after = self._after.get(path, {}).get(name)
                after = after or next((one for one in by_name.get(test.bare, ()) if test.is_like(one)), None)
                if after:
                    pairs.append((test, after))
                else:
                    removed.append(test)
        return pairs, removed

    @property
    def _pairs(self) -> list[tuple[Tested, Tested]]:
        return self._split[0]

    @property
    def _removed(self) -> list[Tested]:
        return self._split[1]

    @cached_property
    def _added(self) -> list[Tested]:
        return [
            test
            for path, tests in self._after.items()
            for name, test in tests.items()
            if name not in self._before.get(path, {})
        ]

    @cached_property
    def _grown(self) -> list[Tested]:
        """Tests that say more than they did."""
        changed = (
            (before, after)
            for before, after in self._pairs
            if not is_same(after.function, after.text, before.function, before.text)
        )
        more = (after for before, after in changed if after.claimed - before.claimed or after.words - before.words)
        return [*self._added, *more]

    @cached_property
    def _gone(self) -> set[str]:
        """What the change takes away from the product: what tests that may go as well."""
        before: set[str] = set()
        after: set[str] = set()
        for file in self._trees.files:
            if file.old_path.endswith(".py") and not is_test(file.old_path):
                before |= offered(self._trees.base.text(file.old_path))
                if file.path != file.old_path or file.status == "D":
                    before.add(file.old_path.rpartition("/")[2].removesuffix(".py"))
            if file.path.endswith(".py") and not is_test(file.path) and file.status != "D":
                after |= offered(self._trees.head.text(file.path))
        return before - after

    @cached_property
    def _altered(self) -> list[tuple[Function, Function]]:
        """The functions of the product that are there before and after, and not the same."""
        found: list[tuple[Function, Function]] = []
        for file in self._trees.present:
            if file.path.endswith(".py") and not is_test(file.path):
                before, after = self._trees.before(file) or "", self._trees.head.text(file.path) or ""
                old, new = functions(before), functions(after)
                common = ((old[name], new[name]) for name in old.keys() & new.keys())
                found += [(was, now) for was, now in common if not is_same(now, after, was, before)]
        return found

    @cached_property
    def _gone_parameters(self) -> set[str]:
        """Parameters that a function of the product has lost, though others may have one of that name."""
        return {
            item.arg
            for was, now in self._altered
            for item in was.parameters
            if item.arg not in {other.arg for other in now.parameters}
        }

    @cached_property
    def _doing_less(self) -> set[str]:
        """Functions of the product that decide less than before: a test may have been about what they no longer do."""
        return {
            now.bare
            for was, now in self._altered
            if decisions(was) - decisions(now) and not decisions(now) - decisions(was)
        }

    @cached_property
    def _touched(self) -> set[str]:
        """Functions and classes of the product that the change touches, by their bare names."""
        return {part for _, now in self._altered for part in now.said.split(".")}

    def _is_gone(self, names: frozenset[str]) -> bool:
        dotted = {part for name in names if "." in name and " " not in name for part in name.split(".")}
        return not self._gone.isdisjoint(names | dotted)

    def _is_replaced(self, test: Tested) -> bool:
        if len(self._removed) * len(self._grown) > MOST_COMPARED:
            return True
        return any(test.is_like(one) for one in self._added) or any(test.is_part_of(one) for one in self._grown)

    def _lost(self, test: Tested) -> Loss:
        after = self._trees.head.text(test.path) if test.path in self._after else None
        line = head_line(test.text, after, test.function.node.lineno) if after else 1
        rule, what, many = "test-removed", "is removed", "are removed"
        if after and re.search(rf"^\s*#\s*(async\s+)?def {re.escape(test.bare)}\b", after, re.MULTILINE):
            rule, what, many = "test-disabled", "is commented out", "are commented out"
        for item in functions(after).values():
            if not item.bare.startswith("test") and behaviour(item) == test.does and not self._has_own_names:
                rule, line = "test-disabled", item.node.lineno
                what, many = f"is now called `{item.bare}` and not run any more", "have names by which they are not run"
        stays = self._stays(test)
        return Loss(
            rule=rule,
            file=test.path,
            line=line,
            name=test.name,
            what=f"{what}, {f'while `{stays}`, which it tests,' if stays else 'though what it tests'} seems to stay",
            together=f"{many}, though what they test seems to stay",
            mend="Put it back and mend what it shows, or say in the ticket why it no longer holds.",
            # Where the change touches what was tested, the test may be wrong now; a person has to say.
            confidence=0.7 if self._touched & test.words else 0.9,
        )

    def _stays(self, test: Tested) -> str:
        """Something of the product that the test uses by name."""
        tree = parsed(test.text)
        for node in tree.body if tree else ():
            if isinstance(node, ast.ImportFrom) and node.module and not node.level and not _is_of_tests(node.module):
                path = node.module.replace(".", "/")
                ends = (f"/{path}.py", f"/{path}/__init__.py")
                if any(f"/{known}".endswith(ends) for known in self._trees.head.paths):
                    for item in node.names:
                        if (item.asname or item.name) in test.words:
                            return item.name
        return ""

    @cached_property
    def _has_own_names(self) -> bool:
        """Does the repository say itself what tests are called?"""
        texts = (self._trees.base.text(path) for path in _CONFIGURATIONS)
        return any(text and re.search(r"\bpython_(functions|files|classes)\b", text) for text in texts)

    def _not_collected(self) -> Iterator[Loss]:
        for path, tests in self._before.items():
            old = self._files[path].old_path
            if path not in self._after or not self._after[path] or self._has_own_names:
                continue
            if _COLLECTED.search(old) and not _COLLECTED.search(path):
                yield Loss(
                    rule="test-disabled",
                    file=path,
                    line=1,
                    name=old.rpartition("/")[2],
                    what=f"has a name now by which pytest does not find its tests ({len(tests)})",
                    mend="Give it a name such as `test_….py` again.",
                )

    def _paired(self, before: Tested, after: Tested) -> Iterator[Loss]:
        if skip := after.skip:
            if not before.skip:
                yield _disabled(after, skip)
            return
        if is_same(after.function, after.text, before.function, before.text) or before.does == after.does:
            return
        yield from swallowed(before, after, self._files[after.path])
        yield from fewer_cases(before, after, self._is_gone)
        yield from weaker(before, after, self._grown, self._is_gone)

    def _new(self, test: Tested) -> Iterator[Loss]:
        yield from swallowed(None, test, self._files[test.path])
        if test.claims and all(claim.kind == "nothing" for claim in test.claims):
            yield Loss(
                rule="asserts-nothing",
                file=test.path,
                line=test.claims[0].line,
                name=test.name,
                what="is new and asserts only what is always true, so that it can't fail",
                mend="Assert what the product is expected to do.",
                severity="minor",
            )


def _disabled(test: Tested, skip: Skip) -> Loss:
    how = "skipped" if skip.how == "skip" else "expected to fail"
    return Loss(
        rule="test-disabled",
        file=test.path,
        line=skip.line,
        name=test.name,
        what=f"is {how} from now on, so that nobody notices when what it tests breaks",
        together=f"are {how} from now on",
        mend="Mend the test or what it shows, or give the mark a condition that says where it can't run.",
    )


def _is_of_tests(module: str) -> bool:
    return is_test(f"{module.replace('.', '/')}.py")
