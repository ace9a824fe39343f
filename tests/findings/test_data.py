"""Findings in the data: on evidence made by hand, and on the runs of the docs."""

from dataclasses import replace
from math import nan

import lightning as L
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lightning_landscape.diagnosis import DETECTORS, diagnose
from lightning_landscape.diagnosis.findings import data, history, linear_model, of_divergence
from lightning_landscape.diagnosis.findings.small_inputs import small_inputs
from lightning_landscape.evidence import (
    Activity,
    BatchContents,
    BeforeAndAfter,
    Cause,
    Divergence,
    EntryContents,
    Evidence,
    InputUse,
    LinearFit,
    LossLevel,
    Plateau,
    Restart,
    StartingPoint,
    Trials,
    UpdateStatistics,
)
from lightning_landscape.probes import batch_contents
from lightning_landscape.surface import LossSurface, Pairing, Roles, RunContext
from tests.findings.examples import alarms, example, fit_example, fitted, notes

PLATEAU = Plateau(step=120, since=50)
UNFALLEN, FALLEN = LossLevel(2.3, 2.25, 2.25), LossLevel(2.3, 0.5, 0.5)
INPUTS = EntryContents("0", target=False, size=1.0, mean_size=0.8, spread=1.0, values=1000)
TARGETS = EntryContents("1", target=True, size=1.0, mean_size=0.8, spread=1.0, values=1000)
CONTENTS = BatchContents(8, (INPUTS, TARGETS), first_layer="net.0", first_layer_kind="Linear", input_size=1.0)


def weight(finder, contents, *readings, plateau=PLATEAU):
    found = finder(Evidence(*(() if plateau is None else (plateau,)), contents, *readings))
    return found and found.weight


# The order of the classes

SORTED = replace(CONTENTS, class_shares=(1.0, 0.9, 1.0), classes=3, highest_class=2, order=0.9)


def test_batches_of_one_class_each_are_named_with_the_line_that_shuffles():
    found = data.unshuffled(Evidence(PLATEAU, SORTED, UNFALLEN))
    assert (found.cause, found.weight) == (Cause.LEARNING_RATE_TOO_LARGE, "evidence")
    assert "97% of a batch" in found.sentence
    assert "together they hold 3 classes" in found.sentence
    assert "shuffle=True" in found.advice


@pytest.mark.parametrize(
    "changes",
    [
        {"order": 0.0},  # one class is frequent everywhere
        {"order": 0.5},  # a sampler that takes two classes for each batch
        {"order": None, "classes": 1, "highest_class": 1},  # all targets of a contrastive loss are 1
        {"order": None, "classes": 1, "highest_class": 0},  # nearly all samples are negative
        {"class_shares": (), "classes": 0, "highest_class": None, "order": None},  # a regression, or tokens
    ],
)
def test_shuffled_batches_are_no_finding(changes):
    assert weight(data.unshuffled, replace(SORTED, **changes), UNFALLEN) is None


def test_a_long_stretch_of_one_class_is_known_by_the_index_of_the_class():
    found = data.unshuffled(Evidence(PLATEAU, replace(SORTED, order=None, classes=1, highest_class=7), UNFALLEN))
    assert "all samples of 8 batches are of class 7" in found.sentence


def test_numbers_that_are_sorted_are_named_by_their_correlation_within_a_batch():
    found = data.unshuffled(Evidence(PLATEAU, replace(CONTENTS, order=0.97), UNFALLEN))
    assert (found.name, found.weight) == ("unshuffled", "evidence")
    assert "intraclass correlation 0.97 over 8 batches" in found.sentence
    assert weight(data.unshuffled, replace(CONTENTS, order=0.59), UNFALLEN) is None
    assert weight(data.unshuffled, replace(CONTENTS, order=0.97), FALLEN) == "note"


def test_an_entry_that_is_constant_shows_a_stretch_if_the_best_weights_do_worse_on_it_than_the_initial_ones():
    stretch = replace(CONTENTS, entries=(INPUTS, replace(TARGETS, varies=False)))
    found = data.unshuffled(Evidence(PLATEAU, stretch, UNFALLEN, BeforeAndAfter(now=0.7, best=21.6, start=0.7)))
    assert found.weight == "evidence"
    assert "Entry 1 of the batch is the same in all samples" in found.sentence
    assert weight(data.unshuffled, stretch, UNFALLEN) is None
    for before in (BeforeAndAfter(now=0.7, best=0.7, start=0.7), BeforeAndAfter(now=0.7, best=21.6)):
        assert data.unshuffled(Evidence(PLATEAU, stretch, UNFALLEN, before)) is None


