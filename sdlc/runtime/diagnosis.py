"""Faults of configuration and surroundings, found before a run meets them: questions only, nothing is changed.

`of_settings` is pure and looks at the settings alone; `diagnose` asks everything that they name, at once.
What is said may hold a service's own words, so secrets are taken out of all of it.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sdlc.errors import (
    ConfigurationError,
    EngineUnusable,
    ModelRefused,
    PermissionDenied,
    RepositoryInvalid,
    SandboxUnavailable,
    SdlcError,
    ServiceUnavailable,
    UsageError,
)
from sdlc.naming import counted
from sdlc.runtime.diagnosis_temporal import Check, temporal_checks
from sdlc.runtime.redaction import Redactor

if TYPE_CHECKING:
    from sdlc.config import Settings
    from sdlc.config.notify import ChannelSettings

SECONDS = 20.0
"""What one check may take."""
MOST_REPOSITORIES = 20
"""Of `intake.repositories` that are asked about."""
SHORTEST_SECRET = 16
"""Characters of a webhook's secret."""
LEAST_FREE = 1024**3
"""Bytes. Below it a clone or an environment fills the disk soon."""
OLDEST_GIT = (2, 38)
"""The first whose `merge-tree` writes a tree."""

_AT_ONCE = 4
_SERVICE_SECONDS = 10
"""Of one request: a thread that waits can't be stopped, and the command ends after it."""
_STATUSES = ("todo", "in_progress", "in_review", "done")
_SHOW = "`sdlc config show` shows what is in force."
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_SETTINGS = "configuration"
_DISPENSABLE = re.compile(
    r"^The permission (?:checks|actions|administration) |so any check of a head counts|shown as statuses|force pushes"
    r"|\"(?:Link Issues|Delete Own Comments)\""
)
"""In what tracker and forge say is missing: a run gets on without, and shows or sees less."""
_MENDS: tuple[tuple[type[SdlcError], str], ...] = (
    (RepositoryInvalid, "Correct the repository in intake.repositories, or what was given with --repo."),
    (ModelRefused, "Correct the key or the name of the model in the section llm."),
    (EngineUnusable, "`sdlc engines install NAME` fetches an engine; `sdlc engines` lists them."),
    (SandboxUnavailable, "Mend the sandbox, or choose another one with sandbox.kind."),
    (PermissionDenied, "Give our account or token that right; the tables of docs/integrations.md say what it is for."),
    (ConfigurationError, f"Correct it in sdlc.yaml or the environment; {_SHOW}"),
    (ServiceUnavailable, "See that the service is up and reached from here: address, proxy, certificates."),
)
"""By kind of error, the narrower ones first."""


async def diagnose(
    settings: Settings,
    *,
    model: Callable[[Settings], Awaitable[None]],
    engine: Callable[[Settings], None],
    repository: str = "",
) -> list[Check]:
    """All checks, in an order for reading; each takes at most 20 s. `repository`: asked about besides the configured.

    `model` and `engine` are what is looked at before a run as well; they raise SdlcError. Nothing is raised here:
    whatever goes wrong in a check is what it has found.
    """
    asked = _impatient(settings)
    _import_all(asked)
    groups = await asyncio.gather(
        _bounded("temporal", lambda: temporal_checks(asked)),
        _bounded("tracker", lambda: _tracker(asked)),
        _forge(asked, repository),
        _bounded("model", lambda: _model(asked, model)),
        _bounded("notifications", lambda: _notifications(asked)),
        _bounded("engine", lambda: _engine(asked, engine)),
        _bounded("sandbox", lambda: _sandbox(asked)),
        _bounded("git", _git),
        _bounded("disk", lambda: _disk(asked)),
        _bounded("analysers", _analysers),
    )
    found = [*of_settings(settings), *(check for group in groups for check in group)]
    redacted = Redactor.of(settings)
    return [
        replace(check, name=redacted(check.name), found=redacted(check.found), mend=redacted(check.mend))
        for check in found
    ]


# --- the settings alone -----------------------------------------------------------------------


def of_settings(settings: Settings) -> list[Check]:
    """What the settings say against each other; one `ok` where they agree. Pure, but for a look for the key file."""
    rules = (_of_jira, _of_github, _of_intake, _of_approvals, _of_people, _of_web, _of_notify)
    if troubles := [trouble for rule in rules for trouble in rule(settings)]:
        return troubles
    kinds = f"tracker {settings.tracker.kind}, forge {settings.forge.kind}, engine {settings.engine.name}"
    return [Check(_SETTINGS, "ok", f"The settings agree with each other: {kinds}.")]


