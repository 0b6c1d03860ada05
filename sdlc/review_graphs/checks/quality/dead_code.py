"""Code that nobody runs: added without a use, left behind by its last use, or after the end of its block."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from sdlc.review_graphs.checks.base import ChangedPath, Raised, Trees, is_test
from sdlc.review_graphs.checks.quality.definitions import Named, is_library, is_public, named
from sdlc.review_graphs.checks.quality.flow import goes_on
from sdlc.review_graphs.checks.quality.source import head_line, is_product, nodes, shown_at, spoken
from sdlc.review_graphs.checks.quality.uses import Unreachable, Uses, scanned

MOST_ALONE = 3
"""New definitions of one file that nobody uses; more become one finding."""

_WORD = re.compile(r"[A-Za-z_]\w*")
_JUMPS = (ast.Return, ast.Raise, ast.Continue, ast.Break)


@dataclass(frozen=True)
class Candidate:
    """A definition that is dead if nobody uses its name."""

    file: ChangedPath
    item: Named
    is_new: bool


class DeadCode:
    name = "dead-code"
    required = False

    def looks_at(self, path: str) -> bool:
        return path.endswith(".py")

    def run(self, trees: Trees) -> Iterable[Raised]:
        for file in trees.present:
            if self.looks_at(file.path):
                yield from _unreachable(file, trees.before(file), trees.head.text(file.path) or "")
        candidates = [*_candidates(trees)]
        uses = Uses(trees.head, {one.item.bare for one in candidates})
        dead: dict[tuple[str, str], Candidate] = {}
        for one in candidates:
            item, path = one.item, one.file.path
            # A new class that nobody uses is one finding, not one for each of its methods as well.
            is_in_one = item.kind == "method" and (path, item.name.rpartition(".")[0]) in dead
            if not is_in_one and not uses.users(item.bare) and not uses.by_text(item.bare, path):
                dead[path, item.name] = one
        yield from (_left_behind(trees, one) for one in dead.values() if not one.is_new)
        new = [one for one in dead.values() if one.is_new]
        for path in dict.fromkeys(one.file.path for one in new):
            yield from _new([one for one in new if one.file.path == path])


def _candidates(trees: Trees) -> Iterator[Candidate]:
    files = [file for file in trees.present if is_product(file.path)]
    if not files:
        return
    is_api = is_library(trees.head)
    before = {file.path: trees.base.text(file.old_path) for file in trees.files if file.old_path.endswith(".py")}
    there = {item.bare for path, text in before.items() for item in named(text, path)}
    left: list[Candidate] = []
    for file in files:
        items = [
            item for item in named(trees.head.text(file.path), file.path) if not (is_api and is_public(file.path, item))
        ]
        left += [Candidate(file, item, is_new=False) for item in items if item.bare in there]
        for item in items:
            if item.bare not in there and file.has_added(item.node.lineno):
                yield Candidate(file, item, is_new=True)
    forgotten = _forgotten(trees, before, {one.item.bare for one in left})
    yield from (one for one in left if one.item.bare in forgotten)


def _forgotten(trees: Trees, before: dict[str, str | None], names: set[str]) -> set[str]:
    """Those of the names that changed files use on the base, and none of them on the head."""
    after = {file.path: trees.head.text(file.path) for file in trees.present if file.path.endswith(".py")}
    was, now = _counted(before.values(), names), _counted(after.values(), names)
    # Reading words is fast, and most names are as often there as before.
    fewer = {name for name in names if now[name] < was[name]}
    return fewer & (_used(before, fewer) - _used(after, fewer)) if fewer else set()


def _counted(texts: Iterable[str | None], names: set[str]) -> Counter[str]:
    return Counter(word for text in texts if text for word in _WORD.findall(text) if word in names)


def _used(texts: dict[str, str | None], names: set[str]) -> set[str]:
    found: set[str] = set()
    for path, text in texts.items():
        if text and not names.isdisjoint(_WORD.findall(text)) and (seen := scanned(text, path)):
            found |= seen.used
    return found


def _new(found: Sequence[Candidate]) -> Iterator[Raised]:
    """One finding each, or one for many of a file."""
    groups = [[one] for one in found] if len(found) <= MOST_ALONE else [found]
    for group in groups:
        item = group[0].item
        names = spoken(one.item.name for one in group)
        what = f"{names} are new, and nothing" if len(group) > 1 else f"The {item.kind} {names} is new, and nothing"
        it = "them" if len(group) > 1 else "it"
        yield Raised(
            rule="unused",
            file=group[0].file.path,
            line=item.node.lineno,
            severity="minor",
            confidence=min(one.item.confidence for one in group),
            message=(
                f"{what} in the repository uses {it}, no test either. Call {it} where that is meant, or take {it} out."
            ),
        )


def _left_behind(trees: Trees, one: Candidate) -> Raised:
    item, file = one.item, one.file
    before, after = trees.before(file), trees.head.text(file.path)
    line = item.node.lineno
    if before and after and (last_use := _last_use(before, item.bare)):
        line = head_line(before, after, last_use)
    return Raised(
        rule="left-behind",
        file=file.path,
        line=line,
        severity="minor",
        confidence=item.confidence if item.is_private else 0.6,
        message=(
            f"With this change goes the last use of the {item.kind} `{item.name}` (line {item.node.lineno}), which "
            "nothing in the repository uses any more. Take it out as well, or restore the call."
        ),
    )


def _last_use(text: str, name: str) -> int:
    """The last line that uses a name; 0 if there is none."""
    lines = [
        node.lineno
        for node in nodes(text)
        if (isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load))
        or (isinstance(node, ast.Attribute) and node.attr == name)
    ]
    return max(lines, default=0)


def _unreachable(file: ChangedPath, before: str | None, after: str) -> Iterator[Raised]:
    blocks = _blocks(after)
    if all(goes_on(block[at - 1]) for block, at in blocks.values()):
        return  # nothing that vulture would have to look at
    seen = scanned(after, file.path)
    if seen is None or not seen.unreachable:
        return
    was = scanned(before, file.path)
    old = _sources(before or "", was.unreachable if was else ())
    for one, source in zip(seen.unreachable, _sources(after, seen.unreachable), strict=True):
        if source in old or one.first not in blocks:
            continue
        block, at = blocks[one.first]
        end, rest = block[at - 1], block[at:]
        is_cut_off = file.has_added(end.lineno, end.end_lineno or end.lineno) and not file.has_added(one.first)
        if _makes_generator(rest) or (not is_cut_off and _is_meant(end, rest)):
            continue
        if is_cut_off:
            line = shown_at(file, end.end_lineno or end.lineno, end.end_lineno or end.lineno)
            line = line if file.has_added(line) else shown_at(file, end.lineno, end.end_lineno or end.lineno)
            yield _raised(file, one, line, is_cut_off=True)
        elif file.has_added(one.first, one.last):
            yield _raised(file, one, shown_at(file, one.first, one.last), is_cut_off=False)


def _raised(file: ChangedPath, one: Unreachable, line: int, *, is_cut_off: bool) -> Raised:
    lines = f"line {one.first}" if one.first == one.last else f"lines {one.first} to {one.last}"
    return Raised(
        rule="cut-off" if is_cut_off else "unreachable",
        file=file.path,
        line=line,
        severity="major" if is_cut_off else "minor",
        message=(
            f"The code on {lines}, which ran before, is not reached any more: the `{one.after}` before it always "
            f"leaves.{' What the test asserts there proves nothing.' if is_test(file.path) else ''} Put it behind a "
            "condition, or take out what follows."
            if is_cut_off
            else f"The code on {lines} is never reached: the `{one.after}` before always leaves. Move it before that, "
            "or take it out."
        ),
    )


def _sources(text: str, unreachable: Iterable[Unreachable]) -> list[str]:
    lines = text.split("\n")
    return ["\n".join(line.strip() for line in lines[one.first - 1 : one.last]) for one in unreachable]


def _blocks(text: str) -> dict[int, tuple[list[ast.stmt], int]]:
    """First line of a statement → its block, and where it is in it; of those that are not the first there."""
    found: dict[int, tuple[list[ast.stmt], int]] = {}
    for node in nodes(text):
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list):
                for at in range(1, len(block)):
                    decorators = getattr(block[at], "decorator_list", [])
                    found[min(part.lineno for part in (block[at], *decorators))] = block, at
    return found


def _makes_generator(rest: list[ast.stmt]) -> bool:
    """Is there a `yield` that is there to be seen, not to be reached?"""
    return any(isinstance(item, ast.Expr) and isinstance(item.value, ast.Yield | ast.YieldFrom) for item in rest)


def _is_meant(end: ast.stmt, rest: list[ast.stmt]) -> bool:
    """Is it there for what reads the code, such as an `assert False` for the type checker?"""
    if len(rest) > 1:
        return False
    match rest[0]:
        case ast.Raise() | ast.Pass() | ast.Assert(test=ast.Constant()) | ast.Expr(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call(func=ast.Name(id="assert_never") | ast.Attribute(attr="assert_never"))):
            return True
        case ast.Return():
            return not isinstance(end, _JUMPS)
    return False