def test_batches_of_one_class_are_a_note_if_the_run_learns():
    assert weight(data.unshuffled, SORTED, UNFALLEN, plateau=None) == "note"
    assert weight(data.unshuffled, SORTED, FALLEN) == "note"
    # The present weights know the present class; the mean over the last steps shows that they forget it again.
    assert weight(data.unshuffled, SORTED, UNFALLEN, StartingPoint(2.3, 0.01)) == "evidence"


# The sizes of targets and inputs

FAR = replace(TARGETS, size=1e3, mean_size=800.0)


@pytest.mark.parametrize("loss", [1e6, 5e5, 800.0, 1e3])
def test_targets_that_the_outputs_do_not_reach_are_named_whatever_the_error(loss):
    contents = replace(CONTENTS, entries=(INPUTS, FAR))
    found = data.target_scale(Evidence(PLATEAU, contents, LossLevel(loss, 0.99 * loss, loss)))
    assert (found.cause, found.weight) == (Cause.LEARNING_RATE_TOO_SMALL, "evidence")
    assert "of size 1e+03" in found.sentence
    assert "normalise" in found.advice


@pytest.mark.parametrize(
    ("entry", "level"),
    [
        (FAR, LossLevel(1e6, 1e5, 8e5)),  # the loss has fallen
        (FAR, LossLevel(7.0, 7.0, 7.0)),  # counts whose logarithm is predicted
        (replace(FAR, target=False), LossLevel(1e6, 1e6, 1e6)),
        (replace(FAR, size=50.0), LossLevel(2500.0, 2500.0, 2500.0)),
    ],
)
def test_targets_in_reach_are_no_finding(entry, level):
    assert weight(data.target_scale, replace(CONTENTS, entries=(INPUTS, entry)), level) is None


RAW = replace(CONTENTS, input_size=300.0, feature_sizes=(0.1, 900.0))


def test_inputs_that_nothing_normalises_are_named_with_the_layer_that_receives_them():
    found = data.input_scale(Evidence(PLATEAU, RAW, UNFALLEN))
    assert (found.cause, found.weight) == (Cause.LEARNING_RATE_TOO_LARGE, "evidence")
    assert "net.0, receives inputs of size 3e+02" in found.sentence
    assert "from 0.1 to 9e+02" in found.sentence


def test_large_inputs_do_not_make_steps_too_large_that_hardly_move_the_weights():
    moved = UpdateStatistics(update_ratio=1e-6, travelled=0.0049, no_grad_share=0.0, not_in_optimizer=0.0)
    helps = Trials({"learning rate x10": 0.16}, steps=40, relative_gradient=1.0, decay_pull=0.0, samples=64)
    assert weight(data.input_scale, RAW, UNFALLEN, moved) == "note"  # larger steps were not tried yet
    assert weight(data.input_scale, RAW, UNFALLEN, moved, helps) == "note"
    assert weight(data.input_scale, RAW, UNFALLEN, moved, replace(helps, gains={})) == "evidence"
    assert weight(data.input_scale, RAW, UNFALLEN, replace(moved, travelled=9e-5), replace(helps, gains={})) == "note"
    assert weight(data.input_scale, RAW, UNFALLEN, replace(moved, travelled=0.0051), helps) == "evidence"
    saturated = Activity(0.0, None, saturated=1.0, saturated_layer="net.1", layers=1, samples=64)
    assert weight(data.input_scale, RAW, UNFALLEN, moved, saturated) == "evidence"


def test_large_inputs_that_saturate_a_layer_leave_a_flat_region():
    saturated = Activity(0.0, None, saturated=1.0, saturated_layer="net.1", layers=1, samples=64)
    found = data.input_scale(Evidence(PLATEAU, RAW, UNFALLEN, saturated))
    assert found.cause is Cause.FLAT_REGION
    assert "In net.1, 100% of the outputs" in found.sentence
    half = LossLevel(2.3, 1.5, 1.5)
    assert weight(data.input_scale, RAW, half, saturated) is None
    assert weight(data.input_scale, RAW, half, saturated, Restart(gain=0.4, seeds=1, steps=100)) == "evidence"


