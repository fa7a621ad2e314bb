"""The policy lab beside a live floor: one run at a time, with progress, cancelled at will, and never in its way."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamer.edge.desk.calls import Caller
from streamer.edge.journal.contract import MemoryJournal, Note
from streamer.edge.lab.contract import Verdict
from streamer.edge.lab.desk import LabDesk
from streamer.edge.rooms.gallery import Gallery
from streamer.edge.runner import Runner
from tests.edge.floor_kit import a_runner
from tests.edge.rooms.rooms_kit import OLGA, VERA, a_recording, asked

POLICIES = ["nearest", "no-hold"]


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_recording(tmp_path_factory.mktemp("recordings")).parent


class Floor:
    """A floor's end of the calls."""

    def __init__(self, runner: Runner, recordings: Path) -> None:
        self.runner = runner
        self.desk = LabDesk(runner, Gallery((recordings,)))

    async def ask(self, call: str, who: Caller = OLGA, **params: Any) -> tuple[int, dict[str, Any]]:
        return await asked(self.desk.table, call, who, **params)

    async def newest(self, who: Caller = OLGA) -> dict[str, Any]:
        """The newest run, and that the floor got its turn meanwhile."""
        await asyncio.sleep(0.02)
        return dict((await self.ask("lab", who))[1]["items"][0])


@pytest.fixture
async def floor(recordings: Path) -> AsyncIterator[Floor]:
    runner = a_runner()
    await runner.start()
    floor = Floor(runner, recordings)
    yield floor
    await floor.desk.lab.close()
    await runner.stop()


async def test_a_run_says_how_far_it_is_then_what_it_found_and_the_command_line_gives_the_same(
    floor: Floor, recordings: Path
) -> None:
    before = floor.runner.engine.hash()
    status, run = await floor.ask("lab_start", source="a-day", policies=POLICIES, seeds=2)
    assert status == 201, run
    assert (run["status"], run["days"], run["done"], run["left_ms"]) == ("running", 4, 0.0, None)
    status, problem = await floor.ask("lab_start", source="a-day", policies=POLICIES)
    assert (status, problem["code"]) == (409, "lab_busy")
    assert "by olga is under way" in problem["detail"]

    seen = []
    while (run := await floor.newest(VERA))["status"] == "running":
        seen.append(run["done"])
    assert run["status"] == "done", run
    assert run["verdict"]["complete"], "it is not done before its last figures have come"
    assert (run["done"], run["left_ms"], run["problem"]) == (4.0, None, None)
    assert seen == sorted(seen)
    assert floor.runner.engine.hash() == before
    assert [note.detail["source"] for note in _notes(floor) if note.kind == "lab_started"] == ["a-day"]

    words = run["command"].split()
    assert words[:3] == ["mallard", "compare", "./a-day.ndjson.zst"]
    program = [sys.executable, "-c", "from streamer import cli; cli.main()", *words[1:], "--json", "--workers", "1"]
    done = await asyncio.to_thread(
        subprocess.run, program, cwd=recordings, capture_output=True, check=True,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    printed = msgspec.json.decode(done.stdout, type=Verdict)
    assert printed == msgspec.convert(run["verdict"], Verdict)
    assert (printed.seeds, printed.complete) == (2, True)
    assert [[pair.seed for pair in one.pairs] for one in printed.figures if one.figure == "delivered"] == [[1, 2]]


async def test_a_cancelled_run_ends_its_process_and_makes_place_for_the_next(floor: Floor) -> None:
    assert (await floor.ask("lab_cancel"))[0] == 404
    await floor.ask("lab_start", source="a-day", policies=POLICIES, seeds=40)
    (run,) = floor.desk.lab._runs
    while run.child is None:
        await asyncio.sleep(0)
    status, view = await floor.ask("lab_cancel")
    assert (status, view["status"]) == (200, "cancelled")
    assert run.child.returncode is not None
    assert (await floor.ask("lab_start", source="a-day", policies=POLICIES, seeds=40, minutes=1))[0] == 201
    assert [item["status"] for item in (await floor.ask("lab"))[1]["items"]] == ["running", "cancelled"]
    await floor.desk.lab.close()
    second = floor.desk.lab._runs[-1]
    assert second.child is None or second.child.returncode is not None, "it ends with the floor"


async def test_a_process_that_is_killed_is_a_run_that_failed(floor: Floor) -> None:
    await floor.ask("lab_start", source="a-day", policies=POLICIES, seeds=40)
    (run,) = floor.desk.lab._runs
    while run.child is None:
        await asyncio.sleep(0)
    run.child.kill()
    while (view := await floor.newest())["status"] == "running":
        pass
    assert (view["status"], view["problem"]) == ("failed", "the process of the lab ended by itself")


@pytest.mark.parametrize(
    ("params", "who", "status", "code"),
    [
        ({"source": "a-day", "policies": ["plan", "plan"]}, OLGA, 422, "bad_field"),
        ({"source": "no-day", "policies": POLICIES}, OLGA, 404, "not_found"),
        ({"source": "journal", "policies": POLICIES}, OLGA, 409, "bad_recording"),
        ({"source": "a-day", "policies": POLICIES}, Caller("else", "ops-lead", ("other-mall",)), 403, "forbidden"),
    ],
)
async def test_what_cannot_be_run_is_refused(
    floor: Floor, params: dict[str, Any], who: Caller, status: int, code: str
) -> None:
    answered, problem = await floor.ask("lab_start", who, **params)
    assert (answered, problem["code"]) == (status, code)
    assert (await floor.ask("lab"))[1]["items"] == []


async def test_a_run_of_other_malls_is_not_shown_nor_cancelled(floor: Floor) -> None:
    elsewhere = Caller("else", "ops-lead", ("other-mall",))
    await floor.ask("lab_start", source="a-day", policies=POLICIES, seeds=40)
    assert (await floor.ask("lab", elsewhere))[1]["items"] == []
    assert (await floor.ask("lab_cancel", elsewhere))[0] == 404


async def test_a_full_disk_starts_nothing(floor: Floor) -> None:
    floor.runner.full = True
    assert (await floor.ask("lab_start", source="a-day", policies=POLICIES))[1]["code"] == "storage_full"
    floor.runner.full = False
    assert (await floor.ask("lab"))[1]["items"] == []


def _notes(floor: Floor) -> list[Note]:
    journal = floor.runner.journal
    assert isinstance(journal, MemoryJournal)
    return journal.notes
