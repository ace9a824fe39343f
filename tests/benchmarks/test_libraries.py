"""The benchmark of other libraries: its examples, table and command line. The libraries are not installed here."""

from __future__ import annotations

import ast
import inspect
import json
import re
from dataclasses import asdict, replace

import pytest

from benchmarks.libraries import runs
from benchmarks.libraries.__main__ import main
from benchmarks.libraries.catalogue import EXAMPLES, LIBRARIES, ROOT
from benchmarks.libraries.environments import environment, few_constraints, installations
from benchmarks.libraries.runs import Run
from benchmarks.libraries.table import harmed, row, summary

FLAT = Run(
    rate=1e-3, steps=400, identical=True, start=2.0, end=1.0, bare=10.0, watched=11.0, verdicts=(), report="no alarm"
)
TINY = replace(FLAT, end=2.0, watched=15.0, verdicts=(("learning_rate_too_small", "", True),))
LARGE = replace(FLAT, end=9.0, verdicts=(("undecided", "", False), ("diverged", "rate-spike", True)))
RESULT = {"healthy": FLAT, "tiny": TINY, "large": LARGE}
VERSIONS = {"torch": "2.13.0", "lightning": "2.6.6", "darts": "0.48.1"}


def stored(result):
    return json.dumps({name: asdict(run) for name, run in result.items()} | {"versions": VERSIONS})


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.package)
def test_an_example_trains_at_a_rate_with_callbacks_and_prints_the_last_report(library):
    tree = ast.parse(library.file.read_text(encoding="utf-8"))
    compile(tree, str(library.file), "exec")
    (train,) = [part for part in tree.body if isinstance(part, ast.FunctionDef) and part.name == "train"]
    assert [argument.arg for argument in train.args.args] == ["callbacks", "rate", "steps"]
    assert [type(default) for default in train.args.defaults] == [ast.Constant, ast.Constant]
    assert ast.unparse(tree.body[-1].body) == "train([LandscapeMonitor()])\nprint(last_report())"
    assert "callbacks" in ast.unparse(train)[30:]


def test_every_example_is_in_the_catalogue_and_on_the_page():
    examples = {library.example for library in LIBRARIES}
    assert examples == {path.stem for path in EXAMPLES.glob("*.py")}
    page = (ROOT / "docs" / "libraries.md").read_text(encoding="utf-8")
    assert [library.package for library in LIBRARIES if f"examples/libraries/{library.example}.py" not in page] == []


def test_what_the_page_quotes_stands_in_the_examples():
    page = (ROOT / "docs" / "libraries.md").read_text(encoding="utf-8")
    quotes = [" ".join(quote.split()) for quote in re.findall(r"``` \{ \.python \}\n(.*?)```", page, re.DOTALL)]
    examples = [" ".join(library.file.read_text(encoding="utf-8").split()) for library in LIBRARIES]
    assert len(quotes) == 6
    assert [quote for quote in quotes if not any(quote in example for example in examples)] == []


def test_torch_is_installed_first_and_pinned_by_the_constraints():
    constraints = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    for library in LIBRARIES:
        first, then = installations(library)
        assert first == then[:1]
        assert first[0] in constraints
        assert library.package in then
    few = few_constraints().splitlines()
    assert first[0] in few
    assert set(few) < set(constraints)


def test_an_environment_that_is_there_is_not_made_again(tmp_path):
    place = tmp_path / LIBRARIES[0].package
    place.mkdir()
    (place / "installed").touch()
    assert environment(LIBRARIES[0], tmp_path) == place / "bin" / "python"


def test_a_line_of_the_table_says_what_was_found_and_what_it_cost():
    assert row("darts 0.48.1", RESULT) == [
        *("darts 0.48.1", "400", "yes", "none", "learning_rate_too_small", "diverged (rate-spike)", "1.10", "1.50")
    ]


def test_an_alarm_that_is_raised_again_is_told_once():
    again = replace(LARGE, verdicts=(*LARGE.verdicts, *LARGE.verdicts))
    assert row("darts", RESULT | {"large": again})[5] == "diverged (rate-spike)"


