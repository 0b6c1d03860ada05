"""Notices on their way to people: routing, formats, and deliveries to real HTTP receivers that misbehave."""

from __future__ import annotations

import asyncio
import html
import json
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import structlog
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from pydantic import SecretStr, ValidationError
from temporalio.testing import ActivityEnvironment

from sdlc.activities import ReleaseRun
from sdlc.config import LogSettings, Settings
from sdlc.config.intake import PersonSettings
from sdlc.config.notify import ChannelSettings, DigestSettings, NotifySettings
from sdlc.digest import NOT_ALL_TOLD
from sdlc.domain import Repository, RunIdentity
from sdlc.errors import ConfigurationError, PermissionDenied, ServiceUnavailable
from sdlc.integrations.notify import LocalNotifier, ledger
from sdlc.integrations.notify.channels import ChannelNotifier, NotAllTold
from sdlc.integrations.notify.ledger import Ledger, PerhapsTold
from sdlc.integrations.notify.message import FORMATS, Link, Listed, Message, fitted, message_of, one_line, uncalled
from sdlc.integrations.notify.routing import expanded, hears, only_reader
from sdlc.integrations.notify.slack import escaped, payload
from sdlc.integrations.ports import Notice
from sdlc.runtime import telemetry
from sdlc.runtime.activity_failures import as_failure
from sdlc.runtime.redaction import Redactor
from sdlc.runtime.telemetry import configure_logging
from sdlc.steps import close_story
from sdlc.steps.close_story import CloseSteps
from sdlc.untrusted import visible_text

RUN = RunIdentity(workflow_id="sdlc-BUG-1", run_id="r1", ticket_key="BUG-1", link="http://temporal.example/run")


def a_notice(**more: Any) -> Notice:
    fields: dict[str, Any] = {
        "event": "needs_approval",
        "title": "BUG-1 waits for an approval of abc",
        "body": "In short: no open findings; unit tests: 12 passed.",
        "run": RUN,
        "url": "https://forge.example/pulls/7",
        "repository": "acme/parcel",
        "head_sha": "abc",
    }
    return Notice(**{**fields, **more})


# --- a receiver ---------------------------------------------------------------------------


@dataclass
class Receiver:
    """An HTTP server that answers as its script says, then 200: a status, `hang`, `cut` (before reading), `lost`
    (taken, and cut off before an answer), `half` (a status line, and no more)."""

    script: list[int | str] = field(default_factory=list)
    taken: list[Any] = field(default_factory=list)
    """What arrived and was answered with 200, or not at all."""
    tries: int = 0
    port: int = 0
    body: bytes = b"ok"
    headers: tuple[str, ...] = ("Retry-After: 7",)
    at_once: int = 0
    most_at_once: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/T0/B0/s3cr3t-hook"

    @property
    def apprise_url(self) -> str:
        return f"json://127.0.0.1:{self.port}/s3cr3t-hook"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # who sent has gone, or the test is over
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tries += 1
        act = self.script.pop(0) if self.script else 200
        if act == "cut":
            return
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(int(line.split(":")[1]) for line in head.split("\r\n") if line.lower().startswith("content-le"))
        content = json.loads(await reader.readexactly(length))
        if act == "hang":
            await asyncio.sleep(30)
            return
        if act == "lost":
            self.taken.append(content)
            return
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.02)
        self.at_once -= 1
        status = 200 if act == "half" else act
        if status == 200:
            self.taken.append(content)
        length = 1_000 if act == "half" else len(self.body)
        lines = (f"HTTP/1.1 {status} X", f"Content-Length: {length}", "Connection: close", *self.headers, "", "")
        writer.write("\r\n".join(lines).encode() + (b"" if act == "half" else self.body))
        await writer.drain()


Make = Callable[..., Any]


@pytest.fixture
async def receivers() -> AsyncIterator[Callable[[], Any]]:
    doors: list[asyncio.Server] = []

    async def open_one(*script: int | str) -> Receiver:
        receiver = Receiver(list(script))
        door = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
        receiver.port = door.sockets[0].getsockname()[1]
        doors.append(door)
        return receiver

    yield open_one
    for door in doors:
        door.close()


def slack(receiver: Receiver, name: str = "team", **more: Any) -> ChannelSettings:
    return ChannelSettings(name=name, slack_webhook=SecretStr(receiver.url), **more)


