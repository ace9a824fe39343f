"""Stuck runs of the split `midway` that learn nothing, or only a constant, from the beginning."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from benchmarks.stuck_runs.data import digit_images, digits, table
from benchmarks.stuck_runs.midway.data import citations, grammar
from benchmarks.stuck_runs.midway.networks import (
    GraphConvolutions,
    LowRankAdapter,
    Transformer,
    convolutions,
    segmenter,
)
from benchmarks.stuck_runs.midway.tasks import (
    on_citations,
    on_discs,
    on_friedman,
    on_grammar,
    on_images,
    on_oscillation,
    on_preferences,
)
from benchmarks.stuck_runs.networks import Recurrent, mlp
from benchmarks.stuck_runs.problem import Batch, Problem, adam, by, finite, sgd, stuck
from benchmarks.stuck_runs.schedules import warm_up
from benchmarks.stuck_runs.tasks import on_digits, pretrained


def tiny_preferences(seed: int) -> Problem:
    """Return a run that ranks items from embeddings near zero, where their products have no gradient."""
    return on_preferences(1e-4, sgd(1.0))


def adapters_of_zeros(seed: int) -> Problem:
    """Return a run of low-rank adapters of which both matrices start at zero, so that neither has a gradient."""
    torch.manual_seed(seed)
    body = pretrained((20, 24, 10), digits(), 5)
    first, _, second = body
    adapters = [
        LowRankAdapter(layer, torch.zeros(layer.in_features, 4), torch.zeros(4, layer.out_features))
        for layer in (first, second)
    ]
    return on_digits(nn.Sequential(adapters[0], nn.ReLU(), adapters[1]), adam(5e-3))


def tiny_graph(seed: int) -> Problem:
    """Return a full-batch run of graph convolutions whose weights start near zero."""
    model = GraphConvolutions(citations()[0])
    for layer in (model.first, model.second):
        nn.init.normal_(layer.weight, std=1e-4)
        nn.init.zeros_(layer.bias)
    return on_citations(sgd(0.3), model, floor=0.0)


def sigmoid_codes(seed: int) -> Problem:
    """Return a run of an autoencoder of six sigmoid layers, whose gradient vanishes on the way back."""
    x = digit_images()[0].flatten(1)
    model = mlp(64, 32, 16, 8, 16, 32, 64, activation="sigmoid")
    return finite(model, F.mse_loss, (x, x), 32, sgd(0.2, 0.9), trivial=float(x.var(0).mean()), floor=0.2)


def tiny_temperature(seed: int) -> Problem:
    """Return a run under squared errors of probabilities, whose logits are divided by a temperature of 0.001."""
    x, y = digits()
    targets = F.one_hot(y, 10).float()
    return finite(
        mlp(20, 24, 10),
        lambda logits, target: F.mse_loss((logits / 1e-3).softmax(1), target),
        (x, targets),
        32,
        sgd(0.05),
        trivial=0.09,
        floor=0.0,
    )


def timid_transformer(seed: int) -> Problem:
    """Return a run of a transformer at a learning rate of 1e-6."""
    return on_grammar(Transformer(12, 12, 16, layers=1), adam(1e-6))


def clipped_forecast(seed: int) -> Problem:
    """Return a run of a GRU whose gradient is clipped to a norm of 1e-4."""
    return on_oscillation(Recurrent(nn.GRU(1, 12, batch_first=True), 12), sgd(0.1), clip=1e-4)


def endless_warm_up(seed: int) -> Problem:
    """Return a run that segments discs, with a warm-up of ten million steps."""
    return on_discs(segmenter(4), adam(3e-3), floor=0.02, schedule=warm_up(10_000_000))


def violent_codes(seed: int) -> Problem:
    """Return a run of an autoencoder by Adam at a learning rate of 0.5."""
    x = digit_images()[0].flatten(1)
    trivial = float(x.var(0).mean())
    return finite(mlp(64, 32, 8, 32, 64), F.mse_loss, (x, x), 64, adam(0.5), trivial=trivial, floor=0.2)


def violent_forecast(seed: int) -> Problem:
    """Return a run of an LSTM by RMSprop at a learning rate of 0.5."""
    return on_oscillation(Recurrent(nn.LSTM(1, 12, batch_first=True), 12), by(torch.optim.RMSprop, lr=0.5))


def replaced_head(seed: int) -> Problem:
    """Return a run of fine-tuning whose optimizer holds the old head, and whose body is frozen."""
    model = mlp(20, 24, 10)
    model[0].requires_grad_(requires_grad=False)
    return replace(on_digits(model, adam(3e-3)), optimized_module=copy.deepcopy(model))


class BFloat16Weights(torch.optim.SGD):
    """SGD on weights that are kept in bfloat16, so that small updates are rounded away."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step, round all weights, and return the closure's loss, or None without a closure."""
        loss = super().step(closure)
        for group in self.param_groups:
            for weight in group["params"]:
                weight.copy_(weight.bfloat16())
        return loss


