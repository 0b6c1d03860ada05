"""What was left lying about: marks of a merge, debugging, notes to oneself, files of editors and tools."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator

from sdlc.review_graphs.checks.base import ChangedPath, Level, Raised, Trees, is_test
from sdlc.review_graphs.checks.quality.definitions import is_library
from sdlc.review_graphs.checks.quality.javascript import code_of, is_javascript
from sdlc.review_graphs.checks.quality.source import functions, is_product, listed, nodes, parsed, spoken

FEWEST_MODULES = 4
"""Of a package, from which its not printing anything says something."""

MOST_MODULES = 2_000
"""That are read to learn it."""

_ENDS = re.compile(r"(<{7}|>{7})(?: \S.*)?\Z")
_NOTE = re.compile(
    r"\bDO[ -]?NOT[ -]?(?:MERGE|COMMIT|SUBMIT|SHIP)\b(?=\W*$|\s*[:!.,;(-])|\bNO(?:MERGE|COMMIT|SUBMIT)\b"
    r"|(?i:\bremove (?:(?:this|me|it|these|that) )?before (?:merg|commit|review|push)\w*)"
    r"|(?i:\bremove me\b)(?=\W*$)|(?i:\b(?:fixme|xxx)\b.{0,20}\bbefore (?:merg|commit|review|push)\w*)"
)
_COMMENT = re.compile(r"(?:^|\s)(?:#|//|/\*|--|<!--|;|%)(.*)")
_PROSE = (".md", ".rst", ".txt", ".adoc", ".html", ".svg", ".csv", ".json", ".po", ".lock", ".patch", ".diff")
_CONSOLE = re.compile(r"\bconsole\.(?:log|debug|dir|trace)\(")
_DEBUGGER = re.compile(r"(?:^|[;{}]\s*|^\s+)debugger\s*(?:;|$)", re.MULTILINE)
_TALKS = listed(
    "cli cmd command commands console debug debugging demo display dump example main print printer repl report",
    "reporter reporting script scripts server show shell terminal tool tui",
)
"""Words in the name of a module or function that writes to the terminal on purpose."""
_DEBUGGING = re.compile(r"\bprint\(\s*(?:f[\"'].*\{[\w.\[\]()]+=\}|[\"'](?:DEBUG\b|here\b|xxx\b|>>>|###))")
_TALKING_MODULES = frozenset({"argparse", "click", "typer", "fire", "docopt", "cmd", "rich", "optparse", "sys"})

_JUNK: tuple[tuple[re.Pattern[str], Level, str], ...] = (
    (
        re.compile(r"\.rej$"),
        "major",
        "a part of a patch that could not be applied, so that a piece of this change is missing",
    ),
    (re.compile(r"\.orig$"), "minor", "what a merge keeps of the file before"),
    (re.compile(r"(^|/)(\.DS_Store|Thumbs\.db|desktop\.ini)$"), "minor", "made by a file manager"),
    (re.compile(r"(^|/)(\.[^/]+\.sw[op]|[^/]+~|\.#[^/]+|#[^/]+#)$"), "minor", "a copy that an editor keeps"),
    (re.compile(r"(^|/)__pycache__/|\.py[co]$"), "minor", "made by Python, and stale with the next change"),
    (
        re.compile(
            r"(^|/)(\.pytest_cache|\.mypy_cache|\.ruff_cache|\.ipynb_checkpoints|\.tox|\.nox)/|(^|/)\.coverage$"
        ),
        "minor",
        "made by a tool while it ran",
    ),
    (re.compile(r"(^|/)(npm-debug|yarn-error)\.log$|(^|/)nohup\.out$"), "minor", "the output of one run"),
    (re.compile(r"(^|/)[^/]+\.egg-info/"), "minor", "made by an installation"),
)
_CORE = re.compile(r"(^|/)core(\.\d+)?$")


class Leftovers:
    name = "leftovers"
    required = True

    def looks_at(self, path: str) -> bool:
        return True

    def run(self, trees: Trees) -> Iterable[Raised]:
        yield from _junk(trees)
        for file in trees.present:
            text = trees.head.text(file.path)
            if text is None:
                continue
            yield from _merge_marks(file, text)
            yield from _notes(file, text)
            if is_javascript(file.path) and not is_test(file.path):
                yield from _script(trees, file, text)
        yield from _prints(trees)


def _junk(trees: Trees) -> Iterator[Raised]:
    """Files that nobody commits on purpose, of a kind of which the base has none."""
    groups: dict[str, list[ChangedPath]] = {}
    kinds: dict[str, tuple[Level, str]] = {}
    for file in trees.files:
        if file.status not in ("A", "R") or is_test(file.path) or is_test(file.old_path or ""):
            continue
        for pattern, level, what in _JUNK:
            if pattern.search(file.path) and not any(pattern.search(path) for path in trees.base.paths):
                groups.setdefault(what, []).append(file)
                kinds[what] = level, what
                break
        if _CORE.search(file.path) and _is_core(trees.head.content(file.path)):
            what = "the memory of a program that crashed, with whatever secrets were in it"
            groups.setdefault(what, []).append(file)
            kinds[what] = "major", what
    for what, files in groups.items():
        level, _ = kinds[what]
        are = "is" if len(files) == 1 else "are"
        yield Raised(
            rule="not-for-the-repository",
            file=files[0].path,
            line=1,
            severity=level,
            message=f"{spoken(file.path for file in files)} {are} {what}. Take it out, and name it in `.gitignore`.",
        )


def _is_core(content: bytes | None) -> bool:
    """Is it an ELF file of the kind `core`?"""
    return bool(content) and (content or b"")[:4] == b"\x7fELF" and (content or b"")[16:18] in (b"\x04\0", b"\0\x04")


def _merge_marks(file: ChangedPath, text: str) -> Iterator[Raised]:
    """A `<<<<<<<`, a `=======` and a `>>>>>>>` in this order, all of them new."""
    if "<<<<<<<" not in text or parsed(text if file.path.endswith(".py") else None) is not None:
        return  # where it is Python that parses, they stand in a text
    added, start, has_middle, in_fence = file.added_lines, 0, False, False
    for number, line in enumerate(text.split("\n"), start=1):
        if file.path.endswith((".md", ".rst")) and line.lstrip().startswith(("```", "~~~")):
            in_fence = not in_fence
        if number not in added or in_fence:
            continue
        mark = _ENDS.match(line)
        if mark and mark[1][0] == "<":
            start, has_middle = number, False
        elif line == "=======":
            has_middle = start > 0
        elif mark and start and has_middle:
            yield Raised(
                rule="merge-conflict",
                file=file.path,
                line=start,
                end_line=number,
                severity="blocker",
                message=(
                    f"Lines {start} to {number} are a merge conflict that was not resolved: the file holds both "
                    "versions and can't be used. Decide for one, and take the marks out."
                ),
            )
            start, has_middle = 0, False


def _notes(file: ChangedPath, text: str) -> Iterator[Raised]:
    """Comments that say themselves that they must not be merged."""
    if file.path.endswith(_PROSE) or is_test(file.path) or not _NOTE.search(text):
        return
    for number, comment in _comments(file.path, text):
        if file.has_added(number) and (found := _NOTE.search(comment)):
            yield Raised(
                rule="note",
                file=file.path,
                line=number,
                severity="minor",
                message=(
                    f"A comment says `{found[0].strip()}`, and it is about to be merged. Do what it asks for, or take "
                    "the comment out."
                ),
            )


def _comments(path: str, text: str) -> Iterator[tuple[int, str]]:
    if path.endswith(".py") and parsed(text) is not None:
        try:
            for token in tokenize.generate_tokens(io.StringIO(text).readline):
                if token.type == tokenize.COMMENT:
                    yield token.start[0], token.string
        except (tokenize.TokenError, SyntaxError):
            return
        return
    if path.endswith(".py"):
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if found := _COMMENT.search(line):
            yield number, found[1]


def _script(trees: Trees, file: ChangedPath, text: str) -> Iterator[Raised]:
    code = code_of(text)
    for match in _DEBUGGER.finditer(code):
        number = code.count("\n", 0, match.end()) + 1 - match[0].endswith("\n")
        if file.has_added(number):
            yield Raised(
                rule="debugger",
                file=file.path,
                line=number,
                severity="major",
                message="`debugger` stops the program of everybody who has the tools of the browser open. Take it out.",
            )
    new = [code.count("\n", 0, match.start()) + 1 for match in _CONSOLE.finditer(code)]
    new = [number for number in new if file.has_added(number)]
    if new and not _is_talking(file.path) and _is_quiet(trees):
        yield Raised(
            rule="console",
            file=file.path,
            line=new[0],
            severity="minor",
            confidence=0.7,
            message=(
                "`console.log` is left over: nothing else in this repository writes to the console, and this tells "
                "everybody who looks there. Take it out, or use what the repository logs with."
            ),
        )


def _is_quiet(trees: Trees) -> bool:
    """Does no script of the base, of which there are some, write to the console?"""
    scripts = [path for path in trees.base.paths if is_javascript(path) and not is_test(path)]
    return FEWEST_MODULES <= len(scripts) <= MOST_MODULES and not any(
        _CONSOLE.search(trees.base.text(path) or "") for path in scripts
    )


def _prints(trees: Trees) -> Iterator[Raised]:
    """`print` to find a mistake, or in a package of a library that prints nowhere."""
    is_api = is_library(trees.head)
    for file in trees.present:
        if not is_product(file.path):
            continue
        text = trees.head.text(file.path) or ""
        lines = text.split("\n")
        new = [line for line in _printing(text) if file.has_added(line)]
        debugging = [line for line in new if _DEBUGGING.search(lines[line - 1])]
        package = _package(file.path)
        is_meant = _is_talking(file.path.rpartition("/")[2]) or _talks(text)
        is_odd = is_api and new and not is_meant and _prints_nowhere(trees, package)
        if debugging:
            yield _print(file, debugging[0], "looks like a trace of debugging, and every user sees it", 0.8)
        elif is_odd:
            what = f"writes to the standard output of every program that uses `{package}`, which prints nowhere else"
            yield _print(file, new[0], what, 0.7)


def _print(file: ChangedPath, line: int, what: str, confidence: float) -> Raised:
    return Raised(
        rule="print",
        file=file.path,
        line=line,
        severity="minor",
        confidence=confidence,
        message=f"This `print` {what}. Take it out, or log it.",
    )


def _prints_nowhere(trees: Trees, package: str) -> bool:
    """Has the package some modules on the base, and does none of them print?"""
    others = [path for path in trees.base.paths if _package(path) == package and is_product(path)]
    return FEWEST_MODULES <= len(others) <= MOST_MODULES and not any(
        "print(" in (trees.base.text(path) or "") for path in others
    )


def _is_talking(name: str) -> bool:
    return not _TALKS.isdisjoint(re.split(r"[\W_]+", name.lower()))


def _package(path: str) -> str:
    parts = path.removeprefix("src/").split("/")
    return parts[0] if len(parts) > 1 else ""


def _printing(text: str | None) -> list[int]:
    """The lines of calls of `print` that a library would not make on purpose."""
    tree = parsed(text)
    if tree is None or text is None or "print(" not in text:
        return []
    meant = [(item.first, item.last) for item in functions(text).values() if _is_talking(item.bare)]
    meant += [(node.lineno, node.end_lineno or 0) for node in tree.body if isinstance(node, ast.If)]
    return [
        node.lineno
        for node in nodes(text)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
        and not any(item.arg == "file" for item in node.keywords)
        and not any(first <= node.lineno <= last for first, last in meant)
    ]


def _talks(text: str) -> bool:
    """Is it a module that talks to a terminal?"""
    tree = parsed(text)
    names: set[str] = set()
    for node in tree.body if tree else ():
        if isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
        elif isinstance(node, ast.Import):
            names.update(item.name for item in node.names)
    return not _TALKING_MODULES.isdisjoint(name.partition(".")[0] for name in names)
