"""The verbs that look at checkpoints, from the shell: examine, try, path and compare."""

import hashlib
import json

import pytest
import torch

from lightning_landscape.command_line import main
from tests.command_line.shell import document, landscape, refusal

DEAD = ("--module=tests.command_line.shop:Dead", "--data=tests.command_line.shop:Data", "--accelerator=cpu")
HEALTHY = ("--module=tests.command_line.shop:Classifier", "--data=tests.command_line.shop:Data")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_examine_says_why_a_run_that_nobody_watched_is_stuck_and_writes_only_what_is_asked_for(dead, tmp_path):
    before = digest(dead), sorted(dead.parent.iterdir())
    report, pictures = tmp_path / "report.html", tmp_path / "pictures"
    found = document("examine", dead, *DEAD, "-o", report, "--pictures", pictures, status=1)
    assert found["verdict"]["cause"] == "flat_region"
    assert found["step"] == 64
    assert found["watched"] is False
    assert "not watched" in found["verdict"]["reason"]
    assert {"Activity", "InputUse", "Trials"} <= set(found["measured"])
    assert "<html" in report.read_text("utf-8")
    assert {"plane.png", "trials.png"} <= {path.name for path in pictures.iterdir()}
    assert sorted(map(str, tmp_path.rglob("*.*"))) == sorted(found["written"])
    assert (digest(dead), sorted(dead.parent.iterdir())) == before


