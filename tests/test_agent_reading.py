"""The tools that only read: `view` of files and folders, `search` in a real sandbox."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sdlc.config import Settings
from sdlc.engines.editing import MAX_EDIT_BYTES
from sdlc.engines.reading import search, view
from sdlc.engines.tool_definitions import ToolRefused
from sdlc.errors import SandboxUnavailable
from sdlc.integrations.sandbox import open_sandbox


@pytest.fixture
def root(tmp_path: Path) -> Path:
    workspace = tmp_path / "workspace"
    (workspace / "pkg" / "deep").mkdir(parents=True)
    (workspace / "build").mkdir()
    (workspace / ".gitignore").write_text("build/\n")
    (workspace / "build" / "out.py").write_text("total = 0\n")
    (workspace / "money.py").write_text(
        "def total(x):\n    return x\n\n\ndef other(x):\n    return total(x)  # $1.50\n"
    )
    (workspace / "pkg" / "deep" / "sums.py").write_text("TOTAL = 3\n")
    (workspace / "pkg" / "notes.md").write_text("the total of 10 parcels\n")
    (tmp_path / "outside.txt").write_text("secret total\n")
    (workspace / "out").symlink_to(tmp_path / "outside.txt")
    (workspace / "up").symlink_to(tmp_path)
    return workspace


def look(root: Path, path: str, start: int | None = None, end: int | None = None, limit: int = 12_000) -> str:
    return view(root, path, start, end, limit=limit)


def test_a_file_is_shown_with_line_numbers_that_are_those_of_the_file(root: Path) -> None:
    assert look(root, "money.py").splitlines()[:3] == [
        "money.py, 6 lines",
        "     1\tdef total(x):",
        "     2\t    return x",
    ]
    assert look(root, "/work/pkg/deep/sums.py") == "pkg/deep/sums.py, 1 lines\n     1\tTOTAL = 3"


def test_a_range_is_shown_with_the_size_of_the_whole(root: Path) -> None:
    assert look(root, "money.py", 5, 90) == (
        "money.py, lines 5 to 6 of 6\n     5\tdef other(x):\n     6\t    return total(x)  # $1.50"
    )
    with pytest.raises(ToolRefused, match="has 6 lines; there is nothing from line 7 to 9"):
        look(root, "money.py", 7, 9)
    with pytest.raises(ToolRefused, match="nothing from line 4 to 2"):
        look(root, "money.py", 4, 2)


def test_a_form_feed_does_not_make_a_line(root: Path) -> None:
    (root / "old.c").write_bytes(b"one\n\x0ctwo\x0b\r\nthree")
    assert look(root, "old.c").splitlines()[1:] == ["     1\tone", "     2\t\\u000ctwo\\u000b", "     3\tthree"]


def test_a_long_file_is_cut_in_the_middle_with_its_size_and_its_numbers(root: Path) -> None:
    (root / "long.txt").write_text("".join(f"row {number}\n" for number in range(1, 5_001)))
    shown = look(root, "long.txt", limit=1_000)
    assert shown.startswith("long.txt, 5,000 lines\n     1\trow 1\n")
    assert shown.endswith("  5000\trow 5000")
    assert "characters left out" in shown
    assert len(shown) < 1_200


def test_a_very_long_line_is_cut_and_told(root: Path) -> None:
    (root / "min.js").write_text("x" * 9_000)
    assert look(root, "min.js").endswith("x [… 9,000 characters]")


def test_a_folder_is_listed_without_git_and_links_are_shown_as_such(root: Path) -> None:
    (root / ".git").mkdir()
    rows = look(root, ".").splitlines()
    assert rows[0] == "folder ., 6 entries"
    assert "pkg/" in rows
    assert any(row.startswith("money.py  ") and row.endswith(" bytes") for row in rows)
    assert any(row.startswith("out -> ") for row in rows)
    assert ".git" not in rows


def test_a_folder_with_very_many_entries_is_cut_with_their_number(root: Path) -> None:
    for number in range(450):
        (root / "build" / f"f{number:03}").touch()
    rows = look(root, "build").splitlines()
    assert rows[0] == "folder build, 451 entries"
    assert rows[-1] == "[… and 51 more]"


@pytest.mark.parametrize("path", ["out", "up/outside.txt", "up", "../outside.txt", "/etc/hosts"])
def test_nothing_outside_is_shown(root: Path, path: str) -> None:
    with pytest.raises(ToolRefused, match="repository"):
        look(root, path)


def test_what_is_no_text_is_refused_with_what_to_do(root: Path) -> None:
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("x")
    (root / "a.bin").write_bytes(b"PK\0\1")
    (root / "huge").write_bytes(b"x" * (MAX_EDIT_BYTES + 1))
    os.mkfifo(root / "pipe")
    for path, said in (
        (".git/config", "belongs to git"),
        (".git", "belongs to git"),
        ("a.bin", "binary file of 4 bytes"),
        ("huge", "too large"),
        ("pipe", "not a regular file"),
        ("none.py", "There is no file"),
        ("\ud800", "can't be opened"),
    ):
        with pytest.raises(ToolRefused, match=said):
            look(root, path)


def test_an_empty_file_and_one_in_another_encoding_are_shown(root: Path) -> None:
    (root / "empty").touch()
    (root / "latin").write_bytes(b"caf\xe9 \xe2\x80\xae\n")
    assert look(root, "empty") == "empty is empty."
    assert look(root, "latin").endswith("     1\tcaf\ufffd \\u202e")


Searching = Callable[..., Awaitable[str]]


@pytest.fixture
async def find(root: Path, settings: Settings) -> Searching:
    sandbox = open_sandbox(settings.sandbox)
    try:
        await sandbox.check()
    except SandboxUnavailable as error:
        pytest.skip(str(error))

    async def run(pattern: str, path: str = "", **more: Any) -> str:
        try:
            return await search(root, sandbox, pattern, path, **more)
        except ToolRefused as refused:
            return f"refused: {refused}"

    return run


async def test_an_expression_is_found_with_path_and_line_and_ignored_files_and_links_are_left_out(
    find: Searching,
) -> None:
    assert await find(r"\btotal\(?\b") == (
        "3 lines found\nmoney.py:1:def total(x):\nmoney.py:6:    return total(x)  # $1.50\n"
        "pkg/notes.md:1:the total of 10 parcels"
    )
    assert await find(r"(?i)total = \d") == "1 line found\npkg/deep/sums.py:1:TOTAL = 3"


async def test_plain_text_is_taken_as_it_is(find: Searching) -> None:
    assert (await find("$1.50", plain=True)).startswith("1 line found\nmoney.py:6:")
    assert await find("$1.50") == "Nothing found."
    assert (await find("-> x", plain=True)) == "Nothing found."


@pytest.mark.parametrize(
    ("path", "files"),
    [
        ("pkg", {"pkg/notes.md", "pkg/deep/sums.py"}),
        ("*.py", {"money.py", "pkg/deep/sums.py"}),
        ("pkg/*.md", {"pkg/notes.md"}),
        ("/work/pkg/**/*.py", {"pkg/deep/sums.py"}),
        ("money.py", {"money.py"}),
        (".", {"money.py", "pkg/notes.md", "pkg/deep/sums.py"}),
    ],
)
async def test_it_is_searched_only_where_it_was_asked_to(find: Searching, path: str, files: set[str]) -> None:
    rows = (await find("(?i)total", path)).splitlines()[1:]
    assert {row.split(":")[0] for row in rows} == files


async def test_nothing_outside_is_searched(find: Searching, root: Path) -> None:
    for path in ("out", "up", "../", "../*.txt", "/etc/*", "/etc", ".git", "none"):
        assert (await find("secret|root", path)).startswith("refused: ")
    assert await find("secret", "up/*") == "Nothing found in up/*."


async def test_a_git_folder_that_a_command_has_spoilt_changes_nothing(find: Searching, root: Path) -> None:
    (root / ".git").write_text("gitdir: /nowhere\n")
    assert (await find("TOTAL")).startswith("1 line found")


async def test_an_expression_that_is_wrong_or_costs_too_much_is_told(find: Searching, root: Path) -> None:
    (root / "long").write_text("a" * 50_000 + "!\n")
    assert "missing closing parenthesis" in await find("total(")
    assert (await find("(a+)+$", "long")).startswith("refused: The search failed: fatal: ")
    assert (await find("")).startswith("refused: `pattern` is empty")
    assert (await find("a\nb")).startswith("refused: `pattern`")


async def test_a_search_that_takes_too_long_is_stopped(find: Searching, root: Path) -> None:
    for number in range(40):
        (root / f"f{number}").write_text(("a" * 18 + "!\n") * 20_000)
    assert "stopped after 1 s" in await find("^(a|a)+$", seconds=1)


async def test_several_searches_run_at_the_same_time(find: Searching) -> None:
    found = await asyncio.gather(*(find(word) for word in ("TOTAL", "parcels", "other", "nowhere")))
    assert [said.splitlines()[0] for said in found] == ["1 line found"] * 3 + ["Nothing found."]


async def test_a_flood_of_found_lines_is_cut_and_told(find: Searching, root: Path) -> None:
    (root / "flood").write_text(("needle" + "x" * 990 + "\n") * 5_000)
    said = await find("needle", "flood")
    assert said.startswith("More lines found than can be kept; narrow it down\nflood:1:needle")
    assert len(said) < 13_000


async def test_very_many_and_very_long_lines_are_cut_with_their_size(find: Searching, root: Path) -> None:
    (root / "many").write_text("needle\n" * 2_000)
    (root / "wide").write_text("needle" + "x" * 70_000 + "\n")
    many = await find("needle", "many", limit=1_000)
    assert many.startswith("2,000 lines found\nmany:1:needle\n")
    assert many.endswith("[… 1,700 more lines; narrow it down]")
    assert "characters left out" in many
    assert len(many) < 1_200
    assert (await find("needle", "wide")).endswith("x [… 70,013 characters]")
