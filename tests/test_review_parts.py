"""The parts of a panel that need neither git nor a model: diffs, fingerprints, answers, merging."""

from __future__ import annotations

import json
import re
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from sdlc.domain import (
    ArtifactRef,
    ChangeSet,
    Finding,
    Panel,
    PanelReport,
    PanelState,
    Repository,
    Severity,
    SourceReport,
    SourceState,
    Ticket,
)
from sdlc.integrations.git.diff import ChangedFile
from sdlc.integrations.toml_file import LARGEST, MOST_DOTS, read_toml
from sdlc.review_graphs.analyzers.bandit import Bandit
from sdlc.review_graphs.analyzers.base import Analyser, AnalyserFailed, Raw, Subject
from sdlc.review_graphs.analyzers.ruff import HOLES, Ruff, severity
from sdlc.review_graphs.answer import Judge, LensAnswer
from sdlc.review_graphs.diff import PART_LINES, FileDiff, ranges, read_hunks, split_files
from sdlc.review_graphs.findings import Dropped, introduced, without_source
from sdlc.review_graphs.merge import Found, merge
from sdlc.review_graphs.panel import PANELS
from sdlc.review_graphs.scope import MOST_SLICES, SLICE_CHARS, Scope, ScopedFile, cut_to_slices, scoped_file
from sdlc.review_graphs.unread import says_generated, unread_by_path, unread_sources, why_hidden, why_unread

DIFF = """\
diff --git a/a.py b/a.py
index 1..2 100644
--- a/a.py
+++ b/a.py
@@ -1,4 +1,5 @@
 one
-two
+TWO
+--- two and a half
 three
 four
@@ -20,3 +21,2 @@ def f():
 twenty
-gone
 end
\\ No newline at end of file
diff --git a/b c.txt b/b c.txt
new file mode 100644
--- /dev/null
+++ b/b c.txt
@@ -0,0 +1 @@
+only
"""


# --- diff ---------------------------------------------------------------------------------


def a_diff(text: str = DIFF, path: str = "a.py") -> FileDiff:
    return FileDiff(path, path, read_hunks(split_files(text, [(path, "")])[path]))


def test_a_diff_is_split_by_its_files() -> None:
    pieces = split_files(DIFF, [("a.py", ""), ("b c.txt", ""), ("absent", "")])
    assert set(pieces) == {"a.py", "b c.txt"}
    assert pieces["b c.txt"].endswith("+only\n")


def test_the_added_lines_are_those_of_the_head() -> None:
    assert a_diff().added_lines() == {2, 3}
    assert a_diff(path="b c.txt").added_lines() == {1}


def test_a_finding_may_point_to_three_lines_around_a_change_and_a_deletion() -> None:
    near = a_diff().near_lines()
    assert {1, 5, 6, 19, 22, 25} <= near
    assert not {7, 18, 26} & near


def test_parts_are_a_valid_diff_and_short_enough_to_count_in() -> None:
    rows = "".join(f"+line {number}\n" for number in range(1, 51))
    diff = FileDiff("n.py", "n.py", read_hunks(f"@@ -0,0 +1,50 @@\n{rows}"))
    parts = diff.parts()
    assert [part.split("\n")[0] for part in parts] == ["@@ -0,0 +1,20 @@", "@@ -0,0 +21,20 @@", "@@ -0,0 +41,10 @@"]
    assert all(len(part.split("\n")) <= PART_LINES + 1 for part in parts)
    assert read_hunks("\n".join([diff.header, *parts]))[2][0].new == 41


def test_parts_of_a_mixed_hunk_number_both_sides() -> None:
    old = [f"-old {number}" for number in range(1, 16)]
    new = [f"+new {number}" for number in range(1, 16)]
    text = "@@ -10,16 +10,16 @@\n" + "\n".join([" before", *old, *new])
    first, second = FileDiff("a", "a", read_hunks(text)).parts()
    assert first.startswith("@@ -10,16 +10,5 @@\n before\n-old 1\n")
    assert second.startswith("@@ -25,0 +15,11 @@\n+new 5\n")


def test_a_very_long_line_is_cut_and_says_so() -> None:
    (part,) = FileDiff("m.js", "m.js", read_hunks("@@ -0,0 +1 @@\n+" + "x" * 5_000)).parts()
    assert part.endswith("… [4000 more characters]")


def test_lines_become_ranges() -> None:
    assert ranges({3, 1, 2, 7, 9, 8}) == ((1, 3), (7, 9))
    assert ranges(()) == ()


