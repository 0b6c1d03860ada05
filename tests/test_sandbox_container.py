"""Containers as a sandbox: on a real podman where there is one, and what we say to an engine, on a pretended docker.

`service` and `on_output` are shown here for all kinds.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sdlc.config import SandboxSettings
from sdlc.errors import ConfigurationError, SandboxUnavailable
from sdlc.integrations.sandbox import CommandResult, Mount, Sandbox, Service, open_sandbox
from tests.processes import alive, sleeper, until

MIB = 1024**2
IMAGE = "localhost/sdlc-test:1"
SETTINGS = SandboxSettings(
    kind="docker",
    image="example/tools:1",
    memory_bytes=300 * MIB,
    processes=60,
    cpu_seconds=20,
    file_bytes=30 * MIB,
    disk_bytes=40 * MIB,
    output_bytes=20_000,
)

DOCKER = """#!@python@ -IS
'''Does what docker would, without a container: a log of what it was asked, and the command on the machine itself.'''
import json, os, sys, time
here = os.path.dirname(os.path.abspath(__file__))
mode = open(here + "/mode").read().strip()
arguments = sys.argv[1:]
with open(here + "/log", "a") as log:
    log.write(json.dumps(arguments) + "\\n")
def fail(text, code=1):
    sys.exit(sys.stderr.write(text + "\\n") and code)
if mode == "no daemon":
    fail("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?")
if arguments[:2] == ["image", "inspect"]:
    if mode == "no image":
        fail("Error response from daemon: No such image: " + arguments[-1])
    print(json.dumps({"Env": ["PATH=/image/bin:/usr/bin"], "Volumes": {"/data": {}}}))
elif arguments[0] == "ps":
    print(open(here + "/strays").read(), end="")
elif arguments[0] == "create":
    if mode == "slow":
        time.sleep(1)
    if mode == "no init":
        fail("Error response from daemon: exec: docker-init: executable file not found in $PATH", 125)
    name = arguments[arguments.index("--name") + 1]
    env = open(arguments[arguments.index("--env-file") + 1]).read().splitlines()
    mounts = {}
    for given in (arguments[n + 1] for n, a in enumerate(arguments) if a == "--mount"):
        source, target = (given.split(name + "=")[1].split('"')[0] for name in ("source", "target"))
        mounts[target] = source
    entry = arguments.index("--entrypoint")
    with open(f"{here}/{name}.made", "w") as made:
        json.dump([env, mounts, arguments[entry + 3:]], made)
    with open(f"{here}/environment", "w") as seen:
        seen.write("\\n".join(env))
    print(name)
elif arguments[0] == "start":
    env, mounts, command = json.load(open(f"{here}/{arguments[-1]}.made"))
    if mode == "no shell":
        fail('OCI runtime create failed: exec: "/bin/sh": stat /bin/sh: no such file or directory', 127)
    for target in sorted(mounts, key=len, reverse=True):
        command = [part if " " in part and "\\n" not in part else part.replace(target, mounts[target])
                   for part in command]
    if mode == "no python":
        command = [part.replace("python3", "no-python3") for part in command]
    print("a warning of the engine", file=sys.stderr, flush=True)
    with open(f"{here}/{arguments[-1]}.pid", "w") as pid:
        pid.write(str(os.getpid()))
    env = dict(line.split("=", 1) for line in env)
    os.execve("/bin/sh", ["sh", *command], {**env, "HTTPS_PROXY": "http://me:planted-secret@proxy"})
elif arguments[0] == "inspect":
    name = arguments[-1]
    pid = open(f"{here}/{name}.pid").read()
    print({"{{.State.Pid}}": pid, "{{.State.OOMKilled}}": str(mode == "oom").lower()}[arguments[2]])
elif arguments[0] == "rm":
    if mode.startswith("busy"):
        open(here + "/mode", "w").write({"busy": "busy still", "busy still": "good"}[mode])
        fail("Error response from daemon: container could not be killed")
    for end in (".pid", ".made"):
        if os.path.exists(f"{here}/{arguments[-1]}{end}"):
            os.remove(f"{here}/{arguments[-1]}{end}")
