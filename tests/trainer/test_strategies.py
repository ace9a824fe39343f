"""Every rank says what one process says of the same batches, with whole weights (DDP) and with sharded ones (FSDP)."""

from __future__ import annotations

import functools
import json
from typing import Any

import pytest

from tests.processes import files_of
from tests.trainer.strategies import RUNS, STEPS

pytestmark = pytest.mark.distributed
CAUSES = {"labels at random": "nothing_to_learn", "rate too small": "learning_rate_too_small"}


@functools.cache
def results_of(*strategies: str) -> dict[str, list[dict[str, Any]]]:
    """Return the results of each rank by strategy; all of these strategies share their processes."""
    with files_of("tests.trainer.strategies", *strategies) as folder:
        return {
            strategy: [json.loads(file.read_text()) for file in sorted(folder.glob(f"{strategy}.*.json"))]
            for strategy in strategies
        }


def one_process(run: str) -> dict[str, Any]:
    (alone,) = results_of("one process")["one process"]
    return alone[run]


def two_ranks(strategy: str, run: str) -> list[dict[str, Any]]:
    results = [rank[run] for rank in results_of("FSDP1", "DDP", "FSDP2")[strategy]]
    assert len(results) == 2
    return results


def decided(result: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [(v["cause"], v["since"], v["step"], v["stuck"]) for v in result["verdicts"]]


@pytest.mark.parametrize("run", CAUSES)
@pytest.mark.parametrize("strategy", ["DDP", "FSDP2"])
def test_every_rank_reaches_the_verdict_of_one_process_on_the_same_batches(strategy, run):
    expected = one_process(run)
    first, second = two_ranks(strategy, run)
    for key in ("verdicts", "norms", "scalars", "failures", "step"):
        assert first[key] == second[key], key
    assert decided(first) == decided(expected)
    assert [verdict["cause"] for verdict in first["verdicts"]] == [CAUSES[run]]
    assert not first["failures"]
    assert first["messages"]
    assert not second["messages"]


@pytest.mark.parametrize(("strategy", "run"), [*((s, r) for s in ("DDP", "FSDP2") for r in RUNS)])
def test_gradient_norms_on_two_ranks_are_those_of_one_process(strategy, run):
    for result in two_ranks(strategy, run):
        assert_norms(result["norms"], one_process(run)["norms"])


@pytest.mark.parametrize("strategy", ["DDP", "FSDP2"])
@pytest.mark.parametrize("trial", ["adam", "this optimizer", "learning rate x10", "line search"])
def test_trials_on_two_ranks_gain_what_they_gain_in_one_process(strategy, trial):
    (expected,), first = one_process("rate too small")["verdicts"], two_ranks(strategy, "rate too small")[0]
    (verdict,) = first["verdicts"]
    gains, correct = (v["evidence"]["Trials"]["gains"] for v in (verdict, expected))
    assert gains.keys() == correct.keys()
    assert gains[trial] == pytest.approx(correct[trial], rel=1e-2, abs=1e-6)


@pytest.mark.parametrize("strategy", ["DDP", "FSDP2"])
def test_new_weights_and_copies_of_the_optimizer_on_two_ranks_are_those_of_one_process(strategy):
    (expected,), first = one_process("own probe")["tried"], two_ranks(strategy, "own probe")[0]
    (tried,) = first["tried"]
    assert len(set(tried["drawn"])) == len(tried["drawn"]) > 1
    assert tried["drawn"] == pytest.approx(expected["drawn"], rel=1e-5)
    for name in ("copied", "fresh"):
        assert tried[name] == pytest.approx(expected[name], rel=1e-4), name
    assert tried["copied"] != pytest.approx(tried["fresh"], rel=1e-3)


def test_under_fsdp1_norms_and_trend_are_measured_and_the_loss_surface_is_refused_by_name_once():
    first, second = two_ranks("FSDP1", "labels at random")
    assert first["step"] == STEPS
    assert first["scalars"] == second["scalars"]
    assert "landscape/grad_norm" in first["scalars"]
    assert "landscape/loss_trend" in first["scalars"]
    for result in (first, second):
        assert_norms(result["norms"], one_process("labels at random")["norms"])
        assert not result["failures"]
    assert sum("[LL312] FSDPStrategy" in message for message in first["messages"]) == 1
    assert not second["messages"]
    (verdict,) = first["verdicts"]
    assert verdict["cause"] == "undecided"
    assert "Not tested" in verdict["reason"]


def assert_norms(norms: list[list[float]], expected: list[list[float]]) -> None:
    assert len(norms) == len(expected) > 10
    for of_step, correct in zip(norms, expected, strict=True):
        assert of_step == pytest.approx(correct, rel=1e-3)
