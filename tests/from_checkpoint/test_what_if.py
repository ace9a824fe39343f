"""The training data of a what-if with another batch size."""

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset, WeightedRandomSampler

from lightning_landscape.from_checkpoint.fit import RunFailedError
from lightning_landscape.from_checkpoint.what_if import _resized

SAMPLES = TensorDataset(torch.arange(40.0))


def test_another_batch_size_keeps_the_sampler_of_the_run():
    only_three = WeightedRandomSampler([0.0] * 3 + [1.0] + [0.0] * 36, num_samples=20)
    resized = _resized(DataLoader(SAMPLES, batch_size=4, sampler=only_three, drop_last=True), 8)
    batches = [batch for (batch,) in resized]
    assert [len(batch) for batch in batches] == [8, 8], "the last batch is dropped as before"
    assert set(torch.cat(batches).tolist()) == {3.0}


def test_another_batch_size_keeps_the_order():
    in_order = _resized(DataLoader(SAMPLES, batch_size=4), 40)
    shuffled = _resized(DataLoader(SAMPLES, batch_size=4, shuffle=True), 40)
    assert next(iter(in_order))[0].tolist() == list(range(40))
    assert next(iter(shuffled))[0].tolist() != list(range(40))


def test_a_stream_of_samples_gets_another_batch_size():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(torch.arange(6.0))

    assert [len(batch) for batch in _resized(DataLoader(Stream(), batch_size=2), 3)] == [3, 3]


def test_batches_that_the_data_set_makes_itself_cannot_be_resized():
    with pytest.raises(RunFailedError, match="--batch-size needs a training DataLoader that makes the batches itself"):
        _resized(DataLoader(SAMPLES, batch_size=None), 8)
