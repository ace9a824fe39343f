"""What the terminal shows: whole lines above the progress bar, one warning, and a table at the end."""

import os
import subprocess
import sys
import threading
from itertools import pairwise

import pytest

from lightning_landscape.clock import SYSTEM_CLOCK
from lightning_landscape.evidence import Cause, LossLevel, Verdict
from lightning_landscape.reporting.report import Report
from lightning_landscape.reporting.terminal import NOTICE_AFTER, notice_if_slow, print_line, table
from tests.clocks import ManualClock

STUCK = Verdict(Cause.FLAT_REGION, 203, 90, stuck=True, reason="Flat.", advice="another initialisation " * 9)

TRAINING = """
import logging, sys, warnings
import lightning as L
import torch
from lightning.pytorch.callbacks import RichProgressBar, TQDMProgressBar
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from lightning_landscape import LandscapeMonitor, LandscapeWarning
from lightning_landscape.clock import Clock

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.simplefilter("ignore")
warnings.simplefilter("always", LandscapeWarning)

class Waits(Clock):
    # Runs the delayed action when a probe asks for it, so that the test need not wait.
    def call_after(self, seconds, action):
        self.action = action
        return lambda: None

class Classifier(L.LightningModule):
    def __init__(self, depth, activation):
        super().__init__()
        hidden = [part for _ in range(depth) for part in (nn.Linear(16, 16), activation())]
        self.net = nn.Sequential(nn.Linear(8, 16), activation(), *hidden, nn.Linear(16, 3))
    def training_step(self, batch, batch_idx):
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9)

def slow(surface):
    monitor.clock.action()

inputs = torch.randn(640, 8, generator=torch.Generator().manual_seed(0))
data = DataLoader(TensorDataset(inputs, inputs[:, :3].argmax(1)), batch_size=32)
for bar in (TQDMProgressBar(refresh_rate=1), RichProgressBar()):
    for depth, activation in ((1, nn.ReLU), (8, nn.Sigmoid)):
        torch.manual_seed(7)
        print(f"begin {type(bar).__name__} {depth}", flush=True)
        monitor = LandscapeMonitor(probes=(slow,) if depth == 8 else ())
        monitor.clock = Waits()
        L.Trainer(
            max_steps=300, logger=False, enable_checkpointing=False, enable_model_summary=False, accelerator="cpu",
            callbacks=[type(bar)(), monitor],
        ).fit(Classifier(depth, activation), data)
print("done", flush=True)
"""


def in_a_terminal(program, columns):
    """Return the rows that a terminal of this width has shown."""
    import fcntl
    import pty
    import struct
    import termios

    pyte = pytest.importorskip("pyte")
    terminal, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 300, columns, 0, 0))
    environment = os.environ | {"COLUMNS": str(columns), "TERM": "xterm-256color"}
    screen = pyte.Screen(columns, 300)
    stream = pyte.ByteStream(screen)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=other_end, stderr=other_end, stdin=other_end, env=environment
    ) as process:
        os.close(other_end)
        while True:
            try:
                piece = os.read(terminal, 65536)
            except OSError:  # Linux raises this when the other end is closed
                break
            if not piece:
                break
            stream.feed(piece)
    os.close(terminal)
    assert process.returncode == 0, screen.display
    return [row.rstrip() for row in screen.display]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_with_either_bar_a_stuck_run_prints_one_warning_and_a_table_and_a_healthy_run_one_line():
    pytest.importorskip("rich")
    rows = in_a_terminal(TRAINING, columns=150)
    starts = [i for i, row in enumerate(rows) if row.startswith("begin ")] + [rows.index("done")]
    assert len(starts) == 5, rows
    for start, end in pairwise(starts):
        said = rows[start:end]
        ours = [row for row in said if "[LL" in row or "Try:" in row or "landscape" in row.lower()]
        if said[0].endswith(" 1"):
            assert len(ours) == 1, ours
            assert ours[0].startswith("lightning_landscape: no alarm in 300 steps; "), ours
            continue
        titles = [i for i, row in enumerate(said) if "[LL202] step" in row]
        assert len(titles) == 1, said
        warning = said[titles[0] : titles[0] + 8]
        if "Rich" in said[0]:  # in a panel
            assert said[titles[0] - 1].startswith("╭─ PlateauWarning ─"), said
            assert said[titles[0]].startswith("│ [LL202] step")
            warning = [row.strip("│ ") for row in warning]
        else:
            assert said[titles[0]].startswith("PlateauWarning: [LL202] step"), said
        assert [row for row in warning if row.lstrip().startswith("Try: 1. Residual connections between `net.0`")], said
        assert [row for row in warning if row.lstrip().startswith("Why: ")], said
        assert not [row for row in said if "site-packages" in row or ".py" in row]
        assert len([row for row in said if row.startswith("── Loss landscape ──")]) == 1, said
        assert [row for row in said if row == "lightning_landscape: measuring the loss surface …"], said
        bars = [row for row in said if "it/s" in row]
        assert 1 <= len(bars) <= 2, bars  # no copy of a bar remains above a printed line
        assert not [row for row in bars if "LL202" in row or "Try" in row or "──" in row]


