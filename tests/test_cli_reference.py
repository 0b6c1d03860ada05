"""docs/cli.md says what the code says: every command and option, none that is gone, and the exit codes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.commands import sdlc

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "cli.md"
COMMANDS = (
    *("setup", "doctor", "config", "dev", "worker", "serve", "run", "start", "next", "list", "status", "show"),
    *("findings", "diff", "logs", "audit", "cost", "approve", "reject", "request-changes", "reassign", "pause"),
    *("resume", "instruct", "escalate", "escalate-model", "waive", "retry", "abort", "cancel", "signal", "engines"),
    *("review", "completion", "demo", "resume-run"),
)


def made(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "docs" / "cli_reference.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_the_page_is_up_to_date() -> None:
    done = made("--check")
    assert done.returncode == 0, done.stderr


def test_a_page_that_is_out_of_date_is_found(tmp_path: Path) -> None:
    script = tmp_path / "cli_reference.py"
    script.write_text((ROOT / "docs" / "cli_reference.py").read_text())
    (tmp_path / "cli.md").write_text(PAGE.read_text().replace("--from-step", "--from-stop"))
    done = subprocess.run(
        [sys.executable, str(script), "--check"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 1
    assert "make it anew" in done.stderr


def test_every_command_that_is_promised_is_there_and_helps() -> None:
    text = PAGE.read_text()
    for name in COMMANDS:
        assert f"### `sdlc {name}`" in text
        done = sdlc(name, "--help")
        assert done.code == 0
        assert done.out.startswith(f"Usage: sdlc {name} ")


def test_the_exit_codes_stand_in_the_help_and_on_the_page() -> None:
    said = " ".join(sdlc("--help").out.split())
    assert "Exit codes: 0 done; 1 it failed" in said
    for code in ("0", "1", "2", "130"):
        assert f"\n| {code} | " in PAGE.read_text()


def test_the_page_is_tables_that_hold_together() -> None:
    for line in PAGE.read_text().splitlines():
        if line.startswith("| "):
            assert line.replace("\\|", "").count("|") == 3, line
