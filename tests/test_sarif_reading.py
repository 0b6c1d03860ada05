"""SARIF of other people's tools: what becomes a finding, and what every way to get it wrong costs."""

from __future__ import annotations

import contextlib
import copy
import json
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdlc.domain import Severity
from sdlc.review_graphs.analyzers.base import AnalyserFailed, Raw
from sdlc.review_graphs.sarif_reading import SUPPRESSED, SUPPRESSED_CONFIDENCE, SarifAnalysis, read_sarif

Json = dict[str, Any]
CODE = {"src/a.py": ["def f(x=[]):", "    return eval(x)", "# end", ""]}


def place(uri: Any = "src/a.py", line: Any = 1, **region: Any) -> Json:
    return {"physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": line, **region}}}


def result(**more: Any) -> Json:
    return {"ruleId": "R1", "message": {"text": "It breaks."}, "locations": [place()], **more}


def at(location: Json) -> Json:
    return result(locations=[location])


def run(*results: Json, rules: Sequence[Json] = (), **more: Any) -> Json:
    return {"tool": {"driver": {"name": "Lint", "rules": list(rules)}}, "results": list(results), **more}


def sarif(*runs: Json, **more: Any) -> Json:
    return {"version": "2.1.0", "runs": list(runs), **more}


def read(document: Any, *, root: str = "/work") -> SarifAnalysis:
    report = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_sarif(report, "lint", [root], source=lambda path: CODE.get(path, ()))


def one(item: Json, *, rules: Sequence[Json] = (), **more: Any) -> Raw:
    found = read(sarif(run(item, rules=rules, **more))).findings
    assert len(found) == 1, found
    return found[0]


def where(location: Json, *, root: str = "/work", **more: Any) -> tuple[list[str], int, int]:
    said = read(sarif(run(at(location), **more)), root=root)
    return [raw.file for raw in said.findings], said.outside, said.placeless


# --- a finding ----------------------------------------------------------------------------


def test_a_result_becomes_a_finding() -> None:
    found = one(result(level="error", locations=[place(line=2, endLine=3)]))
    assert found == Raw("lint:R1", "src/a.py", 2, 3, Severity.MAJOR, "It breaks.")


def test_all_runs_are_read_and_what_two_of_them_say_is_said_once() -> None:
    other = result(message={"text": "Another."})
    said = read(sarif(run(result(), result()), run(result(), other), run()))
    assert [raw.message for raw in said.findings] == ["It breaks.", "Another."]


@pytest.mark.parametrize("empty", [{"results": []}, {"results": None}, {}])
def test_no_results_are_no_findings_however_a_tool_writes_that(empty: Json) -> None:
    said = read(sarif({"tool": {"driver": {"name": "gosec"}}, **empty}))
    assert (said.findings, said.unreadable) == ((), {})


@pytest.mark.parametrize(
    ("more", "rule", "severity"),
    [
        ({"level": "error"}, {}, Severity.MAJOR),
        ({"level": "warning"}, {}, Severity.MINOR),
        ({"level": "note"}, {}, Severity.INFO),
        ({"level": "none"}, {}, Severity.INFO),
        ({}, {}, Severity.MINOR),
        ({}, {"defaultConfiguration": {"level": "error"}}, Severity.MAJOR),
        ({"level": "note"}, {"defaultConfiguration": {"level": "error"}}, Severity.INFO),
        ({"level": "catastrophe"}, {}, Severity.MINOR),
        ({"kind": "review"}, {"defaultConfiguration": {"level": "error"}}, Severity.INFO),
        ({"level": "note"}, {"properties": {"security-severity": "9.8"}}, Severity.BLOCKER),
        ({}, {"properties": {"security-severity": "9.0"}}, Severity.BLOCKER),
        ({}, {"properties": {"security-severity": 7}}, Severity.MAJOR),
        ({"level": "error"}, {"properties": {"security-severity": "5.5"}}, Severity.MINOR),
        ({"level": "error"}, {"properties": {"security-severity": "2"}}, Severity.INFO),
        ({"level": "error"}, {"properties": {"security-severity": "0.0"}}, Severity.MAJOR),
        ({"level": "error"}, {"properties": {"security-severity": "very bad"}}, Severity.MAJOR),
        ({"level": "error"}, {"properties": {"security-severity": 1e400}}, Severity.MAJOR),
        ({"properties": {"security-severity": "9.1"}}, {"properties": {"security-severity": "1.0"}}, Severity.BLOCKER),
    ],
)
def test_how_bad_it_is_follows_from_the_level_or_the_score_for_security(
    more: Json, rule: Json, severity: Severity
) -> None:
    assert one(result(**more), rules=[{"id": "R1", **rule}]).severity is severity