def json_url(receiver: Receiver, name: str = "hook", **more: Any) -> ChannelSettings:
    return ChannelSettings(name=name, url=SecretStr(receiver.apprise_url), **more)


def notifier(folder: Path, *channels: ChannelSettings, seconds: float = 10, **more: Any) -> ChannelNotifier:
    return ChannelNotifier(NotifySettings(channels=channels, timeout_seconds=seconds), folder, **more)


def told_locally(folder: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in (folder / "notices.jsonl").read_text().splitlines()]


@pytest.fixture
def log(settings: Settings, tmp_path: Path) -> Iterator[Path]:
    """The log as a worker writes it, with all that there is to say; its redactor knows none of our secrets."""
    file = tmp_path / "logs" / "worker.log"
    root = logging.getLogger()
    before = root.level
    configure_logging(settings.model_copy(update={"log": LogSettings(level="debug", format="json")}), file=file)
    yield file
    for handler in [one for one in root.handlers if isinstance(one, telemetry._Handler)]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(before)
    structlog.reset_defaults()


# --- routing ------------------------------------------------------------------------------

ADA = PersonSettings(name="Ada Lovelace", email="ada@example.com", github="ada", jira="557058:ada")


@pytest.mark.parametrize(
    ("channel", "event", "repository", "people", "wanted"),
    [
        ({}, "budget", "", (), True),
        ({"events": ("finished",)}, "budget", "acme/parcel", (), False),
        ({"events": ("finished", "budget")}, "budget", "acme/parcel", (), True),
        ({"repositories": ("acme/*",)}, "budget", "Acme/Parcel", (), True),
        ({"repositories": ("acme/*",)}, "budget", "other/parcel", (), False),
        ({"repositories": ("acme/*",)}, "budget", "", (), False),
        ({"people": ("ada@example.com",)}, "reminder", "x", ("bob", "@ada"), True),
        ({"people": ("557058:ada",)}, "reminder", "x", ("ADA",), True),
        ({"people": ("ada",)}, "reminder", "x", ("bob",), False),
        ({"people": ("ada",)}, "reminder", "x", (" ",), False),
        ({"people": ("ada",)}, "reminder", "x", (), True),
        ({}, "reminder", "x", ("bob",), True),
    ],
)
def test_a_channel_hears_by_event_repository_and_person(
    channel: dict[str, Any], event: str, repository: str, people: tuple[str, ...], wanted: bool
) -> None:
    settings = ChannelSettings(name="c", url=SecretStr("json://x"), **channel)
    assert hears(settings, event=event, repository=repository, people=people, known=[ADA]) is wanted


@pytest.mark.parametrize(
    ("owners", "people", "reader"),
    [
        (("Ada Lovelace",), ("bob", "ada"), "ada"),
        (("ada", "bob"), ("ada",), ""),
        ((), ("ada",), ""),
        (("bob",), ("ada",), ""),
    ],
)
def test_only_a_channel_of_one_person_is_read_by_nobody_else(
    owners: tuple[str, ...], people: tuple[str, ...], reader: str
) -> None:
    settings = ChannelSettings(name="c", url=SecretStr("json://x"), people=owners)
    assert only_reader(settings, people, [ADA]) == reader


def test_groups_stand_for_their_people_and_a_group_that_is_not_there_is_named() -> None:
    assert expanded(("@core", "ada", "eve"), {"core": ("ada", "bob")}, "c") == ("ada", "bob", "eve")
    with pytest.raises(ConfigurationError, match=r"channel team names @cor, .* `groups`"):
        expanded(("@cor",), {"core": ("ada",)}, "team")


# --- configuration ------------------------------------------------------------------------


def test_a_secret_comes_from_the_environment_and_is_missed_only_by_who_sends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TEAM_HOOK", "https://hooks.example/a")
    there = ChannelSettings(name="team", slack_webhook=SecretStr("env:TEAM_HOOK"))
    assert there.address() == "https://hooks.example/a"
    monkeypatch.delenv("TEAM_HOOK")
    away = ChannelSettings(name="team", slack_webhook=SecretStr("env:TEAM_HOOK"))
    with pytest.raises(ConfigurationError, match="channel team needs the variable TEAM_HOOK"):
        notifier(tmp_path, away)


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "c"},
        {"name": "c", "url": "json://x", "slack_webhook": "https://y"},
        {"name": "c", "url": ""},
        {"name": "c", "url": "json://x", "events": ("approval",)},
        {"name": "c\nd", "url": "json://x"},
    ],
)
def test_a_channel_that_can_not_be_meant_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ChannelSettings(**fields)