"""


class Docker:
    """The pretended engine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "docker").write_text(DOCKER.replace("@python@", os.path.realpath(sys.executable)))
        (folder / "docker").chmod(0o755)
        (folder / "strays").touch()
        self.mode = "good"

    @property
    def mode(self) -> str:
        return (self.folder / "mode").read_text()

    @mode.setter
    def mode(self, value: str) -> None:
        (self.folder / "mode").write_text(value)

    @property
    def asked(self) -> list[list[str]]:
        log = self.folder / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def left(self) -> list[str]:
        """Containers that were made and not removed."""
        return [path.name for path in self.folder.glob("*.made")]


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    found = Docker(tmp_path / "engine")
    monkeypatch.setenv("PATH", f"{found.folder}:{os.environ['PATH']}")
    return found


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    (folder / "README").write_text("hello\n")
    return folder


_OPENED: dict[str, Sandbox] = {}
"""Those of the real engine, which take a second to be looked at."""


async def run(workspace: Path, script: str, *, settings: SandboxSettings = SETTINGS, **given) -> CommandResult:
    given.setdefault("timeout", 40)
    real = settings.kind == "podman"
    sandbox = _OPENED.setdefault(repr(settings), open_sandbox(settings)) if real else open_sandbox(settings)
    return await sandbox.run(["bash", "-c", script], workspace=workspace, **given)


# --- what is asked of an engine -----------------------------------------------------------


async def test_a_container_is_closed_on_all_sides(docker, workspace, tmp_path):
    (tmp_path / "a,b").mkdir()
    await run(workspace, "true", mounts=[Mount(tmp_path / "a,b", "/tools")])
    line = next(asked for asked in reversed(docker.asked) if asked[0] == "create")
    told = " ".join(line)
    for part in (
        "--network none --read-only --cap-drop ALL --security-opt no-new-privileges",
        "--init --interactive --pull never --log-driver none",
        f"--memory {375 * MIB} --memory-swap {375 * MIB}",  # more than is watched: reaching it can be told
        "--pids-limit 68",
        "--ulimit cpu=25:25 ",
        "--security-opt seccomp=/",
        f"--ulimit fsize={30 * MIB}:{30 * MIB}",
        "--ulimit core=0:0",
        f"--tmpfs /tmp:rw,exec,nosuid,nodev,mode=1777,size={150 * MIB}",
        f"--tmpfs /home/sandbox:rw,exec,nosuid,nodev,mode=1777,size={150 * MIB}",
        f"--tmpfs /data:rw,exec,nosuid,nodev,mode=1777,size={150 * MIB}",  # a volume of the image
        f'--mount type=bind,"source={workspace}","target=/work" ',
        f'--mount type=bind,"source={tmp_path}/a,b","target=/tools",readonly ',
        "--entrypoint /bin/sh example/tools:1 -c ",
    ):
        assert part in told, part
    assert re.search(r"--user (\d+):\1 ", told)
    assert "--user 0" not in told
    assert docker.asked[-1][:3] == ["rm", "--force", "--volumes"]
    assert docker.left == []


async def test_the_environment_is_the_allow_list_in_a_file_and_no_process_list_shows_it(docker, workspace, monkeypatch):
    monkeypatch.setenv("PLANTED_TOKEN", "planted-secret")
    result = await run(workspace, "env", env={"KEY": "gateway key"})
    names = {line.split("=")[0] for line in result.output.splitlines()}
    assert names - {"PWD", "SHLVL", "_", "OLDPWD"} == {"PATH", "HOME", "TMPDIR", "LANG", "TERM", "KEY"}
    assert "KEY=gateway key\n" in result.output
    assert ":/image/bin\n" in result.output  # what the image has is found too
    assert "planted-secret" not in result.output  # nor the proxy that docker's own configuration adds
    assert not any("gateway key" in part for asked in docker.asked for part in asked)
    with pytest.raises(ConfigurationError, match="more than one line"):
        await run(workspace, "env", env={"KEY": "a\nb"})


async def test_output_exit_codes_and_input_are_those_of_the_command(docker, workspace):
    result = await run(workspace, "pwd; cat; echo b >&2; echo c; exit 7", stdin=b"given\n")
    assert (result.exit_code, result.limit, result.sandboxed) == (7, None, True)
    assert result.output == f"{workspace}\ngiven\nb\nc\n"  # and not what the engine said
    for code in (125, 126, 127):
        assert (await run(workspace, f"echo mine; exit {code}")).exit_code == code
    missing = await open_sandbox(SETTINGS).run(["no-such-program"], workspace=workspace, timeout=20)
    assert missing.exit_code == 127
    assert "no-such-program" in missing.output


