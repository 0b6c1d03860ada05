"""The check `secrets`: what is in use is found and never told on, what only looks so is left alone."""

from __future__ import annotations

import base64
import json
import random
import string
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdlc.domain import Panel, Severity
from sdlc.review_graphs.analyzers.base import Raw
from sdlc.review_graphs.checks.base import Trees
from sdlc.review_graphs.checks.security.secret_values import (
    is_chosen_password,
    is_credential_name,
    is_placeholder,
    is_random,
)
from sdlc.review_graphs.checks.security.secrets import Secrets
from sdlc.review_graphs.findings import LONGEST_MESSAGE, introduced
from sdlc.review_graphs.scope import ScopedFile
from tests.trees import Files, raised, trees

CHECK = Secrets()
LETTERS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
BEGIN, END = "-----BEGIN {} KEY-----", "-----END {} KEY-----"


def made(length: int, alphabet: str = LETTERS, seed: int = 7) -> str:
    """As a generator of keys would: made here, so that nothing that looks like a secret stands in the repository."""
    generator = random.Random(seed * 1_000 + length)
    return "".join(generator.choice(alphabet) for _ in range(length))


def jwt(payload: dict[str, object], algorithm: str = "HS256") -> str:
    parts = [json.dumps({"alg": algorithm, "typ": "JWT"}), json.dumps(payload)]
    head, body = (base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
    return f"{head}.{body}.{made(43)}"


def pem(kind: str = "RSA PRIVATE", body: str = "MIIE") -> str:
    return "\n".join([BEGIN.format(kind), body + made(60), made(64), END.format(kind), ""])


def a_file(folder: Path, path: str, text: str, base: Files | None = None) -> Trees:
    return trees(folder, base or {}, {**(base or {}), path: text})


def lines(folder: Path, path: str, text: str, base: Files | None = None) -> list[tuple[str, int]]:
    return [(rule, line) for rule, _, line in raised(CHECK, a_file(folder, path, text, base))]


SHAPED = {
    "aws": f"AKIA{made(16, string.ascii_uppercase + '234567')}",
    "github": f"ghp_{made(36)}",
    "github fine-grained": f"github_pat_{made(22)}_{made(59)}",
    "gitlab": f"glpat-{made(20)}",
    "slack": f"xoxb-{made(12, string.digits)}-{made(24)}",
    "stripe": f"sk_live_{made(24)}",
    "sendgrid": f"SG.{made(22)}.{made(43)}",
    "npm": f"npm_{made(36)}",
    "pypi": f"pypi-AgEIcHlwaS5vcmc{made(80)}",
    "openai": f"sk-proj-{made(40)}T3BlbkFJ{made(40)}",
    "anthropic": f"sk-ant-api03-{made(90)}",
    "telegram": f"{made(10, '123456789')}:{made(35)}",
    "twilio": f"SK{made(32, HEX)}",
    "azure": f"AccountKey={made(88)}",
    "google": f"GOCSPX-{made(28)}",
    "hugging face": f"hf_{made(34, string.ascii_letters)}",
}


@pytest.mark.parametrize("kind", SHAPED)
@pytest.mark.parametrize("path", ["app/client.py", "config/app.yml", "docs/setup.md", "run.sh", "uv.lock", "notes"])
def test_a_key_whose_shape_is_certain_blocks_in_any_text(tmp_path: Path, kind: str, path: str) -> None:
    given = a_file(tmp_path, path, f"first\nvalue = '{SHAPED[kind]}'\nlast\n")
    (found,) = CHECK.run(given)
    assert (found.rule, found.line, found.severity, found.confidential) == ("known-shape", 2, "blocker", True)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("deploy/key.pem", pem()),
        ("deploy/key", pem("OPENSSH PRIVATE", "b3BlbnNzaC1rZXktdjEA")),
        ("deploy/key", pem("EC PRIVATE", "MHcCAQEE")),
        ("account.json", json.dumps({"private_key": pem("PRIVATE")})),
        ("app.py", f'KEY = """{pem()}"""\n'),
        ("key.pem", pem().replace("\n", "\r\n")),
        ("key.pem", pem().rstrip("\n")),
    ],
)
def test_a_private_key_blocks_at_its_first_line(tmp_path: Path, path: str, text: str) -> None:
    assert lines(tmp_path, path, text) == [("known-shape", 1)]


