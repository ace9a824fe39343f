from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.utils.data import DataLoader

from lightning_landscape.errors import SurfaceError
from lightning_landscape.module_surface.batches import ProbeSet
from lightning_landscape.module_surface.during_fit import module_surface
from lightning_landscape.module_surface.weights import Weights
from lightning_landscape.surface import LossSurface
from tests.callbacks.test_transparency import alone
from tests.module_surface.observers import Prober, everything, leaves, midpoint
from tests.zoo import SPECIMENS, Specimen, train
from tests.zoo.plain import Classifier, Convolutional, Perceptron
from tests.zoo.stateful import HiddenState
from tests.zoo.training import fit, make_trainer


def probed(
    module: Callable[[], Any], probe: Callable[[LossSurface], Any], precision: str = "32-true", **settings: Any
) -> Prober:
    """Train for an epoch and apply `probe` on the way."""
    seed_everything(7, verbose=False)
    prober = Prober(probe, **settings)
    specimen = Specimen(module, epochs=1, trainer=lambda: {"precision": precision})
    fit(specimen, make_trainer(specimen, prober), module())
    return prober


@pytest.mark.parametrize("name", ["Perceptron", "Convolutional", "Attention", "Recomputed", "GradientPenalty"])
def test_a_hessian_vector_product_is_the_difference_of_gradients(name: str):
    def compare(surface: LossSurface) -> tuple[float, float]:
        generator = torch.Generator().manual_seed(0)
        point = leaves(surface.here)
        direction = [torch.randn(weight.shape, generator=generator, dtype=weight.dtype) for weight in point.values()]
        slopes = torch.autograd.grad(surface.loss(point), list(point.values()), create_graph=True)
        products = [torch.autograd.grad(slopes, list(point.values()), direction, retain_graph=True) for _ in range(2)]
        assert all(torch.equal(a, b) for a, b in zip(*products, strict=True))

        def gradient(step: float) -> Any:
            moved = [
                (weight + step * part).requires_grad_()
                for weight, part in zip(surface.here.values(), direction, strict=True)
            ]
            return torch.autograd.grad(surface.loss(dict(zip(point, moved, strict=True))), moved)

        differences = [(a - b) / 2e-5 for a, b in zip(gradient(1e-5), gradient(-1e-5), strict=True)]
        error = torch.cat([(a - b).flatten() for a, b in zip(products[0], differences, strict=True)]).norm()
        return float(error), float(torch.cat([part.flatten() for part in products[0]]).norm())

    error, size = probed(SPECIMENS[name].module, compare, precision="64-true").readings[-1]
    assert error < 1e-7 * size


def test_the_loss_along_a_line_differentiates_through_the_point():
    def slope(surface: LossSurface) -> tuple[float, float]:
        start, share = surface.anchors["initial"], torch.tensor(0.5, requires_grad=True)
        line = {name: start[name] + share * (surface.here[name] - start[name]) for name in start}
        (along,) = torch.autograd.grad(surface.loss(line), share)
        ends = [
            surface.loss({name: torch.lerp(start[name], surface.here[name], a) for name in start}) for a in (0.49, 0.51)
        ]
        return float(along), float(ends[1] - ends[0]) / 0.02

    along, difference = probed(Perceptron, slope).readings[-1]
    assert along == pytest.approx(difference, rel=0.02)


def test_a_point_may_name_some_of_the_weights_only():
    def compare(surface: LossSurface) -> tuple[float, float, int]:
        name, weight = next(iter(surface.here.items()))
        part = {name: (weight * 2).requires_grad_()}
        gradient = torch.autograd.grad(surface.loss(part), list(part.values()))
        return (
            float(surface.loss(part).detach()),
            float(surface.loss({**surface.here, name: weight * 2})),
            len(gradient),
        )

    part, whole, count = probed(Perceptron, compare).readings[0]
    assert part == whole
    assert count == 1


