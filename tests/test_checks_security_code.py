"""The check `insecure-code`: holes that are certain from the text, and what only looks like one."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdlc.review_graphs.checks.security.insecure_code import InsecureCode
from sdlc.review_graphs.checks.security.insecure_script import MESSAGES
from sdlc.review_graphs.findings import LONGEST_MESSAGE
from tests.trees import raised, trees

CHECK = InsecureCode()


def found(folder: Path, code: str, path: str = "app/views.py", base: str | None = None) -> list[tuple[str, int, str]]:
    given = trees(folder, {} if base is None else {path: base}, {path: code})
    items = list(CHECK.run(given))
    assert all(len(item.message) <= LONGEST_MESSAGE for item in items)
    return [(item.rule, item.line, item.severity) for item in items]


HOLES = {
    "token": (
        'import jwt\ndef tenant(token):\n    return jwt.decode(token, options={"verify_signature": False})\n',
        ("unverified-token", 3, "blocker"),
    ),
    "token by another name": (
        'from jwt import decode as d\ndef f(t):\n    o = {"verify_signature": False}\n    return d(t, options=o)\n',
        ("unverified-token", 4, "blocker"),
    ),
    "token without algorithm": (
        'import jwt\njwt.decode(token, key, algorithms=["HS256", "none"])\n',
        ("unverified-token", 2, "blocker"),
    ),
    "random": (
        "import random, string\ndef reset_token():\n    letters = string.ascii_letters\n"
        '    return "".join(random.choices(letters, k=32))\n',
        ("guessable-secret", 4, "major"),
    ),
    "random number": ("import random\notp = random.randint(100000, 999999)\n", ("guessable-secret", 2, "major")),
    "random argument": (
        'from random import choice\nuser = User(password="".join(choice("abcdefghij0123") for _ in range(9)))\n',
        ("guessable-secret", 2, "major"),
    ),
    "md5": (
        'import hashlib\ndef f(salt, password):\n    return hashlib.md5(f"{salt}{password}".encode()).hexdigest()\n',
        ("fast-password-hash", 3, "major"),
    ),
    "sha256": (
        "import hashlib\ndef f(user):\n    h = hashlib.sha256()\n    h.update(user.password.encode())\n",
        ("fast-password-hash", 4, "major"),
    ),
    "hmac": (
        'import hmac\ndef ok(key, body, s):\n    own = hmac.new(key, body, "md5").hexdigest()\n    return own == s\n',
        ("compared-signature", 4, "minor"),
    ),
    "certificate": (
        "import ssl\ncontext = ssl.create_default_context()\ncontext.check_hostname = False\n"
        "context.verify_mode = ssl.CERT_NONE\n",
        ("unverified-connection", 3, "major"),
    ),
    "session": ("import requests\ns = requests.Session()\ns.verify = False\n", ("unverified-connection", 3, "major")),
    "aiohttp": ("import aiohttp\nc = aiohttp.TCPConnector(ssl=False)\n", ("unverified-connection", 2, "major")),
    "log": (
        'import logging\nlog = logging.getLogger()\ndef f(user, password):\n    log.info("%s %s", user, password)\n',
        ("logged-secret", 4, "major"),
    ),
    "origins": (
        "from fastapi.middleware.cors import CORSMiddleware\n"
        'app.add_middleware(CORSMiddleware, allow_origins=["*"], allow_credentials=True)\n',
        ("open-origins", 2, "major"),
    ),
    "origins of flask": (
        "from flask_cors import CORS\nCORS(app, supports_credentials=True)\n",
        ("open-origins", 2, "major"),
    ),
    "origins of django": (
        "CORS_ALLOW_ALL_ORIGINS = True\nCORS_ALLOW_CREDENTIALS = True\n",
        ("open-origins", 1, "major"),
    ),
    "cookie": ('response.set_cookie("session", value, httponly=False)\n', ("open-cookie", 1, "major")),
    "cookie over http": ('response.set_cookie("auth_token", value, secure=False)\n', ("open-cookie", 1, "major")),
    "forged": (
        "from django.views.decorators.csrf import csrf_exempt\n@csrf_exempt\n@login_required\ndef pay(request):\n"
        "    transfer(request.user, request.POST)\n",
        ("forged-requests", 2, "major"),
    ),
    "templates": (
        'import jinja2\nenv = jinja2.Environment(loader=loader)\nenv.get_template("page.html")\n',
        ("unescaped-templates", 2, "major"),
    ),
    "format_html": (
        'from django.utils.html import format_html\nformat_html(f"<b>{name}</b>")\n',
        ("unescaped-templates", 2, "major"),
    ),
    "rights": ("def f(request):\n    assert request.user.is_staff\n", ("asserted-rights", 2, "major")),
    "hosts": ('ALLOWED_HOSTS = ["*"]\n', ("any-host", 1, "major")),
    "csrf": ('app.config["WTF_CSRF_ENABLED"] = False\n', ("weakened-setting", 1, "major")),
    "shell in a list": (
        'import subprocess\ndef f(name):\n    subprocess.run(["bash", "-c", f"zcat {name} | psql"], check=True)\n',
        ("shell-from-text", 3, "major"),
    ),
    "yaml": ("import yaml\nyaml.unsafe_load(text)\n", ("unsafe-yaml", 2, "major")),
    "tar": (
        "import tarfile\ndef f(path, folder):\n    with tarfile.open(path) as tar:\n        tar.extractall(folder)\n",
        ("archive-outside", 4, "major"),
    ),
}


@pytest.mark.parametrize("kind", HOLES)
def test_a_hole_is_told(tmp_path: Path, kind: str) -> None:
    code, expected = HOLES[kind]
    assert found(tmp_path / "1", code) == [expected]
    assert found(tmp_path / "2", f"# a word\n{code}", base=code) == []
    assert found(tmp_path / "3", code, path="tests/test_views.py") == []


LOOK_ALIKES = [
    'import jwt\ndef f(t):\n    who = jwt.decode(t, options={"verify_signature": False})["iss"]\n'
    '    return jwt.decode(t, KEYS[who], algorithms=["RS256"])\n',
    'import jwt\ndef unverified_claims(t):\n    return jwt.decode(t, options={"verify_signature": False})\n',
    'import jwt\njwt.decode(t, key, algorithms=["HS256"], options={"verify_aud": False})\n',
    'import json\njson.decode(t, options={"verify_signature": False})\n',
    "import random\ndef sample_token(tokens, weights):\n    return random.choices(tokens, weights=weights)[0]\n",
    "import random\ndef random_token(vocabulary):\n    return random.choice(vocabulary)\n",
    "import random\ndelay = random.random() * 2\nname = random.choice(names)\n",
    'import random\ntoken = random.SystemRandom().choice("abcdefghijk")\n',
    "import secrets\ntoken = secrets.token_urlsafe()\n",
    "import hashlib\ndef etag(body):\n    return hashlib.md5(body).hexdigest()\n",
    "import hashlib\ndef is_pwned(password):\n    return hashlib.sha1(password.encode()).hexdigest()\n",
    'import hashlib\nhashlib.pbkdf2_hmac("sha256", password, salt, 600_000)\nhashlib.scrypt(password, salt=salt)\n',
    "import hashlib\ndef f(password_hash):\n    return hashlib.sha256(password_hash).hexdigest()\n",
    "import hashlib, hmac\nok = hashlib.sha256(body).hexdigest() == checksum\nhmac.compare_digest(a, b)\n",
    "import ssl\ndef f(insecure):\n    context = ssl.create_default_context()\n    if insecure:\n"
    "        context.check_hostname = False\n        context.verify_mode = ssl.CERT_NONE\n",
    "class Context:\n    def __init__(self):\n        self.check_hostname = False\n",
    "import ssl\ndef f(context, fingerprint):\n    if fingerprint:\n        context.check_hostname = False\n",
    "import asyncpg\nconnection = asyncpg.connect(ssl=False)\n",
    "self.verify = False\n",
    'import logging\nlog = logging.getLogger()\nlog.info("%s", token)\nlog.debug("password changed")\n',
    'import logging\nlog = logging.getLogger()\nlog.info("%s", masked(password))\n',
    'app.add_middleware(CORSMiddleware, allow_origins=["*"])\n',
    'app.add_middleware(CORSMiddleware, allow_origins=["https://a.example"], allow_credentials=True)\n',
    "from flask_cors import CORS\nCORS(app)\n",
    'response.set_cookie("theme", value, httponly=False)\nresponse.set_cookie("csrftoken", value, httponly=False)\n',
    'if settings.DEBUG:\n    response.set_cookie("session", value, secure=False)\n',
    "from django.views.decorators.csrf import csrf_exempt\n@csrf_exempt\ndef webhook(request):\n"
    "    stripe.Webhook.construct_event(request.body)\n",
    'import jinja2\nenv = jinja2.Environment(loader=loader)\nenv.get_template("query.sql")\n',
    'import jinja2\nenv = jinja2.Environment(autoescape=jinja2.select_autoescape())\nenv.get_template("page.html")\n',
    'from django.utils.html import format_html\nformat_html("<b>{}</b>", name)\n',
    "def f(user):\n    assert user is not None\n    assert isinstance(user, User)\n",
    "if DEBUG:\n    ALLOWED_HOSTS = ['*']\n",
    'import tarfile\nwith tarfile.open(path) as tar:\n    tar.extractall(folder, filter="data")\n',
    "import tarfile\nwith tarfile.open(path) as tar:\n    tar.extractall(folder, members=checked(tar))\n",
    "import tarfile, zipfile\nwith zipfile.ZipFile(path) as archive:\n    archive.extractall(folder)\n",
    "import subprocess, shlex\ndef f(name):\n    subprocess.run(['sh', '-c', f'zcat {shlex.quote(name)} | psql'])\n",
    "import subprocess\ndef f(name):\n    subprocess.run(['sh', '-c', 'zcat \"$1\" | psql', 'sh', name])\n",
    "import subprocess\ndef f(count: int):\n    subprocess.run(['sh', '-c', f'seq {count} {LIMIT}'])\n",
    "import subprocess\ndef f(line):\n    subprocess.run(['bash', '-c', line])\n",
    "DEBUG = True\nSESSION_COOKIE_SECURE = False\n",
]


@pytest.mark.parametrize("code", LOOK_ALIKES)
def test_what_only_looks_like_one_is_left_alone(tmp_path: Path, code: str) -> None:
    assert found(tmp_path, code) == []


@pytest.mark.parametrize(
    ("path", "before", "now", "expected"),
    [
        ("shop/settings.py", "DEBUG = False\n", "DEBUG = True\n", ["weakened-setting"]),
        ("shop/settings.py", 'DEBUG = env("DEBUG")\n', "DEBUG = True\n", ["weakened-setting"]),
        ("shop/settings.py", "SECURE_SSL_REDIRECT = True\n", "SECURE_SSL_REDIRECT = False\n", ["weakened-setting"]),
        ("shop/settings.py", "X = 1\n", "app.config.update(SESSION_COOKIE_HTTPONLY=False)\n", ["open-cookie"]),
        ("shop/settings/dev.py", "DEBUG = False\n", "DEBUG = True\nALLOWED_HOSTS = ['*']\n", []),
        ("shop/settings.py", "DEBUG = True\n", "DEBUG = True\nX = 1\n", []),
        ("tool.py", "DEBUG = False\n", "DEBUG = True\n", []),
        ("shop/settings.py", "DEBUG = True\n", "DEBUG = False\n", []),
    ],
)
def test_a_setting_is_weakened_beside_what_it_was(
    tmp_path: Path, path: str, before: str, now: str, expected: list[str]
) -> None:
    assert [rule for rule, _, _ in found(tmp_path, now, path, before)] == expected


# --- SQL ----------------------------------------------------------------------------------

HEAD = "def f(cursor, name, number: int, table, user):\n"
PASTED = {
    "    cursor.execute(f\"SELECT * FROM t WHERE a = '{name}'\")": 2,
    '    cursor.execute(f"SELECT * FROM t WHERE a = {name}")': 2,
    "    cursor.execute(\"SELECT * FROM t WHERE a = '%s'\" % name)": 2,
    '    cursor.execute("SELECT * FROM t WHERE a = {}".format(name))': 2,
    '    cursor.execute("DELETE FROM t WHERE a = \'" + name + "\'")': 2,
    "    query = f\"SELECT * FROM t WHERE a = '{name}'\"\n    cursor.execute(query, ())": 2,
    '    q = "SELECT * FROM t WHERE 1=1"\n    q += f" AND a = \'{name}\'"\n    cursor.execute(q)': 3,
    "    cursor.execute(text(f\"SELECT * FROM t WHERE a LIKE '%{name}%'\"))": 2,
    "    cursor.execute(f\"UPDATE t SET a = '{user.name}'\")": 2,
    '    cursor.execute(f"""\n    SELECT * FROM t\n    WHERE a = \'{name}\'\n    """)': 2,
    "    for row in rows:\n        x = row['a']\n        cursor.execute(f\"INSERT INTO t VALUES ('{x}')\")": 4,
    "    cursor.execute(f\"SELECT * FROM t WHERE a = '{name.strip()}'\")": 2,
}