def a_large_diff(name: str, lines: int, width: int = 60) -> FileDiff:
    rows = "\n".join("+" + "x" * width for _ in range(lines))
    return FileDiff(name, name, read_hunks(f"@@ -0,0 +1,{lines} @@\n{rows}"))


def test_a_diff_is_cut_into_slices_that_fit_and_keep_files_together() -> None:
    cut, uncovered = cut_to_slices([a_large_diff(f"f{number}.py", 600) for number in range(4)])
    assert uncovered == ()
    assert [files for _, files in cut] == [("f0.py",), ("f1.py",), ("f2.py",), ("f3.py",)]
    assert all(len(text) <= SLICE_CHARS + 200 for text, _ in cut)


def test_a_file_larger_than_a_slice_goes_on_in_the_next() -> None:
    cut, _ = cut_to_slices([a_large_diff("big.py", 2_000), a_large_diff("small.py", 10)])
    assert [files for _, files in cut] == [("big.py",), ("big.py",), ("big.py", "small.py")]
    assert sum(text.count("\n+x") for text, _ in cut) == 2_010
    assert all(text.startswith("diff --git a/big.py b/big.py\n") for text, _ in cut)


def test_of_a_diff_that_is_too_large_it_is_said_what_was_left_out() -> None:
    cut, uncovered = cut_to_slices([a_large_diff(f"f{number}.py", 5_000) for number in range(10)])
    assert len(cut) == MOST_SLICES
    assert uncovered[-1] == "f9.py"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("uv.lock", "lock file"),
        ("web/package-lock.json", "lock file"),
        ("vendor/github.com/x/y.go", "vendored"),
        ("api/v1/thing_pb2.py", "generated"),
        ("static/app.min.js", "generated"),
        ("ui/__snapshots__/a.test.js.snap", "generated"),
        ("vendor.py", ""),
        ("src/lock.py", ""),
    ],
)
def test_what_no_lens_reads_is_known_by_its_path(path: str, reason: str) -> None:
    assert unread_by_path(path) == reason


def test_a_file_is_generated_only_if_the_base_says_so() -> None:
    assert says_generated(b"# Code generated by protoc. DO NOT EDIT.\n")
    assert not says_generated(None)
    assert not says_generated(b"x = 1\n" * 200 + b"# do not edit\n")


def changed(path: str, status: str = "M", **more: Any) -> ChangedFile:
    return ChangedFile.model_validate({"path": path, "status": status, "mode": "100644", **more})


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        (changed("vendor/x.go"), "vendored"),
        (changed("vendor/x.go", "A"), ""),
        (changed("vendor/x.go", "R", old_path="src/x.go"), ""),
        (changed("vendor/y.go", "R", old_path="vendor/x.go"), "vendored"),
        (changed("app.min.js", "A"), ""),
        (changed("app.min.js"), "generated"),
        (changed("uv.lock", "A"), "lock file"),
        (changed("bun.lockb", "A", binary=True), "lock file"),
        (changed("a.js", "A", binary=True), "binary"),
        (changed("a.js", mode="120000"), "symbolic link"),
    ],
)
def test_a_path_excuses_a_file_only_where_the_base_has_it(file: ChangedFile, reason: str) -> None:
    assert why_unread(file, None) == reason


PICTURE = b"\x89PNG\r\n\0"


@pytest.mark.parametrize(
    ("file", "base", "head", "is_hidden"),
    [
        (changed("a.js", "A", binary=True), None, b"\0x", True),
        (changed("Makefile", "A", binary=True), None, b"\0x", True),
        (changed("vendor/a.js", "A", binary=True), None, b"\0x", True),
        (changed("logo.png", "A", binary=True), None, PICTURE, False),
        (changed("logo.png", binary=True), PICTURE, PICTURE, False),
        (changed("data.blob", binary=True), b"words", b"\0", True),
        (changed("data.blob", binary=True), b"\0", b"words", True),
        (changed("data.blob", "A", binary=True), None, b"#!/bin/sh\n\0", True),
        (changed("data.blob", "A", binary=True, mode="100755"), None, b"\0", True),
        (changed("package-lock.json", binary=True), b"{}", b"\0", False),
        (changed("a.js", "D", binary=True), b"\0", None, False),
        (changed("a.js"), b"x", b"y", False),
    ],
)
def test_what_looks_like_source_and_git_calls_binary_is_hidden(
    file: ChangedFile, base: bytes | None, head: bytes | None, is_hidden: bool
) -> None:
    assert bool(why_hidden(file, base, head)) is is_hidden


