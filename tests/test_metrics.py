"""The torchmetrics agree with the functions that they are made of, in one and in two processes."""

import math
import pickle
import warnings
from functools import partial

import matplotlib as mpl
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torchmetrics import MetricCollection

from lightning_landscape.functional.noise import gradient_noise_scale, gradient_noise_terms, plateau_length
from lightning_landscape.metrics import GradientNoiseScale, GradientNorm, PlateauLength

NOISE = partial(GradientNoiseScale, small_batch=8, large_batch=64)
ALL = {"norm": GradientNorm, "plateau": PlateauLength, "noise": NOISE}
INPUTS = {"norm": ([torch.tensor([3.0, 4.0])],), "plateau": (torch.tensor(1.0),), "noise": (2.0, 1.0)}


def layer(*gradient):
    module = nn.Linear(len(gradient), 1)
    module.weight.grad = torch.tensor([gradient])
    return module


def test_the_norm_of_several_updates_is_their_root_mean_square():
    metric = GradientNorm()
    metric.update(layer(3.0, 4.0))
    metric.update([torch.tensor([0.0])])
    assert metric.compute() == pytest.approx(math.sqrt(12.5))


def test_before_the_first_update_norm_and_scale_are_nan():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert math.isnan(GradientNorm().compute())
        assert math.isnan(NOISE().compute())


@given(st.lists(st.floats(-1e6, 1e6), max_size=30), st.floats(0, 0.5))
def test_the_length_of_the_plateau_equals_that_of_the_function(losses, tolerance):
    metric = PlateauLength(tolerance=tolerance)
    seen = [int(metric(torch.tensor(loss, dtype=torch.float64))) for loss in losses]
    assert seen == [plateau_length(losses[: i + 1], tolerance) for i in range(len(losses))]


def test_a_loss_of_nan_is_no_progress():
    assert plateau_length([math.nan, 2.0, math.nan, 1.0, math.inf]) == 1
    assert plateau_length([2.0, math.nan]) == 1


def test_the_noise_scale_is_that_of_a_gradient_whose_noise_is_known():
    generator = torch.Generator().manual_seed(0)
    true, sigma, metric = torch.full((20,), 0.1), 2.0, NOISE()
    for _ in range(16_000):
        samples = true + sigma * torch.randn(8, 20, generator=generator) / math.sqrt(8)  # means of 8 samples each
        metric.update(samples[0].norm(), samples.mean(0).norm())
    assert metric.compute() == pytest.approx(20 * sigma**2 / float(true.norm()) ** 2, rel=0.15)


def test_noise_without_signal_has_no_scale_and_signal_without_noise_has_scale_0():
    assert gradient_noise_scale(*gradient_noise_terms(8.0, 1.0, 1, 64)) is None
    assert gradient_noise_scale(*gradient_noise_terms(1.0, 1.0, 1, 64)) == 0.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GradientNorm(across_ranks="both"), "got 'both'"),
        (lambda: PlateauLength(tolerance=-1), "got -1"),
        (lambda: GradientNoiseScale(small_batch=4, large_batch=4), "got 4 and 4"),
    ],
)
def test_a_wrong_argument_is_refused_with_its_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", ALL)
def test_a_metric_survives_pickling_copying_halving_and_resetting(name):
    metric = ALL[name]()
    for _ in range(3):
        metric.update(*INPUTS[name])
    value = metric.compute()
    for other in (pickle.loads(pickle.dumps(metric)), metric.clone(), metric.half(), metric.double()):
        assert other.compute() == value
    assert metric.state_dict() == {}
    metric.reset()
    metric.update(*INPUTS[name])
    assert metric.compute().ndim == 0


def test_they_work_in_a_collection():
    collection = MetricCollection({"a": PlateauLength(), "b": PlateauLength(tolerance=0.5)})
    for loss in (2.0, 1.5, 1.4):
        collection.update(torch.tensor(loss))
    assert {name: int(value) for name, value in collection.compute().items()} == {"a": 0, "b": 2}


@pytest.mark.parametrize("name", ALL)
def test_they_can_be_plotted(name):
    metric = ALL[name]()
    with mpl.rc_context({"backend": "Agg"}):
        figure, axes = metric.plot([torch.tensor(1.0), torch.tensor(2.0)])
        assert axes.lines
        from matplotlib import pyplot

        pyplot.close(figure)


def _rank(rank, size, store, results):
    dist.init_process_group("gloo", rank=rank, world_size=size, init_method=f"file://{store}")
    replicated, sharded = GradientNorm(), GradientNorm(across_ranks="sharded")
    plateau, noise = PlateauLength(), NOISE()
    for _ in range(2):
        replicated.update([torch.tensor([3.0, 4.0])])
        sharded.update([torch.tensor([3.0 if rank else 4.0])])
        noise.update(2.0 + rank, 1.0)
    for loss in (2.0, 2.0, 2.0, 1.0 if rank else 2.0, 1.0 if rank else 2.0):
        plateau.update(loss)
    values = [float(metric.compute()) for metric in (replicated, sharded, plateau, noise)]
    results[rank] = values
    dist.destroy_process_group()


@pytest.mark.distributed
def test_two_ranks_agree_on_every_value(tmp_path):
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(_rank, (2, tmp_path / "store", results), nprocs=2)
        first, second = results[0], results[1]
    assert first == second
    signals, noises = zip(*(gradient_noise_terms(small, 1.0, 8, 64) for small in (2.0, 3.0)), strict=True)
    expected = gradient_noise_scale(sum(signals), sum(noises))
    assert first[:3] == [5.0, 5.0, 1.0]
    assert math.isnan(first[3]) if expected is None else first[3] == pytest.approx(expected)
