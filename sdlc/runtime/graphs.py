"""The LangGraph plugin, which lets go of nothing that is open when its worker ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from langgraph.graph import StateGraph
from temporalio.langgraph import LangGraphPlugin
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    Worker,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)

Open = set[Coroutine[Any, Any, Any]]

_left: list[Coroutine[Any, Any, Any]] = []
"""Runs that were open when a worker ended."""


class Graphs(LangGraphPlugin):
    """Graphs by name for the workflows of one worker or Replayer, as their `graph(name)` finds them.

    Made anew for each: the plugin changes the graphs that it is given.

    Workflows that are open when a worker ends would be closed by the garbage collector, at any later moment and in
    any thread. The plugin's last act for a workflow is to forget the graphs of "the current run": outside of a
    workflow that is an error, printed with a traceback at every Ctrl-C; within one that belongs to the process's next
    worker it takes away the graphs of a run that goes on. LangGraph's generators have words of their own. So they are
    kept, as they are, for as long as the process lives, which is not long as a rule. Nothing is lost by it: the next
    worker replays each from its history.
    """

    def __init__(self, graphs: Mapping[str, StateGraph[Any, Any, Any, Any]]) -> None:
        super().__init__(graphs=dict(graphs))
        self._open: Open = set()
        inner = self.interceptors
        if callable(inner):  # pragma: no cover - the plugin gives a list
            raise TypeError("the LangGraph plugin's interceptors are not a list any more")
        self.interceptors = [_Outermost(self._open), *(inner or [])]

    async def run_worker(self, worker: Worker, next: Callable[[Worker], Awaitable[None]]) -> None:
        try:
            await super().run_worker(worker, next)
        finally:
            _left.extend(self._open)
            self._open.clear()


class _Outermost(Interceptor):
    def __init__(self, open_runs: Open) -> None:
        self._open = open_runs

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        open_runs = self._open

        class Inbound(WorkflowInboundInterceptor):
            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
                run = super().execute_workflow(input)
                open_runs.add(run)
                try:
                    return await run
                finally:
                    open_runs.discard(run)

        return Inbound