def test_two_channels_of_one_name_and_a_time_that_is_none_are_refused() -> None:
    one = ChannelSettings(name="c", url=SecretStr("json://x"))
    with pytest.raises(ValidationError, match="two channels are called c"):
        NotifySettings(channels=(one, one))
    for wrong in ({"at": "24:00"}, {"at": "8"}, {"zone": "Mars/Base"}, {"zone": "../etc/passwd"}):
        with pytest.raises(ValidationError):
            DigestSettings(**wrong)


@pytest.mark.parametrize(
    "channel",
    [
        {"url": SecretStr("nonsense://s3cr3t-hook")},
        {"url": SecretStr("mailto://")},
        {"url": SecretStr("s3cr3t-hook")},
        {"slack_webhook": SecretStr("s3cr3t-hook")},
        {"slack_webhook": SecretStr("ftp://x/s3cr3t-hook")},
        {"slack_webhook": SecretStr("https://[s3cr3t-hook")},
    ],
)
def test_an_address_that_can_not_be_read_is_told_by_the_channels_name_and_never_shown(
    channel: dict[str, Any], tmp_path: Path, log: Path
) -> None:
    with pytest.raises(ConfigurationError, match="notification channel team") as told:
        notifier(tmp_path, ChannelSettings(name="team", **channel))
    assert "s3cr3t" not in str(told.value) + log.read_text()


# --- formats ------------------------------------------------------------------------------

_PIECES = ["<!channel>", "@here", "<@U1>", "<script>", "https://e.example/", "&lt;", "![x](http://y)", "<!--", "\n"]
HOSTILE = st.lists(
    st.one_of(
        st.sampled_from([*"<>&*_~`|[]()!@#\\\"'/:$ -.", *_PIECES]), st.text(st.characters(codec="utf-8"), max_size=3)
    ),
    max_size=25,
).map("".join)
A_LINK = Link("Pull request", "https://forge.example/p?a=1&b=<2>")


def made_of(text: str) -> Message:
    listed = Listed("Waiting", (Link(text, "https://forge.example/1"), Link(text, text)))
    return Message(
        event="reminder", title=text, body=text, fields=(("Ticket", text),), lists=(listed,), links=(A_LINK,)
    )


def shown(text: str) -> str:
    return one_line(text, 10_000)


@hypothesis_settings(max_examples=200, deadline=None)
@given(HOSTILE)
def test_slack_text_is_what_was_written_and_nothing_in_it_is_active(text: str) -> None:
    made = escaped(shown(text))
    assert html.unescape(made).replace("\u200b", "") == shown(text).replace("\u200b", "")
    assert not {"<", ">"} & set(made)
    assert all(made[at:].startswith(("&amp;", "&lt;", "&gt;")) for at, char in enumerate(made) if char == "&")
    assert "@here" not in made.split()
    blocks = payload(made_of(text))
    assert all(block["type"] == "plain_text" for block in texts_of(blocks["blocks"]))
    assert "<" not in blocks["text"]
    urls = [block["url"] for block in dicts_of(blocks) if "url" in block]
    assert all(url.startswith(("http://", "https://")) and not set(url) & set("<>|\" '\n") for url in urls)


def dicts_of(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(found for one in value.values() for found in dicts_of(one))]
    return [found for one in value for found in dicts_of(one)] if isinstance(value, list) else []


def texts_of(blocks: Any) -> list[dict[str, Any]]:
    return [block for block in dicts_of(blocks) if isinstance(block.get("text"), str)]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data!r}")


@hypothesis_settings(max_examples=200, deadline=None)
@given(HOSTILE)
def test_html_has_our_tags_alone_and_shows_what_was_written(text: str) -> None:
    reader = Tags()
    made = FORMATS["html"](Message(event="e", title="t", body=shown(text), links=(A_LINK,)))
    reader.feed(made)
    reader.close()
    assert {tag for tag, _ in reader.tags} <= {"p", "a"}
    links = [dict(attrs) for tag, attrs in reader.tags if tag == "a"]
    assert links == [{"href": "https://forge.example/p?a=1&b=%3C2%3E"}]
    plain = shown(text).replace("\u200b", "")
    assert reader.words.replace("\u200b", "").replace("\n", "") == plain + "Pull request"