@pytest.mark.parametrize(
    "more",
    [{"kind": "pass"}, {"kind": "notApplicable"}, {"level": "pass"}, {"baselineState": "absent"}],
)
def test_what_the_tool_calls_no_problem_is_none(more: Json) -> None:
    said = read(sarif(run(result(**more))))
    assert (said.findings, said.outside, said.placeless) == ((), 0, 0)


@pytest.mark.parametrize(
    ("more", "rule", "confidence"),
    [
        ({}, {}, 1.0),
        ({"rank": 30.0}, {"precision": "very-high"}, 0.3),
        ({"rank": -1.0}, {"precision": "medium"}, 0.7),
        ({"rank": 7000}, {}, 1.0),
        ({"properties": {"precision": "low"}}, {"precision": "high"}, 0.4),
        # semgrep calls every rule of its own very precise, and tells the truth in a tag.
        ({}, {"precision": "very-high", "tags": ["security", "LOW CONFIDENCE"]}, 0.4),
    ],
)
def test_how_sure_it_is_follows_from_rank_and_precision(more: Json, rule: Json, confidence: float) -> None:
    assert one(result(**more), rules=[{"id": "R1", "properties": rule}]).confidence == confidence


def test_a_suppressed_result_is_shown_to_people_and_does_not_send_the_engine_back() -> None:
    found = one(result(level="error", suppressions=[{"kind": "inSource", "justification": "I know"}]))
    assert (found.severity, found.confidence) == (Severity.MAJOR, SUPPRESSED_CONFIDENCE)
    assert found.message == f"It breaks. {SUPPRESSED}"
    assert one(result(suppressions=[{"kind": "external", "status": "accepted"}])).confidence == SUPPRESSED_CONFIDENCE
    long = one(result(message={"text": "word " * 400}, suppressions=[{"kind": "inSource"}]))
    assert long.message.endswith(f"… {SUPPRESSED}")


@pytest.mark.parametrize("suppressions", [[], None, [{"kind": "inSource", "status": "rejected"}], "all"])
def test_a_suppression_that_is_none_changes_nothing(suppressions: Any) -> None:
    assert one(result(suppressions=suppressions)).confidence == 1.0


# --- rules and words ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "shown"),
    [
        ("@typescript-eslint/no-unused-vars", "@typescript-eslint/no-unused-vars"),
        ("python.lang.security.eval", "python.lang.security.eval"),
        ("two words: <b>", "two-words-b"),
        ("", "unnamed"),
        ("🔥", "unnamed"),
        ("\ud800x", "x"),
        ("x" * 5_000, "x" * 120),
    ],
)
def test_a_rule_is_named_after_its_tool_and_fits_everywhere(rule: str, shown: str) -> None:
    assert one(result(ruleId=rule)).rule == f"lint:{shown}"


def test_a_rule_is_found_by_its_id_even_where_the_index_is_wrong() -> None:
    rules = [
        {"id": "R0", "defaultConfiguration": {"level": "note"}},
        {"id": "R1", "defaultConfiguration": {"level": "error"}},
    ]
    assert one(result(ruleIndex=0), rules=rules).severity is Severity.MAJOR
    assert one(result(ruleId="R1/3"), rules=rules).severity is Severity.MAJOR
    by_index = one(result(ruleId=None, ruleIndex=1), rules=rules)
    assert (by_index.rule, by_index.severity) == ("lint:R1", Severity.MAJOR)
    by_reference = one({**result(rule={"index": 0}), "ruleId": None}, rules=rules)
    assert (by_reference.rule, by_reference.severity) == ("lint:R0", Severity.INFO)


