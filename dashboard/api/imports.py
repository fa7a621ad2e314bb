"""Orders in bulk: reads CSV and NDJSON row by row, and places each on its own.

It must not know HTTP: it takes bytes and gives a `Reply`.
"""

import asyncio
import csv
import io
import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from pydantic import ValidationError

from dashboard.api.access import ask
from dashboard.api.failures import worded
from dashboard.api.models import OrderBody
from dashboard.link import JsonObject, Reply

AT_ONCE = 64
"""Rows under way together: each waits for a commit, and one commit takes many."""
DROPOFF_COLUMNS = ("name", "phone", "address", "notes")
Row = OrderBody | str
"""An order, or what is wrong with the line."""


def read_ndjson(body: bytes) -> Iterator[Row]:
    """One order body a line; empty lines are skipped."""
    for line in body.splitlines():
        if line.strip():
            yield _checked(partial(json.loads, line))


def read_csv(body: bytes) -> Iterator[Row]:
    """One order a row under a header row; columns of the drop-off may carry the prefix `dropoff_`."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError:
        yield "the file is not UTF-8"
        return
    for row in csv.DictReader(io.StringIO(text, newline="")):
        yield _checked(partial(_from_columns, row))


READERS: Final[dict[str, Callable[[bytes], Iterator[Row]]]] = {
    "text/csv": read_csv,
    "application/x-ndjson": read_ndjson,
}


async def import_rows(rows: Iterator[Row], key: str | None) -> Reply:
    """Places every good row; row n of a keyed import has the key `KEY:n`, so a repeat has no second effect."""
    room = asyncio.Semaphore(AT_ONCE)

    async def place(number: int, row: Row) -> Reply:
        if isinstance(row, str):
            return Reply(422, problem={"code": "bad_field", "detail": row})
        async with room:
            return await ask("place", {"order": row.model_dump(), "key": f"{key}:{number}" if key else None})

    replies = await asyncio.gather(*(place(number, row) for number, row in enumerate(rows, 1)))
    items = [_result(number, reply) for number, reply in enumerate(replies, 1)]
    statuses = [reply.status for reply in replies]
    made, known = statuses.count(201), statuses.count(200)
    return Reply(200, {"items": items, "created": made, "existing": known, "refused": len(statuses) - made - known})


def _result(number: int, reply: Reply) -> JsonObject:
    if reply.ok:
        return {"row": number, "status": reply.status, "order": reply.body}
    return {"row": number, "status": reply.status, "problem": {**reply.problem, "status": reply.status}}


def _checked(read: Callable[[], object]) -> Row:
    try:
        return OrderBody.model_validate(read())
    except ValidationError as error:
        return worded(error.errors(include_url=False, include_input=False, include_context=False))
    except (ValueError, RecursionError):
        return "the line is not JSON"


def _from_columns(row: dict[str | None, str | None]) -> JsonObject:
    cells = {
        str(name).strip().removeprefix("dropoff_"): text.strip()
        for name, text in row.items()
        if isinstance(text, str) and text.strip()
    }
    dropoff: JsonObject = {name: cells[name] for name in DROPOFF_COLUMNS if name in cells}
    dropoff |= {name: _number(cells[name]) for name in ("lat", "lng") if name in cells}
    order: JsonObject = {name: cells[name] for name in ("external_id", "mall_id") if name in cells}
    order |= {
        name: _number(cells[name]) for name in ("items", "placed_ms", "ready_ms", "due_ms", "priority") if name in cells
    }
    stores = [store.strip() for store in cells.get("stores", "").split(";") if store.strip()]
    return order | {"stores": stores, "dropoff": dropoff}


def _number(text: str) -> int | float | str:
    """A cell as a number; what is none stays text, for the model to name."""
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text
