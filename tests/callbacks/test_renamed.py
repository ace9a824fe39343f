"""The names of version 0.1 that were changed still work, with a warning that gives the new name."""

import pytest

from lightning_landscape import (
    CurvatureMonitor,
    GradientNormMonitor,
    LandscapeMonitor,
    LossInterpolationMonitor,
    PlateauMonitor,
)

RENAMED = [
    (LandscapeMonitor, {"every": 50}, {"every_n_steps": 50}),
    (LandscapeMonitor, {"norms_every": 3}, {"norm_every_n_steps": 3}),
    (LandscapeMonitor, {"batches": 8}, {"max_batches": 8}),
    (LandscapeMonitor, {"points": 5}, {"num_points": 5}),
    (GradientNormMonitor, {"every": 4}, {"every_n_steps": 4}),
    (PlateauMonitor, {"norms_every": 5}, {"norm_every_n_steps": 5}),
    (LossInterpolationMonitor, {"points": 7}, {"num_points": 7}),
    (CurvatureMonitor, {"batches": 2}, {"max_batches": 2}),
]


@pytest.mark.parametrize(("kind", "old", "new"), RENAMED)
def test_an_old_argument_works_with_a_warning_that_gives_the_new_name(kind, old, new):
    with pytest.deprecated_call(match=f"'{next(iter(old))}' is called '{next(iter(new))}' since version 0.2"):
        monitor = kind(**old)
    assert monitor.state_key == kind(**new).state_key != kind().state_key


def test_the_old_argument_folder_works_with_a_warning_that_names_dirpath():
    with pytest.deprecated_call(match="'folder' is called 'dirpath'"):
        assert LandscapeMonitor(folder="mine")._dirpath == "mine"


def test_the_old_and_the_new_name_together_raise_a_type_error_with_both_values():
    with pytest.raises(TypeError, match="'every' is the old name of 'every_n_steps': give one of them, got 3 and 4"):
        LandscapeMonitor(every=3, every_n_steps=4)


@pytest.mark.parametrize("name", ["evry", "points"])
def test_an_unknown_argument_raises_a_type_error_with_its_name(name):
    with pytest.raises(TypeError, match=f"unexpected keyword argument '{name}'"):
        PlateauMonitor(**{name: 3})


def test_the_warning_points_at_the_line_that_uses_the_old_name():
    with pytest.deprecated_call() as caught:
        LandscapeMonitor(every=3)
    assert caught[0].filename == __file__


def test_the_old_attribute_treatments_works_with_a_warning_that_names_remedy_outcomes():
    with pytest.deprecated_call(match="'treatments' is called 'remedy_outcomes'"):
        assert LandscapeMonitor().treatments == ()
