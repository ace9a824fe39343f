"""Remedies: what each does to an optimizer, when a monitor applies them, and what it says of them afterwards."""

import math
import re
from dataclasses import replace
from functools import partial, wraps
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.optim import lr_scheduler as schedulers
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import Cause, Evidence, LandscapeMonitor, PlateauMonitor, Verdict
from lightning_landscape.errors import LandscapeError, ProbeFailedWarning
from lightning_landscape.evidence import Divergence, LossLevel
from lightning_landscape.examination.fault_guard import Guard
from lightning_landscape.examination.remedy_outcome import RemedyOutcome
from lightning_landscape.examination.remedy_runner import RemedyRunner, _applied
from lightning_landscape.examination.run_state import RunState
from lightning_landscape.remedies import Halt, Perturb, ScaleLearningRate, Stop, WayDown, usual_norm
from lightning_landscape.reporting.reporter import Reporter
from lightning_landscape.trainer.lightning_host import LightningHost

VERDICT = Verdict(Cause.SADDLE_POINT, step=100, since=20, stuck=True, reason="")
quiet_alarms = pytest.mark.filterwarnings("ignore::lightning_landscape.errors.PlateauWarning")


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Linear(16, 4))


def sgd(module, lr=0.1):
    return torch.optim.SGD(module.parameters(), lr=lr)


def weights_of(module):
    return {name: weight.detach().clone() for name, weight in module.named_parameters()}


# Each remedy alone.


def test_a_function_that_wraps_stop_passes_the_request_on():
    def only_at_saddles(verdict, optimizer):
        return Stop()(verdict, optimizer) if verdict.cause is Cause.SADDLE_POINT else None

    assert isinstance(only_at_saddles(VERDICT, sgd(net())), Halt)
    assert only_at_saddles(replace(VERDICT, cause=Cause.DIVERGED), sgd(net())) is None


def test_perturb_moves_every_tensor_by_a_share_of_its_norm():
    module = net()
    before = weights_of(module)
    Perturb(scale=0.25)(VERDICT, sgd(module))
    for name, weight in module.named_parameters():
        moved = float((weight.detach() - before[name]).norm())
        assert moved == pytest.approx(0.25 * usual_norm(before[name]), rel=1e-5)


def test_perturb_moves_a_matrix_of_zeros_by_a_share_of_the_norm_at_initialisation():
    weight = nn.Parameter(torch.zeros(300, 20))
    usual = float(nn.Linear(20, 300).weight.detach().norm())
    Perturb(scale=1.0)(VERDICT, torch.optim.SGD([weight], lr=0.1))
    assert float(weight.detach().norm()) == pytest.approx(usual, rel=0.05)


def test_perturb_draws_the_same_numbers_each_time_and_others_for_other_seeds_and_steps():
    def moved(remedy, verdict):
        module = net()
        remedy(verdict, sgd(module))
        return torch.cat([weight.detach().flatten() for weight in module.parameters()])

    first = moved(Perturb(), VERDICT)
    assert torch.equal(first, moved(Perturb(), VERDICT))
    assert not torch.equal(first, moved(Perturb(seed=1), VERDICT))
    assert not torch.equal(first, moved(Perturb(), replace(VERDICT, step=101)))


def test_perturb_does_not_change_random_streams_optimizer_state_and_frozen_weights():
    module = net()
    module[0].weight.requires_grad_(requires_grad=False)
    optimizer, stream = sgd(module), torch.get_rng_state()
    frozen, state = module[0].weight.clone(), optimizer.state_dict()
    assert "moved 5 tensors" in Perturb()(VERDICT, optimizer)
    assert torch.equal(stream, torch.get_rng_state())
    assert torch.equal(frozen, module[0].weight)
    assert optimizer.state_dict() == state


def test_perturb_keeps_half_precision_and_moves_complex_weights():
    half, phase = nn.Parameter(torch.ones(4, 4, dtype=torch.bfloat16)), nn.Parameter(torch.ones(3, 3) * 1j)
    Perturb()(VERDICT, torch.optim.SGD([half, phase], lr=0.1))
    assert half.dtype is torch.bfloat16
    assert not torch.equal(half, torch.ones_like(half))
    assert not torch.equal(phase.detach().real, torch.zeros(3, 3))


def test_perturb_does_nothing_to_a_run_that_has_diverged():
    module = net()
    before = weights_of(module)
    assert Perturb()(replace(VERDICT, cause=Cause.DIVERGED), sgd(module)) is None
    assert all(torch.equal(before[name], weight) for name, weight in module.named_parameters())


