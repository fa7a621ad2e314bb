"""`mallard evaluate`: figures for people and programs, solution files, and one line for what is wrong."""

import json
from pathlib import Path

import pytest

from tests.edge.test_cli import Mallard, mallard
from tests.sim import mdrp_maker
from tests.sim.mdrp_checker import check

__all__ = ["mallard"]

DAY, OTHER = mdrp_maker.FOLDER / "quiet150", mdrp_maker.FOLDER / "blocks280"


def test_figures_are_printed_with_their_units_and_a_mean_of_several_days(mallard: Mallard) -> None:
    code, out, err = mallard("evaluate", DAY, OTHER, "--policy", "nearest")
    assert (code, err) == (0, "")
    assert "quiet150" in out
    assert "blocks280" in out
    assert "2.98 min" in out
    assert out.splitlines()[-1] == "XDT of 2 instances, geometric mean: 4.35 min"


def test_one_day_has_no_mean(mallard: Mallard) -> None:
    assert "geometric" not in mallard("evaluate", DAY, "--policy", "nearest").out


def test_json_is_one_document_of_settings_and_figures(mallard: Mallard) -> None:
    code, out, err = mallard("evaluate", DAY, "--effort", 3, "--look", 10, "--seed", 7, "--multi-pickup", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    settings = {"policy": "plan", "look_min": 10, "multi_pickup": True, "effort": 3, "seed": 7}
    assert {name: found[name] for name in settings} == settings
    (one,) = found["instances"]
    assert one["instance"] == "quiet150"
    assert one["metrics"]["delivered"] == one["metrics"]["orders"] == 150
    assert found["xdt_geometric_mean_min"] == pytest.approx(one["metrics"]["xdt_min"])
    assert 0 < one["metrics"]["call_mean_ms"] <= one["metrics"]["call_max_ms"]


def test_our_plan_is_better_than_the_nearest_driver(mallard: Mallard) -> None:
    ours, nearest = (
        json.loads(mallard("evaluate", OTHER, "--policy", policy, "--json").out)["xdt_geometric_mean_min"]
        for policy in ("plan", "nearest")
    )
    assert ours < 0.6 * nearest


def test_solution_files_lie_by_instance_and_keep_the_rules(mallard: Mallard, tmp_path: Path) -> None:
    assert mallard("evaluate", DAY, "--effort", 3, "--out", tmp_path / "new" / "out", "--json").code == 0
    solution = {path.name: path.read_text() for path in (tmp_path / "new" / "out" / "quiet150").iterdir()}
    assert check(mdrp_maker.read("quiet150"), solution).faults == []


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["nowhere"], "mallard: there is no directory nowhere"),
        (["empty"], "mallard: empty is no instance: there is no restaurants.txt in it"),
        (["broken"], "mallard: broken/orders.txt line 2: 5 fields under 6 columns"),
        (["binary"], "mallard: binary/orders.txt is not text: "),
        ([DAY, DAY], "mallard: two instances are called quiet150"),
        ([DAY, "nowhere"], "mallard: there is no directory nowhere"),
        ([DAY, "--effort", "0", "--policy", "nearest", "--out", "file"], "mallard: file"),
    ],
)
def test_what_is_wrong_is_one_line(mallard: Mallard, tmp_path: Path, words: list[str | Path], fault: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name, changed in (
        ("broken", b"order\tx\ty\tplacement_time\trestaurant\tready_time\no1\t1\t1\t1\tr1\n"),
        ("binary", b"\xff"),
    ):
        (tmp_path / name).mkdir()
        for file, text in mdrp_maker.read("quiet150").items():
            (tmp_path / name / file).write_bytes(changed if file == "orders.txt" else text.encode())
    code, out, err = mallard("evaluate", *words)
    assert (code, out) == (1, "")
    assert err.startswith(fault)
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "words", [[], [DAY, "--policy", "best"], [DAY, "--look", "0"], [DAY, "--look", "x"], [DAY, "--effort", "-1"]]
)
def test_wrong_usage_is_exit_2(mallard: Mallard, words: list[str | Path]) -> None:
    assert mallard("evaluate", *words).code == 2


def test_an_unknown_policy_is_told_the_known_ones(mallard: Mallard) -> None:
    assert "'best' is no policy: plan, nearest" in mallard("evaluate", DAY, "--policy", "best").err
