"""A workflow that runs all four panels at once, as steps 3 to 6 do."""

from __future__ import annotations

import asyncio
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from temporalio.langgraph import graph

    from sdlc.activities import panel_graph
    from sdlc.domain import Panel


@workflow.defn
class PanelsWorkflow:
    @workflow.run
    async def run(self, requests: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        async def one(panel: Panel) -> dict[str, Any]:
            state = await graph(panel_graph(panel)).compile().ainvoke({"request": requests[panel.value]})
            report: dict[str, Any] = state["report"]
            return report

        panels = [Panel(name) for name in requests]
        return {p.value: report for p, report in zip(panels, await asyncio.gather(*map(one, panels)), strict=True)}
