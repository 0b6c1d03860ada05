"""`sdlc review`: the panels on a checkout, as people, hooks and build servers call them."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import structlog
import yaml

from sdlc.cli.review_output import Result
from sdlc.demo.conversation import STANDS
from sdlc.domain import ChangeSet, Finding, Panel, PanelReport, PanelState, Repository, Severity
from sdlc.integrations.git import snapshot
from sdlc.integrations.git.comparison import Comparison
from sdlc.integrations.git.snapshot import Place
from sdlc.review_graphs.analyzers.bandit import Bandit
from sdlc.review_graphs.reviewed import reviewed
from tests.commands import Done, at_terminal, processes_naming, running, sdlc
from tests.repositories import Checkout, git, new_checkout
from tests.scripted import MODEL, Script, ScriptedModel, finding, reviewed_clean

ROOT = Path(__file__).parent.parent
SCHEMA = ROOT / "tests" / "data" / "sarif-schema-2.1.0.json"
GOOD = 'def total(values: list[int]) -> int:\n    """The sum."""\n    return sum(values)\n'
WRONG = GOOD.replace("sum(values)", "sum(valuse)")
"""A name that does not exist: a blocker."""
MAJOR = GOOD.replace("list[int]) ", "list[int], seen: list[int] = []) ")
BASE: dict[str, str | bytes | None] = {"pkg/__init__.py": "", "pkg/money.py": GOOD, "README.md": "# Money\n"}


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Folders of the test's own, and a logging that is as it was before."""
    for name, folder in (("SDLC_DATA_DIR", "data"), ("SDLC_CACHE_DIR", "cache"), ("HOME", "home")):
        (tmp_path / folder).mkdir()
        monkeypatch.setenv(name, str(tmp_path / folder))
    for name in ("XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    for handler in [handler for handler in root.handlers if handler not in before[0]]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(before[1])
    logging.captureWarnings(False)
    structlog.reset_defaults()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """The working folder."""
    made = new_checkout(tmp_path / "money", BASE)
    monkeypatch.chdir(made.path)
    return made


def review(*arguments: str | Path) -> Done:
    return sdlc("review", *arguments)


def lines(done: Done) -> list[str]:
    return done.out.splitlines()


# --- what it says -----------------------------------------------------------------------------


def test_a_blocker_is_a_line_for_editors_and_exit_code_1(checkout: Checkout) -> None:
    checkout.write({"pkg/money.py": WRONG, "pkg/new.py": MAJOR})
    done = review("--no-model")
    assert done.code == 1, done
    assert lines(done)[:2] == [
        "pkg/money.py:3: blocker ruff:F821 Undefined name `valuse`",
        "pkg/new.py:1: major ruff:B006 Do not use mutable data structures for argument defaults",
    ]
    said = done.err.splitlines()
    assert said[0] == f"Reviewing 2 files, 5 lines: working tree against HEAD ({checkout.head[:9]})"
    assert said[1].startswith(f"{len(lines(done))} findings (1 blocker, 1 major")
    assert len(said) == 2


def test_a_clean_change_is_one_line(checkout: Checkout) -> None:
    checkout.write({"pkg/money.py": GOOD.replace("The sum.", "The sum of all.")})
    done = review("--no-model")
    assert (done.code, lines(done)) == (0, ["4 panels, 1 file: nothing to say."])
    assert len(done.err.splitlines()) == 1


def test_where_nothing_differs_that_is_said_in_every_format(checkout: Checkout) -> None:
    git(checkout.path, "switch", "--quiet", "--create", "feature")
    done = review()
    assert done.code == 0
    assert lines(done) == [f"Nothing to review: feature against main ({checkout.head[:9]}), and nothing differs."]
    assert done.err == ""
    assert review("--format", "json").json["findings"] == []
    jsonschema.validate(review("--format", "sarif").json, json.loads(SCHEMA.read_text()))
    assert "nothing differs" in review("--format", "markdown").out


def test_paths_are_those_that_lead_there_from_the_working_folder(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.write({"pkg/money.py": WRONG})
    monkeypatch.chdir(checkout.path / "pkg")
    assert lines(review("--no-model"))[0].startswith("money.py:3: blocker ")
    monkeypatch.chdir(checkout.path.parent)
    assert lines(review("--no-model", checkout.path))[0].startswith("money/pkg/money.py:3: blocker ")


def test_at_a_terminal_findings_are_paragraphs(checkout: Checkout, tmp_path: Path) -> None:
    checkout.write({"pkg/money.py": WRONG})
    with at_terminal(tmp_path, "review", "--no-model") as process:
        done = process.ended()
        process.until_said("4 panels")
    assert done.code == 1
    assert "blocker pkg/money.py:3" in process.done.err
    assert "pkg/money.py:3: blocker" not in process.done.err


SHELL = "import subprocess\n\n\ndef run(name):\n    return subprocess.run(f'ls {name}', shell=True)\n"


def test_only_the_panels_that_are_named_look(checkout: Checkout) -> None:
    checkout.write({"pkg/money.py": WRONG, "pkg/shell.py": SHELL})
    done = review("--no-model", "--panel", "security", "--format", "json")
    assert [panel["panel"] for panel in done.json["panels"]] == ["security"]
    assert {found["panel"] for found in done.json["findings"]} == {"security"}
    clean = review("--no-model", "--panel", "techstack", "--panel", "architecture")
    assert lines(clean) == ["2 panels, 2 files: nothing to say."]


def test_what_is_not_open_is_told_on_request_with_the_reason(checkout: Checkout) -> None:
    checkout.commit({"pkg/old.py": MAJOR})
    checkout.write({"pkg/old.py": MAJOR + "\n\nLATER = 1\n"})
    assert lines(review("--no-model")) == ["4 panels, 1 file: nothing to say."]
    shown = lines(review("--no-model", "--all"))
    assert any(line.startswith("pkg/old.py:1: [base] major ") and "ruff:B006" in line for line in shown)
    assert any("not run: lenses are switched off" in line for line in shown)


# --- exit codes -------------------------------------------------------------------------------


@pytest.mark.parametrize(("fail_on", "code"), [("blocker", 0), ("major", 1), ("minor", 1), ("info", 1), ("never", 0)])
def test_the_severity_from_which_on_it_fails_can_be_chosen(checkout: Checkout, fail_on: str, code: int) -> None:
    checkout.write({"pkg/new.py": MAJOR})
    done = review("--no-model", "--fail-on", fail_on)
    assert done.code == code, done
    assert "major ruff:B006" in done.out


def test_an_analyser_that_could_not_look_is_no_pass(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bandit, "installed", lambda self: False)
    checkout.write({"pkg/money.py": GOOD.replace("The sum.", "The sum of all.")})
    done = review("--no-model")
    assert done.code == 1
    assert lines(done) == ["4 panels, 1 file: nothing found so far."]
    assert "bandit (security): not run: bandit is not installed" in done.err
    assert done.last == "Not complete (security), so this is no pass."
    assert review("--no-model", "--fail-on", "never").code == 0
    assert review("--no-model", "--panel", "quality").code == 0


def test_what_is_half_doubted_or_waived_does_not_fail(tmp_path: Path) -> None:
    def found(severity: Severity, fingerprint: str, confidence: float = 1.0) -> Finding:
        return Finding(
            panel=Panel.QUALITY,
            rule="lens:correctness",
            severity=severity,
            confidence=confidence,
            file="a.py",
            message="Wrong.",
            fingerprint=fingerprint,
        )

    findings = (found(Severity.BLOCKER, "a", 0.4), found(Severity.BLOCKER, "b"), found(Severity.MINOR, "c"))
    report = PanelReport(panel=Panel.QUALITY, head_sha="", state=PanelState.FINDINGS, findings=findings)
    place = Place(tmp_path, tmp_path, tmp_path)
    comparison = Comparison(place, "", "a" * 40, "b" * 40, "", "", "main", "HEAD", "")
    repository = Repository(url="", name="", base_branch="", base_sha="a" * 40)
    change = ChangeSet(repository=repository, base_sha="a" * 40, head_sha="b" * 40, branch="", files_changed=1)
    result = Result((reviewed(report, waived={"b": "may stand"}),), comparison, change, 1.0)
    assert [entry.fingerprint for entry in result.found] == ["a", "c"]
    assert result.at_or_above(Severity.BLOCKER) == []
    assert [entry.fingerprint for entry in result.at_or_above(Severity.MINOR)] == ["c"]
    assert "blocker (unsure) lens:correctness Wrong." in result.text("text", everything=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--base", "nope"], "no branch, tag or commit 'nope'"),
        (["--head", "nope"], "no branch, tag or commit 'nope'"),
        (["--head", "HEAD", "--staged"], "give one of them"),
        (["--write-baseline"], 'needs --reason "…"'),
        (["--reason", "why"], "goes with --write-baseline"),
        (["--panel", "taste"], "'taste'"),
        (["--format", "html"], "'html'"),
        (["--fail-on", "sometimes"], "'sometimes'"),
        (["--ticket", "none.md"], "There is no ticket file none.md"),
        (["--output", "no/where/x.json"], "There is no folder"),
        (["no-such-folder"], "There is no folder"),
        ([".."], "is not in a git repository"),
        (["https://example.org/a.git"], "not on this machine"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(checkout: Checkout, arguments: list[str], words: str) -> None:
    done = review(*arguments)
    assert (done.code, done.out) == (2, ""), done
    assert words in done.last
    assert done.last.startswith("sdlc: ")
    assert "Traceback" not in done.err


# --- formats ----------------------------------------------------------------------------------


def test_json_has_the_whole(checkout: Checkout) -> None:
    base = checkout.head
    head = checkout.commit({"pkg/money.py": WRONG})
    document = review("--no-model", "--format", "json").json
    assert (document["base"], document["head"], document["complete"]) == (base, head, True)
    assert document["compared"] == f"main against HEAD~1 ({base[:9]})"
    assert [panel["panel"] for panel in document["panels"]] == [panel.value for panel in Panel]
    assert all(panel["head_sha"] == head for panel in document["panels"])
    (found,) = document["findings"]
    assert (found["file"], found["line"], found["severity"], found["standing"]) == (
        "pkg/money.py",
        3,
        "blocker",
        "open",
    )
    assert found["evidence"].strip() == "return sum(valuse)"
    assert document["usage"]["model_calls"] == 0
    assert document["seconds"] > 0
    checkout.write({"pkg/money.py": GOOD})
    assert review("--no-model", "--format", "json").json["head"] is None


def test_sarif_is_valid_and_has_the_code(checkout: Checkout) -> None:
    checkout.write({"pkg/money.py": WRONG})
    document = review("--no-model", "--format", "sarif").json
    jsonschema.validate(document, json.loads(SCHEMA.read_text()))
    (result,) = [result for run in document["runs"] for result in run["results"]]
    region = result["locations"][0]["physicalLocation"]["region"]
    assert (result["ruleId"], region["startLine"]) == ("ruff:F821", 3)
    assert region["snippet"]["text"].strip() == "return sum(valuse)"


def test_markdown_names_the_findings(checkout: Checkout) -> None:
    checkout.write({"pkg/money.py": WRONG})
    done = review("--no-model", "--format", "markdown")
    assert "`pkg/money.py:3`" in done.out
    assert "Undefined name `valuse`" in done.out


def test_the_result_can_go_to_a_file_which_is_no_part_of_the_change(checkout: Checkout) -> None:
    checkout.write({"pkg/money.py": WRONG})
    for _ in range(2):
        done = review("--no-model", "--format", "sarif", "--output", "review.sarif")
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith("Reviewing 1 file, ")
        assert done.last == "Written to review.sarif."
        jsonschema.validate(json.loads(Path("review.sarif").read_text()), json.loads(SCHEMA.read_text()))
    assert sorted(path.name for path in checkout.path.iterdir()) == [".git", "README.md", "pkg", "review.sarif"]


# --- the baseline -----------------------------------------------------------------------------


def test_findings_can_be_accepted_with_a_reason(checkout: Checkout) -> None:
    checkout.write({"pkg/new.py": MAJOR})
    done = review("--no-model", "--write-baseline", "--reason", "The list is never changed.")
    assert done.code == 0, done
    assert "major ruff:B006" in done.out
    assert "accepted in .sdlc/baseline.json" in done.last
    accepted = json.loads((checkout.path / ".sdlc" / "baseline.json").read_text())["accepted"]
    (entry,) = [entry for entry in accepted if entry["rule"].startswith("ruff:")]
    assert (entry["rule"], entry["file"], entry["reason"]) == ("ruff:B006", "pkg/new.py", "The list is never changed.")


def test_a_baseline_that_can_not_be_read_is_not_written_over(checkout: Checkout) -> None:
    checkout.write({"pkg/new.py": MAJOR, ".sdlc/baseline.json": "{"})
    done = review("--no-model", "--write-baseline", "--reason", "x")
    assert done.code == 2
    assert "is not JSON" in done.last
    assert (checkout.path / ".sdlc" / "baseline.json").read_text() == "{"


def test_a_baseline_is_not_written_through_a_link_out_of_the_repository(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (checkout.path / ".sdlc").symlink_to(tmp_path / "elsewhere")
    checkout.write({"pkg/new.py": MAJOR})
    done = review("--no-model", "--write-baseline", "--reason", "x")
    assert done.code == 2
    assert "leads out of the repository" in done.last
    assert list((tmp_path / "elsewhere").iterdir()) == []


# --- models -----------------------------------------------------------------------------------


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedModel]:
    server = ScriptedModel(reviewed_clean(Script()))
    server.start()
    monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
    monkeypatch.setenv("SDLC_MODEL", MODEL)
    yield server
    server.stop()


def asked(model: ScriptedModel) -> str:
    return json.dumps([request.messages for request in model.conversations])


def test_without_a_model_that_is_said_once_unless_none_is_wanted(checkout: Checkout) -> None:
    checkout.write({"pkg/money.py": GOOD + "\n\nLATER = 1\n"})
    said = review().err
    assert said.count("No model is configured") == 1
    assert "--no-model" in said
    assert "model" not in review("--no-model").err


def test_a_change_without_a_ticket_is_read_with_what_its_commits_say(checkout: Checkout, model: ScriptedModel) -> None:
    checkout.commit({"pkg/money.py": GOOD + "\n\nLATER = 1\n"}, "Remember when it was")
    done = review()
    assert (done.code, len(done.err.splitlines())) == (0, 1), done
    assert "Remember when it was" in asked(model)
    before = len(model.conversations)
    review("--no-model")
    assert len(model.conversations) == before


def test_the_ticket_that_is_given_goes_to_the_lenses(checkout: Checkout, model: ScriptedModel) -> None:
    ticket = checkout.path.parent / "bug.md"
    ticket.write_text("# Totals are wrong\n\nIt is off by one.\n\n## Acceptance criteria\n- The sum is right\n")
    checkout.write({"pkg/money.py": GOOD + "\n\nLATER = 1\n"})
    done = review("--ticket", ticket)
    assert done.code == 0, done
    for words in ("Totals are wrong", "It is off by one.", "The sum is right"):
        assert words in asked(model)


# --- hooks and signals ------------------------------------------------------------------------


def a_hook(checkout: Checkout, *arguments: str) -> None:
    hook = checkout.path / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    command = " ".join([sys.executable, "-m", "sdlc.cli.main", "review", "--staged", "--no-model", *arguments])
    hook.write_text(f"#!/bin/sh\nexec {command}\n")
    hook.chmod(0o755)


def commit(checkout: Checkout, *arguments: str) -> tuple[int, str]:
    """`git commit`, as a person calls it."""
    done = subprocess.run(
        ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "commit", "-m", "x", *arguments],
        cwd=checkout.path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
    )
    return done.returncode, done.stdout + done.stderr


def test_as_a_pre_commit_hook_it_stops_a_commit_with_a_blocker(tmp_path: Path) -> None:
    checkout = new_checkout(tmp_path / "fresh")
    a_hook(checkout)
    checkout.write({"pkg/money.py": WRONG})
    git(checkout.path, "add", "--all")
    code, said = commit(checkout)
    assert (code, "pkg/money.py:3: blocker" in said) == (1, True), said
    checkout.write({"pkg/money.py": GOOD})
    git(checkout.path, "add", "--all")
    checkout.write({"pkg/money.py": WRONG})  # not staged
    code, said = commit(checkout)
    assert (code, "blocker" in said) == (0, False), said
    first = checkout.head
    code, said = commit(checkout, "--all")  # with an index that is the repository's only after the commit
    assert (code, checkout.head, "pkg/money.py:3: blocker" in said) == (1, first, True), said


def test_the_hooks_that_pre_commit_users_get_call_the_command_as_it_is() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert [hook["id"] for hook in hooks] == ["sdlc-review", "sdlc-review-branch"]
    for hook in hooks:
        assert hook["pass_filenames"] is False
        program, *arguments = hook["entry"].split()
        assert program == "sdlc"
        assert sdlc(*arguments, "no-such-folder").last.startswith("sdlc: There is no folder")


def test_ctrl_c_ends_it_at_once_and_leaves_nothing_running(checkout: Checkout, tmp_path: Path) -> None:
    checkout.write({"pkg/money.py": GOOD + "\n\nLATER = 1\n"})
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes a question and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/v1"
        with running(tmp_path / "out", "review", OPENAI_BASE_URL=url, SDLC_MODEL="m") as process:
            process.until_said("Reviewing")
            silent.settimeout(60)
            silent.accept()
            started = time.monotonic()
            process.signal(signal.SIGINT)
            done = process.ended(20)
    assert (done.code, done.out) == (130, "")
    assert time.monotonic() - started < 10
    assert "Traceback" not in done.err
    assert processes_naming(str(tmp_path / "cache")) == []


def test_help_needs_nothing_of_the_panels() -> None:
    program = (
        "import sys, sdlc.cli.main; print([n for n in ('pydantic', 'langgraph', 'rich.table') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.stdout.strip() == "[]", done


# --- bad input --------------------------------------------------------------------------------


def found_in(document: Any) -> dict[str, tuple[int, str]]:
    """Line and rule of blockers, by file."""
    return {
        found["file"]: (found["line"], found["rule"])
        for found in document["findings"]
        if found["severity"] == "blocker"
    }


def test_whatever_a_file_is_like_what_is_wrong_in_it_is_found(checkout: Checkout) -> None:
    text = "def keep(value: int) -> int:\n    return value\n\n\n"
    checkout.commit(
        {
            "crlf.py": b"a = 1\r\nb = 2\r\n",
            "old_name.py": text * 5,
            "gone.py": "x = 1\n",
            "moved.py": text * 3,
        }
    )
    (checkout.path / "sub").mkdir()
    git(checkout.path, "mv", "moved.py", "sub/moved.py")
    git(checkout.path, "mv", "old_name.py", "new_name.py")
    checkout.write(
        {
            "crlf.py": b"a = 1\r\nb = 2\r\nc = unknown_two\r\n",
            "new_name.py": text * 5 + "y = unknown_one\n",
            "gone.py": None,
            "broken.py": "def f(:\n    pass\n",
            "no_newline.py": b"a = unknown_four",
            "empty.py": b"",
            "with space.py": "b = unknown_five\n",
        }
    )
    done = review("--no-model", "--format", "json")
    assert done.code == 1
    found = found_in(done.json)
    assert found.pop("broken.py")[1] == "ruff:invalid-syntax"
    assert found == {
        "crlf.py": (3, "ruff:F821"),
        "new_name.py": (21, "ruff:F821"),
        "no_newline.py": (1, "ruff:F821"),
        "with space.py": (1, "ruff:F821"),
    }


def test_a_file_that_is_not_utf_8_is_told_and_no_crash(checkout: Checkout) -> None:
    checkout.write({"latin.py": b"# caf\xe9\nvalue = 1\n", "pkg/money.py": WRONG})
    done = review("--no-model")
    assert done.code == 1
    assert lines(done)[0].startswith("pkg/money.py:3: blocker ")
    assert "could not read latin.py" in done.err
    assert "Traceback" not in done.err


def test_a_file_whose_name_is_not_utf_8_is_told_and_no_crash(checkout: Checkout) -> None:
    (checkout.path / os.fsdecode(b"caf\xe9.py")).write_text("a = 1\n")
    done = review("--no-model")
    assert done.code == 1
    assert 'could not read "caf\\351.py"' in done.err
    assert "Traceback" not in done.err


def test_a_change_of_50_000_lines_is_looked_at_to_its_end(checkout: Checkout) -> None:
    checkout.write({f"pkg/m{number}.py": "".join(f"v{n} = {n}\n" for n in range(5_000)) for number in range(9)})
    checkout.write({"pkg/last.py": "".join(f"v{n} = {n}\n" for n in range(5_000)) + "w = unknown\n"})
    done = review("--no-model", "--format", "json")
    assert "Reviewing 10 files, 50001 lines" in done.err
    assert found_in(done.json) == {"pkg/last.py": (5_001, "ruff:F821")}
    assert done.code == 1


def test_what_a_file_name_holds_does_not_reach_the_terminal(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "MAX_FILE_BYTES", 20)
    checkout.write({"a\x1b[31m\nb.py": "w = 1\n" * 10, "c\x1b[31m\nd.txt": "w = 1\n"})
    done = review("--no-model", "--all")
    assert done.code == 1
    assert "\x1b" not in done.out + done.err
    assert r'Left out: "a\033[31m\nb.py" (' in done.err


def test_findings_of_a_model_are_lines_as_the_others_are(checkout: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    said = [finding("pkg/money.py", 6, "LATER is never read.", severity="minor")]
    script = reviewed_clean(Script()).lens("quality", {"findings": said}, "correctness").verify("*", STANDS)
    server = ScriptedModel(script)
    server.start()
    try:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("SDLC_MODEL", MODEL)
        checkout.write({"pkg/money.py": GOOD + "\n\nLATER = 1\n"})
        done = review("--panel", "quality")
    finally:
        server.stop()
    assert done.code == 0, done
    assert any(line.startswith("pkg/money.py:6: minor lens:correctness") for line in lines(done)), done