def test_what_was_not_read_is_a_source_and_what_is_hidden_one_that_failed() -> None:
    files = (
        ScopedFile(path="uv.lock", unread="lock file"),
        ScopedFile(path="gone.py", unread="deleted"),
        ScopedFile(path="a.js", unread="binary", hidden="binary, but named like a text"),
        ScopedFile(path="wide.js", cut=True),
    )
    failed, passed = unread_sources(a_scope(panel=Panel.SECURITY, files=files, uncovered=("big.txt",)))
    assert (failed.kind, failed.state, failed.required) == ("unread", SourceState.FAILED, True)
    assert failed.note.startswith("a.js (binary, but named like a text); ")
    assert (passed.name, passed.kind, passed.state) == ("files not read", "unread", SourceState.NOT_RUN)
    assert not passed.required
    assert passed.note == (
        "uv.lock (lock file), big.txt (too large, not read to its end), wide.js (very long lines, cut)"
    )
    pictures = tuple(ScopedFile(path=f"data/{n}.png", unread="binary") for n in range(500))
    (many,) = unread_sources(a_scope(files=pictures))
    assert len(many.note) < 300
    assert re.search(r" and 4\d\d more\Z", many.note)
    assert unread_sources(a_scope(files=(ScopedFile(path="a.py"), ScopedFile(path="b.py", unread="deleted")))) == []


def test_one_panel_alone_asks_about_what_nobody_can_read() -> None:
    hidden = (ScopedFile(path="a.js", unread="binary", hidden="binary, but named like a text"),)
    asking = {panel: unread_sources(a_scope(panel=panel, files=hidden))[0] for panel in Panel}
    assert [panel for panel, source in asking.items() if source.required] == [Panel.SECURITY]
    assert {source.note.partition(";")[0] for source in asking.values()} == {"a.js (binary, but named like a text)"}


# --- analysers ----------------------------------------------------------------------------


def test_every_panel_is_declared_with_a_lens_and_its_prompt() -> None:
    assert set(PANELS) == set(Panel)
    for panel, declaration in PANELS.items():
        assert declaration.panel is panel
        assert all(lens.text().startswith("Your lens is ") for lens in declaration.lenses)
        assert not any(" " in analyser.name for analyser in declaration.analysers)
        assert not any(" " in lens.name for lens in declaration.lenses)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("B006", Severity.MAJOR),
        ("F821", Severity.BLOCKER),
        ("invalid-syntax", Severity.BLOCKER),
        ("F706", Severity.BLOCKER),
        ("PLE0101", Severity.MAJOR),
        ("F401", Severity.MINOR),
        ("B904", Severity.MINOR),
        ("E501", Severity.INFO),
        ("I001", Severity.INFO),
    ],
)
def test_ruff_rules_have_a_severity(code: str, expected: Severity) -> None:
    assert severity(code) is expected


def ruff_item(**changes: Any) -> dict[str, Any]:
    item = {
        "filename": "/work/a.py",
        "code": "B006",
        "message": "Do not use mutable data structures for argument defaults",
        "location": {"row": 2, "column": 9},
        "end_location": {"row": 2, "column": 11},
    }
    return {**item, **changes}


def test_ruffs_report_is_read_relative_to_the_workspace() -> None:
    analysis = Ruff().read(json.dumps([ruff_item()]).encode(), "/work")
    assert [(raw.rule, raw.file, raw.line, raw.severity) for raw in analysis.findings] == [
        ("ruff:B006", "a.py", 2, Severity.MAJOR)
    ]


def test_of_a_syntax_error_the_first_is_told_and_not_what_follows_from_it() -> None:
    items = [ruff_item(code="invalid-syntax", location={"row": row}, end_location={"row": row}) for row in (3, 4, 9)]
    assert [raw.line for raw in Ruff().read(json.dumps(items).encode(), "/work").findings] == [3]


def test_a_file_that_ruff_could_not_read_is_told_apart() -> None:
    analysis = Ruff().read(json.dumps([ruff_item(code="E902", message="no UTF-8")]).encode(), "/work")
    assert analysis.findings == ()
    assert analysis.unreadable == {"a.py": "no UTF-8"}


@pytest.mark.parametrize("report", [b"", b"panic!", b"{}", b"[1]", b'[{"filename": 3}]', b"null", b"[" * 100_000])
def test_junk_from_ruff_is_a_failure(report: bytes) -> None:
    with pytest.raises(AnalyserFailed, match="ruff"):
        Ruff().read(report, "/work")


