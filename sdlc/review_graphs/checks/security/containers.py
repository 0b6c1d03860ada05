"""Dockerfiles and compose files: what runs in a container, as whom, and what of the host it can reach."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from sdlc.review_graphs.checks.base import Level
from sdlc.review_graphs.checks.security.risk import Risk
from sdlc.review_graphs.checks.security.secret_values import is_credential_name
from sdlc.review_graphs.checks.security.shell import Command
from sdlc.review_graphs.checks.security.yaml_nodes import Node

_INSTRUCTION = re.compile(r"^(?P<name>[A-Za-z]+)\s+(?P<rest>.*)$", re.DOTALL)
_HEREDOC = re.compile(r"<<-?\s*[\"']?(?P<end>\w+)")
_ROOTS = frozenset({"root", "0", "0:0", "root:root", "root:0", "0:root"})
_GIVES_UP_ROOT = re.compile(r"\b(?:gosu|su-exec|setpriv|chpst|s6-setuidgid|runuser|tini-static-user)\b")
_REMOTE = re.compile(r"(?P<url>https?://(?P<host>[^\s/]+)\S*)", re.IGNORECASE)
_VARIABLE = re.compile(r"\$\{?(?P<name>\w+)")
_SOCKET = re.compile(r"(?:docker|containerd|podman|crio)\.sock")
_STRONG = frozenset({"ALL", "SYS_ADMIN", "SYS_PTRACE", "SYS_MODULE", "NET_ADMIN", "DAC_READ_SEARCH"})


@dataclass(frozen=True)
class Instruction:
    name: str
    rest: str
    command: Command


@dataclass
class Stage:
    base: Instruction | None = None
    instructions: list[Instruction] = field(default_factory=list)

    @property
    def user(self) -> Instruction | None:
        """The last one: with it the container starts."""
        return next((item for item in reversed(self.instructions) if item.name == "USER"), None)


def stages(text: str | None) -> list[Stage]:
    found: list[Stage] = []
    for instruction in _instructions(text or ""):
        if instruction.name == "FROM":
            found.append(Stage(instruction))
        elif found:
            found[-1].instructions.append(instruction)
    return found


def run_commands(text: str | None) -> Iterator[Command]:
    """The shell commands of a Dockerfile, those of all stages."""
    for stage in stages(text):
        for item in stage.instructions:
            if item.name == "RUN":
                yield item.command


def image_risks(text: str | None, base: str | None) -> Iterator[Risk]:
    """`base` is the same Dockerfile before."""
    found = stages(text)
    if not found:
        return
    yield from _user(found[-1], stages(base))
    for stage in found:
        for item in stage.instructions:
            if item.name == "ADD" and "--checksum" not in item.rest:
                yield from _added_from_elsewhere(item)
    yield from _secrets_in_image(found[-1])


def compose_risks(root: Node) -> Iterator[Risk]:
    for name, service in root.at("services").items():
        yield from _service(name.text, service)


def pod_risks(root: Node) -> Iterator[Risk]:
    """The same of a Kubernetes manifest."""
    kind, name = root.at("kind").text, root.at("metadata", "name").text
    if not root.at("apiVersion") or not kind:
        return
    for place in (("spec",), ("spec", "template", "spec"), ("spec", "jobTemplate", "spec", "template", "spec")):
        spec = root.at(*place)
        for host in ("hostNetwork", "hostPID", "hostIPC"):
            if spec.at(host).is_true:
                severity: Level = "minor" if host == "hostNetwork" else "major"
                yield _reaches(f"`{host}`", spec.key(host), f"{name} {host}", severity)
        for container in (*spec.at("containers").elements(), *spec.at("initContainers").elements()):
            privileged = container.at("securityContext", "privileged")
            if privileged.is_true:
                yield _privileged(privileged, f"{name} {container.at('name').text}")
        for volume in spec.at("volumes").elements():
            path = volume.at("hostPath", "path")
            if _SOCKET.search(path.text):
                yield _socket(path, name)


def _user(stage: Stage, before: list[Stage]) -> Iterator[Risk]:
    if any(_GIVES_UP_ROOT.search(item.rest) for item in stage.instructions):
        return
    now = stage.user
    is_root = now is None or _plain_user(now) in _ROOTS
    was = before[-1].user if before else None
    had_other = was is not None and _plain_user(was) not in _ROOTS
    if not is_root or (not had_other and (now is None or bool(before))):
        return
    message = (
        "The container now starts as root: whoever breaks into the program has root in it, and on what is mounted."
        " Do what needs root before, and end with `USER` and another name."
    )
    yield Risk("root-user", "major" if had_other else "minor", message, now.command.lines if now else (), "user", 0.9)


def _plain_user(item: Instruction) -> str:
    return item.rest.strip().strip("\"'").lower()


def _added_from_elsewhere(item: Instruction) -> Iterator[Risk]:
    remote = _REMOTE.search(item.rest)
    if remote is None or re.search(r"\.git(?:#|$|\s)", remote["url"]):
        return
    is_plain = remote["url"].lower().startswith("http://")
    message = (
        f"What `{remote['host'][:80]}` gives on the day of the build goes into the image, whatever it is."
        " Say which it must be: `ADD --checksum=sha256:…`."
    )
    yield Risk("unchecked-add", "major" if is_plain else "minor", message, item.command.lines, remote["host"])


def _secrets_in_image(stage: Stage) -> Iterator[Risk]:
    """Build arguments that hold a secret: they stand in the history of the image, and as variables in all it runs."""
    kept = " ".join(item.rest for item in stage.instructions if item.name == "ENV")
    for item in stage.instructions:
        if item.name == "ARG":
            name, has_default, _ = item.rest.strip().partition("=")
            if is_credential_name(name) and not has_default and f"{name}=" not in kept:
                yield _in_image(item, name, "minor", "Everybody who has the image can read it in its history")
        elif item.name == "ENV":
            for name, value in re.findall(r"(\w+)(?:=|\s+)(\"[^\"]*\"|'[^']*'|\S+)", item.rest):
                variable = _VARIABLE.match(value.strip("\"'"))
                if variable and is_credential_name(name):
                    yield _in_image(
                        item, name, "major", "Everybody who has the image, and all that runs in it, can read it"
                    )


def _in_image(item: Instruction, name: str, severity: Level, who: str) -> Risk:
    message = f"`{name[:60]}` stays in the image. {who}. Build with `RUN --mount=type=secret`, and give it at run time."
    return Risk("secret-in-image", severity, message, item.command.where(name), f"{item.name} {name}", 0.7)


def _service(name: str, service: Node) -> Iterator[Risk]:
    if service.at("privileged").is_true:
        yield _privileged(service.key("privileged"), name)
    for option in ("network_mode", "pid", "ipc"):
        if service.at(option).text == "host":
            severity: Level = "minor" if option == "network_mode" else "major"
            yield _reaches(f"`{option}: host`", service.key(option), f"{name} {option}", severity)
    for capability in service.at("cap_add").elements():
        if capability.text.upper().removeprefix("CAP_") in _STRONG - {"NET_ADMIN"}:
            yield _reaches(f"`{capability.text}`", capability, f"{name} {capability.text}", "major")
    for volume in service.at("volumes").elements():
        source = volume if volume.text else volume.at("source")
        if _SOCKET.search(source.text):
            yield _socket(source, name)


def _privileged(node: Node, key: str) -> Risk:
    message = (
        "A privileged container is root on the host: it sees its devices and can mount its disks. Name what it needs"
        " instead (`cap_add`, `devices`)."
    )
    return Risk("privileged", "major", message, (node.line,), key, 0.9)


def _socket(node: Node, key: str) -> Risk:
    message = (
        "Whoever can speak to this socket starts containers as root on the host, also when it is mounted read-only."
        " Put a proxy before it that lets through only what is asked for, or do without."
    )
    return Risk("engine-socket", "major", message, (node.line,), key, 0.8)


def _reaches(what: str, node: Node, key: str, severity: Level) -> Risk:
    message = (
        f"With {what} the container is no longer kept apart from the host and from what else runs there. Do without,"
        " or open only what it needs, such as a port."
    )
    return Risk("host-access", severity, message, (node.line,), key, 0.7)


def _instructions(text: str) -> Iterator[Instruction]:
    lines = list(enumerate(text.split("\n"), 1))
    heredoc = ""
    parts: list[tuple[int, str]] = []
    for number, line in lines:
        bare = line.strip()
        if heredoc:
            heredoc = "" if bare == heredoc else heredoc
            if heredoc and parts[0][1][:3].upper() == "RUN":
                parts.append((number, f"{bare};"))
            if heredoc:
                continue
        elif not bare or bare.startswith("#"):
            continue  # also between continued lines, which they do not end
        else:
            parts.append((number, bare.removesuffix("\\").removesuffix("`").strip()))
            opened = _HEREDOC.search(bare) if parts[0][1][:3].upper() in ("RUN", "COP", "ADD") else None
            heredoc = opened["end"] if opened else ""
            if heredoc or bare.endswith(("\\", "`")):
                continue
        yield from _instruction(parts)
        parts = []
    yield from _instruction(parts)


def _instruction(parts: list[tuple[int, str]]) -> Iterator[Instruction]:
    match = _INSTRUCTION.match(" ".join(text for _, text in parts))
    if match:
        yield Instruction(match["name"].upper(), match["rest"], Command(tuple(parts)))
