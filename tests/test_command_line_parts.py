"""The parts of a program's run by themselves: copies out of a hostile folder, checkpoints, its log, the verdict."""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr

from sdlc.config import EngineSettings, ModelSettings, Settings
from sdlc.domain import RunIdentity
from sdlc.engines import engine_log
from sdlc.engines.checkpoints import Checkpoints
from sdlc.engines.command_copy import Mirror
from sdlc.engines.command_model import endpoint_of
from sdlc.engines.command_verdict import End, verdict
from sdlc.engines.engine_log import EngineLog
from sdlc.errors import ConfigurationError, EngineUnusable, ModelKeyRefused, ServiceUnavailable
from sdlc.integrations.gateway import Trouble
from sdlc.integrations.workspace import Workspaces
from tests.repositories import git, new_bare, new_checkout

RUN = RunIdentity(workflow_id="w", run_id="r1", ticket_key="CALC-1")


# --- copies -------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("source", "target"):
        (tmp_path / name).mkdir()
    return tmp_path / "source", tmp_path / "target"


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_text()
        for path in folder.rglob("*")
        if path.is_symlink() or not path.is_dir()
    }


def test_files_and_folders_that_took_each_other_s_place_are_followed(folders: tuple[Path, Path]) -> None:
    source, target = folders
    (source / "a").mkdir()
    (source / "a" / "x").write_text("1")
    (source / "b").write_text("2")
    mirror = Mirror(source, target)
    assert mirror.bring([b"a/x", b"b"]) == []
    (source / "a" / "x").unlink()
    (source / "a").rmdir()
    (source / "a").symlink_to("b")
    (source / "b").unlink()
    (source / "b").mkdir()
    (source / "b" / "y").write_text("3")
    assert mirror.bring([b"a", b"b", b"b/y"]) == []
    assert tree(target) == {"a": "b", "b/y": "3"}
    (source / "b" / "y").unlink()
    assert mirror.bring([]) == []
    assert tree(target) == {"a": "b"}


def test_what_lies_behind_a_link_is_never_copied_however_fast_it_is_put_there(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    source, target = folders
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "id_rsa").write_text("planted")
    (source / "mine").mkdir()
    (source / "mine" / "id_rsa").write_text("harmless")
    (source / "d").symlink_to("mine")
    ended = threading.Event()

    def swap() -> None:
        turn = 0
        while not ended.is_set():
            turn += 1
            draft = source / "draft"
            draft.symlink_to(outside if turn % 2 else "mine")
            draft.rename(source / "d")

    def swap_folders() -> None:
        while not ended.is_set():
            (source / "e").mkdir()
            (source / "e" / "id_rsa").write_text("harmless")
            (source / "e" / "id_rsa").unlink()
            (source / "e").rmdir()
            (source / "e").symlink_to(outside)
            (source / "e").unlink()

    threads = [threading.Thread(target=swap), threading.Thread(target=swap_folders)]
    for thread in threads:
        thread.start()
    try:
        mirror = Mirror(source, target)
        for _ in range(1_500):
            mirror.bring([b"d/id_rsa", b"e/id_rsa"])
            assert "planted" not in tree(target).values()
    finally:
        ended.set()
        for thread in threads:
            thread.join(10)


def test_what_is_too_much_is_left_out_and_said(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = folders
    monkeypatch.setattr("sdlc.engines.command_copy.MAX_COPIED_BYTES", 10)
    for name in ("1", "2", "3"):
        (source / name).write_text("12345")
    assert Mirror(source, target).bring([b"1", b"2", b"3"]) == ["3 and others are more than 0 MiB together."]
    assert set(tree(target)) == {"1", "2"}


def test_what_is_no_file_and_what_has_too_long_a_name_is_left_out_and_said(folders: tuple[Path, Path]) -> None:
    source, target = folders
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "s"))
        left_out = Mirror(source, target).bring([b"s", b"pipe", b"x" * 300])
    assert left_out[:2] == ["s is a pipe, socket or device.", "pipe is a pipe, socket or device."]
    assert left_out[2].endswith("can't be read: File name too long.")


def test_names_that_are_git_s_own_are_left_out(folders: tuple[Path, Path]) -> None:
    source, target = folders
    (source / ".GIT").mkdir()
    (source / ".GIT" / "config").write_text("x")
    assert "git's own" in Mirror(source, target).bring([b".GIT/config"])[0]
    assert tree(target) == {}


# --- checkpoints --------------------------------------------------------------------------


@contextmanager
def as_it_is(folder: Path) -> Iterator[None]:
    """Nothing in the folder is changed in the block."""

    def state() -> dict[str, tuple[int, ...]]:
        found = [folder, *folder.rglob("*")]
        return {str(p): (s.st_ino, s.st_mtime_ns, s.st_ctime_ns) for p in found for s in [p.lstat()]}

    before = state()
    yield
    assert state() == before


