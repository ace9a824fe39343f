"""The operation that makes the first value that is not finite, in the loss of a module or in its gradient."""

import lightning as L
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lightning_landscape.module_surface.call_sites import operation_name
from lightning_landscape.module_surface.finiteness import entries_of
from tests.module_surface.test_activations import ROWS, probed


class Step(L.LightningModule):
    """A module whose loss is a function of the outputs of a linear layer and of the inputs."""

    def __init__(self, loss, layer=None):
        super().__init__()
        torch.manual_seed(0)
        self.net, self.loss, self.layer = nn.Linear(2, 2), loss, layer or nn.Identity()
        self.register_buffer("mask", torch.tensor([0.0, -torch.inf]))

    def training_step(self, batch, batch_idx):
        return self.loss(self, self.layer(self.net(batch[0])), batch[0])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


def evaluated(loss, layer=None, inputs=ROWS):
    """Return the evaluation of a step with this loss at the initial weights; the present ones may be NaN."""
    return probed(
        lambda surface: surface.run.step_evaluations[0](surface.anchors["initial"]), Step(loss, layer), inputs
    )


class Rooted(nn.Module):
    def forward(self, values):
        return (0 * values).sqrt()


IN_THE_LOSS = {
    "log": (lambda m, z, x: (0 * z).log().sum(), "log", (0.0,), "-inf"),
    "in place": (lambda m, z, x: (0 * z).log_().sum(), "log", (0.0,), "-inf"),
    "negative root": (lambda m, z, x: (0 * z - 1).sqrt().sum(), "sqrt", (-1.0,), "nan"),
    "division": (lambda m, z, x: (z / (0 * z)).sum(), "div", None, "inf"),
    "reflected division": (lambda m, z, x: (1 / (0 * z)).sum(), "div", (1.0, 0.0), None),
    "division in place": (lambda m, z, x: z.clone().div_(0 * z[:, :1]).sum(), "div", None, None),
    "power": (lambda m, z, x: ((0 * z) ** -0.5).sum(), "pow", (0.0, -0.5), "inf"),
    "outside": (lambda m, z, x: (0 * z + 1.5).acos().sum(), "acos", (1.5,), "nan"),
    "exponential": (lambda m, z, x: (0 * z + 100).exp().sum(), "exp", (100.0,), "inf"),
    "earlier of two": (lambda m, z, x: (0 * z).log().sum() + (0 * z - 1).sqrt().sum(), "log", (0.0,), "-inf"),
    "later used first": (lambda m, z, x: (0 * z).log()[:0].sum() + (0 * z - 1).sqrt().sum(), "sqrt", (-1.0,), "nan"),
    "no values": (lambda m, z, x: z[:0].mean(), "mean", (), "nan"),
    "one value": (lambda m, z, x: z[:1].std(0).sum(), "std", (), "nan"),
    "all ignored": (lambda m, z, x: F.cross_entropy(z, torch.full((2,), -100)), "cross_entropy", (), "nan"),
    "masked row": (lambda m, z, x: F.softmax(z + m.mask[1], -1).sum(), "softmax", (), "nan"),
    "written": (lambda m, z, x: z.masked_fill(z < 9, -torch.inf).sum(), "masked_fill", (), "-inf"),
    "norm, then divided": (lambda m, z, x: (0 * z / (0 * z).norm(dim=1, keepdim=True)).sum(), "div", (0.0, 0.0), "nan"),
}


@pytest.mark.filterwarnings("ignore:std")
@pytest.mark.parametrize("name", IN_THE_LOSS)
def test_the_operation_that_makes_the_loss_not_finite_is_found(name):
    loss, operation, inputs, outcome = IN_THE_LOSS[name]
    found = evaluated(loss)
    assert not found.finite
    assert (found.first.where, found.first.operation, found.first.dtype) == ("forward", operation, "float32")
    assert inputs is None or found.first.inputs == inputs
    assert outcome is None or found.first.outcome == outcome
    assert found.first.written is (name == "written")
    assert found.first.place.startswith("test_finiteness.py, line ")


IN_THE_GRADIENT = {
    "root": (lambda m, z, x: (0 * z).sqrt().sum(), "sqrt", (0.0,), "inf"),
    "distance": (lambda m, z, x: (z[:, None] - z[None]).square().sum(-1).sqrt().sum(), "sqrt", (0.0,), "inf"),
    "power": (lambda m, z, x: ((0 * z) ** 0.5).sum(), "pow", (0.0,), "inf"),
    "behind where": (
        lambda m, z, x: torch.where(z > 99, (z * (z > 99)).sqrt(), z).sum(), "sqrt", (0.0,), "nan",
    ),
    "arc": (lambda m, z, x: (0 * z + 1).acos().sum(), "acos", (1.0,), "-inf"),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_THE_GRADIENT)
