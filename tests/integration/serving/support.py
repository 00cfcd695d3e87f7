"""A service for tests: a few pictures in a real index, and a real server on a free port."""

import hashlib
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any
from unittest.mock import DEFAULT, patch

import numpy as np
import psycopg
import uvicorn
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from psycopg.types.json import Jsonb
from pydantic import SecretStr

from clip_assets.column import NO_COLUMNS, Columns, ColumnType
from clip_assets.index import build, tables
from clip_assets.index.columns import table_column
from clip_assets.index.spec import IndexSpec
from clip_assets.index.statements import statement
from clip_assets.model import ModelIdentity, ModelSpec
from clip_assets.node.encoder import Encoder
from clip_assets.node.resize import thumbnail
from clip_assets.release.statements import statement as release_statement
from serving import memory
from serving.app import create_app
from serving.loading import Load, load_model
from serving.server import config_of
from serving.settings import ServingSettings
from tests import web

COLORS = ("crimson", "seagreen", "royalblue", "gold", "orchid", "black")


DRAWN = {
    "color": ColumnType.TEXT,
    "number": ColumnType.BIGINT,
    "round": ColumnType.BOOLEAN,
    "drawn_on": ColumnType.DATE,
}
"""The columns that are known of drawn pictures; the first has no color."""


@dataclass(frozen=True)
class Picture:
    """One image to index."""

    image_id: str
    caption: str | None
    image: Image.Image
    known: Mapping[str, Any] = field(default_factory=dict)

    @property
    def png(self) -> bytes:
        file = io.BytesIO()
        self.image.save(file, "PNG")
        return file.getvalue()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.png).hexdigest()


@dataclass(frozen=True)
class Searchable:
    """A running service, the pictures in its index, and the model that made their vectors."""

    url: str
    pictures: list[Picture]
    encoder: Encoder
    dsn: str
    spec: ModelSpec


# A busy machine takes its time, which is no outage.
PATIENT = {
    "deadline_seconds": 60.0,
    "acquire_seconds": 30.0,
    "probe_seconds": 5.0,
    "silence_seconds": 5.0,
}
# While the database is away, these are how long the service waits before it notices each change.
IMPATIENT = {"acquire_seconds": 0.5, "probe_seconds": 1.0, "refresh_seconds": 0.1}
PATIENT_ENVIRONMENT = {
    f"CLIP_ASSETS_SERVING_{name.upper()}": str(value) for name, value in PATIENT.items()
}


def settings(dsn: str, **values: Any) -> ServingSettings:
    """Settings for a test, without the .env files of the user who runs it."""
    return ServingSettings(_env_file=None, dsn=SecretStr(dsn), **PATIENT | values)


def drawn(number: int, caption: str | None = None, image_id: str | None = None) -> Picture:
    """A coloured shape on white; no two numbers give the same picture."""
    size = ((96, 64), (64, 64), (64, 90))[number % 3]
    image = Image.new("RGB", size, "white")
    color = COLORS[number % len(COLORS)]
    ImageDraw.Draw(image).ellipse((4 + number, 8, 40 + number, 56), fill=color)
    name = f"shapes/{number:02d}-{color}.png"
    known = {
        "color": color if number else None,
        "number": number,
        "round": number % 3 == 1,
        "drawn_on": date(2026, 1, 1) + timedelta(days=number),
    }
    return Picture(image_id or name, caption or f"a {color} ellipse", image, known)