WARNING_IN_RICH = """
import warnings
from rich.progress import Progress
from lightning_landscape.errors import PlateauWarning
from lightning_landscape.reporting.terminal import announce
warnings.simplefilter("always")
with Progress() as progress:
    task = progress.add_task("Epoch 0", total=20)
    for i in range(20):
        progress.advance(task)
        progress.refresh()
        if i == 9:
            announce("[LL204] step 640: stuck [bold]here[/bold].\\n  Try: " + "this and " * 20, PlateauWarning)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_above_a_bar_of_rich_a_warning_is_one_panel_and_the_bar_is_drawn_once():
    pytest.importorskip("rich")
    rows = [row for row in in_a_terminal(WARNING_IN_RICH, columns=80) if row]
    assert rows[0].startswith("╭─ PlateauWarning ─")
    assert rows[1].startswith("│ [LL204] step 640: stuck [bold]here[/bold].")
    assert rows[2].startswith("│   Try: this and")
    assert rows[-2].startswith("╰──")
    assert all(row[0] in "╭│╰" and row[-1] in "╮│╯" for row in rows[:-1])
    assert rows[-1].startswith("Epoch 0")


def test_importing_prints_nothing():
    program = "import lightning_landscape.reporting.reporter, lightning_landscape.tensorboard_plugin"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == done.stderr == ""


def test_slow_work_prints_one_line_and_quick_work_prints_nothing(capsys):
    clock = ManualClock()
    with notice_if_slow("measuring the curvature", clock):
        clock.move(NOTICE_AFTER + 1)
        clock.move(NOTICE_AFTER + 1)
    assert capsys.readouterr().out == "lightning_landscape: measuring the curvature …\n"
    with notice_if_slow("measuring the curvature", clock):
        clock.move(NOTICE_AFTER - 1)
    clock.move(100 * NOTICE_AFTER)
    assert capsys.readouterr().out == ""


def test_no_notice_is_printed_after_the_work_has_failed(capsys):
    clock = ManualClock()
    with pytest.raises(KeyError), notice_if_slow("it", clock):
        raise KeyError
    clock.move(100 * NOTICE_AFTER)
    assert capsys.readouterr().out == ""


def test_the_system_clock_calls_once_and_a_call_can_be_cancelled():
    called = threading.Event()
    cancel = SYSTEM_CLOCK.call_after(0.0, called.set)
    assert called.wait(30)
    cancel()
    never: list[int] = []
    SYSTEM_CLOCK.call_after(3600.0, lambda: never.append(1))()
    assert never == []
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_a_text_of_two_lines_is_printed_whole(capsys):
    print_line("one\ntwo")
    assert capsys.readouterr().out == "one\ntwo\n"


@pytest.mark.parametrize("width", [20, 40, 80, 110, 500])
def test_the_table_fits_the_terminal_and_keeps_every_word(width):
    text = Report(300, LossLevel(2.3, 2.2, 2.25), [STUCK], ["a note"]).summary("ended", width=width)
    assert max(map(len, text.splitlines())) <= max(40, min(width, 110))
    for part in (
        "300 optimizer steps were watched.",
        "1 alarm was raised.",
        "The fit ended.",
        "step 203: stuck on a flat region",
        "[LL202]",
        "a note",
    ):
        assert part in " ".join(text.split())
    assert text.count("initialisation") == 9


def test_a_table_without_rows_is_two_rules():
    assert len(table("Nothing", [], width=60).splitlines()) == 2