def test_the_operation_that_makes_only_the_gradient_not_finite_is_found(name):
    loss, operation, inputs, outcome = IN_THE_GRADIENT[name]
    found = evaluated(loss)
    assert not found.finite
    assert (found.first.where, found.first.operation) == ("backward", operation)
    assert found.first.inputs == inputs
    assert found.first.outcome == outcome
    assert found.first.place.startswith("test_finiteness.py, line ")


FINITE = {
    "masked in part": lambda m, z, x: F.softmax(z + m.mask, -1)[:, 0].sum(),
    "masked by hand": lambda m, z, x: F.softmax(z.masked_fill(torch.eye(2, dtype=torch.bool), -torch.inf), -1).sum(),
    "log of 0, removed by softmax": lambda m, z, x: F.softmax(torch.tensor([0.0, 1.0]).log() + z, -1)[:, 0].sum(),
    "smallest number as mask": lambda m, z, x: F.softmax(z + torch.finfo(z.dtype).min * (x > 0), -1)[:, 0].sum(),
    "NaN replaced": lambda m, z, x: torch.nan_to_num(x * torch.nan).sum() + z.sum(),
    "infinite gradient that reaches no weight": lambda m, z, x: (0 * x.clone().requires_grad_()).sqrt().sum() + z.sum(),
    "largest of an empty start": lambda m, z, x: torch.full_like(z, -torch.inf).maximum(z).sum(),
}


@pytest.mark.parametrize("name", FINITE)
def test_infinite_values_that_reach_neither_the_loss_nor_a_gradient_do_not_count(name):
    found = evaluated(FINITE[name])
    assert found.finite
    assert found.first is None


def test_an_operation_is_attributed_to_the_innermost_module_that_calls_it():
    assert evaluated(lambda m, z, x: z.sum(), Rooted()).first.module == "layer"
    assert evaluated(lambda m, z, x: (0 * z).sqrt().sum()).first.module == "training_step"


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_an_entry_of_the_batch_that_is_not_finite_is_found(bad):
    first = evaluated(lambda m, z, x: z.sum(), inputs=torch.tensor([[1.0, bad], [1.0, 2.0]])).first
    assert (first.where, first.operation) == ("batch", "batch[0]")


def test_an_operation_that_overflows_in_float16_is_found_with_its_type():
    first = evaluated(lambda m, z, x: ((z * 0 + 300).half() ** 2).float().sum()).first
    assert (first.operation, first.dtype, first.inputs[0]) == ("pow", "float16", 300.0)


def test_a_logarithm_says_whether_it_takes_the_outcome_of_a_softmax():
    assert (
        evaluated(
            lambda m, z, x: F.softmax(999 * z, -1)[:, 0].log().sum() + F.softmax(-999 * z, -1)[:, 0].log().sum()
        ).first.after
        == "softmax"
    )
    assert evaluated(lambda m, z, x: torch.sigmoid(z * 0 - 999).log().sum()).first.after == "sigmoid"
    assert evaluated(lambda m, z, x: (0 * z).log().sum()).first.after == ""


def test_statistics_of_batchnorm_that_are_nan_do_not_hide_the_entry_of_the_batch():
    rows = torch.tensor([[1.0, torch.nan], [1.0, 2.0]])  # after the step on them, the statistics are NaN
    first = evaluated(lambda m, z, x: z.sum(), nn.BatchNorm1d(2), rows).first
    assert (first.where, first.operation) == ("batch", "batch[0]")


def test_a_buffer_that_is_not_finite_is_not_blamed():
    def loss(module, values, inputs):
        module.mask = module.mask * torch.nan if module.trainer.global_step == 0 else module.mask
        return (values * module.mask).sum()

    found = evaluated(loss)
    assert (found.finite, found.first) == (False, None)


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("__rtruediv__", "div"),
        ("sqrt_", "sqrt"),
        ("LinalgVectorNormBackward0", "norm"),
        ("NllLossBackward0", "nll_loss"),
        ("LogSoftmaxBackward0", "log_softmax"),
        ("PowBackward1", "pow"),
    ],
)
def test_operations_have_the_names_by_which_users_call_them(name, operation):
    assert operation_name(name) == operation


def test_entries_of_a_batch_are_named_by_their_keys():
    x = torch.ones(1)
    assert list(entries_of({"a": x, "b": [x, {"c": x}], "d": 3}, "batch")) == [
        "batch['a']",
        "batch['b'][0]",
        "batch['b'][1]['c']",
    ]
