"""The tools `edit` and `write`: changes of a file of the workspace, which no link leads out of."""

from __future__ import annotations

import os
import stat
import tempfile
from difflib import SequenceMatcher
from pathlib import Path, PurePosixPath

from sdlc.engines.tool_definitions import ToolRefused
from sdlc.untrusted import escaped_text

MAX_EDIT_BYTES = 4 * 1024**2
"""Largest file that is edited, written or viewed; a larger one is the shell's."""
_MAX_HINT_LINES = 20_000


def edit(root: Path, path: str, old_text: str, new_text: str, *, inside: str = "/work") -> str:
    """Replace `old_text`, which must occur exactly once, in a file of the workspace; or make a new file.

    `inside` is where the sandbox shows the workspace, so that such absolute paths are understood.
    Line ends of a CRLF file are kept. Raises ToolRefused with what to do instead.
    """
    target = resolved(root, path, inside)
    shown = target.relative_to(root.resolve()).as_posix()
    if not old_text:
        return _create(target, shown, new_text)
    content = _read(target, shown)
    crlf = "\r\n" in content and content.count("\r\n") == content.count("\n")
    if crlf:
        old_text, new_text = _as_crlf(old_text), _as_crlf(new_text)
    if old_text == new_text:
        raise ToolRefused("`old_text` and `new_text` are the same, so nothing was changed.")
    count = content.count(old_text)
    if count != 1:
        raise ToolRefused(_not_once(content, old_text, shown, count))
    at = content.index(old_text)
    _write(target, shown, content[:at] + new_text + content[at + len(old_text) :])
    return f"Edited {shown} at line {_line_of(content, at)}."


def write(root: Path, path: str, content: str, *, inside: str = "/work") -> str:
    """Make a file of the workspace hold `content`, whether it is there or not; mode and CRLF line ends are kept.

    `inside` as for `edit`. Raises ToolRefused with what to do instead.
    """
    target = resolved(root, path, inside)
    shown = target.relative_to(root.resolve()).as_posix()
    if len(content) > MAX_EDIT_BYTES:
        raise ToolRefused(f"`content` has {len(content):,} characters, too many for `write`; use `shell`.")
    _make_room(target, shown)
    before = read_bytes(target, shown) if target.exists() else None
    if before and b"\r\n" in before and before.count(b"\r\n") == before.count(b"\n"):
        content = _as_crlf(content)
    if before is not None and before == content.encode("utf-8", "replace"):
        return f"{shown} holds exactly this already, so nothing was changed."
    _write(target, shown, content)
    size = f"{len(content.splitlines()):,} lines"
    return f"Created {shown} ({size})." if before is None else f"Replaced {shown} ({size})."


def resolved(root: Path, path: str, inside: str = "/work", *, root_too: bool = False) -> Path:
    """The real place of `path` in the workspace, after all symbolic links. Raises ToolRefused if it lies outside.

    `root_too`: the workspace itself will do.
    """
    if not path.strip() or "\0" in path:
        raise ToolRefused("`path` is empty or not a path; give one relative to the repository's root.")
    given = PurePosixPath(path)
    if given.is_absolute():
        if not given.is_relative_to(inside):
            raise ToolRefused(f"`{path}` is outside the repository; give a path relative to its root.")
        given = given.relative_to(inside)
    base = root.resolve()
    try:
        target = (base / given).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name too long or not encodable
        raise ToolRefused(f"`{path}` can't be opened: {error}.") from None
    if (target == base and not root_too) or not target.is_relative_to(base):
        raise ToolRefused(f"`{path}` does not lead to a file inside the repository, so it was left alone.")
    parts = (*given.parts, *target.relative_to(base).parts)
    if any(part.lower() == ".git" for part in parts):
        raise ToolRefused(f"`{path}` belongs to git itself and is left alone.")
    return target


def _create(target: Path, shown: str, text: str) -> str:
    existed = target.exists()
    if existed and not target.is_dir() and target.lstat().st_size:
        raise ToolRefused(
            f"`{shown}` exists and is not empty. Give the exact `old_text` to replace, or the whole file to `write`."
        )
    _make_room(target, shown)
    _write(target, shown, text)
    return f"Wrote {shown}." if existed else f"Created {shown}."