@pytest.mark.parametrize("code", PASTED)
def test_a_value_in_the_text_of_a_statement_is_told(tmp_path: Path, code: str) -> None:
    assert found(tmp_path, f"{HEAD}{code}\n") == [("sql-from-text", PASTED[code], "major")]


def test_a_value_of_the_request_in_a_statement_blocks(tmp_path: Path) -> None:
    code = "def f(request):\n    cursor.execute(f\"SELECT * FROM t WHERE a = '{request.GET['a']}'\")\n"
    assert found(tmp_path, code) == [("sql-from-text", 2, "blocker")]


@pytest.mark.parametrize(
    "code",
    [
        '    cursor.execute("SELECT * FROM t WHERE a = %s", (name,))',
        '    cursor.execute(f"SELECT * FROM {table} WHERE a = ?", (name,))',
        '    cursor.execute(f"SELECT * FROM t WHERE a = {number}")',
        '    cursor.execute(f"SELECT * FROM t WHERE a = {LIMIT}")',
        '    cursor.execute(f"SELECT * FROM t ORDER BY {name}")',
        '    cursor.execute(f"SELECT * FROM t WHERE {name}")',
        '    marks = ",".join("?" * number)\n    cursor.execute(f"SELECT * FROM t WHERE a IN ({marks})", x)',
        '    x = int(name)\n    cursor.execute(f"SELECT * FROM t WHERE a = {x}")',
        '    ph = self.placeholder\n    cursor.execute(f"SELECT * FROM t WHERE a = {ph}")',
        '    cursor.execute(sql.SQL("SELECT * FROM {} WHERE a = {}").format(sql.Identifier(table), sql.Literal(name)))',
        '    cursor.execute(f"SELECT * FROM a JOIN b ON a.id = {table}.id")',
        "    log.info(f\"select a from t where a = '{name}'\")",
        '    executor.execute(f"run = {name}")',
        "    raise ValueError(f\"Select one from '{name}'\")",
    ],
)
def test_names_numbers_and_placeholders_in_a_statement_are_left_alone(tmp_path: Path, code: str) -> None:
    assert found(tmp_path / "1", f"{HEAD}{code}\n") == []
    pasted = f"{HEAD}{next(iter(PASTED))}\n"
    assert found(tmp_path / "2", pasted, path="shop/migrations/0002_fill.py") == []