def _fault(found: str, mend: str) -> Check:
    return Check(_SETTINGS, "fault", found, mend)


def _warning(found: str, mend: str) -> Check:
    return Check(_SETTINGS, "warning", found, mend)


def _of_jira(settings: Settings) -> Iterator[Check]:
    jira, host = settings.jira, urlsplit(settings.jira.url).hostname or ""
    if settings.tracker.kind != "jira":
        return
    if not jira.url:
        yield _fault("The tracker is Jira, and jira.url is not set.", "Set jira.url, or JIRA_URL.")
    if jira.token is None:
        yield _fault("The tracker is Jira, and jira.token is not set.", "Set JIRA_TOKEN, or jira.token.")
    if host.endswith(".atlassian.net") and not jira.email:
        mend = "Set jira.email; with an OAuth token set jira.url to https://api.atlassian.com/ex/jira/<cloud id>."
        yield _fault(f"{host} is Jira Cloud and takes API tokens with an e-mail only; jira.email is not set.", mend)
    if jira.verify is False:
        yield _warning("jira.verify is false: whoever is in between can read the token.", "Name a certificate file.")
    yield from _plain_http("jira.url", jira.url)
    known = ", ".join(_STATUSES)
    for name in ("statuses", "transitions", "transition_fields"):
        if wrong := sorted(set(getattr(jira, name)) - set(_STATUSES)):
            yield _fault(f"jira.{name} has {wrong[0]}, which is none of {known}.", f"Use {known} as keys.")


def _of_github(settings: Settings) -> Iterator[Check]:
    github = settings.github
    if "github" not in (settings.tracker.kind, settings.forge.kind):
        return
    if github.token is None and not github.app_id:
        yield _fault("GitHub is used, and there is no token.", "Set GITHUB_TOKEN, or github.app_id with its key.")
    if (file := github.private_key_file) is not None and not os.access(file, os.R_OK):
        yield _fault(f"The App's private key {file} can't be read.", "Correct github.private_key_file.")
    if settings.tracker.kind == "github" and not github.issues:
        yield _fault("The tracker is GitHub, and github.issues names no repository.", "Name them as owner/name.")
    yield from _plain_http("github.base_url", github.base_url)


def _plain_http(name: str, url: str) -> Iterator[Check]:
    parts = urlsplit(url)
    if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
        yield _warning(f"{name} is http: the token goes over the network in the clear.", "Use https.")


def _of_intake(settings: Settings) -> Iterator[Check]:
    routes, intake = settings.intake.repositories, settings.intake
    if settings.tracker.kind == "jira":
        if not routes:
            mend = "Add `intake.repositories: [{repository: owner/name}]`."
            yield _fault("Tickets come from Jira, and intake.repositories does not say for which repository.", mend)
        if not (intake.commanders or intake.commander_groups):
            mend = "Name people in intake.commanders, or groups in intake.commander_groups."
            yield _warning("`/sdlc` comments in Jira are nobody's: intake names no commanders.", mend)
        if routes and all(route.projects for route in routes):
            routed = {project.casefold() for route in routes for project in route.projects}
            for project in (one for one in settings.jira.projects if one.casefold() not in routed):
                yield _fault(f"No route of intake.repositories takes the project {project}.", "Add one for it.")
    if settings.tracker.kind == "github":
        for group in (one for one in intake.commander_groups if "/" not in one):
            yield _fault(f"`{group}` in intake.commander_groups is no team of GitHub.", "Write it as org/team.")
    catch_all = next((route for route in routes if not (route.projects or route.components or route.labels)), None)
    if catch_all is not None and catch_all is not routes[-1]:
        mend = "Put the route without projects, components and labels last."
        yield _warning(f"Routes below that of {catch_all.repository} are never reached: it takes all tickets.", mend)


