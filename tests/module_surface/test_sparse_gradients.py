"""The loss surface of a module with sparse gradients, which trials and eigenvalues need as dense ones."""

import pytest
import torch
from torch import nn

from lightning_landscape.errors import SurfaceError
from lightning_landscape.module_surface.mean_loss import _autograd_gradient


def loss_of(table):
    return table(torch.tensor([1, 1, 3])).sum()


def test_the_gradient_of_a_sparse_embedding_is_dense():
    table = nn.Embedding(5, 2, sparse=True)
    (gradient,) = _autograd_gradient(loss_of(table), [table.weight], create_graph=False)
    assert gradient.layout is torch.strided
    assert gradient[:, 0].tolist() == [0, 2, 0, 1, 0]


def test_a_sparse_gradient_has_no_second_derivative():
    table = nn.Embedding(5, 2, sparse=True)
    with pytest.raises(SurfaceError, match=r"LL309.*sparse"):
        _autograd_gradient(loss_of(table), [table.weight], create_graph=True)
