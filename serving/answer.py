"""Answers a search: encodes its terms, finds the hits, and builds the response."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from PIL import Image
from psycopg import Connection
from psycopg.rows import TupleRow

from clip_assets.errors import FilterError, TermsError
from clip_assets.search import search as index
from clip_assets.search.accuracy import measured_recall, searched

from .cursor import Cursor, digest
from .encoder import EncodedText, Vector
from .errors import NotFound, Unanswerable
from .live import Snapshot
from .nearest import Page, Part, Wanted, nearest
from .query import SearchOptions, SearchRequest, Term
from .schema import (
    AnswerRelease,
    Query,
    SearchAnswer,
    TermOut,
    Timings,
    hits_with_only,
    warning,
)
from .service import Context

Kind = Literal["text", "image"]


@dataclass(frozen=True)
class Found:
    """A page of hits, their vectors by image id if requested, and the release that was searched."""

    snapshot: Snapshot
    page: Page
    vectors: dict[str, Vector]


@dataclass(frozen=True)
class Prepared:
    """A search whose release is known, but whose texts are not encoded yet."""

    query: SearchRequest
    name: str
    cursor: Cursor | None
    snapshot: Snapshot

    @property
    def texts(self) -> list[str]:
        return [term.text for term in self.query.all_terms if term.text is not None]


async def answered(query: SearchRequest, context: Context) -> SearchAnswer:
    """The answer to a search. Raises a Refusal if it cannot be answered."""
    ready = await prepared(query, context)
    texts = ready.texts
    encoded = await ready.snapshot.encoder.texts(texts, context.deadline) if texts else []
    return await finished(ready, dict(zip(texts, encoded, strict=True)), context)


async def prepared(query: SearchRequest, context: Context) -> Prepared:
    """The search with its release. Raises a Refusal if the query is invalid for that release."""
    name = digest(query)
    cursor = _cursor(query, name)
    ready = Prepared(query, name, cursor, await _snapshot(query, cursor, context))
    return replace(ready, snapshot=context.encodable(ready.snapshot)) if ready.texts else ready


async def finished(
    ready: Prepared, encoded: Mapping[str, EncodedText], context: Context
) -> SearchAnswer:
    """The answer, given the vectors of the search's texts. Raises a Refusal if there is none."""
    query = ready.query
    parts = [_part(term, encoded) for term in query.all_terms]
    terms = [
        TermOut(
            text=term.text,
            read=encoded[term.text].read if term.text is not None else None,
            image_id=term.image_id,
            weight=term.weight,
        )
        for term in query.all_terms
    ]
    wanted = _wanted(query, ready.name, ready.cursor)
    found = await _found(context, ready.snapshot, parts, query, wanted)
    kind: Kind = "text" if ready.texts else "image"
    return _answer(_understood(query, terms), kind, query, context, found)


async def answered_to_upload(
    options: SearchOptions,
    read: Callable[[], bytes],
    decoded: Callable[[bytes, int], Image.Image],
    context: Context,
) -> SearchAnswer:
    """The answer to an uploaded image, which is read and decoded in the encoder's thread.

    `decoded` gets the file's bytes and the short side, in pixels, that the model needs.
    """
    snapshot = context.encodable(await context.snapshot(options.collection, options.release))
    snapshot.require_images()
    sha256 = b""

    def image() -> Image.Image:
        nonlocal sha256
        data = read()
        sha256 = hashlib.sha256(data).digest()
        return decoded(data, snapshot.encoder.enough)

    vector = await snapshot.encoder.image(image, context.deadline)
    name = digest(options, sha256)
    cursor = _cursor(options, name)
    snapshot = context.encodable(await _snapshot(options, cursor, context))
    snapshot.require_images()
    found = await _found(context, snapshot, [Part(vector)], options, _wanted(options, name, cursor))
    return _answer(Query(kind="upload"), "image", options, context, found)


def _cursor(options: SearchOptions, name: str) -> Cursor | None:
    return Cursor.parse(options.cursor, name) if options.cursor is not None else None


async def _snapshot(options: SearchOptions, cursor: Cursor | None, context: Context) -> Snapshot:
    """The release to search: the cursor's, if there is one."""
    asked = options.release
    if cursor:
        if asked not in (None, cursor.release_id):
            raise Unanswerable("cursor: it belongs to another release.")
        asked = cursor.release_id
    return await context.snapshot(options.collection, asked)


def _wanted(options: SearchOptions, name: str, cursor: Cursor | None) -> Wanted:
    return Wanted(
        options.k,
        name,
        options.filter,
        options.min_score,
        frozenset(options.exclude_ids),
        options.collapse_duplicates,
        options.collapse_similar,
        cursor,
    )


def _part(term: Term, encoded: Mapping[str, EncodedText]) -> Part:
    if term.image_id is not None:
        return Part(term.image_id, term.weight)
    if term.vector is not None:
        return Part(np.asarray(term.vector), term.weight)
    assert term.text is not None
    return Part(encoded[term.text].vector, term.weight)


async def _found(
    context: Context,
    snapshot: Snapshot,
    parts: list[Part],
    options: SearchOptions,
    wanted: Wanted,
) -> Found:
    release = searched(snapshot.release, options.accuracy)
    vectors: dict[str, Vector] = {}

    def found(connection: Connection[TupleRow]) -> Page | None:
        page = nearest(connection, release, parts, wanted)
        if page and "vector" in options.include:
            ids = [hit.image_id for hit in page.hits]
            vectors.update(index.vectors_of(connection, release, ids))
        return page

    try:
        page = await context.ask(release, found)
    except (FilterError, TermsError) as error:
        raise Unanswerable(str(error)) from error
    if page is None:
        raise NotFound(f"Release {release.id} has no image with this id.")
    return Found(snapshot, page, vectors)


def _understood(query: SearchRequest, terms: list[TermOut]) -> Query:
    if query.terms:
        return Query(kind="terms", terms=terms)
    (term,) = terms
    kind: Literal["text", "image_id"] = "text" if term.text is not None else "image_id"
    return Query(kind=kind, text=term.text, read=term.read, image_id=term.image_id)


def _answer(
    query: Query, kind: Kind, options: SearchOptions, context: Context, found: Found
) -> SearchAnswer:
    release, page, notes = found.snapshot.release, found.page, context.deadline.notes
    notes.update(results=len(page.hits), release=release.id)
    filtered = options.filter is not None and not options.filter.is_empty
    as_searched = searched(release, options.accuracy)
    if "query_vector" in options.include:
        query.vector = page.vector.tolist()
    return SearchAnswer(
        query=query,
        collection=release.collection,
        release=AnswerRelease(
            id=release.id,
            model=release.identity.short,
            untrained=release.identity.untrained,
            published_at=release.published_at,
        ),
        warning=warning(release),
        accuracy=options.accuracy,
        measured_recall=measured_recall(as_searched, kind, filtered=filtered),
        timings_ms=Timings(
            waited=notes.get("encoder_wait_ms", 0.0) + notes.get("database_wait_ms", 0.0),
            encode=notes.get("encoder_ms", 0.0),
            search=notes["database_ms"],
            total=context.passed_ms,
        ),
        complete=page.complete,
        depth=page.depth,
        cursor=str(page.following) if page.following else None,
        hits=hits_with_only(page.hits, release, context.settings, options, found.vectors),
    )
