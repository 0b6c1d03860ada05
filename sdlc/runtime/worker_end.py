"""A worker that ends with open workflows in its cache should do so without a word."""

from __future__ import annotations

from typing import Any

from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
)


class QuietEnd(Interceptor):
    """Must stand before the LangGraph plugin's interceptor.

    Workflows that are open when a worker ends are closed by the garbage collector. The plugin then asks for
    the current workflow outside of one, and Python prints that error with a traceback on the console, at
    every Ctrl-C. Nothing is lost by it: the next worker replays the workflow from its history.
    """

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:
        return _Inbound


class _Inbound(WorkflowInboundInterceptor):
    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        try:
            return await super().execute_workflow(input)
        except Exception as error:
            if _while_closing(error):
                raise GeneratorExit from None
            raise


def _while_closing(error: BaseException) -> bool:
    context = error.__context__
    while context is not None:
        if isinstance(context, GeneratorExit):
            return True
        context = context.__context__
    return False
