"""Findings in the wiring: on evidence made by hand, and on the runs of the docs."""

import re
import warnings
from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest
import torch

from lightning_landscape import LandscapeMonitor
from lightning_landscape.diagnosis.findings import graph_cuts
from lightning_landscape.diagnosis.findings import wiring as finders
from lightning_landscape.diagnosis.findings.batch_dimension import samples_as_sequence
from lightning_landscape.diagnosis.findings.dropout import strong_dropout
from lightning_landscape.diagnosis.findings.log_probabilities import not_log_probabilities
from lightning_landscape.diagnosis.findings.loss_sign import wrong_sign
from lightning_landscape.diagnosis.findings.parts import is_said_at_once
from lightning_landscape.evidence import Cause, Evidence, GradientScale, LossLevel, Plateau, StartingPoint, Wiring
from lightning_landscape.evidence.wiring import (
    DISTANCE,
    Broadcast,
    GraphCut,
    NotLogProbabilities,
    OutputRange,
    RectifiedLogits,
    SamplesAsSequence,
    SoftmaxOfOne,
    SquashedTwice,
    StrongDropout,
    UnownedLeaf,
    WrongSign,
)

PAGE = Path(__file__).parents[2] / "docs" / "findings" / "wiring.md"
PLATEAU, UNFALLEN, FALLEN = Plateau(120, 50), StartingPoint(2.3, 2.29), StartingPoint(2.3, 0.4)
SOFTMAX = SquashedTwice("softmax", "cross_entropy", "net.1", classes=10)
ONE = SoftmaxOfOne("softmax", "mse_loss", "net.1", (8, 1), 1, only_loss=True)
CUT = GraphCut("argmax", "", ("encoder.weight",), 0.6, "encoder", "head", feeds_layers=True)
LEAF = UnownedLeaf(
    (4, 4), "self.net.layers[0].weight", container="self.net.layers", container_kind="list",
    made_in_step=False, may_be_meant=False,
)  # fmt: skip
RANGE = OutputRange("sigmoid", "net.1", "mse_loss", 0.0, 1.0, -2.0, 1.5, 0.5, 0.4, 0.8)


def found(finder, *readings, **fields):
    return finder(Evidence(Wiring(**fields), *readings))


def weight(finder, *readings, **fields):
    finding = found(finder, *readings, **fields)
    return finding and finding.weight


@pytest.mark.parametrize(
    "finder",
    [
        finders.squashed_twice,
        finders.softmax_of_one,
        not_log_probabilities,
        samples_as_sequence,
        wrong_sign,
        finders.unowned_parameters,
        finders.broadcast,
        finders.output_range,
        finders.rectified_logits,
        graph_cuts.graph_cut,
    ],
)
def test_sound_wiring_has_no_finding(finder):
    assert finder(Evidence()) is None
    assert found(finder, PLATEAU, UNFALLEN) is None


def test_softmax_before_cross_entropy_is_certain_and_gives_the_floor():
    finding = found(finders.squashed_twice, squashed=(SOFTMAX,))
    assert (finding.code, finding.weight) == ("LL202 squashed-twice", "certain")
    assert "with 10 classes the loss of a sample cannot fall below 1.46" in finding.sentence
    assert "`self.net[1]`" in finding.sentence


def test_a_softmax_written_by_hand_is_told_by_its_numbers():
    finding = found(finders.squashed_twice, squashed=(replace(SOFTMAX, function=""),))
    assert (finding.code, finding.weight) == ("LL202 squashed-twice", "certain")
    assert "gets numbers that are not below 0 and add up to 1 for each sample" in finding.sentence
    assert "cannot fall below 1.46" in finding.sentence


def test_a_log_softmax_over_the_samples_is_named():
    found_here = NotLogProbabilities("", 0.16, probabilities=False, over_samples=True)
    finding = found(not_log_probabilities, not_log_probabilities=(found_here,))
    assert "normalises over the samples of the batch (`dim=0`)" in finding.sentence
    assert "falls without end" not in finding.sentence
    assert "`F.log_softmax(output, dim=1)`" in finding.advice


def test_what_nll_loss_gets_in_place_of_log_probabilities_decides_the_advice():
    logits, probabilities = (
        NotLogProbabilities(where, mass, probabilities=mass < 10) for where, mass in [("", 13.0), ("net", 4.3)]
    )
    finding = found(not_log_probabilities, not_log_probabilities=(logits,))
    assert (finding.code, finding.weight) == ("LL207 not-log-probabilities", "certain")
    assert "here they add up to 13" in finding.sentence
    assert "F.cross_entropy(output, target)" in finding.advice
    finding = found(not_log_probabilities, not_log_probabilities=(probabilities,))
    assert "in `self.net` gets probabilities and not their logarithms" in finding.sentence
    assert "`log_softmax` in place of `softmax`" in finding.advice


