"""The notifier of a worker: local notices first, then every channel that hears, each for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from sdlc.config.notify import ChannelSettings, NotifySettings
from sdlc.errors import PermissionDenied, SdlcError, ServiceUnavailable
from sdlc.integrations.notify import routing
from sdlc.integrations.notify.ledger import Ledger, PerhapsSent, PerhapsTold
from sdlc.integrations.notify.local import LocalNotifier
from sdlc.integrations.notify.message import Message, message_of
from sdlc.integrations.ports import Notice
from sdlc.people import Known

LinkFor = Callable[[Notice, str], str]
"""The page of a notice's run; signed for a person who is named, else one that anybody may open who may sign in. Empty
where there is none."""


class NotAllTold(ServiceUnavailable):
    """Some channels have heard it, and others may yet."""


class Channel(Protocol):
    name: str

    async def send(self, message: Message) -> None: ...

    async def check(self) -> tuple[str, ...]: ...


class ChannelNotifier:
    """Tells through channels; nobody twice (`ledger` says how far that can be promised)."""

    def __init__(
        self,
        settings: NotifySettings,
        folder: Path,
        *,
        known: Sequence[Known] = (),
        groups: Mapping[str, Iterable[str]] | None = None,
        link_for: LinkFor = lambda notice, person: "",
        redact: Callable[[str], str] = lambda text: text,
    ) -> None:
        """`folder` keeps notices and ledger. ConfigurationError for a channel that can't be used, by its name."""
        self.known = known
        self._local = LocalNotifier(folder)
        self._ledger = Ledger(folder)
        self._link_for = link_for
        self._redact = redact
        self._seconds = settings.timeout_seconds
        self._channels: list[tuple[ChannelSettings, Channel]] = []
        for one in settings.channels:
            people = routing.expanded(one.people, groups or {}, one.name)
            self._channels.append((one.model_copy(update={"people": people}), opened(one)))

    async def notify(self, notice: Notice) -> None:
        """Local notice, then all channels that hear it at once.

        Raises ServiceUnavailable if one of them is to be tried again, else PermissionDenied if one is closed for good
        or PerhapsTold if nobody can know; the others have been told by then.
        """
        redact = self._redact
        notice = notice.model_copy(
            update={"title": redact(notice.title), "body": redact(notice.body), "url": redact(notice.url)}
        )
        await self._local.notify(notice)
        repository, people = notice.repository, notice.people
        words = (notice.run.workflow_id, notice.run.run_id, notice.event, notice.title)
        identity = (*words, notice.occasion) if notice.occasion else words
        told = []
        for settings, channel in self._channels:
            if routing.hears(settings, event=notice.event, repository=repository, people=people, known=self.known):
                reader = routing.only_reader(settings, people, self.known)
                page = self._link_for(notice, reader)
                message = message_of(notice, repository=repository, people=people, page=page, own=bool(reader))
                told.append(self._deliver(identity, channel, message))
        _raise(await _failures(told))

    async def post(self, identity: tuple[str, ...], make: Callable[[ChannelSettings], Message | None]) -> list[str]:
        """One message for each channel, made for it; None is nothing to say. The names of those that have it.

        Raises as `notify` does, and NotAllTold if one is to be tried again while another has heard it, or may have.
        """
        made = [(channel, make(settings)) for settings, channel in self._channels]
        wanted = [(channel, message) for channel, message in made if message is not None]
        failures = await _failures(self._deliver(identity, channel, message) for channel, message in wanted)
        unheard = [failure for failure in failures if not isinstance(failure, PerhapsSent | PerhapsTold)]
        _raise(failures, NotAllTold if len(unheard) < len(wanted) else ServiceUnavailable)
        return [channel.name for channel, _ in wanted]

    async def check(self) -> tuple[str, ...]:
        """What is wrong with the channels, in sentences for a person; nothing is sent."""
        return tuple(line for lines in await asyncio.gather(*map(self._checked, self._channels)) for line in lines)

    async def _checked(self, one: tuple[ChannelSettings, Channel]) -> tuple[str, ...]:
        _, channel = one
        try:
            async with asyncio.timeout(self._seconds):
                return await channel.check()
        except SdlcError as error:
            return (str(error),)
        except TimeoutError:
            return (f"The channel {channel.name} does not answer within {self._seconds:g} s.",)

    async def _deliver(self, identity: tuple[str, ...], channel: Channel, message: Message) -> None:
        async def send() -> None:
            try:
                async with asyncio.timeout(self._seconds):
                    await channel.send(message)
            except TimeoutError:
                raise PerhapsSent(f"The channel {channel.name} did not answer within {self._seconds:g} s.") from None

        await self._ledger.once(identity, channel.name, send)


def opened(settings: ChannelSettings) -> Channel:
    """Nothing is reached by this. ConfigurationError for one that can't be used, by its name."""
    if settings.slack_webhook is not None:
        from sdlc.integrations.notify.slack import SlackChannel

        return SlackChannel(settings.name, settings.address())
    from sdlc.integrations.notify.apprise_channels import AppriseChannel

    return AppriseChannel(settings.name, settings.address())


async def _failures(deliveries: Iterable[Coroutine[Any, Any, None]]) -> list[SdlcError]:
    """What went wrong, once every delivery has come to its end; errors that are not ours are raised."""
    failures = []
    for result in await asyncio.gather(*deliveries, return_exceptions=True):
        if isinstance(result, SdlcError):
            failures.append(result)
        elif isinstance(result, BaseException):
            raise result
    return failures


def _raise(failures: Sequence[SdlcError], later: type[ServiceUnavailable] = ServiceUnavailable) -> None:
    """What went wrong as one error: `later` if a retry may help one of them."""
    said = " ".join(str(failure) for failure in failures)
    if passing := [failure for failure in failures if isinstance(failure, ServiceUnavailable)]:
        delays = [failure.retry_after for failure in passing if failure.retry_after is not None]
        raise later(said, retry_after=max(delays, default=None))
    if failures:
        raise PerhapsTold(said) if all(isinstance(one, PerhapsTold) for one in failures) else PermissionDenied(said)