def test_perturb_moves_along_the_smallest_curvature():
    module = nn.Linear(2, 2, bias=False)
    nn.init.zeros_(module.weight)
    way = WayDown({module.weight: torch.tensor([[0.6, 0.0], [0.0, 0.8]])}, lambda_min=-2.0)
    offered = replace(VERDICT, evidence=Evidence(way))
    said = Perturb(scale=0.5, direction="lambda_min")(offered, sgd(module))
    length = 0.5 * usual_norm(torch.zeros(2, 2))
    assert torch.allclose(module.weight, length * torch.tensor([[0.6, 0.0], [0.0, 0.8]]))
    assert "λ_min = -2" in said


def test_perturb_moves_in_random_directions_without_negative_curvature():
    assert "no direction of negative curvature was found" in Perturb(direction="lambda_min")(VERDICT, sgd(net()))


def test_perturb_refuses_sharded_weights():
    class Shard(nn.Parameter):
        def to_local(self):
            return self

    with pytest.raises(LandscapeError, match="sharded"):
        Perturb()(VERDICT, torch.optim.SGD([Shard(torch.ones(2))], lr=0.1))


def test_every_learning_rate_in_the_groups_is_scaled():
    module = net()
    optimizer = torch.optim.Adam([
        {"params": module[0].parameters(), "lr": 1e-2},
        {"params": module[2].parameters(), "lr": torch.tensor(1e-3)},
    ])
    tensor = optimizer.param_groups[1]["lr"]
    torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=[0.1, 0.2], total_steps=10)
    before = [dict(group) for group in optimizer.param_groups]
    before[1]["lr"] = float(tensor)
    ScaleLearningRate(3)(VERDICT, optimizer)
    for old, group in zip(before, optimizer.param_groups, strict=True):
        for name in ("lr", "initial_lr", "max_lr", "min_lr"):
            assert float(group[name]) == pytest.approx(3 * float(old[name])), name
    assert optimizer.param_groups[1]["lr"] is tensor


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Perturb(scale=0), "scale must be a positive number, got 0"),
        (lambda: Perturb(scale=math.nan), "scale must be a positive number, got nan"),
        (lambda: Perturb(scale="0.1"), "scale must be a positive number, got '0.1'"),
        (lambda: Perturb(seed=1.5), "seed must be a whole number, got 1.5"),
        (lambda: ScaleLearningRate(None), "factor must be a positive number, got None"),
        (lambda: Perturb(direction="up"), "direction must be one of isotropic, lambda_min, got 'up'"),
        (lambda: Perturb(seed=-1), "seed must not be negative, got -1"),
        (lambda: ScaleLearningRate(-2), "factor must be a positive number, got -2"),
        (lambda: ScaleLearningRate(math.inf), "factor must be a positive number, got inf"),
        (lambda: LandscapeMonitor(remedies=Stop()), r"remedies must be a sequence.*got Stop\(\)"),
        (lambda: LandscapeMonitor(remedies=[Stop]), "a remedy must be a function.*got <class .*Stop"),
        (lambda: PlateauMonitor(remedies=["stop"]), "a remedy must be a function.*got 'stop'"),
    ],
)
def test_a_bad_argument_is_refused_with_its_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# Plateaus and alarms.


def alarm(step, since, cause=Cause.SADDLE_POINT):
    return replace(VERDICT, cause=cause, step=step, since=since)


def look(seen, step, *, verdict=None, since=None, level=1.0, divergence=None):
    """Return step, escape and end of every remedy outcome after one more check of a run in this state."""
    seen.step, seen.progress.since, seen.progress.divergence = step, since, divergence
    seen.progress.level = LossLevel(start=1.0, best=level, now=level)
    seen.verdicts += [] if verdict is None else [verdict]
    trainer = SimpleNamespace(world_size=1, should_stop=False, optimizers=[sgd(net())], lr_scheduler_configs=[])
    remedying = RemedyRunner([lambda verdict, optimizer: "did something"])
    remedying(LightningHost(trainer, net()), seen, None, Guard(), Reporter(None))
    return [(outcome.step, outcome.escaped, outcome.over) for outcome in seen.remedy_outcomes]