def test_a_dropout_of_nearly_all_values_is_named_with_the_share_that_was_meant():
    strong = (StrongDropout("net.2", 0.95), StrongDropout("net.5", 0.9))
    finding = found(strong_dropout, dropouts=strong)
    assert (finding.code, finding.weight) == ("LL202 strong-dropout", "note")
    assert "`self.net[2]` sets 95% of its values to zero in each step, and 1 more such call follows" in finding.sentence
    assert "`nn.Dropout(p=0.05)`" in finding.advice
    assert weight(strong_dropout, PLATEAU, UNFALLEN, dropouts=strong) == "evidence"
    assert weight(strong_dropout, PLATEAU, FALLEN, dropouts=strong) == "note"


def test_samples_that_are_read_as_a_sequence_are_certain_if_the_sequences_have_several_steps():
    finding = found(samples_as_sequence, samples_as_sequence=(SamplesAsSequence("gru", "rnn", (32, 8, 6)),))
    assert (finding.code, finding.weight) == ("LL207 samples-as-sequence", "certain")
    assert "The recurrent layer in `self.rnn` takes (time, batch, features), but gets (32, 8, 6)" in finding.sentence
    attention = SamplesAsSequence("multi_head_attention_forward", "layer.self_attn", (32, 1, 6))
    finding = found(samples_as_sequence, samples_as_sequence=(attention,))
    assert finding.weight == "note"
    assert "nn.TransformerEncoderLayer(features, heads, batch_first=True)" in finding.advice


def test_a_loss_with_the_wrong_sign_is_certain_and_says_what_to_remove():
    finding = found(wrong_sign, wrong_sign=(WrongSign("mse_loss", "", maximized=False, may_be_meant=False),))
    assert (finding.code, finding.weight) == ("LL208 wrong-sign", "certain")
    assert "times a negative number" in finding.sentence
    assert finding.advice == "remove the minus: `loss = F.mse_loss(prediction, target)`."
    finding = found(wrong_sign, wrong_sign=(WrongSign("mse_loss", "", maximized=True, may_be_meant=False),))
    assert finding.advice == "remove `maximize=True` from the optimizer."
    finding = found(wrong_sign, wrong_sign=(WrongSign(DISTANCE, "", maximized=False, may_be_meant=False),))
    assert "The loss is the distance of prediction and target times a negative number" in finding.sentence
    assert weight(wrong_sign, wrong_sign=(WrongSign("mse_loss", "", maximized=False, may_be_meant=True),)) == "note"


def test_the_floor_of_sigmoid_is_the_loss_of_a_positive_sample_with_logit_1():
    squash = SquashedTwice("sigmoid", "binary_cross_entropy_with_logits", "")
    assert squash.floor == pytest.approx(float(torch.nn.functional.softplus(torch.tensor(-1.0))))
    assert "cannot fall below 0.31" in found(finders.squashed_twice, squashed=(squash,)).sentence


@pytest.mark.parametrize("classes", [2, 3, 10, 1000])
def test_the_floor_is_the_cross_entropy_of_the_best_probabilities(classes):
    best = torch.nn.functional.one_hot(torch.tensor([0]), classes).float()
    assert replace(SOFTMAX, classes=classes).floor == pytest.approx(
        float(torch.nn.functional.cross_entropy(best, torch.tensor([0]))), rel=1e-5
    )


def test_log_softmax_before_cross_entropy_is_a_note():
    harmless = replace(SOFTMAX, function="log_softmax")
    assert weight(finders.squashed_twice, PLATEAU, UNFALLEN, squashed=(harmless,)) == "note"
    assert weight(finders.squashed_twice, squashed=(harmless, SOFTMAX)) == "certain"


def test_softmax_of_one_value_is_certain_where_there_is_no_other_loss():
    assert weight(finders.softmax_of_one, softmax_of_one=(ONE,)) == "certain"
    among_others = (replace(ONE, only_loss=False),)
    assert weight(finders.softmax_of_one, softmax_of_one=among_others) == "note"
    assert weight(finders.softmax_of_one, PLATEAU, UNFALLEN, softmax_of_one=among_others) == "evidence"
    assert weight(finders.softmax_of_one, PLATEAU, FALLEN, softmax_of_one=among_others) == "note"


