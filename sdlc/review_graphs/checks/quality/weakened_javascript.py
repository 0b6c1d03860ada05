"""Tests of JavaScript and TypeScript that a change removes, switches off, or runs alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from sdlc.review_graphs.checks.base import ChangedPath, Trees, is_test
from sdlc.review_graphs.checks.quality.javascript import Block, blocks, code_of, is_javascript
from sdlc.review_graphs.checks.quality.losses import Loss
from sdlc.review_graphs.checks.quality.source import head_line

_EXPECTS = re.compile(r"\b(?:expect|assert|should)\b(?!\s*\(\s*(?:true|false|null|\d+)\s*\))")
_NAME = re.compile(r"[A-Za-z_$][\w$]*")


def losses(trees: Trees) -> Iterator[Loss]:
    """What the change takes from tests such as `it("adds", …)`."""
    files = [file for file in trees.files if is_javascript(file.path) and is_test(file.path)]
    before = {file.path: blocks(trees.before(file) or "") for file in files}
    after = {file.path: blocks(_head(trees, file)) for file in files}
    titles = {block.title for items in after.values() for block in items}
    number = sum(block.is_test for items in after.values() for block in items)
    was = sum(block.is_test for items in before.values() for block in items)
    gone = _gone(trees)
    for file in files:
        yield from _switched(file, before[file.path], after[file.path])
        yield from _emptied(before[file.path], after[file.path], file)
        # Where there are as many as before, those that are gone may have got other titles.
        if number < was:
            yield from _removed(trees, file, before[file.path], titles, gone)


def _head(trees: Trees, file: ChangedPath) -> str:
    return (trees.head.text(file.path) if file.status != "D" else None) or ""


def _switched(file: ChangedPath, before: tuple[Block, ...], after: tuple[Block, ...]) -> Iterator[Loss]:
    old = {(block.title, block.is_skipped, block.is_focused) for block in before}
    known = {block.title for block in before}
    for block in after:
        if (block.title, block.is_skipped, block.is_focused) in old or not file.has_added(block.line):
            continue
        if block.is_focused:
            yield Loss(
                rule="focused-test",
                file=file.path,
                line=block.line,
                name=block.title,
                what="is marked to run alone, so that all others of the file are left out without a word",
                mend="Take the mark (`.only`) out.",
            )
        elif block.is_skipped and block.title in known:
            yield Loss(
                rule="test-disabled",
                file=file.path,
                line=block.line,
                name=block.title,
                what="is skipped from now on, so that nobody notices when what it tests breaks",
                together="are skipped from now on",
                mend="Mend the test or what it shows.",
            )


def _emptied(before: tuple[Block, ...], after: tuple[Block, ...], file: ChangedPath) -> Iterator[Loss]:
    """Tests that expected something and now expect nothing, or what always holds."""
    old = {block.title: block for block in before if block.is_test and _EXPECTS.search(block.body)}
    for block in after:
        was = old.get(block.title)
        if was is None or not block.body or block.is_skipped or _EXPECTS.search(block.body):
            continue
        if set(_NAME.findall(block.body)) - set(_NAME.findall(was.body)) - {"expect", "assert", "true", "false"}:
            continue  # what it calls anew may expect it
        yield Loss(
            rule="assertions-removed",
            file=file.path,
            line=block.line,
            name=block.title,
            what="asserts nothing any more, and passes whatever the product does",
            together="lose assertions",
            mend="Put it back, or assert what is right now.",
        )


def _removed(
    trees: Trees, file: ChangedPath, before: tuple[Block, ...], titles: set[str], gone: set[str]
) -> Iterator[Loss]:
    text, after = trees.before(file) or "", _head(trees, file)
    for block in before:
        if not block.is_test or block.is_skipped or block.title in titles:
            continue
        if gone.intersection(_NAME.findall(f"{block.title} {block.body}")):
            continue
        yield Loss(
            rule="test-removed",
            file=file.path,
            line=head_line(text, after, block.line) if after else 1,
            name=block.title,
            what="is removed, though what it tests stays",
            together="are removed, though what they test stays",
            mend="Put it back and mend what it shows, or say in the ticket why it no longer holds.",
            confidence=0.8,
        )


def _gone(trees: Trees) -> set[str]:
    """Names that the change takes away from the product: what tests them may go as well."""
    before: set[str] = set()
    after: set[str] = set()
    for file in trees.files:
        if is_javascript(file.old_path) and not is_test(file.old_path):
            before.update(_NAME.findall(code_of(trees.base.text(file.old_path) or "")))
            if file.status == "D":
                before.add(file.old_path.rpartition("/")[2].partition(".")[0])
        if is_javascript(file.path) and not is_test(file.path):
            after.update(_NAME.findall(code_of(_head(trees, file))))
    return before - after
