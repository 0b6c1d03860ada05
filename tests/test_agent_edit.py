"""The edit tool: exact, inside the workspace whatever the links say, and helpful when it refuses."""

import os
from pathlib import Path

import pytest

from sdlc.engines.conversation import ToolCall
from sdlc.engines.editing import MAX_EDIT_BYTES, edit, write
from sdlc.engines.tool_definitions import TOOLS, ToolRefused, problem_with


@pytest.fixture
def root(tmp_path: Path) -> Path:
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "money.py").write_text("def total(x):\n    return x\n\n\ndef other(x):\n    return x\n")
    (tmp_path / "outside.txt").write_text("secret")
    return workspace


def test_the_one_place_is_replaced_and_its_line_is_told(root: Path) -> None:
    assert edit(root, "money.py", "def other(x):\n    return x", "def other(x):\n    return 2 * x") == (
        "Edited money.py at line 5."
    )
    assert (root / "money.py").read_text().endswith("return 2 * x\n")
    assert (root / "money.py").read_text().startswith("def total(x):\n    return x\n")


def test_an_absolute_path_as_the_sandbox_shows_it_is_understood(root: Path) -> None:
    assert edit(root, "/work/money.py", "def total(x)", "def total(y)") == "Edited money.py at line 1."


def test_a_text_that_occurs_twice_is_refused_with_its_lines(root: Path) -> None:
    with pytest.raises(ToolRefused, match=r"occurs 2 times in money.py \(lines 2, 6\)"):
        edit(root, "money.py", "    return x", "    return y")


def test_a_text_with_other_white_space_is_refused_with_where_it_stands(root: Path) -> None:
    with pytest.raises(ToolRefused, match="first line stands at line 5"):
        edit(root, "money.py", "  def other(x):\n  return x", "pass")


def test_a_text_that_is_nearly_there_is_refused_with_the_nearest_line(root: Path) -> None:
    with pytest.raises(ToolRefused, match=r"nearest is line 5: 'def other\(x\):'"):
        edit(root, "money.py", "def others(x, y):", "pass")


def test_a_text_like_nothing_in_the_file_is_refused(root: Path) -> None:
    with pytest.raises(ToolRefused, match="Nothing in it is like it"):
        edit(root, "money.py", "class Zebra: ...", "pass")


def test_an_edit_that_changes_nothing_is_refused(root: Path) -> None:
    with pytest.raises(ToolRefused, match="are the same"):
        edit(root, "money.py", "total", "total")


def test_an_empty_old_text_makes_a_new_file_with_its_folders(root: Path) -> None:
    assert edit(root, "tests/unit/test_a.py", "", "assert True\n") == "Created tests/unit/test_a.py."
    assert (root / "tests/unit/test_a.py").read_text() == "assert True\n"


def test_an_empty_old_text_fills_an_empty_file_and_never_overwrites(root: Path) -> None:
    (root / "__init__.py").touch()
    assert edit(root, "__init__.py", "", "x = 1\n") == "Wrote __init__.py."
    with pytest.raises(ToolRefused, match="exists and is not empty"):
        edit(root, "money.py", "", "gone")


def test_a_missing_file_is_told(root: Path) -> None:
    with pytest.raises(ToolRefused, match=r"There is no file `absent\.py`"):
        edit(root, "absent.py", "a", "b")


@pytest.mark.parametrize(
    "path", ["../outside.txt", "/etc/passwd", "a/../../outside.txt", "", ".", "/work", "a\0b", "/work/.."]
)
def test_a_path_outside_is_refused(root: Path, path: str) -> None:
    with pytest.raises(ToolRefused):
        edit(root, path, "secret", "x")


def test_links_that_lead_outside_are_refused(root: Path, tmp_path: Path) -> None:
    (root / "file").symlink_to(tmp_path / "outside.txt")
    (root / "folder").symlink_to(tmp_path)
    (root / "dangling").symlink_to(tmp_path / "new.txt")
    (root / "loop").symlink_to("loop")
    for path, old in [
        ("file", "secret"),
        ("folder/outside.txt", "secret"),
        ("dangling", ""),
        ("loop", ""),
        ("folder/n", ""),
    ]:
        with pytest.raises(ToolRefused):
            edit(root, path, old, "x")
    assert (tmp_path / "outside.txt").read_text() == "secret"
    assert not (tmp_path / "new.txt").exists()


def test_a_link_inside_the_workspace_is_followed(root: Path) -> None:
    (root / "alias.py").symlink_to("money.py")
    assert edit(root, "alias.py", "def total", "def sum_of") == "Edited money.py at line 1."
    assert (root / "alias.py").is_symlink()


@pytest.mark.parametrize("path", [".git/hooks/pre-commit", ".GIT/config", "sub/.git/config"])
def test_git_s_own_files_are_refused(root: Path, path: str) -> None:
    with pytest.raises(ToolRefused, match="belongs to git"):
        edit(root, path, "", "x")


def test_a_link_to_git_s_own_files_is_refused(root: Path) -> None:
    (root / ".git").mkdir()
    (root / "innocent").symlink_to(".git")
    with pytest.raises(ToolRefused, match="belongs to git"):
        edit(root, "innocent/config", "", "x")


