"""One Jira server and our account on it: asked once what it is, then request by request.

Everything here waits for the network and belongs in a thread. The `jira` client's own retries are off (a retry is
Temporal's, after a look for the earlier effect) and it has time-outs, which it hasn't by itself.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, replace
from typing import Any, Literal

from jira import JIRA, JIRAError

from sdlc.config.jira import JiraSettings
from sdlc.errors import ConfigurationError, TicketNotFound
from sdlc.integrations.jira import failures
from sdlc.integrations.jira.failures import Asked, Lacking

Json = dict[str, Any]
Flavour = Literal["cloud", "datacenter"]


@dataclass(frozen=True)
class Server:
    """What was found out."""

    flavour: Flavour
    base_url: str
    """For links that people click: not always where the REST API is."""
    me: str
    """Our account id (Cloud) or name (Data Center)."""
    my_name: str
    my_names: tuple[str, ...] = ()
    """All that we are called: id, user name, e-mail address, display name."""

    @property
    def is_cloud(self) -> bool:
        return self.flavour == "cloud"

    def user_id(self, user: object) -> str:
        """What tells a user from others here; empty for nobody."""
        found = user.get("accountId" if self.is_cloud else "name") if isinstance(user, dict) else None
        return found if isinstance(found, str) else ""

    def user_body(self, user_id: str | None) -> Json:
        """A user as requests name one; None is nobody."""
        return {"accountId" if self.is_cloud else "name": user_id}


class JiraClient:
    """Requests to one server. Connects at the first of them, so that a process starts while Jira is away."""

    def __init__(self, settings: JiraSettings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._connected: tuple[JIRA, Server] | None = None

    @property
    def server(self) -> Server:
        """Raises ConfigurationError, PermissionDenied, ServiceUnavailable."""
        return self._connection()[1]

    def get(self, path: str, *, doing: str, needs: str = "", key: str = "", params: Json | None = None) -> Any:
        """The JSON of `path` (below `/rest/api/<version>/`)."""
        return self._sent("GET", path, self._asked(doing, needs, key, "read:jira-work"), params=params)

    def found(self, path: str, *, doing: str, needs: str = "", scope: str, params: Json | None = None) -> Any:
        """The JSON of what may not be there; None if it isn't."""
        asked = replace(self._asked(doing, needs, "", scope), may_lack=True)
        try:
            return self._sent("GET", path, asked, params=params)
        except Lacking:
            return None

    def send(
        self, method: str, path: str, body: object, *, doing: str, needs: str = "", key: str = "", params: Any = None
    ) -> Any:
        """A change; the JSON of the answer, `{}` for none."""
        asked = self._asked(doing, needs, key, "write:jira-work")
        return self._sent(method, path, asked, body=body, params=params)

    def _asked(self, doing: str, needs: str, key: str, scope: str) -> Asked:
        return Asked(self.settings.url, doing, needs, key, scope, is_known=True, secret=self._secret)

    @property
    def _secret(self) -> str:
        return self.settings.token.get_secret_value() if self.settings.token else ""

    def _connection(self) -> tuple[JIRA, Server]:
        with self._lock:
            if self._connected is None:
                self._connected = self._connect()
            return self._connected

    def _connect(self) -> tuple[JIRA, Server]:
        settings = self.settings
        if not settings.url or not self._secret:
            raise ConfigurationError(
                "Jira needs an address and a token; set jira.url and jira.token (or SDLC_JIRA__…)."
            )
        asked = Asked(settings.url, "say what it is", secret=self._secret)
        client = self._client("2")
        info = self._sent_by(client, "GET", "serverInfo", asked)
        kind = info.get("deploymentType") if isinstance(info, dict) else None
        if not isinstance(info, dict) or ("versionNumbers" not in info and kind is None):
            raise failures.not_jira(settings.url)
        is_cloud = kind == "Cloud"
        if is_cloud:
            client = self._client("3")  # version 3 is the one that speaks ADF
        me = self._myself(client)
        base_url = str(info.get("baseUrl") or settings.url).rstrip("/")
        flavour: Flavour = "cloud" if is_cloud else "datacenter"
        nobody = Server(flavour, base_url, "", "")
        user_id = nobody.user_id(me)
        if not user_id:
            raise failures.not_jira(settings.url)
        shown = str(me.get("displayName") or user_id)
        names = (user_id, me.get("name"), me.get("emailAddress"), settings.email, shown)
        known = tuple(dict.fromkeys(name for name in names if isinstance(name, str) and name))
        return client, Server(flavour, base_url, user_id, shown, known)

    def _myself(self, client: JIRA) -> Any:
        asked = Asked(self.settings.url, "say who we are", scope="read:jira-user", secret=self._secret)
        return self._sent_by(client, "GET", "myself", asked)

    def _client(self, version: str) -> JIRA:
        settings = self.settings
        auth: Json = {"basic_auth": (settings.email, self._secret)} if settings.email else {"token_auth": self._secret}
        return JIRA(
            options={"server": settings.url.rstrip("/"), "rest_api_version": version, "verify": settings.verify},
            timeout=(settings.connect_seconds, settings.read_seconds),
            max_retries=0,
            get_server_info=False,
            **auth,
        )

    def _sent(self, method: str, path: str, asked: Asked, *, body: object = None, params: Any = None) -> Any:
        client = self._connection()[0]
        try:
            return self._sent_by(client, method, path, asked, body=body, params=params)
        except TicketNotFound:
            # Cloud takes a token that has expired for nobody's, to whom it shows no ticket.
            self._myself(client)
            raise

    @staticmethod
    def _sent_by(client: JIRA, method: str, path: str, asked: Asked, *, body: object = None, params: Any = None) -> Any:
        try:
            # The client's own methods leave out comment properties and look users up by a search first.
            response = client._session.request(
                method, client._get_url(path), params=params, data=None if body is None else json.dumps(body)
            )
            return response.json() if response.content else {}
        except (JIRAError, OSError, ValueError, RecursionError, TypeError, AttributeError) as error:
            # The last two are of the client itself, at an error whose JSON is not what it expects.
            problem = failures.translated(error, asked)
        # Not chained: the original would take headers and the ticket's text into the run's history.
        raise problem
