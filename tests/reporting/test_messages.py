"""The texts of verdicts in warnings and in Markdown, and warnings above a progress bar."""

import math
import os
import subprocess
import sys
import warnings
from dataclasses import dataclass, replace
from threading import Thread

import pytest

from lightning_landscape.errors import DivergenceWarning, LandscapeWarning, PlateauWarning
from lightning_landscape.evidence import (
    CAUSES,
    Activity,
    Cause,
    Evidence,
    Finding,
    Line,
    LossLevel,
    Measurements,
    Part,
    Parts,
    Plane,
    Plateau,
    UpdateStatistics,
    Verdict,
)
from lightning_landscape.evidence import card as cards
from lightning_landscape.evidence.message import MOST_LINES
from lightning_landscape.reporting.messages import category, message, verdict_markdown
from lightning_landscape.reporting.numbers import evidence_rows
from lightning_landscape.reporting.terminal import announce

VERDICT = Verdict(
    Cause.FLAT_REGION, step=203, since=90, stuck=True, reason="The loss stands still.\nUnits are dead.", advice="He."
)


def test_the_message_says_what_and_where_then_what_to_try_then_why_then_what_was_tried():
    told = replace(VERDICT, advice="a seed: `seed_everything(2)`.\na larger model.", tried="nothing changed the loss.")
    assert message(told).splitlines() == [
        "[LL202] step 203: stuck on a flat region since step 90.",
        "  Try: 1. A seed: `seed_everything(2)`.",
        "       2. A larger model.",
        "  Why: The loss stands still.",
        "       Units are dead.",
        "  Tried: Nothing changed the loss.",
    ]
    assert str(told) == message(told)


def test_a_single_thing_to_try_has_no_number_and_what_the_verdict_does_not_have_is_left_out():
    assert "  Try: He." in message(VERDICT).splitlines()
    bare = replace(VERDICT, since=203, reason="", advice="")
    assert message(bare) == "[LL202] step 203: stuck on a flat region."
    assert message(bare, code="LL999").startswith("[LL999] step 203")


def test_the_title_names_the_finding_after_the_cause():
    finding = Finding("squashed-twice", Cause.FLAT_REGION, "It is.", "mend it.")
    title = "[LL202 squashed-twice] step 203: stuck on a flat region since step 90: squashed twice."
    assert message(replace(VERDICT, finding=finding)).splitlines()[0] == title
    assert replace(VERDICT, finding=finding).title == "stuck on a flat region: squashed twice"


@pytest.mark.parametrize(("unmoved", "since"), [(True, "from the start"), (False, "since step 90")])
def test_weights_that_have_never_moved_are_so_from_the_start_and_not_since_the_loss_was_found_to_stand_still(
    unmoved, since
):
    part = Part(
        "net", 1.0, trainable=True, frozen_since=None, group=0, learning_rate=0.1, reached=True, grad_norm=1.0,
        norm=1.0, initial_norm=1.0, distance=0.0 if unmoved else 0.1,
    )  # fmt: skip
    known = Evidence(Parts((part,), (), 203))
    assert f"not updated {since}." in message(replace(VERDICT, cause=Cause.NOT_UPDATING, evidence=known))
    assert "flat region since step 90." in message(replace(VERDICT, evidence=known))
    assert "from the start" in message(replace(VERDICT, since=0))


LONG = replace(
    VERDICT,
    reason="The loss stands still because of this and because of that, as was measured here.\n" * 5,
    advice="another seed, which has helped in some runs, and in others it has not helped.\n" * 4,
    tried="nothing " * 60,
)


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 300])
def test_on_the_terminal_a_message_has_at_most_8_lines_of_its_width_and_names_what_to_try_and_why(width):
    lines = LONG.brief("PlateauWarning: ", width).splitlines()
    assert len(lines) <= MOST_LINES == 8
    assert max(map(len, lines)) <= max(40, min(width, 110))
    assert lines[0].startswith("PlateauWarning: [LL202] step")
    assert any(line.startswith("  Try: 1. Another seed") for line in lines)
    assert any(line.startswith("  Why: The loss stands still") for line in lines)
    assert lines[-1] == "  All of it: `print(monitor.verdict)`"


def test_a_short_message_is_printed_whole():
    assert VERDICT.brief() == message(VERDICT)


def test_a_verdict_and_its_evidence_have_short_reprs():
    known = replace(VERDICT, evidence=Evidence(LossLevel(2.3, 2.2, 2.25), Plateau(203, 90)))
    assert repr(known) == "Verdict(flat_region, step=203, since=90, stuck=True)"
    assert repr(known.evidence) == "Evidence(LossLevel, Plateau)"


def test_readings_of_many_numbers_have_reprs_on_one_line():
    line = Line("initial", tuple(i / 10 for i in range(12)), (2.0,) * 11 + (math.nan,), 0.5, monotone=False, samples=8)
    assert repr(line) == (
        "Line(anchor='initial', alphas=<12 numbers from 0 to 1.1>, losses=<12 numbers from 2 to 2, 1 not finite>, "
        "barrier=0.5, monotone=False, samples=8, anchor_step=None)"
    )
    plane = Plane("x", "y", (0.0, 1.0), (0.0, 1.0, 2.0), ((1.0, 2.0),) * 3, {"now": (0.0, 0.0)}, 0.0, 8)
    assert "losses=<6 numbers from 1 to 2>" in repr(plane)
    assert "\n" not in repr(plane)


