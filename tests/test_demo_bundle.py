"""The bundled repository, ticket and script: every word of the model is carried out here, on real files."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import frontmatter
import httpx
import pytest

from sdlc.demo import bundle
from sdlc.demo.conversation import ChatRequest, added_lines
from sdlc.demo.script import demo_script
from sdlc.demo.scripted_model import MODEL, ScriptedModel
from sdlc.engines.tools import TOOLS, ToolRefused, edit
from sdlc.errors import RepositoryInvalid

BIN = Path(sys.executable).parent
NO_PLUGINS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p no:cacheprovider"}


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = f"{BIN}:{os.environ['PATH']}"
    environment = {"PATH": path, "HOME": str(folder.parent), "PYTHONDONTWRITEBYTECODE": "1", **NO_PLUGINS}
    return subprocess.run(arguments, cwd=folder, env=environment, text=True, capture_output=True, timeout=60)


def git(folder: Path, *arguments: str) -> str:
    done = command(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def suite(folder: Path) -> tuple[set[str], set[str]]:
    """The repository's tests: those that passed and those that failed."""
    output = command(folder, "python", "-m", "pytest", "-q", "-rA").stdout
    results = [line.split(" ", 1) for line in output.splitlines() if line.startswith(("PASSED ", "FAILED "))]
    return tuple({name.split(" - ")[0] for word, name in results if word == kind} for kind in ("PASSED", "FAILED"))  # type: ignore[return-value]


def own_checks(folder: Path) -> list[str]:
    """What the repository's own ruff and mypy configuration finds."""
    checks = (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy", "--cache-dir", os.devnull])
    results = [command(folder, *check) for check in checks]
    return [result.stdout + result.stderr for result in results if result.returncode]


def bugbear(folder: Path) -> list[tuple[str, str]]:
    """What an analyser with rules of its own finds: (rule, file)."""
    found = command(folder, "ruff", "check", "--isolated", "--select", "B,E9,F,S", "--output-format", "json", "parcel")
    return [(item["code"], Path(item["filename"]).name) for item in json.loads(found.stdout)]


@dataclass
class Played:
    """One round of the agent, played to its submit."""

    folder: Path
    summary: str = ""
    plan: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)


async def play(folder: Path, round_: int, base_url: str) -> Played:
    """Do what the model says, with the engine's own edit tool, until it submits."""
    played = Played(folder)
    brief = f"# Ticket DEMO-1\n\nRound: {round_}\nRepository: parcel\n"
    messages: list[dict[str, Any]] = [{"role": "system", "content": "-"}, {"role": "user", "content": brief}]
    async with httpx.AsyncClient(timeout=10) as client:
        while not played.summary:
            body = {"model": MODEL, "messages": messages, "tools": TOOLS}
            response = await client.post(f"{base_url}/chat/completions", json=body)
            assert response.status_code == 200, response.text
            message = response.json()["choices"][0]["message"]
            messages.append(message)
            for call in message["tool_calls"]:
                output = await asyncio.to_thread(carry_out, played, call["function"])
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": output})
    return played


