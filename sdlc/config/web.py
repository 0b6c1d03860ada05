"""The web: where it listens, how people sign in, and what each of them may do."""

from __future__ import annotations

import ipaddress
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from sdlc.config.section import Section

_SECRET_CHARS = 32


class RoleSettings(Section):
    """Names, e-mails, groups as `@name`; `*` is whoever can sign in. Of several roles the highest counts."""

    viewers: tuple[str, ...] = ()
    """See everything."""
    approvers: tuple[str, ...] = ()
    """Also decide; who may decide on which run is up to that run's own policy."""
    operators: tuple[str, ...] = ()
    """Also steer runs: pause, retry, abort, reassign."""


class HeaderSettings(Section):
    """A proxy says who somebody is. It must take these headers away from what comes in from outside."""

    proof: Literal["signature", "secret"] = "signature"
    """`signature`: headers `X-Sdlc-Timestamp` (seconds since 1970) and `X-Sdlc-Signature` (`sha256=<hex>`, by
    HMAC-SHA256 with `secret`) over timestamp, user, e-mail and groups as their headers have them, joined by line
    feeds, each empty where its header is missing. `secret`: the header `X-Sdlc-Secret` has the secret itself, and the
    connection comes from one of `web.sign_in.proxies`."""
    secret: SecretStr | None = None
    """Shared with the proxy; 32 characters or more."""
    user: str = "X-Forwarded-User"
    email: str = "X-Forwarded-Email"
    groups: str = "X-Forwarded-Groups"
    """Names, with commas between them."""
    skew_seconds: float = Field(default=60, ge=0)
    """How far the proxy's clock may be off. So long a signature is good for."""


class OidcSettings(Section):
    """Its redirect address is `<web.url>/sign-in/oidc/callback`."""

    issuer: str = ""
    """Exactly as the provider writes it; `/.well-known/openid-configuration` is below it."""
    client_id: str = ""
    client_secret: SecretStr | None = None
    """None: a public client."""
    scopes: tuple[str, ...] = ("openid", "profile", "email")
    name_claim: str = "preferred_username"
    """Of the ID token: what somebody is called here. It must be a claim that people can't choose as they like."""
    groups_claim: str = "groups"
    trust_email: bool = False
    """Take an e-mail address of which the provider doesn't say whether it is verified. One of which it says that it
    is not is never taken."""

    @field_validator("issuer")
    @classmethod
    def _encrypted(cls, issuer: str) -> str:
        parts = urlsplit(issuer)
        if issuer and not (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))):
            raise ValueError("give an address that begins with https://")
        return issuer


class SignInSettings(Section):
    kind: Literal["token", "header", "oidc", "none"] = "token"
    """`token`: for one machine; `sdlc dev` and `sdlc serve` print a link with a token, and whoever opens it is an
    operator by the name of `run.starter`. `header`: a proxy says who it is, see `header`. `oidc`: OpenID Connect, see
    `oidc`. `none`: everybody may look and nobody may do anything; at a loopback address alone."""
    header: HeaderSettings = HeaderSettings()
    oidc: OidcSettings = OidcSettings()
    proxies: tuple[str, ...] = ()
    """Addresses or networks of proxies of your own: their `X-Forwarded-For` is believed."""
    idle_hours: float = Field(default=12, gt=0)
    """A session ends after so long without a page."""
    longest_hours: float = Field(default=72, gt=0)
    """A session ends after so long."""
    attempts_per_minute: int = Field(default=10, ge=1)
    """To sign in, from one address; those that succeed don't count."""
    attempts_per_minute_overall: int = Field(default=200, ge=1)

    @field_validator("proxies")
    @classmethod
    def _networks(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            ipaddress.ip_network(proxy)
        return proxies

    @model_validator(mode="after")
    def _complete(self) -> SignInSettings:
        if self.kind == "header":
            if not _is_long(self.header.secret):
                raise ValueError(f"header.secret is needed, of {_SECRET_CHARS} characters or more")
            if self.header.proof == "secret" and not self.proxies:
                raise ValueError("header.proof: secret also needs the addresses of the proxies, in web.sign_in.proxies")
        if self.kind == "oidc" and not (self.oidc.issuer and self.oidc.client_id):
            raise ValueError("oidc.issuer and oidc.client_id are needed")
        return self


class LinkSettings(Section):
    """Links in notifications, each for one run, one head and one person."""

    hours: float = Field(default=168, gt=0)
    """After so long a link is over."""
    decide_without_sign_in: bool = False
    """Whoever has a link decides by it, in the name of the person it was made for, without having signed in. Mind
    that a message can be passed on."""


class WebSettings(Section):
    host: str = "127.0.0.1"
    port: int = Field(default=8080, ge=0, le=65_535)
    """0 picks a free one."""
    url: str = ""
    """Where browsers reach it, such as `https://sdlc.example.org`; empty: at `host` and `port`."""
    hosts: tuple[str, ...] = ()
    """More names by which it may be called, without a port. Those of `url` and `host` and of this machine's loopback
    may be used anyway, others are refused. Webhooks and health answer by any name."""
    secret: SecretStr | None = None
    """Signs sessions and links; 32 characters or more, and the same for all processes. None: one is made and kept in
    the data folder."""
    max_form_bytes: int = Field(default=256 * 1024, ge=16_384)
    """Of what a person sends by a page or the API."""
    sign_in: SignInSettings = SignInSettings()
    roles: RoleSettings = RoleSettings()
    links: LinkSettings = LinkSettings()
    max_body_bytes: int = Field(default=25 * 1024**2, ge=1_024)
    """Of a delivery; GitHub sends at most 25 MB."""
    answer_seconds: float = Field(default=0.8, gt=0)
    """How long Temporal may take to keep a delivery. After that the sender is asked to try again."""

    @field_validator("url")
    @classmethod
    def _root(cls, url: str) -> str:
        parts = urlsplit(url.strip().rstrip("/"))
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("give an address such as https://sdlc.example.org")
        if parts.path or parts.query or parts.fragment or parts.username or parts.password:
            raise ValueError("leave out name, password, path and query: it has to have a host name of its own")
        return parts.geturl()

    def refusal(self) -> tuple[str, str] | None:
        """What keeps the web from starting with these settings, and the mend; None: nothing."""
        here_alone = is_loopback(self.host) and (not self.url or is_loopback(urlsplit(self.url).hostname or ""))
        if here_alone:
            return None
        if self.sign_in.kind == "none":
            return (
                "web.sign_in.kind: none would let in everybody.",
                "Choose another kind, or listen at 127.0.0.1 (web.host, web.url).",
            )
        if self.sign_in.kind == "oidc" and not self.url:
            return "web.sign_in.kind: oidc needs web.url, where browsers come back to.", "Set web.url."
        return None

    @field_validator("secret")
    @classmethod
    def _long(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and not _is_long(secret):
            raise ValueError(f"it needs {_SECRET_CHARS} characters or more")
        return secret


def is_loopback(host: str) -> bool:
    """Is it reached from this machine alone? By its name; nothing is looked up."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.casefold() == "localhost"


def _is_long(secret: SecretStr | None) -> bool:
    return secret is not None and len(secret.get_secret_value().strip()) >= _SECRET_CHARS
