"""The benchmark of the review panels: its cases, how they are read, and what counts as what."""

from __future__ import annotations

import ast
import json
import subprocess
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.review import __main__ as bench
from benchmarks.review import recorded
from benchmarks.review.case import CASES, STANDS_FOR, Case, CaseInvalid, Text, filled, load, read
from benchmarks.review.recorded import Conversation
from benchmarks.review.repository import change_of
from benchmarks.review.score import LEAST_RECALL, OVERALL, CaseScore, Outcome, numbers, score
from sdlc.demo.conversation import ChatRequest
from sdlc.domain import Finding, Panel, PanelReport, PanelState, Repeat, Severity, SourceReport, SourceState
from sdlc.errors import WorkspaceBroken

CODE = """\
 import os
-old = 1
+new = 2

+
+bad = os.environ
 last = 3
"""
BAD: dict[str, Any] = {
    "file": "app.py",
    "at": "bad = ",
    "panel": "quality",
    "also": ["security"],
    "severity": "minor",
    "findable": "analyser",
    "wrong": "It is bad, as its name says already.",
}


def case(group: str = "quality", **more: Any) -> Case:
    text = {"ticket": "APP-1 Do it", "change": {"app.py": CODE}, "defects": [BAD], **more}
    return Case(group, "example", Text.model_validate(text))


def clean(**more: Any) -> Case:
    return case("clean", defects=[], why="It is right.", **more)


def written(folder: Path, group: str = "quality", name: str = "example", **more: Any) -> Path:
    file = folder / group / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    text = {"ticket": "APP-1 Do it", "change": {"app.py": CODE}, "defects": [BAD], **more}
    file.write_text(yaml.safe_dump(text), encoding="utf-8")
    return file


def problems(folder: Path) -> str:
    with pytest.raises(CaseInvalid) as caught:
        load(folder, least={})
    return str(caught.value)


# --- the cases ----------------------------------------------------------------------------


def test_all_cases_are_valid_and_there_are_enough_of_each_kind() -> None:
    cases = load()
    groups = Counter(case.group for case in cases)
    assert len(cases) >= 96
    assert groups["clean"] >= 36
    assert all(groups[panel] >= 15 for panel in Panel)
    findable = Counter(defect.findable for case in cases for defect in case.text.defects)
    assert 0.55 <= findable["analyser"] / findable.total() <= 0.8


def test_enough_cases_have_recorded_answers_of_every_kind() -> None:
    cases = [case for case in load() if case.text.model]
    becomes = Counter(each.becomes for case in cases for each in case.text.model)
    assert len(cases) >= 30
    assert set(becomes) == {"kept", "refuted", "hallucinated", "repeats-analyser", "repeats-lens", "over-bound"}
    assert any(each.slice == 2 for case in cases for each in case.text.model)


def test_python_of_the_cases_can_be_read_unless_a_case_is_about_that() -> None:
    broken = set()
    for each in load():
        for path, entry in {**each.before, **{f"after {p}": e for p, e in each.after.items()}}.items():
            if path.endswith(".py"):
                try:
                    ast.parse(entry.content)
                except SyntaxError:
                    broken.add(each.title)
    assert broken == {"quality/marks-of-a-merge"}


def test_no_file_holds_a_secret_as_a_scanner_would_look_for_it() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in CASES.rglob("*.yaml"))
    for name in ("AWS_KEY_ID", "AWS_SECRET", "NPM_TOKEN", "PRIVATE_KEY_BEGIN"):
        assert f"{{{{{name}}}}}" in text
        assert STANDS_FOR[name] not in text


# --- reading ------------------------------------------------------------------------------


def test_a_marked_text_is_the_file_before_and_after() -> None:
    example = case()
    assert example.before["app.py"].content == "import os\nold = 1\n\nlast = 3\n"
    assert example.after["app.py"].content == "import os\nnew = 2\n\n\nbad = os.environ\nlast = 3\n"
    assert example.line_of("app.py", "bad = ") == 5


