"""Reviews for the command line: those of a run, and how a review is printed in each of its forms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer
from rich.console import Group

from sdlc.cli.findings_view import findings_view, what_next
from sdlc.cli.reading import echo_json
from sdlc.cli.view import show
from sdlc.domain import Finding, Panel, PanelReport, PanelState
from sdlc.errors import PayloadMissing
from sdlc.integrations.artifacts import ArtifactStore
from sdlc.review_graphs import report_json, sarif
from sdlc.review_graphs.report_text import review_text
from sdlc.review_graphs.reviewed import Reviewed, read_reviews, reviewed

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.runtime.runs import Runs

_OLDER = "the run's worker is of an older version and tells no more than the open findings"


async def reviews_of(runs: Runs, key: str, settings: Settings) -> tuple[Reviewed, ...]:
    """The reviews of a run as it stands, with evidence where this machine has the run's artifact folder."""
    try:
        told, trouble = await runs.panel_reports(key), _OLDER
    except PayloadMissing as error:  # the findings alone are small, and may be in the run's history
        told, trouble = None, str(error)
    if told is None:
        found = await runs.findings(key)
        return tuple(_by_itself(panel, found, trouble) for panel in Panel)
    waived = {name: f"{waiver.reason} ({waiver.by})" for waiver in told.waivers for name in waiver.fingerprints}
    return await read_reviews(ArtifactStore(settings.artifacts_dir), told.reports, waived=waived)


def _by_itself(panel: Panel, found: Sequence[Finding], trouble: str) -> Reviewed:
    mine = tuple(finding for finding in found if finding.panel is panel)
    state = PanelState.FINDINGS if mine else PanelState.CLEAN
    return reviewed(PanelReport(panel=panel, head_sha="", state=state, findings=mine), trouble=trouble)


def show_reviews(
    reviews: Sequence[Reviewed], form: str, *, everything: bool = False, one_run: bool = False, key: str = ""
) -> None:
    """Print the reviews as `text`, `json`, `sarif` or `markdown`. With a run's `key` the text says what to do next."""
    match form:
        case "json":
            echo_json(report_json.whole(reviews, everything=everything), indent=2)
        case "sarif":
            echo_json((sarif.merged if one_run else sarif.export)(reviews), indent=2)
        case "markdown":
            typer.echo(review_text(reviews, everything=everything), nl=False)
        case _:
            show(findings_view(reviews, everything=everything))
            hints = what_next(reviews, key, everything=everything) if key else ""
            if hints:
                show(Group("", hints))
