"""How reviews are printed, in each of their forms."""

from __future__ import annotations

from collections.abc import Sequence

import typer
from rich.console import Group

from sdlc.cli.findings_view import findings_view, what_next
from sdlc.cli.output import echo_json
from sdlc.cli.view import show
from sdlc.review_graphs import report_json, sarif
from sdlc.review_graphs.report_text import review_text
from sdlc.review_graphs.reviewed import Reviewed


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