def test_the_mean_is_over_samples():
    def loader() -> DataLoader[Any]:
        return DataLoader(SPECIMENS["Perceptron"].loader().dataset, batch_size=32)  # 32 samples, then 16

    class Separate(Prober):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            both, single = ProbeSet(4), [ProbeSet(1), ProbeSet(1)]
            batches = [*self.probe_set.halves[0], *self.probe_set.halves[1]]
            for index, batch in enumerate([batches[0], batches[0], batches[1]]):  # the middle one is held out
                both.capture(pl_module, batch.batch, index)
            for probe_set, batch, index in zip(single, batches, (0, 2), strict=True):
                probe_set.capture(pl_module, batch.batch, index)
            for probe_set in (both, *single):
                with module_surface(trainer, pl_module, probe_set) as surface:
                    self.readings.append((float(surface.loss(surface.here)), surface.run.samples))

        def on_train_batch_end(self, *args: Any) -> None: ...

    separate = Separate(lambda surface: None)
    specimen = Specimen(Perceptron, loader=loader, epochs=1)
    fit(specimen, make_trainer(specimen, separate), Perceptron())
    (both, samples), (first, n), (second, m) = separate.readings

    assert (samples, n, m) == (48, 32, 16)
    assert both == pytest.approx((first * 32 + second * 16) / 48, rel=1e-6)


def test_loss_fn_takes_the_place_of_the_step():
    def square(module: Any, batch: Any) -> torch.Tensor:
        return module.net(batch[0]).square().mean()

    prober = probed(HiddenState, lambda surface: float(surface.loss({k: 0 * w for k, w in surface.here.items()})))
    replaced = probed(
        HiddenState, lambda surface: float(surface.loss({k: 0 * w for k, w in surface.here.items()})), loss_fn=square
    )

    assert replaced.readings[0] == 0.0
    assert prober.readings[0] != 0.0


class Rotated(Convolutional):
    """Has BatchNorm with so small a momentum that its statistics remain the initial ones, which do not fit."""

    def __init__(self) -> None:
        super().__init__()
        self.net[2].momentum = 1e-6
        with torch.no_grad():
            self.net[1].weight.mul_(20)
            self.net[1].bias.add_(5)


class ByHand(Prober):
    """Evaluate the surface once, then the module itself, which changes the run."""

    def examine(self, trainer: Any, pl_module: Any) -> None:
        super().examine(trainer, pl_module)
        ((captured,), _) = self.probe_set.halves
        inputs, labels = captured.batch
        network = pl_module.net.eval()
        with torch.no_grad():
            self.with_initial_statistics = float(F.cross_entropy(network(inputs), labels))
            network[2].momentum = 1.0
            network[2].train()
            network(inputs)
            network[2].eval()
            self.by_hand = float(F.cross_entropy(network(inputs), labels))
        pl_module.trainer.should_stop = True

    def on_train_epoch_end(self, *args: Any) -> None: ...


def test_eval_mode_collects_the_statistics_that_belong_to_the_point():
    seed_everything(7, verbose=False)
    prober = ByHand(lambda surface: float(surface.loss(surface.here)), batches=1, mode="eval")
    specimen = Specimen(Rotated, epochs=1)
    fit(specimen, make_trainer(specimen, prober), Rotated())

    assert prober.readings == [pytest.approx(prober.by_hand, rel=1e-4)]
    assert abs(prober.with_initial_statistics - prober.by_hand) > 0.02


def test_eval_mode_draws_no_dropout_mask():
    surfaces = probed(Convolutional, lambda surface: float(surface.loss(surface.here)), mode="eval", batches=1)
    trained = probed(Convolutional, lambda surface: float(surface.loss(surface.here)), batches=1)

    assert surfaces.readings[0] != trained.readings[0]


def test_a_closed_surface_raises_an_error():
    graphs: list[Any] = []

    def keep(surface: LossSurface) -> None:
        point = leaves(surface.here)
        graphs.append((point, torch.autograd.grad(surface.loss(point), list(point.values()), create_graph=True)))
        graphs.append(surface)

    probed(Perceptron, keep)
    (point, slopes), surface, *_ = graphs
    with pytest.raises(SurfaceError, match="LL305"):
        surface.loss(surface.here)
    with pytest.raises(SurfaceError, match="LL305"):
        torch.autograd.grad(slopes[0].sum(), list(point.values()))


