"""Wrong input and what the command says to it: one message that tells what to do, an exit code, no traceback."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from sdlc.cli.demo_model import mark_as_demo, model_of_a_demo
from sdlc.cli.interrupts import Interrupted, wait_for
from sdlc.cli.preflight import check_model
from sdlc.config import Settings
from sdlc.demo.scripted_model import MODEL, ScriptedModel
from tests.commands import Done, sdlc
from tests.repositories import Checkout, git, new_bare, new_checkout

TICKET = "---\nkey: BUG-7\ntitle: Totals are rounded twice\n---\nThe sum is 0.31.\n"
FILES: dict[str, str | bytes | None] = {"README.md": "# money\n", "money.py": "def total(): ...\n"}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and data and cache below it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SDLC_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("SDLC_CACHE_DIR", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedModel]:
    server = ScriptedModel()
    server.start()
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    monkeypatch.setenv("SDLC_MODEL", MODEL)
    yield server
    server.stop()


@pytest.fixture
def ticket(here: Path) -> Path:
    file = here / "bug.md"
    file.write_text(TICKET)
    return file


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return new_checkout(tmp_path / "money", FILES)


def refused(done: Done, *words: str, code: int = 2) -> str:
    """One message of one or two sentences; returns it."""
    assert done.code == code, done
    assert done.out == ""
    message = done.last
    assert message.startswith("sdlc: "), done.err
    assert "Traceback" not in done.err
    assert len(message) < 500
    for word in words:
        assert word in message, message
    return message


def run_with(ticket: Path, repository: Path | str) -> Done:
    return sdlc("run", "--ticket", ticket, "--repo", repository)


# --- the call ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nonsense"], ["no such option: --nonsense", "`sdlc --help`"]),
        (["frobnicate"], ["no such command 'frobnicate'"]),
        (["status"], ["missing argument", "`sdlc status --help`"]),
        (["run"], ["missing option '--ticket'", "`sdlc run --help`"]),
        (["request-changes", "BUG-1"], ["missing option"]),
        (["instruct", "BUG-1", "  "], ["the text is empty"]),
        (["config", "set"], ["there is no `config set`"]),
    ],
)
def test_a_call_that_is_wrong_is_told_in_one_line_with_where_to_look(arguments: list[str], words: list[str]) -> None:
    refused(sdlc(*arguments), *words)


def test_without_arguments_the_help_is_shown() -> None:
    done = sdlc()
    assert done.code == 2
    assert "resume-run" in done.err


def test_help_tells_every_command_in_one_line_of_a_narrow_terminal() -> None:
    done = sdlc("--help")
    assert done.code == 0
    assert "..." not in done.out.partition("Commands:")[2]
    assert max(map(len, done.out.splitlines())) <= 80
    assert "\x1b" not in done.out


# --- the ticket -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, ["There is no ticket file", "check the path"]),
        (b"", ["is empty", "title"]),
        (b"   \n\n", ["is empty", "title"]),
        (b"# Caf\xe9\n", ["line 1", "not UTF-8", "save the file as UTF-8"]),
        (b"a\x00b", ["NUL byte"]),
        (b"Just words.\n", ["has no title", "# What is wrong"]),
        (b"---\ntitle: a: b: c\n---\nx\n", ["line 2", "not YAML", "in quotes"]),
        (b"---\ntitle: a\nno end\n", ["line 1", "has no end"]),
        (b"---\n- a\n---\n# T\n", ["`key: value`"]),
    ],
    ids=["missing", "empty", "blank", "latin-1", "binary", "no title", "no YAML", "no end", "a list"],
)
def test_a_ticket_that_cannot_be_read_is_told_with_its_place(
    here: Path, checkout: Checkout, model: ScriptedModel, content: bytes | None, words: list[str]
) -> None:
    file = here / "bad.md"
    if content is not None:
        file.write_bytes(content)
    message = refused(run_with(file, checkout.path), str(file), *words)
    assert message.count("\n") == 0
    if content is not None:
        assert file.read_bytes() == content


def test_a_ticket_that_is_a_folder_is_told(here: Path, checkout: Checkout, model: ScriptedModel) -> None:
    refused(run_with(here, checkout.path), "is a folder")


# --- the repository ---------------------------------------------------------------------------


def _missing(path: Path) -> None:
    pass


def _empty_folder(path: Path) -> None:
    path.mkdir()


def _no_commit(path: Path) -> None:
    path.mkdir()
    git(path, "init", "--quiet")


def _a_file(path: Path) -> None:
    path.write_text("x")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_missing, ["There is no folder", "check the path"]),
        (_empty_folder, ["is not a git repository", "git init"]),
        (_no_commit, ["has no commit yet", "git commit"]),
        (_a_file, ["is a file"]),
    ],
)
def test_a_repository_that_is_none_is_told(
    ticket: Path, tmp_path: Path, model: ScriptedModel, make: Callable[[Path], None], words: list[str]
) -> None:
    place = tmp_path / "repository"
    make(place)
    refused(run_with(ticket, place), str(place), *words)


def test_a_branch_that_is_not_there_is_told_with_those_that_are(
    ticket: Path, checkout: Checkout, model: ScriptedModel
) -> None:
    done = sdlc("run", "--ticket", ticket, "--repo", checkout.path, "--base", "develop")
    refused(done, "has no branch develop", "main")


def test_a_bare_repository_without_a_commit_is_told(ticket: Path, tmp_path: Path, model: ScriptedModel) -> None:
    git(tmp_path, "init", "--quiet", "--bare", "empty.git")
    refused(run_with(ticket, (tmp_path / "empty.git").as_uri()), "has no commit yet")


def test_a_repository_that_needs_credentials_is_told_without_a_prompt(ticket: Path, model: ScriptedModel) -> None:
    class Guarded(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="private"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/acme/money.git"
        refused(run_with(ticket, url), url, "needs credentials", "SSH")
        with_password = url.replace("http://", "http://bob:hunter22@")
        assert "hunter22" not in refused(run_with(ticket, with_password), "take it out of the address")
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Temporal server that is never reached: what was looked at before has passed."""
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")