def test_a_large_rate_that_does_no_harm_is_not_counted():
    harmless = replace(LARGE, end=1.4)
    assert not harmed(harmless, FLAT)
    assert harmed(replace(LARGE, end=1.6), FLAT)
    assert harmed(replace(LARGE, end=float("inf")), FLAT)
    assert row("darts", RESULT | {"large": harmless})[5].startswith("does no harm")
    assert "in 0 of the 0 where" in summary([RESULT | {"large": harmless}])


def test_the_counts_are_of_first_alarms_and_of_all_libraries():
    wrong = {
        "healthy": replace(FLAT, verdicts=TINY.verdicts),
        "tiny": replace(TINY, verdicts=(("flat_region", "", True), *TINY.verdicts), watched=30.0),
        "large": replace(LARGE, identical=False),
    }
    said = summary([RESULT, wrong])
    assert "identical in 1 of 2 libraries. 1 of 2 healthy runs alarm." in said
    assert "1e-7 is named in 1 of 2, and 1,000 times the rate in 2 of the 2 where" in said
    assert said.endswith("1.10 times for a healthy run and 3.00 times at 1e-7.")


def test_the_command_prints_the_table_of_kept_results_without_running_anything(tmp_path, capsys):
    (tmp_path / "darts.json").write_text(stored(RESULT))
    main(["darts", "--folder", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "| darts 0.48.1 | 400 | yes |" in printed
    assert "Weights are identical in 1 of 1 libraries." in printed


def test_the_command_says_why_a_library_is_missing_and_goes_on(tmp_path, capsys, monkeypatch):
    def refuse(library, folder):
        raise RuntimeError(f"pip cannot install {library.package}: no such version")

    monkeypatch.setattr("benchmarks.libraries.__main__.environment", refuse)
    (tmp_path / "darts.json").write_text(stored(RESULT))
    main(["darts", "monai", "--folder", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "| darts 0.48.1 |" in printed
    assert "Not measured: monai. pip cannot install monai: no such version" in printed


def test_the_command_refuses_a_library_that_it_does_not_know(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["keras", "--folder", str(tmp_path)])
    assert "unknown: keras; known are transformers" in capsys.readouterr().err


EXAMPLE = """
import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset


class Line(L.LightningModule):
    def __init__(self, rate):
        super().__init__()
        self.net, self.rate = torch.nn.Linear(4, 1), rate

    def training_step(self, batch, batch_idx):
        return ((self.net(batch[0]) - batch[1]) ** 2).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.rate)


def train(callbacks, rate=0.05, steps=60):
    x = torch.randn(64, 4)
    trainer = L.Trainer(
        max_steps=steps, callbacks=callbacks, accelerator="cpu", logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )
    model = Line(rate)
    trainer.fit(model, DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 8))
    return model
"""


def test_a_run_says_whether_the_weights_are_identical_and_where_the_loss_went(tmp_path, monkeypatch):
    (tmp_path / "line.py").write_text(EXAMPLE)
    monkeypatch.setattr(runs, "EXAMPLES", tmp_path)
    train = runs.loaded("line")
    assert inspect.signature(train).parameters["rate"].default == 0.05
    healthy = runs.run(train, 0.05, 60, turns=1)
    assert healthy.identical
    assert healthy.verdicts == ()
    assert healthy.steps == 60
    assert healthy.end < 0.1 * healthy.start
    assert "60 optimizer steps were watched." in healthy.report
    assert healthy.bare > 0
    assert healthy.watched > 0
    assert not healthy.error


def test_a_run_that_raises_is_told_and_not_taken_for_a_result(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("def train(callbacks, rate=0.1, steps=3):\n    raise ValueError('no data')\n")
    monkeypatch.setattr(runs, "EXAMPLES", tmp_path)
    broken = runs.run(runs.loaded("broken"), 0.1, 3, turns=1)
    assert broken.error == "ValueError: no data"
    assert broken.end == float("inf")
    assert broken.verdicts == ()
    assert row("darts", RESULT | {"large": broken})[5] == "no alarm; without the monitor: ValueError"
