"""A remedy does the same on every rank, so that all ranks keep the same weights."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from lightning_landscape.trainer.lightning_host import LightningHost
from tests.examination.remedied_ranks import STEPS
from tests.ranks import TIMEOUT_SECONDS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """Return a function from the name of a remedy to the reports of the two ranks."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "tests.examination.remedied_ranks", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, timeout=TIMEOUT_SECONDS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert (
        done.stderr.count("it is not known yet whether the run escapes") == 2
    )  # from rank 0, for each of the two perturbations
    return lambda case: [json.loads((folder / f"{case}.{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.distributed
@pytest.mark.parametrize("case", ["isotropic", "lambda_min", "stop"])
def test_remedies_do_the_same_on_all_ranks_which_keep_the_same_weights(ranks, case: str):
    first, second = ranks(case)
    assert first == second
    assert len(first["remedy_outcomes"]) >= 1
    assert ("smallest curvature" in first["remedy_outcomes"][0]) is (case == "lambda_min")
    assert (first["steps"] < STEPS) is (case == "stop")


@pytest.mark.parametrize(("votes", "decision"), [([1.0, 1.0], True), ([1.0, 0.0], False)])
def test_remedies_are_not_called_for_an_alarm_on_one_rank_only(votes, decision):
    strategy = SimpleNamespace(root_device="cpu", reduce=lambda mine, reduce_op: mine + torch.tensor(votes[1]))
    trainer = SimpleNamespace(world_size=2, strategy=strategy)
    assert LightningHost(trainer, None).is_true_on_every_rank(votes[0] == 1.0) is decision
