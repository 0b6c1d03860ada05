"""The panels as a tool of their own: the same graphs, run by LangGraph itself, without Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from langgraph.graph import StateGraph

from sdlc.activities import PanelRequest, panel_graph
from sdlc.domain import ChangeSet, Panel, PanelReport, RunIdentity, Ticket
from sdlc.integrations.services import Services
from sdlc.repeats import without_repeats
from sdlc.review_graphs.panel import build_panel_graphs

_NO_RUN = RunIdentity(workflow_id="", run_id="", ticket_key="")


def request_of(change: ChangeSet, ticket: Ticket, panel: Panel) -> PanelRequest:
    """What a panel's graph starts from where there is no run."""
    return PanelRequest(run=_NO_RUN, panel=panel, change=change, ticket=ticket)


async def review(
    services: Services,
    change: ChangeSet,
    ticket: Ticket,
    *,
    panels: Sequence[Panel] = tuple(Panel),
    waived: Sequence[str] = (),
    earlier: Sequence[PanelReport] = (),
) -> tuple[PanelReport, ...]:
    """The reports of the panels on a change, in their order; all panels at once. `earlier`: of the round before.

    Of the services only workspaces, sandbox, environments, artifacts, models and settings are used. A node that
    fails is not tried again; raises WorldError or SdlcError as the node does.
    """

    async def one(panel: Panel) -> PanelReport:
        request = request_of(change, ticket, panel).model_copy(
            update={"waived": tuple(waived), "earlier": before.get(panel)}
        )
        graphs: dict[str, StateGraph[Any, Any, Any, Any]] = {}
        graphs |= build_panel_graphs(panel, services, graphs.__getitem__)
        state = await graphs[panel_graph(panel)].compile().ainvoke({"request": request.model_dump(mode="json")})
        return PanelReport.model_validate(state["report"])

    before = {report.panel: report for report in earlier}
    return without_repeats(await asyncio.gather(*(one(panel) for panel in panels)))
