"""The parts of examples/extending.py and docs/extending.md in real runs: logged, watched, resumed, copied."""

import ast
import copy
import csv
import importlib
import importlib.util
import json
import pickle
import re
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import DataLoader

from lightning_landscape import LandscapeWarning
from lightning_landscape.callbacks import Examination, LandscapeMonitor, Monitor
from lightning_landscape.diagnosis import DETECTORS
from lightning_landscape.evidence import Cause, Measurements
from lightning_landscape.examination.own_scalars import own_scalars
from lightning_landscape.probes import EXAMINATION
from tests.test_namespaces import NAMESPACES, needs_lightning_2_6

ROOT = Path(__file__).parents[1]
slow = pytest.mark.slow
ways = pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda monitor: pickle.loads(pickle.dumps(monitor))]
)

STEPS, PER_EPOCH = 192, 16
LONGEST = 20
"""lines of code that a part may take"""


def loaded_example():
    spec = importlib.util.spec_from_file_location("extending_example", ROOT / "examples" / "extending.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # pickle looks the classes up by the name of their module
    spec.loader.exec_module(module)
    return module


example = loaded_example()


def whole_monitor():
    """The example's LandscapeMonitor, with an effort that does not depend on the speed of the machine."""
    return example.StepLengthMonitor(
        probes=[example.gain, *EXAMINATION],
        detectors=[example.shrinking_layers, *DETECTORS],
        remedies=[example.rescale],
        effort="standard",
    )


class SavesAt(L.Callback):
    """Writes a checkpoint after each of these steps."""

    def __init__(self, folder, *steps):
        self.folder, self.steps = folder, steps

    def path(self, step):
        return self.folder / f"{step}.ckpt"

    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step in self.steps:
            trainer.save_checkpoint(self.path(trainer.global_step))


def train(*callbacks, steps=STEPS, module=None, namespace=L, ckpt_path=None, **settings):
    """Train the example's network, and return the trainer and the library's warnings."""
    torch.manual_seed(0)
    module = example.DeepLinear() if module is None else module()
    inputs = torch.randn(32 * PER_EPOCH, 8, generator=torch.Generator().manual_seed(1))
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = namespace.Trainer(
            **{**quiet, "max_steps": steps, "accelerator": "cpu", "log_every_n_steps": 8, **settings},
            callbacks=list(callbacks),
        )
        trainer.fit(module, DataLoader(inputs, batch_size=32), ckpt_path=ckpt_path)
    return trainer, [str(w.message) for w in caught if issubclass(w.category, LandscapeWarning)]


def own_metrics(trainer):
    return {name: float(value) for name, value in trainer.callback_metrics.items() if name != "landscape/overhead"}


def numbers(monitor, name):
    """The numbers that a probe returned, with their steps."""
    logged = monitor.readings.of(Measurements)
    return [(step, reading.values[name]) for step, reading in logged if name in reading.values]


# The size of the parts.


def parts_of(source):
    """The functions and classes at the top of a program, with their numbers of lines."""
    kinds = (ast.FunctionDef, ast.ClassDef)
    return {node.name: node.end_lineno - node.lineno + 1 for node in ast.parse(source).body if isinstance(node, kinds)}


def programs_of(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    return [text] if page.endswith(".py") else re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["examples/extending.py", "docs/extending.md"])
def test_each_part_is_at_most_20_lines_long(page):
    programs = programs_of(page)
    parts = {name: lines for program in programs for name, lines in parts_of(program).items()}
    assert len(parts) >= 6
    assert {name: lines for name, lines in parts.items() if lines > LONGEST} == {}


# One run with all parts, and two that continue it from a checkpoint.


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A straight run with all parts, two loggers and two checkpoints: before the alarm and after the escape."""
    folder = tmp_path_factory.mktemp("straight")
    monitor, scheduled, saver = whole_monitor(), example.ImbalanceMonitor(), SavesAt(folder, 32, 128)
    loggers = [CSVLogger(folder, "csv", ""), TensorBoardLogger(folder, "tensorboard", "")]
    trainer, said = train(monitor, scheduled, saver, logger=loggers)
    return SimpleNamespace(monitor=monitor, scheduled=scheduled, trainer=trainer, said=said, folder=folder, saver=saver)


@slow
def test_the_own_detector_names_the_cause_from_the_number_of_the_own_probe(straight):
    verdict = straight.monitor.verdict
    ((step, gain),) = numbers(straight.monitor, "gain")
    assert (verdict.cause, verdict.step, verdict.stuck) == (Cause.FLAT_REGION, step, True)
    assert f"All layers together scale a signal by {gain:.2g} (threshold 0.1)." in verdict.reason
    assert verdict.evidence.get(Measurements).values == {"gain": gain}
    assert sum("All layers together" in text for text in straight.said) == 1


@slow
def test_the_own_remedy_lets_the_run_escape_and_the_report_says_what_it_did(straight):
    (outcome,) = straight.monitor.remedy_outcomes
    assert outcome.said == ("scaled the weights of each layer to a gain of 1 (remedy: rescale)",)
    assert outcome.escaped is not None
    assert f"the run escaped at step {outcome.escaped}" in straight.monitor.report


@slow
def test_a_scheduled_probe_runs_every_so_many_steps_and_its_monitor_reaches_no_verdict(straight):
    steps = [step for step, _ in numbers(straight.scheduled, "imbalance")]
    assert len(steps) >= STEPS // 20 - 1
    assert straight.scheduled.verdicts == ()


@slow
@pytest.mark.parametrize("name", ["gain", "step_length", "imbalance"])
def test_an_own_scalar_is_in_callback_metrics_and_in_the_files_of_each_logger(name, straight):
    tag, folder = f"landscape/{name}", straight.folder
    published = float(straight.trainer.callback_metrics[tag])
    with (folder / "csv" / "metrics.csv").open() as file:
        column = [float(row[tag]) for row in csv.DictReader(file) if row[tag]]
    accumulator = EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    events = [event.value for event in accumulator.Scalars(tag)]
    assert events == pytest.approx(column)
    assert len(column) > 1
    if name != "imbalance":  # which was measured once more after the last row
        assert column[-1] == pytest.approx(published)


@slow
@pytest.mark.parametrize("step", [32, 128])
def test_a_run_that_is_stopped_and_resumed_has_the_readings_verdicts_and_scalars_of_a_straight_run(
    step, straight, tmp_path
):
    monitor, scheduled = whole_monitor(), example.ImbalanceMonitor()
    saver = SavesAt(tmp_path, 128)  # a checkpoint may postpone a measurement by one check
    trainer, _ = train(monitor, scheduled, saver, ckpt_path=straight.saver.path(step))
    assert monitor.verdicts == straight.monitor.verdicts
    assert monitor.verdict.evidence.get(Measurements) == straight.monitor.verdict.evidence.get(Measurements)
    assert monitor.remedy_outcomes == straight.monitor.remedy_outcomes
    assert numbers(monitor, "gain") == numbers(straight.monitor, "gain")
    assert numbers(scheduled, "imbalance") == numbers(straight.scheduled, "imbalance")
    assert own_metrics(trainer) == own_metrics(straight.trainer)


@slow
def test_the_first_step_of_a_resumed_run_sees_the_scalars_of_the_run_before(straight):
    class First(L.Callback):
        seen = None

        def on_train_batch_start(self, trainer, *args):
            self.seen = self.seen or set(trainer.callback_metrics)

    first = First()
    train(whole_monitor(), example.ImbalanceMonitor(), first, steps=129, ckpt_path=straight.saver.path(128))
    assert {"landscape/gain", "landscape/imbalance"} <= first.seen


# Other callbacks.


@pytest.mark.parametrize("make", [example.ImbalanceMonitor, lambda: LandscapeMonitor(probes=[example.gain])])
def test_early_stopping_follows_an_own_scalar(make):
    name = "imbalance" if make is example.ImbalanceMonitor else "gain"
    stop = EarlyStopping(
        f"landscape/{name}", patience=10**9, divergence_threshold=0.0, strict=False, check_on_train_epoch_end=True
    )
    trainer, _ = train(make(), stop)
    assert stop.stopped_epoch > 0
    assert trainer.global_step < STEPS


@needs_lightning_2_6
@slow
def test_own_parts_measure_the_same_in_both_namespaces():
    measured = {}
    for name in NAMESPACES:
        namespace = importlib.import_module(name)
        module = type("DeepLinear", (namespace.LightningModule,), dict(example_methods()))
        monitor, scheduled = whole_monitor(), example.ImbalanceMonitor()
        trainer, said = train(monitor, scheduled, module=module, namespace=namespace)
        measured[name] = (own_metrics(trainer), monitor.verdicts, numbers(scheduled, "imbalance"), said)
    first, second = measured.values()
    assert first == second
    assert {"landscape/gain", "landscape/step_length", "landscape/imbalance"} <= first[0].keys()


def example_methods():
    """The methods of the example's module, for a class of the other namespace."""

    def init(self):
        super(type(self), self).__init__()
        self.net = example.DeepLinear().net

    yield "__init__", init
    for name in ("training_step", "configure_optimizers"):
        yield name, vars(example.DeepLinear)[name]


# Copies.


@slow
@ways
@pytest.mark.parametrize("name", ["monitor", "scheduled"])
def test_a_copy_of_an_own_monitor_has_its_report_verdicts_and_readings(name, copied, straight):
    monitor = getattr(straight, name)
    twin = copied(monitor)
    assert type(twin) is type(monitor)
    assert twin.report == monitor.report
    assert twin.verdicts == monitor.verdicts
    assert twin.readings.of(Measurements) == monitor.readings.of(Measurements)


@ways
def test_a_copy_of_an_own_monitor_measures_what_the_original_measures(copied):
    original = example.ImbalanceMonitor()
    twin = copied(original)
    train(original, steps=48)
    train(twin, steps=48)
    assert len(numbers(twin, "imbalance")) > 1
    assert numbers(twin, "imbalance") == numbers(original, "imbalance")


class LatestMonitor(example.ImbalanceMonitor):
    """Shows the latest number of its probe once more, and notes what it could show at the first step."""

    def scalars(self, record):
        latest = self.readings.latest(Measurements)
        return {} if latest is None else {"latest": latest.values["imbalance"]}


@ways
def test_the_scalars_of_a_monitor_do_not_begin_with_the_readings_of_its_copy(copied):
    class First(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if trainer.global_step == 0:
                assert "landscape/latest" not in trainer.callback_metrics

    original = LatestMonitor()
    train(copied(original), steps=48)
    trainer, _ = train(original, First(), steps=48)
    assert "landscape/latest" in trainer.callback_metrics


# The other methods that a monitor of one's own overrides.


class ToldMonitor(example.StepLengthMonitor):
    """Notes its alarms and checks, and raises no alarm of a flat region before the 100th step."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.alarms, self.checks = [], []

    def judge(self, readings):
        if self.report.steps >= 100:
            super().judge(readings)

    def warn(self, verdict):
        super().warn(verdict)
        self.alarms.append(verdict)

    def after_check(self):
        self.checks.append(self.report.steps)

    def figures(self):
        figure = Figure()
        figure.subplots().plot(self.checks)
        return {**super().figures(), "checks": figure}


@slow
def test_a_monitor_of_ones_own_judges_warns_looks_and_draws_by_its_own_methods(tmp_path):
    monitor = ToldMonitor(probes=[example.gain], detectors=[example.shrinking_layers], effort="standard")
    _, said = train(monitor, logger=CSVLogger(tmp_path, "", ""), steps=400)
    assert monitor.verdict.step >= 99  # steps are counted from 0
    assert monitor.alarms == list(monitor.verdicts)
    assert sum("[LL202]" in text for text in said) == len(monitor.alarms) == 1
    assert monitor.checks[:3] == [10, 20, 30]
    pictures = {path.name.rpartition("-")[0] for path in (tmp_path / "landscape").glob("*.png")}
    assert pictures >= {"checks", "timeline"}


# The monitors of docs/extending.md.


@slow
@pytest.mark.parametrize("program", [text for text in programs_of("docs/extending.md") if "\nmonitor = " in text])
def test_each_monitor_on_the_page_watches_a_run_and_shows_what_the_page_says(program, tmp_path):
    names = {"__name__": "docs_extending"}
    exec(compile(program, "extending.md", "exec"), names)
    trainer, said = train(names["monitor"], logger=CSVLogger(tmp_path, "", ""))
    shown = {"gain": "gain", "layer_norms": "imbalance", "StepLengthMonitor": "step_length", "imbalance": "imbalance"}
    scalars = {f"landscape/{scalar}" for part, scalar in shown.items() if part in names}
    assert scalars <= trainer.callback_metrics.keys()
    assert not any("LL3" in text for text in said)  # nothing has failed or was skipped
    if "ImbalanceMonitor" in names:
        assert list((tmp_path / "landscape").glob("imbalance_curve-*.png"))
        assert names["monitor"].verdicts == ()


# Several numbers, and parts that fail.


def test_numbers_of_several_probes_are_one_reading_for_each_check():
    examination = Examination(scheduled=[example.gain, example.imbalance], every_n_steps=10, detectors=[])
    monitor = Monitor(examination)
    train(monitor, steps=320)
    logged = monitor.readings.of(Measurements)
    assert len(logged) == len({step for step, _ in logged})
    assert all(reading.values.keys() == {"gain", "imbalance"} for _, reading in logged)
    assert logged[0][0] < 20
    assert logged[-1][0] > 300


def test_numbers_of_several_probes_are_all_in_the_events(tmp_path):
    monitor = LandscapeMonitor(probes=[example.gain, example.imbalance], effort="standard", dirpath=str(tmp_path))
    train(monitor, steps=64)
    events = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    written = [event["readings"].get("Measurements") for event in events if event["event"] == "readings"]
    assert {"gain", "imbalance"} in [numbers["values"].keys() for numbers in written if numbers]


class FailingScalars(example.ImbalanceMonitor):
    def scalars(self, record):
        return {"latest": self.readings.latest(Measurements).values["no such probe"]}


class FailingAfterCheck(example.ImbalanceMonitor):
    def after_check(self):
        raise RuntimeError("no luck")


class FailingFigures(example.ImbalanceMonitor):
    def figures(self):
        raise RuntimeError("no luck")


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (FailingScalars, "FailingScalars.scalars failed and training goes on: AttributeError"),
        (FailingAfterCheck, "FailingAfterCheck.after_check failed and training goes on: RuntimeError: no luck"),
        (FailingFigures, "drawing failed and training goes on: RuntimeError: no luck"),
    ],
)
def test_a_method_that_fails_is_named_once_and_the_monitor_goes_on_without_it(kind, named, tmp_path):
    monitor, usual = kind(), example.ImbalanceMonitor()
    trainer, said = train(monitor, logger=CSVLogger(tmp_path, "", ""))
    train(usual)
    assert len(said) == 1
    assert named in said[0]
    assert numbers(monitor, "imbalance") == numbers(usual, "imbalance")
    assert monitor.report.steps == STEPS
    assert "landscape/imbalance" in trainer.callback_metrics


def test_a_tensor_among_the_scalars_is_logged_as_a_number(tmp_path):
    class Half(Monitor):
        def scalars(self, record):
            return {"half": torch.tensor(0.5)}

    trainer, said = train(Half(), logger=CSVLogger(tmp_path, "", ""), steps=32)
    assert said == []
    assert float(trainer.callback_metrics["landscape/half"]) == 0.5
    with (tmp_path / "metrics.csv").open() as file:
        assert {row["landscape/half"] for row in csv.DictReader(file)} == {"0.5"}


@pytest.mark.parametrize("name", ["verdict", "plane"])
def test_a_probe_that_is_called_like_a_scalar_of_the_library_is_told_to_take_another_name(name):
    values, refused = own_scalars([Measurements({name: 1.0, "mine": 2.0})])
    assert values == {"mine": 2.0}
    assert refused == {
        f"the scalar {name!r} of a probe": f"the library itself uses the name landscape/{name}; choose another"
    }
