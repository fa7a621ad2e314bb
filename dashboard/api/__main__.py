"""`python -m dashboard.api DIR`: writes the machine-readable contracts to files, for whoever builds against Mallard.

It must not know what is in them.
"""

import json
import sys
from pathlib import Path

from dashboard.api.contracts import asyncapi
from dashboard.api.routes import build_api
from streamer.edge.wire import schemas


def write_contracts(folder: Path) -> list[Path]:
    """Writes `openapi.json`, `asyncapi.json` and `schemas/MESSAGE.json`; returns the files written."""
    files: dict[str, object] = {"openapi.json": build_api().openapi(), "asyncapi.json": asyncapi()}
    files |= {f"schemas/{name}.json": schema for name, schema in schemas().items()}
    for name, document in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    return [folder / name for name in files]


if __name__ == "__main__":
    for written in write_contracts(Path(sys.argv[1] if len(sys.argv) > 1 else "build/docs")):
        print(written)
