"""PINA: its `Trainer` is one of Lightning, so the monitor goes to `callbacks=`.

``pip install pina-mathlab``. Judged is the sum of the losses of all conditions.
"""

from typing import ClassVar

import torch
from pina import Condition, Trainer
from pina.domain import CartesianDomain
from pina.equation import Equation, FixedValue
from pina.model import FeedForward
from pina.operator import laplacian
from pina.optim import TorchOptimizer
from pina.problem import SpatialProblem
from pina.solver import PINN
from torch import nn

from lightning_landscape import LandscapeMonitor, last_report


def poisson(points, solution):
    """Return what is left of the equation Δu = -2π² sin(πx) sin(πy) at these points."""
    x, y = points.extract(["x"]), points.extract(["y"])
    force = -2 * torch.pi**2 * torch.sin(torch.pi * x) * torch.sin(torch.pi * y)
    return laplacian(solution, points, components=["u"], d=["x", "y"]) - force


class Poisson(SpatialProblem):
    output_variables: ClassVar = ["u"]
    spatial_domain = CartesianDomain({"x": [0, 1], "y": [0, 1]})
    domains: ClassVar = {
        "inside": spatial_domain,
        "left": CartesianDomain({"x": 0, "y": [0, 1]}),
        "right": CartesianDomain({"x": 1, "y": [0, 1]}),
    }
    conditions: ClassVar = {
        "inside": Condition(domain="inside", equation=Equation(poisson)),
        "left": Condition(domain="left", equation=FixedValue(0.0)),
        "right": Condition(domain="right", equation=FixedValue(0.0)),
    }


def train(callbacks, rate: float = 5e-3, steps: int = 400) -> nn.Module:
    problem = Poisson()
    problem.discretise_domain(200, "random", domains="inside")
    problem.discretise_domain(20, "random", domains=["left", "right"])
    solver = PINN(
        problem, FeedForward(input_dimensions=2, output_dimensions=1, layers=[20, 20]),
        optimizer=TorchOptimizer(torch.optim.Adam, lr=rate),
    )  # fmt: skip
    settings = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    Trainer(solver, max_epochs=steps, callbacks=callbacks, **settings).train()
    return solver


if __name__ == "__main__":
    train([LandscapeMonitor()])
    print(last_report())