# --- what comes with a request ------------------------------------------------------------

VIEW = (
    "from flask import Flask, request, send_file, redirect, render_template_string\n"
    "import os, requests\nfrom pathlib import Path\n"
    '@app.route("/")\ndef view():\n'
)
USED = {
    '    return open(request.args["file"]).read()': "path-from-request",
    '    name = request.args.get("file")\n    return send_file(os.path.join("/srv", name))': "path-from-request",
    '    return (Path("/srv") / request.args["file"]).read_text()': "path-from-request",
    '    target = request.args.get("next") or "/"\n    return redirect(target)': "redirect-from-request",
    '    t = request.args.get("next")\n    if not t:\n        t = "/"\n    return redirect(t)': "redirect-from-request",
    '    return requests.get(request.json["url"], timeout=1).text': "url-from-request",
    '    host = request.args["h"]\n    return requests.get(f"https://{host}/x", timeout=1).text': "url-from-request",
    '    return render_template_string("Hi " + request.args["name"])': "template-from-request",
    "    return f\"<h1>Hi {request.args['name']}</h1>\"": "html-from-request",
}


@pytest.mark.parametrize("code", USED)
def test_what_comes_with_a_request_does_not_go_straight_to_where_it_harms(tmp_path: Path, code: str) -> None:
    assert [rule for rule, _, _ in found(tmp_path, f"{VIEW}{code}\n")] == [USED[code]]


