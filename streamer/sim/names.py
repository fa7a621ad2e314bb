"""Invented people and streets. Every name is made from common parts; phone numbers lie in the block kept for fiction.

It must not know where anybody lives or works.
"""

from numpy.random import Generator

FIRST = (
    "Ana", "Ben", "Carla", "Darnell", "Elena", "Femi", "Grace", "Hector", "Imani", "Jonas", "Kira", "Luis", "Maya",
    "Nadia", "Omar", "Priya", "Quinn", "Rosa", "Sam", "Tessa", "Umar", "Vera", "Wes", "Ximena", "Yusuf", "Zoe", "Andre",
    "Bianca", "Cole", "Dana", "Eli", "Faye", "Gus", "Holly", "Ivan", "Jada", "Kofi", "Lena", "Marco", "Noor", "Owen",
    "Paula", "Ray", "Sofia", "Theo", "Uma", "Victor", "Wanda", "Yara", "Zach",
)  # fmt: skip
LAST = (
    "Adams", "Baker", "Castillo", "Diaz", "Ellis", "Foster", "Garcia", "Hughes", "Ibarra", "Jensen", "Kim", "Lopez",
    "Murphy", "Nguyen", "Okafor", "Patel", "Quintero", "Reyes", "Singh", "Torres", "Underwood", "Vargas", "Walker",
    "Xiong", "Young", "Zimmerman", "Brooks", "Chen", "Dixon", "Estrada", "Flynn", "Grant", "Hill", "Irwin", "Jordan",
    "Keller", "Lang", "Moreno", "Novak", "Owens",
)  # fmt: skip
TREES = (
    "Acacia", "Birch", "Cedar", "Desert Willow", "Elm", "Foxtail", "Greenbriar", "Hawthorn", "Ironwood", "Juniper",
    "Kestrel", "Laurel", "Mesquite", "Nettle", "Oak Hollow", "Palo Verde", "Quail Run", "Redwood", "Sagebrush",
    "Tamarind", "Verbena", "Windmill", "Yucca",
)  # fmt: skip
COLUMN_KINDS, ROW_KINDS = ("Ave", "Blvd", "Dr"), ("St", "Rd", "Ln")
NOTES = ("", "", "", "", "leave at door", "leave at door", "call on arrival", "gate code in the app", "ring twice",
         "side entrance", "dog in yard", "front desk")  # fmt: skip
AREA_CODES = {"America/Los_Angeles": 702, "America/New_York": 703, "America/Phoenix": 480, "America/Chicago": 281}


def person(rng: Generator) -> str:
    """A full name."""
    return f"{FIRST[int(rng.integers(len(FIRST)))]} {LAST[int(rng.integers(len(LAST)))]}"


def driver_name(number: int) -> str:
    """A driver's name as shown on a floor, such as `Ana R.`; the first seven hundred differ."""
    first = FIRST[number % len(FIRST)]
    return f"{first} {LAST[(number * 7 + number // len(FIRST) * 3) % len(LAST)][0]}."


def phone(rng: Generator, timezone: str) -> str:
    """An E.164 number that rings nowhere. Source: 555-0100 to 555-0199 are reserved for fiction (NANPA)."""
    return f"+1{AREA_CODES.get(timezone, 202)}55501{int(rng.integers(100)):02d}"


def street(way: str, line: int) -> str:
    """The name of a grid line: `way` is "row" or "column", `line` its number from the mall."""
    kinds = ROW_KINDS if way == "row" else COLUMN_KINDS
    tree = TREES[(line * 5 + (7 if way == "row" else 0)) % len(TREES)]
    return f"{tree} {kinds[line % len(kinds)]}"


def notes(rng: Generator) -> str:
    """What a shopper asks of the driver; often nothing."""
    return NOTES[int(rng.integers(len(NOTES)))]
