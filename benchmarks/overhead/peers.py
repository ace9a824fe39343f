"""Callbacks that run other tools with their own defaults, and those of this library.

    pip install --no-deps torchmortem==0.1.1 neuraldbg==1.3.2 cockpit-for-pytorch==1.0.2 backpack-for-pytorch==1.7.1
    pip install -c constraints.txt jinja2 plotly psutil einops unfoldNd json-tricks pandas scipy seaborn "setuptools<81"

These commands install the tools; without ``--no-deps`` some of them would replace torch. If a tool is missing or does
not run, its row in the table says so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities import grad_norm

from lightning_landscape import LandscapeMonitor


class NormsOfLightning(L.Callback):
    """Logs gradient norms as Lightning's documentation recommends."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Log the norm of every gradient, and the total norm."""
        pl_module.log_dict(grad_norm(pl_module, norm_type=2))


class NormsOfComposer(L.Callback):
    """Logs norms of gradients, moments and parameters every ten batches, as Composer does for AdamW."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Log three norms for each parameter, and the norm of the whole gradient."""
        if (trainer.global_step + 1) % 10:
            return
        values, total = {}, 0.0
        for name, parameter in pl_module.named_parameters():
            state = optimizer.state[parameter]
            parts = {"grad": parameter.grad, "param": parameter, "moment": state.get("exp_avg")}
            for kind, tensor in parts.items():
                if tensor is not None:
                    values[f"l2_norm/{kind}/{name}"] = float(torch.linalg.vector_norm(tensor.detach()))
            total += values.get(f"l2_norm/grad/{name}", 0.0) ** 2
        for logger in trainer.loggers:
            logger.log_metrics({**values, "l2_norm/grad/global": total**0.5}, step=trainer.global_step)


class WatchOfWandb(L.Callback):
    """Calls `wandb.watch` in an offline run."""

    def __init__(self, log_freq: int) -> None:
        self.log_freq = log_freq

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Start a run of W&B and watch the gradients."""
        import wandb

        settings = wandb.Settings(silent=True)
        # The hooks of `watch` write to the only run of the process.
        self.run = wandb.run or wandb.init(
            mode="offline", dir=tempfile.mkdtemp(), project="overhead", settings=settings
        )
        self.run.watch(pl_module, log="gradients", log_freq=self.log_freq)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log an empty record every `log_freq` steps, with which W&B sends its histograms."""
        if (batch_idx + 1) % self.log_freq == 0:
            self.run.log({})

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Remove the hooks."""
        self.run.unwatch(pl_module)


class Torchmortem(L.Callback):
    """Calls `torchmortem.Autopsy` as its README does."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Attach the tool."""
        from torchmortem import Autopsy

        self.autopsy = Autopsy(pl_module, trainer.optimizers[0])
        self.autopsy.attach()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Pass the loss to the tool."""
        self.autopsy.step(loss=outputs["loss"].item())

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Detach the tool, without the analysis that it prints at the end."""
        for collector in self.autopsy._collectors:
            collector.detach()
        self.autopsy._attached = False


class NeuralDebugger(L.Callback):
    """Calls `neuraldbg.NeuralDbg` as its README does."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Attach the tool."""
        from neuraldbg import NeuralDbg

        self.debugger = NeuralDbg(pl_module)
        self.debugger.__enter__()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Pass the step and the loss to the tool."""
        self.debugger.step = batch_idx
        self.debugger.record_loss(outputs["loss"].item())

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Detach the tool."""
        self.debugger.__exit__(None, None, None)


class CockpitEconomy(L.Callback):
    """Runs Cockpit's cheapest configuration around every backward pass, as its documentation does."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Extend the network by BackPACK, and create the cockpit."""
        from backpack import extend
        from cockpit import Cockpit
        from cockpit.utils.configuration import configuration

        extend(pl_module.net)
        extend(pl_module.criterion)
        self.single = torch.nn.CrossEntropyLoss(reduction="none")
        self.cockpit = Cockpit(pl_module.parameters(), quantities=configuration("economy"))

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Compute the loss of each sample, which Cockpit needs."""
        self.step, self.size = batch_idx, len(batch[1])
        self.losses = self.single(pl_module.net(batch[0]), batch[1])

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Enter the context of the cockpit."""
        known = {"batch_size": self.size, "individual_losses": self.losses, "loss": loss}
        self.context = self.cockpit(self.step, info={**known, "optimizer": trainer.optimizers[0]})
        self.context.__enter__()

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Leave the context of the cockpit, which computes its quantities."""
        self.context.__exit__(None, None, None)


BARE, EMPTY, WATCHING, DEFAULT = "bare Trainer", "empty callback", "LandscapeMonitor(probes=())", "LandscapeMonitor()"
OURS: dict[str, Callable[[], list[L.Callback]]] = {
    BARE: list,
    EMPTY: lambda: [L.Callback()],
    WATCHING: lambda: [LandscapeMonitor(probes=())],
    DEFAULT: lambda: [LandscapeMonitor()],
}
PEERS: dict[str, Callable[[], list[L.Callback]]] = {
    "like Composer's OptimizerMonitor": lambda: [NormsOfComposer()],
    "wandb.watch": lambda: [WatchOfWandb(1000)],
    "wandb.watch(log_freq=10)": lambda: [WatchOfWandb(10)],
}
HEAVY: dict[str, Callable[[], list[L.Callback]]] = {
    "grad_norm + log_dict": lambda: [NormsOfLightning()],
    "torchmortem": lambda: [Torchmortem()],
    "neuraldbg": lambda: [NeuralDebugger()],
    "Cockpit, economy": lambda: [CockpitEconomy()],
}
"""callbacks that take several times as long as the step, and are timed for fewer steps"""