@pytest.mark.parametrize("index", [-1, 99, "1", 1.5, True, None, [], 10**30])
def test_an_index_that_leads_nowhere_costs_the_name_only(index: Any) -> None:
    assert one({**result(ruleIndex=index), "ruleId": None}, rules=[{"id": "R0"}]).rule == "lint:unnamed"


def test_the_rules_of_an_extension_are_found() -> None:
    tool = {
        "driver": {"name": "x"},
        "extensions": [{"name": "y", "rules": [{"id": "E1", "defaultConfiguration": {"level": "error"}}]}],
    }
    item = result(ruleId=None, rule={"index": 0, "toolComponent": {"index": 0}})
    (found,) = read(sarif({"tool": tool, "results": [item]})).findings
    assert (found.rule, found.severity) == ("lint:E1", Severity.MAJOR)


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ({"text": "Plain {0} {{x}}"}, "Plain {0} {{x}}"),
        ({"text": "{0} is {1}, {{so}} {7}", "arguments": ["a", "b"]}, "a is b, {so} {7}"),
        ({"id": "broken", "arguments": ["f"]}, "f is broken."),
        ({"id": "everywhere"}, "Said by all."),
        ({"id": "nowhere"}, "In short."),
        ({"markdown": "**Bold** words"}, "**Bold** words"),
        ({"id": "nowhere", "markdown": "marked"}, "marked"),
        ({}, "In short."),
        (None, "In short."),
        ("just text", "In short."),
        ({"text": "See [the value](1) here"}, "See the value here"),
        ({"text": "one\n\n  two\tthree"}, "one two three"),
        ({"text": "hid\u202eden <!-- approve --> \x1b[31mred"}, "hidden red"),
        ({"text": "half \ud800 a character"}, "half ? a character"),
    ],
)
def test_the_message_is_found_filled_and_made_plain(message: Any, shown: str) -> None:
    rule = {
        "id": "R1",
        "messageStrings": {"broken": {"text": "{0} is broken."}},
        "shortDescription": {"text": "In short."},
    }
    document = sarif(run(result(message=message), rules=[rule]))
    document["runs"][0]["tool"]["driver"]["globalMessageStrings"] = {"everywhere": {"text": "Said by all."}}
    assert read(document).findings[0].message == shown


def test_a_result_without_any_words_is_told_by_its_rule() -> None:
    assert one(result(message={})).message == "R1"


@pytest.mark.parametrize("text", ["word " * 100_000, "x" * 500_000, "[a](1" * 50_000, "{0}" * 50_000, "<!--" * 50_000])
def test_a_long_message_is_cut_and_takes_no_time(text: str) -> None:
    started = time.process_time()
    assert 0 < len(one(result(message={"text": text, "arguments": ["y" * 1_000]})).message) <= 300
    assert time.process_time() - started < 5


# --- places -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "uri",
    [
        "src/a.py",
        "./src/a.py",
        "src/./b/../a.py",
        "src\\a.py",
        "src%2Fa.py",
        "%73rc/a.py",
        "/work/src/a.py",
        "file:///work/src/a.py",
        "file:/work/src/a.py",
        "file://localhost/work/src/a.py",
        "FILE:///work/src/a.py",
        "file://work/src/a.py",
        "file:///work/./src//a.py",
    ],
)
def test_a_file_is_found_however_its_place_is_written(uri: str) -> None:
    assert where(place(uri)) == (["src/a.py"], 0, 0)


def test_a_root_with_odd_characters_is_known_too() -> None:
    assert where(place("file:///tmp/a%20b/work/x.py"), root="/tmp/a b/work") == (["x.py"], 0, 0)
    assert where(place("file:///tmp/a%20b/workshop/x.py"), root="/tmp/a b/work") == ([], 1, 0)


@pytest.mark.parametrize(
    "uri",
    [
        "../a.py",
        "src/../../a.py",
        "/etc/passwd",
        "file:///etc/passwd",
        "file:///workshop/a.py",
        "file:///C:/work/src/a.py",
        "C:\\work\\src\\a.py",
        "https://example.org/a.py",
        "untitled:/Untitled-1",
        "file://server/share/a.py",
        "/work/../etc/passwd",
        "%2e%2e/a.py",
        "\ud800.py",
    ],
)
def test_a_file_outside_the_tree_is_left_out_and_counted(uri: str) -> None:
    assert where(place(uri)) == ([], 1, 0)


