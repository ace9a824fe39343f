"""Copies of weights that are too large for memory or for the user's checkpoints are kept in files of the run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from lightning_landscape import LandscapeMonitor
from lightning_landscape.errors import SurfaceError
from lightning_landscape.examination.saved_weights import AT_LEAST, allowance, slimmed
from lightning_landscape.examination.snapshots import Snapshots, weights_of
from lightning_landscape.examination.weight_files import FOLDER, REFERENCE, StoredPoint, WeightFiles, resolved
from lightning_landscape.module_surface.weights import Anchor
from tests.faults.runs import Stuck, fit
from tests.saving import SaveAt

NAMES = ("initial", "previous", "best")
WIDTH = 1000
BYTES = 4 * WIDTH


def module(value=0.0):
    layer = nn.Linear(WIDTH, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(value)
    return layer


def files_in(folder: Path) -> set[str]:
    return {path.name.split("_")[0] for path in (folder / FOLDER).glob("*.pt")}


def taken(max_bytes, folder, steps=(3, 7)):
    """The snapshots of a run that has copied its weights at these steps, the last of them being the best."""
    snapshots = Snapshots(NAMES, max_bytes)
    snapshots.files.folder = folder
    snapshots.take("initial", module(0.5))
    for step in steps:
        snapshots.take("previous", module(float(step)), step)
        snapshots.take_best(-step, module(float(step)), step)
    return snapshots


def values(snapshots):
    return {name: float(point["weight"][0, 5]) for name, point in snapshots.points(weights_of(module())).items()}


@pytest.mark.parametrize(
    ("most", "stored"),
    [(3.0, set()), (2.0, {"previous"}), (1.0, {"previous", "best"}), (0.5, {"previous", "best", "initial"})],
)
def test_anchors_beyond_the_memory_lie_in_files_and_have_the_same_values(tmp_path, most, stored):
    snapshots = taken(int(most * BYTES), tmp_path)
    assert values(snapshots) == {"initial": 0.5, "previous": 7.0, "best": 7.0}
    assert files_in(tmp_path) == stored
    assert snapshots.skipped == {}


def test_an_anchor_in_a_file_is_compared_with_the_module_without_reading_its_tensors(tmp_path, monkeypatch):
    snapshots = taken(1, tmp_path)
    points, reads = snapshots.points(weights_of(module())), []
    read = StoredPoint.__getitem__
    monkeypatch.setattr(StoredPoint, "__getitem__", lambda point, name: reads.append(name) or read(point, name))
    anchor = Anchor("best", points["best"], weights_of(module()))
    assert reads == []
    assert float(anchor["weight"][0, 5]) == 7.0
    assert reads == ["weight"]
    with pytest.raises(SurfaceError, match=r"has \(1, 1000\) where the module has 'weight' of shape \(1, 3\)"):
        Anchor("best", points["best"], {"weight": torch.zeros(1, 3)})
    with pytest.raises(SurfaceError, match="has nothing where the module has 'bias'"):
        Anchor("best", points["best"], {"bias": torch.zeros(3)})


def test_files_of_anchors_that_were_replaced_are_removed_and_all_of_them_at_the_end(tmp_path):
    snapshots = taken(1, tmp_path, steps=range(1, 20))
    assert len(list((tmp_path / FOLDER).iterdir())) == 3
    snapshots.files.remove_all_but(())
    assert files_in(tmp_path) == set()


def test_a_file_that_cannot_be_removed_stays_and_ends_no_run(tmp_path, monkeypatch):
    def refuse(path, **settings):
        raise PermissionError(path)

    snapshots = taken(1, tmp_path, steps=range(1, 20))
    monkeypatch.setattr(Path, "unlink", refuse)
    snapshots.files.remove_all_but(())
    assert len(files_in(tmp_path)) == 3


def test_without_a_directory_the_initial_weights_stay_in_memory_and_what_was_not_kept_is_named():
    snapshots = taken(1, None)
    assert values(snapshots) == {"initial": 0.5}
    assert set(snapshots.skipped) == {"the copy of the weights 'previous'", "the copy of the weights 'best'"}
    assert "0 MiB of memory are allowed" in snapshots.skipped["the copy of the weights 'best'"]


def test_a_file_that_cannot_be_written_costs_no_more_than_its_anchor(tmp_path):
    (tmp_path / FOLDER).write_text("a file where the directory should be")
    snapshots = taken(1, tmp_path)
    assert values(snapshots) == {"initial": 0.5}


def test_a_stored_point_reads_one_tensor_at_a_time_and_equals_what_was_written(tmp_path):
    files = WeightFiles()
    files.folder = tmp_path
    point = {"a": torch.randn(3, 2), "b": torch.randn(4).bfloat16()}
    stored = files.write("best 7", point)
    assert isinstance(stored, StoredPoint)
    assert list(stored) == ["a", "b"]
    assert all(torch.equal(stored[name], point[name]) for name in point)
    assert files.write("best 7", {"a": torch.zeros(3, 2)}) is stored  # equal keys stand for equal points
    stored["a"].fill_(7.0)
    assert torch.equal(stored["a"], point["a"])


def test_a_reference_to_a_file_that_is_gone_or_damaged_is_an_empty_point(tmp_path):
    path = tmp_path / "damaged.pt"
    path.write_bytes(b"no archive")
    assert resolved({REFERENCE: str(tmp_path / "gone.pt")}) == {}
    assert resolved({REFERENCE: str(path)}) == {}
    assert resolved({"w": torch.ones(1)}) == {"w": torch.ones(1)}


def test_the_files_of_the_latest_checkpoints_stay(tmp_path):
    files = WeightFiles()
    files.folder = tmp_path
    for step in range(8):
        files.saved([files.write(f"best {step}", {"w": torch.full((2,), float(step))})])
        files.remove_all_but(())
    kept = sorted(float(torch.load(path)["w"][0]) for path in (tmp_path / FOLDER).iterdir())
    assert kept == [3.0, 4.0, 5.0, 6.0, 7.0]


def state_with(points, copies=()):
    snapshots = {"points": points, "steps": dict.fromkeys(points, 5), "recent": None, "trail": {}}
    stall_test = {"copies": dict(copies)}
    return {"examination": {"snapshots": snapshots, "stall_test": stall_test, "kept": {}}}


def test_what_fits_into_a_checkpoint_stays_there_and_the_initial_weights_come_first(tmp_path):
    files = WeightFiles()
    files.folder = tmp_path
    point = {"w": torch.randn(100)}
    state = state_with({"initial": point, "best": point}, {3: point})
    slim = slimmed(state, 500, files)
    assert slim["examination"]["snapshots"]["points"]["initial"] is point
    assert REFERENCE in slim["examination"]["snapshots"]["points"]["best"]
    assert torch.equal(resolved(slim["examination"]["stall_test"]["copies"][3])["w"], point["w"])
    assert state["examination"]["snapshots"]["points"]["best"] is point  # the state itself is not changed


def test_without_a_directory_what_does_not_fit_is_left_out(tmp_path):
    point = {"w": torch.randn(100)}
    slim = slimmed(state_with({"initial": point, "best": point}), 500, WeightFiles())
    assert slim["examination"]["snapshots"]["points"] == {"initial": point, "best": {}}


def test_a_checkpoint_may_grow_by_a_tenth_or_by_8_mib():
    small = {"state_dict": {"w": torch.zeros(10)}, "optimizer_states": []}
    assert allowance(small) < AT_LEAST
    large = {
        "state_dict": {"w": torch.zeros(10, 2**20)},
        "optimizer_states": [{"state": {0: {"m": torch.zeros(2**24)}}}],
    }
    assert allowance(large) == pytest.approx(0.1 * (40 + 64) * 2**20, abs=2**20 + 1)


def with_wide_layer(**options):
    """A stuck module of which the weights take 3 MiB."""
    made = Stuck(**options)
    made.wide = nn.Linear(1024, 768)
    made.wide.weight.requires_grad = False
    return made


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint")
@pytest.mark.filterwarnings("ignore::lightning_landscape.LandscapeWarning")
def test_a_checkpoint_grows_by_at_most_8_mib_and_a_resumed_run_says_the_same(tmp_path):
    bare, watched = tmp_path / "bare.ckpt", tmp_path / "watched.ckpt"
    fit(with_wide_layer(), SaveAt(90, bare), steps=120)
    straight = LandscapeMonitor(effort="standard")
    fit(with_wide_layer(), straight, SaveAt(90, watched), steps=120, logger=CSVLogger(tmp_path, "run"))
    assert watched.stat().st_size - bare.stat().st_size <= AT_LEAST
    state = torch.load(watched, weights_only=True)["callbacks"][straight.state_key]
    points = state["examination"]["snapshots"]["points"]
    assert REFERENCE not in points["initial"]
    assert any(REFERENCE in point for point in points.values())
    resumed = LandscapeMonitor(effort="standard")
    fit(with_wide_layer(), resumed, ckpt_path=watched, steps=120, logger=CSVLogger(tmp_path, "run"))
    assert str(resumed.verdict) == str(straight.verdict)
    assert resumed.verdict == straight.verdict
