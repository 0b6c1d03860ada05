"""The talk of `sdlc setup`: asks, tries, and writes at the end or not at all."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sdlc.cli.busy import busy
from sdlc.cli.configuration import load_settings
from sdlc.cli.context import say
from sdlc.cli.interrupts import Interrupted
from sdlc.cli.keyboard import ask, ask_secret
from sdlc.cli.preflight import check_model
from sdlc.cli.setup_file import SECRETS, Draft, has_secret, write
from sdlc.cli.view import plain
from sdlc.config import CONFIG_FILE, Settings
from sdlc.errors import ConfigurationError, FinalError, SdlcError, UsageError
from sdlc.runtime.client import configured_address, connect, ensure_search_attributes
from sdlc.runtime.diagnosis import of_settings
from sdlc.runtime.redaction import Redactor
from sdlc.runtime.server_binary import find_server_binary
from sdlc.runtime.services import build_forge, build_tracker

_AGAIN, _KEEP, _LEAVE = "again", "keep", "leave"

Try = Callable[[Settings], Awaitable[Sequence[str]]]
"""What is missing though it was reached, in sentences; raises SdlcError where nothing works."""


_BARE_ADDRESS = "An address must not hold a name or a password; leave them out, tokens are read from the environment."


class SetupFailed(FinalError):
    pass


class Wizard:
    def __init__(self, draft: Draft, *, ask: bool, overwrite: bool, tries: bool, data_dir: Path | None) -> None:
        self._draft = draft
        self._asks = ask
        self._overwrite = overwrite
        self._tries = tries
        self._overrides: dict[str, Any] = {"data_dir": data_dir} if data_dir is not None else {}
        """Tokens that were typed are in here, and nowhere else."""
        self._tried: set[str] = set()
        """Variables that are not asked for again."""

    async def run(self, file: Path | None) -> None:
        """Ask, try, write. UsageError where it can't ask or must not write; Interrupted leaves all as it was."""
        target = file or Path(CONFIG_FILE)
        if self._asks and not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise UsageError("Setup asks questions, and there is no terminal; give --yes and the answers as options.")
        try:
            if target.exists() and not self._overwrite:
                await self._ask_to_replace(target)
            for part in (self._tracker, self._forge, self._model, self._temporal):
                await part()
            text = self._draft.text()
            settings = self._settings()
        except (Interrupted, asyncio.CancelledError):
            say(f"\n{target} was not written.")
            raise
        write(target, text)
        self._tell(target, settings)

    async def _ask_to_replace(self, target: Path) -> None:
        if not self._asks:
            raise UsageError(f"{target} is there already; --overwrite replaces it, --config names another file.")
        if await self._one_of(f"{target} is there already. Replace it", ("no", "yes")) == "no":
            raise Interrupted

    # --- the parts ----------------------------------------------------------------------------

    async def _tracker(self) -> None:
        kinds = ("local", "jira", "github")
        say("1. Tickets: Markdown files in a folder (local), Jira, or issues of GitHub.")

        async def asked() -> None:
            now = self._draft
            self._have(tracker=await self._one_of("Tickets are in", kinds, now.tracker))
            if self._draft.tracker == "jira":
                url = await self._text("Jira's address", now.jira_url or os.environ.get("JIRA_URL", ""))
                email = now.jira_email or os.environ.get("JIRA_EMAIL", "")
                email = await self._text("E-mail of the account (Cloud; empty for Data Center)", email)
                projects = await self._text("Projects, by their keys (empty: all)", " ".join(now.jira_projects))
                self._have(jira_url=url, jira_email=email, jira_projects=_words(projects))
                await self._secret("JIRA_TOKEN")
            elif self._draft.tracker == "github":
                issues = await self._text(
                    "Repository of the issues, as owner/name", " ".join(now.issues) or now.repository
                )
                self._have(issues=_words(issues))
                await self._secret("GITHUB_TOKEN")

        async def tried(settings: Settings) -> Sequence[str]:
            return await build_tracker(settings).check()

        await self._until_good("The tracker", asked, tried)

    async def _forge(self) -> None:
        say("2. Pull requests: as files beside a bare repository (local), or on GitHub.")

        async def asked() -> None:
            now = self._draft
            usual = "github" if now.tracker == "github" else now.forge
            self._have(forge=await self._one_of("Pull requests are on", ("local", "github"), usual))
            # Jira does not say which repository a ticket is about; the files of the local tracker and GitHub do.
            usual = now.repository or (now.issues[0] if now.issues else "")
            if self._draft.forge == "github":
                usual = await self._text("Repository, as owner/name", usual)
                self._have(repository=usual)
                await self._secret("GITHUB_TOKEN")
            elif self._draft.tracker == "jira":
                self._have(repository=await self._text("Repository, as path or address", usual))

        async def tried(settings: Settings) -> Sequence[str]:
            forge = build_forge(settings)
            missing = list(await forge.check())
            routes = settings.intake.repositories
            return [*missing, *(await forge.check(routes[0].repository) if routes else ())]

        await self._until_good("The forge", asked, tried)

    async def _model(self) -> None:
        say("3. The model: any endpoint that speaks OpenAI's language.")

        async def asked() -> None:
            now = self._draft
            url = await self._text("Endpoint (empty: OpenAI)", now.model_url or os.environ.get("OPENAI_BASE_URL", ""))
            name = await self._text("Model", now.model or os.environ.get("SDLC_MODEL", ""))
            self._have(model_url=url, model=name)
            if name:
                await self._secret("OPENAI_API_KEY")

        async def tried(settings: Settings) -> Sequence[str]:
            await check_model(settings)
            return ()

        await self._until_good("The model", asked, tried)

    async def _temporal(self) -> None:
        say("4. Temporal: the embedded server of this machine, or one that is there.")

        async def asked() -> None:
            address = self._draft.temporal or configured_address(self._settings())
            address = await self._text("Server, as host:port (empty: the embedded one)", address)
            namespace = os.environ.get("TEMPORAL_NAMESPACE") or self._draft.namespace
            namespace = await self._text("Namespace", namespace) if address else namespace
            self._have(temporal=address, namespace=namespace)

        async def tried(settings: Settings) -> Sequence[str]:
            if not self._draft.temporal:
                there = find_server_binary(settings.cache_dir) is not None
                return (
                    () if there else ("The embedded server is fetched when `sdlc dev` is started for the first time.",)
                )
            client = await connect(settings)
            if await ensure_search_attributes(client):
                return ()
            return (
                "The search attributes could not be made there, so lists and filters show less: see `sdlc doctor`.",
            )

        await self._until_good("Temporal", asked, tried)

    # --- asking and trying --------------------------------------------------------------------

    async def _until_good(self, what: str, asked: Callable[[], Awaitable[None]], tried: Try) -> None:
        while True:
            await asked()
            if not self._tries:
                return
            try:
                settings = self._settings()
                async with busy(f"Trying it: {what.lower()}"):
                    missing = await tried(settings)
            except SdlcError as error:
                told = self._shown(str(error))
                if not self._asks:
                    raise SetupFailed(f"{what}: {told} Nothing was written; --no-try writes without a look.") from error
                say(f"✗ {told}")
                match await self._one_of("What now", (_AGAIN, _KEEP, _LEAVE), _AGAIN):
                    case "keep":
                        break
                    case "leave":
                        raise Interrupted from error
            else:
                for sentence in missing:
                    say(f"! {self._shown(sentence)}")
                say(f"✓ {what} works{', but for that' if missing else ''}.")
                break
        self._tried.update(self._typed())

    def _settings(self) -> Settings:
        """As the file will be read that is written of what is known until now. ConfigurationError."""
        with tempfile.TemporaryDirectory(prefix="sdlc-setup-") as folder:
            file = Path(folder) / CONFIG_FILE
            file.write_text(self._draft.text(), encoding="utf-8")
            try:
                return load_settings(file, self._overrides)
            except ConfigurationError as error:
                raise ConfigurationError(str(error).replace(f"{folder}/", "")) from error

    def _have(self, **values: Any) -> None:
        self._draft = replace(self._draft, **values)

    def _shown(self, text: str) -> str:
        try:
            return plain(Redactor.of(self._settings())(text))
        except ConfigurationError:
            return plain(text)

    async def _text(self, question: str, usual: str = "") -> str:
        if not self._asks:
            if has_secret(usual):
                raise UsageError(f"{question}: {_BARE_ADDRESS}")
            return usual
        shown = "" if has_secret(usual) else usual
        while True:
            answer = await ask(f"   {question}{f' [{shown}]' if shown else ''}")
            if answer is None:
                raise Interrupted
            if not has_secret(answer):
                return answer or shown
            say(f"   {_BARE_ADDRESS}")

    async def _one_of(self, question: str, choices: Sequence[str], usual: str = "") -> str:
        while True:
            answer = (await self._text(f"{question} ({', '.join(choices)})", usual or choices[0])).lower()
            found = [choice for choice in choices if choice.startswith(answer)]
            if len(found) == 1:
                return found[0]
            if not self._asks:
                raise UsageError(f"{question}: {answer} is none of {', '.join(choices)}.")
            say(f"   Please type one of {', '.join(choices)}; the first letter will do.")

    async def _secret(self, variable: str) -> None:
        """Ask for what the environment does not have, to try it; it is kept for this process alone."""
        section, key = SECRETS[variable]
        if not self._tries:
            return
        try:
            has = getattr(getattr(self._settings(), section), key) is not None
        except ConfigurationError:
            return  # which the try will tell
        typed_before = variable in self._typed()
        is_app = section == "github" and bool(os.environ.get("SDLC_GITHUB__APP_ID"))
        if is_app or (has and not typed_before) or (typed_before and variable in self._tried):
            return
        if not self._asks:
            if section == "llm":
                return  # an endpoint of one's own may take requests without
            raise SetupFailed(f"{variable} is not set; set it and repeat. Nothing was written.")
        how = "type it anew, or nothing for the same" if typed_before else "type it to try it (not kept), or nothing"
        typed = await ask_secret(f"   {variable} is not set; {how}")
        if typed is None:
            raise Interrupted
        if typed:
            self._overrides[section] = {**self._overrides.get(section, {}), key: typed}

    def _typed(self) -> list[str]:
        return [name for name, (section, key) in SECRETS.items() if key in self._overrides.get(section, {})]

    # --- the end ------------------------------------------------------------------------------

    def _tell(self, target: Path, settings: Settings) -> None:
        say(f"{target} is written.")
        if typed := self._typed():
            say(f"Set where `sdlc` runs, as it is in no file: {', '.join(typed)}.")
        for check in of_settings(settings):
            if check.state != "ok":
                say(f"! {self._shown(f'{check.found} {check.mend}')}")
        first = "`sdlc worker`" if self._draft.temporal else "`sdlc dev`"
        say(f"`sdlc doctor` looks at everything; {first} and then `sdlc next --start` begin with the work.")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())