@pytest.mark.parametrize(
    "text",
    [
        f'if "{BEGIN.format("RSA PRIVATE")}" in text:\n    refuse()\n',
        f"{BEGIN.format('RSA PRIVATE')}\nMIIEpAIBAAKCAQEA...\n{END.format('RSA PRIVATE')}\n",
        f"{BEGIN.format('RSA PRIVATE')}\nProc-Type: 4,ENCRYPTED\n\n{made(64)}\n{made(64)}\n",
        f"{BEGIN.format('PUBLIC')}\nMIIB{made(60)}\n{made(64)}\n{END.format('PUBLIC')}\n",
        "-----BEGIN CERTIFICATE-----\n" + f"MIIB{made(60)}\n{made(64)}\n",
        f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{made(43)} ada@example.org\n",
        f"{BEGIN.format('RSA PRIVATE')}\n<your key>\n",
    ],
)
def test_what_only_speaks_of_a_private_key_is_none(tmp_path: Path, text: str) -> None:
    assert lines(tmp_path, "app/keys.txt", text) == []


@pytest.mark.parametrize(
    "token",
    [
        jwt({"sub": "1234567890", "name": "John Doe", "iat": 1516239022}),
        jwt({"role": "anon", "iss": "supabase"}),
        jwt({"sub": "user-17"}, algorithm="none"),
        jwt({"sub": "example-user"}),
        jwt({}),
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.short",
        "eyJhbGciOiJIUzI1NiJ9.eyJub3Qg.anthing-at-all-that-is-long",
    ],
)
def test_a_token_that_opens_nothing_is_left_alone(tmp_path: Path, token: str) -> None:
    assert lines(tmp_path, "app.ts", f'const sample = "{token}";\n') == []


def test_a_signed_token_blocks(tmp_path: Path) -> None:
    assert lines(tmp_path, "app.ts", f'const t = "{jwt({"sub": "user-17", "aud": "prod"})}";\n') == [("known-shape", 1)]


@pytest.mark.parametrize(
    "text",
    [
        "key = 'AKIAIOSFODNN7EXAMPLE'\n",
        "key = 'AKIAXXXXXXXXXXXXXXXX'\n",
        "key = 'ghp_abcdefghijklmnopqrstuvwxyz0123456789'\n",
        f"key = 'ghp_{'x' * 36}'\n",
        f"picture = 'data:image/png;base64,{made(20)}AKIA{made(16, string.ascii_uppercase)}{made(20)}'\n",
        f"sid = 'AC{made(32, HEX)}'\n",
        f"integrity sha512-{made(86)}==\n",
        f"sha256:{made(64, HEX)}\n",
        f"commit = '{made(40, HEX)}'\n",
        "//packages.example/:_authToken=${NPM_TOKEN}\n",
    ],
)
def test_what_was_made_up_or_is_public_is_left_alone(tmp_path: Path, text: str) -> None:
    assert lines(tmp_path, "settings.cfg", text) == []


PYTHON = {
    'password = "hunter2"\n': "password",
    'password: str = "Tr0ub4dor&3"\n': "password",
    'self.db_password = "SuperSecret123!"\n': "password",
    'connect(host, password="hunter2")\n': "password",
    'def connect(password="hunter2"):\n    pass\n': "password",
    'def connect(*, password="hunter2"):\n    pass\n': "password",
    'settings = {"password": b"hunter2"}\n': "password",
    'config["secret"] = "s3cr3t-pa55"\n': "password",
    'x = os.getenv("DB_PASSWORD", "s3cr3t!x")\n': "password",
    'parser.add_argument("--password", default="s3cr3t!x")\n': "password",
    'if password == "hunter2":\n    pass\n': "password",
    f'API_KEY = "{made(32, HEX)}"\n': "key",
    f'api_token = "{made(24)}"\n': "key",
    f'headers = {{"Authorization": "Bearer {made(40)}"}}\n': "key",
    f'client_secret = SecretStr("{made(30)}")\n': "key",
    f'BUCKET_SECRET_ACCESS_KEY = "{made(40)}"\n': "key",
    f'DATABASE = "postgresql://app:{made(12)}@db.acme.com/app"\n': "password-in-url",
}


@pytest.mark.parametrize("code", PYTHON)
def test_what_has_the_name_and_the_looks_of_a_secret_is_found_in_python(tmp_path: Path, code: str) -> None:
    given = a_file(tmp_path, "app/settings.py", f"import os\n{code}")
    (found,) = CHECK.run(given)
    assert (found.rule, found.line, found.severity) == (PYTHON[code], 2, "major")


OTHERS = {
    "config.yml": f"password: hunter2x  # of the database\napi_key: {made(32)}\n",
    ".env": f"DB_PASSWORD=hunter2x\nexport API_TOKEN={made(30)}\n",
    "app.ts": f'const apiKey = "{made(32)}";\nconst config = {{ password: "hunter2x" }};\n',
    "main.go": f'password := "hunter2x"\nvar apiKey = "{made(32)}"\n',
    "main.tf": f'  password = "hunter2x"\n  api_key = "{made(32)}"\n',
    "app.json": f'{{"password": "hunter2x",\n "clientSecret": "{made(24)}"}}\n',
    "deploy.sh": f'PASSWORD="hunter2x"\nexport SECRET_KEY="{made(40)}"\n',
    "Dockerfile": f"ENV DB_PASSWORD=hunter2x\nENV API_KEY {made(32)}\n",
    "app.properties": f"db.password=hunter2x\napp.api_key={made(32)}\n",
    "broken.py": f'password = "hunter2x"\napi_key = "{made(32)}"\ndef broken(:\n',
}


