"""`UpdateMeasurement` on steps whose norms are computed from all elements in double precision."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_landscape.recording.updates import LARGE, SAMPLED, UpdateMeasurement, buckets_of


def gradients_of(parameters):
    return [parameter.grad for parameter in parameters]


@torch.no_grad()
def measured(parameters, step, gradients=None):
    """Return |w|, |Δw| and |g·Δw| of one step as `UpdateMeasurement` has them, and their exact values."""
    before = [p.double() for p in parameters]
    slopes = [p.grad.double() for p in parameters]
    update = UpdateMeasurement(parameters, buckets_of(parameters), gradients)
    step()
    found = update.measured()
    changes = [p.double() - b for p, b in zip(parameters, before, strict=True)]
    product = sum((slope * change).sum() for slope, change in zip(slopes, changes, strict=True))
    expected = [length(before), length(changes), abs(float(product))]
    return [*found["weight_and_update_norms"].norm(dim=1).tolist(), abs(float(found["predicted"].sum()))], expected


def length(tensors):
    return float(sum(tensor.square().sum() for tensor in tensors)) ** 0.5


def descent(parameters, rate=0.1):
    """Return a function that takes a step of plain gradient descent."""
    return lambda: [p.sub_(p.grad.to_dense(), alpha=rate) for p in parameters]


def random(*shape, seed=0, **kind):
    """Return a parameter whose rows and columns have different norms, with a gradient of the same kind."""
    generator = torch.Generator().manual_seed(seed)

    def made():
        tensor = torch.randn(shape, generator=generator)
        for dimension, size in enumerate(shape):
            spread = torch.rand(size, generator=generator).view(-1, *[1] * (len(shape) - dimension - 1))
            tensor = tensor * (0.5 + spread)
        return tensor.to(**kind)

    parameter = nn.Parameter(made())
    parameter.grad = made()
    return parameter


def bytes_of(update):
    """Return the bytes of the copies."""
    copies = [*update._weights, *(gradient for gradient in update._gradients if gradient is not None)]
    return sum(tensor.untyped_storage().nbytes() for tensor in copies)


def test_tensors_that_are_not_large_are_measured_up_to_rounding():
    parameters = [random(LARGE // 256, 256), random(300), random(7, 5, 3)]
    found, exact = measured(parameters, descent(parameters))
    assert found == pytest.approx(exact, rel=1e-5)


def test_a_large_table_of_short_rows_is_measured_up_to_rounding():
    table = random(5_000, 32)
    table.grad[torch.arange(5_000) != 1_234] = 0
    found, exact = measured([table], descent([table]))
    assert found == pytest.approx(exact, rel=1e-5)


@pytest.mark.parametrize(
    "shape", [(600, 300), (257, 263), (100, 3136), (60_001, 129), (3, 40_001), (128, 64, 3, 3), (256, 1024)]
)
def test_a_large_tensor_of_any_shape_is_estimated_within_3_percent(shape):
    parameters = [random(shape[0]), random(*shape, seed=1)]
    found, exact = measured(parameters, descent(parameters))
    assert found == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_steps_of_an_optimizer_on_large_layers_are_estimated_within_6_percent(optimizer):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(400, 500), nn.ReLU(), nn.Linear(500, 300), nn.ReLU(), nn.Linear(300, 10))
    parameters = list(net.parameters())
    optimizer = optimizer(parameters, 1e-3)
    for _ in range(4):
        optimizer.zero_grad()
        F.cross_entropy(net(torch.randn(64, 400)), torch.randint(0, 10, (64,))).backward()
        found, exact = measured(parameters, optimizer.step)
        assert found == pytest.approx(exact, rel=0.06)


@pytest.mark.parametrize("width", [192, 256, 320, 768])
def test_a_step_of_a_few_rows_of_an_embedding_is_sampled_in_proportion(width):
    rows = torch.randperm(2_000, generator=torch.Generator().manual_seed(1))[:40]
    table = random(2_000, width)
    table.grad[[i for i in range(2_000) if i not in rows.tolist()]] = 0
    found, exact = measured([table], descent([table]))
    assert found[0] == pytest.approx(exact[0], rel=0.03)
    assert found[1:] == pytest.approx(exact[1:], rel=0.15)


@pytest.mark.parametrize("width", [256, 1024, 2048])
def test_a_step_of_a_few_columns_of_a_layer_is_sampled_in_proportion(width):
    weight = random(1_024, width)
    weight.grad[:, width // 16 :] = 0  # such as those of the border of an image, or of rare words
    found, exact = measured([weight], descent([weight]))
    assert found == pytest.approx(exact, rel=0.15)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_a_large_tensor_in_half_precision_is_summed_in_float32(kind):
    weight = random(400, 400, dtype=kind)
    with torch.no_grad():
        weight.grad *= 1e-3
        weight *= 300
    found, exact = measured([weight], lambda: weight.mul_(1 - 2**-4))
    assert found[:2] == pytest.approx(exact[:2], rel=0.03)
    found, exact = measured([weight], lambda: weight.sub_(weight.grad.sign(), alpha=8.0))
    assert found == pytest.approx(exact, rel=0.03)


@pytest.mark.parametrize(
    "layout", [torch.Tensor.t, lambda weight: weight.view(20, 15, 20, 30).to(memory_format=torch.channels_last)]
)
def test_a_large_tensor_that_is_not_contiguous_is_measured_up_to_rounding(layout):
    plain = random(300, 600)
    weight = nn.Parameter(layout(plain.detach()))
    weight.grad = layout(plain.grad)
    assert not weight.is_contiguous()
    found, exact = measured([weight], descent([weight]))
    assert found == pytest.approx(exact, rel=1e-5)


def test_a_gradient_with_other_strides_than_its_weights_is_sampled_at_the_same_elements():
    weight, same = random(300, 600), random(300, 600)
    weight.grad = weight.grad.t().contiguous().t()
    found, _ = measured([weight], descent([weight]))
    assert found == measured([same], descent([same]))[0]


def test_the_sparse_gradient_of_a_large_table_adds_nothing_to_the_predicted_change():
    table, other = random(2_000, 256), random(50)
    indices = torch.tensor([[3, 70]])
    table.grad = torch.sparse_coo_tensor(indices, torch.ones(2, 256), (2_000, 256), check_invariants=True)
    with torch.no_grad():
        update = UpdateMeasurement([table, other], buckets_of([table, other]), None)
        descent([table, other])()
        found = update.measured()
    assert found["weight_and_update_norms"][1].norm() > 0
    assert abs(float(found["predicted"].sum())) == pytest.approx(0.1 * float(other.grad.square().sum()), rel=1e-5)


def test_the_predicted_change_is_that_of_the_gradient_before_clipping():
    parameters = [random(300, 600), random(600)]

    def clipped_step():
        nn.utils.clip_grad_norm_(parameters, 1e-2)
        descent(parameters)()

    found, exact = measured(parameters, clipped_step, gradients_of(parameters))
    assert found == pytest.approx(exact, rel=0.03)


def test_an_eighth_of_large_tensors_is_copied():
    parameters = [random(1_000, 1_000), random(500, 300, seed=1), random(300)]
    large, small = 4 * 1_150_000, 4 * 300
    with torch.no_grad():
        weights = UpdateMeasurement(parameters, buckets_of(parameters), None)
        both = UpdateMeasurement(parameters, buckets_of(parameters), gradients_of(parameters))
    assert bytes_of(weights) == pytest.approx(large / SAMPLED + small, rel=0.05)
    assert bytes_of(both) == 2 * bytes_of(weights)


def test_measuring_changes_no_bit_and_draws_no_random_number():
    parameters = [random(300, 600), random(600)]
    before = [tensor.detach().clone() for p in parameters for tensor in (p, p.grad)]
    state = torch.get_rng_state()
    with torch.no_grad():
        found = [
            UpdateMeasurement(parameters, buckets_of(parameters), gradients_of(parameters)).measured() for _ in range(2)
        ]
    assert all(map(torch.equal, before, (tensor for p in parameters for tensor in (p, p.grad))))
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(found[0][name], found[1][name]) for name in ("weight_and_update_norms", "predicted"))


def test_tensors_on_both_sides_of_a_large_one_are_in_one_bucket():
    parameters = [random(600), random(600, 300), random(300), random(300, 300), random(10)]
    (bucket,) = buckets_of(parameters)
    with torch.no_grad():
        norms = UpdateMeasurement(parameters, [bucket], None).measured()["weight_and_update_norms"]
    assert norms.shape == (2, 3)  # two samples, and the three small tensors as one vector