def test_files_come_go_stay_and_are_renamed() -> None:
    example = case(
        both={"README.md": "# App\n"},
        new={"new.py": "x = 1\n"},
        gone={"gone.py": "y = 1\n"},
        change={"now.py": " a = 1\n+b = 2\n"},
        renamed={"then.py": "now.py"},
    )
    assert set(example.before) == {"README.md", "gone.py", "then.py"}
    assert set(example.after) == {"README.md", "new.py", "now.py"}
    assert example.before["then.py"].content == "a = 1\n"


def test_a_file_whose_lines_are_all_new_or_all_gone_is_there_on_one_side_alone() -> None:
    example = case(change={"new.py": "+x = 1\n", "gone.py": "-x = 1\n"})
    assert (set(example.before), set(example.after)) == ({"gone.py"}, {"new.py"})


def test_line_ends_modes_and_links() -> None:
    example = case(crlf=["app.py"], modes={"app.py": "755"}, links={"here": "/there"})
    assert (example.before["app.py"].mode, example.after["app.py"].mode) == ("644", "755")
    assert example.before["app.py"].content.startswith("import os\r\nold = 1\r\n")
    assert (example.after["here"].content, example.after["here"].mode) == ("/there", "link")


def test_a_case_becomes_a_repository_with_two_commits(tmp_path: Path) -> None:
    example = case(
        both={"README.md": "# App\n"},
        gone={"old/gone.py": "x = 1\n"},
        change={"app.py": CODE, "b.py": " same = 1\n same = 2\n same = 3\n-old = 1\n+new = 1\n"},
        renamed={"a.py": "b.py"},
        modes={"app.py": "755"},
        links={"here": "/there"},
        crlf=["app.py"],
    )
    change = change_of(example, tmp_path / "repository")

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=tmp_path / "repository", check=True, capture_output=True, text=True
        ).stdout

    rows = git("diff", "--raw", "--find-renames", change.base_sha, change.head_sha).splitlines()
    modes = {row.split("\t", 1)[1]: (row[1:7], row[8:14], row.split()[4][0]) for row in rows}
    assert modes == {
        "app.py": ("100644", "100755", "M"),
        "a.py\tb.py": ("100644", "100644", "R"),
        "here": ("000000", "120000", "A"),
        "old/gone.py": ("100644", "000000", "D"),
    }
    blob = subprocess.run(
        ["git", "show", f"{change.head_sha}:app.py"], cwd=tmp_path / "repository", check=True, capture_output=True
    )
    assert blob.stdout.startswith(b"import os\r\nnew = 2\r\n")
    assert change.files_changed == 5


def test_placeholders_and_repetitions_are_filled() -> None:
    assert filled("key = {{AWS_KEY_ID}}") == "key = AKIA" + "Q3EGRIXVP7ZTL5MD"
    assert filled("${{ secrets.X }} {{ title }}") == "${{ secrets.X }} {{ title }}"
    assert filled("a\n+{{REPEAT 2}}\n+row {{N}}\n+{{END}}\nb\n") == "a\n+row 1\n+row 2\nb\n"
    with pytest.raises(CaseInvalid, match="NO_SUCH"):
        filled("{{NO_SUCH}}")


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"change": {"app.py": "import os\n"}}, "line 1: begins with none of"),
        ({"change": {"app.py": " import os\n"}, "defects": [{**BAD, "at": "import"}]}, "nothing changes"),
        ({"defects": [{**BAD, "at": "absent"}]}, "`absent` is in 0 lines of app.py"),
        ({"defects": [{**BAD, "at": "= "}]}, "`= ` is in 3 lines"),
        ({"defects": [{**BAD, "file": "no.py"}]}, "no.py is not there after the change"),
        ({"defects": [{**BAD, "at": "last = 3", "to": "bad = "}]}, "stands before"),
        ({"defects": [{**BAD, "at": "", "line": 99}]}, "has no line 99"),
        ({"defects": [{**BAD, "line": 1}]}, "give one of `at`, `line` and `anywhere`"),
        ({"defects": [{**BAD, "wrong": "bad"}]}, "at least 20 characters"),
        ({"defects": [{**BAD, "panel": "architecture"}]}, "no defect of its panel"),
        ({"defects": [{**BAD, "places": [{"file": "same.md", "line": 1}]}], "both": {"same.md": "x\n"}}, "not part of"),
        ({"defects": []}, "no defect of its panel"),
        ({"defect": []}, "Extra inputs"),
        (
            {"model": [{"panel": "quality", "file": "app.py", "rule": "r", "message": "m", "becomes": "kept"}]},
            "`m` stands nowhere",
        ),
    ],
)
def test_a_case_that_says_what_is_not_so_is_refused(tmp_path: Path, more: dict[str, Any], problem: str) -> None:
    written(tmp_path, **more)
    assert problem in problems(tmp_path)


