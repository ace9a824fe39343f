"""F36-F38: two ranks reach equal verdicts and do not hang if one fails, runs out of memory, is slow or lacks a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.ranks import FILE_OF_RANK_0, name_alone, name_monitored
from tests.faults.runs import MONITORS
from tests.ranks import TIMEOUT_SECONDS

pytestmark = pytest.mark.distributed
ROOT = Path(__file__).parents[2]
FAILING = {
    "fails before an evaluation": "fails_before_an_evaluation",
    "fails between evaluations": "fails_between_evaluations",
    "fails after an evaluation": "fails_after_an_evaluation",
}
"""the probe that fails in each of these cases"""
OTHERS = ("out of memory", "slow", "differs between ranks", "no curvature", "file of rank 0", "user's parts")
DDP_CASES = [*FAILING, *OTHERS, *MONITORS]


def results_of(folder, cases):
    """Run the cases on two ranks, and return for each case the results of both ranks, "alone" and "monitored"."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.ranks", str(folder), *cases],
        cwd=ROOT, env=environment, timeout=TIMEOUT_SECONDS, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return {
        case: {
            name: [json.loads((folder / f"{result}.{rank}.json").read_text()) for rank in (0, 1)]
            for name, result in (("alone", name_alone(case)), ("monitored", name_monitored(case)))
        }
        for case in cases
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return the results of all DDP cases, which run in the same two processes."""
    return results_of(tmp_path_factory.mktemp("ranks"), DDP_CASES)


@pytest.mark.parametrize("case", DDP_CASES)
def test_f36_training_is_unchanged_on_each_rank_and_both_publish_the_same_verdicts_and_scalars(case, results):
    without, first, second = results[case]["alone"], *results[case]["monitored"]
    assert [first["digest"], second["digest"]] == [result["digest"] for result in without]
    assert [first["step"], second["step"]] == [60, 60]
    for key in ("metrics", "verdicts", "lines", "judged_at", "norms"):
        assert first[key] == second[key], key
    assert first["metrics"]
    if case not in ("gradient norm",):
        assert first["verdicts"]


@pytest.mark.parametrize("case", FAILING)
def test_f37_a_probe_that_fails_on_one_rank_is_ended_and_switched_off_on_both(case, results):
    first, second = results[case]["monitored"]
    assert first["failures"] == second["failures"] == {FAILING[case]: 1}
    skipped = {**first["skipped"], **second["skipped"]}
    assert any("another rank" in reason for reason in skipped.values())


def test_f37_if_one_rank_runs_out_of_memory_both_go_on_with_half_of_the_batches(results):
    for result in results["out of memory"]["monitored"]:
        assert not result["failures"]
        (verdict,) = result["verdicts"]
        assert verdict["evidence"]["StartingPoint"]["loss"] in (1.0, 3.0)


def test_f37_the_faster_rank_waits_for_the_slower_one(results):
    for result in results["slow"]["monitored"]:
        assert not result["failures"]
        assert not result["skipped"]


def test_f37_a_reading_that_depends_on_the_ranks_own_batches_is_that_of_rank_0(results):
    for result in results["differs between ranks"]["monitored"]:
        (verdict,) = result["verdicts"]
        assert verdict["evidence"]["InputUse"]["shuffled"] == 2.0


def test_f37_a_users_reading_is_that_of_rank_0_and_a_reading_that_one_rank_lacks_is_dropped_on_both(results):
    for result in results["user's parts"]["monitored"]:
        assert not result["failures"]
        (verdict,) = result["verdicts"]
        assert verdict["cause"] == "saddle_point"
        assert "'UserReading'" in verdict["reason"]
        assert "'LocalReading'" not in verdict["reason"]
        assert result["metrics"]["landscape/own"] == "1.0"


def test_f37_after_a_probe_that_raises_a_curvature_error_on_all_ranks_the_next_probe_runs(results):
    for result in results["no curvature"]["monitored"]:
        assert not result["failures"]
        (verdict,) = result["verdicts"]
        assert verdict["evidence"]["StartingPoint"]["loss"] == 3.0


def test_f37_a_file_that_only_one_rank_can_read_is_an_anchor_on_none(results):
    for result in results["file of rank 0"]["monitored"]:
        assert list(result["lines"]) == ["initial"]
        assert not result["failures"]
    assert FILE_OF_RANK_0 in results["file of rank 0"]["monitored"][1]["skipped"]


def test_f38_gradient_norms_of_a_sharded_run_equal_those_of_a_run_that_is_not_sharded(tmp_path):
    whole = results_of(tmp_path, ["whole"])["whole"]["monitored"][0]["norms"]
    for result in results_of(tmp_path, ["sharded"])["sharded"]["monitored"]:
        assert len(result["norms"]) == len(whole) == 60
        for norms, expected in zip(result["norms"], whole, strict=True):
            assert norms == pytest.approx(expected, rel=1e-4)
