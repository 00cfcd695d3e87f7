"""A typed Python client of the service: `Client`, and `AsyncClient` for asyncio.

    with Client("https://search.example.com", key=KEY) as client:
        for hit in client.search(SearchRequest(text="a cloud", k=5)).hits:
            print(hit.score, hit.uri)

Answers are the service's own response models. Errors are raised as ProblemError.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from .judging import Judged, JudgementOut
from .query import SearchRequest
from .routes.erasures import Erasure
from .schema import ColumnOut, Embeddings, ImageOut, OriginOut, Problem, PublishedOut, SearchAnswer

T = TypeVar("T")


class ProblemError(Exception):
    """The service refused. `retry_after` is in seconds; None if a retry cannot help."""

    def __init__(self, problem: Problem, retry_after: int | None) -> None:
        super().__init__(f"{problem.code}: {problem.detail}")
        self.problem = problem
        self.retry_after = retry_after


@dataclass(frozen=True)
class _Call(Generic[T]):
    """A request and the type of its answer."""

    method: str
    path: str
    answer: TypeAdapter[T]
    options: dict[str, Any] = field(default_factory=dict)

    def read(self, response: httpx.Response) -> T:
        if response.is_success:
            return self.answer.validate_json(response.content)
        retry = response.headers.get("Retry-After", "")
        raise ProblemError(_problem(response), int(retry) if retry.isdecimal() else None)


def _problem(response: httpx.Response) -> Problem:
    try:
        return Problem.model_validate_json(response.content)
    except ValidationError:  # a proxy's own answer
        detail = f"The server responded with status {response.status_code}."
        title = response.reason_phrase
        return Problem(title=title, status=response.status_code, code="unknown", detail=detail)


def _posted(path: str, body: BaseModel | dict[str, Any], answer: type[T]) -> _Call[T]:
    sent = body
    if isinstance(body, BaseModel):
        sent = body.model_dump(mode="json", exclude_unset=True, by_alias=True)
    return _Call("POST", path, TypeAdapter(answer), {"json": sent})


def _got(path: str, answer: Any, collection: str | None) -> _Call[Any]:
    params = {"collection": collection} if collection else {}
    return _Call("GET", path, TypeAdapter(answer), {"params": params})


def _deleted(path: str, collection: str | None) -> _Call[Erasure]:
    params = {"collection": collection} if collection else {}
    return _Call("DELETE", path, TypeAdapter(Erasure), {"params": params})


def _of(image_id: str) -> str:
    return f"/v1/images/{quote(image_id, safe='')}"


def _headers(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


class Client:
    """Calls the service at `url`; close it, or use it as a context manager."""

    def __init__(self, url: str, key: str | None = None, timeout: float = 10.0) -> None:
        self._http = httpx.Client(base_url=url, headers=_headers(key), timeout=timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def search(self, query: SearchRequest) -> SearchAnswer:
        return self._send(_posted("/v1/search", query, SearchAnswer))

    def pages(self, query: SearchRequest) -> Iterator[SearchAnswer]:
        """Every page of the answer, each of `query.k` hits."""
        while True:
            answer = self.search(query)
            yield answer
            if answer.cursor is None:
                return
            query = query.model_copy(update={"cursor": answer.cursor})

    def embed(self, texts: Sequence[str]) -> Embeddings:
        return self._send(_posted("/v1/embed", {"texts": list(texts)}, Embeddings))

    def image(self, image_id: str, collection: str | None = None) -> ImageOut:
        found: ImageOut = self._send(_got(_of(image_id), ImageOut, collection))
        return found

    def lineage(self, image_id: str, collection: str | None = None) -> OriginOut:
        found: OriginOut = self._send(_got(f"{_of(image_id)}/lineage", OriginOut, collection))
        return found

    def releases(self, collection: str | None = None) -> list[PublishedOut]:
        found: list[PublishedOut] = self._send(_got("/v1/releases", list[PublishedOut], collection))
        return found

    def columns(self, collection: str | None = None) -> list[ColumnOut]:
        found: list[ColumnOut] = self._send(_got("/v1/columns", list[ColumnOut], collection))
        return found

    def erase(self, image_id: str, collection: str | None = None) -> Erasure:
        return self._send(_deleted(_of(image_id), collection))

    def judge(self, judged: Judged) -> JudgementOut:
        return self._send(_posted("/v1/judgements", judged, JudgementOut))

    def judgements(self, collection: str | None = None) -> list[JudgementOut]:
        """The collection's first 1,000 judgements."""
        found: list[JudgementOut] = self._send(
            _got("/v1/judgements", list[JudgementOut], collection)
        )
        return found

    def _send(self, call: _Call[T]) -> T:
        return call.read(self._http.request(call.method, call.path, **call.options))


class AsyncClient:
    """The same for asyncio."""

    def __init__(self, url: str, key: str | None = None, timeout: float = 10.0) -> None:
        self._http = httpx.AsyncClient(base_url=url, headers=_headers(key), timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def search(self, query: SearchRequest) -> SearchAnswer:
        return await self._send(_posted("/v1/search", query, SearchAnswer))

    async def pages(self, query: SearchRequest) -> AsyncIterator[SearchAnswer]:
        """Every page of the answer, each of `query.k` hits."""
        while True:
            answer = await self.search(query)
            yield answer
            if answer.cursor is None:
                return
            query = query.model_copy(update={"cursor": answer.cursor})

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        return await self._send(_posted("/v1/embed", {"texts": list(texts)}, Embeddings))

    async def image(self, image_id: str, collection: str | None = None) -> ImageOut:
        found: ImageOut = await self._send(_got(_of(image_id), ImageOut, collection))
        return found

    async def lineage(self, image_id: str, collection: str | None = None) -> OriginOut:
        found: OriginOut = await self._send(_got(f"{_of(image_id)}/lineage", OriginOut, collection))
        return found

    async def releases(self, collection: str | None = None) -> list[PublishedOut]:
        found: list[PublishedOut] = await self._send(
            _got("/v1/releases", list[PublishedOut], collection)
        )
        return found

    async def columns(self, collection: str | None = None) -> list[ColumnOut]:
        found: list[ColumnOut] = await self._send(_got("/v1/columns", list[ColumnOut], collection))
        return found

    async def erase(self, image_id: str, collection: str | None = None) -> Erasure:
        return await self._send(_deleted(_of(image_id), collection))

    async def judge(self, judged: Judged) -> JudgementOut:
        return await self._send(_posted("/v1/judgements", judged, JudgementOut))

    async def judgements(self, collection: str | None = None) -> list[JudgementOut]:
        found: list[JudgementOut] = await self._send(
            _got("/v1/judgements", list[JudgementOut], collection)
        )
        return found

    async def _send(self, call: _Call[T]) -> T:
        return call.read(await self._http.request(call.method, call.path, **call.options))