@pytest.mark.parametrize(
    "code",
    [
        '    t = request.args["next"]\n    if not is_safe(t):\n        abort(400)\n    return redirect(t)',
        '    name = secure_filename(request.args["file"])\n    return open("/srv/" + name)',
        '    name = request.args["file"]\n    if name not in NAMES:\n        abort(404)\n    return open(name)',
        '    name = request.args["file"]\n    validate(name)\n    return open(name)',
        '    name = request.args["file"]\n    name = clean(name)\n    return open(name)',
        '    return redirect("/users/" + request.args["name"])',
        '    return redirect(url_for("user", name=request.args["name"]))',
        "    return redirect(request.path)",
        '    return requests.get("https://api.example.org/" + request.args["name"], timeout=1).text',
        "    return open(f\"/srv/{int(request.args['number'])}\")",
        '    return render_template_string("Hi {{ name }}", name=request.args["name"])',
        "    return f\"<h1>Hi {escape(request.args['name'])}</h1>\"",
        "    return f\"Hi {request.args['name']}\"",
        '    return open(PATHS[request.args["file"]])',
    ],
)
def test_what_was_looked_at_before_is_left_alone(tmp_path: Path, code: str) -> None:
    assert found(tmp_path, f"{VIEW}{code}\n") == []


def test_from_python_314_on_archives_can_not_write_where_they_like(tmp_path: Path) -> None:
    code, _ = HOLES["tar"]
    project = '[project]\nname = "a"\nrequires-python = ">=3.14"\n'
    assert raised(CHECK, trees(tmp_path / "1", {}, {"a.py": code, "pyproject.toml": project})) == []
    broken = trees(tmp_path / "2", {}, {"a.py": code, "pyproject.toml": "[project"})
    assert raised(CHECK, broken) == [("archive-outside", "a.py", 4)]