@pytest.mark.parametrize(
    ("mode", "named"),
    {
        "no daemon": "Is the docker daemon running.*Start docker, and let the worker's user reach it",
        "no image": "Pull or build the image first: `docker pull example/tools:1`",
        "no shell": "The image needs a shell at /bin/sh",
        "no init": "Install the engine's init program",
    }.items(),
)
async def test_an_engine_that_cannot_is_explained_with_the_mend(docker, workspace, mode, named):
    docker.mode = mode
    sandbox = open_sandbox(SETTINGS)
    with pytest.raises(SandboxUnavailable, match=named):
        await sandbox.check()
    with pytest.raises(SandboxUnavailable, match=named):
        await sandbox.run(["touch", "made"], workspace=workspace, timeout=20)
    assert not (workspace / "made").exists()
    assert docker.left == []


@pytest.mark.parametrize("kind", ["docker", "podman"])
async def test_without_the_engine_or_an_image_nothing_runs(kind, workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    settings = SETTINGS.model_copy(update={"kind": kind})
    with pytest.raises(SandboxUnavailable, match=rf"`{kind}` was not found"):
        await open_sandbox(settings).check()
    Docker(tmp_path / "nowhere").folder.joinpath("docker").rename(tmp_path / "nowhere" / kind)
    with pytest.raises(SandboxUnavailable, match=r"bash, git and Python 3 in it in `sandbox\.image`"):
        await open_sandbox(settings.model_copy(update={"image": ""})).check()


async def test_an_image_without_python_has_no_way_out_and_says_so(docker, workspace):
    sandbox = open_sandbox(SETTINGS)
    await sandbox.check()
    docker.mode = "no python"
    with pytest.raises(SandboxUnavailable, match=r"has no `python3`, which a command with a way out needs"):
        await sandbox.run(["true"], workspace=workspace, timeout=20, network=True)


async def test_a_folder_that_is_not_there_is_named(docker, workspace):
    with pytest.raises(ConfigurationError, match="/work/gone"):
        await run(workspace, "true", cwd="/work/gone")


async def test_running_out_of_memory_is_told_from_being_killed(docker, workspace):
    assert (await run(workspace, "kill -9 $$")).limit is None
    docker.mode = "oom"
    assert (await run(workspace, "kill -9 $$")).limit == "memory"


async def test_a_container_is_removed_at_the_time_limit_and_on_cancellation(docker, workspace):
    result = await run(workspace, "echo begun; sleep 600", timeout=1)
    assert (result.limit, result.timed_out, result.exit_code, result.output) == ("time", True, 137, "begun\n")
    assert docker.left == []
    task = asyncio.create_task(run(workspace, "touch begun; sleep 600"))
    await until((workspace / "begun").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert docker.left == []


async def test_cancelling_while_a_container_is_made_leaves_none(docker, workspace):
    sandbox = open_sandbox(SETTINGS)
    await sandbox.check()
    docker.mode = "slow"
    before = len(docker.asked)
    task = asyncio.create_task(sandbox.run(["true"], workspace=workspace, timeout=20))
    await until(lambda: len(docker.asked) > before)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [asked[0] for asked in docker.asked[before:]] == ["create", "rm"]
    assert docker.left == []


async def test_a_container_that_takes_its_time_to_die_is_removed_all_the_same(docker, workspace):
    sandbox = open_sandbox(SETTINGS)
    await sandbox.check()
    docker.mode = "busy"
    result = await sandbox.run(["bash", "-c", "exit 3"], workspace=workspace, timeout=20)
    assert result.exit_code == 3
    assert docker.left == []


async def test_what_a_killed_worker_left_running_is_removed_and_nothing_else(docker, workspace):
    host = socket.gethostname()
    own = Path("/proc/self/stat").read_text().rsplit(")")[1].split()[19]
    strays = {
        "dead": f"{host}/999999999/5",
        "reused": f"{host}/{os.getpid()}/5",
        "ours": f"{host}/{os.getpid()}/{own}",
        "elsewhere": "another-host/999999999/5",
    }
    (docker.folder / "strays").write_text("".join(f"{name} {worker}\n" for name, worker in strays.items()))
    await open_sandbox(SETTINGS).check()
    removed = [asked[-1] for asked in docker.asked if asked[0] == "rm"]
    assert [name for name in removed if name in strays] == ["dead", "reused"]


# --- a real engine ------------------------------------------------------------------------

PROGRAMS = (
    *("bash", "sh", "cat", "ls", "id", "env", "sleep", "head", "mkdir", "rm", "touch", "true"),
    *("setsid", "mount", "unshare", "mknod", "git", "ln", "grep"),
)


@pytest.fixture(scope="session")
def podman() -> Iterator[dict[str, str]]:
    """The environment of a podman with an image of this machine's programs, in a storage of its own."""
    if shutil.which("podman") is None or not Path("/usr/bin/python3").exists():
        pytest.skip("podman is not installed, so containers are only shown on a pretended engine")
    folder = Path(tempfile.mkdtemp(prefix="sdlc-podman-"))
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\nrunroot = "{folder}/run"\ngraphroot = "{folder}/graph"\n'
    )
    env = {"CONTAINERS_STORAGE_CONF": f"{folder}/storage.conf", "CONTAINERS_CONF": f"{folder}/containers.conf"}
    try:
        _make_image(folder / "image")
        said = ""
        for runtime in ("", "runc", "crun"):
            # Not every runtime can do with every version of cgroups.
            (folder / "containers.conf").write_text(f'[engine]\nruntime = "{runtime}"\n' if runtime else "")
            said = _try_podman(folder, {**os.environ, **env})
            if not said:
                break
        if said:
            pytest.skip(f"podman runs nothing here: {said}")
        yield env
    finally:
        subprocess.run(["podman", "rm", "--all", "--force"], env={**os.environ, **env}, capture_output=True, timeout=60)
        subprocess.run(["umount", f"{folder}/graph/overlay"], capture_output=True, timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def _try_podman(folder: Path, env: dict[str, str]) -> str:
    """What stands in the way; empty: nothing."""
    try:
        packed = subprocess.run(
            ["tar", "--owner=0", "--group=0", "-C", str(folder / "image"), "-c", "."], capture_output=True, check=True
        )
        made = subprocess.run(
            ["podman", "import", "-", IMAGE], input=packed.stdout, env=env, capture_output=True, timeout=90
        )
        limits = ["--ulimit", "nproc=999:999", "--ulimit", "nofile=999:999"]
        bounds = ["--init", "--memory", "99m", "--pids-limit", "99", *limits]
        command = ["podman", "run", "--rm", "--network", "none", *bounds, IMAGE, "true"]
        tried = subprocess.run(command, env=env, capture_output=True, timeout=90)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    said = (made.stderr if made.returncode else tried.stderr).decode().strip().splitlines()
    return (said or ["it said nothing"])[-1] if made.returncode or tried.returncode else ""


def _make_image(root: Path) -> None:
    """Programs of this machine with the libraries that they load, and its Python."""
    found = [path for name in PROGRAMS if (path := shutil.which(name, path="/usr/bin:/bin"))]
    python = Path(os.path.realpath("/usr/bin/python3"))
    library = Path("/usr/lib") / python.name
    modules = [str(path) for path in (library / "lib-dynload").glob("*.so")]
    told = subprocess.run(["ldd", *found, str(python), *modules], capture_output=True, text=True, timeout=60).stdout
    for name in {*found, str(python), *re.findall(r"(/\S+) \(0x", told)}:
        target = root / (name if name.startswith("/usr") else f"/usr{name}").lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(os.path.realpath(name), target)
    left_out = shutil.ignore_patterns("test", "__pycache__", "config-*", "idlelib", "tkinter", "lib2to3")
    shutil.copytree(library, root / "usr/lib" / python.name, ignore=left_out)
    (root / "usr/bin/python3").symlink_to(python.name)
    for name in ("bin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    for name in ("etc", "tmp", "home", "work"):
        (root / name).mkdir()
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")


REAL = SETTINGS.model_copy(update={"kind": "podman", "image": IMAGE})


@pytest.fixture
def engine(podman: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in podman.items():
        monkeypatch.setenv(name, value)


def containers() -> list[str]:
    done = subprocess.run(["podman", "ps", "--all", "--quiet"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.usefixtures("engine")
async def test_podman_runs_a_command_with_its_workspace(workspace, tmp_path):
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "a").write_text("a\n")
    mounts = [Mount(tmp_path / "tools", "/work/deep/tools")]
    script = "pwd; cat README deep/tools/a -; echo new > made; echo $KEY; id -u; echo x > deep/tools/a; exit 7"
    result = await run(workspace, script, settings=REAL, stdin=b"in\n", env={"KEY": "a b"}, mounts=mounts)
    said = result.output.splitlines()
    assert said[:5] == ["/work", "hello", "a", "in", "a b"]
    assert said[5] != "0"
    assert "Read-only file system" in said[6]
    assert (result.exit_code, result.limit, result.sandboxed) == (7, None, True)
    assert (workspace / "made").read_text() == "new\n"
    assert sorted(path.name for path in workspace.iterdir()) == ["README", "made"]
    assert containers() == []


ESCAPES = {
    "the host's loopback": ("cat < /dev/tcp/127.0.0.1/{port}", "Connection refused"),
    "a public address": ("cat < /dev/tcp/1.1.1.1/443", "Network is unreachable"),
    "the host's passwords": ("cat /etc/shadow", "No such file or directory"),
    "a file beside the workspace": ("cat {secret}", "No such file or directory"),
    "a symlink out": ("ln -s {secret} link; cat link", "No such file or directory"),
    "the system": ("echo x > /usr/bin/escaped", "Read-only file system"),
    "a mount": ("mount -t tmpfs none /tmp", "must be superuser"),
    "a device": ("mknod /tmp/disk b 8 0", "mknod: /tmp/disk: "),
    "the hypervisor": ("python3 -c 'import socket; socket.socket(40, 1)'", "Address family not supported"),
    "a user namespace": ("unshare --user true", "Operation not permitted"),
    "the worker": ("kill -9 {pid}", "No such process"),
    "the worker's memory": ("head -c 1 /proc/{pid}/mem", "No such file or directory"),
    "a setting of the kernel": ("echo x > /proc/sys/kernel/core_pattern", "Read-only file system"),
    "a capability": ("grep CapBnd /proc/self/status", "0000000000000000"),
    "a privilege by a program": ("grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1"),
    "the environment of the worker": ("cat /proc/*/environ; echo done", "done"),
    "the engine": ("ls /run/podman /var/run/docker.sock", "No such file or directory"),
}


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("attempt", ESCAPES)
async def test_a_container_is_no_way_to(attempt, workspace, tmp_path, monkeypatch):
    monkeypatch.setenv("PLANTED_TOKEN", "planted-secret")
    (tmp_path / "secret").write_text("planted-secret")
    script, answer = ESCAPES[attempt]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        script = script.format(port=port, secret=tmp_path / "secret", pid=os.getpid())
        result = await run(workspace, script, settings=REAL)
    assert answer in result.output, result.output
    assert "planted-secret" not in result.output
    assert not Path("/usr/bin/escaped").exists()


LIMITS = {
    "processes": "bomb() { bomb | bomb & }; bomb; sleep 60",
    "memory": "for i in 1 2 3 4 5; do python3 -c 'import time; x = b\"x\" * 65_000_000; time.sleep(60)' & done; wait",
    "file": 'python3 -c \'open("big", "wb").write(bytes(50_000_000))\'',
    "disk": "for i in 1 2 3; do head -c 20000000 /dev/zero > f$i; done; sleep 60",
    "cpu": "while :; do :; done",
    "output": "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done",
    "time": "sleep 60",
}


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("limit", LIMITS)
async def test_podman_holds_the_limit_of(limit, workspace, monkeypatch):
    monkeypatch.setattr("sdlc.integrations.sandbox.bubblewrap.LONGEST_OUTPUT", MIB)
    settings = REAL.model_copy(update={"cpu_seconds": 1} if limit == "cpu" else {})
    result = await run(workspace, LIMITS[limit], settings=settings, timeout=3 if limit == "time" else 40)
    assert result.limit == limit, result
    assert result.exit_code != 0
    assert containers() == []


@pytest.mark.usefixtures("engine")
async def test_podman_leaves_no_daemon_and_no_container(workspace):
    seconds = sleeper()
    script = f"setsid -f sleep {seconds}; (sleep {seconds} &); echo done"
    result = await run(workspace, script, settings=REAL)
    assert (result.output, result.exit_code) == ("done\n", 0)
    await until(lambda: not alive(f"sleep\0{seconds}"))
    task = asyncio.create_task(run(workspace, f"touch begun; sleep {seconds}", settings=REAL))
    await until((workspace / "begun").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: not alive(f"sleep\0{seconds}"))
    assert containers() == []


@pytest.mark.usefixtures("engine")
async def test_podman_without_the_image_says_what_to_pull():
    settings = REAL.model_copy(update={"image": "localhost/no-such-image:1"})
    with pytest.raises(SandboxUnavailable, match=r"Pull or build the image first: `podman pull localhost/no-such"):
        await open_sandbox(settings).check()


@pytest.mark.usefixtures("engine")
async def test_podman_with_network_reaches_what_the_operator_names_and_nothing_else(workspace, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = await asyncio.start_server(_answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("UV_INDEX_URL", f"http://localhost:{port}/")
    (workspace / "ask.py").write_text(
        "import socket, sys\n"
        "s = socket.create_connection(('127.0.0.1', 3128), timeout=20)\n"
        "s.sendall(f'GET http://{sys.argv[1]}/x HTTP/1.1\\r\\n\\r\\n'.encode())\n"
        "print(s.makefile().read())"
    )
    script = "python3 ask.py {}"
    async with server:
        named = await run(workspace, script.format(f"localhost:{port}"), settings=REAL, network=True)
        other = await run(workspace, script.format(f"127.0.0.1:{port}"), settings=REAL, network=True)
    assert "GET /x" in named.output
    assert "leads outside only" in other.output
    assert (named.connections, other.refused_hosts) == (1, ("127.0.0.1",))


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    line = await reader.readline()
    body = b"served: " + line
    writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    writer.close()


# --- for all kinds ------------------------------------------------------------------------


@pytest.fixture(params=["bubblewrap", "docker", "podman", "none"])
def sandbox(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    if request.param == "bubblewrap" and shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed")
    if request.param == "docker":
        request.getfixturevalue("docker")
    if request.param == "podman":
        request.getfixturevalue("engine")
    image = IMAGE if request.param == "podman" else "example/tools:1"
    return open_sandbox(SETTINGS.model_copy(update={"kind": request.param, "image": image}))


async def serve(listener: socket.socket) -> None:
    async with await asyncio.start_server(_answer, sock=listener) as server:
        await server.serve_forever()


async def test_a_service_is_reached_on_the_loopback_of_the_command(sandbox, workspace):
    port = sandbox.service_port()
    script = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{port}/v1', timeout=20).read())"
    (workspace / "ask.py").write_text(script)
    for _ in range(2):  # the same port may be had again
        result = await sandbox.run(
            ["python3", "ask.py"], workspace=workspace, timeout=40, service=Service(serve, port), env={"no_proxy": "*"}
        )
        assert "served: GET /v1" in result.output, result.output
        assert (result.exit_code, result.connections) == (0, 0)


async def test_a_service_and_the_network_are_not_had_together(sandbox, workspace):
    if sandbox.name == "none":
        pytest.skip("it can't deny the network")
    with pytest.raises(ConfigurationError, match="not both"):
        await sandbox.run(["true"], workspace=workspace, timeout=5, network=True, service=Service(serve, 3128))


async def test_a_service_ends_with_its_command(sandbox, workspace):
    ended = asyncio.Event()

    async def until_cancelled(listener: socket.socket) -> None:
        try:
            await serve(listener)
        finally:
            ended.set()

    service = Service(until_cancelled, sandbox.service_port())
    result = await sandbox.run(["sleep", "60"], workspace=workspace, timeout=2, service=service)
    assert result.limit == "time"
    assert ended.is_set()


async def test_output_is_told_as_it_comes_and_before_the_end(sandbox, workspace):
    told: list[tuple[float, bytes]] = []
    script = "echo one; until [ -e go ]; do sleep 0.05; done; echo two >&2; exit 3"
    started = time.monotonic()

    def hear(chunk: bytes) -> None:
        told.append((time.monotonic() - started, chunk))
        if b"one" in chunk:
            (workspace / "go").touch()  # it would never end if this came at the end

    result = await sandbox.run(["bash", "-c", script], workspace=workspace, timeout=30, on_output=hear)
    assert (result.exit_code, result.limit, result.output) == (3, None, "one\ntwo\n")
    assert b"".join(chunk for _at, chunk in told) == b"one\ntwo\n"


async def test_all_output_is_told_also_what_is_cut(sandbox, workspace):
    total = 0

    def hear(chunk: bytes) -> None:
        nonlocal total
        total += len(chunk)

    result = await sandbox.run(["head", "-c", "3000000", "/dev/zero"], workspace=workspace, timeout=40, on_output=hear)
    assert total == result.output_bytes == 3_000_000
    assert len(result.output) < 21_000


async def test_none_bounds_time_and_output(workspace, monkeypatch):
    monkeypatch.setattr("sdlc.integrations.sandbox.unprotected.LONGEST_OUTPUT", MIB)
    none = SandboxSettings(kind="none", output_bytes=20_000)
    flood = await run(workspace, "yes", settings=none)
    assert (flood.limit, flood.sandboxed) == ("output", False)
    assert len(flood.output) < 21_000
    assert (await run(workspace, "sleep 60", settings=none, timeout=0.5)).limit == "time"
