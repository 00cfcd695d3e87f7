"""Admission refuses early, cheaply, and only what counts."""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from serving.middleware.admission import ARRIVED, Admission
from serving.middleware.headers import HEADERS
from serving.settings import ServingSettings

SETTINGS = ServingSettings(
    _env_file=None, admitted_searches=1, admitted_uploads=1, admitted_reads=1, deadline_seconds=4
)
COMPLETE: Message = {"type": "http.request", "body": b"x", "more_body": False}
PART: Message = {"type": "http.request", "body": b"x", "more_body": True}


def _uncounted(_: object) -> None:
    """Metrics have tests of their own."""


class App:
    """Reads a request, then waits until it may answer."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.may_answer = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.reached.append(scope["path"])
        while (await receive()).get("more_body"):
            pass
        await self.may_answer.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})


class Client:
    """One request, whose body arrives message by message."""

    def __init__(self, admission: Admission, path: str, waited: float | None = None) -> None:
        self.sent: list[Message] = []
        self.body: asyncio.Queue[Message] = asyncio.Queue()
        now = asyncio.get_running_loop().time()
        state = {} if waited is None else {ARRIVED: now - waited}
        scope = {"type": "http", "method": "POST", "path": path, "state": state}
        self.task = asyncio.ensure_future(admission(scope, self.body.get, self._send))

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    async def status(self) -> int:
        await self.task
        return int(self.sent[0]["status"])


def _run(scenario: Callable[[App, Admission], Coroutine[None, None, None]]) -> None:
    async def run() -> None:
        app = App()
        await asyncio.wait_for(scenario(app, Admission(app, SETTINGS, _uncounted)), 60)

    asyncio.run(run())


async def _settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "path", ["/v1/search", "/v1/search/image", "/v1/images/a", "/thumbnails/a"]
)
def test_one_request_too_many_is_refused_before_the_application(
    path: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It gets 503 with Retry-After, every header and a line in the log, and nothing of it is read.
    The place is free again after the answer."""

    async def scenario(app: App, admission: Admission) -> None:
        first = Client(admission, path, waited=0)
        first.body.put_nowait(COMPLETE)
        await _settled()
        second = Client(admission, path, waited=0)
        assert await second.status() == 503
        assert app.reached == [path]
        headers = {name.decode(): value.decode() for name, value in second.sent[0]["headers"]}
        assert headers["retry-after"] == "1"
        assert len(headers["x-request-id"]) == 32
        assert headers.keys() >= {name.lower() for name in HEADERS}
        assert json.loads(second.sent[1]["body"])["code"] == "busy"
        app.may_answer.set()
        assert await first.status() == 200
        third = Client(admission, path, waited=0)
        third.body.put_nowait(COMPLETE)
        assert await third.status() == 200

    with caplog.at_level(logging.INFO, "serving.access"):
        _run(scenario)
    assert json.loads(caplog.messages[0])["status"] == 503


def test_the_page_and_the_health_of_the_service_are_always_answered() -> None:
    """Whatever else is being answered, they are not refused."""

    async def scenario(app: App, admission: Admission) -> None:
        clients = [
            Client(admission, path, waited=0)
            for path in ("/v1/search", "/livez", "/readyz", "/", "/static/page.js") * 2
        ]
        for client in clients:
            client.body.put_nowait(COMPLETE)
        refused = clients.pop(5)
        assert await refused.status() == 503
        app.may_answer.set()
        assert [await client.status() for client in clients] == [200] * 9

    _run(scenario)


def test_a_request_that_has_waited_too_long_is_refused() -> None:
    """Half of its deadline has passed in the queues before the application."""

    async def scenario(app: App, admission: Admission) -> None:
        assert await Client(admission, "/v1/search", waited=2.1).status() == 503
        assert app.reached == []

    _run(scenario)


def test_a_slow_body_takes_no_place_until_it_is_complete() -> None:
    """Others are answered meanwhile; if none is free when it is complete, it is refused then."""

    async def scenario(app: App, admission: Admission) -> None:
        slow = [Client(admission, "/v1/search") for _ in range(2)]
        for client in slow:
            client.body.put_nowait(PART)
        await _settled()
        quick = Client(admission, "/v1/search", waited=0)
        quick.body.put_nowait(COMPLETE)
        await _settled()
        slow[0].body.put_nowait(COMPLETE)
        with pytest.raises(HTTPException) as refused:
            await slow[0].task
        assert refused.value.status_code == 503
        app.may_answer.set()
        assert await quick.status() == 200
        slow[1].body.put_nowait(COMPLETE)
        assert await slow[1].status() == 200

    _run(scenario)


def test_a_request_that_fails_gives_its_place_back() -> None:
    """Otherwise errors would shut everybody out in the end."""

    async def failing(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    async def scenario() -> None:
        admission = Admission(failing, SETTINGS, _uncounted)
        for _ in range(3):
            with pytest.raises(RuntimeError):
                await Client(admission, "/v1/search", waited=0).task

    asyncio.run(scenario())
