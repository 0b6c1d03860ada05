"""A sandbox with network: what it reaches, by trying from inside to reach all the rest."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from sdlc.config import SandboxSettings
from sdlc.integrations.sandbox import CommandResult, addresses, egress, open_sandbox
from sdlc.integrations.sandbox.allowed import AllowedHosts
from sdlc.integrations.sandbox.network import through

PROJECT = Path(__file__).parents[1]
SETTINGS = SandboxSettings(memory_bytes=500 * 1024**2, processes=60, file_bytes=1024**2)
SYSTEM_PYTHON = f"/usr/bin/python{sys.version_info[0]}.{sys.version_info[1]}"
OWN = next((str(ip) for ip in addresses._listed(4) if not ip.is_loopback), "127.0.0.1")

pytestmark = pytest.mark.skipif(
    shutil.which("bwrap") is None, reason="bubblewrap is not installed, so the sandbox itself is not tested"
)


@pytest.fixture(autouse=True)
def no_proxy_of_ours(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


@pytest.fixture
def server(tmp_path: Path) -> Iterator[http.server.ThreadingHTTPServer]:
    """Of the host, at all of its addresses, as a careless one would be; serves `site/`."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "file").write_text("reached")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *given) -> None:
            super().__init__(*given, directory=str(tmp_path / "site"))

        def log_message(self, *_given) -> None:
            pass

    with http.server.ThreadingHTTPServer(("", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ip_if_one(host: str) -> object:
    try:
        return ip_address(host)
    except ValueError:
        return host


async def run(workspace: Path, script: str, *, network: bool = True, **given) -> CommandResult:
    given.setdefault("timeout", 30)
    sandbox = open_sandbox(SETTINGS)
    return await sandbox.run(["bash", "-c", script], workspace=workspace, network=network, **given)


ATTEMPTS = textwrap.dedent("""
    import json, socket, sys
    hosts, port = sys.argv[2:], int(sys.argv[1])
    def direct(host):
        with socket.create_connection((host, port), timeout=2) as s:
            s.sendall(b"GET /file HTTP/1.0\\r\\n\\r\\n")
            return s.recv(1000)
    def proxied(head):
        with socket.create_connection(("127.0.0.1", 3128), timeout=10) as s:
            s.sendall(head.encode() + b"\\r\\n\\r\\n")
            return s.recv(1000)
    found = {}
    for host in hosts:
        bracketed = f"[{host}]" if ":" in host else host
        ways = [
            lambda: direct(host),
            lambda: proxied(f"CONNECT {bracketed}:{port} HTTP/1.1"),
            lambda: proxied(f"GET http://{bracketed}:{port}/file HTTP/1.1"),
        ]
        found[host] = []
        for way in ways:
            try:
                found[host].append(way().split(b"\\r\\n")[0].decode())
            except OSError as error:
                found[host].append(type(error).__name__)
    print(json.dumps(found))
""")

INSIDE = ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::"]
NEARBY = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "fd00:ec2::254", "fe80::1"]


@pytest.fixture
def attempts(workspace: Path) -> str:
    (workspace / "attempts.py").write_text(ATTEMPTS)
    return "python3 attempts.py"


async def test_neither_the_host_nor_its_neighbourhood_can_be_reached(workspace, server, attempts):
    port = server.server_address[1]
    with socket.create_connection((OWN, port), timeout=5):
        pass  # it is there
    result = await run(workspace, f"{attempts} {port} {OWN} {' '.join(INSIDE + NEARBY)}")
    found = json.loads(result.output)
    assert set(found) == {OWN, *INSIDE, *NEARBY}
    for host, (direct, connect, get) in found.items():
        assert "HTTP" not in direct, host
        assert connect.startswith("HTTP/1.1 403 "), (host, connect)
        assert get.startswith("HTTP/1.1 403 "), (host, get)
    assert {ip_if_one(host) for host in result.refused_hosts} == {ip_if_one(host) for host in found}
    assert result.connections == 2 * len(found)


async def test_the_hosts_name_servers_and_nameless_sockets_cannot_be_reached(workspace):
    with socket.socket(socket.AF_UNIX) as nameless:
        nameless.bind(f"\0sdlc-test-{os.getpid()}")
        nameless.listen()
        script = f"import socket; socket.socket(socket.AF_UNIX).connect('\\\\0sdlc-test-{os.getpid()}')"
        result = await run(workspace, f'python3 -c "{script}"; cat /etc/resolv.conf; getent ahosts example.com')
    assert "ConnectionRefusedError" in result.output
    assert "No such file" in result.output
    assert result.exit_code != 0


async def test_a_mirror_that_the_worker_names_is_reached_wherever_it_is(workspace, server, monkeypatch):
    port = server.server_address[1]
    monkeypatch.setenv("UV_INDEX_URL", f"http://localhost:{port}/simple")
    script = f"""
        curl -sS http://localhost:{port}/file; echo; curl -sS --proxytunnel http://localhost:{port}/file; echo
        curl -sS http://127.0.0.1:{port}/file --noproxy ''
        echo $NO_PROXY
    """
    result = await run(workspace, script)
    assert result.output.splitlines()[:2] == ["reached", "reached"]
    assert "leads outside only: 127.0.0.1" in result.output  # another name of it isn't meant
    assert result.output.endswith("\n127.0.0.1,::1\n")
    assert result.refused_hosts == ("127.0.0.1",)


async def test_what_a_repository_sets_allows_nothing(workspace, server):
    port = server.server_address[1]
    mine = {"UV_INDEX_URL": f"http://localhost:{port}/", "HTTP_PROXY": f"http://localhost:{port}", "no_proxy": "*"}
    result = await run(workspace, f"curl -sS http://localhost:{port}/file --noproxy ''", env=mine)
    assert "leads outside only" in result.output
    assert "reached" not in result.output


async def test_git_goes_through_the_proxy(workspace, server, tmp_path, monkeypatch):
    for command in (
        ["init", "-q", "work"],
        ["-C", "work", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first", "--allow-empty"],
        ["clone", "-q", "--bare", "work", "site/repository.git"],
        ["-C", "site/repository.git", "update-server-info"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True, timeout=30)
    url = f"http://localhost:{server.server_address[1]}"
    monkeypatch.setenv("GOPROXY", f"{url}|direct")
    result = await run(workspace, f"git clone -q {url}/repository.git clone && git -C clone log --format=%s")
    assert result.output == "first\n"
    assert result.connections > 0


async def test_its_own_servers_are_reached_without_the_proxy(workspace):
    script = (
        "echo mine > file; python3 -m http.server 8000 >/dev/null 2>&1 & "
        "for i in {1..200}; do curl -s http://localhost:8000/file && break; sleep 0.05; done"
    )
    result = await run(workspace, script)
    assert (result.output, result.connections) == ("mine\n", 0)


async def test_certificates_and_mirrors_are_known_but_no_credential(workspace, tmp_path, monkeypatch):
    (tmp_path / "ca.pem").write_text("certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    monkeypatch.setenv("GOPROXY", "https://mirror.example")
    monkeypatch.setenv("UV_INDEX_URL", "https://me:planted-secret@mirror.example")
    monkeypatch.setenv("HTTP_PROXY", "http://me:planted-secret@proxy:3128")
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    script = "cat $SSL_CERT_FILE; echo; env"
    result = await run(workspace, script, env={"NO_PROXY": "theirs", "NPM_CONFIG_HTTPS_PROXY": "http://proxy:3128"})
    assert result.output.startswith("certificate\n")
    assert {"HTTPS_PROXY=http://127.0.0.1:3128", "GOPROXY=https://mirror.example"} <= set(result.output.splitlines())
    assert "NO_PROXY=localhost,127.0.0.1,::1\n" in result.output
    assert "planted-secret" not in result.output
    assert "http://proxy" not in result.output


async def test_nothing_of_it_is_in_a_sandbox_without_network(workspace, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    result = await run(workspace, "env; exec 3<>/dev/tcp/127.0.0.1/3128", network=False)
    assert result.exit_code != 0
    assert "proxy" not in result.output.lower()
    assert (result.connections, result.refused_hosts) == (0, ())


async def test_the_command_is_as_without_network(workspace):
    script = "ls /proc/self/fd; ps -e --no-headers | wc -l; grep -E 'SigIgn' /proc/self/status; echo $$; exit 7"
    outside = await run(workspace, script, network=False)
    inside = await run(workspace, script)
    assert (inside.output, inside.exit_code) == (outside.output, 7)
    missing = await open_sandbox(SETTINGS).run(["no-such-program"], workspace=workspace, timeout=10, network=True)
    assert missing.exit_code == 127
    assert "no-such-program" in missing.output
    assert (await run(workspace, "head -c 3M /dev/zero > big")).limit == "file"


async def test_it_starts_fast(workspace):
    sandbox = open_sandbox(SETTINGS)
    await sandbox.check()
    results = [await sandbox.run(["true"], workspace=workspace, timeout=10, network=True) for _ in range(5)]
    assert min(result.seconds for result in results) < 0.3  # 0.07 on an idle machine


async def test_the_way_out_dies_with_the_command(workspace, server, monkeypatch):
    port = server.server_address[1]
    monkeypatch.setenv("PIP_INDEX_URL", f"http://localhost:{port}/")
    script = f"exec 3<>/dev/tcp/127.0.0.1/3128; printf 'CONNECT localhost:{port} HTTP/1.1\\r\\n\\r\\n' >&3; sleep 600"
    sandbox = open_sandbox(SETTINGS)
    await sandbox.check()
    descriptors = len(os.listdir("/proc/self/fd"))
    tasks = len(asyncio.all_tasks())
    result = await run(workspace, script, timeout=1)
    assert (result.limit, result.connections) == ("time", 1)
    for delay in (0.0, 0.01, 0.05, 0.5):
        task = asyncio.create_task(run(workspace, script))
        await asyncio.sleep(delay)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    await asyncio.sleep(0.1)  # sockets are closed in the loop's next rounds
    assert len(os.listdir("/proc/self/fd")) <= descriptors + 2  # the server's, of connections it hasn't given up yet
    assert len(asyncio.all_tasks()) == tasks


async def test_many_at_once_have_a_way_out_each(workspace, server, monkeypatch, tmp_path):
    port = server.server_address[1]
    monkeypatch.setenv("UV_INDEX_URL", f"http://localhost:{port}/simple")
    folders = [tmp_path / str(number) for number in range(4)]
    for folder in folders:
        folder.mkdir()
    results = await asyncio.gather(*(run(folder, f"curl -sS http://localhost:{port}/file") for folder in folders))
    assert [(result.output, result.connections) for result in results] == [("reached", 1)] * 4


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.skipif(not Path(SYSTEM_PYTHON).exists(), reason="another user has no Python like ours here")
def test_it_is_the_same_for_an_unprivileged_user(server):
    port = server.server_address[1]
    script = textwrap.dedent(f"""
        import asyncio, concurrent.futures.thread, encodings.idna, json, os, pathlib, sys, tempfile
        from sdlc.config import SandboxSettings
        from sdlc.integrations.sandbox import open_sandbox
        sys.base_prefix = "/usr"  # ours may lie in a folder of root
        os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
        os.environ["UV_INDEX_URL"] = "http://localhost:{port}/"
        urls = "http://localhost:{port}/file", "http://{OWN}:{port}/file", "http://{OWN}:{port}/file --noproxy '*'"
        script = ";".join(f"curl -sS {{url}}" for url in urls)
        async def main():
            with tempfile.TemporaryDirectory() as folder:
                result = await open_sandbox(SandboxSettings()).run(
                    ["bash", "-c", script], workspace=pathlib.Path(folder), timeout=20, network=True
                )
                return [result.output, result.refused_hosts]
        print(json.dumps(asyncio.run(main())))
    """)
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONPATH": str(PROJECT), "PATH": os.environ["PATH"]},
    )
    assert done.returncode == 0, done.stderr
    output, refused = json.loads(done.stdout)
    assert output.startswith("reached")
    assert "leads outside only" in output
    assert "connect to" in output
    assert output.count("reached") == 1
    assert refused == [OWN]


# --- the parts ----------------------------------------------------------------------------


async def test_only_a_listening_socket_of_the_right_kind_is_taken_from_inside(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as right, contextlib.ExitStack() as stack:
        taken = egress._as_listener(os.dup(right.fileno()))
        assert taken is not None
        taken.close()
        unix = stack.enter_context(socket.socket(socket.AF_UNIX))
        unix.bind(str(tmp_path / "s"))
        unix.listen()
        idle = stack.enter_context(socket.socket())
        file = stack.enter_context(open(os.devnull))
        for wrong in (unix, idle, file):
            assert egress._as_listener(os.dup(wrong.fileno())) is None


def test_every_variable_for_a_proxy_is_replaced_and_nothing_else():
    names = (
        "HTTPS_PROXY pip_proxy NPM_CONFIG_PROXY npm_config_noproxy PROXY YARN_HTTP_PROXY NO_PROXY CARGO_HTTP_PROXY "
        "socks_proxy"
    )
    others = ["GOPROXY", "GONOPROXY", "PATH", "MY_PROXY_TEST"]
    given = {**dict.fromkeys(names.split(), "x"), **dict.fromkeys(others, "kept")}
    found = through("http://p:1", given, AllowedHosts())
    assert "x" not in found.values()
    assert [name for name, value in found.items() if value == "kept"] == others
    replaced = ("http_proxy", "HTTPS_PROXY", "all_proxy", "npm_config_https_proxy", "CARGO_HTTP_PROXY")
    assert {found[name] for name in replaced} == {"http://p:1"}