@pytest.mark.usefixtures("no_server")
def test_changes_without_a_commit_are_a_note_and_the_run_goes_on(
    ticket: Path, checkout: Checkout, model: ScriptedModel
) -> None:
    checkout.write({"money.py": "def total(): return 1\n"})
    done = run_with(ticket, checkout.path)
    assert "has changes that are not committed; the run starts from the last commit without them." in done.err
    refused(done, "No Temporal server answers at 127.0.0.1:1", code=1)
    assert (checkout.path / "money.py").read_text() == "def total(): return 1\n"


@pytest.mark.usefixtures("no_server")
def test_submodules_and_lfs_are_notes(ticket: Path, checkout: Checkout, model: ScriptedModel, tmp_path: Path) -> None:
    other = new_bare(new_checkout(tmp_path / "other", FILES), tmp_path / "other.git")
    git(checkout.path, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "vendored")
    checkout.commit({".gitattributes": "*.bin filter=lfs diff=lfs merge=lfs -text\n"})
    done = run_with(ticket, checkout.path)
    assert "has submodules; they are left empty" in done.err
    assert "uses Git LFS; its large files stay pointers" in done.err
    assert done.code == 1


# --- the model --------------------------------------------------------------------------------


def test_without_a_model_the_person_learns_which_variables_to_set(ticket: Path, checkout: Checkout) -> None:
    refused(run_with(ticket, checkout.path), "No model is configured", "SDLC_MODEL", "OPENAI_API_KEY", "sdlc demo")


def test_a_model_of_openai_needs_a_key(ticket: Path, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDLC_MODEL", "some-model")
    refused(run_with(ticket, checkout.path), "OPENAI_API_KEY is not set")


def test_an_endpoint_that_is_down_is_told(ticket: Path, checkout: Checkout, model: ScriptedModel) -> None:
    model.stop()
    refused(run_with(ticket, checkout.path), model.base_url, "does not answer", "OPENAI_BASE_URL", code=1)


def test_a_key_that_is_refused_is_told_and_not_shown(
    ticket: Path, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_address[1]}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-planted-planted")
    monkeypatch.setenv("SDLC_MODEL", "m")
    try:
        message = refused(run_with(ticket, checkout.path), "refuses the key (401)", "OPENAI_API_KEY", code=1)
        assert "planted" not in message
    finally:
        server.shutdown()
        server.server_close()


def test_an_address_that_is_none_is_told(ticket: Path, checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDLC_MODEL", "m")
    monkeypatch.setenv("OPENAI_BASE_URL", "localhost:11434")
    refused(run_with(ticket, checkout.path), "OPENAI_BASE_URL is not an http or https URL: localhost:11434")


# --- the configuration ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run:\n  max_fix_ronds: 2\n", ["sdlc.yaml, line 2", "run.max_fix_ronds", "did you mean `max_fix_rounds`?"]),
        ("run:\n  max_fix_rounds: many\n", ["sdlc.yaml, line 2", "valid integer"]),
        ("rnu: {}\n", ["line 1", "did you mean `run`?"]),
        ("run:\n  approval:\n    aprovers: [grace]\n", ["line 3", "did you mean `approvers`?"]),
        ("run:\n  limits:\n    unit_test: {}\n", ["line 3", "did you mean `unit_tests`?"]),
        ("run: [\n", ["not YAML"]),
        ("- a\n", ["is not made of settings", "sdlc config"]),
        ("run:\n", ["line 1", "settings of its own"]),
        (b"# caf\xe9\n", ["not UTF-8"]),
    ],
)
def test_a_typing_error_in_the_configuration_is_told_with_place_and_mend(
    here: Path, text: str | bytes, words: list[str]
) -> None:
    (here / "sdlc.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    refused(sdlc("list"), *words)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("SDLC_RUN__MAX_FIX_ROUNDS", "many", ["SDLC_RUN__MAX_FIX_ROUNDS", "valid integer"]),
        ("SDLC_SANDBOX__KIND", "vm", ["SDLC_SANDBOX__KIND", "'bubblewrap', 'docker', 'podman' or 'none'"]),
        ("SDLC_RUN", "x", ["SDLC_RUN is not JSON", "SDLC_RUN__NAME=value"]),
        ("SDLC_RNU__MERGE", "1", ["did you mean SDLC_RUN__MERGE?"]),
        ("SDLC_RUN__APPROVAL__APROVERS", '["a"]', ["did you mean SDLC_RUN__APPROVAL__APPROVERS?"]),
    ],
)
def test_a_variable_that_is_wrong_is_told_by_its_name(
    here: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: list[str]
) -> None:
    (here / "sdlc.yaml").write_text("run: {max_fix_rounds: 2}\n")
    monkeypatch.setenv(name, value)
    refused(sdlc("list"), *words)


