"""Every service that Apprise knows: Teams, Telegram, Discord, e-mail and 100 others, each by a URL."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from sdlc.errors import ConfigurationError, PermissionDenied, ServiceUnavailable
from sdlc.integrations.notify.ledger import PerhapsSent
from sdlc.integrations.notify.message import Message, fitted, one_line, uncalled

if TYPE_CHECKING:
    from apprise import AppriseAsset, NotifyBase

_REFUSED = re.compile(r"\berror\s?=\s?(\d{3})\b")
_FOR_GOOD = ("400", "401", "403", "404", "410")
_NOT_REACHED = re.compile(
    r"NewConnectionError|ConnectTimeout|NameResolutionError|ConnectionRefused|Connection refused|Errno -?[2-5]\]|"
    r"No route to host|ProxyError|SSLError|CERTIFICATE_VERIFY"
)
"""In what Apprise writes about an attempt, which it does not tell by other means."""
_MAX_LOG = 64 * 1024


class AppriseChannel:
    def __init__(self, name: str, url: str) -> None:
        """ConfigurationError for a URL that Apprise can't read; it names the channel, never the URL."""
        self.name = name
        self._url = url
        self._service()

    async def send(self, message: Message) -> None:
        """Raises ServiceUnavailable (nothing has arrived), PerhapsSent, or PermissionDenied for good.

        A service that is asked too often is refused as any other failure: Apprise does not tell until when.
        """
        from apprise import Apprise

        service = self._service()
        form = service.resolve_format()
        sender = Apprise(asset=service.asset)
        sender.add(service)
        try:
            result = await sender.async_notify(
                title=uncalled(one_line(message.title)),
                body=fitted(message, form.value, service.body_maxlen),
                body_format=form,
                log_level=logging.DEBUG,
            )
            words = " ".join(entry.message for one in result for attempt in one for entry in attempt)
        except Exception as error:
            raise PerhapsSent(f"The channel {self.name} failed ({type(error).__name__}).") from None
        if result:
            return
        if refused := _REFUSED.search(words):
            said = f"The channel {self.name} answered {refused[1]}"
            if refused[1] in _FOR_GOOD:
                raise PermissionDenied(f"{said}; correct its `url`.")
            raise ServiceUnavailable(f"{said}.")
        if _NOT_REACHED.search(words):
            raise ServiceUnavailable(f"The channel {self.name} is not reached.")
        raise PerhapsSent(f"The channel {self.name} gave no answer.")

    async def check(self) -> tuple[str, ...]:
        """Nothing: Apprise can't ask without sending, and that the URL can be read is known."""
        return ()

    def _service(self) -> NotifyBase:
        """Made anew for each message: Apprise lets one wait for seconds between two messages."""
        from apprise import Apprise

        found = Apprise.instantiate(self._url, asset=_asset())
        if found is None:
            raise ConfigurationError(
                f"The notification channel {self.name}: Apprise can't read its `url`; "
                "https://github.com/caronc/apprise/wiki shows how each service's is written."
            )
        found.retry = 0  # a retry is Temporal's
        return found


def _asset() -> AppriseAsset:
    """Nothing is kept on the disk, and what Apprise logs stays with the attempt: there are addresses in it."""
    from apprise import AppriseAsset, PersistentStoreMode

    logger = logging.getLogger("apprise")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    return AppriseAsset(
        app_id="SDLC",
        storage_mode=PersistentStoreMode.MEMORY,
        result_log_memory_size=_MAX_LOG,
        result_log_disk_size=0,
    )
