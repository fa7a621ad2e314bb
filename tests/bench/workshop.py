"""Where a run of the bench happens: its folder, its accounts, and how servers and loads are started in it.

It must not know what is compared with what.
"""

import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import msgspec

from streamer.edge.accounts import Accounts
from tests.bench.children import BenchError, Child, cores, last_line, launch, running
from tests.bench.fleet import driver_name
from tests.bench.places import write_malls
from tests.bench.plan import Outcome, Plan

GATEWAYS = 20
MINTED_MS = 1_794_560_400_000
LOAD_S = 240.0


class Workshop:
    """One run's folder. `quick`: everything is shorter and smaller, and the figures only show that it works."""

    def __init__(self, folder: Path, quick: bool) -> None:
        self.folder = folder
        self.quick = quick
        self.seconds = 1.5 if quick else 4.0
        self.drivers = 5_000 if quick else 50_000
        self.sockets = 500 if quick else 5_000
        self.phones = 1_000
        self.malls = write_malls(folder)
        self.log = folder / "children.log"
        self._numbers = count()
        self._made: tuple[list[str], list[str]] | None = None

    def _tokens(self) -> tuple[list[str], list[str]]:
        """Tokens of drivers and of gateways, made at first need in a folder that every server's is copied from."""
        if self._made is None:
            accounts = Accounts(self.folder / "accounts")
            names = [driver_name(number) for number in range(max(self.sockets, self.phones))]
            for name in names:
                accounts.register_driver(name)
            self._made = (
                [accounts.mint_driver_token(name, MINTED_MS) for name in names],
                [accounts.mint_gateway_token(f"g-{number}", (), MINTED_MS) for number in range(GATEWAYS)],
            )
            accounts.close()
        return self._made

    def driver_tokens(self, count: int) -> list[str]:
        """Tokens of the first drivers."""
        return self._tokens()[0][:count]

    def gateway_tokens(self, count: int) -> list[str]:
        """Tokens of programs that speak for any driver."""
        return self._tokens()[1][:count]

    def fresh(self) -> Path:
        """A folder for one server's files."""
        folder = self.folder / f"data-{next(self._numbers)}"
        folder.mkdir()
        return folder

    @contextmanager
    def product(self, *options: str, data: Path | None = None, kill: bool = False) -> Iterator[Child]:
        """The product, on a new journal unless `data` names one; its files are removed afterwards if they were new.

        `kill`: it ends without the chance to tidy up.
        """
        self._tokens()
        folder = data or self.fresh()
        if data is None:
            shutil.copytree(self.folder / "accounts", folder, dirs_exist_ok=True)
        stop = signal.SIGKILL if kill else signal.SIGTERM
        arguments = ("--data", str(folder), "--malls", str(self.malls), *options)
        with running("tests.bench.server", *arguments, log=self.log, stop=stop) as child:
            yield child
        if data is None:
            shutil.rmtree(folder)

    @contextmanager
    def naive(self) -> Iterator[Child]:
        """The naive ingestor, on a new database."""
        folder = self.fresh()
        with running("tests.bench.naive", "--data", str(folder), log=self.log) as child:
            yield child
        shutil.rmtree(folder)

    @contextmanager
    def sink(self, peer: str) -> Iterator[Child]:
        """A peer that only counts."""
        with running("tests.bench.sinks", peer, log=self.log) as child:
            yield child

    def load(self, plan: Plan) -> Outcome:
        """Carry out a plan from the load's core.

        Raises:
            BenchError: it could not be.
        """
        path = self.folder / "plan"
        path.write_bytes(msgspec.msgpack.encode(plan))
        return msgspec.json.decode(self.program("tests.bench.load", str(path)), type=Outcome)

    def program(self, module: str, *arguments: str) -> str:
        """Run a program on the load's core to its end, and return what it printed.

        Raises:
            BenchError: it failed or took too long.
        """
        log = self.folder / f"{module}.log"
        process = launch(module, list(arguments), cores()[1], log)
        try:
            printed, _ = process.communicate(timeout=LOAD_S)
        finally:
            process.kill()
        if process.returncode != 0:
            raise BenchError(last_line(log))
        return printed