@pytest.mark.parametrize(
    "location",
    [
        {},
        {"physicalLocation": {}},
        {"physicalLocation": {"artifactLocation": {}}},
        {"physicalLocation": {"artifactLocation": {"uri": ""}}},
        {"physicalLocation": {"artifactLocation": {"uri": 7}}},
        {"physicalLocation": {"artifactLocation": {"index": 5}}},
        {"physicalLocation": []},
        {"logicalLocations": [{"name": "f"}]},
        {"physicalLocation": {"artifactLocation": {"uri": "."}}},
        {"physicalLocation": {"artifactLocation": {"uri": "src/a.py"}, "region": {"charOffset": 12}}},
        None,
        "src/a.py:3",
    ],
)
def test_a_result_that_names_no_place_is_left_out_and_counted(location: Any) -> None:
    assert where(location) == ([], 0, 1)


def test_a_result_without_locations_is_left_out_and_counted() -> None:
    for locations in (None, [], {}, "here"):
        said = read(sarif(run(result(locations=locations), result())))
        assert (len(said.findings), said.placeless) == (1, 1)


def test_of_several_places_the_first_that_can_be_shown_counts() -> None:
    item = result(locations=[{}, place("/usr/include/x.h"), place("src/a.py", 3), place("src/b.py", 4)])
    assert (one(item).file, one(item).line) == ("src/a.py", 3)


TOP = {"TOP": {"uri": "file:///work/"}}


@pytest.mark.parametrize(
    ("bases", "base", "uri", "files"),
    [
        ({"SRC": {"uri": "file:///work/src/"}}, "SRC", "a.py", ["src/a.py"]),
        ({"SRC": {"uri": "file:///work/src"}}, "SRC", "a.py", ["src/a.py"]),
        ({"SRC": {"uri": "src/", "uriBaseId": "TOP"}, **TOP}, "SRC", "a.py", ["src/a.py"]),
        ({"SRC": "file:///work/src/"}, "SRC", "a.py", ["src/a.py"]),
        ({"SRC": {"description": {"text": "the sources"}}}, "SRC", "src/a.py", ["src/a.py"]),
        ({}, "%SRCROOT%", "src/a.py", ["src/a.py"]),
        ({"SRC": {"uri": "file:///work/lib/"}}, "SRC", "file:///work/src/a.py", ["src/a.py"]),
        ({"SRC": {"uri": "file:///home/ci/project/"}}, "SRC", "a.py", []),
        ({"SRC": {"uri": "https://example.org/"}}, "SRC", "a.py", []),
    ],
)
def test_base_ids_are_followed(bases: Json, base: str, uri: str, files: list[str]) -> None:
    location = {"physicalLocation": {"artifactLocation": {"uri": uri, "uriBaseId": base}}}
    assert where(location, originalUriBaseIds=bases) == (files, 0 if files else 1, 0)


def test_base_ids_in_a_circle_have_an_end() -> None:
    bases = {"A": {"uri": "x/", "uriBaseId": "B"}, "B": {"uri": "y/", "uriBaseId": "A"}}
    location = {"physicalLocation": {"artifactLocation": {"uri": "a.py", "uriBaseId": "A"}}}
    assert where(location, originalUriBaseIds=bases)[1:] == (0, 0)


def test_a_file_can_be_named_by_its_number_in_the_table() -> None:
    artifacts = [{"location": {"uri": "x"}}, {"location": {"uri": "file:///work/src/a.py"}}]
    location = {"physicalLocation": {"artifactLocation": {"index": 1}, "region": {"startLine": 4}}}
    assert where(location, artifacts=artifacts) == (["src/a.py"], 0, 0)


def test_a_name_that_is_not_utf8_is_the_one_that_git_gives() -> None:
    assert where(place("caf%E9.txt")) == (['"caf\\351.txt"'], 0, 0)
    assert where(place("two%0Alines")) == (['"two\\nlines"'], 0, 0)


