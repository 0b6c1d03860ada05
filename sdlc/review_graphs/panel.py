"""The graph that all four panels share.

    collect ─┬─► analyser × n ────────────────┐
             ├─► checks, own analysers × n    ├─► merge ──► verdict (in the workflow)
             └─► concern × n: lens ─► verify × n ┘

Nodes are Temporal activities. A concern is one lens on one slice of the change, with the second look at each of its
findings: a graph of its own, run in the workflow, so that no lens waits for another or for an analyser. What passes
between nodes is JSON with references in it: the text of the change is read where it is needed, and never stands in a
history.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import operator
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any, TypedDict, TypeVar

from langgraph.graph import END, START, StateGraph
from langgraph.types import Send
from temporalio.common import RetryPolicy

from sdlc.activities import PanelRequest, concern_graph, panel_graph
from sdlc.domain import ArtifactRef, Finding, Panel, PanelReport, SourceReport, SourceState
from sdlc.errors import NON_RETRYABLE, WorldError
from sdlc.integrations.services import Services
from sdlc.review_graphs.analysis import AnalyserRun
from sdlc.review_graphs.architecture import ARCHITECTURE
from sdlc.review_graphs.challenge import Challenge, ChallengeAnswer, ChallengeCall, Challenged, to_challenge
from sdlc.review_graphs.checks_run import ChecksRun
from sdlc.review_graphs.collect import Collector
from sdlc.review_graphs.declaration import PanelDeclaration
from sdlc.review_graphs.findings import Dropped
from sdlc.review_graphs.lens import LensCall
from sdlc.review_graphs.merge import Found, merge, state_of
from sdlc.review_graphs.own_analysers import LONGEST_SECONDS, OwnAnalyserRun
from sdlc.review_graphs.quality import QUALITY
from sdlc.review_graphs.scope import Scope, ScopeRef, Task
from sdlc.review_graphs.security import SECURITY
from sdlc.review_graphs.techstack import TECHSTACK

PANELS: dict[Panel, PanelDeclaration] = {
    declaration.panel: declaration for declaration in (ARCHITECTURE, SECURITY, QUALITY, TECHSTACK)
}

T = TypeVar("T")

ATTEMPTS = 10
"""Of each node: with the pauses in between about half an hour of trouble, after which a person is asked."""
PAUSES = (0.0, 0.5, 5.0, 20.0, 30.0)
"""Seconds. How long an answer that is paid for is held when it can't be written down; in all, well within the grace."""
SHORT = timedelta(minutes=5)
"""For what only reads and writes: git objects and artifacts."""
MOST_SUMMARY = 180
"""Characters of what Temporal's UI shows beside an activity; it takes 200 bytes."""
UNWRITTEN = "its answer could not be kept in the artifact folder; look at its disk, then retry"
GRACE_SECONDS = 120
"""On top of what a program or a model may take itself: for the clone, the workspace and the artifacts."""


class PanelGraphState(TypedDict, total=False):
    request: dict[str, Any]
    """PanelRequest."""
    scope: dict[str, Any]
    """ScopeRef."""
    sources: Annotated[list[dict[str, Any]], operator.add]
    """SourceReport, one of each analyser and lens."""
    challenges: Annotated[list[dict[str, Any]], operator.add]
    """Challenge, one of each finding that was put to the test."""
    report: dict[str, Any]
    """PanelReport."""


class CollectInput(TypedDict):
    request: dict[str, Any]


class SourceInput(TypedDict):
    """What `Send` gives one analyser or lens. The task is part of it: the plugin takes equal inputs for one call."""

    task: dict[str, Any]
    scope: dict[str, Any]


class ConcernState(SourceInput, total=False):
    """The state of one lens on one slice."""

    sources: Annotated[list[dict[str, Any]], operator.add]
    open: list[str]
    """Fingerprints of the findings that need a second look."""
    challenges: Annotated[list[dict[str, Any]], operator.add]


class VerifyInput(SourceInput):
    fingerprint: str
    result: dict[str, Any]
    """ArtifactRef of what the lens handed in."""


class MergeInput(TypedDict):
    scope: dict[str, Any]
    sources: list[dict[str, Any]]
    challenges: list[dict[str, Any]]


