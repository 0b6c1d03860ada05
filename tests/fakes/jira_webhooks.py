"""Webhooks of the fake Jira: admin webhooks as Jira sends them, in the order of the changes, from a thread.

With a secret the raw body is signed: `X-Hub-Signature: sha256=<hex>`. Redeliveries carry the same
`X-Atlassian-Webhook-Identifier` and count up `X-Atlassian-Webhook-Retry`.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import queue
import threading
import time
import urllib.parse
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.jira_state import Flavour

RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


@dataclass
class Webhook:
    """One that an administrator has registered."""

    url: str
    secret: str = ""
    events: tuple[str, ...] = ()
    """Names such as `comment_created`; none: every event."""
    jql: str = ""
    """Only for issues that match, where an event has an issue."""
    name: str = "sdlc"


@dataclass
class Delivery:
    """What was sent, and how it was answered."""

    webhook: Webhook
    event: str
    body: bytes
    headers: dict[str, str]
    url: str
    status: int = 0
    """0: nobody answered."""
    tries: int = 0
    error: str = ""

    @property
    def payload(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found


@dataclass
class Sender:
    """Sends in a thread of its own; `retries` after refusals that Jira repeats, `pause` seconds apart."""

    flavour: Flavour
    retries: int = 2
    pause: float = 0.2
    timeout: float = 10.0
    deliveries: list[Delivery] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._queue: queue.Queue[Delivery | None] = queue.Queue()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        self._closing.clear()
        self._thread = threading.Thread(target=self._run, daemon=True, name="jira-webhooks")
        self._thread.start()

    def stop(self) -> None:
        self._closing.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join(timeout=self.timeout)
            self._thread = None

    def send(self, webhook: Webhook, event: str, payload: dict[str, Any], user: tuple[str, str]) -> None:
        """Queue a delivery; `user` is name and key of who made the change."""
        body = json.dumps(payload, separators=(",", ":")).encode()
        headers = {
            "Content-Type": "application/json; charset=UTF-8",
            "User-Agent": "Atlassian Webhook HTTP Client",
            "X-Atlassian-Webhook-Identifier": str(uuid.uuid4()),
        }
        url = webhook.url
        if self.flavour == "cloud":
            headers["X-Atlassian-Webhook-Flow"] = "Primary"
        else:  # Data Center tells who did it in the query
            query = urllib.parse.urlencode({"user_id": user[0], "user_key": user[1]})
            url += f"{'&' if '?' in url else '?'}{query}"
        if webhook.secret:
            headers["X-Hub-Signature"] = sign(webhook.secret, body)
        if self.flavour == "cloud":  # comes over HTTP/2 somewhere, which knows no capitals
            headers = {name.lower(): value for name, value in headers.items()}
        delivery = Delivery(webhook, event, body, headers, url)
        self.deliveries.append(delivery)
        self._queue.put(delivery)

    def redeliver(self, delivery: Delivery) -> None:
        """Send the same once more, as Jira does when it did not hear an answer."""
        self._queue.put(delivery)

    def settle(self, timeout: float = 10.0) -> None:
        """Wait until all that was queued is sent. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while self._queue.unfinished_tasks:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self._queue.unfinished_tasks} webhooks are still to be sent")
            time.sleep(0.01)

    def _run(self) -> None:
        while True:
            delivery = self._queue.get()
            try:
                if delivery is None:
                    return
                self._deliver(delivery)
            finally:
                self._queue.task_done()

    def _deliver(self, delivery: Delivery) -> None:
        for attempt in range(self.retries + 1):
            if attempt and self._closing.wait(self.pause):
                return
            if delivery.tries:
                name = "X-Atlassian-Webhook-Retry"
                delivery.headers[name.lower() if self.flavour == "cloud" else name] = str(delivery.tries)
            delivery.tries += 1
            try:
                delivery.status = _post(delivery.url, delivery.body, delivery.headers, self.timeout)
                delivery.error = ""
            except (OSError, http.client.HTTPException) as error:
                delivery.status, delivery.error = 0, f"{type(error).__name__}: {error}"
            if delivery.status and delivery.status not in RETRIED:
                return


def sign(secret: str, body: bytes) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _post(url: str, body: bytes, headers: dict[str, str], timeout: float) -> int:
    parts = urllib.parse.urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.netloc, timeout=timeout)
    try:
        connection.request("POST", f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}", body, headers)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()
