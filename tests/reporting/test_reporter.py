"""Each logger is called with its own methods; one that fails stops neither the others nor the run."""

import gc
import inspect
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger, WandbLogger
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import LegacyEventFileLoader

from lightning_landscape.errors import PlateauWarning
from lightning_landscape.reporting.loggers import LONGEST_NAME
from lightning_landscape.reporting.reporter import MAX_FAILURES, Reporter

PIXELS = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
HOSTILE = [
    "../../outside",
    "/absolute",
    "landscape/../..",
    "c:\\windows",
    "line\nbreak\0",
    "<script>alert('x')</script>",
    "日本語 🧠",
    "x" * 5000,
    "",
    ".",
    "landscape/",
    "%s{0}$x$",
]


class Recording:
    """A logger that records every call."""

    def __init__(self):
        self.calls = []

    def log_metrics(self, metrics, step=None):
        self.calls.append(("metrics", metrics, step))


class FakeWandb(Recording):
    """Has the signatures of Lightning's WandbLogger."""

    experiment = SimpleNamespace(log=None)

    def log_image(self, *args, **kwargs):
        bound = inspect.signature(WandbLogger.log_image).bind(self, *args, **kwargs).arguments
        if not isinstance(bound["images"], list):
            raise TypeError(f'Expected a list as "images", found {type(bound["images"])}')
        self.calls.append(("image", bound["key"], bound["images"][0], bound["step"]))

    def log_text(self, *args, **kwargs):
        bound = inspect.signature(WandbLogger.log_text).bind(self, *args, **kwargs).arguments
        self.calls.append(("text", bound["key"], bound["data"][0][bound["columns"].index("verdict")], bound["step"]))


class FakeMlflow(Recording):
    """Like Lightning's MLFlowLogger: the experiment is an MlflowClient, and every call needs the id of the run."""

    run_id = "run-1"

    @property
    def experiment(self):
        def log_image(run_id, image, artifact_file=None, key=None, step=None, timestamp=None, synchronous=None):
            assert artifact_file is None, "a key and an artifact file exclude one another"
            assert key, "a key is needed"
            assert all(c.isascii() and (c.isalnum() or c in "_-./ ") for c in key), "MLflow's own rule"
            self.calls.append(("image", run_id, key, image, step))

        def log_text(run_id, text, artifact_file):
            assert ".." not in artifact_file.split("/"), "MLflow's own rule"
            assert not artifact_file.startswith("/"), "MLflow's own rule"
            self.calls.append(("text", run_id, artifact_file, text))

        return SimpleNamespace(log_image=log_image, log_text=log_text)


class FakeComet(Recording):
    """Like Lightning's CometLogger: the experiment is a CometExperiment."""

    @property
    def experiment(self):
        def log_image(image_data, name=None, *, overwrite=False, image_format="png", image_scale=1.0, step=None):
            self.calls.append(("image", name, image_data, step))

        def log_text(text, step=None, metadata=None):
            self.calls.append(("text", text, step))

        return SimpleNamespace(log_image=log_image, log_text=log_text)


class Broken(Recording):
    """Raises an error at every call."""

    @property
    def experiment(self):
        self.calls.append("experiment")
        raise ConnectionError("no network")

    def log_metrics(self, metrics, step=None):
        self.calls.append("metrics")
        raise ConnectionError("no network")


def send(reporter, step=7):
    reporter.scalars({"landscape/grad_norm": 0.5}, step)
    reporter.picture("landscape/line_from_initial", PIXELS, step)
    reporter.text("landscape/verdict", "### Stuck", step)


def with_directory(folder):
    return SimpleNamespace(log_dir=str(folder), log_metrics=lambda metrics, step: None)


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


class Counting(TensorBoardLogger):
    """A user's logger that overrides `log_metrics`."""

    def log_metrics(self, metrics, step=None):
        self.seen = dict(metrics)
        super().log_metrics(metrics, step)


@pytest.mark.parametrize(
    ("kind", "settings", "events"),
    [
        (TensorBoardLogger, {}, 1),
        (TensorBoardLogger, {"prefix": "mine"}, 2),
        (Counting, {}, 2),
    ],
)
def test_tensorboard_gets_a_row_of_numbers_as_one_event_unless_the_logger_is_changed(tmp_path, kind, settings, events):
    logger = kind(tmp_path, name="", version="", **settings)
    row = {"landscape/grad_norm": 0.5, "landscape/overhead": 0.25}
    Reporter([logger]).scalars(row, 7)
    logger.finalize("success")
    written = [event for event in read_events(tmp_path) if event.summary.value]
    assert (len(written), {event.step for event in written}) == (events, {7})
    prefix = "mine-" if settings else ""
    numbers = {value.tag: value.simple_value for event in written for value in event.summary.value}
    assert numbers == {prefix + tag: number for tag, number in row.items()}
    assert getattr(logger, "seen", row) == row