@pytest.mark.parametrize("path", OTHERS)
def test_and_in_what_is_no_python(tmp_path: Path, path: str) -> None:
    assert sorted(line for _, line in lines(tmp_path, path, OTHERS[path])) == [1, 2]


@pytest.mark.parametrize(
    "code",
    [
        'password = "changeme"\n',
        'password = "change-me-1"\n',
        'password = "<your-password>"\n',
        'password = "xxxxxx1"\n',
        'password = "example1"\n',
        'password = "password123"\n',
        'password = "Password:"\n',
        'password = "correct horse battery 9"\n',
        'password = "${DB_PASSWORD}"\n',
        'password = "{{ vault_password1 }}"\n',
        'password = os.environ["DB_PASSWORD"]\n',
        'password = os.getenv("DB_PASSWORD", "")\n',
        'password = get("db/password-1")\n',
        'PASSWORD_FIELD = "password_1"\n',
        'password_url = "/reset/v2"\n',
        'secret_name = "prod/db-1"\n',
        'secret = "prod-database-credentials-2"\n',
        'password_hash = "$2b$12$abcdefghijklmnopqrstuv"\n',
        'password_selector = "#password-input-1"\n',
        'token = "access_token_2"\n',
        'token_type = "Bearer2"\n',
        'api_key = "a1b2c3d4e5f6g7h8"\n',
        'API_KEY = "STRIPE_API_KEY_1"\n',
        f'api_key = "{made(8, HEX)}-{made(4, HEX)}-4{made(3, HEX)}-a{made(3, HEX)}-{made(12, HEX)}"\n',
        f'public_key = "{made(40)}"\n',
        f'checksum = "{made(64, HEX)}"\n',
        f'cache_key = "{made(40, HEX)}"\n',
        f'page_token = "{made(30)}"\n',
        'SECRET_KEY = "django-insecure-abc1"\n',
        'URL = "postgresql://app:app@localhost/app"\n',
        'URL = "postgresql://user:password@db.example.com/app"\n',
        'URL = f"https://user:{password}@acme.com/"\n',
        'URL = "redis://:hunter2x@redis:6379/0"\n',
    ],
)
def test_names_placeholders_and_references_are_left_alone(tmp_path: Path, code: str) -> None:
    assert lines(tmp_path, "app/settings.py", code) == []


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("docker-compose.yml", "services:\n  db:\n    environment:\n      POSTGRES_PASSWORD: s3cr3t-1x\n"),
        (".github/workflows/ci.yml", "env:\n  DB_PASSWORD: s3cr3t-1x\n"),
        (".env.example", f"DB_PASSWORD=s3cr3t-1x\nAPI_KEY={made(32)}\n"),
        ("config/dev.yml", "password: hunter2x\n"),
        ("tests/test_login.py", f'password = "hunter2"\nAPI_KEY = "{made(32)}"\n'),
        ("spec/fixtures/key.pem", pem()),
        ("tests/test_tokens.py", f'TOKEN = "{jwt({"sub": "user-17"})}"\n'),
        ("docs/login.md", 'password = "hunter2"\n'),
        ("README.md", "Set `password: hunter2x` in the settings.\n"),
        ("secrets/prod.enc.yaml", f"password: ENC[AES256_GCM,data:{made(20)}]\nsops:\n  version: 3\n"),
        ("k8s/sealed.yaml", f"kind: SealedSecret\nspec:\n  encryptedData:\n    password: {made(200)}\n"),
        ("web/login.vue", '<input type="password" name="password" placeholder="Your password" />\n'),
        ("locale/de.json", '{"password": "Passwort", "secret": "Geheimnis!"}\n'),
    ],
)
def test_what_is_there_to_try_or_to_read_is_left_alone(tmp_path: Path, path: str, text: str) -> None:
    assert lines(tmp_path, path, text) == []


def test_a_key_of_a_service_counts_in_tests_too_but_less(tmp_path: Path) -> None:
    given = a_file(tmp_path, "tests/test_client.py", f'TOKEN = "{SHAPED["github"]}"\n')
    (found,) = CHECK.run(given)
    assert (found.severity, found.confidence) == ("major", 0.6)


