"""The worker: every workflow, activity and graph of the system on one task queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from temporalio.client import Client
from temporalio.worker import Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions

from sdlc import __version__
from sdlc.runtime.activity_failures import ActivityInterceptor
from sdlc.runtime.client import task_queue
from sdlc.runtime.redaction import Redactor

if TYPE_CHECKING:
    from sdlc.integrations.services import Services
    from sdlc.runtime.graphs import Graphs

CONCURRENT_ACTIVITIES = 20
"""Most activities wait for a model or a forge. Those that use a processor (tests, checks) come one to four at a time
per run, so on 2 cores this serves five runs at once before they slow each other down."""

GRACE = timedelta(seconds=10)
"""What runs at shutdown may finish within this; then it is cancelled, and tried again by the next worker."""

HEARTBEAT_AT_LEAST_EVERY = timedelta(seconds=2)
"""A cancellation reaches an activity with a heartbeat. By default the SDK holds heartbeats back for up to 80 % of
their time-out, and an engine would go on for a minute after somebody cancelled its run."""

_PASSED_THROUGH = ("sdlc", "pydantic", "pydantic_core", "annotated_types")
"""One copy of each class, so that `isinstance` holds across the sandbox, and no second import for each run.
Workflow code is kept deterministic by its layering (no integration can be imported) and by replay tests."""


def build_worker(
    client: Client,
    services: Services,
    *,
    identity: str | None = None,
    grace: timedelta = GRACE,
    concurrent_activities: int = CONCURRENT_ACTIVITIES,
) -> Worker:
    """A worker for the settings' task queue, not yet running.

    The client must come from `sdlc.runtime.client.connect`, for the data conversion.
    """
    return Worker(
        client,
        task_queue=task_queue(services.settings),
        identity=identity,
        workflows=workflows(),
        activities=activities(services),
        plugins=[langgraph_plugin(services)],
        interceptors=[ActivityInterceptor(Redactor.of(services.settings))],
        workflow_runner=workflow_runner(),
        build_id=f"sdlc-{__version__}",  # by default the SDK hashes the code of every module that is loaded
        max_concurrent_activities=concurrent_activities,
        graceful_shutdown_timeout=grace,
        max_heartbeat_throttle_interval=HEARTBEAT_AT_LEAST_EVERY,
        default_heartbeat_throttle_interval=HEARTBEAT_AT_LEAST_EVERY,
    )


def workflows() -> Sequence[type]:
    """The workflow classes, also for a Replayer."""
    from sdlc.alone import AloneWorkflow
    from sdlc.digest import DigestWorkflow
    from sdlc.intake import DeliveryWorkflow, PollWorkflow
    from sdlc.sub_issues import SubIssueWorkflow
    from sdlc.work_loop import WorkLoopWorkflow
    from sdlc.workflow import SdlcWorkflow

    return [
        SdlcWorkflow,
        WorkLoopWorkflow,
        SubIssueWorkflow,
        AloneWorkflow,
        DeliveryWorkflow,
        PollWorkflow,
        DigestWorkflow,
    ]


def workflow_runner() -> SandboxedWorkflowRunner:
    """The sandbox for workflow code; the LangGraph plugin passes its own modules through as well."""
    return SandboxedWorkflowRunner(restrictions=SandboxRestrictions.default.with_passthrough_modules(*_PASSED_THROUGH))


def activities(services: Services) -> list[Callable[..., Any]]:
    """The activities of all steps."""
    from sdlc.runtime.digest import DigestSteps
    from sdlc.runtime.intake import IntakeSteps
    from sdlc.steps.acceptance import AcceptanceSteps
    from sdlc.steps.approval import ApprovalSteps
    from sdlc.steps.brief import BriefSteps
    from sdlc.steps.close_story import CloseSteps
    from sdlc.steps.engine import EngineSteps
    from sdlc.steps.merging import MergingSteps
    from sdlc.steps.planning import PlanningSteps
    from sdlc.steps.pull_request import PullRequestSteps
    from sdlc.steps.select_task import SelectSteps
    from sdlc.steps.testing import TestingSteps

    found: list[Callable[..., Any]] = [*IntakeSteps(services).activities(), *DigestSteps(services).activities()]
    for steps in (
        SelectSteps(services),
        PlanningSteps(services),
        BriefSteps(services),
        EngineSteps(services, Redactor.of(services.settings)),
        MergingSteps(services),
        TestingSteps(services),
        AcceptanceSteps(services),
        PullRequestSteps(services),
        ApprovalSteps(services),
        CloseSteps(services),
    ):
        found.extend(steps.activities())
    return found


def langgraph_plugin(services: Services) -> Graphs:
    """The graphs of panels and coding agent as activities; on the worker alone, a client needs none of it."""
    from temporalio.langgraph import graph

    from sdlc.activities import AGENT_GRAPH
    from sdlc.domain import Panel
    from sdlc.engines.agent import build_agent_graph
    from sdlc.review_graphs.panel import build_panel_graphs
    from sdlc.runtime.graphs import Graphs

    graphs = {AGENT_GRAPH: build_agent_graph(services)}
    for panel in Panel:
        graphs |= build_panel_graphs(panel, services, graph)
    return Graphs(graphs)