def read_events(folder):
    (path,) = folder.glob("events.out.tfevents.*")
    return LegacyEventFileLoader(str(path)).Load()


def test_tensorboard_has_the_scalar_the_picture_and_the_text_at_their_step(tmp_path):
    logger = TensorBoardLogger(tmp_path, name="", version="")
    send(Reporter([logger]))
    logger.finalize("success")
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    (scalar,) = events.Scalars("landscape/grad_norm")
    assert (scalar.step, scalar.value) == (7, 0.5)
    (picture,) = events.Images("landscape/line_from_initial")
    assert (picture.step, picture.height, picture.width) == (7, 4, 6)
    (text,) = events.Tensors("landscape/verdict/text_summary")
    assert text.step == 7
    assert text.tensor_proto.string_val[0] == b"### Stuck"
    assert not (tmp_path / "landscape").exists()


def test_tensorboard_shows_the_same_pixels(tmp_path):
    from io import BytesIO

    logger = TensorBoardLogger(tmp_path, name="", version="")
    send(Reporter([logger]))
    logger.finalize("success")
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    encoded = events.Images("landscape/line_from_initial")[0].encoded_image_string
    assert np.array_equal(np.asarray(Image.open(BytesIO(encoded))), PIXELS)


def test_csv_gets_rows_and_gets_pictures_and_texts_as_files(tmp_path):
    logger = CSVLogger(tmp_path, name="", version="")
    send(Reporter([logger]))
    logger.save()
    assert (tmp_path / "metrics.csv").read_text() == "landscape/grad_norm,step\n0.5,7\n"
    assert files(tmp_path / "landscape") == ["line_from_initial-00000007.png", "verdict-00000007.md"]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "landscape/line_from_initial-00000007.png")), PIXELS)
    assert (tmp_path / "landscape/verdict-00000007.md").read_text() == "### Stuck\n"


def test_wandb_is_called_with_its_own_methods():
    logger = FakeWandb()
    send(Reporter([logger]))
    metrics, image, text = logger.calls
    assert metrics == ("metrics", {"landscape/grad_norm": 0.5}, 7)
    assert image[:2] == ("image", "landscape/line_from_initial")
    assert image[2] is PIXELS
    assert text == ("text", "landscape/verdict", "### Stuck", 7)


def test_mlflow_is_called_with_its_own_methods():
    logger = FakeMlflow()
    reporter = Reporter([logger])
    send(reporter)
    assert reporter.failures == [0]
    assert logger.calls[1][:3] == ("image", "run-1", "line_from_initial")
    assert logger.calls[2] == ("text", "run-1", "landscape/verdict-00000007.md", "### Stuck")


def test_comet_is_called_with_its_own_methods():
    logger = FakeComet()
    send(Reporter([logger]))
    assert logger.calls[1][:2] == ("image", "landscape/line_from_initial")
    assert logger.calls[2] == ("text", "### Stuck", 7)


def test_a_logger_cannot_change_the_caller_s_numbers():
    row = {"landscape/grad_norm": 0.5}
    Reporter([SimpleNamespace(log_metrics=lambda metrics, step: metrics.clear())]).scalars(row, 7)
    assert row == {"landscape/grad_norm": 0.5}


def test_a_logger_that_always_fails_is_called_3_times_and_the_others_go_on(caplog):
    first, broken, last = FakeComet(), Broken(), FakeWandb()
    reporter = Reporter([first, broken, last])
    with caplog.at_level(logging.WARNING, "lightning_landscape"):
        for step in range(5):
            send(reporter, step)
    assert len(broken.calls) == MAX_FAILURES
    assert len(first.calls) == len(last.calls) == 15
    assert reporter.failures == [0, MAX_FAILURES, 0]
    assert reporter.notes() == ["Broken failed 3 times to log what it was sent"]
    assert [record.getMessage() for record in caplog.records] == [
        "Broken failed to log numbers: ConnectionError: no network",
        "Broken failed to log media: ConnectionError: no network",
        "Broken failed to log media: ConnectionError: no network; lightning_landscape sends it no more media",
    ]


def test_failures_of_two_loggers_of_one_type_are_counted_apart(tmp_path):
    good, bad = with_directory(tmp_path / "good"), with_directory(tmp_path / "bad")
    (tmp_path / "good").mkdir()
    (tmp_path / "bad").write_text("a file where the directory should be")
    reporter = Reporter([bad, good])
    for step in range(5):
        send(reporter, step)
    assert reporter.failures == [MAX_FAILURES, 0]
    assert len(files(tmp_path / "good")) == 10