def test_layers_in_a_list_are_certain_with_the_line_that_registers_them():
    finding = found(finders.unowned_parameters, unowned=(LEAF,))
    assert (finding.code, finding.weight) == ("LL206 unowned-parameters", "certain")
    assert "`self.net.layers[0].weight`" in finding.sentence
    assert "`self.net.layers = nn.ModuleList(self.net.layers)`" in finding.advice


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"place": "self.layers['a'].weight", "container": "self.layers", "container_kind": "dict"}, "nn.ModuleDict"),
        ({"place": "self.weights[0]", "container": "self.weights"}, "nn.ParameterList"),
        ({"place": "self.scale", "container": "self.scale", "container_kind": "tensor"}, "register_parameter('scale'"),
        ({"place": "", "container": "", "container_kind": "", "made_in_step": True}, "in `__init__`"),
    ],
)
def test_the_advice_fits_the_place(changes, advice):
    assert advice in found(finders.unowned_parameters, unowned=(replace(LEAF, **changes),)).advice


def test_a_network_in_evaluation_mode_is_a_note():
    assert weight(finders.unowned_parameters, PLATEAU, UNFALLEN, unowned=(replace(LEAF, may_be_meant=True),)) == "note"


def test_a_cut_is_evidence_only_for_a_loss_that_stands_still_without_having_fallen():
    finding = found(graph_cuts.graph_cut, PLATEAU, UNFALLEN, cuts=(CUT,), reached=0.4)
    assert (finding.code, finding.weight) == ("LL206 graph-cut", "evidence")
    between = "`argmax` in `training_step` (or a method that it calls), between `self.encoder` and `self.head`,"
    assert f"{between} cuts the path" in finding.sentence
    for readings in [(), (UNFALLEN,), (PLATEAU,), (PLATEAU, FALLEN), (PLATEAU, LossLevel(2.3, 2.3, 2.3))]:
        assert weight(graph_cuts.graph_cut, *readings, cuts=(CUT,), reached=0.4) == "note"


@pytest.mark.parametrize("changes", [{"feeds_layers": False}, {"share": 0.05}])
def test_a_cut_on_the_way_to_a_target_and_a_small_cut_are_notes(changes):
    assert weight(graph_cuts.graph_cut, PLATEAU, UNFALLEN, cuts=(replace(CUT, **changes),), reached=0.4) == "note"


def test_cuts_of_one_kind_at_one_place_are_named_together_by_their_modules():
    cuts = tuple(
        replace(CUT, operation="detach", parameters=(f"emb.{i}.weight",), share=0.1, before=f"emb.{i}")
        for i in range(3)
    )
    other = replace(CUT, share=0.2, after="head")
    finding = found(
        graph_cuts.graph_cut, PLATEAU, UNFALLEN, cuts=(*cuts, replace(other, feeds_layers=False)), reached=0.4
    )
    assert "3 parameters of `emb.0`, `emb.1` and `emb.2`" in finding.sentence
    assert "(30% of what it trains): `detach`" in finding.sentence
    assert "between `self.emb` and `self.head`" in finding.sentence


def test_a_module_that_takes_its_own_detached_output_is_never_trained_and_that_is_said_at_once():
    loop = replace(CUT, operation="detach", before="cell", after="cell", parameters=("cell.weight_ih", "cell.bias_ih"))
    finding = found(graph_cuts.graph_cut, cuts=(loop,), reached=0.4)
    assert "2 parameters of `cell`" in finding.sentence
    assert is_said_at_once(finding.sentence)
    for other in (replace(loop, after="head"), replace(loop, operation="no_grad"), replace(loop, feeds_layers=False)):
        assert not is_said_at_once(found(graph_cuts.graph_cut, cuts=(other,), reached=0.4).sentence)


PARTIAL = replace(CUT, operation="detach", parameters=("enc.weight", "enc.bias"), before="enc", after="dec")
STARVED = GradientScale(norm=2.0, relative=1.0, groups={"enc": 0.001, "dec": 2.0})


def test_a_detach_that_leaves_parameters_with_next_to_no_gradient_explains_that_nothing_is_learned():
    finding = found(graph_cuts.detached_from_a_part, PLATEAU, UNFALLEN, STARVED, partial_cuts=(PARTIAL,))
    assert (finding.code, finding.weight) == ("LL206 graph-cut", "evidence")
    assert "does not reach 2 parameters of `enc` (60% of what the optimizer trains): `detach`" in finding.sentence
    assert "a gradient of 0.001, beside 2 for the whole model" in finding.sentence


@pytest.mark.parametrize(
    ("readings", "cut"),
    [
        ((PLATEAU, FALLEN, STARVED), PARTIAL),
        ((UNFALLEN, STARVED), PARTIAL),
        ((PLATEAU, UNFALLEN, replace(STARVED, groups={"enc": 0.003, "dec": 2.0})), PARTIAL),  # as with another head
        ((PLATEAU, UNFALLEN, STARVED), replace(PARTIAL, share=0.05)),
        ((PLATEAU, UNFALLEN, STARVED), replace(PARTIAL, parameters=("dec.weight",))),
        ((PLATEAU, UNFALLEN), PARTIAL),
    ],
)
def test_a_detach_is_no_mistake_where_the_rest_of_the_loss_trains_what_is_before_it(readings, cut):
    assert found(graph_cuts.detached_from_a_part, *readings, partial_cuts=(cut,)) is None