@pytest.mark.parametrize(
    "report", [b"", b"Traceback", b"[]", b"{}", b'{"results": [1], "errors": []}', b'{"results": 5}']
)
def test_junk_from_bandit_is_a_failure(report: bytes) -> None:
    with pytest.raises(AnalyserFailed, match="bandit"):
        Bandit().read(report, "/work")


def bandit_report(*items: dict[str, Any]) -> bytes:
    base = {
        "filename": "./src/a.py",
        "line_number": 4,
        "line_range": [4, 5],
        "issue_severity": "HIGH",
        "issue_confidence": "HIGH",
        "issue_text": "shell",
        "test_id": "B602",
    }
    return json.dumps({"errors": [], "results": [{**base, **item} for item in items]}).encode()


def test_bandits_severities_and_confidences_are_ours() -> None:
    report = bandit_report(
        {}, {"issue_severity": "MEDIUM"}, {"test_id": "B612", "issue_severity": "LOW", "issue_confidence": "LOW"}
    )
    findings = Bandit().read(report, "/work").findings
    assert [raw.severity for raw in findings] == [Severity.BLOCKER, Severity.MAJOR, Severity.MINOR]
    assert [raw.confidence for raw in findings] == [0.9, 0.9, 0.4]
    assert {(raw.file, raw.line, raw.end_line) for raw in findings} == {("src/a.py", 4, 5)}


@pytest.mark.parametrize("analyser", [Ruff(), Ruff("ruff-security", HOLES), Bandit()])
def test_a_file_named_like_an_option_stays_a_file(analyser: Analyser) -> None:
    subject = Subject(files=("--config=evil.toml", "-h.py"), report="/out/r.json", configuration={})
    command = analyser.call(subject, ("program",)).command
    assert command[-2:] == ("./--config=evil.toml", "./-h.py")


def test_the_repositorys_own_ruff_selection_is_run_with_its_options() -> None:
    pyproject = b"""
    [tool.ruff]
    line-length = 88
    extend = "../evil.toml"
    required-version = "==0.1"
    [tool.ruff.lint]
    select = ["E", "I", "ALL", "S"]
    ignore = ["E501"]
    per-file-ignores = {"tests/**" = ["E402"]}
    [tool.ruff.lint.isort]
    known-first-party = ["acme"]
    """
    subject = Subject(files=("a.py",), report="/out/r.json", configuration={"pyproject.toml": pyproject})
    call = Ruff().call(subject, ("ruff",))
    text = " ".join(call.command)
    select = call.command[call.command.index("--select") + 1].split(",")
    assert {"B006", "E", "I"} <= set(select)
    assert not {"ALL", "S"} & set(select)
    assert "E501" in call.command[call.command.index("--ignore") + 1].split(",")
    assert "--isolated" in call.command
    assert "line-length = 88" in text
    assert 'lint.isort = {"known-first-party" = ["acme"]}' in text
    assert 'lint.per-file-ignores = {"tests/**" = ["E402"]}' in text
    assert "evil" not in text
    assert "required-version" not in text
    assert call.fallback.count("--config") == 1


@pytest.mark.parametrize(
    "configuration",
    [b"[tool.ruff", b"\xff\xfe", b"x = " + b"[" * 5_000, b"a" + b".a" * 8_000 + b" = 1", b"x = '" + b"a" * 200_000],
    ids=["broken", "no UTF-8", "deep", "dotted", "large"],
)
def test_a_configuration_that_can_not_be_read_is_named(configuration: bytes) -> None:
    subject = Subject(files=("a.py",), report="r", configuration={"pyproject.toml": configuration})
    call = Ruff().call(subject, ("ruff",))
    assert call.command.count("--config") == 1
    assert call.note.startswith("pyproject.toml of the base was left out: it ") or "dots" in call.note


def test_toml_is_read_within_bounds_of_time_and_memory() -> None:
    assert read_toml("a.b = 1") == {"a": {"b": 1}}
    assert read_toml(b"\xef\xbb\xbf# nothing\r\n") is None
    row = "k{}" + ".a" * MOST_DOTS + " = 1\n"
    tracemalloc.start()
    try:
        assert read_toml("".join(row.format(number) for number in range(600))) is not None
        with pytest.raises(ValueError, match="line 2 has more than 100 dots"):
            read_toml("x = 1\na" + ".a" * 8_000 + " = 1")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100_000_000
    for text in ("x = " + "1" * 9_000, "x = " + "[" * 9_000, "a = 1\na.b = 2", "#" * (LARGEST + 1)):
        with pytest.raises(ValueError, match=r"\Ait "):
            read_toml(text)


