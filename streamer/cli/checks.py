"""`mallard doctor` and `mallard audit`: is the machine right, and is the audit chain whole.

It must not know what is looked at.
"""

import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from msgspec import Meta, Struct

from streamer.cli.run import read_config
from streamer.cli.shown import DEFAULT_DATA, DataOption, JsonOption, measuring
from streamer.core.errors import ConfigurationError
from streamer.edge.doctor import check_routing, examine
from streamer.edge.journal import audit
from streamer.edge.journal.database import JournalReader
from streamer.edge.recordings.fixtures import demo_malls_path
from streamer.edge.server import read_malls

audit_app = typer.Typer(help="The audit chain of commands, orders and log-ins.", no_args_is_help=True)


def doctor(
    data: DataOption = DEFAULT_DATA,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the dashboard.")] = 8050,
    ingest_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the sockets.")] = 8765,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="That of serve: its routing server is asked, too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check configuration, versions, disk, database settings and security; exit 1 if anything is wrong."""
    findings = examine(data, (port, ingest_port))
    if config is not None:
        file = read_config(config)
        mall = next(iter(read_malls(Path(file.malls) if file.malls else demo_malls_path()).malls.values()))
        findings += check_routing(file.routing, mall.lat, mall.lng)
    if as_json:
        print(msgspec.json.encode(findings).decode())
    else:
        for finding in findings:
            print(f"{'ok   ' if finding.ok else 'FAULT'} {finding.check:<12} {finding.detail}")
            if not finding.ok:
                print(f"      fix: {finding.fix}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@audit_app.callback()
def _audit() -> None:
    """The audit chain of commands, orders and log-ins."""


@audit_app.command()
def verify(
    data: DataOption = DEFAULT_DATA,
    heads: Annotated[
        Path | None, typer.Option("--heads", metavar="FILE", help="Lines that `mallard audit head` printed earlier.")
    ] = None,
) -> None:
    """Check the whole chain; names the first bad sequence number."""
    kept = _read_heads(heads) if heads is not None else []
    with closing(JournalReader(data)) as reader, measuring("checking the chain") as progress:
        head = audit.verify(reader.connection, progress, kept)
    through = f", through {len(kept)} kept heads" if kept else ""
    print(f"{head.links} links, whole up to seq {head.seq}{through}; head {head.link.hex()}")


@audit_app.command()
def head(data: DataOption = DEFAULT_DATA) -> None:
    """Print where the chain ends now, as a line of JSON to keep outside this machine (at each shift, say)."""
    with closing(JournalReader(data)) as reader:
        found = audit.read_head(reader.connection)
    shown = KeptHead(found.links, found.seq, found.link.hex(), time.time_ns() // 1_000_000)
    print(msgspec.json.encode(shown).decode())


class KeptHead(Struct, frozen=True):
    """A line of `mallard audit head`: where the chain ended at `at_ms` of this machine's clock."""

    links: int
    seq: int
    link: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    at_ms: int


def _read_heads(path: Path) -> list[audit.Head]:
    try:
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
        kept = [msgspec.json.decode(line, type=KeptHead) for line in lines]
    except OSError as error:
        raise ConfigurationError(f"cannot read {path}: {error.strerror}") from error
    except msgspec.MsgspecError as error:
        raise ConfigurationError(f"{path} does not hold lines of `mallard audit head`: {error}") from error
    return [audit.Head(each.links, each.seq, bytes.fromhex(each.link)) for each in kept]