@hypothesis_settings(max_examples=150, deadline=None)
@given(HOSTILE)
def test_markdown_has_our_links_alone(text: str) -> None:
    made = FORMATS["markdown"](made_of(text))
    blocks = MarkdownIt("commonmark", {"html": True}).parse(made)
    tokens = [token for block in blocks for token in (block, *(block.children or []))]
    assert not {token.type for token in tokens} & {"html_inline", "html_block", "image"}
    hrefs = {str(token.attrs.get("href")) for token in tokens if token.type == "link_open"}
    allowed = {"https://forge.example/p?a=1&b=%3C2%3E", "https://forge.example/1"}
    assert hrefs - allowed <= {href for href in hrefs if text.startswith(("http://", "https://"))}


def test_nobody_is_called_and_a_mail_address_stays_one() -> None:
    made = uncalled("@here <@U1> <!channel> a@b.example")
    assert made.replace("\u200b", "|") == "@|here <|@|U1> <|!channel> a@b.example"
    text = FORMATS["text"](Message(event="e", title="t", body="<!channel> @everyone"))
    assert text.replace("\u200b", "|") == "<|!channel> @|everyone"


def test_a_message_fits_the_service_and_keeps_its_links() -> None:
    long = Message(
        event="digest",
        title="t",
        body="word " * 400,
        lists=(Listed("Waiting", tuple(Link(f"BUG-{n} {'x' * 90}", "https://f.example/p") for n in range(20))),),
        links=(A_LINK,),
    )
    for form in FORMATS:
        for limit in (30_000, 2_000, 900, 200):
            made = fitted(long, form, limit)
            assert len(made) <= limit
            assert "https://forge.example/p" in made
    assert "… and 12 more" in fitted(long, "text", 2_000)
    assert fitted(long, "text", 10) == ""
    assert len(one_line("x" * 500)) == 120


def test_the_title_is_one_line_without_what_is_not_seen() -> None:
    title = payload(made_of("BUG-1\nBcc: eve@example.com \x1b[31mred\u202e"))["text"]
    assert "\n" not in title
    assert "\x1b" not in title
    assert visible_text(title)[0].replace("\u200b", "") == title.replace("\u200b", "")


def test_slack_gets_a_header_the_evidence_fields_and_buttons() -> None:
    notice = a_notice(people=("ada",))
    message = message_of(notice, repository="acme/parcel", people=("ada",), page="https://sdlc.example/r/1", own=True)
    made = payload(message)
    kinds = [block["type"] for block in made["blocks"]]
    assert kinds == ["header", "section", "section", "actions"]
    assert made["blocks"][0]["text"]["text"] == notice.title
    assert made["blocks"][1]["text"]["text"] == notice.body
    assert [one["text"] for one in made["blocks"][2]["fields"]] == [
        "Ticket\nBUG-1",
        "Repository\nacme/parcel",
        "For\nada",
    ]
    buttons = [(one["text"]["text"], one["url"]) for one in made["blocks"][3]["elements"]]
    assert buttons == [
        ("Look and decide", "https://sdlc.example/r/1"),
        ("Pull request", "https://forge.example/pulls/7"),
        ("Temporal", "http://temporal.example/run"),
    ]
    local = payload(message_of(a_notice(url="file:///pull.md"), repository="", people=()))
    assert [one["text"]["text"] for one in local["blocks"][-1]["elements"]] == ["Temporal"]


# --- deliveries ---------------------------------------------------------------------------


async def test_without_channels_people_are_told_locally(tmp_path: Path) -> None:
    await notifier(tmp_path).notify(a_notice())
    assert [entry["event"] for entry in told_locally(tmp_path)] == ["needs_approval"]
    assert not (tmp_path / "deliveries.jsonl").exists()