# --- JavaScript and TypeScript ------------------------------------------------------------

SCRIPTS = {
    "const x = eval(code)": "eval",
    "const f = new Function('a', body)": "eval",
    'import { exec } from "child_process"; exec(`git log ${branch}`)': "shell-from-text",
    'const cp = require("child_process"); cp.execSync("ls " + name)': "shell-from-text",
    "element.innerHTML = value": "html-from-text",
    "element.innerHTML = `<b>${user.name}</b>`": "html-from-text",
    "return <div dangerouslySetInnerHTML={{ __html: post.body }} />": "html-from-text",
    "document.write(location.hash)": "html-from-text",
    "const agent = new https.Agent({ rejectUnauthorized: false })": "unverified-connection",
    'process.env.NODE_TLS_REJECT_UNAUTHORIZED = "0"': "unverified-connection",
    "const token = Math.random().toString(36)": "guessable-secret",
    "db.query(`SELECT * FROM t WHERE a = ${req.query.a}`)": "sql-from-text",
    'db.query("SELECT * FROM t WHERE a = " + req.body.a)': "sql-from-text",
    "res.sendFile(path.join(folder, req.params.name))": "path-from-request",
    "res.redirect(req.query.next)": "redirect-from-request",
    'res.cookie("session", id, { httpOnly: false })': "open-cookie",
    "app.use(cors({ origin: true, credentials: true }))": "open-origins",
    'jwt.verify(token, key, { algorithms: ["none"] })': "unverified-token",
}


@pytest.mark.parametrize("line", SCRIPTS)
@pytest.mark.parametrize("path", ["src/app.ts", "src/app.jsx", "src/App.vue"])
def test_a_hole_in_a_script_is_told(tmp_path: Path, line: str, path: str) -> None:
    assert [rule for rule, _, _ in found(tmp_path / "1", f"'use strict'\n{line}\n", path)] == [SCRIPTS[line]]
    assert found(tmp_path / "2", f"// {line}\n", path) == []
    assert found(tmp_path / "3", f"{line}\nmore()\n", path, base=f"{line}\n") == []