def test_a_loss_that_reaches_no_parameter_is_certain():
    assert weight(graph_cuts.graph_cut, reached=0.0) == "certain"


def test_a_broadcast_is_certain_and_gives_the_shapes():
    finding = found(finders.broadcast, broadcasts=(Broadcast("mse_loss", "", (8, 1), (8,), (8, 8)),))
    assert (finding.cause, finding.weight) == (Cause.NOTHING_TO_LEARN, "certain")
    assert "shape (8, 1) with a target of shape (8,), and broadcasts both to (8, 8)" in finding.sentence
    assert "`mse_loss` in `training_step` (or a method that it calls) compares" in finding.sentence


def test_targets_out_of_range_are_certain_where_they_are_many_and_evidence_where_they_are_few():
    finding = found(finders.output_range, ranges=(RANGE,))
    assert (finding.code, finding.weight) == ("LL202 output-range", "certain")
    assert "between 0 and 1, but the targets lie between -2 and 1.5: 50% of them" in finding.sentence
    assert "cannot fall below 0.8" in finding.sentence
    few = (replace(RANGE, outside=0.09),)
    assert weight(finders.output_range, PLATEAU, ranges=few) == "evidence"
    assert weight(finders.output_range, ranges=few) == "note"
    for changes in ({"unreachable": 0.04}, {"loss": "sub"}):
        assert weight(finders.output_range, PLATEAU, ranges=(replace(RANGE, **changes),)) == "note"
    assert weight(finders.output_range, PLATEAU, ranges=(replace(RANGE, outside=0.005),)) is None


def test_rectified_logits_are_evidence_only_where_nothing_was_learned():
    logits = (RectifiedLogits("relu", "cross_entropy", "net.1"),)
    assert weight(finders.rectified_logits, PLATEAU, UNFALLEN, rectified=logits) == "evidence"
    assert weight(finders.rectified_logits, PLATEAU, FALLEN, rectified=logits) == "note"
    assert weight(finders.rectified_logits, rectified=logits) == "note"


def test_what_could_not_be_seen_is_one_sentence():
    assert Wiring().unseen_sentence is None
    sentence = Wiring(unseen=("the TorchScript module self.net", "the autograd function `Q`")).unseen_sentence
    assert sentence.endswith("was not checked inside of the TorchScript module self.net and the autograd function `Q`.")


# The runs of the docs


def sections():
    opening, *texts = re.split(r"^### ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = {re.match(r"`LL\d+ ([\w-]+)`", text)[1]: text for text in texts}
    return {name: re.findall(r"^```python\n(.*?)^```", opening + text, re.M | re.S) for name, text in named.items()}


SECTIONS = sections()
FIRST_LOOK = {
    "squashed-twice",
    "softmax-of-one",
    "broadcast",
    "output-range",
    "unowned-parameters",
    *("not-log-probabilities", "samples-as-sequence", "inverted-mask", "wrong-sign"),
}
"""the findings that are a warning after the first optimizer step"""


def fit(name, built, steps=160):
    """Return the monitor and the texts of our warnings for what the function `built` of a section returns."""
    names = {"__name__": f"example_{name}"}
    for code in SECTIONS[name]:
        exec(compile(code, f"wiring.md: {name}", "exec"), names)
    with torch.random.fork_rng(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.manual_seed(0)
        module, loader = names[built]()
        monitor = LandscapeMonitor()
        trainer = L.Trainer(
            max_steps=steps, logger=False, enable_checkpointing=False, enable_progress_bar=False, accelerator="cpu",
            enable_model_summary=False, callbacks=[monitor],
        )  # fmt: skip
        trainer.fit(module, loader)
    return monitor, [str(warning.message) for warning in caught if "[LL" in str(warning.message)]


def test_every_finding_has_a_section():
    assert set(SECTIONS) == FIRST_LOOK | {"rectified-logits", "strong-dropout", "graph-cut"}


@pytest.mark.parametrize("name", SECTIONS)
def test_the_failing_example_gets_the_finding(name):
    monitor, texts = fit(name, "broken", steps=3 if name in FIRST_LOOK else 160)
    assert any(f" {name}]" in text for text in texts), (texts, str(monitor.report))
    if name not in FIRST_LOOK:
        assert name in {verdict.finding.name for verdict in monitor.verdicts if verdict.finding}


@pytest.mark.parametrize("name", SECTIONS)
def test_the_mended_example_gets_no_finding(name):
    monitor, texts = fit(name, "mended", steps=3 if name in FIRST_LOOK else 160)
    assert texts == []
    assert name not in str(monitor.report)