def test_a_point_of_another_model_is_refused():
    prober = probed(Perceptron, lambda surface: surface.loss({"net.0.weight": torch.zeros(3)}))

    assert prober.readings == []
    assert "LL315" in prober.refusals[0]
    assert "'net.0.weight' of shape (3,)" in prober.refusals[0]


def test_weights_that_were_frozen_since_an_anchor_and_differ_there_are_named():
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    module[0].requires_grad_(requires_grad=False)
    point = {name: parameter.detach().clone() for name, parameter in module.named_parameters()}
    with torch.no_grad():
        module[1].weight += 1.0
        module[2].weight += 1.0
    module[1].requires_grad_(requires_grad=False)
    weights = Weights(module)
    found = weights.frozen_since("initial", point)
    assert found.keys() == {"1.weight"}
    weights.set_to({**found, "2.weight": point["2.weight"]})
    assert all(torch.equal(parameter, point[name]) for name, parameter in module.named_parameters())
    weights.set_to({})
    assert torch.equal(module[1].weight, point["1.weight"] + 1.0)


def test_an_anchor_of_another_model_is_refused():
    class Other(Prober):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            self.initial = {"net.0.weight": torch.zeros(3)}

    seed_everything(7, verbose=False)
    prober = Other(lambda surface: None)
    specimen = Specimen(Perceptron, epochs=1)
    fit(specimen, make_trainer(specimen, prober), Perceptron())

    assert (
        prober.refusals[0] == "[LL316] anchor 'initial' has (3,) where the module has 'net.0.weight' of shape (32, 8)"
    )


def test_anchors_may_be_of_lower_precision():
    class Halved(Prober):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            super().on_train_start(trainer, pl_module)
            self.initial = {name: weight.bfloat16() for name, weight in self.initial.items()}

    seed_everything(7, verbose=False)
    prober = Halved(lambda surface: {weight.dtype for weight in midpoint(surface).values()})
    specimen = Specimen(Perceptron, epochs=1)
    fit(specimen, make_trainer(specimen, prober), Perceptron())

    assert prober.readings[0] == {torch.float32}


def test_without_a_batch_there_is_no_surface():
    class Empty(Prober):
        def on_train_batch_start(self, *args: Any) -> None: ...

    class TooLarge(Prober):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            super().on_train_start(trainer, pl_module)
            self.probe_set = ProbeSet(2, max_bytes=10)

    for kind, said in (
        (Empty, "none was captured"),
        (TooLarge, "a batch takes 320 bytes, and the probe set may hold 10"),
    ):
        prober = kind(lambda surface: None)
        specimen = Specimen(Perceptron, epochs=1)
        fit(specimen, make_trainer(specimen, prober), Perceptron())
        assert said in prober.refusals[0]