async def test_a_notice_reaches_slack_and_apprise_once_however_often_it_is_repeated(
    tmp_path: Path, receivers: Make
) -> None:
    one, other = await receivers(), await receivers()
    tells = notifier(tmp_path, slack(one), json_url(other))
    async with asyncio.timeout(30):
        await asyncio.gather(*(notifier(tmp_path, slack(one), json_url(other)).notify(a_notice()) for _ in range(5)))
        await tells.notify(a_notice())
        await tells.notify(a_notice(title="BUG-1 waits for an approval of def"))
    assert len(one.taken) == len(other.taken) == 2
    titles = [block["blocks"][0]["text"]["text"] for block in one.taken]
    assert titles == ["BUG-1 waits for an approval of abc", "BUG-1 waits for an approval of def"]
    assert [entry["title"] for entry in other.taken] == titles
    assert "Pull request: https://forge.example/pulls/7" in other.taken[0]["message"]
    assert len(told_locally(tmp_path)) == 2


@pytest.mark.parametrize("form", ["text", "html", "markdown"])
async def test_apprise_passes_on_what_we_have_escaped_as_it_is(form: str, tmp_path: Path, receivers: Make) -> None:
    receiver = await receivers()
    url = SecretStr(f"{receiver.apprise_url}?format={form}")
    hostile = "<script>x</script> &lt;b&gt; **a** `b` [c](http://d) <!channel> @here \\<i> \\n :smile: {{x}}\n> q\n# h"
    notice = a_notice(title=hostile, body=hostile)
    await asyncio.wait_for(notifier(tmp_path, ChannelSettings(name="c", url=url)).notify(notice), 20)
    message = message_of(notice, repository="acme/parcel", people=())
    assert receiver.taken[0]["message"].strip() == FORMATS[form](message).strip()
    assert receiver.taken[0]["title"] == uncalled(one_line(hostile))


async def test_a_channel_that_is_down_keeps_no_other_from_being_told_and_is_tried_again(
    tmp_path: Path, receivers: Make
) -> None:
    down, up = await receivers(429, 500, 503), await receivers()
    tells = notifier(tmp_path, slack(down, "down"), json_url(up, "up"))
    delays = []
    async with asyncio.timeout(30):
        for _ in range(3):
            with pytest.raises(ServiceUnavailable, match=r"channel down answered \d+") as told:
                await tells.notify(a_notice())
            delays.append(told.value.retry_after)
            assert "s3cr3t" not in str(told.value)
        await tells.notify(a_notice())
        await tells.notify(a_notice())
    assert delays == [7.0, 7.0, 7.0]
    assert (len(up.taken), len(down.taken), down.tries) == (1, 1, 4)


async def test_a_webhook_that_is_gone_is_final_and_the_others_are_told(tmp_path: Path, receivers: Make) -> None:
    gone, also, up = await receivers(404), await receivers(401), await receivers()
    gone.body = b"no_service"
    tells = notifier(tmp_path, slack(gone, "gone"), json_url(also, "also"), slack(up, "up"))
    with pytest.raises(PermissionDenied, match=r"gone .*404 no_service.* also answered 401"):
        await asyncio.wait_for(tells.notify(a_notice()), 20)
    assert len(up.taken) == 1


async def test_nobody_at_the_address_is_tried_as_often_as_it_takes(tmp_path: Path, receivers: Make) -> None:
    receiver = await receivers()
    away = Receiver(port=1)
    tells = notifier(tmp_path, slack(away, "s"), json_url(away, "j"), slack(receiver, "up"))
    for _ in range(4):
        with pytest.raises(ServiceUnavailable, match=r"s is not reached.*j is not reached"):
            await asyncio.wait_for(tells.notify(a_notice()), 20)
    assert len(receiver.taken) == 1


@pytest.mark.parametrize("make", [slack, json_url])
@pytest.mark.parametrize("act", ["lost", "cut"])
async def test_what_may_have_arrived_is_sent_once_more_and_no_third_time(
    act: str, make: Callable[..., ChannelSettings], tmp_path: Path, receivers: Make
) -> None:
    receiver = await receivers(act, act, 200, 200)
    tells = notifier(tmp_path, make(receiver))
    async with asyncio.timeout(30):
        for _ in range(2):
            with pytest.raises(ServiceUnavailable, match="gave no answer"):
                await tells.notify(a_notice())
        for _ in range(2):
            with pytest.raises(PerhapsTold, match=r"channel (team|hook) may or may not have been told"):
                await tells.notify(a_notice())
    assert receiver.tries == 2
    # Another notice is not held up by it.
    await asyncio.wait_for(tells.notify(a_notice(event="finished")), 20)
    assert receiver.taken[-1] is not None
    assert receiver.tries == 3


