"""What tells a secret from a name, a placeholder and a checksum."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_PASSWORD = r"(?:pass(?:word|wd|phrase|wort)|passwords|pwd|pass|secret)"  # noqa: S105 - a pattern
_KEY = (
    r"(?:token|(?:api|access|auth|secret|private|client|service|account|signing|encryption|master|storage)_?key"
    r"|secret_key_base|credentials?|authorization)"
)
_ENDING = r"(?:_?(?:\d+|prod|production|live|staging|stage|dev|default|value|str|string))*"
_PASSWORD_NAME = re.compile(rf"(?:^|_){_PASSWORD}{_ENDING}$")
_KEY_NAME = re.compile(rf"(?:^|_){_KEY}{_ENDING}$")
_OTHER_NAME = re.compile(
    r"(?:^|_)(?:hash|hashed|encrypted|public|csrf|xsrf|invalid|wrong|bad|fake|dummy|test|mock|example|sample|old_hash"
    r"|next|page|continuation|cursor|publishable|anon|site|pad|eos|bos|unk|mask|sep|stop|special)(?:_|$)"
)

_HARD = re.compile(
    r"change.?(?:me|this|it)|placeholder|example|dummy|fake|sample|redacted|replace|insert|your|todo|fixme|xxx|\*\*\*"
    r"|\.\.\.|…|insecure|not.?(?:a.)?real|not.?secret|made.?up|mock|foobar|lorem|deadbeef|test|demo|12345678|undefined"
    r"|[<>{}|]|\(\?|\$[({A-Za-z_0-9]|%[(s]|%\w+%|\bnull\b|\bnone\b|\btrue\b|\bfalse\b|environ|getenv|process\.env|vault:|secret:",
    re.IGNORECASE,
)
_WEAK = re.compile(
    r"(?:my|the|some|a|dev|local|default|super|top|new|old|no|bad|wrong|correct|right|good|valid|invalid)?[-_ ]?"
    r"(?:password|passwd|passphrase|passwort|pass|pwd|secret|token|key|admin|administrator|root|user|guest|postgres"
    r"|mysql|mongo|redis|rabbitmq|minio|minioadmin|letmein|qwerty|welcome|login|hello|foo|bar|baz|abc|dev|local)"
    r"[-_ ]?\d{0,4}[!?:.*]*",
    re.IGNORECASE,
)
_KINDS = ("[a-z]", "[A-Z]", r"\d", r"[^\w]")
"""Of characters. Who took one of each had a policy to satisfy, even if the word is a weak one."""
_UUID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_DIGEST = re.compile(r"(?:sha\d+|md5|blake\w+)[-:=]|\$(?:2[aby]|5|6|argon2\w*|pbkdf2\w*|scrypt)\$|\{\w+\}|pbkdf2_")
_LOCATION = re.compile(r"://|^[./~#@\[]|^arn:|^projects/|^(?:file|env|ref|op|ssm|kv):|^ENC\[|^\w+(?:/[\w.-]+){2,}$|\\")
_CONSTANT = re.compile(r"[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")
_TOKEN = re.compile(r"[A-Za-z0-9+/=_.~!@#$%^&*-]{16,512}")
_SEPARATORS = re.compile(r"[-_./: ]+")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")

SHORTEST_PASSWORD, LONGEST_PASSWORD = 6, 64
LEAST_ENTROPY = 3.2
"""Bits a character: random hexadecimal digits have 3.5 and more at the lengths of keys, identifiers mostly less."""


def is_password_name(name: str) -> bool:
    """Is that the name of something that a person chooses: `db_password`, `clientSecret`?"""
    snake = _snake(name)
    return bool(_PASSWORD_NAME.search(snake)) and not _OTHER_NAME.search(snake)


def is_credential_name(name: str) -> bool:
    """Is that the name of a password, a token or a key: `API_KEY`, `accessToken`?"""
    snake = _snake(name)
    return is_password_name(name) or (bool(_KEY_NAME.search(snake)) and not _OTHER_NAME.search(snake))


def is_chosen_password(value: str) -> bool:
    """Could a person have chosen it as a password that is in use? Words alone are taken for a name or a text."""
    if not SHORTEST_PASSWORD <= len(value) <= LONGEST_PASSWORD or any(char.isspace() for char in value):
        return False
    if not value.isascii() or not value.isprintable() or is_placeholder(value) or _is_name(value):
        return False
    has_letter = any(char.isalpha() for char in value)
    return has_letter and any(not char.isalpha() for char in value.rstrip("!?:.,;"))


def is_random(value: str) -> bool:
    """Is it as long and as mixed as what a generator of keys gives?"""
    if not _TOKEN.fullmatch(value) or _UUID.fullmatch(value) or is_placeholder(value) or _is_name(value):
        return False
    has_both = any(char.isdigit() for char in value) and any(char.isalpha() for char in value)
    return has_both and entropy(value) >= LEAST_ENTROPY


def is_placeholder(value: str) -> bool:
    """Does it stand for a secret that is somewhere else, or that everybody knows?"""
    is_weak = _WEAK.fullmatch(value) and not all(re.search(kind, value) for kind in _KINDS)
    elsewhere = _HARD.search(value) or _DIGEST.match(value) or _LOCATION.search(value)
    return bool(is_weak or elsewhere) or is_made_up_key(value)


def is_made_up_key(value: str) -> bool:
    """Typed by a person to look like a key: few different characters, or counted up."""
    if len(value) >= 12 and len(set(value)) < 6:
        return True
    if re.search(r"(.)\1{5}", value) or re.search(r"example|fake|dummy|placeholder|redacted", value, re.IGNORECASE):
        return True
    letters = "".join(char for char in value.lower() if char.isalpha())
    digits = "".join(char for char in value if char.isdigit())
    return any(_counts_up(part) for part in (value.lower(), letters, digits))


def entropy(value: str) -> float:
    """Of Shannon, in bits a character."""
    counts = Counter(value).values()
    return -sum(count / len(value) * math.log2(count / len(value)) for count in counts)


def _snake(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", _CAMEL.sub("_", name).lower()).strip("_")


def _counts_up(text: str, length: int = 6) -> bool:
    run = 1
    for before, after in itertools.pairwise(text):
        run = run + 1 if ord(after) == ord(before) + 1 else 1
        if run >= length:
            return True
    return False


def _is_name(value: str) -> bool:
    """`prod-database-credentials`, `STRIPE_TOKEN`, `auth.v2`: words, and the versions of things."""
    if _CONSTANT.fullmatch(value):
        return True
    parts = [part for part in _SEPARATORS.split(value) if part]
    words = [part for part in parts if _WORD.fullmatch(part) and 2 <= len(part) <= 14]
    versions = [part for part in parts if re.fullmatch(r"[vV]?\d{1,4}", part)]
    return len(parts) >= 2 and bool(words) and len(words) + len(versions) == len(parts)
