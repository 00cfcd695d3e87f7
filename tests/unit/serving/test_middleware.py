"""The middleware around the application."""

import asyncio
import json
import logging

import pytest
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from serving.middleware.access_log import AccessLog, notes_of
from serving.middleware.body_timeout import BodyTimeout
from serving.middleware.headers import HEADERS, SecurityHeaders

SCOPE: Scope = {"type": "http", "method": "POST", "path": "/secret/name", "query_string": b"q=me"}


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    notes_of(scope)["results"] = 3
    await send({"type": "http.response.start", "status": 201, "headers": []})
    await send({"type": "http.response.body", "body": b"12345"})


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def test_every_answer_carries_the_security_headers() -> None:
    """All of them are set, whatever the application sends."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(SecurityHeaders(_answer)(dict(SCOPE), _nothing, send))
    names = {name.decode() for name, _ in sent[0]["headers"]}
    assert names >= {name.lower() for name in HEADERS}


def test_a_request_is_logged_as_one_line_of_json_without_its_query(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The line has status, bytes and notes, but neither path nor query string."""

    async def send(message: Message) -> None:
        pass

    with caplog.at_level(logging.INFO, "serving.access"):
        asyncio.run(AccessLog(_answer, lambda _: None)(dict(SCOPE), _nothing, send))
    (record,) = caplog.records
    line = json.loads(record.message)
    assert (line["status"], line["bytes"], line["results"]) == (201, 5, 3)
    assert "secret" not in record.message
    assert "q=me" not in record.message


def test_a_body_that_arrives_too_slowly_gets_408() -> None:
    """The limit is on the time for the whole body, so sending byte by byte does not extend it."""

    async def drip() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def read_all(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive())["more_body"]:
            pass

    async def send(message: Message) -> None:
        pass

    with pytest.raises(HTTPException) as raised:
        asyncio.run(BodyTimeout(read_all, 0.1)(dict(SCOPE), drip, send))
    assert raised.value.status_code == 408


def test_the_body_timeout_ends_with_the_body() -> None:
    """Once the body is read, waiting for the client to disconnect has no limit."""

    async def scenario() -> None:
        messages = [await _nothing(), {"type": "http.disconnect"}]

        async def receive() -> Message:
            if len(messages) == 1:
                await asyncio.sleep(0.1)
            return messages.pop(0)

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await receive()
            assert (await receive())["type"] == "http.disconnect"

        async def send(message: Message) -> None:
            pass

        await BodyTimeout(app, 0.05)(dict(SCOPE), receive, send)

    asyncio.run(scenario())
