"""PyTorch Geometric: the model and the `Trainer` are your own, so the monitor goes to `callbacks=`.

``pip install torch-geometric lightning``
"""

import lightning as L
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.data.lightning import LightningDataset
from torch_geometric.nn import GIN, MLP, global_add_pool

from lightning_landscape import LandscapeMonitor, last_report


def graphs(count: int = 1024, nodes: int = 12) -> list[Data]:
    """Return random graphs of two classes, of which one has more edges on average."""
    made = []
    for label in torch.randint(2, (count,)).tolist():
        edges = (torch.triu(torch.rand(nodes, nodes), 1) > (0.75 if label else 0.85)).nonzero().T
        made.append(Data(torch.randn(nodes, 4), torch.cat([edges, edges.flip(0)], 1), y=torch.tensor([label])))
    return made


class Classifier(L.LightningModule):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.gnn = GIN(4, 32, 3, dropout=0.1, jk="cat")
        self.head = MLP([32, 32, 2], norm="batch_norm", dropout=0.1)
        self.rate = rate

    def training_step(self, data, batch_idx):
        out = self.head(global_add_pool(self.gnn(data.x, data.edge_index), data.batch))
        loss = nn.functional.cross_entropy(out, data.y)
        self.log("train_loss", loss, batch_size=data.num_graphs)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=self.rate)


def train(callbacks, rate: float = 0.01, steps: int = 400) -> nn.Module:
    model, data = Classifier(rate), LightningDataset(graphs(), batch_size=32)
    trainer = L.Trainer(
        max_steps=steps, callbacks=callbacks, accelerator="cpu", logger=False, enable_checkpointing=False
    )
    trainer.fit(model, datamodule=data)
    return model


if __name__ == "__main__":
    train([LandscapeMonitor()])
    print(last_report())