async def test_a_channel_that_hangs_is_never_taken_for_told_and_keeps_no_other_from_being_told(
    tmp_path: Path, receivers: Make
) -> None:
    hanging, up, gone = await receivers("hang", "hang"), await receivers(503, 503, 503), await receivers(404, 404)
    tells = notifier(tmp_path, slack(hanging, "hanging"), slack(up, "up"), seconds=1)
    async with asyncio.timeout(40):
        for _ in range(2):
            with pytest.raises(ServiceUnavailable, match="hanging did not answer"):
                await tells.notify(a_notice())
        # A retry may still help the other; once nothing can be done any more it is final, and no retry follows.
        with pytest.raises(ServiceUnavailable, match=r"hanging may or may not have been told.*up answered 503"):
            await tells.notify(a_notice())
        with pytest.raises(PerhapsTold, match="hanging may or may not have been told") as told:
            await tells.notify(a_notice())
        with pytest.raises(PermissionDenied, match=r"hanging may or may not have been told.*gone does not take"):
            await notifier(tmp_path, slack(hanging, "hanging"), slack(gone, "gone")).notify(a_notice())
    assert as_failure(told.value, Redactor()).non_retryable
    assert (hanging.tries, hanging.taken, len(up.taken)) == (2, [], 1)


async def test_what_is_said_again_on_another_occasion_is_told_and_a_retry_of_it_is_not(
    tmp_path: Path, receivers: Make
) -> None:
    receiver = await receivers()
    tells = notifier(tmp_path, slack(receiver))
    async with asyncio.timeout(20):
        for occasion in ("run/1", "run/1", "run/2", "reset/1", "run/2", ""):
            await tells.notify(a_notice(occasion=occasion))
    assert len(receiver.taken) == 4
    assert [entry.get("occasion") for entry in told_locally(tmp_path)] == ["run/1", "run/2", "reset/1", None]


async def test_a_retry_of_an_occasion_is_known_days_later_and_words_alone_for_an_hour(tmp_path: Path) -> None:
    notices = [a_notice(occasion="run/1"), a_notice(title="by its words")]
    for notice in notices:
        await LocalNotifier(tmp_path).notify(notice)
    file = tmp_path / "notices.jsonl"
    file.write_text(
        "".join(json.dumps({**one, "at": "2020-01-01T00:00:00+00:00"}) + "\n" for one in told_locally(tmp_path))
    )
    for notice in (*notices, *notices):
        await LocalNotifier(tmp_path).notify(notice)
    assert [entry["title"] for entry in told_locally(tmp_path)] == [notices[0].title, *["by its words"] * 2]


async def test_a_digest_that_some_have_heard_is_told_apart_from_one_that_nobody_has(
    tmp_path: Path, receivers: Make
) -> None:
    dead, up = await receivers(*[503] * 3), await receivers()
    tells = notifier(tmp_path, slack(dead, "dead"), slack(up, "up"))
    message = Message(event="digest", title="t")
    async with asyncio.timeout(20):
        for _ in range(2):
            with pytest.raises(NotAllTold, match="dead answered 503"):
                await tells.post(("digest", "monday"), lambda settings: message)
        with pytest.raises(ServiceUnavailable, match="dead answered 503") as told:
            await tells.post(("digest", "monday"), lambda settings: message if settings.name == "dead" else None)
        assert not isinstance(told.value, NotAllTold)
        assert await tells.post(("digest", "monday"), lambda settings: message) == ["dead", "up"]
    assert (len(dead.taken), len(up.taken)) == (1, 1)


def test_workflows_know_a_digest_that_some_have_heard_by_the_name_of_its_error() -> None:
    assert as_failure(NotAllTold("x"), Redactor()).type == NOT_ALL_TOLD


# --- the end of a run ---------------------------------------------------------------------


class Claimed:
    """A tracker with one claim."""

    def __init__(self, tells: Any) -> None:
        self.given_back = 0
        self.told_before: list[int] = []
        self._tells = tells

    async def release(self, key: str, *, run: RunIdentity, reason: str) -> None:
        self.given_back += 1
        self.told_before.append(self._tells.tries)