def test_a_clean_case_says_why_and_has_no_defect(tmp_path: Path) -> None:
    written(tmp_path, "clean", defects=[])
    assert "says why it is right" in problems(tmp_path)
    written(tmp_path, "clean", why="It is right.")
    assert "has no defects" in problems(tmp_path)


def test_names_are_unique_folders_are_known_and_there_are_enough(tmp_path: Path) -> None:
    written(tmp_path)
    assert read(tmp_path / "quality/example.yaml").title == "quality/example"
    assert [item.title for item in load(tmp_path, least={"quality": 1})] == ["quality/example"]
    written(tmp_path, "nonsense")
    said = problems(tmp_path)
    assert "there is no panel nonsense" in said
    assert "example: there is more than one case of this name" in said
    with pytest.raises(CaseInvalid, match="security: 0 cases, and 15 are due"):
        load(tmp_path, least={"security": 15})


def test_what_is_no_yaml_is_named(tmp_path: Path) -> None:
    written(tmp_path).write_text("ticket: [", encoding="utf-8")
    assert "quality/example" in problems(tmp_path)


# --- scoring ------------------------------------------------------------------------------


def found(line: int = 5, panel: Panel = Panel.QUALITY, rule: str = "ruff:X1", **more: Any) -> Finding:
    given: dict[str, Any] = {"file": "app.py", "severity": Severity.MINOR, "message": "m", **more}
    return Finding(panel=panel, rule=rule, line=line, end_line=line, fingerprint=f"{rule}{line}", **given)


def reports(*findings: Finding, state: PanelState = PanelState.FINDINGS) -> list[PanelReport]:
    return [
        PanelReport(
            panel=panel,
            head_sha="h",
            state=state,
            findings=tuple(finding for finding in findings if finding.panel is panel),
            sources=(SourceReport(name="ruff", state=SourceState.FAILED, note="it broke"),),
        )
        for panel in Panel
    ]


def outcomes(result: CaseScore) -> list[Outcome]:
    return [item.outcome for item in result.judged]


@pytest.mark.parametrize(
    ("finding", "outcome"),
    [
        (found(5), Outcome.RIGHT),
        (found(2), Outcome.RIGHT),
        (found(8), Outcome.RIGHT),
        (found(1), Outcome.FALSE),
        (found(9), Outcome.FALSE),
        (found(5, file="other.py"), Outcome.FALSE),
        (found(5, Panel.SECURITY), Outcome.RIGHT),
        (found(5, Panel.TECHSTACK), Outcome.OTHER_PANEL),
        (found(5, severity=Severity.BLOCKER), Outcome.RIGHT),
        (found(5, severity=Severity.INFO), Outcome.TOO_MILD),
    ],
)
def test_what_a_finding_is(finding: Finding, outcome: Outcome) -> None:
    result = score(case(), reports(finding))
    assert outcomes(result) == [outcome]
    assert len(result.missed) == (0 if outcome is Outcome.RIGHT else 1)


def test_a_finding_of_any_weight_on_a_clean_change_is_noise() -> None:
    result = score(clean(), reports(found(severity=Severity.INFO)))
    assert outcomes(result) == [Outcome.FALSE]
    assert numbers([result])[-1].per_clean_change == 1.0


def test_a_defect_counts_once_and_for_the_panel_that_it_is_of() -> None:
    result = score(case(), reports(found(5, Panel.SECURITY), found(6), found(5)))
    assert Counter(outcomes(result)) == {Outcome.RIGHT: 1, Outcome.REPEATED: 2}
    (right,) = (item for item in result.judged if item.outcome is Outcome.RIGHT)
    assert (right.finding.panel, right.finding.line) == (Panel.QUALITY, 5)


