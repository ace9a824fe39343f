"""diffusers: its networks and schedulers in a `LightningModule` of your own, so the monitor goes to `callbacks=`.

``pip install diffusers lightning``
"""

import lightning as L
import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import nn
from torch.utils.data import DataLoader

from lightning_landscape import LandscapeMonitor, last_report


def pictures(count: int = 512, size: int = 8) -> torch.Tensor:
    """Return pictures of waves of one length in all directions."""
    direction, phase = 2 * torch.pi * torch.rand(2, count, 1, 1)
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.sin(rows * direction.cos() + columns * direction.sin() + phase)[:, None]


class Denoiser(L.LightningModule):
    def __init__(self, rate: float) -> None:
        super().__init__()
        blocks = {"down_block_types": 2 * ("DownBlock2D",), "up_block_types": 2 * ("UpBlock2D",)}
        self.net = UNet2DModel(
            sample_size=8, in_channels=1, out_channels=1, block_out_channels=(8, 16), layers_per_block=1,
            norm_num_groups=4, **blocks,
        )  # fmt: skip
        self.scheduler = DDPMScheduler(num_train_timesteps=100)
        self.rate = rate

    def training_step(self, batch, batch_idx):
        noise, steps = torch.randn_like(batch), torch.randint(100, (len(batch),))
        loss = nn.functional.mse_loss(self.net(self.scheduler.add_noise(batch, noise, steps), steps).sample, noise)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=self.rate)


def train(callbacks, rate: float = 1e-3, steps: int = 400) -> nn.Module:
    model, loader = Denoiser(rate), DataLoader(pictures(), batch_size=16, shuffle=True)
    trainer = L.Trainer(
        max_steps=steps, callbacks=callbacks, accelerator="cpu", logger=False, enable_checkpointing=False
    )
    trainer.fit(model, loader)
    return model


if __name__ == "__main__":
    train([LandscapeMonitor()])
    print(last_report())