def test_remedies_are_applied_once_per_plateau():
    seen = RunState(1000)
    assert look(seen, 100, verdict=alarm(100, 20), since=20) == [(100, None, None)]
    assert look(seen, 120, since=20) == [(100, None, None)]
    assert look(seen, 140, verdict=alarm(140, 20, Cause.FLAT_REGION), since=20) == [(100, None, None)]
    assert look(seen, 300, level=0.5) == [(100, 300, None)]
    assert look(seen, 500, verdict=alarm(500, 420), since=420, level=0.5) == [(100, 300, None), (500, None, None)]


def test_a_loss_that_returns_to_the_level_of_the_plateau_has_not_escaped():
    seen = RunState(1000)
    look(seen, 100, verdict=alarm(100, 20), since=20)
    assert look(seen, 200, level=1.4) == [(100, None, None)]
    assert look(seen, 300, level=0.99) == [(100, None, None)]
    assert look(seen, 400, verdict=alarm(400, 310), since=310, level=0.99) == [(100, None, 400), (400, None, None)]


def test_remedies_are_not_applied_without_an_alarm():
    settled = replace(alarm(100, 20, Cause.SETTLED), stuck=False)
    assert look(RunState(1000), 100, verdict=settled, since=20) == []


def test_remedies_are_applied_to_a_divergence_and_a_loss_that_comes_back_has_escaped():
    seen = RunState(1000)
    gone = Divergence(step=150, finite=True, start=1.0, now=9.0)
    look(seen, 100, verdict=alarm(100, 20), since=20)
    diverged = alarm(160, 150, Cause.DIVERGED)
    assert look(seen, 160, verdict=diverged, divergence=gone, level=9.0) == [(100, None, 160), (160, None, None)]
    assert look(seen, 300, level=1.0) == [(100, None, 160), (160, 300, None)]


# In a run.


class Stuck(L.LightningModule):
    """A deep linear network next to the saddle at zero."""

    def __init__(self, schedule=None, dies_at=None):
        super().__init__()
        self.net = nn.Sequential(*[nn.Linear(4, 4, bias=False) for _ in range(3)])
        self.schedule, self.dies_at, self.rates = schedule, dies_at, []
        generator = torch.Generator().manual_seed(0)
        for weight in self.parameters():
            nn.init.normal_(weight, std=1e-3, generator=generator)

    def training_step(self, batch, batch_idx):
        if self.global_step == self.dies_at:
            raise InterruptedError
        self.rates.append(self.trainer.optimizers[0].param_groups[0]["lr"])
        generator = torch.Generator().manual_seed(self.global_step)
        inputs = torch.randn(16, 4, generator=generator)
        return nn.functional.mse_loss(self.net(inputs), inputs)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        if self.schedule is None:
            return optimizer
        return [optimizer], [{"scheduler": self.schedule(optimizer), "interval": "step"}]


def fit(tmp_path, monitor, module=None, ckpt_path=None, callbacks=(), **settings):
    module = Stuck() if module is None else module
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(
        **(quiet | {"max_steps": 500, "accelerator": "cpu", "default_root_dir": tmp_path} | settings),
        callbacks=[monitor, *callbacks],
    )
    trainer.fit(module, DataLoader(TensorDataset(torch.zeros(640, 1)), batch_size=16), ckpt_path=ckpt_path)
    return trainer, module


def test_without_remedies_training_is_bit_identical_to_training_without_a_monitor(tmp_path):
    _, alone = fit(tmp_path, L.Callback())
    with pytest.warns(match="LL2"):
        _, watched = fit(tmp_path, LandscapeMonitor(remedies=()))
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), watched.parameters(), strict=True))


@quiet_alarms
@pytest.mark.parametrize(
    ("make", "direction"),
    [(LandscapeMonitor, "lambda_min"), (PlateauMonitor, "lambda_min"), (PlateauMonitor, "isotropic")],
)
def test_a_perturbed_run_escapes_and_the_monitor_reports_the_step(tmp_path, make, direction, caplog):
    monitor = make(remedies=[Perturb(scale=0.8, direction=direction)])
    fit(tmp_path, monitor, logger=make is PlateauMonitor and CSVLogger(tmp_path))
    outcome = monitor.remedy_outcomes[0]
    assert outcome.step == monitor.verdicts[0].step < outcome.escaped
    assert ("smallest curvature" in outcome.said[0]) is (direction == "lambda_min")
    assert f"the run escaped at step {outcome.escaped}" in monitor.report
    first, second, *_ = (r.getMessage() for r in caplog.records if r.name == "lightning_landscape")
    assert first.endswith("it is not known yet whether the run escapes.")
    assert second.endswith(f"the run escaped at step {outcome.escaped}.")
    cards = sorted(tmp_path.rglob("remedies-*.md"))
    assert [card.read_text().strip() for card in cards[:2]] == ([first, second] if cards else [])
    assert bool(cards) is (make is PlateauMonitor)
    # The stored verdict does not contain the direction, which is as large as the model.
    assert monitor.verdict.evidence.get(WayDown) is None