def _of_approvals(settings: Settings) -> Iterator[Check]:
    """Of the general policy, and of each that differs from it."""
    from sdlc.config.approvals import expanded, policy_for

    ways = {"cli", "signal"}
    ways |= {"web"} if settings.web.sign_in.kind != "none" else set()  # there everybody may look alone
    ways |= {"forge"} if settings.forge.kind != "local" else set()
    ways |= {"tracker"} if settings.tracker.kind != "local" else set()
    general = settings.run.approval
    policies = [("run.approval", general)]
    for number, entry in enumerate(settings.approvals, start=1):
        name = f"approvals, entry {number} ({', '.join(entry.repositories) or 'for no repository'})"
        policies.append((name, policy_for("", general, [entry.model_copy(update={"repositories": ("*",)})])))
    for where, policy in policies:
        try:
            expanded(policy, settings.groups)
        except ConfigurationError as error:
            found, _, mend = str(error).rpartition("; ")
            yield _fault(f"{where}: {found}.", f"{mend[:1].upper()}{mend[1:]}")
        if policy.sources and not ways.intersection(policy.sources):
            named = ", ".join(policy.sources)
            mend = f"Add one of {', '.join(sorted(ways))}, or leave sources out."
            yield _warning(f"{where}: sources has {named} alone, from where no decision can come here.", mend)


def _of_people(settings: Settings) -> Iterator[Check]:
    people = settings.people
    try:
        approval = settings.run_policy().approval
    except ConfigurationError:  # which another rule tells
        approval = settings.run.approval
    approvers = {name.strip().casefold() for name in approval.approvers}
    if approvers and len(approvers) < approval.required:
        named = f"{counted(approval.required, 'approval')} are required and {len(approvers)} in run.approval.approvers"
        yield _fault(f"{named} may give one.", "Name more approvers, or require fewer.")
    if approval.allow_starter and (settings.forge.kind == "github" or approval.required > 1):
        mend = "Set run.approval.allow_starter to false, unless one person works alone."
        number = counted(approval.required, "approval")
        yield _warning(f"Of {number} that a run needs, one may be that of whoever started it.", mend)
    if (settings.tracker.kind, settings.forge.kind) == ("jira", "github") and not approval.allow_starter:
        unknown = ", ".join([person.name for person in people if not person.github][:5])
        who = f"people has no github login of {unknown}" if unknown else "" if people else "people is empty"
        if who:
            mend = "Add `people: [{name: …, jira: …, github: …}]` for whoever starts runs."
            yield _warning(f"{who}: a starter's own approval is told apart by name and e-mail alone.", mend)
    names = [{name.casefold() for name in (one.name, one.email, one.github, one.jira) if name} for one in people]
    for name, count in Counter(name for own in names for name in own).items():
        if count > 1:
            yield _fault(f"{name} stands in {count} entries of people, so they are taken for one.", "Correct people.")


def _of_web(settings: Settings) -> Iterator[Check]:
    if refusal := settings.web.refusal():
        yield _fault(*refusal)
    kinds = settings.tracker.kind, settings.forge.kind
    for name, secret in (("jira", settings.jira.webhook_secret), ("github", settings.github.webhook_secret)):
        if secret is not None and len(secret.get_secret_value()) < SHORTEST_SECRET:
            mend = "Make one with `openssl rand -hex 32`, and set it in the webhook too."
            yield _warning(f"{name}.webhook_secret is shorter than {SHORTEST_SECRET} characters.", mend)
        if name in kinds and secret is None and settings.web.host not in _LOOPBACK:
            mend = f"Set {name}.webhook_secret; or web.host to 127.0.0.1, where `sdlc serve --poll` is enough."
            yield _warning(f"web.host is open to others, and /webhooks/{name} takes nothing without a secret.", mend)


def _of_notify(settings: Settings) -> Iterator[Check]:
    channels = settings.notify.channels
    for channel in channels:
        if trouble := _unusable(settings, channel):
            yield _fault(f"notify.channels: {trouble}", "Correct it there, or in the environment; or take it out.")
    if channels and not settings.web.url:
        mend = "Set web.url to where browsers reach the pages."
        said = "lead to pages on this machine alone, and those of `sdlc worker` to none"
        yield _warning(f"web.url is not set: messages of notify.channels {said}.", mend)


def _unusable(settings: Settings, channel: ChannelSettings) -> str:
    """Why no worker starts with this channel; empty if one does."""
    from sdlc.integrations.notify.channels import opened
    from sdlc.integrations.notify.routing import expanded

    try:
        expanded(channel.people, settings.groups, channel.name)
        opened(channel)
    except ConfigurationError as error:
        return str(error)
    return ""


# --- what they name ---------------------------------------------------------------------------


async def _tracker(settings: Settings) -> list[Check]:
    from sdlc.integrations.answers import shown_url
    from sdlc.runtime.services import build_tracker

    missing = await build_tracker(settings).check()
    where = {
        "local": str(settings.tickets_dir),
        "jira": shown_url(settings.jira.url),
        "github": ", ".join(settings.github.issues),
    }
    kind = settings.tracker.kind
    return _of_sentences("tracker", missing, f"{kind}: {where[kind]} can be used.")