def test_what_is_folded_into_another_panels_finding_is_not_noise() -> None:
    folded = [
        report.model_copy(update={"repeats": (Repeat(finding=found(5, Panel.SECURITY), of="x", panel=Panel.QUALITY),)})
        for report in reports(found(5))
    ]
    assert outcomes(score(case(), folded)) == [Outcome.RIGHT]


def test_two_defects_side_by_side_are_two() -> None:
    other = {**BAD, "at": "new = 2", "wrong": "It is new, and nobody has asked for it."}
    result = score(case(defects=[BAD, other]), reports(found(5), found(2)))
    assert outcomes(result) == [Outcome.RIGHT, Outcome.RIGHT]
    assert score(case(defects=[BAD, other]), reports(found(5))).missed[0].at == "new = 2"


def test_a_label_can_ask_for_rules_and_give_other_places() -> None:
    example = case(
        defects=[{**BAD, "rules": ["^ruff:X", "^mypy:"], "places": [{"file": "new.py", "anywhere": True}]}],
        new={"new.py": "x = 1\n" * 40},
    )
    assert outcomes(score(example, reports(found(5, rule="ruff:F1")))) == [Outcome.FALSE]
    assert outcomes(score(example, reports(found(33, file="new.py")))) == [Outcome.RIGHT]


def test_a_tolerance_of_none_holds_findings_to_the_line() -> None:
    example = case(defects=[{**BAD, "tolerance": 0}])
    assert outcomes(score(example, reports(found(6)))) == [Outcome.FALSE]


def test_a_panel_that_did_not_look_is_a_problem_and_one_that_hides_it_too() -> None:
    (first, *_) = score(case(), reports(state=PanelState.INCOMPLETE)).problems
    assert "architecture could not look at everything (ruff: it broke)" in first
    assert not score(case(incomplete=list(Panel)), reports(state=PanelState.INCOMPLETE)).problems
    assert "does not say so" in score(case(incomplete=["quality"]), reports()).problems[0]


def test_numbers_are_counted_per_panel_and_for_all() -> None:
    by_model = case(defects=[{**BAD, "findable": "model"}])
    scores = [
        score(case(), reports(found(5), found(20))),
        score(case(), reports()),
        score(by_model, reports(found(5))),
        score(clean(), reports(found(5, Panel.SECURITY))),
        score(clean(), reports()),
    ]
    rows = {row.name: row for row in numbers(scores)}
    quality, security, overall = rows["quality"], rows["security"], rows[OVERALL]
    assert (quality.planted, quality.found, quality.findings, quality.right) == (2, 1, 3, 2)
    assert (quality.recall, round(quality.precision, 2), quality.per_clean_change) == (0.5, 0.67, 0.0)
    assert (security.planted, security.precision, security.per_clean_change) == (0, 0.0, 0.5)
    assert (overall.planted, overall.findings, overall.right, overall.on_clean) == (2, 4, 2, 1)
    assert {row.name: row.planted for row in numbers(scores, with_model=True)}[OVERALL] == 3


def test_what_is_good() -> None:
    def row(scores: Sequence[CaseScore]) -> bool:
        return numbers(scores)[-1].is_good

    hit, miss, noisy = (
        score(case(), reports(found(5))),
        score(case(), reports()),
        score(clean(), reports(found(5))),
    )
    quiet = score(clean(), reports())
    assert row([hit, quiet])
    assert row([*[hit] * 4, miss])
    assert LEAST_RECALL == 0.8
    assert not row([*[hit] * 3, miss])
    assert row([*[hit] * 30, *[quiet] * 9, noisy])
    assert not row([*[hit] * 30, *[quiet] * 8, noisy])
    assert not row([*[hit] * 10, *[quiet] * 9, noisy])


# --- recorded answers ---------------------------------------------------------------------

SAID = {"panel": "quality", "file": "app.py", "at": "bad = ", "rule": "bad", "message": "It is bad.", "becomes": "kept"}