@pytest.mark.parametrize(
    ("region", "lines"),
    [
        ({"startLine": 3}, (3, 3)),
        ({"startLine": 3, "endLine": 5}, (3, 5)),
        ({"startLine": 3, "endLine": 5, "endColumn": 1}, (3, 4)),
        ({"startLine": 3, "endLine": 3, "endColumn": 1}, (3, 3)),
        ({"startLine": 5, "endLine": 3}, (5, 5)),
        ({"startLine": 3.0, "endLine": 4.0}, (3, 4)),
        ({"startLine": 3, "endLine": "last"}, (3, 3)),
        ({"startLine": 3, "endLine": 10**40}, (3, 10_000_000)),
        ({"startLine": 0}, (1, 1)),
        ({}, (1, 1)),
        ({"startLine": -1}, None),
        ({"startLine": 3.5}, None),
        ({"startLine": "3"}, None),
        ({"startLine": True}, None),
        ({"startLine": 10**40}, None),
        ({"startLine": [3]}, None),
    ],
)
def test_the_lines_of_a_region(region: Json, lines: tuple[int, int] | None) -> None:
    said = read(sarif(run(at({"physicalLocation": {"artifactLocation": {"uri": "src/a.py"}, "region": region}}))))
    assert [(raw.line, raw.end_line) for raw in said.findings] == ([lines] if lines else [])
    assert said.placeless == (0 if lines else 1)


def test_numbers_that_json_does_not_have_are_no_lines() -> None:
    for number in (b"NaN", b"Infinity", b"-Infinity", b"1e999"):
        report = json.dumps(sarif(run(result()))).encode().replace(b'"startLine": 1', b'"startLine": ' + number)
        assert read(report).placeless == 1


def test_of_other_files_only_the_number_of_results_is_kept() -> None:
    broken = {"executionSuccessful": True, "toolExecutionNotifications": [note("x", location=place("src/b.py"))]}
    document = sarif(run(result(), at(place("src/b.py")), at(place("src/b.py", 2)), invocations=[broken]))
    said = read_sarif(json.dumps(document).encode(), "lint", ["/work"], about={"src/a.py"})
    assert ([raw.file for raw in said.findings], said.elsewhere, said.unreadable) == (["src/a.py"], {"src/b.py": 2}, {})
    assert read(document).elsewhere == {}


# --- suggestions --------------------------------------------------------------------------


def fix(*replacements: Json, uri: str = "src/a.py") -> Json:
    changes = [{"artifactLocation": {"uri": uri}, "replacements": list(replacements)}]
    return {"description": {"text": "Mend it"}, "artifactChanges": changes}


def instead(text: str | None, **region: int) -> Json:
    inserted = {} if text is None else {"insertedContent": {"text": text}}
    return {"deletedRegion": region, **inserted}


def suggested(*fixes: Json, line: int = 1, end: int | None = None) -> str:
    return one(result(fixes=list(fixes), locations=[place(line=line, endLine=end or line)])).suggestion


def test_a_replacement_of_columns_is_shown_as_whole_lines() -> None:
    none = instead("None", startLine=1, startColumn=9, endLine=1, endColumn=11)
    assert suggested(fix(none)) == "def f(x=None):"
    guard = instead("    if x is None:\n        x = []\n", startLine=2, startColumn=1, endLine=2, endColumn=1)
    assert suggested(fix(none, guard)) == "def f(x=None):\n    if x is None:\n        x = []"


def test_a_replacement_of_whole_lines_is_shown() -> None:
    assert suggested(fix(instead("def f(x=None):", startLine=1))) == "def f(x=None):"
    assert suggested(fix(instead("def f(x=None):\n", startLine=1))) == "def f(x=None):"
    both = instead("def f(x):\n    return x\n", startLine=1, startColumn=1, endLine=3, endColumn=1)
    assert suggested(fix(both), line=1, end=2) == "def f(x):\n    return x"


def test_whole_lines_that_are_given_with_columns_are_not_put_there_twice() -> None:
    """As semgrep does it."""
    for column in (5, 12):
        mended = instead("    return literal_eval(x)", startLine=2, startColumn=column, endLine=2, endColumn=19)
        assert suggested(fix(mended), line=2) == "    return literal_eval(x)"
    either_way = instead("def f(x=None):", startLine=1, startColumn=1, endLine=1, endColumn=11)
    assert suggested(fix(either_way)) == ""


