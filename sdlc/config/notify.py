"""Who is told what, where: channels beside the local notices, and the daily digest."""

from __future__ import annotations

import os
import re
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator

from sdlc.config.section import Section
from sdlc.errors import ConfigurationError

Event = Literal[
    "needs_approval",
    "reminder",
    "escalation",
    "needs_attention",
    "budget",
    "ticket_changed",
    "finished",
    "failed",
    "digest",
]

_FROM_ENVIRONMENT = "env:"
_TIME = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class ChannelSettings(Section):
    """One way to reach people, by `url` or by `slack_webhook`."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]{0,59}$")
    """Ours for it: it stands in messages to people in place of the address, which is a secret."""
    url: SecretStr | None = None
    """An Apprise URL, such as `tgram://…` or `mailtos://…`; the services: https://github.com/caronc/apprise/wiki.
    `env:NAME` takes it from the environment."""
    slack_webhook: SecretStr | None = None
    """An incoming webhook of Slack, for messages with buttons; `env:NAME` takes it from the environment."""
    events: tuple[Event, ...] = ()
    """Empty: all."""
    repositories: tuple[str, ...] = ()
    """Names as `owner/name`, with `*` for any part; empty: all."""
    people: tuple[str, ...] = ()
    """Whose channel it is: names, or `@group`. It then hears what is meant for one of them, or for nobody by name; of
    one person alone, it gets links that are theirs. Empty: a channel for everything."""

    @field_validator("url", "slack_webhook")
    @classmethod
    def _from_environment(cls, value: SecretStr | None) -> SecretStr | None:
        """A variable that is not there is no fault yet: only whoever sends needs it."""
        text = value.get_secret_value().strip() if value else ""
        if text.startswith(_FROM_ENVIRONMENT):
            text = os.environ.get(text.removeprefix(_FROM_ENVIRONMENT)) or text
        return SecretStr(text) if text else None

    @model_validator(mode="after")
    def _one_way(self) -> ChannelSettings:
        if (self.url is None) == (self.slack_webhook is None):
            raise ValueError(f"the channel {self.name} needs `url` or `slack_webhook`, one of them")
        return self

    def address(self) -> str:
        """The secret itself. ConfigurationError where it is to come from the environment and is not there."""
        secret = self.url or self.slack_webhook
        text = secret.get_secret_value() if secret else ""
        if text.startswith(_FROM_ENVIRONMENT):
            variable = text.removeprefix(_FROM_ENVIRONMENT)
            raise ConfigurationError(f"The notification channel {self.name} needs the variable {variable}; set it.")
        return text


class DigestSettings(Section):
    enabled: bool = False
    """Once a day what was finished, what waits for whom, and what it cost, to all channels that hear `digest`."""
    at: str = "08:00"
    """Hours and minutes."""
    zone: str = "UTC"
    """IANA name of the time zone, such as `Europe/Zurich`."""

    @field_validator("at")
    @classmethod
    def _time(cls, value: str) -> str:
        if not _TIME.fullmatch(value):
            raise ValueError(f"`{value}` is no time of day; write it as 08:00")
        return value

    @field_validator("zone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"`{value}` is no time zone; write it as Europe/Zurich") from None
        return value


class NotifySettings(Section):
    channels: tuple[ChannelSettings, ...] = ()
    """Empty: people are told in the log and in `notices.jsonl` alone."""
    timeout_seconds: float = Field(default=20, gt=0, le=120)
    """Of one delivery to one channel."""
    digest: DigestSettings = DigestSettings()

    @field_validator("channels")
    @classmethod
    def _one_name_each(cls, channels: tuple[ChannelSettings, ...]) -> tuple[ChannelSettings, ...]:
        """By its name is known what a channel has been told."""
        names = [channel.name for channel in channels]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two channels are called {name}; give each a name of its own")
        return channels