async def _forge(settings: Settings, repository: str) -> list[Check]:
    """First what holds for all repositories: a wrong token is one fault, not twenty."""
    from sdlc.runtime.services import build_forge

    configured = [route.repository for route in settings.intake.repositories]
    origins = list(dict.fromkeys(origin for origin in (repository, *configured) if origin))
    kind = settings.forge.kind
    where = {"local": str(settings.forge_dir), "github": settings.github.base_url}[kind]
    general: list[str] | None = None
    slots = asyncio.Semaphore(_AT_ONCE)

    async def account() -> list[Check]:
        nonlocal general
        general = list(await build_forge(settings).check())
        return _of_sentences("forge", general, f"{kind}: {where} can be used.")

    async def one(origin: str) -> list[Check]:
        async def look() -> list[Check]:
            missing = await build_forge(settings).check(origin)
            new = [sentence for sentence in missing if sentence not in (general or ())]
            return _of_sentences(f"forge {origin}", new, "The repository can be used.")

        async with slots:
            return await _bounded(f"forge {origin}", look)

    found = await _bounded("forge", account)
    if general is None:
        return found
    for group in await asyncio.gather(*(one(origin) for origin in origins[:MOST_REPOSITORIES])):
        found += group
    if len(origins) > MOST_REPOSITORIES:
        said = f"{MOST_REPOSITORIES} of {len(origins)} repositories were asked about; --repo asks about one more."
        found.append(Check("forge", "ok", said))
    return found


async def _model(settings: Settings, check: Callable[[Settings], Awaitable[None]]) -> list[Check]:
    await check(settings)
    names = dict.fromkeys(name for name in (settings.llm.coder, settings.llm.reviewer, settings.llm.name) if name)
    return [Check("model", "ok", f"The endpoint takes our requests; configured: {', '.join(names)}.")]


async def _notifications(settings: Settings) -> list[Check]:
    from sdlc.runtime.services import build_notifier

    channels = settings.notify.channels
    if not channels:
        return [Check("notifications", "ok", "No channel is configured; notices are kept in a file.")]
    # The others are faults of the settings alone, and must not keep these from being looked at.
    usable = tuple(channel for channel in channels if not _unusable(settings, channel))
    if not usable:
        return [Check("notifications", "warning", "No channel can be asked.", "First mend notify.channels.")]
    notify = settings.notify.model_copy(update={"channels": usable})
    mend = "See that the service is reached from here, or correct the address in notify.channels."
    if missing := await build_notifier(settings.model_copy(update={"notify": notify})).check():
        return [Check("notifications", "fault", one, mend) for one in missing]
    names = ", ".join(channel.name for channel in usable)
    return [Check("notifications", "ok", f"Nothing is wrong with {names} as far as can be told without sending.")]


async def _engine(settings: Settings, check: Callable[[Settings], None]) -> list[Check]:
    await asyncio.to_thread(check, settings)
    return [Check("engine", "ok", f"The engine {settings.engine.name} is there.")]


async def _sandbox(settings: Settings) -> list[Check]:
    from sdlc.integrations.sandbox import open_sandbox

    with tempfile.TemporaryDirectory(prefix="sdlc-doctor-", ignore_cleanup_errors=True) as folder:
        result = await open_sandbox(settings.sandbox).run(["true"], workspace=Path(folder), timeout=SECONDS / 2)
    kind = settings.sandbox.kind
    if result.exit_code:
        said = " ".join(result.output.split())[:200]
        mend = "Mend what it says, or choose another sandbox.kind."
        return [Check("sandbox", "fault", f"In {kind} even `true` ends with {result.exit_code}: {said}.", mend)]
    if kind == "none":
        mend = "Set sandbox.kind to bubblewrap, docker or podman."
        return [Check("sandbox", "warning", "Code of repositories runs without any protection.", mend)]
    return [Check("sandbox", "ok", f"A command runs in {kind}.")]


async def _git() -> list[Check]:
    from sdlc.integrations import process

    said = (await process.run(["git", "version"], timeout=SECONDS / 2)).stdout.decode("utf-8", "replace").strip()
    version = re.search(r"(\d+)\.(\d+)", said)
    oldest = ".".join(map(str, OLDEST_GIT))
    if version is None or (int(version[1]), int(version[2])) < OLDEST_GIT:
        return [Check("git", "fault", f"{said or 'git'} is too old.", f"Install git {oldest} or newer.")]
    return [Check("git", "ok", f"{said}.")]


