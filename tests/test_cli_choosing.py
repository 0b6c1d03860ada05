"""Which ticket is meant: the next one that is offered, an issue by its number; and commands that need no server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdlc.demo.scripted_model import MODEL, ScriptedModel
from tests.commands import sdlc
from tests.fakes.github_server import GitHubServer
from tests.repositories import new_checkout
from tests.test_cli_runs import House, good, house, refused

__all__ = ["house"]  # a fixture

READY = "---\ntitle: {title}\nlabels: [ai-ready]\npriority: {priority}\n---\nThe sum is wrong.\n"


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedModel]:
    server = ScriptedModel()
    server.start()
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    monkeypatch.setenv("SDLC_MODEL", MODEL)
    yield server
    server.stop()


def test_the_next_ticket_is_shown_and_started(house: House, model: ScriptedModel, tmp_path: Path) -> None:
    done = sdlc("next")
    assert (done.code, done.out) == (1, "")
    assert "No ticket is offered" in done.err
    tickets = tmp_path / "data" / "tickets"
    tickets.mkdir(parents=True)
    (tickets / "NEXT-1.md").write_text(READY.format(title="Later", priority="low"))
    (tickets / "NEXT-2.md").write_text(READY.format(title="Urgent", priority="high"))
    shown = good(sdlc("next"))
    assert shown.out.startswith("NEXT-2  Urgent\nThe sum is wrong.\n")
    assert good(sdlc("next", "--json")).json["key"] == "NEXT-2"
    repository = new_checkout(tmp_path / "money", {"a.py": "x = 1\n"}).path
    started = good(sdlc("next", "--start", "--repo", repository, "--json"))
    assert started.json == {"ticket": "NEXT-2", "workflow_id": "sdlc-NEXT-2", "joined": False}
    house.stages["NEXT-2"] = None  # type: ignore[assignment]  # ended with the others
    house.until_listed("NEXT-2")
    assert good(sdlc("next", "--json")).json["key"] == "NEXT-1"  # for the other one a run is open


def test_without_a_server_the_next_ticket_is_told_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDLC_DATA_DIR", str(tmp_path))
    (tmp_path / "tickets").mkdir()
    (tmp_path / "tickets" / "A-1.md").write_text(READY.format(title="One", priority="low"))
    done = good(sdlc("next"))
    assert done.out.startswith("A-1  One")
    assert "Which runs are open is not known: No Temporal server is running" in done.err


def test_an_issue_is_started_by_its_number(
    house: House, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    refused(sdlc("start", "issue", "1"), "tracker.kind: github", "`sdlc setup`")
    with GitHubServer() as github:
        parcel = github.add_repository("acme/parcel", files={"a.py": "x = 1\n"}, collaborators={"bot": "write"})
        token = github.add_token("bot")
        monkeypatch.setenv("GITHUB_TOKEN", token)
        file = tmp_path / "sdlc.yaml"
        settings = {
            "tracker": {"kind": "github"},
            "forge": {"kind": "github"},
            "github": {"base_url": github.url, "issues": ["acme/parcel"]},
        }
        file.write_text(json.dumps(settings))
        number = parcel.add_issue("Rounds down", "by half a cent", by="bot")
        started = good(sdlc("start", "issue", str(number), "--json"))
        assert started.json["ticket"] == f"parcel-{number}"
        house.stages[f"parcel-{number}"] = None  # type: ignore[assignment]
        refused(sdlc("start", "issue", "x"), "is no number of an issue")
        refused(sdlc("start", "issue", "1", "--repo", "acme/other"), "is not in github.issues (acme/parcel)")
        settings["github"]["issues"] = ["acme/parcel", "acme/letter"]  # type: ignore[index]
        file.write_text(json.dumps(settings))
        refused(sdlc("start", "issue", "1"), "--repo", "acme/parcel, acme/letter")


# --- the configuration --------------------------------------------------------------------------


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("JIRA_URL", "JIRA_EMAIL", "JIRA_TOKEN", "GITHUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SDLC_DATA_DIR", str(tmp_path / "data"))
    return tmp_path


def test_each_value_is_shown_with_where_it_comes_from(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (alone / "sdlc.yaml").write_text("run:\n  merge: true\n  max_fix_rounds: 1\nllm:\n  name: from-file\n")
    monkeypatch.setenv("SDLC_RUN__MAX_FIX_ROUNDS", "5")
    monkeypatch.setenv("SDLC_MODEL", "from-variable")
    monkeypatch.setenv("JIRA_TOKEN", "planted-token-4711")
    monkeypatch.setenv("SDLC_SANDBOX", '{"kind": "none"}')
    monkeypatch.setenv("TEMPORAL_ADDRESS", "a:1")
    out = good(sdlc("--data-dir", alone / "d", "config")).out
    for line in (
        f'data_dir: "{alone}/d"  # --data-dir',
        "  merge: true  # sdlc.yaml:2",
        "  max_fix_rounds: 5  # SDLC_RUN__MAX_FIX_ROUNDS",
        '  name: "from-variable"  # SDLC_MODEL',
        '  token: "**********"  # JIRA_TOKEN',
        '  kind: "none"  # SDLC_SANDBOX',
        "  max_iterations: 2  # default",
        "# Set as well, and stronger than `temporal`: TEMPORAL_ADDRESS, TEMPORAL_CONFIG_FILE",
    ):
        assert line in out.splitlines(), (line, out)
    assert "planted" not in out
    changed = good(sdlc("config", "--changed", "--json")).json
    assert changed["run.merge"] == {"value": True, "source": "sdlc.yaml:2"}
    assert changed["data_dir"]["source"] == "SDLC_DATA_DIR"
    assert "run.max_iterations" not in changed


def test_what_is_shown_is_yaml_that_says_the_same(alone: Path) -> None:
    import yaml

    shown = yaml.safe_load(good(sdlc("config")).out)
    assert shown == sdlc("config", "--json").json


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tracker:\n  kind: jira\njira:\n  url: https://jira.example\n", ["fault: sdlc.yaml, line 3: ", "JIRA_TOKEN"]),
        ("run:\n  approval:\n    required: 2\n    approvers: [a]\n", ["fault: sdlc.yaml, line 4: ", "approvers"]),
        ("run:\n  mrge: true\n", ["sdlc.yaml, line 2", "did you mean `merge`?"]),
    ],
)
def test_config_check_tells_place_and_mend_and_fails(alone: Path, text: str, words: list[str]) -> None:
    (alone / "sdlc.yaml").write_text(text)
    done = sdlc("config", "check")
    assert done.code == 1
    for word in words:
        assert word in done.out + done.err


def test_config_check_of_settings_that_agree_says_so(alone: Path) -> None:
    assert "agree with each other" in good(sdlc("config", "check")).out


# --- shells -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_completion_is_shown_for_each_shell(shell: str) -> None:
    assert "_SDLC_COMPLETE" in good(sdlc("completion", "--shell", shell)).out


def test_completion_is_installed_and_bash_completes_commands(tmp_path: Path) -> None:
    environment = {**os.environ, "HOME": str(tmp_path)}
    command = [sys.executable, "-m", "sdlc.cli.main"]
    done = subprocess.run(
        [*command, "completion", "install", "--shell", "bash"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done
    script = (tmp_path / ".bash_completions" / "sdlc.sh").read_text()
    assert str(tmp_path / ".bash_completions" / "sdlc.sh") in (tmp_path / ".bashrc").read_text()
    (tmp_path / "sdlc").write_text(f'#!/bin/sh\nexec {" ".join(command)} "$@"\n')
    (tmp_path / "sdlc").chmod(0o755)
    asked = f'{script}\nCOMP_WORDS=(sdlc st)\nCOMP_CWORD=1\n_sdlc_completion sdlc\necho "${{COMPREPLY[@]}}"'
    shell = subprocess.run(
        ["bash", "-c", asked],
        env={**environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert {"start", "status"} <= set(shell.stdout.split()), shell


def test_a_command_that_is_nearly_right_is_guessed() -> None:
    assert "did you mean `status`" in refused(sdlc("statsu"))
    assert "`sdlc --help`" in refused(sdlc("statsu"))
