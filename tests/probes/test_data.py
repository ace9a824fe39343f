"""What captured batches contain, of batches written down by hand."""

import pytest
import torch

from lightning_landscape.observations import Activation
from lightning_landscape.probes import batch_contents
from lightning_landscape.probes.data import entry_contents, order_of_classes, order_of_numbers, repeated_batches
from lightning_landscape.surface import LossSurface, Pairing, Roles, RunContext, cost_of

INF, NAN = torch.inf, torch.nan


def contents(*batches, targets=((1,),), layer=None, **known):
    """Return the contents of batches of an input and a target."""
    entries = [dict(zip([(0,), (1,)], map(torch.tensor, batch), strict=True)) for batch in batches]
    pairing = Pairing((), lambda: Roles(targets), lambda paths: (), tries=3)
    run = RunContext(entries=lambda: entries, first_layer_input=None if layer is None else lambda point: layer)
    return batch_contents(
        LossSurface(lambda at: at["w"].sum(), {"w": torch.ones(2)}, pairing=pairing, run=run, **known)
    )


def test_sizes_are_those_of_the_finite_values_even_where_squares_overflow():
    entry = entry_contents(("image", "pixels"), [torch.tensor([[3e30, -4e30], [NAN, INF]])], target=False)
    assert entry.name == "image.pixels"
    assert entry.size == pytest.approx(12.5**0.5 * 1e30)
    assert entry.mean_size == pytest.approx(3.5e30)
    assert entry.spread == pytest.approx(3.5e30)
    assert (entry.values, entry.not_finite) == (4, 2)


@pytest.mark.parametrize(
    ("values", "not_finite"),
    [
        ([0.0, -INF, 0.0], 0),  # a mask that is added to scores
        ([0.0, INF], 1),
        ([0.0, NAN], 1),
        ([-1.0, -2.0, -INF], 1),  # the logarithm of 0
        ([NAN, NAN], 2),
    ],
)
def test_the_minus_infinity_of_a_mask_does_not_count_as_not_finite(values, not_finite):
    assert entry_contents((), [torch.tensor(values)], target=False).not_finite == not_finite


def test_an_entry_varies_if_samples_differ_within_or_between_batches():
    def varies(*batches):
        return entry_contents((), [torch.tensor(batch) for batch in batches], target=False).varies

    assert not varies([1.0, 1.0], [1.0])
    assert varies([1.0, 2.0])
    assert varies([1.0], [2.0])
    assert varies([1.0])  # of a single sample, nothing is known


@pytest.mark.parametrize("target", [[3, 3, 5], [3.0, 3.0, 5.0], [[3], [3], [5]]])
def test_one_whole_number_for_each_sample_is_a_class(target):
    reading = contents(([0.1, 0.2, 0.3], target))
    assert reading.class_shares == (pytest.approx(2 / 3),)
    assert (reading.classes, reading.highest_class, reading.order) == (2, 5, None)


def test_rows_with_a_single_1_are_classes():
    reading = contents(([0.1, 0.2], [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]))
    assert (reading.class_shares, reading.classes, reading.highest_class) == ((0.5,), 2, 2)


@pytest.mark.parametrize(
    "target",
    [[0.5, 1.0], [[1, 2], [3, 4]], [[1.0, 1.0], [0.0, 1.0]], [-100, 1], [NAN, 1.0]],
)
def test_other_targets_are_no_classes(target):
    reading = contents(([0.1, 0.2], target))
    assert (reading.class_shares, reading.classes, reading.highest_class) == ((), 0, None)


def test_the_order_does_not_depend_on_how_frequent_a_class_is():
    generator = torch.Generator().manual_seed(0)
    rare = [(torch.rand(64, generator=generator) < 0.03).long() for _ in range(16)]
    assert abs(order_of_classes(rare)) < 0.1
    classes = torch.arange(8).repeat_interleave(128)
    assert order_of_classes(list(classes.split(64))) == pytest.approx(1.0)
    shuffled = classes[torch.randperm(len(classes), generator=generator)]
    assert abs(order_of_classes(list(shuffled.split(64)))) < 0.05
    two_of_each = [torch.tensor([i % 10] * 4 + [(i + 3) % 10] * 4) for i in range(30)]
    assert order_of_classes(two_of_each) < 0.5


@pytest.mark.parametrize("batches", [[[0, 1]], [[0], [1]], [[1, 1], [1, 1]]])
def test_there_is_no_order_without_two_batches_of_samples_and_two_classes(batches):
    assert order_of_classes([torch.tensor(labels) for labels in batches]) is None


def test_batches_that_equal_an_earlier_one_are_counted():
    one, other = {(): torch.tensor([1.0, 2.0])}, {(): torch.tensor([2.0, 1.0])}
    assert repeated_batches([one, other, one, other, one]) == 3
    assert repeated_batches([one, other]) == 0
    unknown = {(): torch.tensor([NAN])}
    assert repeated_batches([unknown, unknown]) == 0


def test_the_first_layer_has_the_sizes_of_its_features():
    layer = "net.0", Activation("Linear", torch.tensor([[3.0, 0.0, 100.0], [3.0, 0.0, -100.0]]))
    reading = contents(([0.1, 0.2], [0, 1]), layer=layer)
    assert (reading.first_layer, reading.first_layer_kind) == ("net.0", "Linear")
    assert reading.input_size == pytest.approx(((9 + 1e4) / 3) ** 0.5)
    assert reading.feature_sizes == (pytest.approx(3.0), pytest.approx(100.0))


def test_the_cost_is_one_forward_pass_beyond_the_search_for_the_targets():
    run = RunContext(entries=lambda: [])
    pairing = Pairing((), lambda: Roles(()), lambda paths: (), tries=3)
    surface = LossSurface(lambda at: at, {}, batch_losses=(id,) * 8, pairing=pairing, run=run)
    assert cost_of(batch_contents, surface) == (1 + 3) / 3
    assert cost_of(batch_contents, LossSurface(lambda at: at, {})) == 0
    assert batch_contents(LossSurface(lambda at: at, {})) is None


def test_sorted_targets_that_are_numbers_have_an_order_of_nearly_one_and_shuffled_ones_of_about_zero():
    values = torch.arange(64.0)
    assert order_of_numbers(list(values.split(8))) > 0.95
    shuffled = values[torch.randperm(64, generator=torch.Generator().manual_seed(0))]
    assert abs(order_of_numbers(list(shuffled.split(8)))) < 0.2
    assert order_of_numbers([values]) is None
    assert order_of_numbers([torch.tensor([1.0, torch.nan]), torch.tensor([1.0, 2.0])]) is None
    assert order_of_numbers([torch.ones(4), torch.ones(4)]) is None
