"""Secrets that are known by their shape: the patterns of detect-secrets, and those of newer keys."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from sdlc.review_graphs.checks.security.secret_values import is_made_up_key

_PEM = re.compile(
    r"-----BEGIN (?P<kind>(?:(?:RSA|EC|DSA|OPENSSH) )?PRIVATE KEY|PGP PRIVATE KEY BLOCK)-----"
    r"|^PuTTY-User-Key-File-\d: ",
)
_MARKS = re.compile(
    r"A3T|ABIA|ACCA|AKIA|ASIA|[aA][wW][sS]|AccountKey=|gh[pousr]_|github_pat_|gl(?:pat|dt|ft|soat|rt|cbt|imt|ptt|agent)-"
    r"|gloas-|GR1348941|-us\d|_authToken|npm_|sk-|pypi-|SG\.|xox|hooks\.slack|sq0csp-|[rs]k_live_|whsec_|\d:[\w-]{35}"
    r"|[MNO][\w-]{23,25}\.|SK[0-9a-f]{32}|hf_|GOCSPX-|do[opr]_v1_|shp(?:at|ca|pa|ss)_|dckr_pat_|hvs\.|AGE-SECRET"
)
"""What each shape has: other lines need not be tried, and where there are none, the library need not be loaded."""
_SHORTEST_BODY = 60
"""Characters of base64: an Ed25519 key, the shortest, has 64."""
_LONGEST_BODY = 8_000
_BODY_BEGINS = ("MI", "MC", "MG", "MF", "MH", "b3BlbnNzaC1rZXk")
"""What every DER sequence of that size and every key of OpenSSH begins with."""


@dataclass(frozen=True)
class Shape:
    name: str
    """With its article, for a sentence."""
    patterns: tuple[re.Pattern[str], ...]
    alone: bool = False
    """The pattern says little by itself, so nothing of base64 may stand around it."""


@dataclass(frozen=True)
class Hit:
    name: str
    value: str


@cache
def shapes() -> tuple[Shape, ...]:
    """Imported here, for the library takes a good part of the start of a process."""
    from detect_secrets.plugins.aws import AWSKeyDetector
    from detect_secrets.plugins.azure_storage_key import AzureStorageKeyDetector
    from detect_secrets.plugins.discord import DiscordBotTokenDetector
    from detect_secrets.plugins.github_token import GitHubTokenDetector
    from detect_secrets.plugins.gitlab_token import GitLabTokenDetector
    from detect_secrets.plugins.mailchimp import MailchimpDetector
    from detect_secrets.plugins.npm import NpmDetector
    from detect_secrets.plugins.openai import OpenAIDetector
    from detect_secrets.plugins.pypi_token import PypiTokenDetector
    from detect_secrets.plugins.sendgrid import SendGridDetector
    from detect_secrets.plugins.slack import SlackDetector
    from detect_secrets.plugins.square_oauth import SquareOAuthDetector
    from detect_secrets.plugins.stripe import StripeDetector
    from detect_secrets.plugins.telegram_token import TelegramBotTokenDetector

    access_key, secret_key = AWSKeyDetector.denylist
    return (
        Shape("an AWS access key", (access_key,), alone=True),
        Shape("an AWS secret key", (secret_key,)),
        Shape("a key of an Azure storage account", tuple(AzureStorageKeyDetector.denylist)),
        Shape("the token of a Discord bot", tuple(DiscordBotTokenDetector.denylist), alone=True),
        Shape("a GitHub token", (*GitHubTokenDetector.denylist, re.compile(r"github_pat_\w{22}_\w{59}"))),
        Shape("a GitLab token", tuple(GitLabTokenDetector.denylist)),
        Shape("a Mailchimp key", tuple(MailchimpDetector.denylist), alone=True),
        Shape("an npm token", (*NpmDetector.denylist, re.compile(r"npm_[A-Za-z0-9]{36}"))),
        Shape("an OpenAI key", (*OpenAIDetector.denylist, re.compile(r"sk-(?:proj|svcacct|admin)-[\w-]{60,200}"))),
        Shape("a PyPI token", tuple(PypiTokenDetector.denylist)),
        Shape("a SendGrid key", tuple(SendGridDetector.denylist)),
        Shape("a Slack token or webhook", tuple(SlackDetector.denylist)),
        Shape("a Square secret", tuple(SquareOAuthDetector.denylist)),
        Shape("a Stripe key", (*StripeDetector.denylist, re.compile(r"whsec_[A-Za-z0-9]{32,80}"))),
        Shape("the token of a Telegram bot", tuple(TelegramBotTokenDetector.denylist), alone=True),
        Shape("a Twilio key", (re.compile(r"SK[0-9a-f]{32}"),), alone=True),
        Shape("an Anthropic key", (re.compile(r"sk-ant-(?:api|admin)\d\d-[\w-]{80,200}"),)),
        Shape("a Hugging Face token", (re.compile(r"hf_[A-Za-z]{34}"),), alone=True),
        Shape("a Google OAuth client secret", (re.compile(r"GOCSPX-[\w-]{28}"),), alone=True),
        Shape("a DigitalOcean token", (re.compile(r"do[opr]_v1_[0-9a-f]{64}"),)),
        Shape("a Shopify token", (re.compile(r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),), alone=True),
        Shape("a Docker Hub token", (re.compile(r"dckr_pat_[\w-]{27}"),), alone=True),
        Shape("a Vault token", (re.compile(r"hvs\.[\w-]{24,200}"),)),
        Shape("an age key", (re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]{58}"),)),
    )


def shaped(line: str) -> Iterator[Hit]:
    """The secrets of a line whose shape leaves no doubt, without those that somebody made up."""
    for shape in shapes() if _MARKS.search(line) else ():
        for pattern in shape.patterns:
            for match in pattern.finditer(line):
                if not _is_inside(line, match, shape.alone) and not is_made_up_key(match[0]):
                    yield Hit(shape.name, match[0])


def is_signed_token(token: str) -> bool:
    """A JWT with a signature, that somebody has issued for something."""
    from detect_secrets.plugins.jwt import JwtTokenDetector

    parts = token.split(".")
    if len(parts) != 3 or len(parts[2]) < 20 or not JwtTokenDetector.is_formally_valid(token):
        return False
    header, payload = (_decoded(part) for part in parts[:2])
    if not isinstance(header, dict) or not isinstance(payload, dict) or not payload:
        return False
    # Supabase and its like hand keys of this role to every browser.
    is_public = payload.get("role") == "anon" or str(header.get("alg", "none")).lower() == "none"
    is_sample = str(payload.get("sub")) == "1234567890" or is_made_up_key(json.dumps(payload))
    return not is_public and not is_sample


def signed_tokens(line: str) -> Iterator[Hit]:
    for match in re.finditer(r"eyJ[\w=-]{10,2000}\.eyJ[\w=-]{2,2000}\.[\w=-]{20,1000}", line):
        if is_signed_token(match[0]):
            yield Hit("a signed token (JWT)", match[0])


def begins_private_key(lines: list[str], index: int) -> bool:
    """Does a private key that can be used, with no passphrase to it, begin on this line?

    Code that only looks for the header of such a file, and documents that show its beginning, do not count.
    """
    header = _PEM.search(lines[index])
    if header is None:
        return False
    if header["kind"] is None:
        return any(line.startswith("Encryption: none") for line in lines[index : index + 4])
    rest = "\n".join([lines[index][header.end() :], *lines[index + 1 : index + 120]])[:_LONGEST_BODY]
    body = re.split(r"-----END", rest.replace("\\n", "\n"), maxsplit=1)[0]
    if "ENCRYPTED" in body[:200]:
        return False
    plain = "".join(_base64_of(line) for line in body.split("\n"))
    if len(plain) < _SHORTEST_BODY or "PGP" in (header["kind"] or ""):
        return len(plain) >= 4 * _SHORTEST_BODY
    return plain.startswith(_BODY_BEGINS) and len(set(plain)) > 12


def _base64_of(line: str) -> str:
    """What a line adds to the body: nothing if it is a header such as `Version: …` or something else altogether."""
    bare = line.strip().strip("\"'`+,;\\ \t")
    return bare if re.fullmatch(r"[A-Za-z0-9+/=]+", bare) else ""


def _is_inside(line: str, match: re.Match[str], alone: bool) -> bool:
    """Is it a part of something longer, such as a checksum or a picture in base64?"""
    before, after = line[: match.start()][-1:], line[match.end() :][:1]
    if alone:
        return bool(re.match(r"[\w+/=-]", before + " ")) or bool(re.match(r"[A-Za-z0-9+/]", after + " "))
    return before.isalnum() and match[0][:1].isalnum()


def _decoded(part: str) -> object:
    try:
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error):
        return None
