"""Each program that rebuilds a reported mistake can be built and trained, with and without its mistake."""

from collections import Counter

import lightning.pytorch as pl
import pytest
import torch

from benchmarks.reported_mistakes import registry
from benchmarks.reported_mistakes.registry import SPLITS, load_programs
from benchmarks.reported_mistakes.scoring import Score, totals

PROGRAMS = load_programs()
CAUSES = {
    "saddle_point",
    "flat_region",
    "poor_minimum",
    "learning_rate_too_small",
    "learning_rate_too_large",
    "not_updating",
    "nothing_to_learn",
    "diverged",
}
SIBLINGS = [(p, cured) for p in PROGRAMS.values() for cured in ((False, True) if p.kind == "failing" else (False,))]


def one_step(module, batches, settings):
    """Take one training step."""
    settings = {k: v for k, v in settings.items() if k != "max_steps"}
    trainer = pl.Trainer(
        fast_dev_run=1,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(module, batches)
    return trainer


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step.*before.*optimizer.step", "ignore:The epoch parameter")
@pytest.mark.parametrize(("program", "cured"), SIBLINGS, ids=lambda v: v.name if hasattr(v, "name") else str(v))
def test_a_program_takes_a_training_step(program, cured):
    assert one_step(*program.build(0, cured=cured)).global_step >= 1


def test_the_splits_have_their_sizes_and_share_no_program():
    kinds = {split: Counter(p.kind for p in load_programs(split).values()) for split in SPLITS}
    assert kinds["unread"] == {"failing": 32, "healthy": 24}
    assert kinds["reports"] == {"failing": 15, "healthy": 4, "passing": 1}
    assert sum(map(Counter.total, kinds.values())) == len(PROGRAMS)


def test_an_alarm_of_a_passing_program_is_wrong_only_if_it_names_another_cause():
    said = {"found": True, "words": (), "warnings": 0, "verdicts": (), "warned": (), "seconds": 1.0, "error": None}
    scores = [
        Score("a", 0, "passing", "-settled", alarmed=False, cause_right=False, alarm_step=None, **said),
        Score("a", 1, "passing", "saddle_point", alarmed=True, cause_right=True, alarm_step=9, **said),
        Score("a", 2, "passing", "diverged", alarmed=True, cause_right=False, alarm_step=9, **said),
    ]
    assert (totals(scores)["passing"], totals(scores)["passing_wrong_cause"]) == (3, 1)


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=lambda p: p.name)
def test_what_a_program_says_about_itself_is_complete(program):
    assert 300 <= program.steps <= 1500
    assert program.mistake.endswith(".")
    assert program.fix.endswith(".")
    assert all(address.startswith("http") for address in program.source.split())
    assert all(word == word.lower() for word in program.words)
    assert set(program.causes) <= CAUSES
    assert bool(program.causes) == (program.kind != "healthy")
    assert bool(program.words) == (program.kind == "failing")


def test_the_same_seed_builds_the_same_weights():
    first, second, other = (PROGRAMS["smoothed_labels"].build(seed)[0] for seed in (3, 3, 4))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_two_programs_cannot_have_the_same_name():
    with pytest.raises(ValueError, match="smoothed_labels"):
        registry.healthy(300, suspicious="It is here.", fine="It is.", source="http://a")(
            PROGRAMS["smoothed_labels"].function
        )