@pytest.mark.parametrize(
    "given",
    [
        [],
        [{}],
        [None],
        [{"artifactChanges": []}],
        [fix()],
        [fix(instead("x", startLine=1), uri="src/b.py")],
        [fix(instead("x", startLine=3))],
        [fix(instead("x", startLine=0))],
        [fix(instead("x", startLine=1, startColumn=90))],
        [fix(instead("x", startLine=1, startColumn=0, endColumn=2))],
        [fix(instead("x", startLine=1, startColumn=5, endColumn=2))],
        [fix(instead("x", startLine=1, endLine=900))],
        [fix(instead("", startLine=1))],
        [fix(instead(None, startLine=1))],
        [fix(instead("def f(x=[]):", startLine=1))],
        [fix(instead("1\n2\n3\n4\n5", startLine=1))],
        [fix(instead("x" * 2_000, startLine=1))],
        [fix(instead("x = '\u202e'", startLine=1))],
        [fix(instead("x\r\ny", startLine=1))],
        [fix(instead("\x1b[31mx", startLine=1))],
        [fix(instead("a", startLine=1, endColumn=5), instead("b", startLine=1, startColumn=3, endColumn=9))],
        [{"artifactChanges": [fix(instead("x", startLine=1))["artifactChanges"][0]] * 2}],
    ],
)
def test_a_fix_that_can_not_be_shown_in_four_lines_is_none(given: Any) -> None:
    assert suggested(*given) == ""


def test_there_is_no_suggestion_where_columns_could_be_counted_in_two_ways() -> None:
    item = result(fixes=[fix(instead("y", startLine=1, startColumn=1, endColumn=2))])
    report = json.dumps(sarif(run(item))).encode()
    for line, suggestion in (("xé", "yé"), ("x🔥", "")):
        (found,) = read_sarif(report, "lint", ["/work"], source=lambda path, line=line: [line]).findings  # type: ignore[misc]
        assert found.suggestion == suggestion


def test_what_tells_of_a_secret_quotes_nothing() -> None:
    item = result(ruleId="generic-api-key", fixes=[fix(instead("x = 1", startLine=1))])
    assert (one(item).confidential, one(item).suggestion) == (True, "")
    tagged = one(result(), rules=[{"id": "R1", "properties": {"tags": ["secret"]}}])
    assert tagged.confidential
    assert not one(result()).confidential
    document = sarif(run(result()))
    document["runs"][0]["tool"]["driver"]["name"] = "gitleaks"
    assert read(document).findings[0].confidential


# --- what the tool says about itself ------------------------------------------------------


def note(text: str, level: str = "error", location: Json | None = None) -> Json:
    return {"message": {"text": text}, "level": level, "locations": [location] if location else []}


@pytest.mark.parametrize(
    ("invocation", "words"),
    [
        ({"executionSuccessful": False}, "it does not say why"),
        ({"executionSuccessful": False, "toolExecutionNotifications": [note("Out of rules")]}, "Out of rules"),
        ({"executionSuccessful": False, "toolConfigurationNotifications": [note("No config", "warning")]}, "No config"),
        ({"executionSuccessful": True, "toolExecutionNotifications": [note("Rule crashed")]}, "Rule crashed"),
        ({"executionSuccessful": False, "toolExecutionNotifications": [note("x", location=place("/etc/x"))]}, "x"),
        ({"executionSuccessful": False, "toolExecutionNotifications": [{"exception": {"message": "boom"}}]}, "boom"),
        ({"executionSuccessful": False, "toolExecutionNotifications": "everything"}, "it does not say why"),
    ],
)
def test_a_tool_that_says_it_failed_is_believed(invocation: Json, words: str) -> None:
    with pytest.raises(AnalyserFailed, match=f"lint says that it failed: {words}"):
        read(sarif(run(result()), run(result(), invocations=[{"executionSuccessful": True}, invocation])))


def test_a_file_that_the_tool_could_not_read_costs_that_file_alone() -> None:
    """As ESLint tells of a syntax error."""
    broken = note("Parsing error", location=place("file:///work/broken.js", 1))
    said = read(
        sarif(run(result(), invocations=[{"executionSuccessful": False, "toolConfigurationNotifications": [broken]}]))
    )
    assert said.unreadable == {"broken.js": "Parsing error"}
    assert len(said.findings) == 1


