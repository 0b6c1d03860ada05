"""Analysers that a repository brings itself, run for real: in the sandbox, in its environment, on both commits."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import textwrap
from collections.abc import AsyncIterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from sdlc.activities import PanelRequest
from sdlc.domain import ChangeSet, Panel, Severity, SourceState
from sdlc.integrations.git.paths import path_text
from sdlc.integrations.project.rules import parse_rules
from sdlc.review_graphs import analysis, own_analysers
from sdlc.review_graphs.collect import Collector
from sdlc.review_graphs.merge import Found
from sdlc.review_graphs.own_analysers import OwnAnalyserRun
from sdlc.review_graphs.panel import PANELS
from sdlc.review_graphs.scope import Scope
from tests.projects import RUN, TICKET, GitRepository, Stage

LINT = r"""
    import json, os, sys
    # Finds the word bad; `good` in lint.cfg is a word that it lets pass; it can't read what has the word broken in it.
    report, names = sys.argv[1], sys.argv[2:]
    passed = open("lint.cfg").read().split() if os.path.exists("lint.cfg") else []
    results, notes = [], []
    for name in names:
        for number, line in enumerate(open(name, encoding="utf-8", errors="replace"), 1):
            words = line.split()
            place = {"artifactLocation": {"uri": os.path.abspath(name)}, "region": {"startLine": number}}
            about = {"message": {"text": "A bad word."}, "level": "error", "locations": [{"physicalLocation": place}]}
            if "bad" in words and not set(passed) & set(words):
                fixes = [{"artifactChanges": [{"artifactLocation": place["artifactLocation"], "replacements": [
                    {"deletedRegion": {"startLine": number}, "insertedContent": {"text": line.replace("bad", "nice")}}
                ]}]}]
                results.append({"ruleId": "bad-word", **about, "fixes": fixes})
            if "broken" in words:
                notes.append({**about, "message": {"text": "broken"}})
    invocation = {"executionSuccessful": not notes, "toolExecutionNotifications": notes}
    run = {"tool": {"driver": {"name": "lint"}}, "results": results, "invocations": [invocation]}
    document = json.dumps({"version": "2.1.0", "runs": [run]})
    sys.stdout.write(document) if report == "-" else open(report, "w").write(document)
    sys.exit(1 if results else 0)
