"""The webhooks of the fake GitHub: signed, sent in order by a thread, each remembered with what came back."""

from __future__ import annotations

import hashlib
import hmac
import json
import queue
import threading
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from typing import Any

TIMEOUT = 10.0
"""Seconds that GitHub waits for an answer."""


@dataclass
class Delivery:
    """One attempt to send an event."""

    id: str
    event: str
    action: str
    body: bytes
    url: str
    headers: dict[str, str]
    status: int = 0
    """What the receiver answered; 0 while nothing came, or where it can't be reached."""
    redelivery: bool = False
    sent: bool = False

    @property
    def payload(self) -> Any:
        return json.loads(self.body)


@dataclass
class Hook:
    url: str
    secret: str
    events: tuple[str, ...] = ("*",)


@dataclass
class Webhooks:
    """`send_to` says where; `events` holds everything that happened, sent or not."""

    hooks: list[Hook] = field(default_factory=list)
    deliveries: list[Delivery] = field(default_factory=list)
    events: list[tuple[str, Any]] = field(default_factory=list)
    held: bool = False
    """While True nothing is sent: for a test that sends out of order, or never."""

    def __post_init__(self) -> None:
        self._queue: queue.Queue[Delivery | None] = queue.Queue()
        self._thread: threading.Thread | None = None

    def send_to(self, url: str, secret: str, *, events: tuple[str, ...] = ("*",)) -> None:
        """Configure a webhook; a ping is sent to it at once, as GitHub does."""
        hook = Hook(url, secret, events)
        self.hooks.append(hook)
        payload = {"zen": "Keep it logically awesome.", "hook_id": len(self.hooks), "hook": {"events": list(events)}}
        self._put(hook, "ping", payload)

    def emit(self, event: str, payload: dict[str, Any]) -> None:
        """Something happened; every hook that wants such events gets it."""
        self.events.append((event, payload))
        for hook in self.hooks:
            if "*" in hook.events or event in hook.events:
                self._put(hook, event, payload)

    def _put(self, hook: Hook, event: str, payload: dict[str, Any]) -> None:
        body = json.dumps(payload).encode()
        delivery = str(uuid.uuid4())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/fake",
            "Accept": "*/*",
            "X-GitHub-Delivery": delivery,
            "X-GitHub-Event": event,
            "X-GitHub-Hook-ID": str(self.hooks.index(hook) + 1),
            "X-Hub-Signature": "sha1=" + hmac.new(hook.secret.encode(), body, hashlib.sha1).hexdigest(),
            "X-Hub-Signature-256": "sha256=" + hmac.new(hook.secret.encode(), body, hashlib.sha256).hexdigest(),
        }
        self._send(Delivery(delivery, event, payload.get("action", ""), body, hook.url, headers))

    def redeliver(self, delivery: Delivery) -> Delivery:
        """Send the same again, under the same delivery id."""
        again = Delivery(
            delivery.id, delivery.event, delivery.action, delivery.body, delivery.url, delivery.headers, redelivery=True
        )
        self._send(again)
        return again

    def release(self, *, backwards: bool = False) -> None:
        """Send what was held."""
        self.held = False
        waiting = [delivery for delivery in self.deliveries if not delivery.sent]
        for delivery in reversed(waiting) if backwards else waiting:
            self._enqueue(delivery)

    def wait(self, seconds: float = 10.0) -> None:
        """Until everything that is not held was answered; raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while not self.held and any(not delivery.sent for delivery in self.deliveries):
            if time.monotonic() > deadline:
                raise TimeoutError("webhooks were not answered in time")
            time.sleep(0.005)

    def close(self) -> None:
        if self._thread:
            self._queue.put(None)
            self._thread.join(timeout=TIMEOUT + 1)
            self._thread = None

    def _send(self, delivery: Delivery) -> None:
        self.deliveries.append(delivery)
        if not self.held:
            self._enqueue(delivery)

    def _enqueue(self, delivery: Delivery) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="github-webhooks", daemon=True)
            self._thread.start()
        self._queue.put(delivery)

    def _work(self) -> None:
        while (delivery := self._queue.get()) is not None:
            request = urllib.request.Request(delivery.url, delivery.body, delivery.headers, method="POST")
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                    delivery.status = answer.status
            except urllib.error.HTTPError as error:
                delivery.status = error.code
                error.close()
            except OSError:
                delivery.status = 0
            delivery.sent = True
