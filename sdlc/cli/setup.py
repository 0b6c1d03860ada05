"""`sdlc setup`: a few questions, each answer tried at once, and a configuration file at the end."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from sdlc.cli.context import CONTEXT
from sdlc.cli.interrupts import wait_for

Kind = Literal["local", "jira", "github"]
ForgeKind = Literal["local", "github"]


def register(app: typer.Typer) -> None:
    app.command("setup")(setup)


def setup(
    tracker: Annotated[Kind | None, typer.Option(help="Where tickets are.")] = None,
    jira_url: Annotated[str, typer.Option(help="Such as https://acme.atlassian.net.")] = "",
    jira_email: Annotated[str, typer.Option(help="Of Jira Cloud's account; empty for Data Center.")] = "",
    jira_project: Annotated[
        list[str] | None, typer.Option(help="Key of a project; can be given more than once.")
    ] = None,
    forge: Annotated[ForgeKind | None, typer.Option(help="Where pull requests are.")] = None,
    github_url: Annotated[str, typer.Option(help="Of GitHub Enterprise; empty for github.com.")] = "",
    repo: Annotated[str, typer.Option("--repo", help="owner/name, address or path that tickets are about.")] = "",
    model: Annotated[str, typer.Option(help="The model's name as its endpoint knows it.")] = "",
    model_url: Annotated[str, typer.Option(help="An OpenAI-compatible endpoint; empty for OpenAI.")] = "",
    temporal: Annotated[str, typer.Option(help="host:port of a Temporal server; empty for the embedded one.")] = "",
    namespace: Annotated[str, typer.Option(help="On that server.")] = "",
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Ask nothing: options, variables and defaults answer.")
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --yes: replace the file if it is there.")
    ] = False,
    no_try: Annotated[bool, typer.Option("--no-try", help="Reach for nothing; write what was answered.")] = False,
) -> None:
    """Ask a few questions and write sdlc.yaml.

    Each answer is tried at once. Tokens and keys are never written: they are read from JIRA_TOKEN, GITHUB_TOKEN and
    OPENAI_API_KEY, and asked for only to try them. On a Temporal server of yours the search attributes are made.
    --config names another file than sdlc.yaml.
    """
    from sdlc.cli.setup_file import Draft
    from sdlc.cli.setup_wizard import Wizard

    given = {
        "tracker": tracker,
        "jira_url": jira_url,
        "jira_email": jira_email,
        "jira_projects": tuple(jira_project or ()),
        "forge": forge,
        "github_url": github_url,
        "repository": repo,
        "model": model,
        "model_url": model_url,
        "temporal": temporal,
        "namespace": namespace,
    }
    draft = Draft(**{name: value for name, value in given.items() if value})  # type: ignore[arg-type]
    wizard = Wizard(draft, ask=not yes, overwrite=overwrite, tries=not no_try, data_dir=CONTEXT.data_dir)
    wait_for(wizard.run(CONTEXT.config))
