"""JSON and TOML that a change breaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from sdlc.review_graphs.checks.quality.data_files import DataFiles
from tests.trees import only, raised, trees

CHECK = DataFiles()


@pytest.mark.parametrize(
    ("name", "text", "line", "severity"),
    [
        ("package.json", '{\n  "a": 1\n  "b": 2\n}\n', 3, "blocker"),
        ("data/rates.json", '{\n  "a" 1\n', 2, "major"),
        ("pyproject.toml", "[project]\nname = shop\n", 2, "blocker"),
        ("conf/a.toml", "a = 1\na = 2\n", 2, "major"),
        ("a.json", "\ufeff{'a': 1}", 1, "major"),
    ],
)
def test_a_file_that_can_not_be_read_any_more(tmp_path: Path, name: str, text: str, line: int, severity: str) -> None:
    found = only(CHECK, trees(tmp_path, {}, {name: text}))
    assert (found.rule, found.severity) == (f"broken-{name.rpartition('.')[2]}", severity)
    assert found.line == line


def test_a_key_that_stands_twice(tmp_path: Path) -> None:
    base = {"a.json": '{\n  "a": 1,\n  "b": {"a": 2}\n}\n'}
    given = trees(tmp_path / "1", base, {"a.json": '{\n  "a": 1,\n  "b": {"a": 2},\n  "a": 3\n}\n'})
    assert raised(CHECK, given) == [("repeated-key", "a.json", 4)]
    assert (
        raised(CHECK, trees(tmp_path / "2", {"a.json": '{"a": 1, "a": 2}\n'}, {"a.json": '{"a": 3, "a": 2}\n'})) == []
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.json", '{"a": 1}\r\n'),
        ("a.json", "\ufeff{}"),
        ("a.json", ""),
        ("tsconfig.json", '{\n  // strict\n  "a": "http://x", /* y */\n  "b": [1, 2,],\n}\n'),
        ("log.json", '{"a": 1}\n{"a": 2}\n'),
        ("{{cookiecutter.name}}/package.json", "{"),
        ("package.json", '{"name": {{ name }}}'),
        ("tests/data/bad.json", "{"),
        ("fixtures/bad.toml", "a ="),
        ("a.json", "[" * 5_000),
        ("a.toml", "[a]\nb = 1\n"),
        ("a.toml", "<<<<<<< a\nb = 1\n=======\n>>>>>>> c\n"),
    ],
)
def test_what_some_tool_reads_or_nobody_has_to(tmp_path: Path, name: str, text: str) -> None:
    assert raised(CHECK, trees(tmp_path, {}, {name: text})) == []


def test_what_was_broken_before_is_not_brought(tmp_path: Path) -> None:
    base = {"a.json": "{", "a.toml": "a ="}
    assert raised(CHECK, trees(tmp_path, base, {"a.json": "{,", "a.toml": "b ="})) == []
