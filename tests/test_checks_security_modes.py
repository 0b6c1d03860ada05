"""The check `file-modes`: programs that are none, links that lead out, repositories within the repository."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sdlc.review_graphs.checks.base import ChangedPath, Raised, Trees
from sdlc.review_graphs.checks.security.file_modes import LINK, PROGRAM, SUBMODULE, FileModes
from tests.trees import Files, only, raised, trees

CHECK = FileModes()


def with_mode(folder: Path, path: str, content: str | bytes, base: Files | None = None) -> Trees:
    return trees(folder, base or {}, {**(base or {}), path: content}, modes={path: PROGRAM})


def with_link(folder: Path, path: str, target: str, before: str | None = None) -> Trees:
    """A symbolic link on the head, as a real one in the tree; `before`: where it led on the base."""
    for name, leads in (("head", target), ("base", before)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        if leads is not None:
            link = folder / name / path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(leads)
    file = ChangedPath(
        path=path,
        old_path="" if before is None else path,
        status="A" if before is None else "M",
        added=((1, 1),),
        mode=LINK,
        old_mode="" if before is None else LINK,
        is_text=False,
    )
    given = trees(folder, {}, {})
    return replace(given, files=(file,))


@pytest.mark.parametrize("content", ["x = 1\n", "", "{}", b"\x89PNG\0\0", "echo no line\n"])
def test_what_can_not_run_becomes_no_program(tmp_path: Path, content: str | bytes) -> None:
    found = only(CHECK, with_mode(tmp_path, "tools/file", content))
    assert (found.rule, found.severity, found.line) == ("executable", "minor", 1)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("run.sh", "#!/bin/sh\nls\n"),
        ("run.py", "#!/usr/bin/env python3\r\n"),
        ("bom.sh", b"\xef\xbb\xbf#!/bin/sh\n"),
        ("bin/tool", b"\x7fELF\0\0"),
        ("build.bat", "echo hi\n"),
        ("large", "x" * 3_000_000),
    ],
)
def test_what_can_run_may(tmp_path: Path, path: str, content: str | bytes) -> None:
    assert raised(CHECK, with_mode(tmp_path, path, content)) == []


def test_a_file_that_was_a_program_before_is_not_the_changes(tmp_path: Path) -> None:
    given = with_mode(tmp_path, "a.py", "x = 2\n", {"a.py": "x = 1\n"})
    (file,) = given.files
    assert raised(CHECK, given) == [("executable", "a.py", 1)]
    assert raised(CHECK, replace(given, files=(replace(file, old_mode=PROGRAM),))) == []
    assert raised(CHECK, replace(given, files=(replace(file, mode="100644", old_mode=PROGRAM),))) == []


def test_a_file_system_without_modes_is_one_finding(tmp_path: Path) -> None:
    files = {f"docs/{number}.md": "words\n" for number in range(40)}
    given = trees(tmp_path, {}, files, modes=dict.fromkeys(files, PROGRAM))
    found = only(CHECK, given)
    assert "39 more files" in found.message


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("public/certs", "/etc/ssl/private"),
        ("a", "../outside"),
        ("a/b/c", "../../../outside"),
        ("a", ".."),
        ("hooks", ".git/hooks"),
        ("a/hooks", "../.git/hooks"),
        ("a/b", "x/../../../y"),
    ],
)
def test_a_link_that_leads_out_is_sent_back(tmp_path: Path, path: str, target: str) -> None:
    found = only(CHECK, with_link(tmp_path, path, target))
    assert (found.rule, found.file, found.line, found.severity) == ("link-outside", path, 1, "major")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("latest", "v2"),
        ("a/b", "../c/d"),
        ("CLAUDE.md", "AGENTS.md"),
        ("a/b/c", "../../d"),
        ("gone", "nowhere"),
        ("w", ".github/workflows"),
        ("systemd/x.service", "/dev/null"),
    ],
)
def test_a_link_within_the_repository_is_none_of_it(tmp_path: Path, path: str, target: str) -> None:
    assert raised(CHECK, with_link(tmp_path, path, target)) == []


def test_a_link_that_led_there_before_is_not_the_changes(tmp_path: Path) -> None:
    assert raised(CHECK, with_link(tmp_path / "1", "a", "/etc/x", before="/etc/x")) == []
    assert raised(CHECK, with_link(tmp_path / "2", "a", "/etc/x", before="/etc/y")) == [("link-outside", "a", 1)]


def test_a_submodule_is_told(tmp_path: Path) -> None:
    given = trees(tmp_path, {}, {})
    new = ChangedPath(path="lib/other", status="A", mode=SUBMODULE, is_text=False)
    moved = ChangedPath(path="lib/more", old_path="lib/more", mode=SUBMODULE, old_mode=SUBMODULE, is_text=False)
    found: list[Raised] = list(CHECK.run(replace(given, files=(new, moved))))
    assert [(item.rule, item.file, item.severity) for item in found] == [("submodule", "lib/other", "minor")]


def test_a_link_that_is_not_there_and_a_name_with_a_nul_are_borne(tmp_path: Path) -> None:
    given = trees(tmp_path, {}, {})
    files = tuple(ChangedPath(path=path, status="A", mode=LINK, is_text=False) for path in ("gone", "a\0b"))
    assert raised(CHECK, replace(given, files=files)) == []
    programs = tuple(ChangedPath(path=path, status="A", mode=PROGRAM) for path in ("gone", "a\0b"))
    assert raised(CHECK, replace(given, files=programs)) == []