async def _disk(settings: Settings) -> list[Check]:
    from sdlc.integrations.local_files import why_not_writable

    found = []
    for name, folder in (("data", settings.data_dir), ("cache", settings.cache_dir)):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        free = (await asyncio.to_thread(shutil.disk_usage, there)).free
        said = f"{folder} has {free / 1e9:.1f} GB free"
        if trouble := why_not_writable(folder):
            found.append(Check(f"{name} folder", "fault", trouble[0], f"Or set {name}_dir to another folder."))
        elif free < LEAST_FREE:
            found.append(Check(f"{name} folder", "fault", f"{said}.", f"Free space, or set {name}_dir elsewhere."))
        elif free < settings.sandbox.disk_bytes:
            may = f"{said}, and one command may write {settings.sandbox.disk_bytes / 1e9:.1f} GB"
            found.append(Check(f"{name} folder", "warning", f"{may}.", "Free space, or lower sandbox.disk_bytes."))
        else:
            found.append(Check(f"{name} folder", "ok", f"{said}."))
    return found


async def _analysers() -> list[Check]:
    from sdlc.review_graphs.panel import PANELS

    known = {analyser.name: analyser for panel in PANELS.values() for analyser in panel.analysers}
    if missing := [name for name, analyser in known.items() if not analyser.installed()]:
        mend = "Install vishkar-sdlc anew with all it depends on; panels say what did not run."
        return [Check("analysers", "warning", f"Not installed: {', '.join(missing)}.", mend)]
    return [Check("analysers", "ok", f"Installed: {', '.join(known)}.")]


# --- one check --------------------------------------------------------------------------------


async def _bounded(name: str, look: Callable[[], Awaitable[list[Check]]]) -> list[Check]:
    """What it finds within its time; a failure is a finding as well."""
    try:
        async with asyncio.timeout(SECONDS):
            return await look()
    except TimeoutError:
        return [Check(name, "fault", f"There was no answer within {SECONDS:.0f} s.", _mend(ServiceUnavailable("")))]
    except ServiceUnavailable as error:
        if error.retry_after is not None:  # a limit that passes by itself is no fault of the configuration
            return [Check(name, "warning", str(error), f"Ask again in {error.retry_after:.0f} s.")]
        return [Check(name, "fault", str(error), _mend(error))]
    except SdlcError as error:
        return [Check(name, "fault", str(error), _mend(error))]
    except Exception as error:  # the other checks have something to say all the same
        said = " ".join(str(error).split())[:200]
        found = f"The check itself failed ({type(error).__name__}{f': {said}' if said else ''})."
        return [Check(name, "fault", found, "This is a fault in sdlc; please report it.")]


def _of_sentences(name: str, missing: Sequence[str], good: str) -> list[Check]:
    """Each thing that is missing as a check of its own: a fault, or a warning where a run gets on without it."""
    found = [
        Check(name, "warning", one, "A run gets on without it; docs/integrations.md says with what loss.")
        if _DISPENSABLE.search(one)
        else Check(name, "fault", one, _mend(PermissionDenied("")))
        for one in missing
    ]
    return found or [Check(name, "ok", good)]


def _mend(error: SdlcError) -> str:
    found = next((mend for kind, mend in _MENDS if isinstance(error, kind)), "")
    return found or (_SHOW if isinstance(error, UsageError) else "Look at the service named there.")


def _import_all(settings: Settings) -> None:
    """Before the first time-out runs: on a busy machine imports take longer than Temporal may take to answer."""
    from sdlc.runtime.services import build_forge, build_tracker

    modules = ("sdlc.review_graphs.panel", "sdlc.runtime.client", "sdlc.integrations.sandbox")
    for module in (*modules, "sdlc.integrations.notify.channels"):
        importlib.import_module(module)
    for build in (build_tracker, build_forge):
        with suppress(SdlcError):  # which the check itself will tell
            build(settings)


def _impatient(settings: Settings) -> Settings:
    """With requests of Jira, GitHub and channels that end in time."""
    jira, github = settings.jira, settings.github
    jira = jira.model_copy(update={"read_seconds": min(jira.read_seconds, _SERVICE_SECONDS)})
    github = github.model_copy(update={"timeout_seconds": min(github.timeout_seconds, _SERVICE_SECONDS)})
    notify = settings.notify
    notify = notify.model_copy(update={"timeout_seconds": min(notify.timeout_seconds, _SERVICE_SECONDS)})
    return settings.model_copy(update={"jira": jira, "github": github, "notify": notify})
