"""chemprop: its models are LightningModules, so the monitor goes to `callbacks=` of your `Trainer`.

``pip install chemprop``
"""

import random

import lightning as L
from chemprop import data, models, nn
from rdkit.Chem import Crippen, MolFromSmiles
from torch.nn import Module

from lightning_landscape import LandscapeMonitor, last_report

PARTS = ("C", "CC", "C(C)", "O", "N", "C(=O)", "C(O)", "C(F)", "c1ccc(cc1)", "S", "C(Cl)", "C=C")


def molecules(count: int = 640) -> list[data.MoleculeDatapoint]:
    """Return molecules that are chains of random parts, with their computed solubility in fat."""
    chains = ["C" + "".join(random.choices(PARTS, k=random.randint(3, 8))) + "C" for _ in range(count)]
    return [data.MoleculeDatapoint.from_smi(chain, [Crippen.MolLogP(MolFromSmiles(chain))]) for chain in chains]


def train(callbacks, rate: float = 1e-3, steps: int = 300) -> Module:
    training = data.MoleculeDataset(molecules())
    training.normalize_targets()
    model = models.MPNN(
        nn.BondMessagePassing(d_h=64), nn.MeanAggregation(), nn.RegressionFFN(input_dim=64, hidden_dim=64),
        init_lr=rate / 10, max_lr=rate, final_lr=rate / 10,
    )  # fmt: skip
    trainer = L.Trainer(
        max_steps=steps, max_epochs=15, callbacks=callbacks, accelerator="cpu", logger=False,
        enable_checkpointing=False,
    )  # fmt: skip
    trainer.fit(model, data.build_dataloader(training, batch_size=32))
    return model


if __name__ == "__main__":
    train([LandscapeMonitor()])
    print(last_report())
