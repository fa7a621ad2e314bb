"""What the streamer counted, as one flat table of numbers for the dashboard's `/metrics`.

It must not know the text that machines are shown, nor name a driver, an order or a mall: `/metrics` is open to all.
"""

from streamer.edge.desk import calls
from streamer.edge.desk.calls import Answer, Caller
from streamer.edge.gateway.socket import Tally
from streamer.edge.runner import Runner


class Counters:
    """Reads the tallies of the gateway and the runner. A key is `name` or `name.label.value`, of a count `…_total`."""

    def __init__(self, runner: Runner, tally: Tally) -> None:
        self.runner = runner
        self.tally = tally

    async def counters(self, who: Caller | None, params: calls.Nothing) -> Answer:
        """The table as it stands."""
        runner, tally = self.runner, self.tally
        state = runner.engine.state
        return Answer(
            {
                "sockets_open": tally.opened - tally.closed.total(),
                "sockets_opened_total": tally.opened,
                **{f"sockets_closed_total.code.{int(code)}": count for code, count in tally.closed.items()},
                "handshakes_refused_total": tally.refused,
                "pings_total": tally.pings,
                "reports_total": tally.reports,
                "acks_total": tally.acks,
                **{f"nacks_total.code.{code}": count for code, count in tally.nacks.items()},
                **{f"pings_judged_total.verdict.{verdict}": count for verdict, count in state.verdicts.items()},
                "backlog": runner.backlog,
                "quarantined_total": runner.quarantined,
                "rebuilt_total": runner.rebuilt,
                "full": int(runner.full),
                "seq": state.seq,
            }
        )
