"""Routes of the floor as a whole: malls, hexes, figures, and the engine's state.

It must not know how any of them is computed.
"""

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from dashboard.api import models
from dashboard.api.access import ask, needs, respond
from dashboard.api.orders import split_words

router = APIRouter(tags=["floor"])
ALL_LAYERS = ["supply", "demand", "balance", "wait"]


@router.get(
    "/malls",
    dependencies=[needs("viewer")],
    responses={200: {"model": models.FeatureCollection}},
    summary="Malls, entrances, curbsides and stores as GeoJSON",
)
async def malls() -> Response:
    """One feature a mall, and one a place."""
    return respond(await ask("malls"))


@router.get(
    "/hexes",
    dependencies=[needs("viewer")],
    responses={200: {"model": models.FeatureCollection}, 404: {"model": models.Problem}},
    summary="A mall's hexes with their layers as GeoJSON",
)
async def hexes(
    mall_id: Annotated[models.Id, Query()],
    layer: Annotated[list[str] | None, Query(description="supply, demand, balance, wait; absent: all")] = None,
) -> Response:
    """One feature a cell; its `id` is the H3 index, its properties are the layers asked for."""
    layers = split_words(layer, models.Layer, "layer") or ALL_LAYERS
    return respond(await ask("hexes", {"mall_id": mall_id, "layers": layers}))


@router.get("/kpis", dependencies=[needs("viewer")], responses={200: {"model": models.Kpis}}, summary="Floor figures")
async def kpis(mall_id: models.Id | None = None) -> Response:
    """Of one mall, or of all malls in scope."""
    return respond(await ask("kpis", {"mall_id": mall_id}))


@router.get(
    "/expected",
    dependencies=[needs("viewer")],
    responses={200: {"model": models.Outlook}, 404: {"model": models.Problem}},
    summary="Orders a mall is likely to be asked for next",
)
async def expected(mall_id: Annotated[models.Id, Query()]) -> Response:
    """From what was placed so far, younger orders counting more; plans may rest on it, nothing is promised by it."""
    return respond(await ask("expected", {"mall_id": mall_id}))


@router.get(
    "/learned",
    dependencies=[needs("viewer")],
    responses={200: {"model": models.Lessons}, 404: {"model": models.Problem}},
    summary="What a mall has taught the floor",
)
async def learned(mall_id: Annotated[models.Id, Query()]) -> Response:
    """How late its stores are, how its roads drive, how often deliveries came within their interval."""
    return respond(await ask("learned", {"mall_id": mall_id}))


@router.get(
    "/state",
    dependencies=[needs("viewer")],
    responses={200: {"model": models.EngineState}},
    summary="Where the engine stands",
)
async def state() -> Response:
    """How many inputs took effect, its clock, and the hash of all it knows: for checks and tests."""
    return respond(await ask("state"))
