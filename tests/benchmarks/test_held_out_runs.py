"""The stuck held-out runs have the mistakes that they were built with; parts of the healthy ones work as intended."""

import math
from collections import Counter

import lightning.pytorch as pl
import pytest
import torch
from torch import Generator, nn

from benchmarks.stuck_runs.configurations import SPLITS
from benchmarks.stuck_runs.held_out import networks, rates, unmoved
from benchmarks.stuck_runs.held_out.measurements import partial_likelihood
from benchmarks.stuck_runs.held_out.optimizers import Descent, Guarded, Lookahead
from benchmarks.stuck_runs.held_out.structures import brackets, edges, mixture_likelihood
from benchmarks.stuck_runs.schedules import milestones, polynomial, warm_up
from benchmarks.stuck_runs.trace import record
from benchmarks.stuck_runs.training import fit, run
from benchmarks.stuck_runs.truth import load_labels, noise_free_loss
from benchmarks.stuck_runs.watching import silence

HELD_OUT = {c.name: c for c in SPLITS["held_out"]}


def labelled_as(label):
    """Return the configurations of which every seed has this label."""
    labels = load_labels()
    return [c for c in HELD_OUT.values() if {labels[c.name, seed].label for seed in range(3)} == {label}]


def test_at_least_36_configurations_have_their_intended_label_on_every_seed():
    assert len(labelled_as("stuck")) >= 18
    assert len(labelled_as("healthy")) >= 18


def test_every_cause_with_an_alarm_has_two_configurations_that_are_stuck_on_every_seed():
    causes = Counter(c.kind for c in labelled_as("stuck"))
    assert len(causes) == 8
    assert min(causes.values()) >= 2