def test_crlf_files_keep_their_line_ends(root: Path) -> None:
    (root / "win.txt").write_bytes(b"one\r\ntwo\r\nthree\r\n")
    edit(root, "win.txt", "one\ntwo", "one\n1.5\ntwo")
    edit(root, "win.txt", "three", "three\nfour")
    assert (root / "win.txt").read_bytes() == b"one\r\n1.5\r\ntwo\r\nthree\r\nfour\r\n"


def test_a_byte_order_mark_and_the_mode_are_kept(root: Path) -> None:
    path = root / "run.sh"
    path.write_bytes(b"\xef\xbb\xbfecho a\n")
    path.chmod(0o755)
    edit(root, "run.sh", "echo a", "echo b")
    assert path.read_bytes() == b"\xef\xbb\xbfecho b\n"
    assert path.stat().st_mode & 0o777 == 0o755


def test_what_is_not_utf_8_a_folder_or_a_pipe_is_refused(root: Path) -> None:
    (root / "latin.txt").write_bytes("für".encode("latin-1"))
    (root / "folder").mkdir()
    os.mkfifo(root / "pipe")
    with pytest.raises(ToolRefused, match="not UTF-8"):
        edit(root, "latin.txt", "f", "x")
    for path, old in [
        ("folder", "a"),
        ("folder", ""),
        ("pipe", "a"),
        ("pipe", ""),
        ("money.py/x", ""),
        ("money.py/x", "a"),
    ]:
        with pytest.raises(ToolRefused):
            edit(root, path, old, "x")
    assert (root / "latin.txt").read_bytes() == "für".encode("latin-1")


def test_half_a_surrogate_pair_is_refused_and_the_file_left_alone(root: Path) -> None:
    with pytest.raises(ToolRefused, match="surrogate"):
        edit(root, "money.py", "def total", "\ud800")
    assert "def total" in (root / "money.py").read_text()


def call(name: str, **arguments: object) -> ToolCall:
    return ToolCall(id="1", name=name, arguments=arguments)


NAMES = ["plan", "shell", "view", "search", "edit", "write", "submit"]


def test_the_tools_there_are() -> None:
    assert [tool["function"]["name"] for tool in TOOLS] == NAMES


def test_an_unknown_tool_is_answered_with_the_tools_there_are() -> None:
    assert problem_with(call("browse", url="x")) == f"There is no tool `browse`. The tools are: {', '.join(NAMES)}."


def test_missing_and_wrong_parameters_are_answered_with_the_parameters_there_are() -> None:
    assert "without path, new_text. Its parameters are: path, old_text, new_text" in problem_with(
        call("edit", old_text="")
    )
    assert problem_with(call("shell", command=["ls"])) == "`command` of `shell` must be a string."
    assert problem_with(call("submit", summary="done", plan="one")) == ""
    assert problem_with(call("plan", steps="look")) == "`steps` of `plan` must be a list."
    assert problem_with(call("view", path="a", start="3", end=None)) == ""
    assert problem_with(call("search", pattern="a", path=None)) == ""
    for start in (0, "x", 1.5, True, float("inf")):
        assert problem_with(call("view", path="a", start=start)) == (
            "`start` of `view` must be a whole number from 1 on."
        )
    assert problem_with(call("shell", command="ls", timeout=3)) == ""


def test_a_whole_file_is_written_whether_it_is_there_or_not(root: Path) -> None:
    os.chmod(root / "money.py", 0o755)
    assert write(root, "money.py", "x = 1\n") == "Replaced money.py (1 lines)."
    assert (root / "money.py").read_text() == "x = 1\n"
    assert (root / "money.py").stat().st_mode & 0o777 == 0o755
    assert write(root, "/work/a/b.py", "x = 1\ny = 2\n") == "Created a/b.py (2 lines)."
    assert write(root, "a/b.py", "x = 1\ny = 2\n").endswith("so nothing was changed.")
    assert write(root, "a/b.py", "") == "Replaced a/b.py (0 lines)."


def test_a_file_with_crlf_line_ends_keeps_them_when_it_is_written(root: Path) -> None:
    (root / "dos.txt").write_bytes(b"a\r\nb\r\n")
    write(root, "dos.txt", "a\nc\n")
    assert (root / "dos.txt").read_bytes() == b"a\r\nc\r\n"


def test_write_does_not_leave_the_workspace_and_overwrites_nothing_but_files(root: Path) -> None:
    (root / "link").symlink_to(root.parent / "outside.txt")
    (root / "up").symlink_to(root.parent)
    (root / "folder").mkdir()
    os.mkfifo(root / "pipe")
    for path, said in (
        ("link", "inside the repository"),
        ("up/new.txt", "inside the repository"),
        ("../new.txt", "inside the repository"),
        ("/etc/new", "outside the repository"),
        (".git/hooks/pre-commit", "belongs to git"),
        ("folder", "is a folder"),
        (".", "does not lead to a file"),
        ("pipe", "not a regular file"),
        ("money.py/x", "can't be made|is not a"),
        ("big", "too many for `write`"),
    ):
        with pytest.raises(ToolRefused, match=said):
            write(root, path, "x" * (MAX_EDIT_BYTES + 1) if path == "big" else "x")
    assert (root.parent / "outside.txt").read_text() == "secret"
    assert not (root.parent / "new.txt").exists()


def test_a_hard_link_of_a_written_file_keeps_its_own_content(root: Path) -> None:
    os.link(root / "money.py", root.parent / "kept.py")
    write(root, "money.py", "x = 1\n")
    assert (root.parent / "kept.py").read_text().startswith("def total")