def _make_room(target: Path, shown: str) -> None:
    """Its folders, where it has none yet. Raises ToolRefused where no regular file can be."""
    if target.is_dir():
        raise ToolRefused(f"`{shown}` is a folder.")
    if target.exists() and not target.is_file():
        raise ToolRefused(f"`{shown}` is not a regular file.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolRefused(f"The folder of `{shown}` can't be made: {error.strerror}.") from None


def read_bytes(target: Path, shown: str) -> bytes:
    """A regular file of at most MAX_EDIT_BYTES; never a device, a pipe or what a link leads to."""
    try:
        handle = os.open(target, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ToolRefused(f"There is no file `{shown}`. `write` would make it.") from None
    except OSError as error:
        raise ToolRefused(f"`{shown}` can't be read: {error.strerror}.") from None
    facts = os.fstat(handle)
    if not stat.S_ISREG(facts.st_mode) or facts.st_size > MAX_EDIT_BYTES:
        os.close(handle)
        if not stat.S_ISREG(facts.st_mode):
            raise ToolRefused(f"`{shown}` is not a regular file.")
        raise ToolRefused(f"`{shown}` has {facts.st_size:,} bytes, too large for this tool; use `shell`.")
    with os.fdopen(handle, "rb") as file:
        return file.read()


def _read(target: Path, shown: str) -> str:
    try:
        return read_bytes(target, shown).decode("utf-8")
    except UnicodeDecodeError:
        raise ToolRefused(
            f"`{shown}` is not UTF-8 text, so it was left alone; use `shell` with its encoding."
        ) from None


def _write(target: Path, shown: str, text: str) -> None:
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:
        raise ToolRefused("The text holds half of a surrogate pair, which no UTF-8 file can; write it anew.") from None
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else 0o644
    try:
        # By a new file, never in place: git compares whole seconds, length and inode, and could miss an edit of
        # the same length in the second of the checkout; and a hard link would carry it elsewhere.
        handle, draft = tempfile.mkstemp(dir=target.parent, prefix=".sdlc-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                os.fchmod(file.fileno(), mode)
            os.replace(draft, target)
        except BaseException:
            os.unlink(draft)
            raise
    except OSError as error:
        raise ToolRefused(f"`{shown}` can't be written: {error.strerror}.") from None


def _as_crlf(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\n", "\r\n")


def _line_of(content: str, position: int) -> int:
    return content.count("\n", 0, position) + 1


def _not_once(content: str, old_text: str, shown: str, count: int) -> str:
    if count > 1:
        lines: list[str] = []
        position = -1
        while len(lines) < 5 and (position := content.find(old_text, position + 1)) >= 0:
            lines.append(str(_line_of(content, position)))
        more = " and more" if count > len(lines) else ""
        return (
            f"`old_text` occurs {count} times in {shown} (lines {', '.join(lines)}{more}), so nothing was changed. "
            "Take more of the lines around the one you mean."
        )
    return f"`old_text` does not occur in {shown}, so nothing was changed. {_nearest(content, old_text)}"


def _nearest(content: str, old_text: str) -> str:
    """Where something like the first line of `old_text` stands."""
    wanted = next((line.strip() for line in old_text.splitlines() if line.strip()), "")
    lines = content.splitlines()[:_MAX_HINT_LINES]
    if not wanted or not lines:
        return "Look at the file first."
    for number, line in enumerate(lines, 1):
        if line.strip() == wanted:
            return (
                f"Its first line stands at line {number}, with other white space or other lines after it. "
                f"Look again: `view` with `start` {number}."
            )
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted[:200])
    best, at = 0.6, 0
    for number, line in enumerate(lines, 1):
        matcher.set_seq1(line.strip()[:200])
        if matcher.real_quick_ratio() > best and matcher.quick_ratio() > best and (ratio := matcher.ratio()) > best:
            best, at = ratio, number
    if not at:
        return "Nothing in it is like it; look at the file first."
    return f"The nearest is line {at}: {escaped_text(lines[at - 1])[:200]!r}."