def test_a_warning_of_the_tool_is_no_failure() -> None:
    invocation = {"executionSuccessful": True, "toolExecutionNotifications": [note("File ignored", "warning"), {}, 7]}
    assert read(sarif(run(result(), invocations=[invocation, None]))).unreadable == {}


# --- versions and junk --------------------------------------------------------------------


def test_the_drafts_of_the_standard_can_be_read() -> None:
    drafted_place = {"uri": "src/a.py", "uriBaseId": "TOP"}
    drafted = {
        "version": "2.0.0-csd.2.beta.2018-10-10",
        "$schema": "http://json.schemastore.org/sarif-2.0.0-csd.2.beta.2018-10-10",
        "runs": [
            {
                "tool": {"name": "Old"},
                "resources": {"rules": {"R1": {"messageStrings": {"m": "{0} is old."}}}},
                "originalUriBaseIds": {"TOP": "file:///work/"},
                "results": [
                    {
                        "ruleId": "R1",
                        "level": "warning",
                        "message": {"messageId": "m", "arguments": ["f"]},
                        "locations": [
                            {"physicalLocation": {"fileLocation": drafted_place, "region": {"startLine": 2}}}
                        ],
                        "suppressionStates": ["suppressedInSource"],
                    },
                    {"ruleId": "R2", "level": "open", "message": {"text": "x"}, "locations": [place()]},
                ],
            }
        ],
    }
    old, other = read(drafted).findings
    assert (old.line, old.message, old.severity) == (2, f"f is old. {SUPPRESSED}", Severity.MINOR)
    assert other.severity is Severity.INFO


@pytest.mark.parametrize("version", ["2.1.0", "2.1.0-rtm.5", "2.0.0", "2", 2.1, None])
def test_a_version_of_the_second_edition_can_be_read(version: Any) -> None:
    schema = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json"}
    document = {**sarif(run(result())), **schema, "version": version}
    if version is None:
        del document["version"]
    assert len(read(document).findings) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_every_encoding_that_tools_write_can_be_read(encoding: str) -> None:
    report = json.dumps(sarif(run(result(message={"text": "größer"}))), ensure_ascii=False).encode(encoding)
    assert read(report).findings[0].message.replace("\ufffd", "?") in ("größer", "gr??er", "gr?er", "gr??er")


JUNK = {
    "nothing": b"",
    "words": b"Error: no configuration found\n",
    "cut": json.dumps(sarif(run(result()))).encode()[:-30],
    "two documents": json.dumps(sarif(run())).encode() * 2,
    "words before it": b"> lint@1.0.0 lint\n\n" + json.dumps(sarif(run())).encode(),
    "binary": bytes(range(256)),
    "a list": b"[]",
    "a number": b"7",
    "null": b"null",
    "a huge number": b"9" * 10_000,
    "deep": b"[" * 200_000,
    "deep in it": b'{"version": "2.1.0", "runs": ' + b'[{"tool": ' * 100_000,
    "nothing in it": b"{}",
    "no runs": b'{"version": "2.1.0"}',
    "empty runs": b'{"version": "2.1.0", "runs": []}',
    "null runs": b'{"version": "2.1.0", "runs": null}',
    "runs of nothing": b'{"version": "2.1.0", "runs": [null]}',
    "a run without tool": b'{"version": "2.1.0", "runs": [{"results": []}]}',
    "no version": b'{"runs": [{"tool": {"driver": {"name": "x"}}, "results": []}]}',
    "version 1": json.dumps({**sarif(run()), "version": "1.0.0"}).encode(),
    "version 21": json.dumps({**sarif(run()), "version": "21"}).encode(),
    "version of nothing": json.dumps({**sarif(run()), "version": []}).encode(),
    "results elsewhere": json.dumps(
        sarif(run(externalPropertyFileReferences={"results": [{"location": {"uri": "x"}}]}))
    ).encode(),
    "results inline elsewhere": json.dumps(sarif(run(), inlineExternalProperties=[{"results": []}])).encode(),
    "results of another shape": json.dumps(sarif(run(results=["bad"]))).encode(),
    "results as a map": json.dumps(sarif(run(results={"a": 1}))).encode(),
}


