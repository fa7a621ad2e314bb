"""The machine-readable contracts say what the product does."""

import json
from pathlib import Path

import jsonschema
import pytest

from dashboard.api.__main__ import write_contracts
from dashboard.api.contracts import asyncapi
from streamer.edge.wire import schemas

PING = {"type": "ping", "seq": 412, "fix_ms": 1794560405000, "lat": 36.12691, "lng": -115.17022, "accuracy_m": 8.0,
        "speed_mps": 11.6, "heading_deg": 271.0, "battery": 0.83}  # fmt: skip
REPORT = {"type": "report", "id": "0f8c", "report": "picked_up", "order_ids": ["o-118"], "assignment": 931,
          "fix_ms": 1794560405000}  # fmt: skip


def test_every_file_is_written_and_is_json(tmp_path: Path) -> None:
    names = {str(path.relative_to(tmp_path)) for path in write_contracts(tmp_path)}
    assert {"openapi.json", "asyncapi.json", "schemas/ping.json", "schemas/route.json"} <= names
    openapi = json.loads((tmp_path / "openapi.json").read_text())
    assert {"/orders", "/orders/{order_id}/reassign", "/drivers", "/undo", "/preview"} <= set(openapi["paths"])


def test_every_reference_of_the_asyncapi_leads_somewhere() -> None:
    document = asyncapi()

    def check(part: object) -> None:
        if isinstance(part, dict):
            reference = part.get("$ref")
            if isinstance(reference, str) and not reference.startswith("#/$defs"):
                target: object = document
                for step in reference.removeprefix("#/").split("/"):
                    assert isinstance(target, dict)
                    target = target[step]
            for value in part.values():
                check(value)
        elif isinstance(part, list):
            for value in part:
                check(value)

    check({name: part for name, part in document.items() if name != "components"})


@pytest.mark.parametrize(
    ("message", "changes", "good"),
    [
        (PING, {}, True), (PING, {"more": 1}, True), (PING, {"lat": 91}, False), (PING, {"seq": "412"}, False),
        (PING, {"fix_ms": 1.5}, False), (REPORT, {}, True), (REPORT, {"report": "danced"}, False),
        (REPORT, {"order_ids": ["../x"]}, False), (REPORT, {"id": "a\n"}, False),
    ],
)  # fmt: skip
def test_schema_takes_the_protocols_examples_and_refuses_bad_ones(
    message: dict[str, object], changes: dict[str, object], good: bool
) -> None:
    schema = schemas()[str(message["type"])]
    jsonschema.Draft202012Validator.check_schema(schema)  # type: ignore[arg-type]
    assert jsonschema.Draft202012Validator(schema).is_valid(message | changes) is good  # type: ignore[arg-type]