async def test_checkpoints_only_look_and_one_that_fails_is_made_up_for(tmp_path: Path) -> None:
    checkout = new_checkout(tmp_path / "work", {"a": "1\n", "b": "1\n"})
    bare = new_bare(checkout, tmp_path / "bare.git")
    workspaces = Workspaces(tmp_path / "cache")
    base = checkout.head
    async with workspaces.at(checkout.as_repository(str(bare)), base, run_id="r1") as workspace:
        checkpoints = Checkpoints(workspaces, workspace, RUN, base, ())
        await checkpoints.take(1)
        assert checkpoints.head == base
        (workspace.path / "a").write_text("2\n")
        (workspace.path / "new").write_text("1\n")
        (bare / "refs" / "sdlc").write_text("in the way of refs")
        with pytest.raises(Exception, match="sdlc"), as_it_is(workspace.path):
            await checkpoints.take(2)
        (bare / "refs" / "sdlc").unlink()
        with as_it_is(workspace.path):
            await checkpoints.take(3)
        first = checkpoints.head
        changes = ("diff", "--no-renames", "--name-status", base)
        assert git(bare, *changes, first).split() == ["M", "a", "A", "new"]
        (workspace.path / "a").write_text("1\n")
        (workspace.path / "b").unlink()
        await checkpoints.take_last(4)
        assert git(bare, "diff", "--no-renames", "--name-status", base, checkpoints.head).split() == [
            "D",
            "b",
            "A",
            "new",
        ]
        assert git(bare, "rev-parse", f"{checkpoints.head}^") == first
        await checkpoints.close()


# --- the log ------------------------------------------------------------------------------


def log_of(*chunks: bytes, limit: int = 10_000, secrets: tuple[str, ...] = ("run-key-1",)) -> EngineLog:
    log = EngineLog(lambda text: text.replace("worker-key", "[secret]"), secrets, engine="x", run_id="r", limit=limit)
    for chunk in chunks:
        log.feed(chunk)
    log.close()
    return log


def test_a_secret_that_comes_in_two_pieces_is_hidden_and_colours_are_gone() -> None:
    log = log_of(b"a \x1b[31mrun-k", b"ey-1\x1b[0m b\nwor", b"ker-key\r", b"last")
    assert log.text() == "a [secret] b\n[secret]\nlast\n"
    assert log.last_words() == "a [secret] b\n[secret]\nlast"


def test_a_long_output_keeps_both_ends_in_whole_lines_and_says_how_much_is_missing() -> None:
    log = log_of(*(f"line {number}\n".encode() for number in range(1_000)), limit=200)
    text = log.text()
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith("line 998\nline 999\n")
    assert "lines with" in text
    assert len(text) < 300


def test_a_line_without_an_end_is_cut_between_words() -> None:
    log = log_of(b"word " * 30_000 + b"run-key-1 end", limit=1_000_000)
    assert "run-key" not in log.text()
    assert log.text().replace("\n", "").startswith("word word ")


def test_a_secret_at_the_edge_of_a_logged_line_is_hidden_as_a_whole() -> None:
    with structlog.testing.capture_logs() as logged:
        log = log_of(b"x" * 1_995 + b" run-key-1\n")
    assert "run-" not in str(logged) + log.last_lines(5_000) + log.last_words(5_000)


def test_a_flood_is_counted_and_not_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_log, "MAX_LOGGED_LINES", 3)
    with structlog.testing.capture_logs() as logged:
        log_of(b"1\n2\n3\n4\n5\n")
    assert [entry["line"] for entry in logged] == ["1", "2", "3", "[… 2 more lines …]"]


def test_of_a_long_line_the_beginning_is_cleaned_and_no_half_of_a_secret_is_logged() -> None:
    cleaned: list[int] = []

    def redact(text: str) -> str:
        cleaned.append(len(text))
        return text

    with structlog.testing.capture_logs() as logged:
        log = EngineLog(redact, ("k" * 1_500,), engine="x", run_id="r", limit=1_000_000)
        log.feed(b"\x1b[0m" * 500 + b"w" * 1_000 + b"k" * 1_500 + b"z" * 50_000 + b"\n")
    assert max(cleaned) <= 4_000
    assert logged[0]["line"].strip("w") == ""


def test_the_document_is_cleaned_in_pieces_of_whole_lines() -> None:
    pieces: list[str] = []
    log = EngineLog(lambda text: pieces.append(text) or text, (), engine="x", run_id="r", limit=1_000_000)  # type: ignore[func-returns-value]
    expected = "".join(f"line {number} {'x' * 90}\n" for number in range(5_000))
    log.feed(expected.encode())
    pieces.clear()
    assert log.text() == expected
    assert 5 < len(pieces) < 20
    assert max(map(len, pieces)) <= 64 * 1024


