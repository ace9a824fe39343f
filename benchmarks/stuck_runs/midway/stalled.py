"""Stuck runs of the split `midway` that learn something, and then stand still."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, nn

from benchmarks.stuck_runs.data import digits
from benchmarks.stuck_runs.midway.data import two_targets
from benchmarks.stuck_runs.midway.mistakes import PutBack, frozen_from, grouped, shuffled, spike, switched
from benchmarks.stuck_runs.midway.networks import (
    DetachedBody,
    MixtureDensity,
    Sinusoid,
    TwoHeads,
    convolutions,
    segmenter,
)
from benchmarks.stuck_runs.midway.tasks import (
    by_variational_autoencoder,
    denoising,
    grammar_gru,
    on_branches,
    on_discs,
    on_friedman,
    on_grammar,
    on_images,
    on_oscillation,
    on_text,
    standardised,
    text_gru,
)
from benchmarks.stuck_runs.networks import Recurrent, mlp, normal
from benchmarks.stuck_runs.problem import Batch, Problem, adam, by, endless, finite, sgd, stuck
from benchmarks.stuck_runs.schedules import cosine
from benchmarks.stuck_runs.tasks import on_digits


def encoder_at_rate_zero(seed: int) -> Problem:
    """Return a run whose parameter group of the encoder has a learning rate of zero, so that only the head learns."""
    model = nn.Sequential(mlp(20, 6).append(nn.ReLU()), nn.Linear(6, 10))
    return on_digits(model, grouped(torch.optim.Adam, (model[0], 0.0), (model[1], 1e-2)))


def recurrence_frozen(seed: int) -> Problem:
    """Return a run that freezes the recurrent layer of a language model soon after the beginning."""
    model = text_gru()
    return on_text(model, adam(1e-2), floor=1.6, before_step=frozen_from(model.layer, 40))


def features_detached(seed: int) -> Problem:
    """Return a run of two targets whose shared features are detached before both heads."""
    model = DetachedBody(mlp(6, 12).append(nn.ReLU()), nn.Linear(12, 1), nn.Linear(12, 1))
    return endless(model, F.mse_loss, two_targets, 32, adam(1e-2), trivial=3.0, floor=0.04, evaluation_samples=4096)


def put_back_every_epoch(seed: int) -> Problem:
    """Return a run in which a callback loads the checkpoint of the second epoch at the beginning of every epoch."""
    problem = on_friedman(mlp(10, 32, 1), adam(1e-3))
    return replace(problem, before_step=PutBack(problem.model, 200))


def decayed_by_batches(seed: int) -> Problem:
    """Return a run whose exponential decay, meant for epochs, is applied in every step."""
    decay = 0.97
    return on_oscillation(Recurrent(nn.LSTM(1, 16, batch_first=True), 16), adam(5e-3), schedule=decay.__pow__)


def cosine_too_short(seed: int) -> Problem:
    """Return a run of a small convolutional network whose cosine ends after an eighth of the run at a thousandth."""
    factor = cosine(75)
    return on_images(convolutions(8, 4), adam(6e-3), schedule=lambda step: 1e-3 + factor(step))


def impatient_plateaus(seed: int, patience: int = 40) -> Problem:
    """Return a run whose learning rate is divided by ten at every little pause of the loss."""
    model, optimizer = mlp(20, 64, 64, 20), sgd(0.1, momentum=0.9)
    return denoising(model, optimizer, schedule=lambda step: 0.1 ** min(5, step // patience))


def momentum_bounces(seed: int) -> Problem:
    """Return a run of regression whose learning rate is so large that the loss stops far above its lowest value."""
    return on_friedman(mlp(10, 32, 1, activation="tanh"), sgd(0.05, momentum=0.9), 8)


def multiplied_at_milestones(seed: int) -> Problem:
    """Return a run whose learning rate is multiplied by ten at each milestone, instead of divided."""
    return on_grammar(grammar_gru(), adam(5e-3), schedule=lambda step: 10.0 ** min(2, step // 150))


def warmed_too_far(seed: int) -> Problem:
    """Return a run whose warm-up rises to a learning rate at which nothing more is learnt."""
    return on_digits(
        mlp(20, 32, 32, 10), by(torch.optim.RMSprop, lr=0.3), schedule=lambda step: min(1.0, (step / 300) ** 3)
    )


def overwhelming_decay(seed: int) -> Problem:
    """Return a run whose weight decay is a hundred times too strong."""
    return on_digits(mlp(20, 32, 10), sgd(0.1, momentum=0.9, decay=0.1))


def units_killed(seed: int) -> Problem:
    """Return a run that learns to segment until a spike of the learning rate turns its units off."""
    return on_discs(segmenter(), adam(5e-3), floor=0.02, schedule=spike(150, 3, 300.0))


def saturated_by_a_spike(seed: int) -> Problem:
    """Return a run of sigmoid outputs under squared error, which a spike of the learning rate saturates."""
    x, y = digits()
    model = mlp(20, 24, 10, activation="tanh").append(nn.Sigmoid())
    targets = F.one_hot(y, 10).float()
    return finite(model, F.mse_loss, (x, targets), 32, sgd(1.0), trivial=0.09, floor=0.0, schedule=spike(200, 2, 3e4))


def labels_shuffled_later(seed: int) -> Problem:
    """Return a run whose pipeline shuffles the labels of every batch from step 250 on."""
    problem = on_digits(mlp(20, 32, 10), adam(3e-3))
    x, y = digits()
    mixed = x, y[torch.randperm(len(y), generator=Generator().manual_seed(seed))]
    return replace(
        problem,
        batch=switched(250, problem.batch, shuffled(problem.batch)),
        evaluation_data=lambda step: (x, y) if step < 250 else mixed,
    )


def inputs_turn_constant(seed: int) -> Problem:
    """Return a run whose sensor delivers its mean from step 400 on."""
    problem = on_friedman(mlp(10, 32, 1), adam(5e-3))

    def blank(batch: Batch) -> Batch:
        return torch.zeros_like(batch[0]), batch[1]

    return replace(
        problem,
        batch=switched(400, problem.batch, lambda generator, step: blank(problem.batch(generator, step))),
        evaluation_data=lambda step: (
            problem.evaluation_data(step) if step < 400 else blank(problem.evaluation_data(step))
        ),
    )


def one_of_two_targets(seed: int) -> Problem:
    """Return a run that learns a linear target, while the branch of another one starts near a saddle point."""

    def sample(count: int, generator: Generator) -> Batch:
        x = torch.randn(count, 8, generator=generator)
        y = torch.stack([2 * x[:, 0] - x[:, 1], 2 * x[:, 2] * x[:, 3]], 1)
        return x, y + 0.2 * torch.randn(y.shape, generator=generator)

    second = mlp(8, 16, 16, 1, activation="tanh", init=normal(1e-2))
    model = TwoHeads(nn.Identity(), nn.Linear(8, 1), second)
    return endless(model, F.mse_loss, sample, 32, sgd(0.03), trivial=4.5, floor=0.04, evaluation_samples=4096)


def components_alike(seed: int) -> Problem:
    """Return a run of a mixture density whose two components start alike, and so remain alike."""
    model = MixtureDensity(2)
    last = model.network[2]
    with torch.no_grad():
        last.weight[1::2] = last.weight[::2]
        last.bias[1::2] = last.bias[::2]
    return on_branches(model, adam(1e-2))


def frequency(seed: int, start: float = 5.6) -> Problem:
    """Return a run that fits offset and amplitude of a wave, at a frequency too far from the right one."""
    x = torch.linspace(-4, 4, 256)[:, None]
    y = 1.5 + torch.sin(3 * x + 0.4) + 0.05 * torch.randn(256, 1, generator=Generator().manual_seed(seed))
    return finite(Sinusoid(start), F.mse_loss, (x, y), 64, sgd(0.02), trivial=2.8, floor=2.5e-3)


def posterior_collapse(seed: int, final: float = 8.0) -> Problem:
    """Return a run of a variational autoencoder, the weight of whose divergence is warmed up far beyond one."""
    problem = by_variational_autoencoder(adam(3e-3))

    def anneal(step: int) -> None:
        problem.model.divergence_weight = min(final, max(1.0, final * step / 400))

    return replace(problem, before_step=anneal)


def unstable_later(seed: int) -> Problem:
    """Return a run whose linear warm-up never ends, and crosses the largest stable learning rate in mid-run."""
    x, y = standardised("diabetes")
    residual = float(((y - x @ torch.linalg.lstsq(x, y).solution) ** 2).mean())
    return finite(
        mlp(10, 1), F.mse_loss, (x, y), 64, sgd(1.0), trivial=1.0, floor=residual, schedule=lambda step: 1e-3 * step
    )


STALLED = (
    stuck("encoder_at_rate_zero", 800, "not_updating", encoder_at_rate_zero),
    stuck("recurrence_frozen_early", 900, "not_updating", recurrence_frozen),
    stuck("features_detached", 1000, "not_updating", features_detached),
    stuck("checkpoint_put_back", 1200, "not_updating", put_back_every_epoch),
    stuck("decay_meant_for_epochs", 800, "learning_rate_too_small", decayed_by_batches, "not_updating"),
    stuck("cosine_too_short", 600, "learning_rate_too_small", cosine_too_short),
    stuck(
        "impatient_plateaus",
        1000,
        "learning_rate_too_small",
        impatient_plateaus,
        "not_updating",
        cure=lambda seed: impatient_plateaus(seed, 900),
    ),
    stuck("momentum_bounces", 1200, "learning_rate_too_large", momentum_bounces),
    stuck("multiplied_at_milestones", 900, "learning_rate_too_large", multiplied_at_milestones, "flat_region"),
    stuck("warmed_too_far", 1000, "learning_rate_too_large", warmed_too_far, "flat_region"),
    stuck("overwhelming_decay", 800, "poor_minimum", overwhelming_decay),
    stuck("units_killed_by_a_spike", 500, "flat_region", units_killed),
    stuck("saturated_by_a_spike", 900, "flat_region", saturated_by_a_spike),
    stuck("labels_shuffled_later", 1000, "nothing_to_learn", labels_shuffled_later),
    stuck("inputs_turn_constant", 1200, "nothing_to_learn", inputs_turn_constant),
    stuck("one_of_two_targets", 1500, "saddle_point", one_of_two_targets, "flat_region"),
    stuck("components_alike", 1200, "saddle_point", components_alike),
    stuck("frequency_out_of_reach", 1000, "poor_minimum", frequency, cure=lambda seed: frequency(seed, 3.1)),
    stuck(
        "posterior_collapse", 900, "poor_minimum", posterior_collapse, cure=lambda seed: posterior_collapse(seed, 1.0)
    ),
    stuck("warm_up_without_end", 1000, "diverged", unstable_later, "learning_rate_too_large"),
)
