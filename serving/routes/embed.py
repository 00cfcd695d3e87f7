"""Vectors of texts and images by a release's model, for use elsewhere."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, File, Form, UploadFile

from ..encoder import Vector
from ..live import Snapshot
from ..query import EmbedRequest, InCollection, ReleaseId
from ..routes.refusals import REFUSALS
from ..routes.search import FORM_OVERHEAD, JSON_BYTES
from ..schema import Embeddings
from ..service import ContextDep
from ..settings import ServingSettings
from ..upload import Budget, decoded


def router(settings: ServingSettings) -> APIRouter:
    """The routes; each has its own limit on the size of the body."""
    routes = APIRouter(prefix="/v1", tags=["search"], responses=REFUSALS)
    routes.post("/embed", max_body_size=JSON_BYTES)(embed)
    routes.post(
        "/embed/image",
        max_body_size=settings.upload_bytes + FORM_OVERHEAD,
        form_limits={"max_files": 1, "max_fields": 3},
    )(embed_upload)
    return routes


async def embed(query: EmbedRequest, context: ContextDep) -> Embeddings:
    """Unit vectors of up to 16 texts, the same that searches use."""
    snapshot = context.encodable(await context.snapshot(query.collection, query.release))
    encoded = await snapshot.encoder.texts(query.texts, context.deadline)
    return _embeddings(snapshot, [one.vector for one in encoded])


async def embed_upload(
    context: ContextDep,
    file: Annotated[UploadFile, File(description="JPEG, PNG or WebP")],
    collection: Annotated[InCollection, Form()] = None,
    release: Annotated[ReleaseId, Form()] = None,
) -> Embeddings:
    """The unit vector of an uploaded image, for searches that combine it with other terms."""
    snapshot = context.encodable(await context.snapshot(collection, release))
    snapshot.require_images()
    budget = Budget(context.settings.upload_pixels, context.settings.upload_jpeg_pixels)
    vector = await snapshot.encoder.image(
        lambda: decoded(file.file.read(), budget, snapshot.encoder.enough), context.deadline
    )
    return _embeddings(snapshot, [vector])


def _embeddings(snapshot: Snapshot, vectors: Sequence[Vector]) -> Embeddings:
    identity = snapshot.release.identity
    return Embeddings(
        collection=snapshot.release.collection,
        model=identity.short,
        identity_key=identity.key,
        dim=identity.dim,
        vectors=[vector.tolist() for vector in vectors],
    )