def test_two_addresses_of_a_model_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", "http://a/v1")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://b/v1")
    refused(sdlc("list"), "OPENAI_API_BASE and OPENAI_BASE_URL are both set; unset OPENAI_API_BASE.")


def test_a_configuration_file_that_was_named_must_be_there(here: Path) -> None:
    refused(sdlc("--config", here / "none.yaml", "list"), "There is no configuration file", "none.yaml")


def test_the_configuration_is_shown_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-planted-planted")
    monkeypatch.setenv("OPENAI_BASE_URL", "https://bob:hunter22@models.example/v1")
    shown, document = sdlc("config"), sdlc("config", "--json")
    assert shown.code == document.code == 0
    assert document.json["llm"]["base_url"].endswith("@models.example/v1")
    assert document.json["run"]["max_fix_rounds"] == 3
    assert sdlc("config", "show").out == shown.out
    for text in (shown.out, document.out):
        assert "planted" not in text
        assert "hunter22" not in text


# --- the server -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [["status", "BUG-1"], ["list"], ["approve", "BUG-1"], ["start", "BUG-1"], ["cancel", "BUG-1"], ["findings", "X"]],
)
def test_without_a_server_the_person_learns_how_to_start_one(arguments: list[str]) -> None:
    refused(sdlc(*arguments), "No Temporal server is running", "`sdlc dev`", "TEMPORAL_ADDRESS")


def test_a_dead_address_is_told_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "127.0.0.1:1")
    began = time.monotonic()
    refused(sdlc("status", "BUG-1"), "No Temporal server answers at 127.0.0.1:1", "TEMPORAL_ADDRESS", code=1)
    assert time.monotonic() - began < 10


def test_a_server_that_takes_connections_and_says_nothing_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr("sdlc.runtime.client._HANDSHAKE_SECONDS", 0.5)
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{silent.getsockname()[1]}")
        refused(sdlc("list"), "no Temporal server that lets us in", code=1)


def test_an_address_without_a_port_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal.internal")
    refused(sdlc("list"), "write host:port")


# --- leaving ----------------------------------------------------------------------------------


def test_a_second_signal_does_not_break_the_tidying_up_that_the_first_began(
    capsys: pytest.CaptureFixture[str],
) -> None:
    tidied = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(10)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.05)
            tidied.append("up")

    with pytest.raises(Interrupted):
        wait_for(work())
    assert tidied == ["up"]
    assert "Still giving back what is in hand" in capsys.readouterr().err


async def test_a_demo_that_was_left_goes_on_with_its_scripted_model(tmp_path: Path) -> None:
    demo = Settings(data_dir=tmp_path)
    async with model_of_a_demo(demo) as equipped:
        assert equipped is demo
    mark_as_demo(demo)
    async with model_of_a_demo(demo) as equipped:
        await check_model(equipped)
        assert equipped.llm.name == MODEL


# --- faults of our own ------------------------------------------------------------------------

_FAULTY = """
import sys
from sdlc.cli import reading
from sdlc.cli.main import main

async def broken(settings):
    raise KeyError("it broke")

reading.connected_runs = broken
main()
"""


def _faulty(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", _FAULTY, "list"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, **environment},
    )


def test_a_fault_of_ours_is_one_line_and_its_traceback_is_in_the_log(tmp_path: Path) -> None:
    done = _faulty(OPENAI_API_KEY="sk-planted-planted-planted")
    log = tmp_path / "data" / "sdlc.log"
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "a fault in sdlc itself (KeyError: 'it broke')" in done.stderr
    assert str(log) in done.stderr
    entry = json.loads(log.read_text().splitlines()[-1])
    assert "in broken" in entry["exception"]
    assert "planted" not in log.read_text()


def test_sdlc_debug_shows_the_traceback() -> None:
    done = _faulty(SDLC_DEBUG="1")
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr


def test_a_data_folder_that_cannot_be_written_to_is_told_with_its_place(
    ticket: Path, checkout: Checkout, model: ScriptedModel
) -> None:
    (ticket.parent / "taken").write_text("a file")
    done = sdlc("--data-dir", ticket.parent / "taken", "run", "--ticket", ticket, "--repo", checkout.path)
    refused(done, "taken", code=1)


def test_a_reader_that_goes_away_is_no_fault() -> None:
    script = f"{sys.executable} -m sdlc.cli.main config | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] in ("0", "1")
