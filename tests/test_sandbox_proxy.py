"""The proxy that leads out of a sandbox: what it lets through, and what it makes of everything else."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from sdlc.integrations.sandbox import addresses, proxy
from sdlc.integrations.sandbox.addresses import is_outside, is_own
from sdlc.integrations.sandbox.allowed import AllowedHosts, mirrors
from sdlc.integrations.sandbox.proxy import Proxy
from sdlc.integrations.sandbox.upstream import Upstream, UpstreamUnusable, upstream

OWN = next((str(ip) for ip in addresses._listed(4) if not ip.is_loopback), "127.0.0.1")


class Far:
    """A server that remembers what it was sent, and answers it."""

    def __init__(self, answer: bytes) -> None:
        self.answer = answer
        self.received: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.received.append(b"")
        number = len(self.received) - 1
        with contextlib.suppress(OSError):
            while chunk := await reader.read(4096):
                self.received[number] += chunk
                writer.write(self.answer)
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def far(answer: bytes = b"pong") -> AsyncIterator[Far]:
    found = Far(answer)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    try:
        yield found
    finally:
        server.close()


@contextlib.asynccontextmanager
async def serving(served: Proxy) -> AsyncIterator[Callable]:
    """Gives `ask(bytes)`: all that the proxy answers until it closes or is silent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        task = asyncio.create_task(served.serve(listener))
        port = listener.getsockname()[1]

        async def ask(*sent: bytes, wait: float = 5.0, enough: bytes = b"") -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            answer = b""
            with contextlib.suppress(TimeoutError, OSError):
                async with asyncio.timeout(wait):
                    for part in sent:
                        writer.write(part)
                        answer += await reader.read(65536)
                    while not (enough and enough in answer) and (chunk := await reader.read(65536)):
                        answer += chunk
            writer.close()
            return answer

        ask.port = port
        try:
            yield ask
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def stub(**names: list[str]):
    async def resolve(host: str, port: int) -> list[str]:
        return names.get(host.replace(".", "_"), [host] if host.replace(".", "").isdigit() else [])

    return resolve


# --- the way through ----------------------------------------------------------------------


async def test_connect_to_an_allowed_host_goes_through_both_ways():
    async with far() as there, serving(Proxy(AllowedHosts([f"localhost:{there.port}"]), {})) as ask:
        answer = await ask(f"CONNECT localhost:{there.port} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), b"ping", wait=0.5)
    assert answer == b"HTTP/1.1 200 Connection established\r\n\r\npong"
    assert there.received == [b"ping"]


async def test_a_request_for_http_is_passed_on_as_a_server_wants_it():
    allowed = AllowedHosts(["127.0.0.1"])
    async with far(b"HTTP/1.1 200 OK\r\n\r\nhello") as there, serving(Proxy(allowed, {})) as ask:
        head = (
            f"POST HTTP://127.0.0.1:{there.port}?a=b HTTP/1.1\r\nHost: elsewhere\r\nX-Mine:  1 \r\n"
            "Proxy-Authorization: planted\r\nProxy-Connection: keep-alive\r\nContent-Length: 4\r\n\r\nbody"
        )
        answer = await ask(head.encode(), wait=0.5)
    assert answer == b"HTTP/1.1 200 OK\r\n\r\nhello"
    expected = f"POST /?a=b HTTP/1.1\r\nHost: 127.0.0.1:{there.port}\r\nConnection: close\r\nX-Mine: 1\r\n"
    assert there.received == [f"{expected}Content-Length: 4\r\n\r\nbody".encode()]


async def test_large_transfers_pass_whole_and_in_step():
    payload = bytes(range(256)) * 20_000
    received = bytearray()

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.read(-1))
        writer.write(payload)
        writer.close()

    async with await asyncio.start_server(swallow, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with serving(Proxy(AllowedHosts(["127.0.0.1"]), {})) as ask:
            reader, writer = await asyncio.open_connection("127.0.0.1", ask.port)
            writer.write(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode() + payload)
            writer.write_eof()
            async with asyncio.timeout(20):
                answer = await reader.read(-1)
            writer.close()
    assert bytes(received) == payload
    assert answer.partition(b"\r\n\r\n")[2] == payload


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.8.8.8", "localhost", "LOCALHOST.", "2130706433", "0x7f000001", "017700000001", "127.1"),
        *("0.0.0.0", "10.1.2.3", "172.31.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "[::]"),
        *("[::1]", "[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[fe80::1]", "[fd00:ec2::254]", "[64:ff9b::7f00:1]", OWN),
    ],
)
async def test_what_is_not_outside_is_refused(host):
    served = Proxy(AllowedHosts(["elsewhere.example"]), {})
    async with serving(served) as ask:
        for request in (f"CONNECT {host}:7233 HTTP/1.1", f"GET http://{host}/ HTTP/1.1"):
            assert (await ask(f"{request}\r\n\r\n".encode())).startswith(b"HTTP/1.1 403 ")
    assert len(served.refused_hosts) == 1
    assert served.connections == 2


