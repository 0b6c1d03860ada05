"""OpenID Connect: authorization code with PKCE, state and nonce, against what the provider's discovery says."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import jwt
from authlib.oauth2.auth import ClientAuth  # type: ignore[import-untyped]
from authlib.oauth2.client import OAuth2Client  # type: ignore[import-untyped]
from authlib.oauth2.rfc6749.parameters import prepare_token_request  # type: ignore[import-untyped]

from sdlc.config.web import is_loopback
from sdlc.web.refusals import Refused
from sdlc.web.sign_in.identity import Claim, groups_of, name_of

if TYPE_CHECKING:
    from sdlc.config.web import OidcSettings

SECONDS = 10.0
"""For one request to the provider."""
_LEEWAY = 60.0
"""Seconds by which the provider's clock may be off."""
_KNOWN_SECONDS = 3_600.0
"""For which discovery is remembered."""
_FAILED_SECONDS = 5.0
"""For which a provider that does not answer is not asked again."""
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""With a key of two parts: nobody who merely knows the client's secret can sign."""
_ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class Provider:
    """One provider, and us as its client. Everything that fails is raised as Refused, with a sentence."""

    def __init__(self, settings: OidcSettings) -> None:
        self._settings = settings
        self._secret = settings.client_secret.get_secret_value() if settings.client_secret is not None else None
        self._found: dict[str, Any] = {}
        self._again_at = 0.0
        self._keys: jwt.PyJWKSet | None = None
        self._lock = asyncio.Lock()
        self.source = f"{settings.issuer} {settings.client_id}"
        """What vouches for sessions."""

    async def begin(self, redirect_uri: str) -> tuple[str, dict[str, str]]:
        """Where to send the browser, and what it has to keep until it comes back."""
        found = await self._discovered()
        kept = {name: secrets.token_urlsafe(32) for name in ("state", "nonce", "verifier")}
        client = OAuth2Client(
            None, self._settings.client_id, scope=" ".join(self._settings.scopes), code_challenge_method="S256"
        )
        url, _ = client.create_authorization_url(
            found["authorization_endpoint"],
            state=kept["state"],
            nonce=kept["nonce"],
            code_verifier=kept["verifier"],
            redirect_uri=redirect_uri,
        )
        return url, kept

    async def claim(self, answer: Mapping[str, str], kept: Mapping[str, Any], redirect_uri: str) -> Claim:
        """Who came back: `answer` is the query of the callback, `kept` what `begin` gave to this browser."""
        if not secrets.compare_digest(answer.get("state", "").encode(), str(kept.get("state", "-")).encode()):
            raise Refused(403, "This sign-in was not begun in this browser, or begun again since; sign in again.")
        if answer.get("iss", self._settings.issuer) != self._settings.issuer:
            raise Refused(403, "The answer is another provider's; sign in again.")
        if not answer.get("code"):
            raise Refused(403, "The provider has not signed you in; sign in again, or ask whoever runs it.")
        found = await self._discovered()
        uri, headers, body = ClientAuth(self._settings.client_id, self._secret, self._method(found)).prepare(
            "POST",
            found["token_endpoint"],
            {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            prepare_token_request(
                "authorization_code",
                redirect_uri=redirect_uri,
                code=answer["code"],
                code_verifier=str(kept.get("verifier", "")),
            ),
        )
        tokens = await _json("POST", uri, headers=dict(headers), content=body)
        return self._claim_of(await self._verified(str(tokens.get("id_token", "")), str(kept.get("nonce", "-"))))

    def _method(self, found: Mapping[str, Any]) -> str:
        if self._secret is None:
            return "none"
        methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        basic = "client_secret_basic" in methods or "client_secret_post" not in methods
        return "client_secret_basic" if basic else "client_secret_post"

    async def _discovered(self) -> Mapping[str, Any]:
        async with self._lock:
            now = time.monotonic()
            if now >= self._again_at:
                self._found, self._again_at = {}, now + _FAILED_SECONDS
                found = await _json("GET", f"{self._settings.issuer.rstrip('/')}/.well-known/openid-configuration")
                if found.get("issuer") != self._settings.issuer:
                    raise Refused(502, "The provider calls itself otherwise; set web.sign_in.oidc.issuer as it does.")
                if not all(_is_encrypted(found.get(name)) for name in _ENDPOINTS):
                    raise Refused(502, "The provider's discovery names an address that is missing or not https.")
                self._found, self._again_at = found, now + _KNOWN_SECONDS
            if not self._found:
                raise Refused(502, "The provider was not reached a moment ago; try again in a few seconds.")
            return self._found

    async def _verified(self, token: str, nonce: str) -> dict[str, Any]:
        try:
            key = await self._key(jwt.get_unverified_header(token))
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=_ALGORITHMS,
                audience=self._settings.client_id,
                issuer=self._settings.issuer,
                leeway=_LEEWAY,
                options={"require": ["iss", "sub", "aud", "exp", "iat"]},
            )
        except jwt.PyJWTError as error:
            raise Refused(403, f"The provider's token is not good ({type(error).__name__}); sign in again.") from None
        if not secrets.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise Refused(403, "The provider's token is not for this sign-in; sign in again.")
        audience = claims["aud"]
        several = isinstance(audience, list) and len(audience) > 1
        if claims.get("azp", None if several else self._settings.client_id) != self._settings.client_id:
            raise Refused(403, "The provider's token was made for another application.")
        return claims

    async def _key(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        """Keys are asked for anew when the token's is not among those that are known: providers change them."""
        for fresh in (False, True):
            if self._keys is None or fresh:
                self._keys = jwt.PyJWKSet.from_dict(await _json("GET", (await self._discovered())["jwks_uri"]))
            usable = [key for key in self._keys.keys if key.public_key_use in (None, "sig")]
            fits = [key for key in usable if key.key_id == header.get("kid")] if "kid" in header else usable
            if len(fits) == 1:
                return fits[0]
        raise Refused(403, "The provider's token is signed by a key that the provider does not publish.")

    def _claim_of(self, claims: Mapping[str, Any]) -> Claim:
        own = self._settings
        name = name_of(claims.get(own.name_claim))
        if not name:
            raise Refused(
                403, f"The provider gives no fit `{own.name_claim}`; set web.sign_in.oidc.name_claim to one it gives."
            )
        verified = claims.get("email_verified", own.trust_email) in (True, "true")
        address = name_of(claims.get("email"))
        email = address if verified else ""
        if "@" in name and name.casefold() != email.casefold():
            raise Refused(
                403,
                f"The provider's `{own.name_claim}` is an address of which it is not known that it is yours; set "
                "web.sign_in.oidc.name_claim to another claim, or trust_email where it says nothing about it.",
            )
        says = (address,) if address and not email else ()
        return Claim(name, "oidc", email, groups_of(claims.get(own.groups_claim)), says)


async def _json(method: str, url: str, **request: Any) -> dict[str, Any]:
    try:
        async with httpx.AsyncClient(timeout=SECONDS, follow_redirects=False) as client:
            response = await client.request(method, url, **request)
        found = response.json() if response.status_code == 200 else None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError):
        found = None
    if not isinstance(found, dict):
        where = urlsplit(url).path.rpartition("/")[2]
        raise Refused(502, f"The provider does not answer as it should ({where}); try again, or sign in anew.")
    return found


def _is_encrypted(url: object) -> bool:
    parts = urlsplit(url) if isinstance(url, str) else None
    return parts is not None and (
        parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    )
