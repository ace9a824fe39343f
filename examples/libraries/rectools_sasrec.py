"""RecTools: a model makes its `Trainer` by a function that you pass; this function gives it the monitor.

``pip install "rectools[torch]"``. It copies that function's Trainer at each fit; `last_report` tells what the copy saw.
"""

import numpy as np
import pandas as pd
from pytorch_lightning import Trainer
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel
from rectools.models.nn.item_net import IdEmbeddingsItemNet
from torch import nn

from lightning_landscape import LandscapeMonitor, last_report


def purchases(users: int = 400, items: int = 60, each: int = 12) -> Dataset:
    """Return purchases in which each item is followed by one of three, all equally likely."""
    followers, rows = np.random.randint(items, size=(items, 3)), []
    for user in range(users):
        item = np.random.randint(items)
        for time in range(each):
            rows.append((user, item, 1.0, pd.Timestamp("2024-01-01") + pd.Timedelta(days=time)))
            item = followers[item, np.random.randint(3)]
    return Dataset.construct(pd.DataFrame(rows, columns=[Columns.User, Columns.Item, Columns.Weight, Columns.Datetime]))


def train(callbacks, rate: float = 1e-3, steps: int = 400) -> nn.Module:
    def trainer() -> Trainer:
        return Trainer(
            max_steps=steps, callbacks=callbacks, accelerator="cpu", logger=False, enable_checkpointing=False
        )

    model = SASRecModel(
        n_factors=32, n_blocks=1, n_heads=2, session_max_len=12, batch_size=32, lr=rate, get_trainer_func=trainer,
        item_net_block_types=(IdEmbeddingsItemNet,),
    )  # fmt: skip
    model.fit(purchases())
    return model.lightning_model


if __name__ == "__main__":
    train([LandscapeMonitor()])
    print(last_report())
