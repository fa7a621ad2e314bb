"""`mallard evaluate`: the real dispatcher on days of the public meal-delivery benchmark.

It must not know how a day is played.
"""

from pathlib import Path
from typing import Annotated

import typer

from streamer.cli.shown import JsonOption
from streamer.dispatch.problem import PlanSettings


def evaluate(
    directories: Annotated[list[Path], typer.Argument(metavar="INSTANCE_DIR...", help="With the four files of a day.")],
    policy: Annotated[str, typer.Option(metavar="NAME", help="Who plans: plan or nearest.")] = "plan",
    look: Annotated[int, typer.Option(metavar="MINUTES", min=1, max=60, help="Time from one plan to the next.")] = 5,
    multi_pickup: Annotated[
        bool, typer.Option("--multi-pickup", help="A trip may collect at restaurants near each other.")
    ] = False,
    effort: Annotated[
        int, typer.Option(metavar="N", min=0, max=100_000, help="Rounds of improvement a plan.")
    ] = PlanSettings().effort,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="The same seed gives the same day.")] = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write DIR/INSTANCE/solution_info_*.txt for the public checker.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Play benchmark days through the dispatcher and print the paper's metrics."""
    # Here, since they bring scipy: `serve` begins in this program too, and would carry it for good.
    from streamer.cli.days import POLICIES, play_days

    if policy not in POLICIES:
        raise typer.BadParameter(f"{policy!r} is no policy: {', '.join(POLICIES)}")
    play_days(directories, policy, look, multi_pickup, effort, seed, out, as_json)