def test_the_card_of_a_verdict_is_html_in_which_names_cannot_run_code(monkeypatch):
    hostile = replace(VERDICT, reason="In <script>alert(1)</script> it is.", advice="a `b`.\nc.")
    shown = hostile._repr_html_()
    assert "<script>" not in shown
    assert "<li>A <code>b</code>.</li><li>C.</li>" in shown
    assert "▲</span> Stuck on a flat region" in shown
    assert "[LL202]" in shown
    monkeypatch.setattr(cards, "documentation", lambda: "https://docs.example")
    page = "https://docs.example/causes/flat_region/"
    assert f'<a href="{page}" target="_blank" rel="noopener">LL202</a>' in hostile._repr_html_()
    assert f"[[LL202]]({page})" in verdict_markdown(hostile)
    found = replace(hostile, finding=Finding("squashed-twice", Cause.FLAT_REGION, "S.", "A."))
    assert f"[[LL202 squashed-twice]]({page}#ll202-squashed-twice)" in verdict_markdown(found)


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


def test_the_markdown_has_a_table_of_the_numbers_in_words():
    known = Evidence(LossLevel(2.3, 2.2, 2.25), Plateau(203, 90))
    lines = verdict_markdown(replace(VERDICT, evidence=known)).splitlines()
    assert lines[0] == "### Stuck on a flat region"
    assert "**Alarm**: `flat_region` [LL202]. Reported at step 203; the loss has not fallen since step 90." in lines
    assert "**Try:** He." in lines
    table = lines[lines.index("|---|---|") + 1 :]
    assert table == [
        "| plateau: first step | 90 |",
        "| plateau: step of this check | 203 |",
        "| plateau: shown by a test that would have noticed a fall | no |",
        "| training loss: mean of the first 10 steps | 2.3 |",
        "| training loss: lowest | 2.2 |",
        "| training loss: now | 2.25 |",
        "| training loss: lowest possible | 0 |",
    ]


@pytest.mark.parametrize(
    ("travelled", "row"),
    [
        (0.001, "▲ 0.001 (trouble below 0.005 or from 0.3)"),
        (0.1, "0.1 (trouble below 0.005 or from 0.3)"),
        (0.5, "▲ 0.5 (trouble below 0.005 or from 0.3)"),
    ],
)
def test_a_number_past_its_threshold_has_a_mark(travelled, row):
    updates = UpdateStatistics(update_ratio=0.01, travelled=travelled, no_grad_share=0.0, not_in_optimizer=0.0)
    rows = dict(evidence_rows(Evidence(updates)))
    assert rows["steps of the optimizer: all steps over 5% of the run, in norms of the weights"] == row
    assert rows["steps of the optimizer: one step, as a share of the norm of the weights"] == "1%"


def test_numbers_of_the_users_own_readings_are_shown_by_their_names():
    @dataclass(frozen=True)
    class Scale:
        gain: float
        layers: tuple[str, ...] = ("a",)

    rows = evidence_rows(Evidence(Scale(0.25), Measurements({"my_probe": 0.5})))
    assert rows == [("my_probe", "0.5"), ("Scale: gain", "0.25")]


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
    assert r"| units: that layer | a\|b c |" in table
    assert all(line.replace(r"\|", "").count("|") == 3 for line in table)


def test_announce_raises_a_warning_of_its_category():
    with pytest.warns(PlateauWarning, match=r"^\[LL202\] stuck$") as caught:
        announce("[LL202] stuck", PlateauWarning)
    assert len(caught) == 1
    assert caught[0].filename == "lightning_landscape"


def test_a_printed_warning_shows_its_category_and_no_path():
    program = (
        "import warnings\n"
        "from lightning_landscape.reporting.terminal import announce\n"
        "announce('[LL202] stuck ' + 'very ' * 40, UserWarning)\n"
        "warnings.warn('another')"
    )
    environment = os.environ | {"COLUMNS": "80"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    lines = done.stderr.splitlines()
    assert lines[0].startswith("UserWarning: [LL202] stuck very")
    assert lines[1].startswith("  very")
    assert max(map(len, lines)) <= 80
    assert lines[-1] == "<string>:4: UserWarning: another"


def test_warnings_of_others_are_printed_as_usual():
    usual = warnings.formatwarning
    with pytest.warns(PlateauWarning):
        announce("stuck", PlateauWarning)
    assert warnings.formatwarning is usual


def test_a_filter_by_category_or_by_module_silences_a_warning(recwarn):
    for settings in ({"category": PlateauWarning}, {"module": "lightning_landscape"}):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", **settings)
            announce("stuck", PlateauWarning)
    assert not recwarn.list


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
        "from lightning_landscape.reporting.terminal import announce\n"
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
from lightning_landscape.reporting.terminal import announce

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
