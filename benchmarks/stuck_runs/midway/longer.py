"""Runs of the split `midway` that take half a minute or more: language models, and images of 24 × 24 pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, nn

from benchmarks.stuck_runs.midway.data import large_digits
from benchmarks.stuck_runs.midway.mistakes import shuffled, switched
from benchmarks.stuck_runs.midway.networks import RecurrentLanguageModel, convolutions
from benchmarks.stuck_runs.midway.tasks import LETTERS, on_grammar, on_large_digits, on_text, text_transformer
from benchmarks.stuck_runs.problem import Problem, adam, healthy, sgd, stuck
from benchmarks.stuck_runs.schedules import cosine, warm_up

TEXT_FLOOR = 1.5
"""loss on the text, in nats, that networks of this size reach within several thousand steps"""


def one_cycle(steps: int) -> Callable[[int], float]:
    """Return a schedule that rises from a twentieth to 1 in three tenths of the steps, and falls along a cosine."""
    peak = int(0.3 * steps)
    falls = cosine(steps - peak)
    return lambda step: 0.05 + 0.95 * step / peak if step < peak else falls(step - peak)


def text_by_transformer(seed: int) -> Problem:
    """Return a run of a transformer with dropout on text, with a warm-up and clipping."""
    return on_text(text_transformer(dropout=0.1), adam(2e-3, 0.01), 24, schedule=warm_up(200), clip=1.0)


def digits_in_one_cycle(seed: int) -> Problem:
    """Return a run of convolutions on enlarged digits with momentum and a one-cycle schedule."""
    return on_large_digits(convolutions(24, 12), sgd(0.03, 0.9, decay=5e-4), 64, schedule=one_cycle(1600))


def grammar_by_lstm(seed: int) -> Problem:
    """Return a run of an LSTM that reaches the entropy rate of a grammar in the first quarter, and stays there."""
    model = RecurrentLanguageModel(12, nn.LSTM(24, 48, batch_first=True))
    return on_grammar(model, adam(3e-3), 96, schedule=cosine(3000))


def text_at_a_large_rate(seed: int) -> Problem:
    """Return a run of a transformer on text, whose warm-up ends at a learning rate of 0.3."""
    return on_text(
        text_transformer(), adam(0.3), 24, floor=TEXT_FLOOR, schedule=lambda step: min(1.0, (step + 1) / 1000) ** 2
    )


def text_decayed_early(seed: int) -> Problem:
    """Return a run of a GRU on text, whose cosine was made for a tenth of the steps and ends at a thousandth."""
    model = RecurrentLanguageModel(LETTERS, nn.GRU(48, 64, batch_first=True))
    factor = cosine(260)
    return on_text(model, adam(2e-3), 24, floor=TEXT_FLOOR, schedule=lambda step: 1e-3 + factor(step))


def large_digits_shuffled(seed: int) -> Problem:
    """Return a run of convolutions on enlarged digits, whose labels are shuffled in every batch from step 300 on."""
    problem = on_large_digits(convolutions(24, 12), adam(1e-3), 64)
    x, y = large_digits()
    mixed = x[::4], y[::4][torch.randperm(len(y[::4]), generator=Generator().manual_seed(seed))]
    return replace(
        problem,
        batch=switched(300, problem.batch, shuffled(problem.batch)),
        evaluation_data=lambda step: problem.evaluation_data(step) if step < 300 else mixed,
    )


LONGER = (
    healthy("text_by_transformer", 1500, "improving", text_by_transformer, future=1.3),
    healthy("digits_in_one_cycle", 1600, "schedule", digits_in_one_cycle),
    healthy("grammar_by_lstm", 3000, "noise floor", grammar_by_lstm),
    stuck("text_at_a_large_rate", 2400, "learning_rate_too_large", text_at_a_large_rate, "flat_region"),
    stuck("text_decayed_early", 2600, "learning_rate_too_small", text_decayed_early),
    stuck("large_digits_shuffled", 1600, "nothing_to_learn", large_digits_shuffled),
)