class Everywhere(Callback):
    """Try to open a surface in every hook."""

    def __init__(self) -> None:
        self.probe_set = ProbeSet(1)
        self.opened: set[str] = set()
        self.refused: dict[str, str] = {}

    def attempt(self, hook: str, trainer: Any, pl_module: Any) -> None:
        try:
            with module_surface(trainer, pl_module, self.probe_set):
                self.opened.add(hook)
        except SurfaceError as error:
            self.refused.setdefault(hook, str(error))

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.probe_set.capture(pl_module, batch, batch_idx)
        self.attempt("on_train_batch_start", trainer, pl_module)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.attempt("on_before_optimizer_step", trainer, pl_module)

    def on_train_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.attempt("on_train_batch_end", trainer, pl_module)

    def on_validation_batch_end(self, trainer: Any, pl_module: Any, *args: Any) -> None:
        self.attempt("on_validation_batch_end", trainer, pl_module)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        self.attempt("on_validation_end", trainer, pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.attempt("on_train_epoch_end", trainer, pl_module)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.attempt("on_train_end", trainer, pl_module)


def test_a_surface_opens_only_between_steps_and_at_the_end_of_an_epoch():
    everywhere = Everywhere()
    averaging = EMAWeightAveraging(decay=0.5)
    bare = train(SPECIMENS["Convolutional"], EMAWeightAveraging(decay=0.5))

    assert train(SPECIMENS["Convolutional"], everywhere, averaging).differences(bare) == []
    assert everywhere.opened == {"on_train_batch_end", "on_train_epoch_end"}
    assert everywhere.refused.keys() == {
        "on_train_batch_start",
        "on_before_optimizer_step",
        "on_validation_batch_end",
        "on_validation_end",
        "on_train_end",
    }
    assert all("LL313" in said for said in everywhere.refused.values())


@pytest.mark.parametrize("name", ["FSDPStrategy", "DeepSpeedStrategy"])
def test_f38_strategies_that_keep_the_weights_out_of_reach_are_refused(name: str):
    trainer = type("Trainer", (), {"strategy": type(name, (), {})()})()

    with pytest.raises(SurfaceError, match=f"LL312.* {name} "), module_surface(trainer, nn.Linear(1, 1), ProbeSet()):
        pass


def test_a_probe_compiles_nothing():
    counter = CompileCounter()

    class Compiled(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.net = torch.compile(nn.Sequential(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 3)), backend=counter)

    def compiled(*callbacks: Callback) -> int:
        torch._dynamo.reset()
        counter.clear()
        train(Specimen(Compiled, epochs=1), *callbacks)
        return int(counter.frame_count)

    assert compiled(Prober(everything)) == compiled() > 0


class Wide(Perceptron):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 512), nn.Tanh(), nn.Linear(512, 512), nn.Tanh(), nn.Linear(512, 3))


def live_tensors() -> set[int]:
    gc.collect()
    return {id(thing) for thing in gc.get_objects() if issubclass(type(thing), torch.Tensor)}


class Weighing(Prober):
    """Count the tensors and bytes that a probe leaves behind, from the third probe on."""

    def __init__(self) -> None:
        super().__init__(lambda surface: everything(surface)["line"])
        self.left: list[tuple[int, int]] = []

    def examine(self, trainer: Any, pl_module: Any) -> None:
        if len(self.readings) < 2:
            super().examine(trainer, pl_module)
            return
        tensors = live_tensors()
        tracemalloc.start()
        try:
            before, _ = tracemalloc.get_traced_memory()
            super().examine(trainer, pl_module)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.left.append((len(live_tensors() - tensors), after - before))


@pytest.mark.slow
def test_nothing_survives_a_probe():
    seed_everything(7, verbose=False)
    weighing = Weighing()
    specimen = Specimen(Wide, epochs=2)
    fit(specimen, make_trainer(specimen, weighing), Wide())

    assert weighing.left
    assert [tensors for tensors, _ in weighing.left] == [0] * len(weighing.left)
    assert all(size < 20_000 for _, size in weighing.left), weighing.left


def test_watched_training_that_holds_a_lock_and_generators_is_not_refused():
    prober = Prober(everything)

    assert train(SPECIMENS["HiddenState"], prober).differences(alone("HiddenState")) == []
    assert prober.refusals == []


def test_the_outputs_of_activation_layers_can_be_watched():
    def look(surface: LossSurface) -> tuple[str, tuple[int, ...], float]:
        ((name, layer),) = surface.run.activations({key: 0 * weight for key, weight in surface.here.items()}).items()
        assert float(surface.run.activations(surface.here)[name].values.abs().sum()) > 0
        return f"{name} {layer.kind}", tuple(layer.values.shape), float(layer.values.abs().sum())

    prober = Prober(look)

    assert train(SPECIMENS["Perceptron"], prober).differences(alone("Perceptron")) == []
    assert prober.readings[0] == ("net.1 Tanh", (8, 32), 0.0)