def test_ruff_does_not_take_the_changes_own_word_for_it() -> None:
    subject = Subject(files=("a.py",), report="r", configuration={})
    assert "--ignore-noqa" in Ruff().call(subject, ("ruff",)).command


@pytest.mark.parametrize("configuration", [b"[tool.other]\nx=1", b"tool = 3"])
def test_a_configuration_that_says_nothing_about_ruff_is_left_alone(configuration: bytes) -> None:
    subject = Subject(files=("a.py",), report="r", configuration={"pyproject.toml": configuration})
    call = Ruff().call(subject, ("ruff",))
    assert call.command[call.command.index("--config") + 1] == 'target-version = "py314"'
    assert call.command.count("--config") == 1
    assert call.fallback == ()


@pytest.mark.parametrize(
    ("pyproject", "target"),
    [
        (b'[project]\nrequires-python = ">=3.9,<4"', "py39"),
        (b'[project]\nrequires-python = "~=3.12.1"', "py312"),
        (b'[project]\nrequires-python = ">=3.99"', "py314"),
        (b'[project]\nname = "x"', "py314"),
        (b'[project]\nrequires-python = ">=3.9"\n[tool.ruff]\ntarget-version = "py311"', "py311"),
        (b"project = 3", "py314"),
    ],
)
def test_ruff_is_told_the_python_that_the_project_has(pyproject: bytes, target: str) -> None:
    subject = Subject(files=("a.py",), report="r", configuration={"pyproject.toml": pyproject})
    assert f'target-version = "{target}"' in Ruff().call(subject, ("ruff",)).command


# --- what the change brings ---------------------------------------------------------------


def raw(line: int, file: str = "a.py", rule: str = "ruff:B006", end: int = 0) -> Raw:
    return Raw(rule, file, line, end or line, Severity.MAJOR, "mutable default")


def a_file(path: str = "a.py", *, added: tuple[tuple[int, int], ...] = ((1, 99),), **changes: Any) -> ScopedFile:
    return ScopedFile(path=path, added=added, near=added).model_copy(update=changes)


def brought(
    head: dict[str, list[str]], base: dict[str, list[str]], at: list[Raw], was: list[Raw], file: ScopedFile
) -> tuple[list[Finding], list[Dropped]]:
    def code(lines: dict[str, list[str]]) -> Any:
        return lambda path, first, last: "\n".join(lines.get(path, [])[first - 1 : last])

    return introduced(at, was, files=[file], panel=Panel.QUALITY, head_code=code(head), base_code=code(base))


OLD = "def f(x=[]):"


def test_what_the_base_has_already_is_not_the_changes() -> None:
    kept, dropped = brought({"a.py": ["#", OLD]}, {"a.py": [OLD]}, [raw(2)], [raw(1)], a_file(added=((1, 1),)))
    assert kept == []
    assert [item.reason for item in dropped] == ["the base has it already"]


def test_a_second_mistake_on_an_equal_line_is_the_changes_and_on_its_line() -> None:
    head = {"a.py": [OLD, "    pass", OLD]}
    kept, dropped = brought(head, {"a.py": [OLD]}, [raw(1), raw(3)], [raw(1)], a_file(added=((1, 2),)))
    assert [finding.line for finding in kept] == [1]
    assert len(dropped) == 1


def test_a_finding_on_an_untouched_line_counts_if_the_change_brought_it() -> None:
    head, base = {"a.py": ["import os", "x = 1"]}, {"a.py": ["import os", "x = os.name"]}
    kept, _ = brought(head, base, [raw(1, rule="ruff:F401")], [], a_file(added=((2, 2),)))
    assert [finding.line for finding in kept] == [1]


def test_a_renamed_file_keeps_its_old_findings_old() -> None:
    file = a_file("new.py", added=(), old_path="old.py", status="R")
    kept, _ = brought({"new.py": [OLD]}, {"old.py": [OLD]}, [raw(1, "new.py")], [raw(1, "old.py")], file)
    assert kept == []


def test_a_fingerprint_outlives_a_move_and_an_indentation() -> None:
    first, _ = brought({"a.py": [OLD]}, {}, [raw(1)], [], a_file())
    second, _ = brought({"a.py": ["", "", f"    {OLD}  "]}, {}, [raw(3)], [], a_file())
    third, _ = brought({"a.py": ["def g(x=[]):"]}, {}, [raw(1)], [], a_file())
    assert first[0].fingerprint == second[0].fingerprint != third[0].fingerprint


