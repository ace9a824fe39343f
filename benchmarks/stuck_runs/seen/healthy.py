"""Healthy runs of the split `seen`."""

from __future__ import annotations

from torch import nn

from benchmarks.stuck_runs.networks import mlp
from benchmarks.stuck_runs.problem import adam, healthy, sgd
from benchmarks.stuck_runs.schedules import cosine, triangle
from benchmarks.stuck_runs.seen import fitting, networks, representations
from benchmarks.stuck_runs.seen.tasks import language_model, on_images
from benchmarks.stuck_runs.tasks import on_digits

HEALTHY = (
    healthy(
        "images_one_cycle",
        800,
        "schedule",
        lambda seed: on_images(
            networks.conv_net(normalise=nn.BatchNorm2d), sgd(0.1, 0.9), schedule=triangle(800, 0.02)
        ),
    ),
    healthy(
        "images_warm_restarts",
        1200,
        "schedule",
        lambda seed: on_images(networks.conv_net(), sgd(0.1), schedule=lambda step: cosine(400)(step % 400)),
    ),
    healthy(
        "language_model",
        1500,
        "schedule",
        lambda seed: language_model(adam(1e-2), schedule=lambda step: min(1.0, (step + 1) / 150) * cosine(1500)(step)),
        future=1.2,
    ),
    healthy("image_autoencoder", 1200, "schedule", representations.image_autoencoder),
    healthy("support_vectors", 1500, "schedule", fitting.support_vectors),
    healthy("upper_quantile", 2000, "noise floor", fitting.upper_quantile),
    healthy("wine_with_dropout", 1500, "noisy", fitting.wine),
    healthy("friedman_by_rmsprop", 2000, "slow", fitting.friedman_by_rmsprop),
    healthy("narrow_density", 1500, "negative loss", representations.density),
    healthy("counts", 1500, "negative loss", fitting.counts),
    healthy("correlation", 1500, "negative loss", fitting.correlation),
    healthy("contrastive", 1500, "improving", representations.contrastive),
    healthy("variational_autoencoder", 1500, "noise floor", representations.variational),
    healthy("running_mean", 1200, "improving", fitting.running_mean),
    healthy(
        "accumulated_batches", 800, "improving", lambda seed: on_digits(mlp(20, 24, 10), sgd(0.1), 4, accumulate=4)
    ),
    healthy("outlying_inputs", 2000, "noisy", fitting.outlying_inputs),
    healthy("frozen_body", 1500, "minimum", fitting.frozen_body),
    healthy("resumed_at_the_optimum", 1500, "noise floor", fitting.resumed_at_the_optimum, future=2.0),
    healthy("bags_of_words", 1500, "improving", fitting.bags_of_words),
    healthy(
        "strong_weight_decay",
        2000,
        "minimum",
        lambda seed: on_digits(mlp(20, 24, 10), adam(3e-3, decay=1.0), floor=None),
    ),
    healthy("summed_loss", 1500, "noise floor", fitting.summed_loss),
    healthy("smoothed_labels", 1500, "minimum", fitting.smoothed_labels, future=1.2),
    healthy("widening_inputs", 2000, "level shift", fitting.widening_inputs),
)
