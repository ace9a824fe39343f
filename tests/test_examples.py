"""Every example runs as documented, prints what it promises, and writes the files that it names."""

import csv
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from lightning.pytorch.cli import LightningCLI
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lightning_landscape import LandscapeMonitor
from lightning_landscape.diagnosis.without_cause import settled
from lightning_landscape.examination.verdicts import Verdicts
from lightning_landscape.probes import starting_point
from lightning_landscape.probes.line import LossLine
from lightning_landscape.remedies import Perturb, Stop

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
EXAMPLE_FILES = [path for path in sorted(EXAMPLES.rglob("*")) if path.suffix in {".py", ".yaml"}]


def run(script, *arguments, cwd):
    """Run an example, and return its standard output and its standard error."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.run(
        [sys.executable, str(EXAMPLES / script), *arguments],
        cwd=cwd, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stderr
    return process.stdout, process.stderr


def events(folder):
    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    return accumulator


@pytest.mark.parametrize("path", EXAMPLE_FILES, ids=lambda path: path.relative_to(EXAMPLES).as_posix())
def test_an_example_fits_on_a_page(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= {"extending.py": 100, "quickstart.py": 90}.get(path.name, 60)  # six parts, three runs


@pytest.mark.slow
def test_the_quickstart_shows_a_stuck_a_miswired_and_a_healthy_run_and_lines_that_can_be_pasted(tmp_path):
    out, err = run("quickstart.py", cwd=tmp_path)
    _, stuck, miswired, healthy, see = re.split(r"^=== .+ ===$", out, flags=re.MULTILINE)
    assert "lightning_landscape: no alarm in 2,250 steps" in healthy
    assert re.search(r"watching and diagnosing took [\d.]+ s, [\d.]+% of the training time\.", healthy)
    assert "[LL202]" in stuck
    assert re.search(r"watching and diagnosing took [\d.]+ s\.", stuck)
    assert "[LL202 squashed-twice]" in miswired
    assert re.search(r"^\w+Warning: \[LL202\] step \d+: stuck on a flat region", err, re.MULTILINE)
    assert "The gradient vanishes" in err
    assert re.search(r"^\w+Warning: \[LL202 squashed-twice\] step 0: `softmax` in `self\.net\[5\]`", err, re.MULTILINE)

    tensorboard, *reports = [line.strip() for line in see.splitlines() if line.startswith("  ")]
    assert tensorboard.endswith(" --port 6006 --logdir out/demo")
    version = subprocess.run([*shlex.split(tensorboard), "--version"], cwd=tmp_path, capture_output=True, check=False)
    assert version.returncode == 0
    for name, report in zip(("stuck", "miswired", "healthy"), reports, strict=True):
        assert report == f"out/demo/{name}/version_0/landscape/landscape_report.html"
        assert (tmp_path / report).is_file()
        logged = events(tmp_path / "out" / "demo" / name / "version_0")
        assert {"train_loss", "landscape/grad_norm", "landscape/plateau_length"} <= set(logged.Tags()["scalars"])
        assert {"landscape/grad_norms", "landscape/line_from_initial"} <= set(logged.Tags()["images"])
        assert ("landscape/verdict_card/text_summary" in logged.Tags()["tensors"]) is (name != "healthy")


@pytest.mark.slow
def test_each_monitor_alone_logs_its_own_scalars_and_pictures(tmp_path):
    out, err = run("each_monitor_alone.py", "out", "8", cwd=tmp_path)
    parts = dict(part.split("\n", 1) for part in out.split("--- ")[1:])
    scalars = {
        name: {line.split(" = ")[0] for line in part.splitlines() if re.match(r"landscape/\w+ = ", line)}
        for name, part in parts.items()
    }
    progress = {"landscape/loss_trend", "landscape/plateau_length", "landscape/verdict"}
    gradient = {"landscape/grad_norm", "landscape/grad_norm_clipped"}
    ratio, line = {"landscape/update_ratio"}, {"landscape/barrier"}
    assert scalars == {
        "GradientNormMonitor": gradient | ratio,
        "PlateauMonitor": progress | ratio,
        "LossInterpolationMonitor": line,
        "LandscapeMonitor": gradient | progress | ratio | line | {"landscape/overhead", "landscape/noise_scale"},
    }
    assert "[LL110]" in err
    pictures = {name: set(events(tmp_path / "out" / name / "version_0").Tags()["images"]) for name in parts}
    assert pictures["GradientNormMonitor"] == {"landscape/grad_norms"}
    assert pictures["PlateauMonitor"] == set()
    assert "landscape/line_from_initial" in pictures["LossInterpolationMonitor"]
    of_all = {"landscape/timeline", "landscape/trials", "landscape/plane", "landscape/line_from_initial"}
    assert pictures["LandscapeMonitor"] >= pictures["GradientNormMonitor"] | of_all
    assert out.endswith("To see more: tensorboard --logdir out\n")


@pytest.mark.slow
def test_the_escape_example_reports_the_remedy_and_the_loss_falls_after_it(tmp_path):
    out, _ = run("escape.py", "out", cwd=tmp_path)
    stuck, escaped = out.split("with Perturb: ")
    falls = [re.search(r"training loss went from ([\d.]+) to ([\d.]+?)\. ", text).groups() for text in (stuck, escaped)]
    shares = [float(last) / float(first) for first, last in falls]
    assert shares[0] > 0.9
    assert shares[1] < 0.5
    assert "(remedy: Perturb(" not in stuck[stuck.index("without remedies: ") :]
    assert re.search(r"step \d+ \(\w+\): moved .*\(remedy: Perturb\(.*; the run escaped at step \d+\.", escaped)
    with Image.open(tmp_path / "out" / "escape.png") as picture:
        assert picture.width == 640
        assert len(picture.getcolors(2**20)) > 20


@pytest.mark.slow
def test_the_extending_example_names_the_cause_escapes_and_logs_its_own_scalars(tmp_path):
    out, err = run("extending.py", "out", cwd=tmp_path)
    assert "[LL202]" in err
    assert re.search(r"All layers together scale a signal by 0\.0\d+ \(threshold 0.1\)\.", out)
    assert re.search(r"scaled the weights of each layer to a gain of 1 \(remedy: rescale\); the run escaped at", out)
    printed = dict(re.findall(r"^landscape/(\w+) = ([\d.]+)$", out, re.MULTILINE))
    assert printed.keys() == {"gain", "step_length", "imbalance"}
    with (tmp_path / "out" / "extending" / "version_0" / "metrics.csv").open() as file:
        assert {f"landscape/{name}" for name in printed} <= set(next(csv.reader(file)))


@pytest.mark.parametrize(
    ("remedies", "expected"),
    [
        ("[]", ()),
        ('[{"class_path": "lightning_landscape.remedies.Perturb", "init_args": {"scale": 0.3}}]', (Perturb(0.3),)),
        ('[{"class_path": "lightning_landscape.remedies.Stop"}]', (Stop(),)),
    ],
)
def test_the_command_line_takes_remedies_as_classes(main, remedies, expected):
    monitor = parsed(
        main, "--trainer.callbacks+=lightning_landscape.LandscapeMonitor", f"--trainer.callbacks.remedies={remedies}"
    )
    assert monitor._remedy_runner.remedies == expected


@pytest.mark.slow
def test_the_cli_trains_with_the_monitor_of_its_yaml_file(tmp_path):
    config = EXAMPLES / "lightning_cli" / "config.yaml"
    run(
        "lightning_cli/main.py", "fit", f"--config={config}", "--trainer.max_epochs=3",
        "--trainer.callbacks.every_n_steps=40",
        "--trainer.logger=lightning.pytorch.loggers.CSVLogger", "--trainer.logger.save_dir=logs",
        "--trainer.enable_progress_bar=false", cwd=tmp_path,
    )  # fmt: skip
    folder = tmp_path / "logs" / "lightning_cli" / "version_0"
    with (folder / "metrics.csv").open() as file:
        columns = next(csv.reader(file))
    assert {"train_loss", "landscape/grad_norm", "landscape/plateau_length"} <= set(columns)
    names = {path.name.rpartition("-")[0] for path in (folder / "landscape").iterdir()}
    assert names >= {"grad_norms", "line_from_initial"}
    saved = yaml.safe_load((folder / "config.yaml").read_text())
    assert saved["trainer"]["callbacks"][0]["class_path"] == "lightning_landscape.LandscapeMonitor"
    assert saved["trainer"]["callbacks"][0]["init_args"]["every_n_steps"] == 40


@pytest.fixture
def main(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["main.py"])
    monkeypatch.setenv(
        "JSONARGPARSE_DEPRECATION_WARNINGS", "off"
    )  # LightningCLI calls deprecated functions of jsonargparse
    spec = importlib.util.spec_from_file_location("lightning_cli_main", EXAMPLES / "lightning_cli" / "main.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # jsonargparse looks the classes up by the name of their module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def parsed(main, *arguments):
    """Return the monitor that this command line creates."""
    command = [*arguments, "--seed_everything=false", "--trainer.accelerator=cpu", "--trainer.logger=false"]
    cli = LightningCLI(main.Classifier, main.Digits, run=False, args=command, save_config_callback=None)
    (monitor,) = [callback for callback in cli.trainer.callbacks if isinstance(callback, LandscapeMonitor)]
    return monitor


def test_the_command_line_sets_the_arguments_of_the_monitor(main):
    monitor = parsed(
        main, "--trainer.callbacks+=lightning_landscape.LandscapeMonitor", "--trainer.callbacks.every_n_steps=25",
        '--trainer.callbacks.anchors=["initial","runs/a.ckpt"]', "--trainer.callbacks.num_points=5",
    )  # fmt: skip
    expected = LandscapeMonitor(every_n_steps=25, anchors=("initial", "runs/a.ckpt"), num_points=5)
    assert monitor.state_key == expected.state_key


@pytest.mark.parametrize(
    "probes",
    ["null", "[]", '[{"class_path": "lightning_landscape.probes.line.LossLine", "init_args": {"anchor": "best"}}]'],
)
def test_the_command_line_takes_probes_as_null_as_an_empty_list_or_as_classes(main, probes):
    monitor = parsed(
        main, "--trainer.callbacks+=lightning_landscape.LandscapeMonitor", f"--trainer.callbacks.probes={probes}"
    )
    by_argument = {"null": LandscapeMonitor(), "[]": LandscapeMonitor(probes=())}
    expected = by_argument.get(probes, LandscapeMonitor(probes=[LossLine("best")]))
    assert monitor._examination._probes == expected._examination._probes


def test_the_command_line_takes_functions_by_their_dotted_names(main):
    monitor = parsed(
        main,
        "--trainer.callbacks+=lightning_landscape.LandscapeMonitor",
        '--trainer.callbacks.probes=["lightning_landscape.probes.starting_point"]',
        '--trainer.callbacks.remedies=["tests.test_examples.remedy_of_a_users_module"]',
    )
    assert monitor._examination._probes == (starting_point,)
    assert monitor._remedy_runner.remedies == (remedy_of_a_users_module,)


def remedy_of_a_users_module(verdict, optimizer):
    return None


def test_the_command_line_takes_detectors_by_their_dotted_names(main):
    monitor = parsed(
        main,
        "--trainer.callbacks+=lightning_landscape.LandscapeMonitor",
        '--trainer.callbacks.detectors=["lightning_landscape.diagnosis.without_cause.settled"]',
    )
    assert monitor._examination._verdicts == Verdicts((settled,))


def test_an_invalid_argument_is_refused_before_training(main):
    with pytest.raises(ValueError, match="points must be at least 3"):
        parsed(main, "--trainer.callbacks+=lightning_landscape.LandscapeMonitor", "--trainer.callbacks.num_points=2")


def test_a_printed_config_creates_an_equal_monitor(main, capsys, tmp_path):
    command = [
        f"--config={EXAMPLES / 'lightning_cli' / 'config.yaml'}",
        "--trainer.callbacks.num_points=7",
        "--trainer.callbacks.norm_every_n_steps=3",
    ]
    with pytest.raises(SystemExit):
        parsed(main, *command, "--print_config")
    printed = tmp_path / "printed.yaml"
    printed.write_text(capsys.readouterr().out)
    first, again = parsed(main, *command), parsed(main, f"--config={printed}")
    assert again.state_key == first.state_key
    assert (
        first.state_key
        == LandscapeMonitor(
            every_n_steps=100, anchors=("initial", "best"), num_points=7, norm_every_n_steps=3
        ).state_key
    )