class VerdictInput(TypedDict):
    request: dict[str, Any]
    report: dict[str, Any]


Graphs = Callable[[str], StateGraph[Any, Any, Any, Any]]
"""A graph by its name: the plugin's `graph` in a workflow, a plain look-up elsewhere."""


class PanelNodes:
    """The nodes of one panel's graph."""

    def __init__(self, panel: Panel, services: Services) -> None:
        self._services = services
        self._declaration = PANELS[panel]
        self._collector = Collector(services, self._declaration)

    async def collect(self, state: CollectInput) -> dict[str, Any]:
        """What changed and what has to be run; what need not run is reported at once."""
        started = time.time()
        request = PanelRequest.model_validate(state["request"])
        scope = await self._collector.scope(request)
        tasks, idle = self._collector.plan(scope)
        document = await self._services.artifacts.put(
            scope.model_dump_json(), name=f"{request.panel.value}-scope.json", media_type="application/json"
        )
        reference = ScopeRef(
            panel=request.panel,
            head_sha=request.change.head_sha,
            document=document,
            tasks=tuple(tasks),
            started=round(started, 3),
        )
        return {
            "scope": reference.model_dump(mode="json"),
            "sources": [source.model_dump(mode="json") for source in idle],
        }

    async def analyser(self, state: SourceInput) -> dict[str, Any]:
        """One analyser on head and base."""
        task, scope = await self._source(state)
        started = time.monotonic()
        found = await AnalyserRun(self._services, scope, self._declaration.analyser(task.name)).found()
        return await self._handed_in(found, started)

    async def checks(self, state: SourceInput) -> dict[str, Any]:
        """All checks of the panel, on head and base at once."""
        task, scope = await self._source(state)
        started = time.monotonic()
        chosen = [check for check in self._declaration.checks if check.name in task.names]
        found = await ChecksRun(self._services, scope, chosen).found()
        handed = [await self._handed_in(item, started) for item in found]
        return {"sources": [source for each in handed for source in each["sources"]]}

    async def own(self, state: SourceInput) -> dict[str, Any]:
        """An analyser that the repository brings, in the repository's own environment."""
        task, scope = await self._source(state)
        started = time.monotonic()
        run = OwnAnalyserRun(self._services, scope, task.name, scope.review.analysers[task.name])
        return await self._handed_in(await run.found(), started)

    async def lens(self, state: SourceInput) -> dict[str, Any]:
        """One question to a model about one slice of the change."""
        task, scope = await self._source(state)
        started = time.monotonic()
        found = await LensCall(self._services, scope, self._declaration.lens(task.name), task).found()
        verify = self._services.settings.panels.verify
        open_ones = [finding.fingerprint for finding in to_challenge(found.findings, scope)] if verify else []
        try:
            return {**await _written_down(lambda: self._handed_in(found, started)), "open": open_ones}
        except _Unwritten:
            lost = found.source.model_copy(
                update={"state": SourceState.FAILED, "note": UNWRITTEN, "found": 0, "dropped": 0}
            )
            return {**self._sources(lost, started), "open": []}

    async def verify(self, state: VerifyInput) -> dict[str, Any]:
        """The second look at one finding."""
        task, scope = await self._source(state)
        started = time.monotonic()
        document = json.loads(await self._services.artifacts.get(ArtifactRef.model_validate(state["result"])))
        findings = (Finding.model_validate(item) for item in document["findings"])
        finding = next(item for item in findings if item.fingerprint == state["fingerprint"])
        challenged = await ChallengeCall(self._services, scope, self._declaration.lens(task.name), finding).made()
        challenge = challenged.challenge
        if challenged.answer is not None:
            said = challenged.answer.model_dump_json()
            try:
                result = await _written_down(lambda: self._services.artifacts.put(said, name="challenge.json"))
                challenge = challenge.model_copy(update={"result": result})
            except _Unwritten:
                challenge = challenge.model_copy(update={"state": SourceState.FAILED, "note": UNWRITTEN})
        challenge = challenge.model_copy(update={"seconds": round(time.monotonic() - started, 3)})
        return {"challenges": [challenge.model_dump(mode="json")]}

    async def merge(self, state: MergeInput) -> dict[str, Any]:
        """The panel's report; its whole, with evidence and what was dropped, goes into an artifact."""
        reference = ScopeRef.model_validate(state["scope"])
        scope = await self._scope(reference.document)
        found = [await self._found(SourceReport.model_validate(source)) for source in state["sources"]]
        challenged = [await self._challenged(Challenge.model_validate(item)) for item in state.get("challenges", ())]
        most = self._services.settings.panels.max_model_findings
        # Sends end in any order; a report has the order of the declaration.
        found.sort(key=lambda item: self._order(item.source))
        report, document = merge(scope, found, challenged, most_model_findings=most)
        artifact = await self._services.artifacts.put(
            json.dumps(document, ensure_ascii=False),
            name=f"{reference.panel.value}-report.json",
            media_type="application/json",
        )
        seconds = round(max(time.time() - reference.started, 0.0), 3)
        report = report.model_copy(update={"report": artifact, "seconds": seconds})
        return {"report": report.model_dump(mode="json")}

    async def verdict(self, state: VerdictInput) -> dict[str, Any]:
        """In the workflow: the panel's word follows from the report by itself, so every replay says the same."""
        report = PanelReport.model_validate(state["report"])
        final = state_of(report.sources, report.findings, state["request"].get("waived") or ())
        return {"report": {**state["report"], "state": final.value}}

    async def _source(self, state: SourceInput) -> tuple[Task, Scope]:
        reference = ScopeRef.model_validate(state["scope"])
        return Task.model_validate(state["task"]), await self._scope(reference.document)

    async def _scope(self, document: ArtifactRef) -> Scope:
        return Scope.model_validate_json(await self._services.artifacts.get(document))

    async def _handed_in(self, found: Found, started: float) -> dict[str, Any]:
        document = {
            "source": found.source.name,
            "findings": [finding.model_dump(mode="json") for finding in found.findings],
            "dropped": [item.as_json() for item in found.dropped],
        }
        result = await self._services.artifacts.put(
            json.dumps(document, ensure_ascii=False), name=f"{found.source.name}.json", media_type="application/json"
        )
        return self._sources(found.source.model_copy(update={"result": result}), started)

    def _sources(self, source: SourceReport, started: float) -> dict[str, Any]:
        seconds = round(time.monotonic() - started, 3)
        return {"sources": [source.model_copy(update={"seconds": seconds}).model_dump(mode="json")]}

    async def _found(self, source: SourceReport) -> Found:
        if source.result is None:
            return Found(source)
        document = json.loads(await self._services.artifacts.get(source.result))
        return Found(
            source,
            tuple(Finding.model_validate(item) for item in document["findings"]),
            tuple(Dropped(item["finding"], item["reason"], item["kind"]) for item in document["dropped"]),
        )

    async def _challenged(self, challenge: Challenge) -> Challenged:
        if challenge.result is None:
            return Challenged(challenge)
        text = await self._services.artifacts.get(challenge.result)
        return Challenged(challenge, ChallengeAnswer.model_validate_json(text))

    def _order(self, source: SourceReport) -> tuple[int, str]:
        names = [item.name for item in self._declaration.analysers]
        names += [item.name for item in self._declaration.checks]
        names += [item.name for item in self._declaration.lenses]
        first = source.name.partition(" ")[0]
        return (names.index(first) if first in names else len(names), source.name)


