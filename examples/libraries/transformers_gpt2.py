"""transformers: a model in a `LightningModule` of your own, so the monitor goes to `callbacks=` of the `Trainer`.

``pip install transformers lightning``. The `Trainer` of transformers itself is not a Trainer of Lightning.
"""

import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import GPT2Config, GPT2LMHeadModel, get_linear_schedule_with_warmup

from lightning_landscape import LandscapeMonitor, last_report

WORDS = 50


def sentences(count: int = 1024, length: int = 24) -> torch.Tensor:
    """Return sequences of words in which each word is followed by one of three, all equally likely."""
    followers = torch.randint(WORDS, (WORDS, 3))
    words = [torch.randint(WORDS, (count,))]
    for _ in range(length - 1):
        words.append(followers[words[-1], torch.randint(3, (count,))])
    return torch.stack(words, 1)


class LanguageModel(L.LightningModule):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.model = GPT2LMHeadModel(GPT2Config(vocab_size=WORDS, n_positions=32, n_embd=64, n_layer=2, n_head=2))
        self.rate = rate

    def training_step(self, batch, batch_idx):
        loss = self.model(input_ids=batch, labels=batch).loss
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.rate)
        steps = self.trainer.estimated_stepping_batches
        schedule = get_linear_schedule_with_warmup(optimizer, num_warmup_steps=20, num_training_steps=steps)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def train(callbacks, rate: float = 1e-3, steps: int = 400) -> nn.Module:
    model, loader = LanguageModel(rate), DataLoader(sentences(), batch_size=16, shuffle=True)
    trainer = L.Trainer(
        max_steps=steps, callbacks=callbacks, accelerator="cpu", logger=False, enable_checkpointing=False
    )
    trainer.fit(model, loader)
    return model


if __name__ == "__main__":
    train([LandscapeMonitor()])
    print(last_report())