class Bare:
    """A forge without any pull request."""

    async def pull_request_of(self, repository: Repository, run: RunIdentity) -> None:
        return None


def closing(folder: Path, first: Receiver, *channels: ChannelSettings) -> tuple[CloseSteps, Claimed]:
    tracker = Claimed(first)
    services = SimpleNamespace(notifier=notifier(folder, *channels, seconds=2), tracker=tracker, forge=Bare())
    return CloseSteps(cast(Any, services)), tracker


async def released(steps: CloseSteps, request: ReleaseRun, *, run_id: str = "one") -> None:
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, workflow_run_id=run_id)
    async with asyncio.timeout(60):
        await environment.run(steps.release_run, request)


async def test_a_run_that_has_ended_is_told_where_its_repository_and_its_people_are_heard(
    tmp_path: Path, receivers: Make
) -> None:
    team, colleague, starter = await receivers(), await receivers(), await receivers()
    steps, _ = closing(
        tmp_path,
        team,
        slack(team, "team", repositories=("acme/*",)),
        slack(colleague, "colleague", people=("bob",)),
        slack(starter, "starter", people=("ada",)),
    )
    request = ReleaseRun(run=RUN, reason="aborted by ada", repository_name="acme/parcel", people=("ada",))
    await released(steps, request)
    await released(steps, request)
    assert [len(one.taken) for one in (team, colleague, starter)] == [1, 0, 1]
    opened = Repository(url="file:///x", name="acme/other", base_branch="main", base_sha="0" * 40)
    await released(steps, request.model_copy(update={"repository": opened}), run_id="after a reset")
    fields = next(block["fields"] for block in team.taken[1]["blocks"] if "fields" in block)
    assert "Repository\nacme/other" in [one["text"] for one in fields]


