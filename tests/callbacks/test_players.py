"""Real runs with several optimizers: healthy ones stay silent, and one that does not move is named, whichever it is."""

from __future__ import annotations

import itertools
import warnings

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape import LandscapeMonitor
from lightning_landscape.reporting.messages import NOT_JUDGED

pytestmark = pytest.mark.slow

BATCHES = 120


def images():
    """Return 8 x 8 images, each with a bright spot in one of four places."""
    g = torch.Generator().manual_seed(0)
    place = torch.randint(4, (512,), generator=g)
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    at = torch.stack([2 + 4.0 * (place % 2), 2 + 4.0 * (place // 2)]) + 0.3 * torch.randn(2, 512, generator=g)
    squared = (x[None] - at[0][:, None, None]) ** 2 + (y[None] - at[1][:, None, None]) ** 2
    return 2 * torch.exp(-squared / 3)[:, None] - 1


class Manual(L.LightningModule):
    """A module with two optimizers, at these rates, and manual optimization."""

    optimizer = staticmethod(lambda parameters, rate: torch.optim.Adam(parameters, rate, (0.5, 0.999)))

    def __init__(self, *rates):
        super().__init__()
        self.automatic_optimization = False
        self.rates = rates

    def step_with(self, optimizer, loss):
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def configure_optimizers(self):
        return [self.optimizer(p, rate) for p, rate in zip(self.trained(), self.rates, strict=True)]


class ConvolutionalGAN(Manual):
    def __init__(self, *rates):
        super().__init__(*rates)
        self.generator = nn.Sequential(
            nn.ConvTranspose2d(8, 12, 4), nn.BatchNorm2d(12), nn.ReLU(), nn.ConvTranspose2d(12, 1, 4, 2, 1), nn.Tanh()
        )
        self.critic = nn.Sequential(
            nn.Conv2d(1, 12, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(12, 12, 3, 1, 1), nn.LeakyReLU(0.2), nn.Flatten(),
            nn.Linear(192, 1),
        )  # fmt: skip

    def trained(self):
        return self.generator.parameters(), self.critic.parameters()

    def fake(self, real):
        return self.generator(torch.randn(len(real), 8, 1, 1))

    def training_step(self, batch, batch_idx):
        of_generator, of_critic = self.optimizers()
        fake = self.fake(batch[0])
        real_or_fake = F.softplus(-self.critic(batch[0])) + F.softplus(self.critic(fake.detach()))
        self.step_with(of_critic, real_or_fake.mean())
        self.step_with(of_generator, F.softplus(-self.critic(fake)).mean())


class WassersteinGAN(ConvolutionalGAN):
    """The critic takes two steps at every batch, and the generator one at every second batch."""

    optimizer = torch.optim.RMSprop

    def training_step(self, batch, batch_idx):
        of_generator, of_critic = self.optimizers()
        fake = self.fake(batch[0])
        for _ in range(2):
            self.step_with(of_critic, self.critic(fake.detach()).mean() - self.critic(batch[0]).mean())
            with torch.no_grad():
                for weight in self.critic.parameters():
                    weight.clamp_(-0.1, 0.1)
        if batch_idx % 2 == 0:
            self.step_with(of_generator, -self.critic(fake).mean())


class CycleGAN(Manual):
    def __init__(self, *rates):
        super().__init__(*rates)
        for name, last in {"to_dark": [nn.Tanh()], "to_light": [nn.Tanh()], "is_light": [], "is_dark": []}.items():
            layers = nn.Conv2d(1, 8, 3, 1, 1), nn.LeakyReLU(0.2), nn.Conv2d(8, 1, 3, 1, 1)
            self.add_module(name, nn.Sequential(*layers, *last))

    def trained(self):
        makers, judges = (self.to_dark, self.to_light), (self.is_light, self.is_dark)
        return [itertools.chain(*(net.parameters() for net in nets)) for nets in (makers, judges)]

    def training_step(self, batch, batch_idx):
        light, dark = batch[0], -batch[0].flip(3)
        of_makers, of_judges = self.optimizers()
        self.toggle_optimizer(of_makers)
        made_dark, made_light = self.to_dark(light), self.to_light(dark)
        cycles = F.l1_loss(self.to_light(made_dark), light) + F.l1_loss(self.to_dark(made_light), dark)
        fooled = ((self.is_dark(made_dark) - 1) ** 2).mean() + ((self.is_light(made_light) - 1) ** 2).mean()
        self.step_with(of_makers, fooled + 10 * cycles)
        self.untoggle_optimizer(of_makers)
        self.toggle_optimizer(of_judges)
        real = ((self.is_dark(dark) - 1) ** 2).mean() + ((self.is_light(light) - 1) ** 2).mean()
        made = (self.is_dark(made_dark.detach()) ** 2).mean() + (self.is_light(made_light.detach()) ** 2).mean()
        self.step_with(of_judges, (real + made) / 2)
        self.untoggle_optimizer(of_judges)


class ActorCritic(Manual):
    """Chooses the largest of three numbers: a reward of 1 with noise for the right choice."""

    def __init__(self, *rates):
        super().__init__(*rates)
        self.actor, self.critic = (
            nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, outputs)) for outputs in (3, 1)
        )

    def trained(self):
        return self.actor.parameters(), self.critic.parameters()

    def training_step(self, batch, batch_idx):
        state = torch.randn(64, 4)
        choices = torch.distributions.Categorical(logits=self.actor(state))
        action = choices.sample()
        reward = (action == state[:, :3].argmax(1)).float() + 0.3 * torch.randn(64)
        value = self.critic(state).squeeze(1)
        of_actor, of_critic = self.optimizers()
        advantage = (reward - value).detach()
        entropy = choices.entropy().mean()
        self.step_with(of_actor, -(choices.log_prob(action) * advantage).mean() - 0.01 * entropy)
        self.step_with(of_critic, F.mse_loss(value, reward))


class VariationalGAN(Manual):
    """An autoencoder whose critic begins to learn in the second third of the run, as that of a VQ-GAN does."""

    def __init__(self, *rates):
        super().__init__(*rates)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 48), nn.ReLU(), nn.Linear(48, 64), nn.Tanh())
        self.critic = nn.Sequential(nn.Linear(64, 32), nn.LeakyReLU(0.2), nn.Linear(32, 1))

    def trained(self):
        return [*self.encoder.parameters(), *self.decoder.parameters()], self.critic.parameters()

    def training_step(self, batch, batch_idx):
        x, on = batch[0].flatten(1), float(self.trainer.current_epoch >= 5)
        mean, log_variance = self.encoder(batch[0]).chunk(2, 1)
        made = self.decoder(mean + (0.5 * log_variance).exp() * torch.randn_like(mean))
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        of_coder, of_critic = self.optimizers()
        fooled = on * F.softplus(-self.critic(made)).mean()
        self.step_with(of_coder, 10 * F.mse_loss(made, x) + 0.01 * divergence + 0.1 * fooled)
        judged = F.softplus(-self.critic(x)) + F.softplus(self.critic(made.detach()))
        self.step_with(of_critic, on * judged.mean())


