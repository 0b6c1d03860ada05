"""What the panels of a run have said, read back whole: from the run itself, and from its artifact folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sdlc.domain import Finding, Panel, PanelReport, PanelState
from sdlc.errors import PayloadMissing
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.review_graphs.reviewed import Reviewed, read_reviews, reviewed

if TYPE_CHECKING:
    from sdlc.runtime.runs import Runs

_OLDER = "the run's worker is of an older version and tells no more than the open findings"


async def reviews_of(runs: Runs, key: str, artifacts: ArtifactStore) -> tuple[Reviewed, ...]:
    """The reviews of a run as it stands, with evidence where this machine has the run's artifact folder."""
    try:
        told, trouble = await runs.panel_reports(key), _OLDER
    except PayloadMissing as error:  # the findings alone are small, and may be in the run's history
        told, trouble = None, str(error)
    if told is None:
        found = await runs.findings(key)
        return tuple(_by_itself(panel, found, trouble) for panel in Panel)
    waived = {name: f"{waiver.reason} ({waiver.by})" for waiver in told.waivers for name in waiver.fingerprints}
    return await read_reviews(artifacts, told.reports, waived=waived)


def _by_itself(panel: Panel, found: Sequence[Finding], trouble: str) -> Reviewed:
    mine = tuple(finding for finding in found if finding.panel is panel)
    state = PanelState.FINDINGS if mine else PanelState.CLEAN
    return reviewed(PanelReport(panel=panel, head_sha="", state=state, findings=mine), trouble=trouble)