@pytest.mark.parametrize(
    ("contents", "readings"),
    [
        (CONTENTS, (UNFALLEN,)),
        (replace(RAW, first_layer_kind="BatchNorm1d"), (UNFALLEN,)),
        (replace(RAW, first_layer=None, first_layer_kind="", input_size=0.0), (UNFALLEN,)),  # an embedding of tokens
        (RAW, (FALLEN,)),
        (RAW, (UNFALLEN, InputUse(2.25, 2.6, moved=0.2, varied=True))),  # the model uses its inputs
    ],
)
def test_inputs_that_do_no_harm_are_no_finding(contents, readings):
    assert weight(data.input_scale, contents, *readings) is None


# Constant values, and values that are not finite


def test_constant_inputs_are_named_by_their_entry():
    constant = replace(CONTENTS, entries=(replace(INPUTS, varies=False), TARGETS), inputs_vary=False)
    found = data.constant_inputs(Evidence(PLATEAU, constant))
    assert (found.cause, found.weight) == (Cause.NOTHING_TO_LEARN, "evidence")
    assert found.sentence.startswith("Entry '0' of the batch is the same in all samples of 8 batches")
    assert weight(data.constant_inputs, constant, plateau=None) == "note"
    assert weight(data.constant_inputs, CONTENTS) is None


def test_nan_in_an_entry_explains_a_loss_that_is_nan_and_is_a_note_otherwise():
    holes = replace(CONTENTS, entries=(replace(INPUTS, not_finite=3), TARGETS))
    assert weight(data.not_finite_inputs, holes) == "note"
    assert weight(data.not_finite_inputs, CONTENTS) is None
    evidence = Evidence(PLATEAU, holes, Divergence(5, finite=False, start=1.0, now=nan))
    finding = of_divergence(evidence)
    assert finding.name == "not-finite-inputs"
    assert "entry '0' of the batch holds 3 of 1,000" in finding.sentence.replace("Entry", "entry")
    assert diagnose(evidence, DETECTORS).finding == finding
    growing = Divergence(5, finite=True, start=1.0, now=1e9)
    assert weight(data.not_finite_inputs, holes, growing) == "note"


def test_one_batch_again_and_again_is_a_note():
    assert weight(data.repeated_batches, replace(CONTENTS, repeated=7)) == "note"
    assert weight(data.repeated_batches, replace(CONTENTS, repeated=6)) is None
    assert weight(data.repeated_batches, replace(CONTENTS, batches=1)) is None


# Changed data

LOST = LossLevel(2.3, 0.3, 2.2, start_spread=0.1, spread=0.1)
CHANGED = BeforeAndAfter(now=2.2, best=6.0, start=2.3)


def test_data_have_changed_if_the_best_earlier_weights_do_worse_on_them_than_the_initial_ones():
    found = history.data_changed(Evidence(PLATEAU, CHANGED, LOST))
    assert (found.cause, found.weight) == (Cause.NOTHING_TO_LEARN, "evidence")
    assert "from 2.3 to 0.3 and is 2.2" in found.sentence


def test_just_after_the_change_the_present_batches_show_what_the_mean_of_the_last_losses_does_not():
    found = history.data_changed(Evidence(PLATEAU, replace(CHANGED, best=2.8), replace(LOST, now=0.9)))
    assert found.weight == "evidence"
    assert "from 2.3 to 0.3 and is 2.2 now" in found.sentence


@pytest.mark.parametrize("offset", [500.0, -500.0])
def test_a_constant_in_the_loss_does_not_matter(offset):
    level = LossLevel(2.3 + offset, 0.3 + offset, 2.2 + offset, start_spread=0.1, spread=0.1)
    before = BeforeAndAfter(now=2.2 + offset, best=6.0 + offset, start=2.3 + offset)
    assert weight(history.data_changed, before, level) == "evidence"


@pytest.mark.parametrize(
    ("before", "level"),
    [
        (replace(CHANGED, best=0.4), LOST),  # the weights are damaged
        (replace(CHANGED, best=2.25), LOST),  # the best weights were copied before the run had learned
        (replace(CHANGED, start=None), LOST),
        (replace(CHANGED, now=0.5), replace(LOST, now=0.5)),  # little was lost
        (replace(CHANGED, best=2.6), LOST),  # the best weights are hardly worse than the initial ones
        (CHANGED, replace(LOST, now=9.0)),  # targets that grow, as in reinforcement learning
        (CHANGED, replace(LOST, spread=1.5)),  # noise
        (CHANGED, replace(LOST, spread=None)),
    ],
)
def test_data_have_not_changed_where_other_reasons_are_possible(before, level):
    assert weight(history.data_changed, before, level) is None


