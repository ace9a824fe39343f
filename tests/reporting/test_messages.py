"""The texts of verdicts in warnings and in Markdown, and warnings above a progress bar."""

import math
import os
import subprocess
import sys
import warnings
from dataclasses import replace
from threading import Thread

import pytest

from lightning_landscape.errors import DivergenceWarning, LandscapeWarning, PlateauWarning
from lightning_landscape.evidence import CAUSES, Activity, Cause, Evidence, Line, LossLevel, Plateau, Verdict
from lightning_landscape.reporting.messages import announce, category, evidence_rows, message, verdict_markdown

VERDICT = Verdict(
    Cause.FLAT_REGION, step=203, since=90, stuck=True, reason="The loss stands still.\nUnits are dead.", advice="He."
)


def test_the_message_says_what_where_why_and_what_to_try_in_a_line_each():
    assert message(VERDICT).splitlines() == [
        "[LL202] step 203: stuck on a flat region since step 90.",
        "  The loss stands still.",
        "  Units are dead.",
        "  Try: He.",
    ]


def test_the_message_leaves_out_what_the_verdict_does_not_have():
    bare = replace(VERDICT, since=203, reason="", advice="")
    assert message(bare) == "[LL202] step 203: stuck on a flat region."
    assert message(bare, code="LL999").startswith("[LL999] step 203")


@pytest.mark.parametrize("cause", Cause)
def test_message_and_markdown_of_every_cause_have_its_code_and_title(cause):
    verdict = replace(VERDICT, cause=cause)
    assert message(verdict).startswith(f"[{CAUSES[cause].code}] step 203: {CAUSES[cause].title} since step 90.")
    assert f"`{cause.value}` [{CAUSES[cause].code}]" in verdict_markdown(verdict)
    assert CAUSES[cause].title.lower() in verdict_markdown(verdict).lower()


@pytest.mark.parametrize("cause", Cause)
def test_a_divergence_has_its_own_category_and_one_filter_silences_all_categories(cause):
    kind = category(replace(VERDICT, cause=cause))
    assert kind is (DivergenceWarning if cause is Cause.DIVERGED else PlateauWarning)
    assert issubclass(kind, LandscapeWarning)
    assert issubclass(kind, UserWarning)


def test_the_markdown_has_a_table_of_the_numbers():
    known = Evidence(LossLevel(2.3, 2.2, 2.25), Plateau(203, 90))
    lines = verdict_markdown(replace(VERDICT, evidence=known)).splitlines()
    assert lines[0] == "### Stuck on a flat region"
    assert "**Alarm**: `flat_region` [LL202]. The verdict was reached at step 203 and holds since step 90." in lines
    assert "**Try:** He." in lines
    table = lines[lines.index("|---|---|") + 1 :]
    assert table == [
        "| LossLevel.start | 2.3 |",
        "| LossLevel.best | 2.2 |",
        "| LossLevel.now | 2.25 |",
        "| LossLevel.floor | 0 |",
        "| LossLevel.floor_measured | True |",
        "| Plateau.step | 203 |",
        "| Plateau.since | 90 |",
        "| Plateau.proven | False |",
    ]


def test_a_verdict_that_is_no_alarm_is_for_information_and_without_evidence_has_no_table():
    text = verdict_markdown(replace(VERDICT, cause=Cause.SETTLED, stuck=False, advice=""))
    assert "For information: `settled`" in text
    assert "Alarm" not in text
    assert "Try" not in text
    assert "|" not in text


def test_a_layer_whose_name_holds_a_pipe_or_a_new_line_does_not_break_the_table():
    hostile = Activity(dead=1.0, dead_layer="a|b\nc", saturated=0.0, saturated_layer=None, layers=1, samples=4)
    table = [
        line
        for line in verdict_markdown(replace(VERDICT, evidence=Evidence(hostile))).splitlines()
        if line.startswith("|")
    ]
    assert r"| Activity.dead_layer | a\|b c |" in table
    assert all(line.replace(r"\|", "").count("|") == 3 for line in table)