def test_a_message_quotes_no_line_of_the_source() -> None:
    assert without_source("Use `return total / count` here", ["    return total / count"]) == "Use `…` here"
    assert without_source("Use `x = 1` here", ["x = 1"]) == "Use `x = 1` here"


# --- answers of a lens --------------------------------------------------------------------

LINES = ["import os", "", "def half(n):", "    return n / 2", "", "def third(n):", "    return n / 3"]


def judged(*items: dict[str, Any], lines: list[str] = LINES) -> tuple[list[Finding], list[Dropped]]:
    base = {"file": "a.py", "line": 4, "severity": "major", "confidence": 0.9, "message": "It floats."}
    answer = LensAnswer.model_validate({"findings": [{**base, **item} for item in items]})
    file = ScopedFile(path="a.py", added=((3, 4),), near=((1, 5),))
    return Judge(Panel.QUALITY, "correctness", {"a.py": file}, {"a.py": lines}).findings(answer)


def test_an_answer_becomes_a_finding_with_the_rule_of_its_lens() -> None:
    (finding,), dropped = judged({"rule": "Integer Division!", "suggestion": "    return n // 2"})
    assert dropped == []
    assert (finding.rule, finding.line, finding.end_line) == ("lens:correctness/integer-division", 4, 4)
    assert finding.suggestion == "    return n // 2"
    assert re.fullmatch(r"[0-9a-f]{16}", finding.fingerprint)


def test_a_fingerprint_does_not_hang_on_the_models_words() -> None:
    (first,), _ = judged({"rule": "float", "message": "It floats."})
    (second,), _ = judged({"rule": "division", "message": "This is no integer."})
    assert first.fingerprint == second.fingerprint


def test_two_findings_on_one_line_are_two_and_the_same_twice_is_one() -> None:
    findings, _ = judged({"rule": "a"}, {"rule": "b"}, {"rule": "a", "message": "Again."})
    assert len(findings) == 2
    assert len({finding.fingerprint for finding in findings}) == 2


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"line": 0}, "does not exist"),
        ({"line": -4}, "does not exist"),
        ({"line": 4_000}, "does not exist"),
        ({"line": 7}, "outside the change"),
        ({"file": "other.py"}, "not part of what was shown"),
        ({"file": "../../etc/passwd"}, "not part of what was shown"),
        ({"message": "  "}, "says nothing"),
    ],
)
def test_what_the_code_does_not_bear_out_is_dropped_and_counted(item: dict[str, Any], reason: str) -> None:
    findings, dropped = judged(item)
    assert findings == []
    assert reason in dropped[0].reason


def test_a_miscounted_line_is_found_again_by_what_was_quoted() -> None:
    (finding,), _ = judged({"line": 40, "end_line": 41, "evidence": "half(3):\n    return n / 2\ngives 1.5"})
    assert (finding.line, finding.end_line) == (4, 4)


def test_a_huge_number_of_a_line_is_held_to_the_file_before_anybody_counts_to_it() -> None:
    said = {"evidence": "half(3) is 1.5"}
    began = time.thread_time()
    findings, dropped = judged(
        {"rule": "a", "end_line": 10**12, **said},
        {"rule": "b", "line": -(10**12), "end_line": 10**12, **said},
        {"rule": "c", "line": 10**400, "end_line": 1e300, **said},
    )
    assert time.thread_time() - began < 1
    assert [(finding.line, finding.end_line) for finding in findings] == [(4, 7)]
    assert [item.reason for item in dropped] == ["the line does not exist"] * 2


@pytest.mark.parametrize(("line", "expected"), [(4.0, 4), ("4", 4), (4.5, None), (float("inf"), None), (None, None)])
def test_an_odd_number_of_a_line_costs_its_own_finding_alone(line: Any, expected: int | None) -> None:
    findings, _ = judged({"rule": "a"}, {"rule": "b", "line": line, "end_line": line})
    assert [finding.line for finding in findings] == [4] + ([expected] if expected else [])


def test_of_five_hundred_findings_the_first_fifty_are_looked_at() -> None:
    findings, dropped = judged(*({"rule": f"r{number}"} for number in range(500)))
    assert (len(findings), len(dropped)) == (50, 450)