@quiet_alarms
def test_each_remedy_is_called_once_per_alarm_with_the_verdict_and_the_optimizer(tmp_path):
    calls = []

    def watches(verdict, optimizer):
        calls.append((verdict, optimizer))

    monitor = LandscapeMonitor(remedies=[watches])
    trainer, _ = fit(tmp_path, monitor)
    ((verdict, optimizer),) = calls
    assert verdict == monitor.verdicts[0]
    assert verdict.stuck
    assert optimizer is trainer.optimizers[0]
    assert monitor.remedy_outcomes[0].said == ()
    assert "watches" not in monitor.report


@quiet_alarms
def test_the_report_says_that_a_remedy_did_not_help(tmp_path):
    monitor = LandscapeMonitor(remedies=[lambda verdict, optimizer: "wished it well"])
    fit(tmp_path, monitor)
    assert monitor.remedy_outcomes[0].open
    assert any(line.endswith("; the run has not escaped by step 499.") for line in monitor.report.splitlines())
    assert "wished it well (remedy: the lambda at line " in monitor.report


@quiet_alarms
def test_stop_stops_the_run_at_the_alarm(tmp_path):
    monitor = LandscapeMonitor(remedies=[Stop()])
    trainer, _ = fit(tmp_path, monitor)
    assert trainer.global_step == monitor.verdict.step + 1 < 500
    assert re.search(r"asked the trainer to stop \(\w+\) \(remedy: Stop\(\)\)\.$", monitor.report, re.MULTILINE)


def halve(verdict, optimizer, by=2):
    return "halved the learning rate"


class Halving:
    def __repr__(self):
        return "Halving(by=2)"

    def __call__(self, verdict, optimizer):
        return " Halved the learning rate,\nwhatever it was. "


@quiet_alarms
@pytest.mark.parametrize(
    ("remedy", "sentence"),
    [
        (halve, r"halved the learning rate \(remedy: halve\)"),
        (partial(halve, by=2), r"halved the learning rate \(remedy: halve\(by=2\)\)"),
        (Halving(), r"Halved the learning rate, whatever it was \(remedy: Halving\(by=2\)\)"),
        (
            lambda verdict, optimizer: "halved it",
            r"halved it \(remedy: the lambda at line \d+ of test_remedies.py\)",
        ),
        (wraps(halve)(lambda verdict, optimizer: "halve was here"), "halve was here"),
    ],
)
def test_the_outcome_names_the_remedy_once(tmp_path, remedy, sentence):
    monitor = PlateauMonitor(remedies=[remedy])
    fit(tmp_path, monitor)
    told = monitor.remedy_outcomes[0].sentence(499)
    assert re.fullmatch(rf"step \d+ \(\w+\): {sentence}; the run has not escaped by step 499\.", told), told


def test_a_remedy_of_several_optimizers_is_named_once():
    rates = iter((0.1, 0.2))
    trainer = SimpleNamespace(optimizers=[sgd(net()), sgd(net())], lr_scheduler_configs=[], should_stop=False)
    assert _applied(halve, VERDICT, LightningHost(trainer, None), Guard()) == [
        "halved the learning rate (remedy: halve)"
    ]
    (said,) = _applied(
        lambda verdict, optimizer: f"saw the rate {next(rates)}", VERDICT, LightningHost(trainer, None), Guard()
    )
    assert said.startswith("saw the rate 0.1 and saw the rate 0.2 (remedy: the lambda at line ")


def test_remedies_are_not_applied_to_a_healthy_run(tmp_path):
    module = Stuck()
    for weight in module.parameters():
        nn.init.eye_(weight).data.mul_(0.5)
    monitor = LandscapeMonitor(remedies=[Perturb(), Stop()])
    trainer, _ = fit(tmp_path, monitor, module, max_steps=200)
    assert trainer.global_step == 200
    assert monitor.remedy_outcomes == ()