class Losses(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.seen.append(float(outputs["loss"]))


@pytest.mark.slow
def test_runs_are_the_same_with_lightning_and_have_traces():
    differences = []
    for name, configuration in HELD_OUT.items():
        problem, losses = configuration.problem(1), Losses()
        with silence():
            fit(problem, 1, 3, losses)
        steps = [sum(losses.seen[i : i + problem.accumulate]) for i in range(0, len(losses.seen), problem.accumulate)]
        trace = record(configuration.problem(1), 1, 3)
        if steps != pytest.approx(trace.losses, rel=1e-3) or len(trace.saves) != 3:
            differences.append(f"{name}: {steps}, {trace.losses}, {len(trace.saves)} saves")
    assert not differences, "\n".join(differences)


# --- the mistakes in the stuck runs


def trained(name, steps):
    problem = HELD_OUT[name].problem(0)
    for _ in run(problem, 0, steps):
        pass
    return problem


def gradient_norm(problem):
    return math.sqrt(sum(float((p.grad**2).sum()) for p in problem.trained if p.grad is not None))


@pytest.mark.parametrize("name", ["adapters_from_nothing", "clamped_answers"])
def test_the_gradient_is_zero_if_both_factors_are_zero_or_all_outputs_are_clamped(name):
    problem = trained(name, 4)
    assert gradient_norm(problem) == 0.0


@pytest.mark.parametrize("name", ["closed_gates", "norm_of_one_feature", "inverted_mask"])
def test_the_output_does_not_depend_on_the_inputs(name):
    problem = HELD_OUT[name].problem(0)
    (x, _), (other, _) = (problem.batch(Generator().manual_seed(seed), 0) for seed in (1, 2))
    with torch.no_grad():
        assert torch.allclose(problem.model(x), problem.model(other), atol=1e-5)


@pytest.mark.parametrize("name", ["attention_without_values", "product_after_a_line", "two_regressions_alike"])
def test_a_perturbed_run_leaves_its_saddle_point_long_before_one_that_is_not_perturbed(name):
    halfway = sum(load_labels()[name, 0].stuck[0]) // 2
    unperturbed = trained(name, halfway)
    perturbed = HELD_OUT[name].problem(0)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in perturbed.trained:
            weight.add_(0.3 * torch.randn_like(weight))
    for _ in run(perturbed, 0, halfway):
        pass
    assert noise_free_loss(perturbed, 0) < 0.8 * noise_free_loss(unperturbed, 0)


@pytest.mark.parametrize("name", ["lookahead_of_zero", "all_steps_left_out", "gains_in_bfloat16"])
def test_the_weights_are_unchanged_after_fifty_steps_despite_gradients(name):
    start = [w.clone() for w in HELD_OUT[name].problem(0).trained]
    problem = trained(name, 50)
    assert gradient_norm(problem) > 0
    assert all(torch.equal(w, before) for w, before in zip(problem.trained, start, strict=True))


def test_the_gains_are_learned_in_full_precision():
    problem = unmoved.gains_in_bfloat16(0, torch.float32)
    for _ in run(problem, 0, 1500):
        pass
    assert noise_free_loss(problem, 0) < 0.1 * problem.trivial


def test_lookahead_moves_by_a_share_of_five_steps_and_guarded_skips_large_gradients():
    def after(make, steps):
        weight = nn.Parameter(torch.tensor([1.0]))
        optimizer = make([weight])
        for _ in range(steps):
            weight.grad = torch.tensor([2.0])
            optimizer.step()
        return float(weight.detach())

    assert after(lambda w: Descent(w, 0.1), 5) == pytest.approx(0.0, abs=1e-6)
    assert after(lambda w: Lookahead(w, 0.1, share=0.5), 5) == pytest.approx(0.5)
    assert after(lambda w: Lookahead(w, 0.1, share=0.5), 4) == pytest.approx(0.2)
    assert after(lambda w: Guarded(w, 0.1, limit=3.0), 5) == pytest.approx(0.0, abs=1e-6)
    assert after(lambda w: Guarded(w, 0.1, limit=1.0), 5) == 1.0


# --- the parts of the healthy runs


def test_schedules_have_the_values_computed_by_hand():
    assert [warm_up(4)(step) for step in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]
    assert [polynomial(4, 2.0)(step) for step in (0, 2, 4, 9)] == [1.0, 0.25, 0.0, 0.0]
    assert [milestones(2, 5)(step) for step in (1, 2, 5)] == pytest.approx([1.0, 0.1, 0.01])


def test_causal_networks_do_not_depend_on_later_inputs():
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
    tokens = torch.zeros(1, 6, dtype=torch.long)
    changed = torch.cat([tokens[:, :3], tokens[:, 3:] + 1], 1)
    for model in (networks.Reader(3, 6, 8), rates.Causal(3, 6, 8, layer)):
        assert torch.allclose(model(tokens)[..., :3], model(changed)[..., :3], atol=1e-6)
        assert not torch.allclose(model(tokens)[..., 3:], model(changed)[..., 3:], atol=1e-6)
    series = networks.CausalConvolutions(4)
    x = torch.randn(1, 1, 6)
    assert torch.allclose(series(x)[..., :3], series(torch.cat([x[..., :3], x[..., 3:] + 1], 2))[..., :3], atol=1e-6)


def test_the_residual_of_a_parabola_is_the_one_computed_by_hand():
    constant = nn.Linear(1, 1)
    nn.init.zeros_(constant.weight)
    nn.init.constant_(constant.bias, 3.0)
    with torch.no_grad():
        residual = networks.Oscillator(constant)(torch.tensor([[0.0], [2.0]]))  # for u = 1 + 3t²
    assert residual.flatten().tolist() == pytest.approx([6 + 4, 6 + 0.5 * 12 + 4 * 13])


def test_an_adapter_starts_with_the_output_of_its_layer_and_freezes_it():
    layer = nn.Linear(3, 2)
    adapter, x = networks.Adapter(layer, 1), torch.randn(4, 3)
    assert torch.equal(adapter(x), layer(x))
    assert not layer.weight.requires_grad


def test_the_likelihoods_of_cox_and_of_a_mixture_are_those_computed_by_hand():
    risk = torch.tensor([[0.0], [math.log(3.0)], [0.0]])
    target = torch.tensor([[1.0, 1.0], [2.0, 1.0], [3.0, 0.0]])
    assert float(partial_likelihood(risk, target)) == pytest.approx((math.log(5) + math.log(4 / 3)) / 2)
    output = torch.tensor([[0.0, 0.0, -1e9, 1.0, -1.0, 0.0, 0.0, 0.0, 0.0]])
    density = math.exp(-0.5) / math.sqrt(2 * math.pi)
    assert float(mixture_likelihood(output, torch.tensor([[0.0]]))) == pytest.approx(-math.log(density))


def test_brackets_close_in_the_order_in_which_they_were_opened():
    x, y = brackets(20, Generator().manual_seed(0))
    assert torch.equal(x[:, 1:], y[:, :-1])
    for row in x.tolist():
        pending = []
        for token in row:
            if token < 3:
                pending.append(token)
            else:
                assert pending.pop() == token - 3


def test_edges_are_symmetric_and_mostly_within_communities():
    y = torch.arange(200) % 4
    adjacency = edges(y, 0.2, 0.02, seed=0)
    assert torch.equal(adjacency, adjacency.T)
    assert float(adjacency.diagonal().sum()) == 0
    within = float(adjacency[y[:, None] == y].mean())
    assert within == pytest.approx(0.2, abs=0.02)


def test_learned_values_on_the_circle_satisfy_the_bellman_equation():
    problem = trained("temporal_difference", 1500)
    x, rewards = problem.evaluation_data(0)
    before, after = problem.model(x).unbind(1)
    assert torch.allclose(before, rewards + after, atol=1e-3)
