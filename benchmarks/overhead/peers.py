"""What else people hang into a run, each as one callback with the tool's own defaults.

    pip install --no-deps torchmortem==0.1.1 neuraldbg==1.3.2 cockpit-for-pytorch==1.0.2 backpack-for-pytorch==1.7.1
    pip install -c constraints.txt jinja2 plotly psutil einops unfoldNd json-tricks pandas scipy seaborn "setuptools<81"

Without ``--no-deps`` some of them would replace torch. Where a tool is missing or does not run, its row says so.
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
    """The recipe of Lightning's own documentation."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Log the norm of every gradient."""
        pl_module.log_dict(grad_norm(pl_module, norm_type=2))


class NormsOfComposer(L.Callback):
    """What Composer's OptimizerMonitor shows of AdamW every ten batches: norms of gradients, moments and parameters."""

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Log a few numbers for each parameter, and the norm of the whole gradient."""
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
    """`wandb.watch`, in a run that stays offline."""

    def __init__(self, log_freq: int) -> None:
        self.log_freq = log_freq

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin a run and watch the gradients."""
        import wandb

        settings = wandb.Settings(silent=True)
        # Its hooks write to the process's only run.
        self.run = wandb.run or wandb.init(
            mode="offline", dir=tempfile.mkdtemp(), project="overhead", settings=settings
        )
        self.run.watch(pl_module, log="gradients", log_freq=self.log_freq)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Send what was collected, where it was."""
        if (batch_idx + 1) % self.log_freq == 0:
            self.run.log({})

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the hooks away."""
        self.run.unwatch(pl_module)


class Torchmortem(L.Callback):
    """`torchmortem.Autopsy`, called as its README does."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Attach it."""
        from torchmortem import Autopsy

        self.autopsy = Autopsy(pl_module, trainer.optimizers[0])
        self.autopsy.attach()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Tell it the loss."""
        self.autopsy.step(loss=outputs["loss"].item())

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Let it go, without its analysis."""
        for collector in self.autopsy._collectors:
            collector.detach()
        self.autopsy._attached = False


class NeuralDebugger(L.Callback):
    """`neuraldbg.NeuralDbg`, called as its README does."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Attach it."""
        from neuraldbg import NeuralDbg

        self.debugger = NeuralDbg(pl_module)
        self.debugger.__enter__()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Tell it the step and the loss."""
        self.debugger.step = batch_idx
        self.debugger.record_loss(outputs["loss"].item())

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Let it go."""
        self.debugger.__exit__(None, None, None)


class CockpitEconomy(L.Callback):
    """Cockpit's cheapest configuration, around every backward pass as its documentation does."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Extend the network by BackPACK."""
        from backpack import extend
        from cockpit import Cockpit
        from cockpit.utils.configuration import configuration

        extend(pl_module.net)
        extend(pl_module.criterion)
        self.single = torch.nn.CrossEntropyLoss(reduction="none")
        self.cockpit = Cockpit(pl_module.parameters(), quantities=configuration("economy"))

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """It wants the losses of the single samples."""
        self.step, self.size = batch_idx, len(batch[1])
        self.losses = self.single(pl_module.net(batch[0]), batch[1])

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Enter it."""
        known = {"batch_size": self.size, "individual_losses": self.losses, "loss": loss}
        self.context = self.cockpit(self.step, info={**known, "optimizer": trainer.optimizers[0]})
        self.context.__enter__()

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        """Leave it."""
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
"""several times the step itself: fewer of them will do"""