def test_examine_draws_lines_to_other_checkpoints(dead, capsys):
    anchor = dead.with_name("step=16.ckpt")
    assert main(["examine", str(dead), *DEAD, "--anchors", str(anchor), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["skipped"] == {}
    assert "Line" in found["measured"]


def test_examine_prints_the_verdict_and_the_measurements_as_text(dead, capsys):
    assert main(["examine", str(dead), *DEAD]) == 1
    out = capsys.readouterr().out
    assert "[LL202] step 63: stuck on a flat region." in out
    assert "units: dead, in the worst layer" in out
    assert "asked for by the user" in out
    assert "ot known: how the loss moved before the checkpoint" in out


def test_examine_takes_module_data_and_trainer_from_a_file_of_lightning_cli(dead, tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text(
        "trainer: {gradient_clip_val: 1.0, max_steps: 1000, max_epochs: 3}\n"
        "model: {class_path: tests.command_line.shop.Dead, init_args: {width: 8}}\n"
        "data: {class_path: tests.command_line.shop.Data}\n"
    )
    assert main(["examine", str(dead), "--config", str(config), "--accelerator=cpu", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"]["cause"] == "flat_region"
    assert "Clipping" in found["measured"]
    assert not any(note.startswith("assumed") for note in found["notes"])


def test_try_compares_a_change_with_going_on_as_it_is(healthy, tmp_path):
    figure = tmp_path / "try.png"
    found = document("try", healthy, *HEALTHY, "--accelerator=cpu", "--lr=0.5", "--steps=40", "-o", figure, status=0)
    as_it_is, changed = found["as_it_is"], found["changed"]
    assert as_it_is["losses"][0] == changed["losses"][0]
    assert as_it_is["steps"] == changed["steps"] == [*range(0, 41, 4)]
    assert as_it_is["losses"][0] > as_it_is["losses"][-1] > changed["losses"][-1]
    assert found["advantage"] > found["margin"] > 0
    assert changed["settings"] == "learning rate 0.5"
    assert figure.stat().st_size > 5000


def test_try_takes_another_optimizer_and_batch_size(healthy, capsys):
    options = ("--optimizer=AdamW", "--lr=0.01", "--batch-size=128", "--steps=20", "--json")
    assert main(["try", str(healthy), *HEALTHY, "--accelerator=cpu", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["changed"]["settings"] == "learning rate 0.01, AdamW, batch size 128"
    assert found["changed"]["losses"][-1] < found["changed"]["losses"][0]


def test_path_shows_the_loss_along_a_folder_of_checkpoints_in_their_order(checkpoints, tmp_path):
    figure = tmp_path / "path.png"
    found = document("path", checkpoints / "healthy", *HEALTHY, "-o", figure, status=0)
    assert [point["step"] for point in found["checkpoints"]] == [16, 32, 48, 64]
    losses = [point["loss"] for point in found["checkpoints"]]
    assert losses == sorted(losses, reverse=True)
    assert all(line["monotone"] for line in found["lines"])
    assert found["paid_until"] == 64
    assert figure.stat().st_size > 5000
    assert found["sentence"].startswith("Training paid up to the last checkpoint")


def test_compare_shows_barriers_and_basins_as_a_table(checkpoints, capsys):
    files = [checkpoints / "healthy" / f"step={step}.ckpt" for step in (48, 64)]
    found = document("compare", *files, *HEALTHY, "--points=3", "--batches=1", status=0)
    assert found["basins"] == [[str(file) for file in files]]
    assert main(["compare", *map(str, files), *HEALTHY, "--points=3", "--batches=1"]) == 0
    out = capsys.readouterr().out
    assert "barrier to 2" in out
    assert "(lowest loss)" in out


# Bad input.


def test_a_checkpoint_that_is_cut_off_is_refused(dead, tmp_path):
    cut = tmp_path / "cut.ckpt"
    cut.write_bytes(dead.read_bytes()[:2000])
    assert "cut.ckpt is damaged" in refusal("examine", cut, *DEAD)


def test_a_checkpoint_of_another_shape_is_refused_with_the_first_differences(dead):
    assert "belongs to another model: net.0.weight: (8, 4) in the file" in refusal(
        "examine", dead, *DEAD, "--init=width=5"
    )


def test_arguments_that_the_checkpoint_does_not_hold_are_named_with_how_to_give_them(checkpoints):
    bare = checkpoints / "bare" / "step=64.ckpt"
    module = "--module=tests.command_line.shop:NoHyperparameters"
    options = (module, "--loader=tests.command_line.shop:loader", "--accelerator=cpu")
    said = refusal("examine", bare, *options)
    assert "NoHyperparameters needs the argument width" in said
    assert "--init width=VALUE" in said
    assert "save_hyperparameters()" in said
    assert document("examine", bare, *options, "--init=width=6", status=0)["verdict"] is not None


class Evil:
    def __reduce__(self):
        return print, ("executed",)


def test_a_pickle_with_code_is_refused_unless_it_is_trusted(dead, tmp_path):
    content = torch.load(dead, weights_only=True)
    evil = tmp_path / "evil.ckpt"
    torch.save(content | {"of_the_user": Evil()}, evil)
    done = landscape("examine", evil, *DEAD)
    assert done.status == 2
    assert "could execute code" in done.err
    assert "--trust" in done.err
    assert "executed" not in done.out + done.err
    assert landscape("examine", evil, *DEAD, "--trust").status == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["examine", "missing.ckpt", *DEAD], "missing.ckpt does not exist"),
        (["examine", "DEAD", DEAD[1]], "name the LightningModule with --module"),
        (["examine", "DEAD", DEAD[0]], "name the training data with --data"),
        (["examine", "DEAD", *DEAD, "--anchors", "missing.ckpt"], "--anchors missing.ckpt is no file"),
        (["examine", "DEAD", *DEAD, "--init=nonsense"], "--init must look like name=value, got 'nonsense'"),
        (["examine", "DEAD", *DEAD, "--init=depth=3"], "Dead has no argument depth; its arguments are width"),
        (["examine", "DEAD", DEAD[0], "--data=tests.command_line.shop:without_batches"], "gives no batches but"),
        (["try", "DEAD", *DEAD], "name what to try"),
        (["try", "DEAD", *DEAD, "--optimizer=Magic"], "torch.optim has no optimizer 'Magic'"),
        (["path", "DEAD", *DEAD[:2]], "at least two checkpoints are needed, got 1"),
        (["path", "missing", *DEAD[:2]], "missing does not exist"),
    ],
)
def test_what_cannot_be_used_is_said_in_one_sentence(dead, capsys, arguments, message):
    assert main([str(dead) if argument == "DEAD" else argument for argument in arguments]) == 2
    said = capsys.readouterr()
    (line,) = said.err.splitlines()
    assert message in line
    assert said.out == ""