def carry_out(played: Played, function: dict[str, str]) -> str:
    arguments = json.loads(function["arguments"])
    match function["name"]:
        case "shell":
            output = command(played.folder, "bash", "-c", arguments["command"]).stdout
        case "edit":
            try:
                output = edit(played.folder, arguments["path"], arguments["old_text"], arguments["new_text"])
            except ToolRefused as refused:
                output = f"refused: {refused}"
        case "plan":
            output = "The plan is kept."
        case "submit":
            played.summary, played.plan, output = arguments["summary"], arguments.get("plan", []), "submitted"
    played.outputs.append(output)
    return output


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled repository; tests work on copies of it."""
    return asyncio.run(bundle.make_repository(tmp_path_factory.mktemp("base") / "parcel"))


@pytest.fixture(scope="module")
def first_round(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Played:
    """The repository after round 0."""

    async def work() -> Played:
        folder = Path(shutil.copytree(base, tmp_path_factory.mktemp("first") / "parcel"))
        async with ScriptedModel() as server:
            return await play(folder, 0, server.base_url)

    return asyncio.run(work())


def copy_of(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target / "parcel"))


# --- the repository and the ticket --------------------------------------------------------


async def test_the_shas_are_the_same_whatever_the_user_has_configured(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".gitconfig").write_text("[user]\nname = Somebody\n[core]\nautocrlf = true\n[commit]\ngpgSign = true\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    other = await bundle.make_repository(tmp_path / "a" / "b")
    assert git(other, "rev-parse", "HEAD") == git(base, "rev-parse", "HEAD")
    assert git(base, "rev-list", "--count", "main") == "3"
    assert git(base, "status", "--porcelain") == ""


async def test_a_repository_that_is_there_is_left_as_it_is(base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path)
    (folder / "mine.txt").write_text("mine")
    assert await bundle.make_repository(folder) == folder
    assert (folder / "mine.txt").read_text() == "mine"


async def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.md").write_text("years of work")
    with pytest.raises(RepositoryInvalid, match="not empty"):
        await bundle.make_repository(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.md"]


def test_the_base_is_green_and_has_both_faults_of_the_ticket(base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path)
    passed, failed = suite(folder)
    assert len(passed) > 30
    assert not failed
    assert own_checks(folder) == []
    assert bugbear(folder) == []
    assert "7.90" in command(folder, "python", "-m", "parcel", "DE", "2000").stdout
    assert "StopIteration" in command(folder, "python", "-m", "parcel", "DE", "33200").stderr


def test_the_ticket_has_what_a_tracker_needs() -> None:
    ticket = frontmatter.loads(bundle.ticket_text())
    assert ticket["key"] == bundle.TICKET_KEY
    assert "ai-ready" in ticket["labels"]
    assert ticket["title"]
    criteria = ticket.content.split("## Acceptance criteria")[1]
    assert len([line for line in criteria.splitlines() if line.startswith("- ")]) == 3


# --- the rounds ---------------------------------------------------------------------------


def test_the_first_round_solves_the_ticket_and_its_tests_prove_it(
    base: Path, first_round: Played, tmp_path: Path
) -> None:
    before, _ = suite(copy_of(base, tmp_path / "base"))
    passed, failed = suite(first_round.folder)
    assert not failed
    assert before < passed
    mixed = copy_of(base, tmp_path / "mixed")
    shutil.copytree(first_round.folder / "tests", mixed / "tests", dirs_exist_ok=True)
    _, failing_on_base = suite(mixed)
    assert failing_on_base == passed - before
    assert not [output for output in first_round.outputs if output.startswith("refused")]


def test_the_first_round_holds_exactly_one_fault_that_an_analyser_finds(first_round: Played) -> None:
    assert bugbear(first_round.folder) == [("B006", "tariff.py")]
    assert own_checks(first_round.folder) == []


async def test_the_next_round_mends_exactly_that(first_round: Played, tmp_path: Path) -> None:
    folder = copy_of(first_round.folder, tmp_path)
    async with ScriptedModel() as server:
        played = await play(folder, 1, server.base_url)
    assert bugbear(folder) == []
    assert own_checks(folder) == []
    assert suite(folder) == (suite(first_round.folder)[0], set())
    assert "default" in played.summary
    assert not [output for output in played.outputs if output.startswith("refused")]


async def test_reviewers_get_two_small_extras_and_then_an_honest_answer(first_round: Played, tmp_path: Path) -> None:
    folder = copy_of(first_round.folder, tmp_path)
    changed = []
    async with ScriptedModel() as server:
        for round_ in range(1, 5):
            git(folder, "add", "--all")
            git(folder, "commit", "--quiet", "--allow-empty", "-m", f"before round {round_}")
            played = await play(folder, round_, server.base_url)
            changed.append(git(folder, "diff", "--name-only").splitlines())
            assert own_checks(folder) == []
    assert changed == [["parcel/tariff.py"], ["README.md"], ["parcel/tariff.py"], []]
    assert "scripted" in played.summary


async def test_a_later_round_on_an_untouched_base_solves_the_ticket(base: Path, tmp_path: Path) -> None:
    folder = copy_of(base, tmp_path)
    async with ScriptedModel() as server:
        await play(folder, 2, server.base_url)
    assert suite(folder)[1] == set()
    assert "21.30" in command(folder, "python", "-m", "parcel", "DE", "33200").stdout


async def test_a_round_whose_edits_fit_nothing_still_submits(tmp_path: Path) -> None:
    async with ScriptedModel() as server:
        for round_ in (0, 1):
            assert (await play(tmp_path, round_, server.base_url)).summary


# --- the lenses ---------------------------------------------------------------------------


def reviewed(panel: str, diff: str) -> dict[str, Any]:
    system = f"You are the {panel} panel of a code review. Lens: correctness. Say what is wrong."
    content = f"The change:\n\n```diff\n{diff}\n```\n"
    messages = [{"role": "system", "content": system}, {"role": "user", "content": content}]
    answer: dict[str, Any] = json.loads(demo_script().answer(ChatRequest({"messages": messages})).content)
    return answer


def test_the_quality_lens_points_at_a_line_that_the_diff_adds(first_round: Played) -> None:
    diff = git(first_round.folder, "diff", "--unified=5")
    (finding,) = reviewed("quality", diff)["findings"]
    lines = (first_round.folder / finding["file"]).read_text().splitlines()
    assert "notes.append(" in lines[finding["line"] - 1]
    assert finding["severity"] == "minor"
    assert any((line.file, line.line) == (finding["file"], finding["line"]) for line in added_lines(diff))
    assert reviewed("quality", "")["findings"] == []


@pytest.mark.parametrize("panel", ["architecture", "security", "techstack"])
def test_the_other_panels_find_nothing(first_round: Played, panel: str) -> None:
    assert reviewed(panel, git(first_round.folder, "diff"))["findings"] == []
