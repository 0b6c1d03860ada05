"""The security panel as a whole, on real repositories in the real sandbox."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sdlc.config import Settings
from sdlc.domain import Panel, PanelState, Severity, SourceState
from tests.test_checks_security_secrets import SHAPED
from tests.test_panels import Bench, Tree, git, rules, source, whole_bench

__all__ = ["whole_bench"]  # a fixture


@pytest.fixture
def bench(whole_bench: Bench) -> Bench:
    """Without a model: analysers and checks."""
    return whole_bench


async def test_a_secret_is_told_and_goes_no_further(bench: Bench, settings: Settings) -> None:
    code = f'TOKEN = "{SHAPED["github"]}"\npassword = "Tr0ub4dor&3"\n'
    report = await bench.review(Panel.SECURITY, bench.change({"app/settings.py": code}))
    assert rules(report) == [("secrets:known-shape", "app/settings.py", 1), ("secrets:password", "app/settings.py", 2)]
    assert [item.severity for item in report.findings] == [Severity.BLOCKER, Severity.MAJOR]
    document = await bench.document(report)
    assert [item["evidence"] for item in document["findings"]] == ["", ""]
    # Lenses are given the change; nothing that the panel has found out may hold it.
    kept = [path for path in Path(settings.artifacts_dir).rglob("*") if path.is_file()]
    findings = [path for path in kept if b'"findings"' in path.read_bytes()]
    assert findings
    assert not [path for path in findings if SHAPED["github"].encode() in path.read_bytes()]


async def test_modes_and_links_are_those_of_git(bench: Bench) -> None:
    change = bench.change({"tool.py": "x = 1\n"})
    work = bench.folder / "repository-1"
    (work / "public").mkdir()
    (work / "public/certs").symlink_to("/etc/ssl/private")
    (work / "latest").symlink_to("README.md")
    os.chmod(work / "tool.py", 0o755)
    git(work, "add", "--all")
    git(work, "commit", "-q", "-m", "links")
    change = change.model_copy(update={"head_sha": git(work, "rev-parse", "HEAD")})
    report = await bench.review(Panel.SECURITY, change)
    assert rules(report) == [("file-modes:link-outside", "public/certs", 1), ("file-modes:executable", "tool.py", 1)]


async def test_one_change_with_something_of_everything(bench: Bench) -> None:
    base: Tree = {"Dockerfile": "FROM a\nUSER app\n", "app.py": "x = 1\n"}
    head: Tree = {
        "Dockerfile": "FROM a\r\nUSER root\r\n",
        "app.py": 'x = 1\nif role != "admin\u202e\u2066# only admins\u2069\u2066":\n    pass\n',
        "web.py": "import requests\nfrom flask import redirect, request\n\n\ndef go():\n"
        '    requests.get("https://example.org/")\n    return redirect(request.args["next"])\n',
        "run.py": "import subprocess\nsubprocess.run(line, shell=True)\n",
        "broken.yml": "a: [\n",
        "latin.txt": b"pass\xe4word: hunter2x\n",
        "empty.py": "",
    }
    report = await bench.review(Panel.SECURITY, bench.change(head, base))
    assert sorted(rules(report)) == [
        ("bandit:B602", "run.py", 2),
        ("delivery:root-user", "Dockerfile", 2),
        ("hidden-text:bidi-control", "app.py", 2),
        ("insecure-code:redirect-from-request", "web.py", 7),
        ("ruff-security:S113", "web.py", 6),
    ]
    assert {source(report, name).state for name in ("secrets", "file-modes", "delivery", "hidden-text")} == {
        SourceState.OK
    }


@pytest.mark.parametrize(
    "head",
    [
        {"app.py": "def double(x: int) -> int:\n    return 2 * x\n"},
        {"README.md": "# App\n\nSet `DB_PASSWORD` and run `curl https://example.org/install.sh | sh`.\n"},
        {"tests/test_app.py": 'def test_login():\n    assert login("ada", password="hunter2")\n'},
        {".env.example": "DB_PASSWORD=changeme\nAPI_KEY=\n", "app.py": 'import os\nKEY = os.environ["API_KEY"]\n'},
        {"docker-compose.yml": "services:\n  db:\n    environment:\n      POSTGRES_PASSWORD: dev1\n"},
    ],
)
async def test_a_clean_change_is_clean(bench: Bench, head: Tree) -> None:
    report = await bench.review(Panel.SECURITY, bench.change(head))
    assert (report.state, rules(report)) == (PanelState.CLEAN, [])