@pytest.mark.parametrize(
    "code",
    [
        "redis.eval(script); page.$eval('a', f); eval('1 + 1');",
        'import { exec } from "child_process"\nexec("git log"); exec(`ls ${ROOT}`); pattern.exec(`a${b}`)',
        "exec(`git log ${branch}`)",
        "element.innerHTML = ''",
        'element.innerHTML = "<b>fixed</b>"',
        "element.innerHTML = `<b>${items.length}</b>`",
        "element.innerHTML = DOMPurify.sanitize(value)",
        "element.innerHTML = `<b>${escapeHtml(name)}</b>`",
        "if (element.innerHTML === value) done()",
        "const html = sanitize(text)\nelement.innerHTML = html",
        "return <div dangerouslySetInnerHTML={{ __html: DOMPurify.sanitize(post.body) }} />",
        "return <script dangerouslySetInnerHTML={{ __html: JSON.stringify(data) }} />",
        'const agent = new https.Agent({ rejectUnauthorized: process.env.NODE_ENV === "production" })',
        "const delay = Math.random() * 1000",
        "function jitter() {\n  return Math.random()\n}",
        "db.query('SELECT * FROM t WHERE a = $1', [req.query.a])",
        "db.query(sql`SELECT * FROM t WHERE a = ${req.query.a}`)",
        "res.sendFile(path.join(folder, 'index.html'))",
        "res.redirect('/home')",
        'res.cookie("theme", id, { httpOnly: false })',
        'app.use(cors({ origin: "*" }))',
        "app.use(cors())",
        "x" * 5_000 + " eval(code)",
    ],
)
def test_a_script_that_only_looks_so_is_left_alone(tmp_path: Path, code: str) -> None:
    assert found(tmp_path, f"{code}\n", "src/app.ts") == []


def test_a_function_that_makes_a_secret_is_known_by_its_name(tmp_path: Path) -> None:
    code = "function generateToken() {\n  const now = Date.now()\n  return now + Math.random()\n}\n"
    assert found(tmp_path, code, "src/a.js") == [("guessable-secret", 3, "major")]


@pytest.mark.parametrize("path", ["src/a.test.ts", "scripts/build.js", "webpack.config.js", "examples/a.js"])
def test_what_developers_run_on_their_own_input_is_left_alone(tmp_path: Path, path: str) -> None:
    assert found(tmp_path, "const x = eval(code)\n", path) == []


# --- bad input ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"def broken(:\n",
        b"\xff\xfe",
        b"x = '\xe4'\r\n",
        b"print 'two'\n",
        b"\xef\xbb\xbfx = 1",
        b"(" * 2_000,
        b"x" * 3_000_000,
    ],
)
def test_any_bytes_are_borne(tmp_path: Path, content: bytes) -> None:
    assert raised(CHECK, trees(tmp_path, {}, {"a.py": content, "a.ts": content})) == []


def test_other_line_ends_a_rename_and_a_deletion_are_borne(tmp_path: Path) -> None:
    code, _ = HOLES["md5"]
    windows = code.replace("\n", "\r\n")
    assert found(tmp_path / "1", windows.rstrip()) == [("fast-password-hash", 3, "major")]
    renamed = trees(tmp_path / "2", {"a.py": code}, {"b.py": f"import os\n{code}"}, renamed={"b.py": "a.py"})
    assert raised(CHECK, renamed) == []
    assert raised(CHECK, trees(tmp_path / "3", {"a.py": code}, {})) == []


@given(st.lists(st.sampled_from([*(code for code, _ in HOLES.values()), *LOOK_ALIKES, "x = [\n", "'\n"]), max_size=3))
def test_no_module_breaks_it(codes: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        list(CHECK.run(trees(Path(folder), {}, {"a.py": "\n".join(codes)})))


@given(st.text(max_size=200))
def test_no_script_breaks_it(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        code = f"el.innerHTML = `{text}`\nexec(`{text}`)\n{text}"
        list(CHECK.run(trees(Path(folder), {}, {"a.ts": code.encode("utf-8", "replace")})))


def test_a_long_module_is_read_in_little_time(tmp_path: Path) -> None:
    body = "".join(
        f"def f{n}(cursor, name):\n    q = 'SELECT a FROM b'\n    cursor.execute(q)\n    return open(name)\n"
        for n in range(2_000)
    )
    given = trees(tmp_path, {}, {"a.py": f"import hashlib, random\n{body}"})
    began = time.process_time()
    assert raised(CHECK, given) == []
    assert time.process_time() - began < 6


def test_every_message_says_what_goes_wrong_and_what_to_do() -> None:
    for rule, (_, confidence, message) in MESSAGES.items():
        assert len(message) <= LONGEST_MESSAGE, rule
        assert 0.5 <= confidence <= 1
