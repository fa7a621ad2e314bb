"""The live floor's calls about the policy lab: starting a run, looking at runs, cancelling one.

It must not check the roles of calls (the desk's table does), only what of the recordings a caller may see.
"""

import asyncio
import shlex

from streamer.edge.desk.calls import Answer, Caller, CallRefusedError, Nothing
from streamer.edge.desk.desk import Entry
from streamer.edge.journal.contract import Note
from streamer.edge.lab.contract import LabOrder, LabStart, LabView, trials_of
from streamer.edge.lab.keeper import Lab, LabBusyError, busy
from streamer.edge.recordings.fixtures import FixtureError, find_fixture
from streamer.edge.rooms.contract import JOURNAL
from streamer.edge.rooms.gallery import Found, Gallery
from streamer.edge.runner import Runner


class LabDesk:
    """Answers about the lab. It lives days of the gallery's fixtures; a journal is cut into one first."""

    def __init__(self, runner: Runner, gallery: Gallery) -> None:
        self.runner = runner
        self.gallery = gallery
        self.lab = Lab()

    @property
    def table(self) -> dict[str, Entry]:
        """What the desk's table is extended by."""
        return {
            "lab_start": Entry("ops-lead", LabStart, self.start),
            "lab": Entry("viewer", Nothing, self.runs),
            "lab_cancel": Entry("ops-lead", Nothing, self.cancel),
        }

    async def start(self, who: Caller, params: LabStart) -> Answer:
        """Start a run: 201, and a note in the audit chain first."""
        if params.policies[0] == params.policies[1]:
            raise CallRefusedError(422, "bad_field", "policies: the two are the same")
        if params.source == JOURNAL:
            raise CallRefusedError(409, "bad_recording", "cut a recording from the journal first: `mallard record`")
        found = await self._found(who, params.source)
        # Before the note: a refusal is no start.
        if (running := self.lab.running) is not None:
            raise CallRefusedError(409, "lab_busy", busy(running))
        await self._audit(who, params)
        order = LabOrder(
            str(found.path.absolute()), found.item.name, params.policies, params.seeds, params.minutes
        )  # fmt: skip
        view = LabView(
            "", "running", params.source, found.item.name, params.policies, params.seeds, params.minutes, who.name,
            self.runner.now_ms(), len(trials_of(params.policies, params.seeds)), 0.0, None, _command(found, params),
        )  # fmt: skip
        try:
            return Answer(await self.lab.start(order, view, found.item.malls), 201)
        except LabBusyError as error:
            raise CallRefusedError(409, "lab_busy", str(error)) from error

    async def runs(self, who: Caller, params: Nothing) -> Answer:
        """The runs of recordings the caller may see, newest first."""
        return Answer({"items": [view for view, malls in self.lab.views() if _may_see(who, malls)]})

    async def cancel(self, who: Caller, params: Nothing) -> Answer:
        """End the run that is under way; what it has found stays, as far as it goes."""
        running = next(((view, malls) for view, malls in self.lab.views() if view.status == "running"), None)
        if running is None or not _may_see(who, running[1]):
            raise CallRefusedError(404, "not_found", "no run of the lab is under way")
        return Answer(await self.lab.cancel())

    async def _found(self, who: Caller, source: str) -> Found:
        looked = await asyncio.to_thread(self.gallery.look)
        found = next((found for found in looked if found.item.id == source), None)
        if found is None:
            raise CallRefusedError(404, "not_found", f"there is no recording {source}")
        if not _may_see(who, found.item.malls):
            raise CallRefusedError(403, "forbidden", f"{found.item.name} is of malls outside your scope")
        if found.item.problem is not None:
            raise CallRefusedError(409, "bad_recording", found.item.problem)
        return found

    async def _audit(self, who: Caller, params: LabStart) -> None:
        if self.runner.full:
            raise CallRefusedError(503, "storage_full", "a run is only started when that can be audited")
        detail = {
            "source": params.source, "policies": " ".join(params.policies), "seeds": str(params.seeds),
            "minutes": "all" if params.minutes is None else f"{params.minutes:g}",
        }  # fmt: skip
        self.runner.note(Note(self.runner.now_ms(), "lab_started", who.name, detail))
        await self.runner.settled()


def _may_see(who: Caller, malls: tuple[str, ...]) -> bool:
    return not malls or any(who.may_see(mall_id) for mall_id in malls)


def _command(found: Found, params: LabStart) -> str:
    """The command line that lives the same days. A fixture of a folder of one's own is named by its file."""
    try:
        known = find_fixture(found.item.name).samefile(found.path)
    except (FixtureError, OSError):
        known = False
    words = ["mallard", "compare", found.item.name if known else f"./{found.path.name}"]
    for policy in params.policies:
        words += ["--policy", policy]
    words += ["--seeds", str(params.seeds)]
    if params.minutes is not None:
        words += ["--minutes", f"{params.minutes:g}"]
    return shlex.join(words)