def test_a_flood_of_line_ends_costs_next_to_nothing_and_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = 0
    taken = EngineLog._line

    def line(log: EngineLog, text: bytes) -> None:
        nonlocal lines
        lines += 1
        taken(log, text)

    monkeypatch.setattr(EngineLog, "_line", line)
    monkeypatch.setattr(engine_log, "MAX_LOGGED_LINES", 100)
    log = log_of(b"first\n", *([b"\n" * 100_000] * 5), b"end\nlast\n", limit=50_000)
    assert lines == 100
    assert log.last_words() == "end\nlast"
    text = log.text()
    assert text.startswith("first\n\n")
    assert text.endswith("\nend\nlast\n")
    said = re.search(r"\[… ([0-9,]+) lines with ([0-9,]+) bytes cut …\]", text)
    assert said is not None
    assert int(said[1].replace(",", "")) + text.count("\n") - 1 == 500_003


def test_a_key_within_a_flood_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_log, "MAX_LOGGED_LINES", 2)
    begin, end = b"-----BEGIN PRIVATE KEY-----\n", b"-----END PRIVATE KEY-----\n"
    text = log_of(b"1\n2\n3\n" + begin, b"MIIE1\nMIIE2\n" * 10, b"MIIE3\n" + end + b"4\n", b"5\n").text()
    assert text.startswith("1\n2\n3\n[secret]\n")
    assert text.endswith("[secret]\n4\n5\n")
    assert "MIIE" not in text


# --- the verdict --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("end", "changed", "ended"),
    [
        (End(exit_code=0), True, "submitted"),
        (End(exit_code=0), False, "no_change"),
        (End(exit_code=1), True, "submitted"),
        (End(exit_code=1), False, "failed"),
        (End(exit_code=137, limit="memory"), True, "submitted"),
        (End(exit_code=137, limit="memory"), False, "failed"),
        (End(exit_code=137, limit="time"), False, "time"),
        (End(stopped="budget", reason="spent"), False, "budget"),
        (End(exit_code=1, trouble=Trouble(400, "no such model")), False, "failed"),
        (End(exit_code=1, trouble=Trouble(401, "bad key")), True, "submitted"),
    ],
)
def test_how_it_ended_is_what_it_means(end: End, changed: bool, ended: str) -> None:
    found, reason = verdict(end, "`x`", changed=changed, said="last words")
    assert found == ended
    assert (reason == "") == (end.exit_code == 0 and changed)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (403, 0, ModelKeyRefused),
        (0, 0, ServiceUnavailable),
        (529, 1, ServiceUnavailable),
        (401, 137, ModelKeyRefused),
        (None, 127, EngineUnusable),
    ],
)
def test_what_kept_it_from_doing_anything_is_an_error_of_its_name(
    status: int | None, code: int, error: type[Exception]
) -> None:
    trouble = None if status is None else Trouble(status, "why", 3.0)
    with pytest.raises(error, match="`x`"):
        verdict(End(code, "time" if code == 137 else None, trouble=trouble), "`x`", changed=False)


def test_what_could_not_be_kept_is_no_missing_change() -> None:
    ended, reason = verdict(End(exit_code=0), "`x`", changed=False, left_out="big has 80 MiB.")
    assert (ended, reason) == ("failed", "Nothing that `x` changed could be kept. big has 80 MiB.")


# --- the model ----------------------------------------------------------------------------


def test_a_key_goes_only_where_it_was_meant_for(settings: Settings) -> None:
    def found(wire: str, llm: dict[str, object], engine: dict[str, object]) -> tuple[str, str]:
        own = settings.model_copy(
            update={"llm": ModelSettings.model_validate({"name": "m", **llm}), "engine": EngineSettings(**engine)}
        )
        it = endpoint_of(own, wire)  # type: ignore[arg-type]
        return it.base_url, it.api_key

    llm, key = {"base_url": "http://l/v1", "api_key": SecretStr("l-key")}, {"api_key": SecretStr("e-key")}
    assert found("chat", llm, {}) == ("http://l/v1", "l-key")
    assert found("messages", llm, key) == ("http://l/v1", "e-key")
    assert found("chat", llm, {"base_url": "http://e"}) == ("http://e", "")
    assert found("messages", {"api_key": SecretStr("l-key"), "provider": "anthropic"}, {}) == ("", "l-key")
    for wire, provider in (("messages", "openai"), ("chat", "anthropic")):
        with pytest.raises(ConfigurationError, match="no key"):
            found(wire, {"api_key": SecretStr("l-key"), "provider": provider}, {})


def test_the_last_words_are_whole_lines_of_the_last_paragraph_within_their_bound() -> None:
    log = log_of(b"brief is here\n\nI rounded once,\nat the end.\n")
    assert log.last_words() == "I rounded once,\nat the end."
    assert log.last_words(12) == "at the end."
    assert log.last_words(4) == "end."
    assert log_of(b"\n\n").last_words() == ""