def test_a_suggestion_of_more_than_four_lines_or_with_hidden_characters_is_left_out() -> None:
    findings, _ = judged({"rule": "a", "suggestion": "a\nb\nc\nd\ne"}, {"rule": "b", "suggestion": "x = 1 \u202e# y"})
    assert [finding.suggestion for finding in findings] == ["", ""]


def test_a_message_is_made_harmless_and_short() -> None:
    said = (
        "See ![x](https://evil.test/?q=secret) and [here](http://evil.test) or https://evil.test/a "
        "<!-- approve --> \u200bso\n\n```python\nimport os\n```\n`return n / 2` " + "long " * 300
    )
    (finding,), _ = judged({"message": said})
    assert "evil" not in finding.message
    assert "approve" not in finding.message
    assert "import os" not in finding.message
    assert "return n / 2" not in finding.message
    assert len(finding.message) <= 600
    assert "\n" not in finding.message


# --- merge --------------------------------------------------------------------------------


def a_scope(**changes: Any) -> Scope:
    repository = Repository(url="/r", name="r", base_branch="main", base_sha="b" * 40)
    change = ChangeSet(repository=repository, base_sha="b" * 40, head_sha="c" * 40, branch="x")
    return Scope(panel=Panel.QUALITY, change=change, ticket=Ticket(key="K", title="t")).model_copy(update=changes)


def a_finding(rule: str = "ruff:B006", fingerprint: str = "f1", **changes: Any) -> Finding:
    given: dict[str, Any] = {
        "severity": Severity.MAJOR,
        "file": "a.py",
        "line": 4,
        "end_line": 4,
        "message": "Mutable.",
    }
    return Finding(panel=Panel.QUALITY, rule=rule, fingerprint=fingerprint, **{**given, **changes})


def a_report(*findings: Finding, **changes: Any) -> PanelReport:
    report = PanelReport(
        panel=Panel.QUALITY, head_sha="d" * 40, base_sha="b" * 40, state=PanelState.FINDINGS, findings=findings
    )
    return report.model_copy(update=changes)


def from_ruff(*findings: Finding, **changes: Any) -> Found:
    return Found(SourceReport(name="ruff", found=len(findings)).model_copy(update=changes), findings)


def from_lens(*findings: Finding, **changes: Any) -> Found:
    source = SourceReport(name="correctness", kind="lens", found=len(findings)).model_copy(update=changes)
    return Found(source, findings)


def test_a_report_without_findings_is_clean_and_one_with_a_finding_is_not() -> None:
    assert merge(a_scope(), [from_ruff(), from_lens()], most_model_findings=6)[0].state is PanelState.CLEAN
    assert merge(a_scope(), [from_ruff(a_finding())], most_model_findings=6)[0].state is PanelState.FINDINGS


@pytest.mark.parametrize("state", [SourceState.FAILED, SourceState.NOT_RUN])
def test_a_required_source_that_said_nothing_is_never_a_pass(state: SourceState) -> None:
    report, _ = merge(a_scope(), [from_ruff(state=state), from_lens()], most_model_findings=6)
    assert report.state is PanelState.INCOMPLETE


def test_a_source_that_nobody_requires_may_be_missing() -> None:
    idle = from_lens(state=SourceState.NOT_RUN, required=False)
    assert merge(a_scope(), [from_ruff(), idle], most_model_findings=6)[0].state is PanelState.CLEAN


def test_a_report_carries_no_source_text_and_its_document_does() -> None:
    finding = a_finding(evidence="def f(x=[]):", suggestion="def f(x=None):")
    report, document = merge(a_scope(), [from_ruff(finding)], most_model_findings=6)
    assert report.findings[0].evidence == report.findings[0].suggestion == ""
    assert document["findings"][0]["evidence"] == "def f(x=[]):"


def test_the_worst_comes_first() -> None:
    findings = [
        a_finding(fingerprint="minor", severity=Severity.MINOR),
        a_finding(fingerprint="unsure", confidence=0.5),
        a_finding(fingerprint="sure", line=9, end_line=9),
        a_finding(fingerprint="blocker", severity=Severity.BLOCKER, line=50, end_line=50),
    ]
    report, _ = merge(a_scope(), [from_ruff(*findings)], most_model_findings=6)
    assert [finding.fingerprint for finding in report.findings] == ["blocker", "sure", "unsure", "minor"]


