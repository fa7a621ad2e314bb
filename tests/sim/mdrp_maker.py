"""Makes small benchmark instances from a seed, shaped like the public ones: `python -m tests.sim.mdrp_maker`.

A town has a few centres; restaurants crowd there and some are far more popular; orders come in two peaks; drivers begin
near the centres, in shifts that begin together (`blocks`) or whenever one is wanted (`spread`).
"""

import random
from pathlib import Path
from typing import Literal, NamedTuple

FOLDER = Path(__file__).parent / "instances"
QUARTER = 15
HEADERS = {
    "restaurants.txt": ("restaurant", "x", "y"),
    "couriers.txt": ("courier", "x", "y", "on_time", "off_time"),
    "orders.txt": ("order", "x", "y", "placement_time", "restaurant", "ready_time"),
    "instance_parameters.txt": (
        "meters_per_minute", "pickup service minutes", "dropoff service minutes", "target click-to-door",
        "maximum click-to-door", "pay per order", "guaranteed pay per hour",
    ),
}  # fmt: skip
Row = tuple[object, ...]


class Recipe(NamedTuple):
    """Peaks are (minute, spread in minutes, share of orders)."""

    seed: int
    orders: int
    restaurants: int
    drivers: int
    shifts: Literal["blocks", "spread"]
    town_m: int = 12_000
    metres_per_minute: int = 320
    preparing: float = 1.0
    peaks: tuple[tuple[int, int, float], ...] = ((150, 45, 0.4), (480, 60, 0.6))


RECIPES = {
    "quiet150": Recipe(1, 150, 40, 48, "spread"),
    "blocks280": Recipe(2, 280, 30, 56, "blocks", metres_per_minute=420, preparing=1.25),
    "rush400": Recipe(3, 400, 45, 80, "spread", town_m=9_000),
}


def make(recipe: Recipe) -> dict[str, str]:
    """The text of an instance's four files."""
    draw = random.Random(recipe.seed)
    centres = [(draw.uniform(0.2, 0.8) * recipe.town_m, draw.uniform(0.2, 0.8) * recipe.town_m) for _ in range(3)]

    def near(x_m: float, y_m: float, spread_m: float) -> tuple[int, int]:
        return round(abs(draw.gauss(x_m, spread_m))), round(abs(draw.gauss(y_m, spread_m)))

    restaurants = [near(*draw.choice(centres), recipe.town_m / 14) for _ in range(recipe.restaurants)]
    popular = [draw.paretovariate(1.2) for _ in restaurants]
    orders: list[Row] = []
    for number in range(recipe.orders):
        minute, spread, _ = draw.choices(recipe.peaks, [share for *_, share in recipe.peaks])[0]
        placed = max(0, round(draw.gauss(minute, spread)))
        (where,) = draw.choices(range(recipe.restaurants), popular)
        ready = placed + round(draw.lognormvariate(2.7, 0.5) * recipe.preparing)
        drop = near(*restaurants[where], recipe.town_m / 6)
        orders.append((f"o{number + 1}", *drop, placed, f"r{where + 1}", ready))
    drivers: list[Row] = []
    for number in range(recipe.drivers):
        on, off = _shift(draw, recipe)
        drivers.append((f"c{number + 1}", *near(*draw.choice(centres), recipe.town_m / 10), on, off))
    return {
        "restaurants.txt": _text("restaurants.txt", [(f"r{n + 1}", *at) for n, at in enumerate(restaurants)]),
        "couriers.txt": _text("couriers.txt", drivers),
        "orders.txt": _text("orders.txt", orders),
        "instance_parameters.txt": _text("instance_parameters.txt", [(recipe.metres_per_minute, 4, 4, 40, 90, 10, 15)]),
    }


def _shift(draw: random.Random, recipe: Recipe) -> tuple[int, int]:
    minute, spread, _ = draw.choices(recipe.peaks, [share for *_, share in recipe.peaks])[0]
    if recipe.shifts == "blocks":
        on = max(0, (minute - draw.choice((120, 60, 60, 0))) // 60 * 60)
        return on, on + 180
    on = max(0, round((minute + draw.gauss(-90, spread)) / QUARTER) * QUARTER)
    return on, on + draw.choice((90, 120, 180, 240))


def _text(file: str, rows: list[Row]) -> str:
    return "".join("\t".join(map(str, row)) + "\n" for row in (HEADERS[file], *rows))


def read(name: str) -> dict[str, str]:
    """A committed instance's texts."""
    return {file: (FOLDER / name / file).read_text() for file in HEADERS}


if __name__ == "__main__":
    for name, recipe in RECIPES.items():
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
        for file, text in make(recipe).items():
            (FOLDER / name / file).write_text(text)
