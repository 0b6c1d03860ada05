"""bandit and ruff on code that looks alike: what a maintainer would want to hear of, once, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sdlc.domain import Severity
from sdlc.review_graphs.analyzers.bandit import JUDGED, LEFT_OUT, MESSAGES, Bandit
from sdlc.review_graphs.analyzers.base import Analyser, Subject
from sdlc.review_graphs.analyzers.ruff import BUGS, HOLES, Ruff
from sdlc.review_graphs.findings import LONGEST_MESSAGE
from sdlc.review_graphs.security import SECURITY

RUFF = Ruff("ruff-security", HOLES)

HOLES_OF_BANDIT = {
    "a shell": ("import subprocess\nsubprocess.run(line, shell=True)\n", "B602", Severity.BLOCKER),
    "over lines": (
        "import subprocess\nsubprocess.run(\n    f'convert {a} '\n    f'{b}',\n    shell=True)\n",
        "B602",
        Severity.BLOCKER,
    ),
    "os.system": ("import os\nos.system('ls ' + name)\n", "B605", Severity.BLOCKER),
    "no certificate": ("import requests\nrequests.get(url, timeout=3, verify=False)\n", "B501", Severity.BLOCKER),
    "pickle of a request": ("import pickle\npickle.loads(request.get_data())\n", "B301", Severity.BLOCKER),
    "pickle of bytes": ("import pickle\npickle.loads(blob)\n", "B301", Severity.MINOR),
    "yaml": ("import yaml\nyaml.load(text, Loader=yaml.UnsafeLoader)\n", "B506", Severity.MAJOR),
    "a mode": ("import os\nos.chmod(path, 0o777)\n", "B103", Severity.MAJOR),
    "a debugger": ("import flask\napp = flask.Flask('x')\napp.run(debug=True)\n", "B201", Severity.MAJOR),
    "eval": ("eval(text)\n", "B307", Severity.MAJOR),
    "exec": ("exec(text)\n", "B102", Severity.MAJOR),
    "extra": ("from app import User\nUser.objects.extra(where=[f'a={x}'])\n", "B610", Severity.MAJOR),
    "ssl": ("import ssl\nssl._create_unverified_context()\n", "B323", Severity.MAJOR),
}
LOOK_ALIKES = {
    "a list": "import subprocess\nsubprocess.run(['ls', name], check=True)\n",
    "a fixed line": "import subprocess\nsubprocess.run('ls | wc -l', shell=True)\n",
    "quoted": "import subprocess, shlex\nsubprocess.run(f'git log {shlex.quote(name)}', shell=True)\n",
    "quoted over lines": "import subprocess, shlex\nsubprocess.run(\n    shlex.join(command),\n    shell=True)\n",
    "a pickle of its own": "import pickle\nwith open(path, 'rb') as file:\n    cache = pickle.load(file)\n",
    "safe yaml": "import yaml\nyaml.load(text, Loader=yaml.CSafeLoader)\nyaml.load(text, yaml.FullLoader)\n",
    "a program": "import os\nos.chmod(path, 0o755)\nos.chmod(path, 0o750)\n",
    "an etag": "import hashlib\nhashlib.md5(body).hexdigest()\n",
    "a game": "import random\nrandom.choice(names)\n",
    "a report": "import xml.etree.ElementTree as ET\nET.parse('junit.xml')\n",
    "a download": "import urllib.request\nurllib.request.urlopen(url, timeout=3)\n",
    "constants": "HOST = '0.0.0.0'\nFOLDER = '/tmp/cache'\n",
    "habits": "def f(x):\n    assert x is not None\n    try:\n        return x()\n    except OSError:\n        pass\n",
    "names of secrets": "TOKEN_URL = 'https://example.org/token'\nPASSWORD_FIELD = 'password'\n",
    "names of tables": "cursor.execute(f'SELECT * FROM {TABLE} WHERE id = ?', (number,))\n",
    "weights": "import torch\ntorch.load(path)\n",
    "templates": "import jinja2\njinja2.Environment(loader=loader)\n",
    "a time-out": "import requests\nrequests.get(url, timeout=3)\n",
    "fixed markup": "from django.utils.safestring import mark_safe\nmark_safe('<b>fixed</b>')\n",
    "filled markup": "from markupsafe import Markup\nMarkup('<b>{}</b>').format(x)\n",
    "clean markup": "import bleach\nfrom markupsafe import Markup\nMarkup(bleach.clean(x))\n",
    "a fixed expression": "eval('__IPYTHON__')\nexec('import this', {})\n",
    "another extra": "version = stream.extra(key)\nsocket = self._ssl.wrap_socket(raw)\n",
    "a zip": "import zipfile, tarfile\nwith zipfile.ZipFile(path) as archive:\n    archive.extractall(folder)\n",
}
HOLES_OF_RUFF = {
    "no time-out": ("import requests\nrequests.get(url)\n", "S113", Severity.MINOR),
    "request": ("import requests\nrequests.request('GET', url)\n", "S113", Severity.MINOR),
    "mark_safe": (
        "from django.utils.safestring import mark_safe\nmark_safe(f'<b>{name}</b>')\n",
        "S308",
        Severity.MINOR,
    ),
    "markup": ("from markupsafe import Markup\nMarkup(f'<b>{name}</b>')\n", "S704", Severity.MINOR),
}


def said(analyser: Analyser, folder: Path, files: Mapping[str, str]) -> dict[str, list[tuple[str, Severity]]]:
    """What the real program says of files: (rule, severity) by their names."""
    for path, code in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(code)
    report = folder / "report.json"
    call = analyser.call(Subject(tuple(files), str(report), {}), analyser.start(sys.prefix))
    done = subprocess.run(call.command, cwd=folder, capture_output=True, timeout=60)
    assert done.returncode in analyser.fine, done.stderr
    found: dict[str, list[tuple[str, Severity]]] = {path: [] for path in files}
    for raw in analyser.read(report.read_bytes(), str(folder)).findings:
        assert raw.rule.startswith(f"{analyser.name}:")
        found[raw.file].append((raw.rule.partition(":")[2], raw.severity))
    return found


def test_a_hole_is_told_once(tmp_path: Path) -> None:
    holes = {f"{name}.py": hole for name, hole in HOLES_OF_BANDIT.items()}
    files = {name: code for name, (code, _, _) in holes.items()}
    assert said(Bandit(), tmp_path, files) == {name: [(rule, level)] for name, (_, rule, level) in holes.items()}
    assert not any(said(RUFF, tmp_path, files).values())


def test_a_look_alike_is_not(tmp_path: Path) -> None:
    files = {f"{name}.py": code for name, code in LOOK_ALIKES.items()}
    for analyser in (Bandit(), RUFF):
        assert {name: found for name, found in said(analyser, tmp_path, files).items() if found} == {}


def test_where_ruff_sees_more_it_tells_and_bandit_does_not(tmp_path: Path) -> None:
    holes = {f"{name}.py": hole for name, hole in HOLES_OF_RUFF.items()}
    files = {name: code for name, (code, _, _) in holes.items()}
    assert said(RUFF, tmp_path, files) == {name: [(rule, level)] for name, (_, rule, level) in holes.items()}
    assert not any(said(Bandit(), tmp_path, files).values())


def test_what_tests_do_on_purpose_is_left_alone(tmp_path: Path) -> None:
    code = "import pickle, yaml, requests\npickle.loads(body)\neval(text)\nyaml.load(text, Loader=yaml.Loader)\n"
    files = {"tests/test_app.py": f"{code}requests.get(url)\n", "app.py": code}
    found = said(Bandit(), tmp_path, files)
    assert (len(found["tests/test_app.py"]), len(found["app.py"])) == (0, 3)
    assert said(RUFF, tmp_path, files)["tests/test_app.py"] == []


def test_a_file_that_can_not_be_parsed_is_told_by_the_quality_panel_alone(tmp_path: Path) -> None:
    files = {"broken.py": "def broken(:\n", "empty.py": "", "crlf.py": "x = 1\r\n"}
    assert not any(said(RUFF, tmp_path, files).values())
    assert said(Ruff(), tmp_path, files)["broken.py"] == [("invalid-syntax", Severity.BLOCKER)]


def test_nothing_is_told_by_both() -> None:
    twins = {f"B{code[1:]}" for code in (*HOLES.majors, *HOLES.minors)}
    assert twins <= {*LEFT_OUT}
    assert not {f"S{code[1:]}" for code in LEFT_OUT} & {*BUGS.majors, *BUGS.minors}


def test_the_repositorys_own_rules_and_what_is_no_rule_are_the_quality_panels() -> None:
    configuration = {"pyproject.toml": b'[tool.ruff.lint]\nselect = ["E501", "S603"]\n'}
    call = RUFF.call(Subject(("a.py",), "/out/r.json", configuration), ("ruff",))
    assert call.command[call.command.index("--select") + 1] == "S113,S308,S704"
    assert "--ignore" not in call.command


def test_hidden_characters_are_told_by_the_check_that_looks_at_all_files(tmp_path: Path) -> None:
    files = {"app.py": 'if role != "admin\u202e\u2066# only admins\u2069\u2066":\n    x = "a\u200bb"\n'}
    assert said(Bandit(), tmp_path, files) == {"app.py": []}
    assert not [rule for rule, _ in said(Ruff(), tmp_path, files)["app.py"] if rule.startswith("PLE25")]


def test_every_judgement_and_every_message_is_of_a_rule_that_is_run() -> None:
    assert not {*JUDGED, *MESSAGES} & {*LEFT_OUT}
    assert {*HOLES.messages} == {*HOLES.minors}
    for test, message in [*MESSAGES.items(), *HOLES.messages.items()]:
        assert len(message) <= LONGEST_MESSAGE, test
        assert re.search(r"\. [A-Z].*\.$", message), "what goes wrong, and what to do"


def test_the_panel_has_each_analyser_once() -> None:
    names = [analyser.name for analyser in SECURITY.analysers]
    assert names == ["bandit", "ruff-security", "pip-audit"]
