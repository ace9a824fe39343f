"""scvi-tools: `model.train` makes the `Trainer` and passes further arguments on to it, so `callbacks=` goes to `train`.

``pip install scvi-tools``. Judged is the training loss, the negative evidence lower bound.
"""

import numpy as np
import scvi
from anndata import AnnData
from torch import nn

from lightning_landscape import LandscapeMonitor, last_report


def cells(count: int = 1280, genes: int = 100, kinds: int = 5) -> AnnData:
    """Return counts of genes in cells of several kinds."""
    rates = np.random.gamma(1.0, 3.0, size=(kinds, genes))
    return AnnData(np.random.poisson(rates[np.random.randint(kinds, size=count)]).astype(np.float32))


def train(callbacks, rate: float = 1e-3, steps: int = 400) -> nn.Module:
    scvi.settings.seed = 0  # else each call of `train` shuffles the cells differently
    table = cells()
    scvi.model.SCVI.setup_anndata(table)
    model = scvi.model.SCVI(table, n_hidden=64, n_latent=5)
    model.train(
        max_epochs=1000, max_steps=steps, batch_size=128, train_size=1.0, plan_kwargs={"lr": rate},
        callbacks=callbacks, accelerator="cpu", logger=False, enable_progress_bar=False,
    )  # fmt: skip
    return model.module


if __name__ == "__main__":
    train([LandscapeMonitor()])
    print(last_report())
