"""F36-F38: two processes decide the same, whatever happens to one of them, and nobody waits for ever."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.ranks import ABSENT, alone, watched
from tests.faults.runs import MONITORS
from tests.ranks import TIMEOUT_SECONDS

pytestmark = pytest.mark.distributed
ROOT = Path(__file__).parents[2]
FAILING = {
    "fails before": "fails_before",
    "fails in the midst": "fails_in_the_midst",
    "fails behind": "fails_behind",
}
TOGETHER = [*FAILING, "starves", "slow", "sees its own", "no curvature", "absent file", "own detector", *MONITORS]


def trained(folder, cases):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults.ranks", str(folder), *cases],
        cwd=ROOT, env=environment, timeout=TIMEOUT_SECONDS, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    return {
        case: {
            name: [json.loads((folder / f"{report}.{rank}.json").read_text()) for rank in (0, 1)]
            for name, report in (("alone", alone(case)), ("watched", watched(case)))
        }
        for case in cases
    }


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """All cases of two ordinary processes, one after the other."""
    return trained(tmp_path_factory.mktemp("ranks"), TOGETHER)


@pytest.mark.parametrize("case", TOGETHER)
def test_f36_every_rank_trains_on_unchanged_and_all_publish_and_decide_the_same(case, reports):
    without, first, second = reports[case]["alone"], *reports[case]["watched"]
    assert [first["digest"], second["digest"]] == [report["digest"] for report in without]
    assert [first["step"], second["step"]] == [60, 60]
    for key in ("metrics", "verdicts", "lines", "judged_at", "norms"):
        assert first[key] == second[key], key
    assert first["metrics"]
    if case not in ("gradient norm",):
        assert first["verdicts"]


@pytest.mark.parametrize("case", FAILING)
def test_f37_a_probe_that_fails_on_one_rank_is_abandoned_and_switched_off_on_both(case, reports):
    first, second = reports[case]["watched"]
    assert first["failures"] == second["failures"] == {FAILING[case]: 1}
    said = {**first["skipped"], **second["skipped"]}
    assert any("another rank" in reason for reason in said.values())


def test_f37_where_one_rank_runs_out_of_memory_both_go_on_with_half_of_the_batches(reports):
    for report in reports["starves"]["watched"]:
        assert not report["failures"]
        (verdict,) = report["verdicts"]
        assert verdict["evidence"]["StartingPoint"]["loss"] in (1.0, 3.0)


def test_f37_a_rank_that_is_slow_is_waited_for(reports):
    for report in reports["slow"]["watched"]:
        assert not report["failures"]
        assert not report["skipped"]


def test_f37_what_is_seen_of_a_ranks_own_batches_is_told_by_the_first(reports):
    for report in reports["sees its own"]["watched"]:
        (verdict,) = report["verdicts"]
        assert verdict["evidence"]["InputUse"]["shuffled"] == 2.0


def test_f37_a_users_reading_is_that_of_the_first_rank_and_one_that_a_rank_lacks_is_on_none(reports):
    for report in reports["own detector"]["watched"]:
        assert not report["failures"]
        (verdict,) = report["verdicts"]
        assert verdict["cause"] == "saddle_point"
        assert "'Own'" in verdict["reason"]
        assert "'Hidden'" not in verdict["reason"]
        assert report["metrics"]["landscape/own"] == "1.0"


def test_f37_what_does_not_exist_on_any_rank_leaves_the_other_probes_their_turn(reports):
    for report in reports["no curvature"]["watched"]:
        assert not report["failures"]
        (verdict,) = report["verdicts"]
        assert verdict["evidence"]["StartingPoint"]["loss"] == 3.0


def test_f37_a_file_that_lies_on_one_machine_alone_is_no_anchor_on_any(reports):
    for report in reports["absent file"]["watched"]:
        assert list(report["lines"]) == ["initial"]
        assert not report["failures"]
    assert ABSENT in reports["absent file"]["watched"][1]["skipped"]


def test_f38_norms_of_shards_are_those_of_the_whole(tmp_path):
    whole = trained(tmp_path, ["whole"])["whole"]["watched"][0]["norms"]
    for report in trained(tmp_path, ["sharded"])["sharded"]["watched"]:
        assert len(report["norms"]) == len(whole) == 60
        for seen, expected in zip(report["norms"], whole, strict=True):
            assert seen == pytest.approx(expected, rel=1e-4)