USUAL = {
    ConvolutionalGAN: (1e-3, 1e-3),
    WassersteinGAN: (5e-5, 5e-5),
    CycleGAN: (1e-3, 1e-3),
    ActorCritic: (1e-3, 3e-3),
    VariationalGAN: (1e-3, 1e-3),
}
NETWORKS = {
    ConvolutionalGAN: ("(`generator`)", "(`critic`)"),
    WassersteinGAN: ("(`generator`)", "(`critic`)"),
    CycleGAN: ("(`to_dark`, `to_light`)", "(`is_light`, `is_dark`)"),
    ActorCritic: ("(`actor`)", "(`critic`)"),
    VariationalGAN: ("(`encoder`, `decoder`)", "(`critic`)"),
}


def fit(kind, rates, *callbacks, monitor=None, batches=BATCHES, **settings):
    """Return the module, its monitor, and our warnings, after a fit from the same random numbers in each call."""
    torch.manual_seed(0)
    module, monitor = kind(*rates), LandscapeMonitor() if monitor is None else monitor
    trainer = L.Trainer(
        max_epochs=batches // 8, accelerator="cpu", logger=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[monitor, *callbacks] if monitor else [*callbacks],
        enable_checkpointing=bool(callbacks),
    )  # fmt: skip
    data = DataLoader(TensorDataset(images()), batch_size=64, shuffle=True)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer.fit(module, data, **settings)
    return module, monitor, [str(w.message) for w in caught if str(w.message).startswith("[LL")]