@quiet_alarms
def test_remedies_are_not_applied_after_the_last_step(tmp_path):
    def alarm(steps, *remedies):
        monitor = PlateauMonitor(remedies=remedies)
        return monitor, fit(tmp_path, monitor, max_steps=steps)[1]

    def last_look_alarms(steps):
        verdict = alarm(steps)[0].verdict
        return verdict is not None and verdict.step == steps - 1

    # The run is so short that its first alarm comes with its last check.
    steps = next(steps for steps in range(10, 100, 10) if last_look_alarms(steps))
    (_, alone), (monitor, treated) = alarm(steps), alarm(steps, Perturb())
    assert monitor.remedy_outcomes == ()
    assert all(torch.equal(a, b) for a, b in zip(alone.parameters(), treated.parameters(), strict=True))


@quiet_alarms
def test_a_remedy_that_fails_is_reported_and_the_run_continues(tmp_path):
    def broken(verdict, optimizer):
        raise RuntimeError("no such luck")

    monitor = LandscapeMonitor(remedies=[broken, lambda verdict, optimizer: "went on"])
    with pytest.warns(ProbeFailedWarning, match="broken failed and training goes on: RuntimeError: no such luck"):
        trainer, _ = fit(tmp_path, monitor)
    assert trainer.global_step == 500
    assert len(monitor.remedy_outcomes[0].said) == 1


def in_sequence(optimizer):
    parts = [schedulers.LambdaLR(optimizer, lambda step: 1 - step / 500) for _ in range(2)]
    return schedulers.SequentialLR(optimizer, parts, milestones=[70])


SCHEDULES = {
    "LambdaLR": lambda optimizer: schedulers.LambdaLR(optimizer, lambda step: 1 - step / 200),
    "StepLR": lambda optimizer: schedulers.StepLR(optimizer, 30, gamma=0.7),
    "CosineAnnealingLR": lambda optimizer: schedulers.CosineAnnealingLR(optimizer, 200),
    "CosineAnnealingWarmRestarts": lambda optimizer: schedulers.CosineAnnealingWarmRestarts(optimizer, 70),
    "CyclicLR": lambda optimizer: schedulers.CyclicLR(optimizer, 0.1, 0.12, step_size_up=2, cycle_momentum=False),
    "SequentialLR": in_sequence,
}


@quiet_alarms
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_a_scheduler_does_not_undo_the_scaling_of_the_learning_rate(tmp_path, schedule):
    monitor = PlateauMonitor(remedies=[ScaleLearningRate(3)])
    _, plain = fit(tmp_path, PlateauMonitor(), Stuck(schedule), max_steps=100)
    _, scaled = fit(tmp_path, monitor, Stuck(schedule), max_steps=100)
    step = monitor.remedy_outcomes[0].step + 1
    assert scaled.rates[:step] == plain.rates[:step]
    # The scheduler has already set the rate of the next step, so this rate is the first that is scaled.
    assert scaled.rates[step:] == pytest.approx([3 * rate for rate in plain.rates[step:]], rel=1e-6)
    assert len(set(plain.rates[step:])) > 1


@quiet_alarms
@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended before the epoch ended")
def test_remedies_are_not_applied_twice_in_a_resumed_run_and_it_ends_as_the_straight_run(tmp_path):
    def run(module, monitor, ckpt_path=None):
        saves = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=60, save_top_k=-1)
        return fit(tmp_path, monitor, module, ckpt_path, [saves], enable_checkpointing=True)

    whole, half, rest = (LandscapeMonitor(remedies=[Perturb(scale=0.8)]) for _ in range(3))
    _, straight = run(Stuck(), whole)
    with pytest.raises(InterruptedError):
        run(Stuck(dies_at=65), half)
    assert half.remedy_outcomes[0].open
    _, resumed = run(Stuck(), rest, tmp_path / "step=60.ckpt")
    assert rest.remedy_outcomes == whole.remedy_outcomes
    assert all(torch.equal(a, b) for a, b in zip(straight.parameters(), resumed.parameters(), strict=True))


def test_the_sentence_of_an_outcome_says_whether_the_run_escaped():
    outcome = RemedyOutcome(step=5, since=0, cause="saddle_point", level=1.0, said=("Perturb moved",))
    assert outcome.open
    assert outcome.sentence(5) == "step 5 (saddle_point): Perturb moved; it is not known yet whether the run escapes."
    assert replace(outcome, escaped=9).sentence(20).endswith("; the run escaped at step 9.")
    assert replace(outcome, over=9).sentence(20).endswith("; the run has not escaped by step 9.")
    assert replace(outcome, over=5).sentence(20).endswith("Perturb moved.")