def test_what_the_base_has_is_not_the_changes(tmp_path: Path) -> None:
    secret = f'TOKEN = "{SHAPED["github"]}"\n'
    assert lines(tmp_path / "1", "a.py", f"if True:\n    {secret}", {"a.py": secret}) == []
    moved = trees(tmp_path / "2", {"a.py": secret, "key": pem()}, {"b.py": f"import os\n{secret}", "k": f"\n{pem()}"})
    assert raised(CHECK, moved) == []
    renamed = trees(tmp_path / "3", {"a.py": secret}, {"b.py": f"{secret}x = 1\n"}, renamed={"b.py": "a.py"})
    assert raised(CHECK, renamed) == []
    second = trees(tmp_path / "4", {"a.py": secret}, {"a.py": f'{secret}OTHER = "{SHAPED["stripe"]}"\n'})
    assert raised(CHECK, second) == [("known-shape", "a.py", 2)]


def test_a_change_can_not_excuse_itself(tmp_path: Path) -> None:
    code = f'TOKEN = "{SHAPED["github"]}"  # pragma: allowlist secret\npassword = "hunter2"  # nosec noqa\n'
    assert len(lines(tmp_path, "a.py", code, {".secrets.baseline": "{}"})) == 2


def test_a_line_gives_one_finding_the_surest(tmp_path: Path) -> None:
    code = f'api_key = "{SHAPED["stripe"]}"; password = "hunter2"\n'
    assert lines(tmp_path, "a.py", code) == [("known-shape", 1)]


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"password = '\xe4\xf6\xfc1'\r\n", b"x" * 3_000_000, b"\0" * 9]
)
def test_any_bytes_are_borne(tmp_path: Path, content: bytes) -> None:
    assert raised(CHECK, trees(tmp_path, {}, {"a.py": content})) == []


def test_deleted_and_empty_changes_are_borne(tmp_path: Path) -> None:
    assert raised(CHECK, trees(tmp_path / "1", {"a.py": 'password = "hunter2"\n'}, {})) == []
    assert raised(CHECK, trees(tmp_path / "2", {}, {})) == []


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=120), st.sampled_from(["a.py", "a.yml", ".env", "a.ts"]))
def test_no_text_breaks_it(text: str, path: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        list(CHECK.run(trees(Path(folder), {}, {path: f'password = "{text}"\n{text}'})))


@pytest.mark.parametrize("text", [*PYTHON, *(f"v = '{value}'\n" for value in SHAPED.values()), pem(), *OTHERS.values()])
def test_no_message_has_the_secret_in_it(tmp_path: Path, text: str) -> None:
    found = list(CHECK.run(a_file(tmp_path, "app/settings.py", text)))
    values = [
        word for word in text.replace('"', " ").replace("'", " ").split() if len(word) >= 6 and not word.isalpha()
    ]
    for item in found:
        assert item.confidential
        assert len(item.message) <= LONGEST_MESSAGE
        told = json.dumps(asdict(item))
        assert not [value for value in values if value in told and not is_credential_name(value.rstrip(":="))], told


def test_a_confidential_finding_has_no_evidence_and_keeps_its_identity() -> None:
    code = 'password = "hunter2"'
    raw = Raw("secrets:password", "a.py", 1, 1, Severity.MAJOR, "A password.", confidential=True)
    files = [ScopedFile(path="a.py", added=((1, 9),))]
    kept, _ = introduced(
        [raw, Raw("x:y", "a.py", 1, 1, Severity.MAJOR, "Another.")],
        (),
        files=files,
        panel=Panel.SECURITY,
        head_code=lambda *_: code,
        base_code=lambda *_: "",
    )
    assert [finding.evidence for finding in kept] == ["", code]
    assert len({finding.fingerprint for finding in kept}) == 2


def test_many_lines_are_read_in_little_time(tmp_path: Path) -> None:
    code = "".join(
        f'name_{number} = call("{made(20, seed=number)}", token=value.secret_key)\n' for number in range(5_000)
    )
    given = a_file(tmp_path, "app/names.py", code)
    began = time.process_time()
    list(CHECK.run(given))
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("dbPassword", True),
        ("AWS_SECRET_ACCESS_KEY", True),
        ("x-api-key", True),
        ("refresh_token", True),
        ("DB_PASSWORD_PROD", True),
        ("password_reset_url", False),
        ("tokenizer", False),
        ("secret_name", False),
        ("primary_key", False),
        ("next_token", False),
        ("csrf_token", False),
        ("passenger", False),
    ],
)
def test_names_of_credentials(name: str, is_one: bool) -> None:
    assert is_credential_name(name) is is_one


@given(st.text(alphabet=LETTERS, min_size=32, max_size=64))
def test_a_value_is_never_both_a_placeholder_and_in_use(value: str) -> None:
    assert not (is_placeholder(value) and (is_random(value) or is_chosen_password(value)))
