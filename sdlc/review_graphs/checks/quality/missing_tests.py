"""Changes of what the product does that come without a test, in a repository that has tests."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sdlc.review_graphs.checks.base import ChangedPath, Raised, Trees, is_test
from sdlc.review_graphs.checks.quality.decisions import decisions, own_nodes
from sdlc.review_graphs.checks.quality.definitions import is_library
from sdlc.review_graphs.checks.quality.javascript import code_of, is_javascript
from sdlc.review_graphs.checks.quality.source import (
    Function,
    behaviour,
    functions,
    is_product,
    is_same,
    local_names,
    shape,
    shown_at,
    spoken,
)
from sdlc.review_graphs.checks.quality.uses import Uses

LARGE = 3
"""Statements from which a function without a branch is worth a test."""

_TEST_NAME = re.compile(r"(^|/)(test_[^/]*|[^/]*_tests?)\.py$")
_BRANCH = re.compile(r"\b(?:if|case|catch|while)\b|\?(?![.?:,)])|&&|\|\|")
_EXPORTED = re.compile(
    r"^export\s+(?:default\s+)?(?:async\s+)?(?:function\*?\s+(\w+)|const\s+(\w+)\s*=\s*(?:async\s*)?\()", re.M
)


@dataclass(frozen=True)
class Changed:
    """A function of the head that does what it did not do on the base."""

    file: ChangedPath
    function: Function
    is_new: bool

    @property
    def size(self) -> int:
        return self.function.last - self.function.first


class MissingTests:
    name = "missing-tests"
    required = True

    def looks_at(self, path: str) -> bool:
        return is_product(path) or (is_javascript(path) and not is_test(path))

    def run(self, trees: Trees) -> Iterable[Raised]:
        is_tested = any(_is_about_tests(trees, file) for file in trees.files)
        if not is_tested:
            yield from _scripts(trees)
        tests = [path for path in trees.base.paths if _TEST_NAME.search(path)]
        files = [file for file in trees.present if is_product(file.path)]
        if not tests or not files:
            return
        changed = [*_changed(trees, files)]
        if is_tested:
            yield from _unnamed(trees, [item for item in changed if item.is_new])
        elif changed:
            yield _raised(changed, tests)


def _is_about_tests(trees: Trees, file: ChangedPath) -> bool:
    """Does the change add to a test, be it one in a docstring?"""
    if file.status == "D":
        return False
    if is_test(file.path):
        return True
    if not file.is_text or not file.path.endswith((".py", ".md", ".rst", ".txt")):
        return False
    lines = (trees.head.text(file.path) or "").split("\n")
    return any(lines[number - 1].lstrip().startswith(">>>") for number in file.added_lines if number <= len(lines))


def _changed(trees: Trees, files: Sequence[ChangedPath]) -> Iterator[Changed]:
    before, after = _differing(trees, files)
    old = Counter[str]()
    for was in before:
        old.update(decisions(was))
    new = Counter[str]()
    for _, item, _ in after:
        new.update(decisions(item))
    # What was taken out of one function and put into another has been decided before; and where many decisions were
    # replaced by no more of others, the code was put in another form, which the tests that there are hold to.
    brought, gone = new - old, old - new
    if 1 < gone.total() >= brought.total():
        brought = Counter[str]()
    grows = brought.total() > gone.total()
    there = {behaviour(was) for was in before}
    steps = {step for was in before for step in _steps(was)}
    by_name = {was.bare: was for was in before}
    for file, item, same in after:
        if not file.has_added(item.first, item.last) or behaviour(item) in there:
            continue
        known = same or by_name.get(item.bare)
        added = decisions(item) - (decisions(known) if known else Counter())
        decides = added & brought and (grows or known is not None)
        if decides or (known is None and _is_worth_a_test(item, steps)):
            yield Changed(file, item, is_new=known is None and item.is_public)


def _differing(
    trees: Trees, files: Sequence[ChangedPath]
) -> tuple[list[Function], list[tuple[ChangedPath, Function, Function | None]]]:
    """The functions of the base, and those of the head with what they were, that are not the same word for word."""
    before: list[Function] = []
    after: list[tuple[ChangedPath, Function, Function | None]] = []
    for file in files:
        text, was = trees.head.text(file.path) or "", trees.before(file) or ""
        old = dict(functions(was))
        for name, item in functions(text).items():
            same = old.pop(name, None)
            if same is None or not is_same(item, text, same, was):
                after.append((file, item, same))
                before += [same] if same else []
        before += old.values()
    for file in trees.files:
        if file.status == "D" and file.old_path.endswith(".py"):
            before += functions(trees.base.text(file.old_path)).values()
    return before, after


def _is_worth_a_test(item: Function, steps: set[str]) -> bool:
    """A public function that is new, does more than hand something on, and was not taken out of another."""
    own = _steps(item)
    return item.is_public and len(own) >= LARGE and sum(step in steps for step in own) * 2 < len(own)


def _steps(item: Function) -> list[str]:
    renamed = dict.fromkeys(local_names(item.node), "_")
    return [
        shape(node, renamed)
        for node in own_nodes(item)
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign | ast.Expr | ast.Return | ast.With | ast.For)
    ]


def _raised(changed: Sequence[Changed], tests: Sequence[str]) -> Raised:
    largest = max(changed, key=lambda item: (item.size, item.function.said))
    names = [item.function.said for item in sorted(changed, key=lambda item: item is not largest)]
    item = largest.function
    what = "does" if len(names) == 1 else "do"
    return Raised(
        rule="no-test",
        file=largest.file.path,
        line=shown_at(largest.file, item.node.lineno, item.last),
        severity="minor",
        confidence=0.8 if any(one.is_new for one in changed) else 0.6,
        message=(
            f"What {spoken(dict.fromkeys(names))} {what} changes, and no test did: the next one who breaks it is not "
            f"told. Add a test that fails without this change{_beside(largest.file.path, tests)}."
        ),
    )


def _beside(path: str, tests: Sequence[str]) -> str:
    stem = path.rpartition("/")[2].removesuffix(".py").strip("_")
    near = [test for test in tests if test.rpartition("/")[2] in (f"test_{stem}.py", f"{stem}_test.py")]
    return f" to `{near[0]}`" if len(near) == 1 else ""


def _unnamed(trees: Trees, changed: Sequence[Changed]) -> Iterator[Raised]:
    """New public functions of a library that no test and nobody else here so much as mentions."""
    free = [
        item
        for item in changed
        if not item.function.node.decorator_list and item.function.owner is None and not item.function.nested
    ]
    if not free or not is_library(trees.head):
        return
    uses = Uses(trees.head, {item.function.bare for item in free})
    for item in free:
        users = {path for path in uses.users(item.function.bare) if path.endswith(".py")}
        if all(path.endswith("/__init__.py") for path in users) and not uses.by_text(
            item.function.bare, item.file.path
        ):
            yield Raised(
                rule="new-untested",
                file=item.file.path,
                line=shown_at(item.file, item.function.node.lineno, item.function.last),
                severity="minor",
                confidence=0.6,
                message=(
                    f"`{item.function.said}` is new, and neither a test nor anything else here calls it, so nothing "
                    "shows that it works. Add a test of it to those of this change."
                ),
            )


def _scripts(trees: Trees) -> Iterator[Raised]:
    """Files of JavaScript and TypeScript with a test beside them, by its name, that decide more than before."""
    there = set(trees.base.paths)
    for file in trees.present:
        if not is_javascript(file.path) or is_test(file.path) or not file.old_path:
            continue
        beside = next((path for path in _siblings(file.old_path) if path in there), "")
        before, after = trees.before(file), trees.head.text(file.path)
        if not beside or before is None or after is None:
            continue
        old, new = code_of(before), code_of(after)
        names = set(_exported(new)) - set(_exported(old))
        if names and len(_BRANCH.findall(new)) > len(_BRANCH.findall(old)):
            line = next(number for name, number in _exported(new).items() if name in names)
            yield Raised(
                rule="no-test",
                file=file.path,
                line=shown_at(file, line, line),
                severity="minor",
                confidence=0.6,
                message=(
                    f"{spoken(sorted(names))} {'is' if len(names) == 1 else 'are'} new, and no test changes: nothing "
                    f"shows that it works. Add a test to `{beside}`."
                ),
            )


def _siblings(path: str) -> Iterator[str]:
    folder, _, name = path.rpartition("/")
    stem, _, ending = name.rpartition(".")
    prefix = f"{folder}/" if folder else ""
    for mark in ("test", "spec"):
        yield f"{prefix}{stem}.{mark}.{ending}"
        yield f"{prefix}__tests__/{stem}.{mark}.{ending}"


def _exported(code: str) -> dict[str, int]:
    return {
        first or second: code.count("\n", 0, match.start()) + 1
        for match in _EXPORTED.finditer(code)
        for first, second in [match.groups()]
    }