@pytest.mark.parametrize("kind", USUAL)
def test_a_healthy_run_is_silent_and_its_report_gives_the_course_of_each_optimizer(kind):
    _, monitor, warned = fit(kind, USUAL[kind])
    assert (monitor.verdicts, warned) == ((), [])
    assert "healthy" not in monitor.report
    notes = monitor.report.to_dict()["notes"]
    assert notes.count(NOT_JUDGED) == 1
    lines = [note for note in notes if note.startswith("optimizer ")]
    assert [networks in line for networks, line in zip(NETWORKS[kind], lines, strict=True)] == [True, True]
    assert all("its loss went from" in line and "its gradient norm" in line for line in lines)


@pytest.mark.parametrize("still", [(0,), (1,), (0, 1)], ids=["first", "second", "both"])
@pytest.mark.parametrize("kind", [ConvolutionalGAN, WassersteinGAN, CycleGAN, ActorCritic])
def test_a_rate_of_1e_minus_7_is_found_and_named(kind, still):
    rates = [1e-7 if i in still else rate for i, rate in enumerate(USUAL[kind])]
    _, monitor, warned = fit(kind, rates)
    assert [verdict.code for verdict in monitor.verdicts] == ["LL204 optimizer-stands-still"]
    (reason,) = (verdict.reason for verdict in monitor.verdicts)
    assert [f"{networks} is" in reason or f"{networks} and" in reason for networks in NETWORKS[kind]][still[0]]
    assert len(warned) == 1
    course = monitor.report.document["course"]
    assert course["steps"] == course["horizon"] == BATCHES
    assert "not fallen" not in monitor.report.to_markdown()
    assert monitor.report.splitlines()[0].endswith("1 alarm was raised.")
    assert NOT_JUDGED in monitor.report


def test_the_course_of_a_resumed_run_is_that_of_a_straight_one(tmp_path):
    saver = ModelCheckpoint(tmp_path, every_n_epochs=7, save_top_k=-1, filename="{epoch}")
    straight = fit(ConvolutionalGAN, (1e-3, 1e-7), saver)[1]
    resumed = fit(ConvolutionalGAN, (1e-3, 1e-7), saver, ckpt_path=tmp_path / "epoch=6.ckpt")[1]
    assert resumed.verdicts == straight.verdicts
    ours, theirs = (monitor._state.of_players.players for monitor in (resumed, straight))
    assert [player.steps for player in ours] == [player.steps for player in theirs] == [BATCHES, BATCHES]
    assert [player.travel for player in ours] == pytest.approx([player.travel for player in theirs], rel=0.5)


def test_the_weights_of_all_networks_are_the_same_to_the_bit_without_the_monitor():
    watched, plain = (fit(CycleGAN, USUAL[CycleGAN], monitor=monitor)[0] for monitor in (None, False))
    pairs = zip(watched.parameters(), plain.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in pairs)


def test_the_loss_of_an_optimizer_is_what_was_differentiated_before_its_step():
    class Constants(Manual):
        def __init__(self):
            super().__init__(0.0, 0.0)
            self.one, self.two = nn.Linear(1, 1), nn.Linear(1, 1)

        def trained(self):
            return self.one.parameters(), self.two.parameters()

        def training_step(self, batch, batch_idx):
            for optimizer, net, loss in zip(self.optimizers(), (self.one, self.two), (3.0, 5.0), strict=True):
                self.step_with(optimizer, net(torch.zeros(1, 1)).sum() * 0 + loss)

    monitor = fit(lambda *rates: Constants(), ())[1]
    assert [player.loss_now for player in monitor._state.of_players.players] == [3.0, 5.0]
