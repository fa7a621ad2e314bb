"""The floors: imports only point down, and nothing below the edge reads a clock, draws a number or opens anything."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

FLOORS = ["core", "dispatch", "sim", "edge", "cli"]

FORBIDDEN_BELOW_THE_EDGE = {
    "time", "datetime", "random", "uuid", "secrets", "asyncio", "threading", "socket", "os", "pathlib", "logging",
    "websockets", "dash", "plotly", "multiprocessing", "subprocess", "concurrent", "sqlite3", "apsw", "structlog",
    "zoneinfo", "tempfile", "shutil", "io", "sys", "httpx", "uvloop",
}  # fmt: skip

DASHBOARD_MAY_IMPORT = ("streamer.core", "streamer.edge.wire")


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module a file imports, wherever in it, `from a import b` as both `a` and `a.b`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides which floor it means"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def calls(path: Path) -> set[str]:
    return {
        node.func.id
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def floor_of(module: str) -> int | None:
    parts = module.split(".")
    return FLOORS.index(parts[1]) if len(parts) > 1 and parts[0] == "streamer" and parts[1] in FLOORS else None


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", modules("streamer"), ids=label)
def test_streamer_imports_only_point_down(path: Path) -> None:
    own = path.relative_to(ROOT / "streamer").parts[0].removesuffix(".py")
    if own not in FLOORS:
        return
    for module in imports(path):
        floor = floor_of(module)
        assert floor is None or floor <= FLOORS.index(own), f"{label(path)} reaches up to {module}"
        assert not module.startswith("dashboard"), f"{label(path)} reaches into the dashboard"


@pytest.mark.parametrize("path", [p for f in ("core", "dispatch", "sim") for p in modules(f"streamer/{f}")], ids=label)
def test_nothing_below_the_edge_can_reach_the_outside(path: Path) -> None:
    reached = {module.split(".")[0] for module in imports(path)}
    assert not reached & FORBIDDEN_BELOW_THE_EDGE, f"{label(path)} imports {reached & FORBIDDEN_BELOW_THE_EDGE}"
    assert not calls(path) & {"open", "print", "input", "id", "hash", "eval", "exec"}, label(path)


@pytest.mark.parametrize("path", [p for f in ("core", "dispatch", "sim") for p in modules(f"streamer/{f}")], ids=label)
def test_nothing_below_the_edge_draws_unseeded_numbers(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            assert node.func.attr not in {"seed", "rand", "randn", "randint", "random_sample"}, label(path)
            if node.func.attr in {"default_rng", "PCG64"}:
                assert node.args, f"{label(path)}: a generator without a seed"


def test_a_program_that_serves_carries_no_simulation() -> None:
    """Nor scipy, which that needs: a third of the memory of a floor that nobody is on."""
    loads = "import sys, streamer.cli.commands; print([name for name in sys.modules if name.startswith(%r)])"
    for name in ("scipy", "streamer.sim"):
        done = subprocess.run(
            [sys.executable, "-c", loads % name], capture_output=True, text=True, check=True, cwd=ROOT
        )
        assert done.stdout == "[]\n", name


@pytest.mark.parametrize("path", modules("dashboard"), ids=label)
def test_dashboard_knows_of_the_streamer_only_its_types(path: Path) -> None:
    for module in imports(path):
        if module.startswith("streamer"):
            assert module == "streamer" or module.startswith(DASHBOARD_MAY_IMPORT) or module == "streamer.edge", (
                f"{label(path)} imports {module}"
            )


@pytest.mark.parametrize("path", [*modules("streamer"), *modules("dashboard")], ids=label)
def test_every_module_says_its_one_job(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring, f"{label(path)} has no docstring"
    assert docstring.splitlines()[0].endswith((".", ":")), f"{label(path)}: the first line is its job, as a sentence"
