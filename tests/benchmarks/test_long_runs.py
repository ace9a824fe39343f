"""`benchmarks.long_runs` makes runs that train, keeps their results, and reports what the monitor said of them."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from benchmarks.long_runs import commands, images, report
from benchmarks.long_runs.cart_pole import driven, fallen
from benchmarks.long_runs.curve import Curve, flat_from
from benchmarks.long_runs.data import CHARACTERS, Batches, augmented_digits, digits, source_code
from benchmarks.long_runs.language import SPIKE, SPIKE_STEPS, badly_joined, healthy, warm_up_and_cosine
from benchmarks.long_runs.runs import RUNS, TURNS
from benchmarks.long_runs.watching import Job, Reported, Result, is_finished, load, watch

KNOWN = Result(
    name="autoencoder_collapsed",
    minutes=1.0,
    steps=1000,
    training_seconds=100.0,
    monitor_seconds=2.0,
    quality=(0.0, 0.0),
    mistake_from=100,
    flat_from=300,
    curve=Curve.of([1.0, 0.5]),
)


def alarm(step):
    return Reported(step, step, stuck=True, code="LL203", cause="poor_minimum", reason="reason", advice="advice")


def test_half_of_the_runs_are_stuck_and_each_of_these_says_why():
    assert len(RUNS) >= 8
    assert sum(run.stuck for run in RUNS.values()) == len(RUNS) / 2


def test_a_run_of_the_usual_length_has_several_thousand_steps():
    assert all(run.steps(12.0) > 5000 for run in RUNS.values())


@pytest.mark.parametrize("name", RUNS)
def test_a_step_of_each_run_changes_its_weights_and_lowers_or_raises_its_loss(name):
    torch.manual_seed(0)
    module, batches = RUNS[name].build(100)
    module.log = module.log_dict = lambda *_: None
    configured = module.configure_optimizers()
    optimizer = configured["optimizer"] if isinstance(configured, dict) else configured
    loss = module.training_step(batches[0], 0)
    loss.backward()
    before = [p.detach().clone() for p in module.parameters()]
    optimizer.step()
    moved = [not torch.equal(p, old) for p, old in zip(module.parameters(), before, strict=True)]
    assert any(moved)
    assert len(batches) == 100
    assert all(map(torch.isfinite, [loss, torch.tensor(module.quality())]))


def test_only_the_mistake_sets_the_stuck_language_models_apart():
    usual, steps = healthy(100)[0], 100
    faster, frozen, spiked = (
        RUNS[f"language_{name}"].build(steps)[0]
        for name in ("ten_times_the_rate", "body_at_rate_zero", "after_a_spike")
    )
    assert faster.rate == 10 * usual.rate
    rates = {group["lr"]: sum(p.numel() for p in group["params"]) for group in frozen.groups(frozen.model, frozen.rate)}
    assert rates.keys() == {0.0, usual.rate}
    assert rates[0.0] > 0.9 * sum(rates.values())
    factors, spikes = ([model.schedule(step) for step in range(steps)] for model in (usual, spiked))
    assert [s for s, f in zip(spikes, factors, strict=True) if s != f] == [SPIKE] * SPIKE_STEPS


def test_the_language_models_have_three_to_ten_million_parameters():
    assert 3e6 < sum(p.numel() for p in healthy(100)[0].parameters()) < 1e7


def test_the_schedule_warms_up_to_one_and_falls_to_a_tenth():
    factor = warm_up_and_cosine(1000)
    assert factor(0) < 0.1
    assert factor(30) == pytest.approx(1.0)
    assert factor(1000) == pytest.approx(0.1)
    assert badly_joined(1000)(400) == SPIKE


def test_a_batch_depends_only_on_its_index():
    batches = Batches(10, lambda generator, _: torch.rand(3, generator=generator))
    assert torch.equal(batches[4], batches[4])
    assert not torch.equal(batches[4], batches[5])
    with pytest.raises(IndexError):
        batches[10]


def test_the_text_is_source_code_and_its_end_is_held_out():
    text, new = source_code()
    assert bytes(text.tolist()).find(b"\ndef ") >= 0
    assert max(text.max(), new.max()) < CHARACTERS
    assert len(new) == pytest.approx(0.1 * (len(text) + len(new)), abs=1)


def test_augmented_digits_keep_their_labels_and_their_range():
    images, labels = augmented_digits(64, 16, torch.Generator().manual_seed(0))
    again, _ = augmented_digits(64, 16, torch.Generator().manual_seed(0), held_out=True)
    assert images.shape == (64, 1, 16, 16)
    assert images.abs().max() <= 1
    assert not torch.equal(images, again)
    centres = torch.nn.functional.interpolate(digits()[0], size=16, mode="bilinear")
    nearest = digits()[1][torch.cdist(images.flatten(1), centres.flatten(1)).argmin(1)]
    assert (nearest == labels).float().mean() > 0.6


def test_a_pole_that_leans_to_the_right_falls_unless_the_cart_is_pushed_to_the_right():
    state = torch.tensor([[0.0, 0.0, 0.1, 0.0]]).repeat(2, 1)
    for _ in range(20):
        state = driven(state, torch.tensor([1, 0]) == 1)
    assert state[0, 2] < 0.1 < state[1, 2]
    assert fallen(torch.tensor([[0.0, 0.0, 0.1, 0.0], [0.0, 0.0, 0.3, 0.0], [3.0, 0.0, 0.0, 0.0]])).tolist() == [
        *(False, True, True)
    ]


def test_the_loss_is_flat_where_no_later_stretch_is_much_lower():
    falling = [100.0 - step for step in range(100)]
    assert 70 <= flat_from([*falling, *[0.5] * 900]) <= 110
    spiked = [*falling, *[0.5] * 400, *[90.0] * 100, *[50.0] * 400]
    assert 580 <= flat_from(spiked) <= 620
    assert flat_from(falling * 10) > 900 or flat_from(falling) > 80


def test_a_curve_has_the_means_and_the_range_of_blocks_and_gaps_where_the_loss_is_not_finite():
    curve = Curve.of([1.0, 3.0] * 400)
    assert (len(curve.steps), curve.steps[-1]) == (400, 800)
    assert (set(curve.mean), set(curve.low), set(curve.high)) == ({2.0}, {1.0}, {3.0})
    assert Curve.of([1.0, float("nan")]).mean == [1.0, None]


@pytest.mark.parametrize(
    ("steps", "delay"),
    [([], "**no alarm**"), ([400], "10%"), ([200], "0%, while it still fell"), ([50], "**only before the mistake**")],
)
def test_the_delay_of_a_stuck_run_counts_from_where_its_loss_is_flat(steps, delay):
    assert report.delay(replace(KNOWN, verdicts=[alarm(step) for step in steps])) == delay


def test_an_alarm_in_a_healthy_run_is_called_false():
    right = replace(KNOWN, name="diffusion", mistake_from=None)
    assert report.delay(right) == ""
    assert report.delay(replace(right, verdicts=[alarm(5)])) == "**1 false alarm**"
    assert "0 of 1 stuck runs have an alarm, and 1 of 1 healthy ones." in report.table([
        replace(right, verdicts=[alarm(5)]),
        KNOWN,
    ])


@pytest.mark.slow
def test_a_finished_run_is_kept_and_the_command_makes_its_table_pictures_and_page(tmp_path, capsys):
    job = Job("autoencoder_collapsed", 0.01, tmp_path)
    assert not is_finished(job)
    result = watch(job)
    assert result.error is None
    assert load(job.file) == result
    assert is_finished(job)
    assert not is_finished(replace(job, paired=True))
    assert not is_finished(replace(job, minutes=0.02))
    assert result.curve.steps[-1] == result.steps
    assert result.segments
    written = job.file.stat().st_mtime_ns
    page = tmp_path / "page.md"
    commands.main(["--names", job.name, "--minutes", "0.01", "--out", str(tmp_path), "--resume", "--page", str(page)])
    assert job.file.stat().st_mtime_ns == written
    assert "Autoencoder, posterior collapse" in capsys.readouterr().out
    pictures = [tmp_path / "images" / "long_runs" / name for name in (f"{job.name}.png", "all.png")]
    for picture in pictures:
        with Image.open(picture) as image:
            assert image.width >= 640
        assert picture.stat().st_size < 60 * 1024
        assert f"(images/long_runs/{picture.name})" in page.read_text(encoding="utf-8")


def test_a_run_that_fails_is_a_result_with_its_error_and_is_trained_again(tmp_path, monkeypatch):
    class Broken(type(RUNS["diffusion"].build(60)[0])):
        def training_step(self, batch, batch_idx):
            raise ValueError("no such file")

    monkeypatch.setitem(
        RUNS, "diffusion", replace(RUNS["diffusion"], build=lambda s: (Broken(), images.pictures(s, 4)))
    )
    job = Job("diffusion", 0.01, tmp_path)
    result = watch(job)
    assert result.error == "ValueError: no such file"
    assert "ValueError: no such file" in report.table([result])
    assert not is_finished(job)


@pytest.mark.parametrize("minutes", [0.01, 0.21, 0.5, 12.0, 17.3])
def test_the_length_of_a_run_is_a_whole_number_of_turns(minutes):
    lengths = [run.steps(minutes) for run in RUNS.values()]
    assert all(steps % min(TURNS, steps // 10) == 0 for steps in lengths)


@pytest.mark.slow
def test_a_pair_has_the_ratio_of_the_times_of_the_run_and_its_twin(tmp_path):
    result = watch(Job("autoencoder_collapsed", 0.005, tmp_path, paired=True))
    assert result.error is None
    assert result.ratio > 0
    assert len(result.typical_ratio.split()) == 4