def test_a_keyboard_interrupt_is_no_failure_of_the_logger():
    def interrupted(metrics, step):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Reporter([SimpleNamespace(log_metrics=interrupted)]).scalars({"landscape/verdict": 0.0}, 0)


@pytest.mark.parametrize("place", ["s3://bucket/run", "gs://bucket", "memory://x", "", None])
def test_no_files_are_written_for_a_directory_on_another_machine(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    rows = []
    remote = SimpleNamespace(log_dir=place, save_dir=place, log_metrics=lambda metrics, step: rows.append(step))
    reporter = Reporter([remote])
    send(reporter)
    assert rows == [7]
    assert reporter.failures == [0]
    assert list(tmp_path.iterdir()) == []


def test_a_logger_with_only_a_save_dir_gets_files_there(tmp_path):
    send(Reporter([SimpleNamespace(save_dir=tmp_path, log_metrics=lambda metrics, step: None)]))
    assert len(files(tmp_path / "landscape")) == 2


@pytest.mark.parametrize("tag", HOSTILE, ids=range(len(HOSTILE)))
def test_no_tag_fails_or_leads_out_of_the_directory(tmp_path, tag):
    (tmp_path / "log").mkdir()
    reporter = Reporter([with_directory(tmp_path / "log"), FakeMlflow(), FakeWandb(), FakeComet()])
    reporter.picture(tag, PIXELS, 1)
    reporter.text(tag, "text", 1)
    assert reporter.failures == [0, 0, 0, 0]
    found = files(tmp_path)
    assert len(found) == 2
    for name in found:
        assert name.startswith("log/landscape/")
        assert name.isascii()
        assert "/" not in name.removeprefix("log/landscape/")
        assert len(name) < LONGEST_NAME + 60


def test_long_tags_that_differ_only_at_their_beginning_have_different_files(tmp_path):
    reporter = Reporter([with_directory(tmp_path)])
    for name in ("a", "b"):
        reporter.text(name + "x" * 300, name, 1)
    assert {path.read_text() for path in (tmp_path / "landscape").iterdir()} == {"a\n", "b\n"}


def test_a_picture_that_fails_to_be_written_leaves_no_draft_and_the_earlier_one_whole(tmp_path, monkeypatch):
    reporter = Reporter([with_directory(tmp_path)])
    send(reporter)
    whole = (tmp_path / "landscape/line_from_initial-00000007.png").read_bytes()

    def full(self, draft, format):
        draft.write_bytes(b"\x89PNG")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    reporter.picture("landscape/line_from_initial", 255 - PIXELS, 7)
    reporter.picture("landscape/line_from_initial", PIXELS, 8)
    assert reporter.failures == [2]
    assert (tmp_path / "landscape/line_from_initial-00000007.png").read_bytes() == whole
    assert files(tmp_path / "landscape") == ["line_from_initial-00000007.png", "verdict-00000007.md"]


def test_a_reader_never_finds_half_a_file(tmp_path, monkeypatch):
    seen = []

    def slow(self, draft, format):
        seen.extend(path.suffix for path in draft.parent.iterdir())
        draft.write_bytes(b"whole")

    monkeypatch.setattr(Image.Image, "save", slow)
    Reporter([with_directory(tmp_path)]).picture("p", PIXELS, 1)
    assert ".png" not in seen
    assert (tmp_path / "landscape/p-00000001.png").read_bytes() == b"whole"


def test_without_loggers_nothing_happens():
    reporter = Reporter([])
    send(reporter)
    assert not reporter
    assert reporter.notes() == []
    assert Reporter([FakeWandb()])


def test_a_warning_is_raised_with_and_without_loggers_but_not_on_other_ranks():
    for loggers in ([FakeWandb()], []):
        with pytest.warns(PlateauWarning, match="stuck"):
            Reporter(loggers).warn("stuck", PlateauWarning)
    Reporter(None).warn("stuck", PlateauWarning)  # pytest turns any warning here into an error


def test_pictures_are_drawn_without_garbage_collection():
    seen = []
    Reporter([FakeWandb()]).pictures(lambda: seen.append(gc.isenabled()) or {}, 1, last=True)
    assert (seen, gc.isenabled()) == ([False], True)


def test_an_unchanged_picture_is_not_sent_again():
    from lightning_landscape.plots import loss_figure

    logger = FakeWandb()
    reporter = Reporter([logger])
    for step, height in [(10, 1.0), (20, 1.0), (30, 2.0), (40, 2.0)]:
        figure = loss_figure({"run": [(0, height), (10, 0.5)]})
        reporter.pictures(lambda figure=figure: {"plane": figure}, step, last=step == 40)
    assert [call[3] for call in logger.calls] == [10, 30]
