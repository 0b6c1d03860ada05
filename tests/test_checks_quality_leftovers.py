"""What was left lying about in a change."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdlc.review_graphs.checks.quality.leftovers import Leftovers
from tests.trees import only, raised, trees

CHECK = Leftovers()
CONFLICT = "a\n<<<<<<< HEAD\nb\n=======\nc\n>>>>>>> other\nd\n"
PACKAGE = {"pyproject.toml": "[project]\nname = 'shop'\n", **{f"shop/{name}.py": "x = 1\n" for name in "abcd"}}


# merges


@pytest.mark.parametrize("name", ["a.txt", "a.ts", "a.yml", "a.py", "README.md"])
def test_a_conflict_that_was_not_resolved(tmp_path: Path, name: str) -> None:
    found = only(CHECK, trees(tmp_path, {name: "a\nd\n"}, {name: CONFLICT}))
    assert (found.rule, found.line, found.end_line, found.severity) == ("merge-conflict", 2, 6, "blocker")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", f'TEXT = """\n{CONFLICT}"""\n'),
        ("README.md", f"How it looks:\n\n```\n{CONFLICT}```\n"),
        ("a.rst", "Title\n=======\n\ntext\n"),
        ("a.txt", "<<<<<<< not\nclosed\n"),
        ("a.txt", ">>>>>>> b\n=======\n<<<<<<< a\n"),
        ("a.sh", "cat <<<<<<<EOF\n"),
    ],
)
def test_what_only_looks_like_a_conflict(tmp_path: Path, name: str, text: str) -> None:
    assert raised(CHECK, trees(tmp_path, {}, {name: text})) == []


def test_a_conflict_of_the_base_is_not_brought(tmp_path: Path) -> None:
    assert raised(CHECK, trees(tmp_path, {"a.txt": CONFLICT}, {"a.txt": CONFLICT + "e\n"})) == []


# notes


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("a.py", "x = 1\ny = 2  # DO NOT MERGE\n", 2),
        ("a.py", "# DO NOT COMMIT: only for the demo\n", 1),
        ("a.py", "# NOCOMMIT\n", 1),
        ("a.py", "# XXX remove before merging\n", 1),
        ("a.py", "# FIXME before merge\n", 1),
        ("a.ts", "// remove this before committing\n", 1),
        ("a.sql", "-- REMOVE ME\n", 1),
        ("a.yml", "x: 1  # do it later, remove me\n", 1),
    ],
)
def test_a_comment_that_says_it_must_not_be_merged(tmp_path: Path, name: str, text: str, line: int) -> None:
    found = only(CHECK, trees(tmp_path, {name: "\n"}, {name: text}))
    assert (found.rule, found.line, found.severity) == ("note", line, "minor")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.py", "# TODO: make it faster\n# FIXME(ada): slow\n# XXX\n"),
        ("a.py", "# Do not merge these two: they are different.\n"),
        ("a.py", "# We do not commit here; the caller does.\n"),
        ("a.py", "# DO NOT COMMIT THE TRANSACTION here\n"),
        ("a.py", "# remove me from the list of members\n"),
        ("a.py", 'LABELS = ["DO NOT MERGE"]\n'),
        ("a.py", '"""DO NOT MERGE"""\n'),
        ("README.md", "# DO NOT MERGE\n"),
        ("a.yml", "label: DO NOT MERGE\n"),
        ("tests/test_a.py", "# DO NOT MERGE\n"),
    ],
)
def test_what_is_no_note_to_oneself(tmp_path: Path, name: str, text: str) -> None:
    assert raised(CHECK, trees(tmp_path, {}, {name: text})) == []


# files


@pytest.mark.parametrize(
    ("name", "severity"),
    [
        ("shop/a.py.orig", "minor"),
        ("shop/a.py.rej", "major"),
        (".DS_Store", "minor"),
        ("shop/.a.py.swp", "minor"),
        ("shop/a.py~", "minor"),
        ("shop/__pycache__/a.cpython-311.pyc", "minor"),
        (".ipynb_checkpoints/a.ipynb", "minor"),
        (".coverage", "minor"),
        ("npm-debug.log", "minor"),
        ("shop.egg-info/PKG-INFO", "minor"),
    ],
)
def test_a_file_that_nobody_commits_on_purpose(tmp_path: Path, name: str, severity: str) -> None:
    found = only(CHECK, trees(tmp_path, {"a": "1"}, {"a": "1", name: b"\0\1"}))
    assert (found.rule, found.file, found.line, found.severity) == ("not-for-the-repository", name, 1, severity)


def test_many_of_a_kind_are_one_finding(tmp_path: Path) -> None:
    head = {f"a/__pycache__/{n}.pyc": b"\0" for n in range(9)}
    assert "and 6 more" in only(CHECK, trees(tmp_path, {}, head)).message


def test_a_core_dump_is_known_by_what_is_in_it(tmp_path: Path) -> None:
    dump = b"\x7fELF\2\1\1" + b"\0" * 9 + b"\4\0" + b"\0" * 50
    assert only(CHECK, trees(tmp_path / "1", {}, {"core.123": dump})).severity == "major"
    assert raised(CHECK, trees(tmp_path / "2", {}, {"core": "a text\n", "lib/core/x.py": "x = 1\n"})) == []


@pytest.mark.parametrize(
    ("base", "head"),
    [
        ({"patches/a.orig": "1"}, {"patches/b.orig": "2"}),
        ({}, {"tests/data/a.rej": "1"}),
        ({"a.orig": "1"}, {"a.orig": "2"}),
        ({}, {"original.py": "x = 1\n", "coverage.py": "x = 1\n", "swap.swift": "", ".coveragerc": ""}),
    ],
)
def test_files_that_the_repository_wants(tmp_path: Path, base: dict[str, str], head: dict[str, str]) -> None:
    assert raised(CHECK, trees(tmp_path, base, {**base, **head})) == []


def test_taking_such_a_file_out_is_fine(tmp_path: Path) -> None:
    assert raised(CHECK, trees(tmp_path, {".DS_Store": "1", "a.rej": "1"}, {})) == []


# debugging


def test_a_debugger_in_a_script(tmp_path: Path) -> None:
    text = "function f() {\n  debugger;\n  return 1; // debugger;\n}\nconst a = 'debugger;';\n"
    assert raised(CHECK, trees(tmp_path, {}, {"a.ts": text})) == [("debugger", "a.ts", 2)]
    assert raised(CHECK, trees(tmp_path / "2", {"a.ts": text}, {"a.ts": text + "f();\n"})) == []


def test_a_console_that_nothing_else_writes_to(tmp_path: Path) -> None:
    quiet = {f"src/{name}.ts": "export const x = 1;\n" for name in "abcd"}
    head = {**quiet, "src/a.ts": "export const x = 1;\n// console.log(x)\nconsole.log(x);\n"}
    assert raised(CHECK, trees(tmp_path / "1", quiet, head)) == [("console", "src/a.ts", 3)]
    loud = {**quiet, "src/b.ts": "console.log(1);\n"}
    assert raised(CHECK, trees(tmp_path / "2", loud, {**loud, "src/a.ts": head["src/a.ts"]})) == []
    cli = {**quiet, "src/cli.ts": "console.log(1);\n", "src/a.test.ts": "console.log(1);\n"}
    assert raised(CHECK, trees(tmp_path / "3", quiet, cli)) == []
    few = {"src/a.ts": quiet["src/a.ts"]}
    assert raised(CHECK, trees(tmp_path / "4", few, {"src/a.ts": head["src/a.ts"]})) == []


def test_a_print_in_a_library_that_prints_nowhere(tmp_path: Path) -> None:
    head = {**PACKAGE, "shop/a.py": "x = 1\n\n\ndef f(x):\n    print(x)\n    return x\n"}
    found = only(CHECK, trees(tmp_path, PACKAGE, head))
    assert (found.rule, found.line, found.severity) == ("print", 5, "minor")
    assert "`shop`" in found.message


@pytest.mark.parametrize(
    ("base", "head"),
    [
        ({}, {"shop/cli.py": "print(1)\n"}),
        ({}, {"shop/e.py": "import argparse\n\nprint(1)\n"}),
        ({}, {"shop/e.py": "def f(x):\n    print(x, file=x)\n"}),
        ({}, {"shop/e.py": "def print_table(x):\n    print(x)\n"}),
        ({}, {"shop/e.py": "if __name__ == '__main__':\n    print(1)\n"}),
        ({}, {"tests/test_e.py": "print(1)\n"}),
        ({}, {"shop/e.py": "def f(x):\n    x.print(1)\n    # print(x)\n"}),
        ({"shop/e.py": "print(1)\n"}, {"shop/e.py": "print(1)\n", "shop/a.py": "print(2)\n"}),
        ({"Dockerfile": ""}, {"Dockerfile": "", "shop/a.py": "print(2)\n"}),
    ],
)
def test_a_print_that_is_meant(tmp_path: Path, base: dict[str, str], head: dict[str, str]) -> None:
    assert raised(CHECK, trees(tmp_path, {**PACKAGE, **base}, {**PACKAGE, **head})) == []


def test_a_trace_of_debugging_anywhere(tmp_path: Path) -> None:
    text = 'import sys\n\n\ndef f(x):\n    print(f"{x=}")\n    print("here")\n    print(f"{x}")\n'
    assert raised(CHECK, trees(tmp_path, {"a.py": ""}, {"a.py": text})) == [("print", "a.py", 5)]


def test_texts_of_all_kinds(tmp_path: Path) -> None:
    head: dict[str, str | bytes] = {
        "empty.py": "",
        "no-end.py": "# DO NOT MERGE",
        "latin.py": b"# \xe9\n# DO NOT MERGE\n",
        "crlf.ts": "x\r\n// DO NOT MERGE\r\n",
        "broken.py": "def (:\n# DO NOT MERGE\n",
        "binary.py": b"\0# DO NOT MERGE\n",
    }
    assert [(file, line) for _, file, line in raised(CHECK, trees(tmp_path, {}, head))] == [
        ("crlf.ts", 2),
        ("latin.py", 2),
        ("no-end.py", 1),
    ]
