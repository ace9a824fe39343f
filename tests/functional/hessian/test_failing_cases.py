"""Losses whose second derivatives are difficult: each is exact, labelled as approximate, or refused with a reason."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from lightning_landscape.errors import CurvatureError
from lightning_landscape.functional import (
    Extremes,
    hessian_extremes,
    hessian_trace,
    hessian_vector_product,
    spectral_density,
)
from lightning_landscape.functional.hessian.extremes import both_ends
from lightning_landscape.functional.hessian.operator import Method

Params = Mapping[str, Tensor]
EXACT = (Method.RETAINED, None)


class Sandwich(nn.Module):
    """A linear layer, a given operation, and a linear layer."""

    def __init__(self, middle: Callable[[Tensor], Tensor], width: int = 6) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.first, self.last = nn.Linear(8, width), nn.Linear(width, 3)
        self.middle = middle

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.middle(self.first(x)))


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        return make()


class SelfAttention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(1, (3, 2)).unsqueeze(1)
        return F.scaled_dot_product_attention(x, x, x, is_causal=True).flatten(1)


class MultiHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(2, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = x.unflatten(1, (3, 2))
        return self.attention(x, x, x, need_weights=False)[0].flatten(1)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.lstm(x.unflatten(1, (3, 2)))[0].flatten(1)


class Encoder(nn.Sequential):
    def __init__(self) -> None:
        layer = nn.TransformerEncoderLayer(2, 1, 4, 0.0, batch_first=True)
        super().__init__(nn.Unflatten(1, (3, 2)), layer, nn.Flatten())


class OldStyleTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.tanh()

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * (1 - x.tanh() ** 2)


class OnceDifferentiableTanh(OldStyleTanh):
    backward = staticmethod(torch.autograd.function.once_differentiable(OldStyleTanh.backward))


class NumpyTanh(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.value = torch.from_numpy(torch.tanh(x).detach().numpy().copy())
        return ctx.value.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * (1 - ctx.value**2)


class FusedCrossEntropy(torch.autograd.Function):
    """A loss that, like fused kernels, computes its gradient in forward and saves it as a constant."""

    @staticmethod
    def forward(ctx, logits, labels):
        ctx.gradient = (logits.softmax(1) - F.one_hot(labels, logits.shape[1])) / len(labels)
        return F.cross_entropy(logits, labels)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.gradient, None


def inputs(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    x = torch.randn(24, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return x.to(dtype), torch.arange(24) % 3


def loss_of(module: nn.Module, criterion: Callable[..., Tensor] = F.cross_entropy, dtype: torch.dtype = torch.float32):
    x, labels = inputs(dtype)
    return lambda params: criterion(functional_call(module, dict(params), (x,)), labels)


def named(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in module.named_parameters() if tensor.requires_grad}


def true_extremes(module: nn.Module, criterion: Callable[..., Tensor] = F.cross_entropy) -> tuple[float, float]:
    """Return both ends of the dense Hessian, from differences of float64 gradients instead of second derivatives."""
    module = module.double()
    loss, params = loss_of(module, criterion, torch.float64), named(module)
    flat = torch.cat([tensor.detach().reshape(-1) for tensor in params.values()])

    def gradient(point: Tensor) -> Tensor:
        parts = point.split([tensor.numel() for tensor in params.values()])
        leaves = {
            name: part.view_as(tensor).clone().requires_grad_()
            for (name, tensor), part in zip(params.items(), parts, strict=True)
        }
        found = torch.autograd.grad(loss(leaves), list(leaves.values()), materialize_grads=True)
        return torch.cat([entry.reshape(-1) for entry in found])

    columns = []
    for index in range(len(flat)):
        shift = torch.zeros_like(flat)
        shift[index] = 1e-5
        columns.append((gradient(flat + shift) - gradient(flat - shift)) / 2e-5)
    dense = torch.stack(columns)
    spectrum = torch.linalg.eigvalsh((dense + dense.T) / 2)
    module.float()
    return float(spectrum[0]), float(spectrum[-1])


def measure(module: nn.Module, **settings) -> Extremes:
    settings = {"iterations": 90, "stop": both_ends(1e-5), **settings}
    return hessian_extremes(loss_of(module), named(module), **settings)


def assert_right(found: Extremes, truth: tuple[float, float], tolerance: float = 1e-2) -> None:
    scale = max(map(abs, truth))
    assert found.lambda_max == pytest.approx(truth[1], abs=tolerance * scale)
    assert found.lambda_min == pytest.approx(truth[0], abs=tolerance * scale)


@pytest.mark.parametrize(
    "middle",
    [
        torch.tanh,
        SelfAttention(),
        seeded(MultiHead),
        seeded(Encoder),
        nn.BatchNorm1d(6),
        nn.Sequential(nn.BatchNorm1d(6), nn.Tanh()).eval(),
        seeded(Recurrent),
        OldStyleTanh.apply,
        lambda x: checkpoint(torch.tanh, x, use_reentrant=False),
        lambda x: F.silu(x + 0.0, inplace=True).add_(1.0),
        nn.ReLU(inplace=True),
        lambda x: F.max_pool1d(x.repeat(1, 2), 2),
    ],
    ids=[
        "plain tanh",
        "scaled dot-product attention",
        "MultiheadAttention",
        "TransformerEncoderLayer",
        "BatchNorm in train mode",
        "BatchNorm in eval mode",
        "LSTM",
        "old-style autograd function",
        "checkpoint, not reentrant",
        "in-place operations",
        "in-place ReLU",
        "max-pooling",
    ],
)
def test_operations_that_need_care_are_differentiated_exactly(middle: Callable[[Tensor], Tensor]):
    module = Sandwich(middle)
    truth = true_extremes(module)
    found = measure(module)
    assert (found.method, found.reason) == EXACT
    assert_right(found, truth)


def test_an_encoder_layer_in_eval_mode_is_differentiated_exactly():
    module = Sandwich(seeded(Encoder)).eval()
    truth = true_extremes(module)
    found = measure(module)
    assert (found.method, found.reason) == EXACT
    assert_right(found, truth)


@pytest.mark.parametrize(
    "middle", [OnceDifferentiableTanh.apply, NumpyTanh.apply], ids=["once_differentiable", "numpy"]
)
def test_differences_replace_a_backward_that_cannot_be_differentiated(middle: Callable[[Tensor], Tensor]):
    truth = true_extremes(Sandwich(torch.tanh))
    found = measure(Sandwich(middle))
    assert found.method is Method.DIFFERENCES
    assert "not differentiate twice" in found.reason
    assert_right(found, truth)


def test_a_fused_loss_that_saves_its_gradient_is_detected_although_it_is_symmetric():
    module = Sandwich(torch.tanh)
    truth = true_extremes(module)
    found = hessian_extremes(loss_of(module, FusedCrossEntropy.apply), named(module), iterations=60)
    assert found.method is Method.DIFFERENCES
    assert "differs by" in found.reason
    assert_right(found, truth)


@pytest.mark.parametrize("function", [hessian_trace, spectral_density])
@pytest.mark.parametrize(
    ("middle", "criterion"),
    [(OnceDifferentiableTanh.apply, F.cross_entropy), (torch.tanh, FusedCrossEntropy.apply)],
    ids=["once_differentiable", "fused loss"],
)
def test_trace_and_density_detect_a_wrong_second_derivative(function: Callable, middle: Callable, criterion: Callable):
    module = Sandwich(middle)
    found = function(loss_of(module, criterion), named(module))
    truth = function(loss_of(Sandwich(torch.tanh)), named(module))
    assert (found.method, truth.method) == (Method.DIFFERENCES, Method.RETAINED)
    if function is hessian_trace:
        assert found.value == pytest.approx(truth.value, rel=0.05)
    else:
        assert found.nodes[-1] == pytest.approx(truth.nodes[-1], rel=0.02)


def test_a_zero_second_derivative_is_accepted_only_if_the_gradient_is_constant():
    found = hessian_extremes(
        lambda p: OnceDifferentiableTanh.apply(p["w"]).sum(), {"w": torch.tensor([0.5, -1.0, 2.0])}, iterations=60
    )
    assert found.method is Method.DIFFERENCES
    tanh = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64).tanh()
    truth = (-2 * tanh * (1 - tanh**2)).sort().values.tolist()
    assert found.lambda_min == pytest.approx(truth[0], abs=1e-2)
    assert found.lambda_max == pytest.approx(truth[-1], abs=1e-2)


def test_embedding_bag_uses_differences_and_gives_the_reason():
    bag = nn.Sequential(nn.EmbeddingBag(10, 3), nn.Linear(3, 3))
    torch.manual_seed(0)
    tokens, labels = torch.randint(0, 10, (24, 5)), torch.arange(24) % 3

    def loss(params: Params) -> Tensor:
        return F.cross_entropy(functional_call(bag, dict(params), (tokens,)), labels)

    def plain(params: Params) -> Tensor:
        pooled = F.embedding(tokens, params["0.weight"]).mean(1)
        return F.cross_entropy(F.linear(pooled, params["1.weight"], params["1.bias"]), labels)

    found = hessian_extremes(loss, named(bag), iterations=60)
    truth = hessian_extremes(plain, named(bag), iterations=60)
    assert found.method is Method.DIFFERENCES
    assert "_embedding_bag_backward" in found.reason
    assert truth.method is Method.RETAINED
    assert_right(found, (truth.lambda_min, truth.lambda_max))


@pytest.mark.slow
@pytest.mark.parametrize("compiled", ["torch.compile", "module.compile"])
def test_compiled_modules_are_run_eagerly(compiled: str):
    module = Sandwich(torch.tanh)
    truth = true_extremes(module)
    if compiled == "torch.compile":
        wrapped = torch.compile(module, backend="aot_eager")
    else:
        module.compile(backend="aot_eager")
        wrapped = module
    x, labels = inputs()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        F.cross_entropy(wrapped(x), labels).backward()
    module.zero_grad()
    found = measure(wrapped)
    assert (found.method, found.reason) == EXACT
    assert_right(found, truth)


def test_dropout_is_refused_unless_its_seed_is_fixed_at_every_call():
    module = Sandwich(nn.Sequential(nn.Tanh(), nn.Dropout(0.3)))
    with pytest.raises(CurvatureError, match="draws random numbers"):
        measure(module)

    def seeded(params: Params) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(11)
            return loss_of(module)(params)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        kept = F.dropout(torch.ones(24, 6), 0.3)
    truth = true_extremes(Sandwich(lambda x: torch.tanh(x) * kept))
    found = hessian_extremes(seeded, named(module), iterations=60)
    assert (found.method, found.reason) == EXACT
    assert_right(found, truth)


@pytest.mark.filterwarnings("ignore:.*reentrant")
def test_reentrant_checkpointing_is_refused():
    module = Sandwich(lambda x: checkpoint(torch.tanh, x, use_reentrant=True))
    with pytest.raises(CurvatureError, match=r"no gradient by autograd: .*heckpoint"):
        measure(module)


def test_unused_and_frozen_and_tied_parameters():
    module = Sandwich(torch.tanh)
    truth = true_extremes(module)
    module.spare = nn.Linear(2, 2)
    found = measure(module)
    assert (found.method, found.reason) == EXACT
    assert_right(found, truth)
    tight = measure(module, stop=both_ends(1e-6))
    assert not any(tight.v_max[name].abs().max() > 1e-2 for name in ("spare.weight", "spare.bias"))
    module.first.requires_grad_(requires_grad=False)
    frozen = measure(module)
    assert set(frozen.v_max) == {"last.weight", "last.bias", "spare.weight", "spare.bias"}
    assert frozen.lambda_max <= truth[1] * 1.01

    tied = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Tanh(), nn.Linear(8, 8, bias=False))
    tied[2].weight = tied[0].weight
    found = measure(tied)
    assert_right(found, true_extremes(tied))


@pytest.mark.parametrize(
    ("loss", "reason"),
    [(lambda p: 3 * p["w"].sum(), "does not depend"), (lambda p: torch.tensor(2.0), "does not depend")],
    ids=["linear", "constant"],
)
def test_a_loss_with_a_constant_gradient_has_zero_curvature_and_gives_the_reason(loss: Callable, reason: str):
    found = hessian_extremes(loss, {"w": torch.ones(5)})
    assert found.lambda_min == 0.0 == found.lambda_max
    assert found.method is Method.ZERO
    assert reason in found.reason
    product = hessian_vector_product(loss, {"w": torch.ones(5)}, {"w": torch.ones(5)})
    assert product["w"].tolist() == [0.0] * 5


def test_half_precision_weights_give_the_curvature_to_5_percent():
    truth = true_extremes(Sandwich(torch.tanh))
    module = Sandwich(torch.tanh).bfloat16()
    found = hessian_extremes(loss_of(module, dtype=torch.bfloat16), named(module))
    assert_right(found, truth, 5e-2)


def test_autocast_is_disabled_around_a_loss_and_costs_accuracy_within_it():
    module = Sandwich(torch.tanh)
    truth = true_extremes(module)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = measure(module)
    assert_right(found, truth, 1e-2)

    def inside(params: Params) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            x, labels = inputs()
            return F.cross_entropy(functional_call(module, dict(params), (x,)).float(), labels)

    assert_right(hessian_extremes(inside, named(module)), truth, 3e-2)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_the_mode_of_the_caller_does_not_matter(context: Callable):
    module = Sandwich(torch.tanh)
    truth = true_extremes(module)
    loss = loss_of(module)
    with context():
        found = hessian_extremes(loss, named(module), iterations=60)
        product = hessian_vector_product(loss, named(module), found.v_max)
    assert_right(found, truth)
    along = sum(float((product[name] * found.v_max[name]).sum()) for name in product)
    assert along == pytest.approx(truth[1], rel=1e-2)


def test_data_made_in_inference_mode_are_refused_by_torch():
    module = Sandwich(torch.tanh)
    with torch.inference_mode():
        x, labels = inputs()
        x, labels = x.clone(), labels.clone()
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        hessian_extremes(lambda p: F.cross_entropy(functional_call(module, dict(p), (x,)), labels), named(module))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(bad: float):
    module = Sandwich(torch.tanh)
    with torch.no_grad():
        module.last.bias[1] = bad
    with pytest.raises(CurvatureError, match=r"value of parameter 'last\.bias' is not finite"):
        measure(module)
    with pytest.raises(CurvatureError, match=r"'last\.bias'"):
        hessian_vector_product(loss_of(module), named(module), named(module))


def test_gradients_and_second_derivatives_that_are_not_finite_are_refused_by_name():
    with pytest.raises(CurvatureError, match="gradient of parameter 'b' is not finite"):
        hessian_extremes(lambda p: p["a"].sum() + p["b"].sqrt().sum(), {"a": torch.ones(2), "b": torch.zeros(2)})
    with pytest.raises(CurvatureError, match="second derivative of parameter 'b' is not finite"):
        hessian_extremes(
            lambda p: (p["a"] ** 2).sum() + (p["b"] ** 1.5).sum(), {"a": torch.ones(2), "b": torch.zeros(2)}
        )


@pytest.mark.parametrize(
    "middle", [OnceDifferentiableTanh.apply, NumpyTanh.apply], ids=["once_differentiable", "numpy"]
)
def test_a_single_product_with_a_wrong_second_derivative_is_refused(middle: Callable[[Tensor], Tensor]):
    module = Sandwich(middle)
    vector = {name: torch.ones_like(tensor) for name, tensor in named(module).items()}
    with pytest.raises(CurvatureError, match="not differentiate twice"):
        hessian_vector_product(loss_of(module), named(module), vector)


def test_weights_gradients_and_random_state_of_the_caller_do_not_change():
    module = Sandwich(torch.tanh)
    before = {name: tensor.detach().clone() for name, tensor in module.named_parameters()}
    state = torch.get_rng_state()
    measure(module)
    hessian_vector_product(loss_of(module), named(module), before)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(tensor.grad is None and tensor.requires_grad for tensor in module.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.named_parameters())