async def _written_down(write: Callable[[], Awaitable[T]]) -> T:
    """The result of writing an answer that is paid for. Left to Temporal, a full disk would have the model asked, and
    paid, once more for each attempt. Raises _Unwritten when it could not be written for a minute.
    """
    for pause in PAUSES:
        await asyncio.sleep(pause)
        with contextlib.suppress(OSError, WorldError):
            return await write()
    raise _Unwritten


class _Unwritten(Exception):
    pass


async def sources_to_run(state: PanelGraphState) -> list[Send] | str:
    """Everything that has to be run, at once. Async, because a sync router is not run by the workflow's event loop."""
    reference = ScopeRef.model_validate(state["scope"])
    if not reference.tasks:
        return "merge"
    scope = reference.model_copy(update={"tasks": ()}).model_dump(mode="json")
    return [Send(task.kind, {"task": task.model_dump(mode="json"), "scope": scope}) for task in reference.tasks]


async def findings_to_verify(state: ConcernState) -> list[Send] | str:
    """Each finding of the lens that needs a second look, at once."""
    given = {"task": state["task"], "scope": state["scope"], "result": state["sources"][0]["result"]}
    return [Send("verify", {**given, "fingerprint": fingerprint}) for fingerprint in state["open"]] or END


def build_panel_graphs(panel: Panel, services: Services, graphs: Graphs) -> dict[str, StateGraph[Any, Any, Any, Any]]:
    """The graphs of one panel by name, to be registered together; `panel_graph(panel)` is the one to run.

    `graphs` finds them again by name at run time. Made anew for each plugin: registering takes the nodes' metadata out.
    """
    settings = services.settings
    analyser = timedelta(seconds=2 * 2 * settings.panels.analyser_seconds + GRACE_SECONDS)
    # A schema that the endpoint does not take, an answer, and its repair: three calls at the most.
    model = timedelta(seconds=3 * settings.llm.timeout_seconds + GRACE_SECONDS)
    nodes = PanelNodes(panel, services)

    async def concern(state: SourceInput) -> dict[str, Any]:
        """One lens with the second look at its findings."""
        ended = await graphs(concern_graph(panel)).compile().ainvoke({"task": state["task"], "scope": state["scope"]})
        return {"sources": ended["sources"], "challenges": ended.get("challenges", [])}

    whole: StateGraph[PanelGraphState] = StateGraph(PanelGraphState)
    whole.add_node(
        "collect", nodes.collect, input_schema=CollectInput, metadata=_activity(services, panel, SHORT, "collect")
    )
    whole.add_node("analyser", nodes.analyser, input_schema=SourceInput, metadata=_activity(services, panel, analyser))
    whole.add_node("checks", nodes.checks, input_schema=SourceInput, metadata=_activity(services, panel, analyser))
    own = timedelta(seconds=LONGEST_SECONDS + GRACE_SECONDS)
    whole.add_node("own", nodes.own, input_schema=SourceInput, metadata=_activity(services, panel, own))
    whole.add_node("concern", concern, input_schema=SourceInput, metadata={"execute_in": "workflow"})
    whole.add_node("merge", nodes.merge, input_schema=MergeInput, metadata=_activity(services, panel, SHORT, "merge"))
    whole.add_node("verdict", nodes.verdict, input_schema=VerdictInput, metadata={"execute_in": "workflow"})
    whole.add_edge(START, "collect")
    whole.add_conditional_edges("collect", sources_to_run, [*SOURCES, "merge"])
    for source in SOURCES:
        whole.add_edge(source, "merge")
    whole.add_edge("merge", "verdict")
    whole.add_edge("verdict", END)

    one: StateGraph[ConcernState] = StateGraph(ConcernState)
    one.add_node("lens", nodes.lens, input_schema=SourceInput, metadata=_activity(services, panel, model))
    one.add_node("verify", nodes.verify, input_schema=VerifyInput, metadata=_activity(services, panel, model, "verify"))
    one.add_edge(START, "lens")
    one.add_conditional_edges("lens", findings_to_verify, ["verify", END])
    one.add_edge("verify", END)
    return {panel_graph(panel): whole, concern_graph(panel): one}


SOURCES = ("analyser", "checks", "own", "concern")
"""The nodes that hand in reports of sources."""


def _activity(services: Services, panel: Panel, time_out: timedelta, node: str = "") -> dict[str, Any]:
    run = services.settings.run

    def summary(args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        task = args[0].get("task")
        parts = [panel.value, Task.model_validate(task).label if task else "", node]
        return " · ".join(part for part in parts if part)[:MOST_SUMMARY]

    return {
        "execute_in": "activity",
        "start_to_close_timeout": time_out,
        "heartbeat_timeout": timedelta(seconds=run.heartbeat_seconds),
        "retry_policy": RetryPolicy(
            initial_interval=timedelta(seconds=run.first_retry_seconds),
            maximum_interval=timedelta(seconds=max(run.first_retry_seconds, run.longest_retry_seconds)),
            maximum_attempts=ATTEMPTS,
            non_retryable_error_types=list(NON_RETRYABLE),
        ),
        "summary_fn": summary,
    }