def publish(
    connection: psycopg.Connection,
    spec: ModelSpec,
    identity: ModelIdentity,
    pictures: Sequence[Picture],
    vectors: NDArray[np.float32],
    *,
    collection: str = "sample",
    columns: Columns = NO_COLUMNS,
) -> None:
    """Publish the pictures with these vectors as the live release of the collection, with these of
    the columns that `drawn` knows."""
    index = tables.ensure(connection, IndexSpec(collection, spec), identity)
    index = tables.declare(connection, index, columns)
    for row, (picture, vector) in enumerate(zip(pictures, vectors, strict=True)):
        _insert(connection, index, row, picture, vector)
    _write_ledger(connection, index, len(pictures))
    build.build(connection, index, len(pictures))
    release = {
        "collection": collection, "index_id": index.index_id, "content": "c" * 64, "ef_search": 40,
        "rows": len(pictures), "judgement": Jsonb({}), "run_id": "run-release",
        "replaced": None,
    }  # fmt: skip
    added = connection.execute(release_statement("add_release"), release).fetchone()
    assert added
    pointer = {"collection": collection, "release_id": added[0]}
    connection.execute(release_statement("point_at"), pointer)


def _insert(
    connection: psycopg.Connection,
    index: tables.Index,
    row: int,
    picture: Picture,
    vector: NDArray[np.float32],
) -> None:
    values = (
        "sample-000000", row, picture.image_id, f"images/{picture.image_id}", picture.caption,
        picture.sha256, *picture.image.size, str(vector.tolist()),
    )  # fmt: skip
    connection.execute(
        psycopg.sql.SQL(
            "INSERT INTO clip_assets.{} VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s::halfvec)"
        ).format(index.table),
        values,
    )
    for name, kind in index.columns.items():
        connection.execute(
            psycopg.sql.SQL("UPDATE clip_assets.{} SET {} = %s WHERE image_id = %s").format(
                index.table, psycopg.sql.Identifier(table_column(name, kind))
            ),
            (picture.known.get(name), picture.image_id),
        )
    connection.execute(
        "INSERT INTO clip_assets.thumbnail VALUES (%s, %s) ON CONFLICT DO NOTHING",
        (picture.sha256, thumbnail(np.array(picture.image))),
    )


def _write_ledger(connection: psycopg.Connection, index: tables.Index, rows: int) -> None:
    values = {
        "index_id": index.index_id, "shard": "sample-000000", "version": 3, "digest": "d" * 64,
        "commit_path": "commit.json", "rows": rows, "rejected": 0, "checksum": 0,
        "run_id": "run-embed", "job_id": "job-embed", "device": "cpu",
    }  # fmt: skip
    connection.execute(statement("write_ledger"), values)


_FREEZING = {"freeze": memory.freeze, "unfreeze": memory.unfreeze}
_NOT_FREEZING = dict.fromkeys(_FREEZING, DEFAULT)


@contextmanager
def running(
    settings: ServingSettings, load: Load = load_model, *, freezes: bool = False
) -> Iterator[str]:
    """Runs the service on a free loopback port; yields its address.

    With `freezes`, it keeps permanent objects out of garbage collections, as in production. By
    default it does not: collecting the test process' million objects takes half a second.
    """
    app = create_app(settings, load)
    server = uvicorn.Server(config_of(app, settings))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],))
    with patch.multiple(memory, **(_FREEZING if freezes else _NOT_FREEZING)):
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(20)


def readiness(url: str) -> tuple[int, dict[str, Any]]:
    answer = web.get(f"{url}/readyz")
    return answer.status_code, answer.json()


def wait_until_ready(
    url: str, *, model: str | None = None, release: int | None = None, seconds: float = 300
) -> None:
    """Wait until the service is ready, with that model and that release if they are given."""

    def ready() -> bool:
        if readiness(url)[0] != 200:
            return False
        asked = web.get(f"{url}/v1/release")
        if asked.status_code != 200:  # another worker, which has no model yet
            return False
        live = asked.json()
        return model in (None, live["model"]) and release in (None, live["id"])

    wait_until(ready, url, seconds)


def wait_until_unready(url: str, reason: str, seconds: float = 300) -> None:
    """Wait until the service is unready and its reason contains this text."""
    wait_until(lambda: reason in str(readiness(url)[1]["problems"]), url, seconds)


def wait_until(met: Callable[[], bool], url: str, seconds: float = 300) -> None:
    until = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < until, readiness(url)
        time.sleep(0.05)