# The runs of the docs


@pytest.mark.slow
@pytest.mark.parametrize("finding", ["unshuffled", "target-scale", "input-scale", "constant-inputs", "data-changed"])
def test_the_failing_example_gets_the_finding_and_the_mended_one_no_alarm(finding, without_pictures):
    steps = 600 if finding == "data-changed" else 400
    assert alarms(fit_example("data.md", finding, "broken", steps))[:1] == [finding]
    assert alarms(fit_example("data.md", finding, "mended", steps)) == []


class Classifier(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


@pytest.mark.slow
def test_a_loss_that_only_fell_from_where_unscaled_inputs_had_thrown_it_is_not_solved(without_pictures):
    generator = torch.Generator().manual_seed(0)
    inputs = 4000 * torch.rand(1024, 64, generator=generator)
    labels = (inputs[:, :10] + 400 * torch.randn(1024, 10, generator=generator)).argmax(1)
    for scale, expected in {1.0: ["input-scale"], 1e-3: []}.items():
        torch.manual_seed(0)
        loader = DataLoader(TensorDataset(scale * inputs, labels), batch_size=32, shuffle=True)
        assert alarms(fitted(Classifier(), loader, 600)) == expected


def contents_of(loader):
    """Return what the first four batches of a loader contain."""
    entries = [{(i,): tensor for i, tensor in enumerate(batch)} for batch, _ in zip(loader, range(4), strict=False)]
    pairing = Pairing((), roles=lambda: Roles(((1,),)), mispaired_losses=lambda targets: ())
    surface = LossSurface(lambda at: at["w"], {}, pairing=pairing, run=RunContext(entries=lambda: entries))
    return batch_contents(surface)


def test_the_batches_of_the_example_hold_nan_and_those_of_the_mended_one_do_not():
    built = example("data.md", "not-finite-inputs")
    assert weight(data.not_finite_inputs, contents_of(built["broken"]()[1])) == "note"
    assert weight(data.not_finite_inputs, contents_of(built["mended"]()[1])) is None


def test_the_batches_of_the_example_are_repeated_and_those_of_the_mended_one_are_not():
    built = example("data.md", "repeated-batches")
    assert weight(data.repeated_batches, contents_of(built["broken"]()[1])) == "note"
    assert weight(data.repeated_batches, contents_of(built["mended"]()[1])) is None


# Targets that a linear regression predicts


def test_that_a_linear_regression_predicts_the_targets_is_a_note_if_the_model_has_learned_nothing():
    fit, unused = LinearFit(0.12, by_chance=-0.01, samples=128), InputUse(2.3, 2.3, 0.0, varied=True)
    found = linear_model.linear_model_predicts(Evidence(PLATEAU, fit, unused, UNFALLEN))
    assert (found.weight, found.code) == ("note", "LL209 linear-model-predicts")
    assert "explains 12% of the variance of the targets of samples left out (by chance at most 0%)" in found.sentence
    used = replace(unused, shuffled=4.6)
    for readings in ([PLATEAU, fit, used, FALLEN], [fit, unused, UNFALLEN], [PLATEAU, replace(fit, by_chance=0.2)]):
        assert linear_model.linear_model_predicts(Evidence(*readings)) is None


@pytest.mark.slow
def test_the_run_of_the_docs_is_not_told_that_there_is_nothing_to_learn(without_pictures):
    broken, mended = (
        fit_example("data.md", "linear-model-predicts", built, steps=200) for built in ("broken", "mended")
    )
    assert broken.verdict.cause is Cause.UNDECIDED
    assert "[LL209 linear-model-predicts] A linear regression" in notes(broken)
    assert alarms(mended) == []
    assert "linear-model-predicts" not in mended.report


@pytest.mark.parametrize(
    ("size", "now", "expected"),
    [(0.002, 2.29, "evidence"), (0.007, 2.29, None), (0.0, 2.29, None), (0.002, 0.4, None)],
    ids=["divided twice", "bags of words", "all zero", "learned"],
)
def test_inputs_that_are_far_too_small_are_named_where_nothing_was_learned(size, now, expected):
    assert weight(small_inputs, replace(RAW, input_size=size), StartingPoint(2.3, now)) == expected