async def test_an_end_is_told_again_while_a_channel_is_away_and_the_claim_is_given_back_before(
    tmp_path: Path, receivers: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(close_story, "_LONGEST_PAUSE", 0.05)
    away = await receivers(503, 503)
    steps, tracker = closing(tmp_path, away, slack(away))
    await released(steps, ReleaseRun(run=RUN, reason="x"))
    assert (len(away.taken), away.tries) == (1, 3)
    assert tracker.told_before == [0]


async def test_an_end_of_which_a_channel_does_not_hear_is_said_and_keeps_no_claim(
    tmp_path: Path, receivers: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(close_story, "_LONGEST_PAUSE", 0.05)
    dead, gone = await receivers(*[503] * 9), await receivers(404)
    for receiver, tries, said in ((dead, 3, "team answered 503"), (gone, 1, "team does not take messages")):
        steps, tracker = closing(tmp_path / said, receiver, slack(receiver))
        with pytest.raises(PermissionDenied, match=f"All is given back, but not all people could be told.*{said}"):
            await released(steps, ReleaseRun(run=RUN, reason="x"))
        assert (receiver.tries, tracker.given_back) == (tries, 1)


@pytest.mark.parametrize("make", [slack, json_url])
async def test_a_delivery_is_bounded_in_time(
    make: Callable[..., ChannelSettings], tmp_path: Path, receivers: Make
) -> None:
    slow, up = await receivers("hang", 200), await receivers()
    tells = notifier(tmp_path, make(slow, "slow"), slack(up, "up"), seconds=2)
    began = asyncio.get_running_loop().time()
    with pytest.raises(ServiceUnavailable, match="slow did not answer within 2 s"):
        await asyncio.wait_for(tells.notify(a_notice()), 20)
    assert asyncio.get_running_loop().time() - began < 10
    assert len(up.taken) == 1
    await asyncio.wait_for(tells.notify(a_notice()), 20)
    assert (len(slow.taken), len(up.taken)) == (1, 1)


async def test_an_answer_that_breaks_off_after_its_status_is_one(tmp_path: Path, receivers: Make) -> None:
    receiver = await receivers("half")
    tells = notifier(tmp_path, slack(receiver))
    for _ in range(2):
        await asyncio.wait_for(tells.notify(a_notice()), 20)
    assert receiver.tries == len(receiver.taken) == 1


async def test_a_worker_that_died_while_it_sent_is_followed_by_one_more_try(tmp_path: Path, receivers: Make) -> None:
    receiver = await receivers("hang", 200)
    task = asyncio.create_task(notifier(tmp_path, slack(receiver)).notify(a_notice()))
    async with asyncio.timeout(20):
        while not receiver.tries:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await notifier(tmp_path, slack(receiver)).notify(a_notice())
        await notifier(tmp_path, slack(receiver)).notify(a_notice())
    assert receiver.tries == 2
    assert len(receiver.taken) == 1


async def test_the_ledger_stays_small_and_forgets_nobody_of_today(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "_MAX_BYTES", 4_000)
    book, sent = Ledger(tmp_path), 0
    old = {"at": "2020-01-01T00:00:00+00:00", "key": "k", "channel": "c", "state": "told"}
    book.file.write_text((json.dumps(old) + "\n") * 60 + '{"at": "20')

    async def send() -> None:
        nonlocal sent
        sent += 1

    for number in range(5):
        assert await book.once(("w", "r", "e", str(number)), "c", send)
    assert not await book.once(("w", "r", "e", "0"), "c", send)
    assert sent == 5
    assert book.file.stat().st_size < 4_000


async def test_what_is_remembered_ends_some_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    book = Ledger(tmp_path)

    async def send() -> None:
        pass

    assert await book.once(("w",), "c", send)
    assert not await book.once(("w",), "c", send)
    monkeypatch.setattr(ledger, "REMEMBERED", -ledger.REMEMBERED)
    assert await book.once(("w",), "c", send)


async def test_secrets_go_nowhere(tmp_path: Path, receivers: Make, log: Path) -> None:
    one, other = await receivers(), await receivers()
    tells = notifier(tmp_path, slack(one), json_url(other), redact=Redactor(["hunter2-hunter2"]))
    body = "It failed: password hunter2-hunter2, ghp_abcdefghijklmnop1234"
    await asyncio.wait_for(
        tells.notify(a_notice(title="BUG-1 hunter2-hunter2", body=body, url="https://u:hunter2@forge.example/p")), 20
    )
    everything = json.dumps([one.taken, other.taken]) + (tmp_path / "notices.jsonl").read_text() + log.read_text()
    assert "needs_approval" in log.read_text()
    assert "hunter2" not in everything
    assert "ghp_" not in everything
    assert "s3cr3t" not in everything + (tmp_path / "deliveries.jsonl").read_text()


async def test_a_signed_link_goes_to_its_person_alone(tmp_path: Path, receivers: Make) -> None:
    hers, ours, his = await receivers(), await receivers(), await receivers()
    tells = notifier(
        tmp_path,
        slack(hers, "hers", people=("ada@example.com",)),
        slack(ours, "ours", people=("@core",)),
        slack(his, "his", people=("bob",)),
        known=[ADA],
        groups={"core": ("ada", "bob")},
        link_for=lambda notice, person: f"https://sdlc.example/{person or 'page'}",
    )
    await asyncio.wait_for(tells.notify(a_notice(people=("ada",))), 20)
    assert hers.taken[0]["blocks"][-1]["elements"][0]["url"] == "https://sdlc.example/ada"
    assert ours.taken[0]["blocks"][-1]["elements"][0]["url"] == "https://sdlc.example/page"
    assert his.taken == []


async def test_a_channel_is_checked_without_telling_anybody(tmp_path: Path, receivers: Make) -> None:
    good, gone, other, slow = await receivers(400), await receivers(403), await receivers(400), await receivers("hang")
    good.body, gone.body, other.body = b"no_text", b"invalid_token", b"<html>"
    unread = await receivers()
    tells = notifier(
        tmp_path,
        slack(good, "good"),
        slack(gone, "gone"),
        slack(other, "other"),
        slack(slow, "slow"),
        json_url(unread, "unread"),
        seconds=2,
    )
    said = await asyncio.wait_for(tells.check(), 20)
    assert [line.split()[2].strip(":") for line in said[:1]] == ["gone"]
    assert "403 invalid_token" in said[0]
    assert "other: the webhook answers" in said[1]
    assert "slow does not answer within 2 s" in said[2]
    assert len(said) == 3
    assert unread.tries == 0
    assert not (tmp_path / "notices.jsonl").exists()


def test_the_local_notifier_is_where_it_was() -> None:
    assert LocalNotifier.__module__ == "sdlc.integrations.notify.local"