def asked(system: str, user: str) -> ChatRequest:
    return ChatRequest({"messages": [{"role": "system", "content": system}, {"role": "user", "content": user}]})


def test_a_recorded_finding_is_said_to_the_lens_that_is_shown_its_line() -> None:
    made_up = {**SAID, "at": "", "line": 99, "message": "It is made up.", "becomes": "hallucinated"}
    conversation = Conversation(case(model=[SAID, made_up]))
    lens = "You are the quality panel of a code review. Lens: {}."
    hunk = "This is part 2 of 2 of the change\n--- a/app.py\n+++ b/app.py\n@@ -4,0 +5,1 @@\n+bad = os.environ\n"

    def answered(name: str, user: str) -> list[str]:
        reply = conversation.script().answer(asked(lens.format(name), user))
        return [finding["message"] for finding in json.loads(reply.content)["findings"]]

    assert answered("correctness", hunk) == ["It is bad."]
    assert answered("readability", hunk) == []
    assert answered("correctness", "This is part 1 of 2 of the change") == ["It is made up."]
    assert (conversation.said, conversation.slices) == ({0: {2}, 1: {1}}, 2)


def test_the_second_look_refutes_what_is_recorded_so_and_makes_nothing_up() -> None:
    conversation = Conversation(case(model=[SAID, {**SAID, "message": "It is worse.", "becomes": "refuted"}]))
    verify = "You are the quality panel of a code review. Verify one finding of the lens correctness."

    def refuted(user: str) -> bool:
        return bool(json.loads(conversation.script().answer(asked(verify, user)).content)["refuted"])

    assert not refuted("app.py:5\nIt is bad.")
    assert refuted("app.py:5\nIt is worse.")
    with pytest.raises(LookupError, match="no recorded finding"):
        refuted("app.py:5\nIt is something else.")


# --- all of it ----------------------------------------------------------------------------


def test_the_panels_are_run_on_cases_and_what_they_find_is_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "result.json"
    chosen = ["--only", "list-shared-by-calls", "--only", "types-alone"]
    assert bench.main([*chosen, "--without-model", "--verbose", "--json", str(file)]) == 0
    said = capsys.readouterr().out
    assert "Without a model: 2 changes" in said
    assert "right  quality/major  ruff:B006  menu/dish.py:1" in said
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["numbers"][-1]["recall"] == 1.0
    assert [item["case"] for item in document["cases"]] == ["clean/types-alone", "quality/list-shared-by-calls"]


def test_what_the_recorded_model_says_goes_all_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--only", "quality/page-too-early", "--only", "clean/random-for-jitter"]
    assert bench.main([*chosen, "--with-model"]) == 0
    said = capsys.readouterr().out
    assert "The plumbing, not the quality of a model" in said
    for line in ("kept: 1 of 1", "repeats-lens: 1 of 1", "refuted: 1 of 1", "hallucinated: 1 of 1"):
        assert line in said


def test_a_bound_that_is_not_met_or_an_end_that_is_not_due_ends_with_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong_end = {**SAID, "becomes": "over-bound"}
    monkeypatch.setattr(bench, "load", lambda: (case(model=[wrong_end]),))
    assert bench.main(["--without-model", "--verbose"]) == 1
    assert "Missed: 1" in capsys.readouterr().out
    assert bench.main(["--with-model"]) == 1
    assert "`It is bad.` is due to be over-bound: kept" in capsys.readouterr().out


def test_a_review_that_fails_is_told_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: object) -> Any:
        raise WorkspaceBroken("The clone is damaged.")

    monkeypatch.setattr(bench, "load", lambda: (case(model=[SAID]), clean()))
    for module in (bench, recorded):
        monkeypatch.setattr(module, "reviewed", broken)
    assert bench.main([]) == 1
    said = capsys.readouterr().out
    assert "quality/example: the review failed: The clone is damaged." in said
    assert "`It is bad.` is due to be kept: the review failed" in said


def test_a_name_that_no_case_has_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        bench.main(["--only", "no-such-case"])
    assert "there is no such case" in capsys.readouterr().err
