"""What the streamer counted, as one table of numbers for the dashboard's `/metrics`.

It must not know the text that machines are shown, nor name a driver, an order or a mall: `/metrics` is open to all.
"""

from collections.abc import Callable

from streamer.edge.autopilot import Autopilot
from streamer.edge.desk import calls
from streamer.edge.desk.calls import Answer, Caller
from streamer.edge.gateway.socket import Tally
from streamer.edge.measures import Histogram
from streamer.edge.pulse import Pulse
from streamer.edge.runner import Runner


class Counters:
    """Reads the tallies of the gateway, the runner and the journal.

    A key is `name` or `name.label.value`, of a count `…_total`; a histogram is an object of its bounds, how many
    values fell below each and above the last, and their sum.
    """

    def __init__(
        self, runner: Runner, tally: Tally | None = None, pulse: Pulse | None = None,
        unread: Callable[[], int] | None = None, autopilot: Autopilot | None = None,
    ) -> None:  # fmt: skip
        """`unread` tells the bytes in the buffer of the slowest reader."""
        self.autopilot = autopilot or Autopilot(runner)
        self.runner = runner
        self.tally = tally or Tally()
        self.pulse = pulse or Pulse()
        self.unread = unread or (lambda: 0)

    async def counters(self, who: Caller | None, params: calls.Nothing) -> Answer:
        """The table as it stands."""
        parts = (self._sockets(), self._pings(), self._floor(), self._journal(), self._autopilot())
        return Answer({name: value for part in parts for name, value in part.items()})

    def _sockets(self) -> dict[str, object]:
        tally = self.tally
        return {
            "sockets_open": tally.opened - tally.closed.total(),
            "sockets_opened_total": tally.opened,
            **{f"sockets_closed_total.code.{int(code)}": count for code, count in tally.closed.items()},
            "handshakes_refused_total": tally.refused,
            "handshakes_turned_away_total": tally.turned_away,
            "reading_paused_total": tally.pauses,
            "slowest_reader_bytes": self.unread(),
        }

    def _pings(self) -> dict[str, object]:
        tally, verdicts = self.tally, self.runner.engine.state.verdicts
        return {
            "pings_total": tally.pings,
            "reports_total": tally.reports,
            "acks_total": tally.acks,
            **{f"nacks_total.code.{code}": count for code, count in tally.nacks.items()},
            **{f"pings_judged_total.verdict.{verdict}": count for verdict, count in verdicts.items()},
            "ping_state_seconds": _told(tally.state_s),
            "ping_age_seconds": _told(tally.age_s),
            "ack_wait_seconds": _told(self.runner.waits),
        }

    def _floor(self) -> dict[str, object]:
        runner = self.runner
        return {
            "seq": runner.engine.state.seq,
            "backlog": runner.backlog,
            "quarantined_total": runner.quarantined,
            "rebuilt_total": runner.rebuilt,
            "full": int(runner.full),
            "loop_lag_seconds": _told(self.pulse.lag_s),
        }

    def _journal(self) -> dict[str, object]:
        tally, sizes = self.runner.journal.tally, self.runner.journal.sizes()
        return {
            "journal_commits_total": tally.commits,
            "journal_inputs_total": tally.inputs,
            "journal_last_commit_inputs": tally.last_inputs,
            "journal_commit_seconds": _told(tally.commit_s),
            "journal_bytes": sizes.database,
            "journal_wal_bytes": sizes.wal,
        }

    def _autopilot(self) -> dict[str, object]:
        tally, solver = self.autopilot.tally, self.autopilot.solver
        return {
            "autopilot_looks_total": tally.looks,
            "autopilot_looks_failed_total": tally.failed,
            "autopilot_looks_skipped_total": tally.skipped,
            "autopilot_commands_total": tally.given,
            **{f"autopilot_refused_total.code.{code}": count for code, count in tally.refused.items()},
            "autopilot_advice_total": tally.told,
            "autopilot_workers_started_total": solver.starts,
            "autopilot_orders": tally.orders,
            "autopilot_drivers": tally.drivers,
            "autopilot_build_seconds": _told(tally.build_s),
            "autopilot_decide_seconds": _told(tally.decide_s),
            "autopilot_search_seconds": _told(tally.search_s),
            **({} if self.autopilot.roads is None else self.autopilot.roads.counters()),
        }


def _told(histogram: Histogram) -> dict[str, object]:
    return {"bounds": histogram.bounds, "counts": list(histogram.counts), "sum": histogram.sum}