async def test_a_name_with_one_address_that_is_not_outside_is_refused():
    served = Proxy(AllowedHosts(), {}, stub(two_example=["203.0.113.80", "127.0.0.1"]))
    async with serving(served) as ask:
        assert (await ask(b"CONNECT two.example:443 HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 403 ")
    assert served.refused_hosts == ("two.example",)


async def test_a_name_that_changes_its_address_is_connected_to_the_one_that_was_looked_at(monkeypatch):
    looked_at: list[str] = []
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])

    async def rebinding(host: str, port: int) -> list[str]:
        return next(answers)

    def outside(address: str) -> bool:
        looked_at.append(address)
        return address == "127.0.0.1"  # stands for one that is outside

    monkeypatch.setattr(proxy, "is_outside", outside)
    async with far() as there, serving(Proxy(AllowedHosts(), {}, rebinding)) as ask:
        head = f"CONNECT rebind.example:{there.port} HTTP/1.1\r\n\r\n".encode()
        assert b"pong" in await ask(head, b"ping", wait=0.5)
        assert looked_at == ["127.0.0.1"]
        assert (await ask(head)).startswith(b"HTTP/1.1 403 ")
    assert there.received == [b"ping"]


async def test_an_allowed_port_does_not_allow_another():
    served = Proxy(AllowedHosts(["localhost:3141"]), {})
    async with serving(served) as ask:
        assert (await ask(b"CONNECT localhost:7233 HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 403 ")


async def test_what_was_refused_is_kept_in_bounds():
    served = Proxy(AllowedHosts(), {})
    async with serving(served) as ask:
        await asyncio.gather(*(ask(f"CONNECT 10.0.0.{n}:1 HTTP/1.1\r\n\r\n".encode()) for n in range(80)))
    assert len(served.refused_hosts) == 50
    assert served.connections == 80


@pytest.mark.parametrize(
    "sent",
    [
        *(b"\r\n\r\n", b"hello\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET http://x/ HTTP/2.0\r\n\r\n"),
        *(b"CONNECT x HTTP/1.1\r\n\r\n", b"CONNECT x:0 HTTP/1.1\r\n\r\n", b"CONNECT x:99999 HTTP/1.1\r\n\r\n"),
        *(b"CONNECT :443 HTTP/1.1\r\n\r\n", b"CONNECT [::g]:443 HTTP/1.1\r\n\r\n", b"CONNECT a b:1 HTTP/1.1\r\n\r\n"),
        *(b"CONNECT x:443 HTTP/1.1\n\n", b"CONNECT fe80::1%lo:1 HTTP/1.1\r\n\r\n", b"CONNECT \xff:1 HTTP/1.1\r\n\r\n"),
        *(b"GET https://x/ HTTP/1.1\r\n\r\n", b"GET http:///x HTTP/1.1\r\n\r\n", b"GET ftp://x/ HTTP/1.1\r\n\r\n"),
        *(
            b"GET http://me@x/ HTTP/1.1\r\n\r\n",
            b"GET http://x/#f HTTP/1.1\r\n\r\n",
            b"G\0T http://x/ HTTP/1.1\r\n\r\n",
        ),
        *(b"GET http://x/ HTTP/1.1\r\n a: folded\r\n\r\n", b"GET http://x/ HTTP/1.1\r\nno colon\r\n\r\n"),
        *(b"GET http://x/ HTTP/1.1\r\na: b\rc\r\n\r\n", b"GET http://x/ HTTP/1.1\r\na : b\r\n\r\n"),
        b"POST http://x/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST http://x/ HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST http://x/ HTTP/1.1\r\nContent-Length: +1\r\n\r\n",
        b"CONNECT " + b"x" * 300 + b":443 HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_malformed_request_is_told_so(sent):
    served = Proxy(AllowedHosts(["x"]), {}, stub())
    async with serving(served) as ask:
        assert (await ask(sent)).startswith(b"HTTP/1.1 400 ")
    assert served.refused_hosts == ()


async def test_a_head_without_end_is_refused_and_so_is_one_that_does_not_come(monkeypatch):
    monkeypatch.setattr(proxy, "HEAD_SECONDS", 0.1)
    async with serving(Proxy(AllowedHosts(), {})) as ask:
        many = b"GET http://x/ HTTP/1.1\r\n" + b"a: b\r\n" * 10_000
        assert (await ask(many)).startswith(b"HTTP/1.1 431 ")
        assert (await ask(b"GET http://x/" + b"a" * 100_000)).startswith(b"HTTP/1.1 431 ")
        assert (await ask(b"GET http")).startswith(b"HTTP/1.1 408 ")


async def test_what_does_not_answer_is_an_error_of_the_gateway(monkeypatch):
    async def slow(host: str, port: int) -> list[str]:
        await asyncio.sleep(60)
        return []

    monkeypatch.setattr(proxy, "CONNECT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    async with serving(Proxy(AllowedHosts(["127.0.0.1"]), {}, stub())) as ask:
        assert (await ask(f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\n".encode())).startswith(b"HTTP/1.1 502 ")
        assert (await ask(b"CONNECT nowhere.example:443 HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 502 ")
    async with serving(Proxy(AllowedHosts(), {}, slow)) as ask:
        assert (await ask(b"CONNECT nowhere.example:443 HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 504 ")


# --- bounds -------------------------------------------------------------------------------


async def test_an_idle_connection_is_ended(monkeypatch):
    monkeypatch.setattr(proxy, "IDLE_SECONDS", 0.2)
    async with far() as there, serving(Proxy(AllowedHosts(["127.0.0.1"]), {})) as ask:
        async with asyncio.timeout(3):
            answer = await ask(f"CONNECT 127.0.0.1:{there.port} HTTP/1.1\r\n\r\n".encode(), wait=10)
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_only_so_many_are_attended_at_once_and_the_others_wait(monkeypatch):
    monkeypatch.setattr(proxy, "MOST_CONNECTIONS", 2)
    served = Proxy(AllowedHosts(["127.0.0.1"]), {})
    async with far() as there, serving(served) as ask:
        held = [await asyncio.open_connection("127.0.0.1", ask.port) for _ in range(2)]
        head = f"CONNECT 127.0.0.1:{there.port} HTTP/1.1\r\n\r\n".encode()
        waiting = [asyncio.create_task(ask(head, b"ping", wait=10, enough=b"pong")) for _ in range(6)]
        await asyncio.sleep(0.1)
        assert (served.connections, there.received) == (2, [])
        for _reader, writer in held:
            writer.close()
        async with asyncio.timeout(10):
            answers = await asyncio.gather(*waiting)
        assert all(answer.endswith(b"pong") for answer in answers)


async def test_all_connections_end_with_the_proxy():
    async with far() as there:
        async with serving(Proxy(AllowedHosts(["127.0.0.1"]), {})) as ask:
            reader, writer = await asyncio.open_connection("127.0.0.1", ask.port)
            writer.write(f"CONNECT 127.0.0.1:{there.port} HTTP/1.1\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            async with asyncio.timeout(2):
                assert await reader.read() == b""
        writer.close()


# --- the worker's own proxy ---------------------------------------------------------------

ESTABLISHED = b"HTTP/1.1 200 OK\r\n\r\n"


async def test_the_workers_proxy_is_asked_by_name_and_with_its_credential(monkeypatch):
    monkeypatch.setattr(proxy, "is_own", lambda _address: False)  # as if it were another machine
    async with far(ESTABLISHED) as above:
        environ = {"HTTPS_PROXY": f"http://me:p%40ss@127.0.0.1:{above.port}"}
        async with serving(Proxy(AllowedHosts(), environ, stub(known_example=["203.0.113.80"]))) as ask:
            for name in ("known.example", "unknown.example"):
                answer = await ask(f"CONNECT {name}:443 HTTP/1.1\r\n\r\n".encode(), wait=0.3)
                assert answer.startswith(b"HTTP/1.1 200 ")
    credential = base64.b64encode(b"me:p@ss").decode()
    assert above.received == [
        f"CONNECT {name}:443 HTTP/1.1\r\nHost: {name}:443\r\nProxy-Authorization: Basic {credential}\r\n\r\n".encode()
        for name in ("known.example", "unknown.example")
    ]


async def test_behind_the_workers_proxy_too_what_is_not_outside_is_refused():
    async with far(ESTABLISHED) as above:
        environ = {"ALL_PROXY": f"127.0.0.1:{above.port}"}
        async with serving(Proxy(AllowedHosts(), environ, stub(inner_example=["10.0.0.1"]))) as ask:
            for host in ("10.0.0.1", "inner.example"):
                assert (await ask(f"CONNECT {host}:443 HTTP/1.1\r\n\r\n".encode())).startswith(b"HTTP/1.1 403 ")
                assert (await ask(f"GET http://{host}/ HTTP/1.1\r\n\r\n".encode())).startswith(b"HTTP/1.1 403 ")
    assert above.received == []


async def test_a_proxy_on_this_machine_is_asked_for_addresses_that_were_looked_at_and_for_what_is_allowed():
    async with far(ESTABLISHED) as above:
        environ = {"https_proxy": f"http://127.0.0.1:{above.port}"}
        resolve = stub(known_example=["203.0.113.80"])
        async with serving(Proxy(AllowedHosts(["mirror.example"]), environ, resolve)) as ask:
            answers = [
                await ask(f"CONNECT {name}.example:443 HTTP/1.1\r\n\r\n".encode(), wait=0.3)
                for name in ("known", "mirror", "unknown")
            ]
    assert [answer[9:12] for answer in answers] == [b"200", b"200", b"403"]
    asked = [head.split()[1] for head in above.received if head]
    assert asked == [b"203.0.113.80:443", b"mirror.example:443"]


async def test_a_second_request_cannot_be_smuggled_to_the_workers_proxy(monkeypatch):
    monkeypatch.setattr(proxy, "is_own", lambda _address: False)
    async with far(b"HTTP/1.1 200 OK\r\n\r\n") as above:
        environ = {"http_proxy": f"http://127.0.0.1:{above.port}"}
        async with serving(Proxy(AllowedHosts(), environ, stub())) as ask:
            head = (
                "POST http://x.example/a HTTP/1.1\r\nContent-Length: 4\r\n\r\nbodyCONNECT 10.0.0.1:443 HTTP/1.1\r\n\r\n"
            )
            await ask(head.encode(), wait=0.3)
            chunked = b"POST http://x.example/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
            assert (await ask(chunked)).startswith(b"HTTP/1.1 411 ")
    assert above.received[0].startswith(b"POST http://x.example:80/a HTTP/1.1\r\n")
    assert above.received[0].endswith(b"\r\n\r\nbody")
    assert b"CONNECT" not in b"".join(above.received)


async def test_what_the_workers_proxy_refuses_is_told():
    async with far(b"HTTP/1.1 407 Who?\r\n\r\n") as above:
        environ = {"https_proxy": f"http://127.0.0.1:{above.port}"}
        async with serving(Proxy(AllowedHosts(["x.example"]), environ, stub())) as ask:
            answer = await ask(b"CONNECT x.example:443 HTTP/1.1\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 502 The worker's proxy answered 407 for x.example\r\n")


def test_the_workers_proxy_is_found_as_everybody_finds_it():
    environ = {
        "HTTPS_PROXY": "http://a",
        "https_proxy": "https://b:8443",
        "all_proxy": "c:1",
        "NO_PROXY": "in.corp,.x:8",
    }
    assert upstream(environ, "out", 443, tunnel=True) == Upstream("b", 8443, True)
    assert upstream(environ, "out", 80, tunnel=False) == Upstream("c", 1, False)
    for host in ("in.corp", "a.in.corp"):
        assert upstream(environ, host, 443, tunnel=True) is None
    assert upstream(environ, "min.corp", 443, tunnel=True) is not None
    assert upstream(environ, "y.x", 8, tunnel=True) is None
    assert upstream(environ, "y.x", 9, tunnel=True) is not None
    assert upstream({"all_proxy": "c", "no_proxy": "10.0.0.0/8"}, "10.1.1.1", 443, tunnel=True) is None
    assert upstream({"all_proxy": "c", "no_proxy": "*"}, "out", 443, tunnel=True) is None
    assert upstream({}, "out", 443, tunnel=True) is None
    for wrong in ("socks5://c:1", "http://c:x", "http://"):
        with pytest.raises(UpstreamUnusable):
            upstream({"all_proxy": wrong}, "out", 443, tunnel=True)


async def test_a_socks_proxy_is_not_passed_by():
    async with serving(Proxy(AllowedHosts(), {"all_proxy": "socks5://c:1"}, stub(x=["203.0.113.80"]))) as ask:
        assert b"none for HTTP" in await ask(b"CONNECT x:443 HTTP/1.1\r\n\r\n")


# --- addresses and names ------------------------------------------------------------------


@pytest.mark.parametrize("address", ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::101:101"])
def test_public_addresses_are_outside(address):
    assert is_outside(address)


@pytest.mark.parametrize(
    "address",
    [
        *("168.63.129.16", "192.0.0.192", "198.18.0.1", "255.255.255.255", "240.0.0.1", "2002:7f00:1::", "2001::1"),
        *("ff02::1", "fec0::1", "fe80::1%eth0", "::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "::ffff:8.8.8.8"),
    ],
)
def test_special_addresses_are_not_outside(address):
    assert not is_outside(address)


@pytest.mark.parametrize("anything", [False, True])
def test_the_machines_own_addresses_are_known(anything, monkeypatch):
    monkeypatch.setattr(addresses, "_binds_anything", lambda _version: anything)
    for version in (4, 6):
        for address in addresses._listed(version):
            assert is_own(str(address))
            assert not is_outside(str(address))
    assert not is_own("1.1.1.1")
    assert not is_own("2606:4700::1111")
    assert is_own(f"::ffff:{OWN}")


def test_the_hosts_of_mirrors_are_allowed_at_their_port():
    environ = {
        "UV_INDEX": "main=https://me:secret@Index.corp/simple other=http://10.0.0.5:8080/simple",
        "GOPROXY": "http://go.corp|https://[fd00::1]:8443,direct",
        "npm_config_registry": "http://localhost:4873/",
        "CARGO_REGISTRIES_OURS_INDEX": "sparse+https://cargo.corp/index/",
        "HTTP_PROXY": "http://proxy.corp:3128",
        "OPENAI_BASE_URL": "http://model.corp:11434",
        "PIP_INDEX_URL": "http://wrong:port/",
    }
    allowed = AllowedHosts(mirrors(environ))
    for host, port in [
        *(("index.corp", 443), ("10.0.0.5", 8080), ("go.corp", 80), ("fd00::1", 8443), ("localhost", 4873)),
        ("cargo.corp", 443),
    ]:
        assert allowed.allows(host, port)
        assert not allowed.allows(host, 7233)
    assert allowed.hosts.isdisjoint({"proxy.corp", "model.corp", "wrong"})
    assert AllowedHosts(["Any.Corp.", "fd00::2"]).allows("any.corp", 1)
    assert AllowedHosts(["fd00::2"]).allows("fd00::2", 1)