"""
Files = Mapping[str, str | None]
NODE = pytest.mark.skipif(shutil.which("npx") is None, reason="Node is not installed")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    return Stage.shared(tmp_path_factory)


@pytest.fixture
def repository(tmp_path_factory: pytest.TempPathFactory) -> GitRepository:
    return GitRepository(tmp_path_factory.mktemp("own"))


@pytest.fixture(autouse=True)
async def _bounded() -> AsyncIterator[None]:
    async with asyncio.timeout(120):
        yield


def rules(run: str, **more: Any) -> str:
    """A `.sdlc.yml` with one analyser."""
    return json.dumps({"review": {"analysers": {"lint": {"run": run, "files": ["*.txt"], **more}}}})


def base_of(tree: Files, run: str = "python3 tools/lint {report} {files}", **more: Any) -> dict[str, str | None]:
    return {"tools/lint": LINT, ".sdlc.yml": rules(run, **more), "README": "nothing to set up\n", **tree}


async def scope_of(stage: Stage, change: ChangeSet, panel: Panel = Panel.QUALITY) -> Scope:
    request = PanelRequest(run=RUN, panel=panel, change=change, ticket=TICKET)
    return await Collector(stage.services, PANELS[panel]).scope(request)


async def found(stage: Stage, change: ChangeSet, name: str = "lint") -> Found:
    scope = await scope_of(stage, change)
    return await OwnAnalyserRun(stage.services, scope, name, scope.review.analysers[name]).found()


def lines(said: Found) -> list[tuple[str, int]]:
    return sorted((finding.file, finding.line) for finding in said.findings)


def reasons(said: Found) -> list[tuple[str, int, str]]:
    return sorted((item.finding["file"], item.finding["line"], item.reason) for item in said.dropped)


# --- what counts --------------------------------------------------------------------------


async def test_only_what_the_change_brings_counts(stage: Stage, repository: GitRepository) -> None:
    base = base_of({"a.txt": "one\nbad old\n", "same.txt": "bad\n", "b.txt": "x\n"})
    change = repository.change(base, {"a.txt": "more\none\nbad old\nbad new\n", "b.txt": "y\n", "c.txt": "bad\n"})
    said = await found(stage, change)
    assert lines(said) == [("a.txt", 4), ("c.txt", 1)]
    assert reasons(said) == [("a.txt", 3, "the base has it already")]
    finding = next(finding for finding in said.findings if finding.file == "a.txt")
    assert (finding.rule, finding.severity, finding.panel) == ("lint:bad-word", Severity.MAJOR, Panel.QUALITY)
    assert (finding.message, finding.evidence, finding.suggestion) == ("A bad word.", "bad new", "nice new")
    assert (said.source.state, said.source.found, said.source.dropped) == (SourceState.OK, 2, 1)
    assert said.source.note == ""


async def test_a_clean_change_is_clean(stage: Stage, repository: GitRepository) -> None:
    said = await found(stage, repository.change(base_of({"a.txt": "bad\n"}), {"b.txt": "good\n"}))
    assert (said.findings, said.dropped, said.source.state) == ((), (), SourceState.OK)


async def test_without_the_base_only_changed_lines_count(stage: Stage, repository: GitRepository) -> None:
    base = base_of({"a.txt": "bad\nx\n"}, base=False)
    said = await found(stage, repository.change(base, {"a.txt": "bad\nbad too\n"}))
    assert lines(said) == [("a.txt", 2)]
    assert reasons(said) == [("a.txt", 1, "the change does not touch the line")]


async def test_what_moved_with_its_file_is_old(stage: Stage, repository: GitRepository) -> None:
    text = "".join(f"line {number}\n" for number in range(20)) + "bad\n"
    head = {"a.txt": None, "sub/b.txt": f"{text}bad again\n"}
    said = await found(stage, repository.change(base_of({"a.txt": text}), head))
    assert lines(said) == [("sub/b.txt", 22)]


async def test_a_report_on_standard_output_is_read_apart_from_what_else_is_printed(
    stage: Stage, repository: GitRepository
) -> None:
    run = "echo warming up >&2\npython3 tools/lint - {files} # all of them"
    said = await found(stage, repository.change(base_of({}, run), {"a.txt": "bad\n"}))
    assert (lines(said), said.source.note) == ([("a.txt", 1)], "")


async def test_a_tool_that_looks_at_everything_says_nothing_of_other_files(
    stage: Stage, repository: GitRepository
) -> None:
    run = 'python3 tools/lint {report} $(find "$PWD" -name "*.txt")'
    base = base_of({"old.txt": "bad\nbad\n", "a.txt": "bad\n"}, run, files=["*.txt", "!c.txt"])
    said = await found(stage, repository.change(base, {"a.txt": "bad\nbad new\n", "c.txt": "bad\n"}))
    assert lines(said) == [("a.txt", 2)]
    assert (said.source.dropped, len(said.dropped)) == (4, 1)


@pytest.mark.parametrize("code", [0, 1, 2, 70, 127, 255])
async def test_what_counts_is_the_report_and_not_the_exit_code(
    stage: Stage, repository: GitRepository, code: int
) -> None:
    run = f"python3 tools/lint {{report}} {{files}}; exit {code}"
    said = await found(stage, repository.change(base_of({}, run), {"a.txt": "bad\n"}))
    assert (said.source.state, lines(said)) == (SourceState.OK, [("a.txt", 1)])


async def test_odd_files_are_borne(stage: Stage, repository: GitRepository) -> None:
    change = repository.change(base_of({"old.txt": "bad\n", "gone.txt": "bad\n"}), {})
    odd = {"crlf.txt": b"one\r\nbad\r\n", "end.txt": b"bad", "latin.txt": b"caf\xe9 bad\n", "empty.txt": b""}
    for name, content in odd.items():
        (repository.folder / name).write_bytes(content)
    (repository.folder / "gone.txt").unlink()
    (repository.folder / "link.txt").symlink_to("old.txt")
    (repository.folder / "nul.txt").write_bytes(b"bad\0\n")
    said = await found(stage, change.model_copy(update={"head_sha": repository.commit({})}))
    assert lines(said) == [("crlf.txt", 2), ("end.txt", 1), ("latin.txt", 1)]


# --- the command line ---------------------------------------------------------------------

ODD_NAMES = [
    "-rf.txt",
    "$(touch hit).txt",
    "'; touch hit; '.txt",
    '"; touch hit; ".txt',
    "`touch hit`.txt",
    "*.txt",
    "two\nlines.txt",
    "spa ce.txt",
    "täst.txt",
    "a\\b.txt",
    "per%20cent.txt",
]


@pytest.mark.parametrize("quote", ["", '"', "'"])
async def test_the_name_of_a_file_is_an_argument_and_never_a_command(
    stage: Stage, repository: GitRepository, quote: str
) -> None:
    run = f"python3 tools/lint {{report}} {quote}{{files}}{quote}; test ! -e hit || rm {{report}}"
    change = repository.change(base_of({}, run), dict.fromkeys(ODD_NAMES, "bad\n"))
    said = await found(stage, change)
    assert said.source.state is SourceState.OK, said.source.note
    there = {name for name, _ in lines(said)}
    # This tool writes paths where URIs are due, in which these two mean other files.
    assert there == {path_text(name.encode()) for name in ODD_NAMES} - {"a\\b.txt", "per%20cent.txt"}
    assert "2 results without a line in a file of the repository" in said.source.note


async def test_more_files_than_a_command_line_takes_make_several_calls(
    stage: Stage, repository: GitRepository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_analysers, "MOST_NAMES", 40)
    run = 'echo "$#" >&2; test $# -le 3 || exit 1; python3 tools/lint {report} {files}'
    change = repository.change(base_of({}, run), {f"file-{number}.txt": "bad\n" for number in range(10)})
    said = await found(stage, change)
    assert len(lines(said)) == 10, said.source.note


async def test_thousands_of_files_fit(stage: Stage, repository: GitRepository) -> None:
    head = {f"a-rather-long-folder/with-another/file-{number:05}.txt": "good\n" for number in range(9_000)}
    change = repository.change(base_of({}), {**head, "z.txt": "bad\n"})
    assert lines(await found(stage, change)) == [("z.txt", 1)]


async def test_a_variable_of_the_shell_is_no_placeholder(stage: Stage, repository: GitRepository) -> None:
    run = 'files=; report=r; python3 tools/lint {report} ${files} {files}; rm -f "${report}"'
    assert lines(await found(stage, repository.change(base_of({}, run), {"a.txt": "bad\n"}))) == [("a.txt", 1)]


# --- not run ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "program"),
    [
        ("no-such-linter --sarif {files} > {report}", "no-such-linter"),
        ("./node_modules/.bin/linter {files}", "./node_modules/.bin/linter"),
        ("bash -c 'no-such-linter --all'", "no-such-linter"),
        ("no-such-linter {files} | tee {report}", "no-such-linter"),
        ("python3 -m no_such_linter {files}", "no_such_linter"),
        ("env no-such-linter", "no-such-linter"),
        ("make -f tools/Makefile lint", "no-such-linter"),
        pytest.param("node -e 'require(\"no-such-formatter\")'", "no-such-formatter", marks=NODE),
        pytest.param("npx no-such-linter {files}", "no-such-linter", marks=NODE),
        ("tools/lint {files}", "a program that it calls"),
    ],
)
async def test_a_program_that_is_not_there_was_not_run(
    stage: Stage, repository: GitRepository, run: str, program: str
) -> None:
    base = base_of({"tools/Makefile": "lint:\n\tno-such-linter\n"}, run)
    said = await found(stage, repository.change(base, {"a.txt": "bad\n"}))
    assert (said.source.state, said.source.required) == (SourceState.NOT_RUN, True)
    assert said.source.note.startswith(f"{program} is not installed in the repository's environment; add it")
    assert said.findings == ()


async def test_whether_a_person_is_asked_is_for_the_repository_to_say(stage: Stage, repository: GitRepository) -> None:
    base = base_of({}, "no-such-linter", required=False)
    said = await found(stage, repository.change(base, {"a.txt": "bad\n"}))
    assert (said.source.state, said.source.required) == (SourceState.NOT_RUN, False)
    base = base_of({}, "echo junk", required=False)
    said = await found(stage, repository.change(base, {"a.txt": "bad\n"}))
    assert (said.source.state, said.source.required) == (SourceState.FAILED, False)


async def test_where_the_environment_can_not_be_made_it_was_not_run(stage: Stage, repository: GitRepository) -> None:
    settings = {**json.loads(rules("true")), "setup": ["echo 'error: no such compiler' >&2; exit 3"]}
    change = repository.change({".sdlc.yml": json.dumps(settings), "README": "x\n"}, {"a.txt": "bad\n"})
    said = await found(stage, change)
    assert said.source.state is SourceState.NOT_RUN
    assert "no such compiler" in said.source.note


# --- failed -------------------------------------------------------------------------------

GHOST = {
    "version": "2.1.0",
    "runs": [
        {
            "tool": {"driver": {"name": "x"}},
            "results": [
                {
                    "ruleId": "R",
                    "message": {"text": "m"},
                    "locations": [{"physicalLocation": {"artifactLocation": {"uri": "pkg/ghost.go"}}}],
                }
            ],
        }
    ],
}
FAILURES = {
    "crash": ("echo 'panic: nil map' >&2; exit 101", "exit code 101 and no usable report: panic: nil map"),
    "signal": ("kill -SEGV $$", "exit code 139 and no usable report"),
    "silence": ("true", "exit code 0 and no usable report"),
    "no report": ("echo done; : {report}", "exit code 0 and no usable report: done"),
    "words": ("echo 'All is well.'; exit 2", "are not JSON, so no SARIF (exit code 2)"),
    "json": ("echo '{\"results\": []}'", "JSON that is no SARIF"),
    "link": ("ln -sf /etc/passwd {report}", "no usable report"),
    "pipe": ("mkfifo {report}", "no usable report"),
    "folder": ("mkdir {report}", "no usable report"),
    "hang": ("sleep 30", "did not end within 1 s (its timeout_seconds in .sdlc.yml)"),
    "hang after the report": ("python3 tools/lint {report} {files}; sleep 30", "did not end within 1 s"),
    "syntax": ("if then {files}", "exit code 2 and no usable report"),
    "own words": ("cat failed.sarif", "says that it failed: Rules are missing"),
    "empty": ("python3 tools/lint {report} {files}; exit 7", "its report has no result (exit code 7)"),
    "ghosts": ("cat ghost.sarif", "names files that the repository does not have, such as pkg/ghost.go"),
    "large": ("head -c 3000000 /dev/zero", "wrote more than 2 MiB"),
}


@pytest.mark.parametrize(("run", "words"), FAILURES.values(), ids=FAILURES.keys())
async def test_one_that_fails_is_never_taken_for_clean(
    stage: Stage, repository: GitRepository, monkeypatch: pytest.MonkeyPatch, run: str, words: str
) -> None:
    monkeypatch.setattr(analysis, "LARGEST_REPORT", 2 * 1024**2)
    monkeypatch.setattr(own_analysers, "LARGEST_REPORT", 2 * 1024**2)
    failed = {"executionSuccessful": False, "toolExecutionNotifications": [{"message": {"text": "Rules are missing"}}]}
    reports = {
        "ghost.sarif": json.dumps(GHOST),
        "failed.sarif": json.dumps(
            {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "invocations": [failed]}]}
        ),
    }
    seconds = 1 if "sleep" in run else 60
    said = await found(stage, repository.change(base_of(reports, run, timeout_seconds=seconds), {"a.txt": "fine\n"}))
    assert (said.source.state, said.source.required) == (SourceState.FAILED, True)
    assert words in said.source.note
    assert said.findings == ()


async def test_a_file_that_it_can_not_read_is_a_failure_and_the_rest_still_counts(
    stage: Stage, repository: GitRepository
) -> None:
    said = await found(stage, repository.change(base_of({}), {"a.txt": "broken\n", "b.txt": "bad\n"}))
    assert (said.source.state, said.source.note) == (SourceState.FAILED, "could not read a.txt (broken)")
    assert lines(said) == [("b.txt", 1)]


async def test_a_file_that_it_could_not_read_before_either_is_not_held_against_the_change(
    stage: Stage, repository: GitRepository
) -> None:
    said = await found(stage, repository.change(base_of({"a.txt": "broken\n"}), {"a.txt": "still broken\n"}))
    assert (said.source.state, said.source.note) == (SourceState.OK, "")


async def test_where_the_base_can_not_be_looked_at_changed_lines_alone_count(
    stage: Stage, repository: GitRepository
) -> None:
    run = "test -e mended || exit 3; python3 tools/lint {report} {files}"
    change = repository.change(base_of({"a.txt": "bad\nx\n"}, run), {"a.txt": "bad\nbad too\n", "mended": "1\n"})
    said = await found(stage, change)
    assert (said.source.state, lines(said)) == (SourceState.OK, [("a.txt", 2)])
    assert "could not look at the base, so findings on changed lines alone count" in said.source.note


async def test_a_place_that_does_not_exist_is_left_out(stage: Stage, repository: GitRepository) -> None:
    def at(uri: str, first: int, last: int) -> dict[str, Any]:
        place = {"artifactLocation": {"uri": uri}, "region": {"startLine": first, "endLine": last}}
        return {"ruleId": f"R{first}", "message": {"text": "m"}, "locations": [{"physicalLocation": place}]}

    results = [at("a.txt", 99, 99), at("/etc/passwd", 1, 1), at("ghost.txt", 1, 1), at("a.txt", 2, 5_000)]
    run = {"tool": {"driver": {"name": "x"}}, "results": [*results, {"message": {"text": "nowhere"}}]}
    report = json.dumps({"version": "2.0.0", "runs": [run]})
    said = await found(stage, repository.change(base_of({"r": report}, "cat r"), {"a.txt": "one\ntwo\nthree\n"}))
    assert [(finding.line, finding.end_line) for finding in said.findings] == [(2, 4)]
    assert reasons(said) == [("a.txt", 99, "the line does not exist")]
    assert said.source.dropped == 4
    assert said.source.note == "3 results without a line in a file of the repository left out"


# --- what a change can not do -------------------------------------------------------------


async def test_the_definition_is_the_one_of_the_base(stage: Stage, repository: GitRepository) -> None:
    head = {"a.txt": "bad\n", ".sdlc.yml": rules("echo nothing", files=["*.none"])}
    assert lines(await found(stage, repository.change(base_of({}), head))) == [("a.txt", 1)]
    change = repository.change({"README": "x\n"}, {"a.txt": "bad\n", ".sdlc.yml": rules("true")})
    assert (await scope_of(stage, change)).review.analysers == {}


async def test_its_configuration_is_the_one_of_the_base_where_the_rules_say_so(
    stage: Stage, repository: GitRepository
) -> None:
    head = {"a.txt": "bad enough\n", "lint.cfg": "enough\n", "conf/x.txt": "bad\n"}
    loose = await found(stage, repository.change(base_of({"conf/x.txt": "\n"}), head))
    assert lines(loose) == [("conf/x.txt", 1)]
    base = base_of({"conf/x.txt": "\n"}, configuration=["lint.cfg", "conf"])
    assert lines(await found(stage, repository.change(base, head))) == [("a.txt", 1)]


async def test_what_it_does_to_the_tree_is_gone_with_it(stage: Stage, repository: GitRepository) -> None:
    run = "python3 tools/lint {report} {files}; rm -rf a.txt tools; echo bad > new.txt; git init -q sub"
    change = repository.change(base_of({"a.txt": "bad\n"}, run), {"a.txt": "bad\nbad too\n"})
    for _ in range(2):
        assert lines(await found(stage, change)) == [("a.txt", 2)]


async def test_it_has_no_network(stage: Stage, repository: GitRepository) -> None:
    connect = 'import socket; socket.create_connection(("192.0.2.1", 80), 3)'
    said = await found(stage, repository.change(base_of({}, f"python3 -c '{connect}'"), {"a.txt": "x\n"}))
    assert "unreachable" in said.source.note


async def test_without_a_sandbox_it_is_run_where_the_workspace_is(tmp_path: Path, repository: GitRepository) -> None:
    change = repository.change(base_of({"a.txt": "bad\n"}), {"a.txt": "bad\nbad too\n"})
    assert lines(await found(Stage.at(tmp_path / "a b", kind="none"), change)) == [("a.txt", 2)]


# --- real tools ---------------------------------------------------------------------------


async def test_real_linters_from_the_repositorys_own_environment(stage: Stage, repository: GitRepository) -> None:
    """ruff and bandit as a repository would bring them: installed by its set-up, called by its lines."""
    settings = textwrap.dedent(f"""
        setup: pip install --quiet ruff=={version("ruff")} 'bandit[sarif]=={version("bandit")}'
        review:
          analysers:
            style:
              run: ruff check --select F,B --output-format sarif --output-file {{report}} {{files}}
              files: "*.py"
            holes:
              panel: security
              run: bandit --quiet --format sarif --output {{report}} {{files}}
              files: ["*.py", "!tests/"]
    """)
    old = "def old(items=[]):\n    return eval(items)\n"
    new = f"{old}\n\ndef new(names={{}}):\n    return eval(names)\n"
    change = repository.change(
        {".sdlc.yml": settings, "app.py": old}, {"app.py": new, "tests/test_a.py": "eval('1')\n"}
    )
    style = await found(stage, change, "style")
    assert style.source.state is SourceState.OK, style.source.note
    (mutable,) = style.findings
    assert (mutable.rule, mutable.file, mutable.line) == ("style:B006", "app.py", 5)
    assert mutable.suggestion == "def new(names=None):\n    if names is None:\n        names = {}"
    holes = await found(stage, change, "holes")
    assert holes.source.state is SourceState.OK, holes.source.note
    (evaluated,) = holes.findings
    assert (evaluated.rule, evaluated.line, evaluated.severity) == ("holes:B307", 6, Severity.MINOR)


# --- what we tell people ------------------------------------------------------------------


def test_the_examples_of_the_documentation_are_rules() -> None:
    page = (Path(__file__).parent.parent / "docs" / "reviews.md").read_text(encoding="utf-8")
    named: set[str] = set()
    for block in re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        whole = block if "review:" in block else f"review:\n  analysers:\n{textwrap.indent(block, '    ')}"
        for name, own in parse_rules(whole).review.analysers.items():
            assert "{report}" in own.run or "--format sarif" in own.run
            named.add(name)
    assert named == {"eslint", "semgrep", "golangci", "gosec", "hadolint", "style"}
