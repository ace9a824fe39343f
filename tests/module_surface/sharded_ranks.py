"""Train on two ranks with weights that FSDP2 shards, and write the records of their steps; run by its test."""

import json
import sys
import warnings
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import nn
from torch.nn import functional as F

from lightning_landscape.recording.intervals import Intervals
from lightning_landscape.recording.recorder import StepRecorder
from lightning_landscape.trainer.lightning_host import LightningHost
from tests.ranks import TIMEOUT, exit_process


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 3))

    def training_step(self, batch, batch_idx):
        return F.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Sharded(Classifier):
    def configure_model(self):
        from torch.distributed.fsdp import fully_shard

        for layer in self.net:
            if isinstance(layer, nn.Linear):
                fully_shard(layer, mesh=self.device_mesh["data_parallel"])


class Records(L.Callback):
    def __init__(self):
        self.recorder = StepRecorder(norm_every_n_steps=1, updates_every=2)

    def on_train_start(self, trainer, pl_module):
        self.recorder.attach(LightningHost(trainer, pl_module), Intervals())

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.recorder.before_step(optimizer)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.recorder.end_batch(outputs)


class Batches:
    """Batches that are equal on all ranks, so that two ranks take the same steps as one."""

    def __iter__(self):
        generator = torch.Generator().manual_seed(0)
        for _ in range(4):
            yield torch.randn(8, 8, generator=generator), torch.randint(0, 3, (8,), generator=generator)


def records_of(module, **settings):
    records = Records()
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    trainer = L.Trainer(max_epochs=1, accelerator="cpu", callbacks=[records], **quiet, **settings)
    trainer.fit(module, Batches())
    return trainer.global_rank, [list(record) for record in records.recorder.drain()]


def main(folder: Path) -> None:
    strategy = ModelParallelStrategy(
        data_parallel_size=2,
        tensor_parallel_size=1,
        process_group_backend="gloo",
        timeout=TIMEOUT,
    )
    rank, records = records_of(Sharded(), strategy=strategy, devices=2)
    (folder / f"{rank}.json").write_text(json.dumps(records))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
    exit_process()
