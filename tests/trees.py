"""Two trees for a check, as its process in the sandbox would see them, made from texts."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sdlc.integrations.project.rules import ReviewRules
from sdlc.review_graphs.checks.base import ChangedPath, Check, Raised, Tree, Trees
from sdlc.review_graphs.diff import ranges
from sdlc.review_graphs.unread import unread_by_path

Files = Mapping[str, str | bytes]


def trees(
    folder: Path,
    base: Files,
    head: Files,
    *,
    rules: Mapping[str, Any] | None = None,
    renamed: Mapping[str, str] | None = None,
    modes: Mapping[str, str] | None = None,
) -> Trees:
    """`head` is given whole, as `base` is. `renamed`: new path → old path; `modes`: path → git's mode on the head."""
    for name, files in (("base", base), ("head", head)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for path, content in files.items():
            full = folder / name / path
            full.parent.mkdir(parents=True, exist_ok=True)
            full.write_bytes(content if isinstance(content, bytes) else content.encode())
    moved, modes = renamed or {}, modes or {}
    changed = [
        _changed(path, moved.get(path, path), base, head, modes.get(path, "100644"))
        for path in sorted({*base, *head} - set(moved.values()))
        if base.get(moved.get(path, path)) != head.get(path) or path in moved or path in modes
    ]
    own = ReviewRules.model_validate(rules or {}).model_dump(mode="json")
    return Trees(Tree(folder / "head"), Tree(folder / "base"), tuple(changed), own)


def raised(check: Check, given: Trees) -> list[tuple[str, str, int]]:
    """(rule, file, line) of all that a check raises, in order."""
    return sorted((item.rule, item.file, item.line) for item in check.run(given))


def only(check: Check, given: Trees) -> Raised:
    """The one thing that a check raises."""
    found = list(check.run(given))
    assert len(found) == 1, found
    return found[0]


def _changed(path: str, old: str, base: Files, head: Files, mode: str) -> ChangedPath:
    before, after = _lines(base.get(old)), _lines(head.get(path))
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    added = {line + 1 for tag, _, _, first, last in blocks if tag != "equal" for line in range(first, last)}
    status = "D" if path not in head else "A" if old not in base else "R" if old != path else "M"
    binary = b"\0" in (head.get(path) or b"") if isinstance(head.get(path), bytes) else False
    return ChangedPath(
        path=path,
        old_path="" if status == "A" else old,
        status=status,
        added=() if binary else ranges(added),
        mode="" if status == "D" else mode,
        old_mode="" if status == "A" else "100644",
        is_text=status != "D" and not binary,
        is_generated=bool(unread_by_path(path)),
    )


def _lines(content: str | bytes | None) -> list[str]:
    text = content.decode("utf-8", "replace") if isinstance(content, bytes) else content or ""
    return text.split("\n")
