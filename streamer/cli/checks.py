"""`mallard doctor` and `mallard audit verify`: is the machine right, and is the audit chain whole.

It must not know what is looked at.
"""

from typing import Annotated

import msgspec
import typer

from streamer.cli.shown import DEFAULT_DATA, DataOption, JsonOption, measuring
from streamer.edge.doctor import examine
from streamer.edge.journal import audit
from streamer.edge.journal.database import JournalReader

audit_app = typer.Typer(help="The audit chain of commands, orders and log-ins.", no_args_is_help=True)


def doctor(
    data: DataOption = DEFAULT_DATA,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the dashboard.")] = 8050,
    ingest_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the sockets.")] = 8765,
    as_json: JsonOption = False,
) -> None:
    """Check configuration, versions, disk, database settings and security; exit 1 if anything is wrong."""
    findings = examine(data, (port, ingest_port))
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
def verify(data: DataOption = DEFAULT_DATA) -> None:
    """Check the whole chain; names the first bad sequence number."""
    reader = JournalReader(data)
    try:
        with measuring("checking the chain") as progress:
            head = audit.verify(reader.connection, progress)
    finally:
        reader.close()
    print(f"{head.links} links, whole up to seq {head.seq}; head {head.link.hex()}")