def test_a_lens_that_repeats_an_analyser_is_dropped_and_counted() -> None:
    said = a_finding("lens:correctness/mutable-default", "l1", message="The mutable default is shared.")
    other = a_finding("lens:correctness/off-by-one", "l2", message="The final element goes missing.")
    report, document = merge(a_scope(), [from_lens(said, other), from_ruff(a_finding())], most_model_findings=6)
    assert {finding.fingerprint for finding in report.findings} == {"f1", "l2"}
    lens = next(source for source in report.sources if source.kind == "lens")
    assert (lens.found, lens.dropped) == (1, 1)
    assert document["dropped"][0]["reason"] == "an analyser says it already"


@pytest.mark.parametrize(
    "analysed",
    [{"severity": Severity.MINOR}, {"severity": Severity.BLOCKER, "confidence": 0.4}],
    ids=["not as grave", "not sure"],
)
def test_a_blocker_of_a_lens_is_not_swallowed_by_a_lesser_word_of_an_analyser(analysed: dict[str, Any]) -> None:
    said = a_finding("lens:correctness/x", "l1", severity=Severity.BLOCKER, message="A mutable default leaks accounts.")
    found = [from_ruff(a_finding(message="A mutable default.", **analysed)), from_lens(said)]
    report, document = merge(a_scope(), found, most_model_findings=6)
    assert {finding.fingerprint for finding in report.findings} == {"f1", "l1"}
    assert document["dropped"] == []


def test_model_findings_are_capped_and_the_rest_is_counted() -> None:
    said = [a_finding(f"lens:correctness/r{n}", f"l{n}", line=n + 10, end_line=n + 10) for n in range(10)]
    found = [
        from_lens(*said[:5], name="correctness 1/2"),
        from_lens(*said[5:], name="correctness 2/2"),
        from_ruff(a_finding()),
    ]
    report, document = merge(a_scope(), found, most_model_findings=6)
    assert len(report.findings) == 7
    assert [source.dropped for source in report.sources] == [0, 4, 0]
    assert len(document["dropped"]) == 4


def test_a_waived_finding_stays_in_the_report_and_no_longer_counts() -> None:
    report, document = merge(a_scope(waived=("f1",)), [from_ruff(a_finding())], most_model_findings=6)
    assert report.state is PanelState.CLEAN
    assert len(report.findings) == 1
    assert document["findings"][0]["waived"] is True


def test_earlier_findings_are_open_resolved_or_new() -> None:
    previous = (a_finding(fingerprint="stays"), a_finding(fingerprint="mended"))
    now = [a_finding(fingerprint="stays"), a_finding(fingerprint="fresh", line=8, end_line=8)]
    _, document = merge(a_scope(earlier=a_report(*previous)), [from_ruff(*now)], most_model_findings=6)
    assert {item["fingerprint"]: item["status"] for item in document["findings"]} == {"stays": "open", "fresh": "new"}
    assert [item["fingerprint"] for item in document["resolved"]] == ["mended"]


def test_a_finding_is_not_resolved_by_the_failure_of_its_source() -> None:
    previous = (a_finding("lens:correctness/x", "old"), a_finding(fingerprint="mended"))
    found = [from_ruff(), from_lens(state=SourceState.FAILED, name="correctness 1/2")]
    report, document = merge(a_scope(earlier=a_report(*previous)), found, most_model_findings=6)
    assert [finding.fingerprint for finding in report.findings] == ["old"]
    assert [item["fingerprint"] for item in document["resolved"]] == ["mended"]
    assert report.state is PanelState.INCOMPLETE


def test_usage_is_added_up() -> None:
    ref = ArtifactRef(sha256="0" * 64, size=1)
    usage = {"usage": SourceReport(name="x").usage.model_copy(update={"model_calls": 2, "usd": 0.5}), "result": ref}
    report, _ = merge(a_scope(), [from_lens(**usage), from_lens(**usage, name="other")], most_model_findings=6)
    assert (report.usage.model_calls, report.usage.usd) == (4, 1.0)


def test_a_scoped_file_knows_what_changed() -> None:
    file = scoped_file(a_diff(), ChangedFile(path="a.py", status="M"), "")
    assert file.added == ((2, 3),)
    assert file.is_changed(3, 9)
    assert not file.is_changed(4, 9)
    assert file.is_near(4, 4)


def test_every_source_is_told_in_the_documentation() -> None:
    text = (Path(__file__).parent.parent / "docs" / "reviews.md").read_text()
    table = text.partition("## Who looks")[2].partition("## What you can choose")[0]
    told = set(re.findall(r"`([a-z-]+)`", table))
    assert {name for declaration in PANELS.values() for name in declaration.names} <= told