def rounded_away(seed: int) -> Problem:
    """Return a run of convolutions with bfloat16 weights, whose updates are smaller than their precision."""
    model = convolutions(8, 8)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.bfloat16())
    return on_images(model, by(BFloat16Weights, lr=3e-4))


def shifted_rows(seed: int) -> Problem:
    """Return a run whose targets are those of the next row of the table."""
    problem = on_friedman(mlp(10, 32, 1), adam(3e-3))

    def shift(batch: Batch) -> Batch:
        return batch[0], batch[1].roll(1, 0)

    return replace(
        problem,
        batch=lambda generator, step: shift(problem.batch(generator, step)),
        evaluation_data=lambda step: shift(problem.evaluation_data(step)),
    )


def hashed_tokens(seed: int) -> Problem:
    """Return a run of a language model whose tokeniser numbers the tokens anew in every batch."""
    tokens, (_, floor, _) = 12, grammar()
    problem = on_grammar(Transformer(tokens, 12, 16, layers=1), adam(3e-3), trivial=math.log(tokens), floor=floor)

    def renumber(batch: Batch, generator: Generator) -> Batch:
        samples = len(batch[0])
        numbers = torch.rand(samples, 24, tokens, generator=generator).argsort(2)[:, 0]
        x, y = batch
        return numbers.gather(1, x), torch.randint(0, tokens, y.shape, generator=generator)

    return replace(
        problem,
        batch=lambda generator, step: renumber(problem.batch(generator, step), generator),
        evaluation_data=lambda step: renumber(problem.evaluation_data(step), Generator().manual_seed(1)),
    )


def raw_columns(seed: int) -> Problem:
    """Return a run of linear regression on columns of a table that go up to thousands."""
    x, y = table("breast_cancer")
    scales = torch.logspace(-2, 3, 30)
    target = y.float()[:, None]
    return finite(mlp(30, 1), F.mse_loss, (x * scales, target), 32, sgd(1e-3), trivial=float(target.var()), floor=0.06)


def welsch(output: Tensor, y: Tensor) -> Tensor:
    """Return the robust loss of Welsch, in [0, 1], which ignores large errors."""
    return (1 - torch.exp(-0.5 * (output - y) ** 2)).mean()


def robust_line(seed: int, start: float = 8.0) -> Problem:
    """Return a run that fits a line robustly, from a start that takes a cluster of outliers for the data."""
    generator = Generator().manual_seed(seed)
    x = torch.randn(400, 1, generator=generator)
    outlier = torch.rand(400, 1, generator=generator) < 0.25
    noise = 0.5 * torch.randn(400, 1, generator=generator)
    y = torch.where(outlier, torch.tensor(8.0), 0.5 * x) + noise
    model = mlp(1, 1)
    nn.init.zeros_(model[0].weight)
    nn.init.constant_(model[0].bias, start)
    return finite(model, welsch, (x, y), 32, sgd(0.1), trivial=0.9)


FROM_THE_START = (
    stuck("preferences_near_zero", 1500, "saddle_point", tiny_preferences),
    stuck("adapters_of_zeros", 800, "saddle_point", adapters_of_zeros, "not_updating", "flat_region"),
    stuck("graph_near_zero", 800, "saddle_point", tiny_graph),
    stuck("sigmoid_codes", 1000, "flat_region", sigmoid_codes, "saddle_point"),
    stuck("tiny_temperature", 1000, "flat_region", tiny_temperature, "not_updating"),
    stuck("timid_transformer", 500, "learning_rate_too_small", timid_transformer),
    stuck("clipped_forecast", 800, "learning_rate_too_small", clipped_forecast),
    stuck("warm_up_of_millions", 300, "learning_rate_too_small", endless_warm_up),
    stuck("violent_codes", 800, "learning_rate_too_large", violent_codes, "flat_region"),
    stuck("violent_forecast", 700, "learning_rate_too_large", violent_forecast, "flat_region"),
    stuck("head_replaced_after_the_optimizer", 1000, "not_updating", replaced_head),
    stuck("updates_rounded_away", 600, "not_updating", rounded_away, "learning_rate_too_small"),
    stuck("rows_shifted_by_one", 1200, "nothing_to_learn", shifted_rows),
    stuck("tokens_numbered_anew", 600, "nothing_to_learn", hashed_tokens),
    stuck("columns_up_to_thousands", 600, "diverged", raw_columns, "learning_rate_too_large"),
    stuck("line_through_outliers", 1000, "poor_minimum", robust_line, cure=lambda seed: robust_line(seed, 0.0)),
)
