"""Two processes take every step of a probe together or not at all, and no process waits for ever."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest

from tests.processes import files_of

pytestmark = pytest.mark.distributed
BY_FORK = ("fork", "find_unused_parameters", "static_graph", "probe fails", "step fails", "targets")
BY_COMMAND = ("popen", "fsdp2", "fsdp2 targets", "fsdp2 copied", "fsdp2 probe fails")
STARTS = {"spawn": ("spawn",)} | {case: together for together in (BY_FORK, BY_COMMAND) for case in together}
"""the cases that run in one pair of processes, since starting a pair takes as long as all cases"""


@functools.cache
def started(cases: tuple[str, ...]) -> dict[str, dict[str, list[dict[str, Any]]]]:
    with files_of("tests.trainer.two_ranks", *cases) as folder:
        return {
            case: {
                name: [json.loads((folder / f"{case}, {name}.{rank}.json").read_text()) for rank in (0, 1)]
                for name in ("alone", "watched")
            }
            for case in cases
        }


def run(case: str) -> dict[str, list[dict[str, Any]]]:
    """Return the reports of both ranks on the run alone and on the observed run."""
    return started(STARTS[case])[case]


def assert_identical(reports: dict[str, list[dict[str, Any]]]) -> None:
    for key in ("digest", "metrics"):
        assert [report[key] for report in reports["alone"]] == [report[key] for report in reports["watched"]]


@pytest.mark.parametrize("case", ["popen", "spawn", "fork", "find_unused_parameters", "static_graph", "fsdp2"])
def test_training_is_bit_identical_and_all_ranks_have_the_same_readings(case: str):
    reports = run(case)

    assert_identical(reports)
    first, second = reports["watched"]
    assert first["readings"]
    assert first["readings"] == second["readings"]
    assert first["refusals"] == second["refusals"] == []


@pytest.mark.parametrize("case", ["targets", "fsdp2 targets"])
def test_all_ranks_find_the_targets_of_rank_0(case: str):
    reports = run(case)

    assert_identical(reports)
    first, second = reports["watched"]
    assert first["readings"] == second["readings"]
    assert first["readings"][-1]["targets"] == ["1"]
    assert first["refusals"] == second["refusals"] == []


def test_fsdp2_loss_and_gradient_equal_those_of_copied_weights():
    for report in run("fsdp2 copied")["watched"]:
        for reading in report["readings"][:1]:
            assert reading["midpoint"] == pytest.approx(reading["copied"], rel=1e-6)
            assert reading["norm"] == pytest.approx(reading["copied_norm"], rel=1e-5)
            assert reading["midpoint"] != pytest.approx(reading["here"], rel=1e-4)


@pytest.mark.parametrize("case", ["probe fails", "step fails", "fsdp2 probe fails"])
def test_a_probe_that_fails_on_one_rank_is_skipped_on_all_and_training_continues(case: str):
    reports = run(case)

    assert_identical(reports)
    healthy, failing = reports["watched"]
    assert healthy["readings"] == failing["readings"]
    assert len(healthy["refusals"]) == len(failing["refusals"]) > 0
    assert all("another rank" in said for said in healthy["refusals"])
    assert all("rank 1" in said or "out of memory" in said for said in failing["refusals"])
