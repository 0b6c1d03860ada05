"""`sdlc findings`: how a review looks at a terminal and in a pipe, and how the command gets at it."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from io import StringIO
from pathlib import Path
from typing import Any, Literal

import pytest
from rich.console import Console, RenderableType
from temporalio import workflow
from temporalio.client import Client
from temporalio.worker import Worker

from sdlc.cli.findings_view import findings_view, what_next
from sdlc.cli.output import PanelName
from sdlc.cli.reviews import show_reviews
from sdlc.config import Settings
from sdlc.domain import Finding, Panel, PanelReport, PanelState, Repeat, Severity, SourceReport, SourceState, Waiver
from sdlc.errors import RunNotFound, ServiceUnavailable
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.review_graphs.reviewed import Reviewed, Standing, reviewed
from sdlc.run_payloads import PanelReports
from sdlc.runtime.client import connect
from sdlc.runtime.run_reviews import reviews_of
from sdlc.runtime.runs import Runs
from sdlc.runtime.worker import workflow_runner
from tests.commands import Done, Process, sdlc
from tests.panel_reports import HOSTILE, a_document, a_finding, a_report, a_review, a_whole_review, dropped

ESCAPE = re.compile(r"\x1b\[[0-9;]*m")


def drawn(view: RenderableType, width: int = 80, *, colours: Literal["standard"] | None = None) -> str:
    """What a terminal shows."""
    text = StringIO()
    console = Console(file=text, width=width, force_terminal=True, color_system=colours, highlight=False)
    console.print(view)
    return text.getvalue()


def lines(view: RenderableType, width: int = 80) -> list[str]:
    return [ESCAPE.sub("", line).rstrip() for line in drawn(view, width).splitlines()]


def printed(reviews: Sequence[Reviewed], capsys: pytest.CaptureFixture[str], form: str = "text", **more: Any) -> str:
    show_reviews(reviews, form, **more)
    return capsys.readouterr().out


# --- at a terminal -----------------------------------------------------------------------------


def test_a_review_at_eighty_columns() -> None:
    assert lines(findings_view(a_whole_review())) == [
        "3 open findings: 1 blocker, 1 major, 1 info. Not complete: techstack.",
        "",
        "Security panel: 1 blocker, 1 info",
        "  blocker src/parcel/billing/invoice_store.py:41",
        "          SQL is put together from `name`, which comes from the request: whoever",
        "          sets it reads every row. Use a parameter.",
        "          Suggestion:",
        '            cursor.execute("select * from invoices where name = ?", (name,))',
        "          bandit:B608  5ec0000000000001",
        "",
        "  info    scripts/data.csv:1",
        "          The file can be executed now, and is no program; take the bit away.",
        "          Only 60% sure.",
        "          file-modes:now-executable  5ec0000000000002",
        "",
        "Quality panel: 1 major, 1 waived",
        "  major   src/parcel/totals.py:3-4",
        "          The last item is left out: an invoice of one item is 0.",
        "          Still open since an earlier round.",
        "          Suggestion:",
        "            for item in items:",
        "          lens:correctness/off-by-one  a1b2c3d4e5f60718",
        "",
        "Techstack panel: nothing found so far; not complete",
        "Architecture panel: nothing found",
        "",
        "What did not run, and why:",
        "  pip-audit (techstack): failed: no answer from the advisory service; run it",
        "  again",
        "  workflows, containers, licences, pins, versions, migrations and 2 more",
        "  (security, techstack, architecture): not run: nothing in the change for it to",
        "  look at",
        "  needless (techstack): not run: no model is set",
    ]


@pytest.mark.parametrize("width", [40, 80, 200])
def test_it_fits_the_terminal_and_loses_nothing(width: int) -> None:
    name = "a_long_name_that_has_no_place_to_break_" * 4
    finding = a_finding(file=f"src/{name}.py", rule=f"own:{name}", message=f"{name} is too long.")
    shown = lines(findings_view([*a_whole_review(), a_review(finding)], everything=True), width)
    assert max(map(len, shown)) <= width
    together = re.sub(r"\s", "", "".join(shown))
    for text in (finding.file, finding.rule, finding.message):
        assert text.replace(" ", "") in together


def test_with_all_every_finding_is_told_by_what_became_of_it() -> None:
    shown = "\n".join(lines(findings_view(a_whole_review(), everything=True), 200))
    for standing in Standing:
        assert standing is Standing.OPEN or f"{standing.heading} (1). {standing.meaning}" in shown
    assert "Why: `total` is set to 0 two lines above, so it is never unbound" in shown
    assert "Why: the security panel says it (5ec0000000000001)" in shown
    assert "Why: generated code, see PAR-7" in shown
    assert "Why: the error is logged by the caller" in shown
    assert "Why: the base has it already" not in shown  # its heading says it
    assert "migrations, contracts, layers (" in shown
    assert "Of what did run:\n  correctness (quality): 1 finding could not be challenged" in shown


def test_severities_have_their_colours() -> None:
    findings = [a_finding(severity=severity, fingerprint=severity.value) for severity in Severity]
    shown = drawn(findings_view([a_review(*findings)]), colours="standard")
    for style, severity in (("1;31", "blocker"), ("31", "major"), ("33", "minor"), ("2", "info")):
        assert f"\x1b[{style}m{severity}" in shown


def test_what_is_left_of_an_earlier_round_says_so() -> None:
    finding = a_finding(confidence=0.4)
    shown = lines(findings_view([reviewed(a_report(finding), a_document(finding, status="open", carried=True))]))
    assert "          Only 40% sure." in shown
    assert "          From an earlier round; nobody has looked again." in shown
    assert not any("Still open" in line for line in shown)


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_words_from_outside_do_nothing_to_a_terminal(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    finding = a_finding(rule=f"own:{HOSTILE}", message=HOSTILE, evidence=HOSTILE, suggestion=HOSTILE, file=HOSTILE)
    moved = finding.model_copy(update={"fingerprint": HOSTILE})
    sources = tuple(SourceReport(name=f"{state} {HOSTILE}", state=state, note=HOSTILE) for state in SourceState)
    report = a_report(finding, sources=sources, resolved=(moved,), state=PanelState.INCOMPLETE)
    report = report.model_copy(update={"repeats": (Repeat(finding=moved, of=HOSTILE, panel=Panel.SECURITY),)})
    left_out = (dropped("refuted", f"refuted: {HOSTILE}", HOSTILE, **finding.model_dump(mode="json")),)
    review = reviewed(report, a_document(finding, left_out=left_out), waived={"x": HOSTILE}, trouble=HOSTILE)
    shown = drawn(findings_view([review], everything=True)) + drawn(what_next([review], "BUG-1"))
    shown += printed([review], capsys, form, everything=True, key="BUG-1")
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u202e\u2066\u2028]", shown)
    assert "[2J" in shown or form == "markdown"  # the text is there, the escape is not


def test_what_can_be_done_next_is_said() -> None:
    assert lines(what_next(a_whole_review(), "BUG-1"), 300) == [
        "`sdlc findings BUG-1 --all` lists what is not open: 1 waived, 1 accepted by the baseline, 1 resolved, "
        "1 said by another panel, 1 refuted, 1 there before, 1 outside the change, 1 said twice, 1 over the bound, "
        "1 left out.",
        "`sdlc waive BUG-1 --finding FINGERPRINT -m WHY` lets a finding stand.",
    ]
    assert what_next([a_review()], "BUG-1").plain == ""


# --- in a pipe ---------------------------------------------------------------------------------


def test_in_a_pipe_a_finding_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(a_whole_review(), capsys, key="BUG-1")
    assert "\x1b" not in text
    (line,) = [line for line in text.splitlines() if "bandit:B608" in line]
    assert re.split(r"\s{2,}", line.strip()) == [
        "blocker",
        "src/parcel/billing/invoice_store.py:41",
        "bandit:B608",
        "5ec0000000000001",
        "SQL is put together from `name`, which comes from the request: whoever sets it reads every row. "
        "Use a parameter.",
    ]


def test_without_findings_it_is_said_who_did_not_look(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed([a_review()], capsys, key="BUG-1") == "No open findings.\n\nQuality panel: nothing found\n"
    failed = SourceReport(name="ruff", state=SourceState.FAILED, note="it crashed")
    assert printed([a_review(sources=(failed,), state=PanelState.INCOMPLETE)], capsys) == (
        "No open findings. Not complete: quality.\n\nQuality panel: nothing found so far; not complete\n\n"
        "What did not run, and why:\n  ruff (quality): failed: it crashed\n"
    )
    assert printed([], capsys) == "No panel has looked at the change yet.\n"


def test_each_form_is_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    reviews = a_whole_review()
    assert [item["panel"] for item in json.loads(printed(reviews, capsys, "json"))["panels"]] == [*Panel]
    assert len(json.loads(printed(reviews, capsys, "sarif"))["runs"]) == 4
    assert len(json.loads(printed(reviews, capsys, "sarif", one_run=True))["runs"]) == 1
    assert printed(reviews, capsys, "markdown").startswith("**Review of `cccccccccc`:** 3 open findings")


def test_lone_surrogates_can_be_printed(capsys: pytest.CaptureFixture[str]) -> None:
    review = a_review(a_finding(message="odd \udc80 name", evidence="\ud800"))
    for form in ("text", "json", "sarif", "markdown"):
        printed([review], capsys, form).encode("utf-8")
    assert json.loads(printed([review], capsys, "json"))["panels"][0]["findings"][0]["message"] == "odd \udc80 name"


def test_many_findings_are_shown_in_a_moment(capsys: pytest.CaptureFixture[str]) -> None:
    findings = [a_finding(fingerprint=str(number), line=number + 1, end_line=0 + number + 1) for number in range(2_000)]
    assert printed([a_review(*findings)], capsys).count("\n") > 2_000


# --- the command -------------------------------------------------------------------------------


def test_the_panels_of_the_option_are_those_there_are() -> None:
    assert [name.value for name in PanelName] == [panel.value for panel in Panel]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--panel", "taste"], "'taste' is not one of"),
        (["--format", "xml"], "'xml' is not one of"),
        (["--json", "--format", "sarif"], "--json is a form of its own"),
        (["--one-run"], "--one-run goes with --format sarif"),
    ],
)
def test_a_wrong_call_is_told_before_anything_is_asked(arguments: list[str], words: str) -> None:
    done = sdlc("findings", "BUG-1", *arguments)
    assert (done.code, done.out) == (2, "")
    assert words in done.last


@workflow.defn(name="ToldRun", sandboxed=False)
class ToldRun:
    """Answers as a run does, with what the test gives it."""

    @workflow.init
    def __init__(self, reports: PanelReports, open_now: list[Finding]) -> None:
        self.reports = reports
        self.open_now = open_now
        self.over = False

    @workflow.run
    async def run(self, reports: PanelReports, open_now: list[Finding]) -> None:
        await workflow.wait_condition(lambda: self.over)

    @workflow.signal
    def end(self) -> None:
        self.over = True

    @workflow.query
    def panel_reports(self) -> PanelReports:
        return self.reports

    @workflow.query
    def findings(self) -> list[Finding]:
        return self.open_now


@workflow.defn(name="OlderRun", sandboxed=False)
class OlderRun:
    """As a worker without the newer question has it."""

    @workflow.init
    def __init__(self, reports: PanelReports, open_now: list[Finding]) -> None:
        self.open_now = open_now

    @workflow.run
    async def run(self, reports: PanelReports, open_now: list[Finding]) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def findings(self) -> list[Finding]:
        return self.open_now


@workflow.defn(name="BrokenRun", sandboxed=False)
class BrokenRun:
    @workflow.run
    async def run(self, reports: PanelReports, open_now: list[Finding]) -> None:
        await workflow.wait_condition(lambda: False)

    @workflow.query
    def panel_reports(self) -> PanelReports:
        raise ValueError("a fault of ours")


@asynccontextmanager
async def told(
    settings: Settings,
    kind: type[Any],
    reports: Sequence[PanelReport] = (),
    open_now: Sequence[Finding] = (),
    waivers: Sequence[Waiver] = (),
) -> AsyncIterator[tuple[Client, str]]:
    """A run that tells this, and its key."""
    client = await connect(settings)
    key = f"TOLD-{uuid.uuid4().hex[:8]}"
    queue = settings.temporal.task_queue
    async with Worker(client, task_queue=queue, workflows=[kind], workflow_runner=workflow_runner()):
        handle = await client.start_workflow(
            kind.run,
            args=[PanelReports(reports=tuple(reports), waivers=tuple(waivers)), list(open_now)],
            id=f"sdlc-{key}",
            task_queue=queue,
        )
        yield client, key
        if (await handle.describe()).status.name == "RUNNING":
            await handle.terminate()


async def asked(settings: Settings, folder: Path, *arguments: str) -> Done:
    """The command as a process of its own, as a person gives it."""
    folder.mkdir(exist_ok=True)
    environment = {
        "TEMPORAL_ADDRESS": settings.temporal.address,
        "SDLC_DATA_DIR": str(settings.data_dir),
        "SDLC_CACHE_DIR": str(settings.cache_dir),
    }
    return await asyncio.to_thread(Process(folder, arguments, environment).ended)


async def test_a_run_is_asked_and_its_documents_are_read(temporal_settings: Settings, tmp_path: Path) -> None:
    settings = temporal_settings
    stays, waived = a_finding(evidence="for item in items[:-1]:"), a_finding(fingerprint="waived", line=9, end_line=9)
    left_out = (dropped("refuted", "refuted: it is set above", rule="lens:correctness/unbound", line=12),)
    kept = await ArtifactStore(settings.artifacts_dir).put(
        a_document(stays, waived, left_out=left_out), name="quality-report.json"
    )
    reports = [a_report(panel=Panel.SECURITY), a_report(stays, waived, report=kept)]
    waiver = Waiver(fingerprints=("waived", "panel:security@x"), reason="the caller checks", by="ada")
    async with told(settings, ToldRun, reports, waivers=(waiver,)) as (client, key):
        text = await asked(settings, tmp_path / "text", "findings", key)
        everything = await asked(settings, tmp_path / "all", "findings", key, "--all")
        listed = await asked(settings, tmp_path / "json", "findings", key, "--json")
        security = await asked(settings, tmp_path / "one", "findings", key, "--panel", "security", "--format", "json")
        await client.get_workflow_handle(f"sdlc-{key}").signal("end")
        await client.get_workflow_handle(f"sdlc-{key}").result()
        over = await asked(settings, tmp_path / "over", "findings", key, "--format", "markdown")
    assert text.code == everything.code == listed.code == over.code == 0, (text, everything, listed, over)
    assert text.out.startswith("1 open finding: 1 major.\n")
    assert f"`sdlc findings {key} --all` lists what is not open: 1 waived, 1 refuted." in text.out
    assert "Refuted (1). A model said it" in everything.out
    assert "Why: it is set above" in everything.out
    assert "Waived (1)." in everything.out
    assert "Why: the caller checks (ada)" in everything.out
    (item,) = listed.json
    assert (item["fingerprint"], item["evidence"]) == (stays.fingerprint, stays.evidence)
    assert [panel["panel"] for panel in security.json["panels"]] == ["security"]
    assert "for item in items[:-1]:" in over.out


async def test_on_another_machine_the_findings_are_shown_without_evidence(temporal_settings: Settings) -> None:
    elsewhere = ArtifactStore(temporal_settings.data_dir / "elsewhere")
    finding = a_finding(evidence="x = []")
    reports = [a_report(finding, report=await elsewhere.put(a_document(finding), name="quality-report.json"))]
    async with told(temporal_settings, ToldRun, reports, [finding]) as (client, key):
        (review,) = await reviews_of(Runs(client, task_queue=""), key, ArtifactStore(temporal_settings.artifacts_dir))
    assert [entry.evidence for entry in review.open] == [""]
    assert "`quality-report.json`" in review.trouble
    assert any(line.startswith("  Without evidence and what was left out:") for line in lines(findings_view([review])))


async def test_where_the_reports_are_too_large_to_be_had_elsewhere_the_findings_are_shown(
    temporal_settings: Settings, tmp_path: Path
) -> None:
    sources = tuple(SourceReport(name=f"check-{number}", note="x" * 200) for number in range(100))
    elsewhere = temporal_settings.model_copy(update={"data_dir": tmp_path / "elsewhere"})
    async with told(temporal_settings, ToldRun, [a_report(a_finding(), sources=sources)], [a_finding()]) as (_, key):
        done = await asked(elsewhere, tmp_path / "asked", "findings", key, "--panel", "quality")
    assert done.code == 0, done
    assert done.out.startswith("1 open finding: 1 major.\n")
    assert "A large payload of this run is not in" in done.out


async def test_an_older_worker_tells_the_open_findings(temporal_settings: Settings) -> None:
    security = a_finding(panel=Panel.SECURITY)
    async with told(temporal_settings, OlderRun, open_now=[security]) as (client, key):
        reviews = await reviews_of(Runs(client, task_queue=""), key, ArtifactStore(temporal_settings.artifacts_dir))
    assert {review.panel: len(review.open) for review in reviews} == {**dict.fromkeys(Panel, 0), Panel.SECURITY: 1}
    assert all("of an older version" in review.trouble for review in reviews)


async def test_a_run_that_fails_to_answer_is_not_taken_for_an_older_one(temporal_settings: Settings) -> None:
    async with told(temporal_settings, BrokenRun) as (client, key):
        runs = Runs(client, task_queue="")
        with pytest.raises(ServiceUnavailable, match="a fault of ours"):
            await runs.panel_reports(key)
        with pytest.raises(RunNotFound):
            await runs.panel_reports("NO-1")
