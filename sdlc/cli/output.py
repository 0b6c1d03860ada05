"""How commands print results, and the arguments that many of them share."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sdlc.cli.context import CONTEXT

if TYPE_CHECKING:
    from pydantic import BaseModel


def about(key: str | None) -> str | None:
    """Remember which run a command is about, for a did-you-mean where there is none of that key."""
    CONTEXT.key = key or ""
    return key


Key = Annotated[str, typer.Argument(help="The ticket's key, such as BUG-1.", callback=about)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
By = Annotated[str, typer.Option("--by", help="Who says it; default: you.", show_default=False)]
Format = Literal["text", "json", "sarif", "markdown"]


class PanelName(StrEnum):
    """`sdlc.domain.Panel`, without what `--help` would have to import for it."""

    ARCHITECTURE = "architecture"
    SECURITY = "security"
    QUALITY = "quality"
    TECHSTACK = "techstack"


def print_json(value: BaseModel | list[Any] | dict[str, Any]) -> None:
    """One line of JSON on standard output."""
    from pydantic_core import to_jsonable_python

    echo_json(to_jsonable_python(value))


def echo_json(document: Any, *, indent: int | None = None) -> None:
    """JSON on standard output. A lone surrogate, which no output takes, becomes an escape of JSON's own."""
    text = json.dumps(document, ensure_ascii=False, indent=indent)
    typer.echo(text.encode("utf-8", "backslashreplace").decode("utf-8"))