def test_rows_are_single_values_and_no_lists():
    line = Line("initial", (0.0, 1.0), (2.0, math.nan), barrier=math.nan, monotone=False, samples=8)
    rows = dict(evidence_rows(Evidence(line)))
    assert rows == {"Line.anchor": "initial", "Line.barrier": "nan", "Line.monotone": "False", "Line.samples": "8"}


def test_announce_raises_a_warning_of_its_category():
    with pytest.warns(PlateauWarning, match=r"^\[LL202\] stuck$") as caught:
        announce("[LL202] stuck", PlateauWarning)
    assert len(caught) == 1


def test_a_warning_that_a_filter_turns_into_an_error_does_not_leave_the_bar_locked():
    from tqdm import tqdm

    with tqdm(total=2, file=sys.stdout) as bar, warnings.catch_warnings():
        warnings.simplefilter("error", LandscapeWarning)
        with pytest.raises(PlateauWarning, match="stuck"):
            announce("stuck", PlateauWarning)
        free = []

        def take_and_give_back():
            for lock in bar.get_lock().locks:
                free.append(lock.acquire(timeout=0))
                if free[-1]:
                    lock.release()

        elsewhere = Thread(target=take_and_give_back)
        elsewhere.start()
        elsewhere.join()
        assert free
        assert all(free)


def test_announce_works_without_tqdm():
    program = (
        "import sys; sys.modules['tqdm'] = None\n"
        "from lightning_landscape.reporting.messages import announce\n"
        "announce('stuck', UserWarning)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "UserWarning: stuck" in done.stderr


TRAINING = """
import logging, warnings
import lightning as L
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.demos.boring_classes import BoringModel
from lightning_landscape.errors import PlateauWarning
from lightning_landscape.reporting.messages import announce

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
warnings.simplefilter("default", PlateauWarning)

class Warner(L.Callback):
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == 5:
            announce("[LL999] first line\\n  second line", PlateauWarning)

L.Trainer(
    max_steps=20, logger=False, enable_checkpointing=False, enable_model_summary=False, accelerator="cpu",
    callbacks=[Warner(), TQDMProgressBar(refresh_rate=1)], limit_val_batches=0,
).fit(BoringModel())
"""


def screen(raw, width):
    """Return the rows that a terminal shows; of the controls it knows those of progress bars."""
    rows, row, column = [[]], 0, 0
    text = raw.decode()
    i = 0
    while i < len(text):
        letter = text[i]
        if letter == "\x1b":  # \x1b[A moves up; other sequences, such as colours, are ignored
            end = next(j for j in range(i + 2, len(text)) if text[j].isalpha())
            row = max(0, row - 1) if text[end] == "A" else row
            i = end
        elif letter == "\r":
            column = 0
        elif letter == "\n":
            row, column = row + 1, 0
        else:
            if column == width:
                row, column = row + 1, 0
            while len(rows) <= row:
                rows.append([])
            line = rows[row]
            line += " " * (column + 1 - len(line))
            line[column] = letter
            column += 1
        i += 1
    return ["".join(line).rstrip() for line in rows]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_warning_during_training_leaves_the_progress_bar_clean():
    import fcntl
    import pty
    import struct
    import termios

    terminal, other_end = pty.openpty()
    fcntl.ioctl(other_end, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", TRAINING],
        stdout=other_end, stderr=other_end, stdin=other_end, env=os.environ | {"COLUMNS": "120", "TERM": "xterm"},
    ) as process:  # fmt: skip
        os.close(other_end)
        raw = b""
        while True:
            try:
                piece = os.read(terminal, 4096)
            except OSError:  # Linux raises this when the other end is closed
                break
            if not piece:
                break
            raw += piece
    os.close(terminal)
    rows = [row for row in screen(raw, 120) if row]
    assert process.returncode == 0, rows
    bars = [row for row in rows if "it/s" in row or "/20" in row]
    first, second = (next(i for i, row in enumerate(rows) if words in row) for words in ("first line", "second line"))
    assert len(bars) == 1, rows  # no copy of the bar remains above the warning
    assert "line" not in bars[0]
    assert rows[first].endswith("[LL999] first line")
    assert rows[second] == "  second line"
    assert second == first + 1