@pytest.mark.parametrize("report", JUNK.values(), ids=JUNK.keys())
def test_junk_is_a_failure_and_never_clean(report: bytes) -> None:
    with pytest.raises(AnalyserFailed, match=r"^lint "):
        read(report)


def test_a_large_report_is_read_in_a_moment() -> None:
    results = [result(locations=[place(f"src/f{n % 500}.py", n % 2_000 + 1)]) for n in range(50_000)]
    report = json.dumps(sarif(run(*results))).encode()
    started = time.process_time()
    assert len(read(report).findings) == 2_000
    assert time.process_time() - started < 20


# --- anything at all ----------------------------------------------------------------------

WHOLE = sarif(
    run(
        result(
            level="error",
            rank=50.0,
            ruleIndex=0,
            rule={"id": "R1", "index": 0, "toolComponent": {"index": 0}},
            suppressions=[{"kind": "inSource", "status": "accepted"}],
            fixes=[fix(instead("x", startLine=1, startColumn=1, endLine=1, endColumn=3))],
            locations=[place(line=1, endLine=2, endColumn=4)],
            message={"text": "It {0}", "id": "m", "arguments": ["breaks"], "markdown": "It"},
            properties={"security-severity": "7.1", "tags": ["HIGH CONFIDENCE"]},
        ),
        rules=[
            {
                "id": "R1",
                "name": "r",
                "messageStrings": {"m": {"text": "m"}},
                "properties": {"precision": "low", "tags": ["x"]},
                "defaultConfiguration": {"level": "note"},
                "shortDescription": {"text": "s"},
            }
        ],
        artifacts=[{"location": {"uri": "src/a.py"}}],
        originalUriBaseIds={"SRC": {"uri": "file:///work/", "uriBaseId": "SRC"}},
        invocations=[{"executionSuccessful": True, "toolExecutionNotifications": [note("n", "warning", place())]}],
    )
)
ODD = ["../x", "%", "file:", "[", "\ud800", "", "-1", "none", "SRC"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [before] * bool(before) + [path for key in keys for path in paths(value[key], (*before, key))]


PATHS = paths(WHOLE)


def is_sound(said: SarifAnalysis) -> bool:
    for raw in said.findings:
        assert raw.rule.startswith("lint:")
        assert len(raw.rule) <= 130
        assert raw.file
        assert not raw.file.startswith(("/", "../"))
        assert 1 <= raw.line <= raw.end_line
        assert 0.0 <= raw.confidence <= 1.0
        assert 0 < len(raw.message) <= 300
        assert len(raw.suggestion.splitlines()) <= 4
        "".join((raw.rule, raw.file, raw.message, raw.suggestion)).encode()
    return all(isinstance(why, str) for why in said.unreadable.values())


@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PATHS), ANYTHING), min_size=1, max_size=4))
def test_whatever_stands_where_something_else_should_never_crashes(edits: list[tuple[tuple[Any, ...], Any]]) -> None:
    document: Any = copy.deepcopy(WHOLE)
    for path, value in edits:
        at_path = document
        try:
            for key in path[:-1]:
                at_path = at_path[key]
            at_path[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue
    with contextlib.suppress(AnalyserFailed):
        assert is_sound(read(document))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_whatever_bytes_there_are_never_crash(report: bytes) -> None:
    with pytest.raises(AnalyserFailed):
        read(report)


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=40))
def test_no_place_leads_out_of_the_tree(uri: str) -> None:
    assert is_sound(read(sarif(run(at(place(uri))))))


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.sampled_from("ab \n"), max_size=8),
    *(st.integers(-1, 6) for _ in range(4)),
)
def test_no_replacement_makes_up_lines(
    inserted: str, first: int, first_column: int, last: int, last_column: int
) -> None:
    region = {"startLine": first, "startColumn": first_column, "endLine": last, "endColumn": last_column}
    item = result(fixes=[fix(instead(inserted, **region))], locations=[place(line=1, endLine=2)])
    assert is_sound(read(sarif(run(item))))
