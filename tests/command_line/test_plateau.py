"""`landscape plateau` from the shell, on every kind of log and on bad input."""

import json
import os

import pytest

from lightning_landscape.command_line import main
from lightning_landscape.logs import unchanged
from tests.command_line.examples import STEPS, losses, write_csv, write_events, write_examples
from tests.command_line.shell import document, landscape, refusal

pytestmark = pytest.mark.slow


def plateau(path, *options, status):
    (run,) = document("plateau", path, *options, status=status)["runs"]
    return run


def test_a_flat_loss_is_an_alarm_with_since_when_and_what_the_test_would_have_noticed(tmp_path):
    run = plateau(write_csv(tmp_path / "metrics.csv", losses("flat")), status=1)
    assert (run["state"], run["tag"], run["code"]) == ("still", "train_loss", "LL209")
    assert run["since"] < 0.1 * STEPS
    assert 0 < run["test"]["noticed"] < 0.1 * run["loss"]["now"]
    assert "The loss stands still" in run["sentences"][0]
    assert "would have noticed" in run["sentences"][1]


def test_a_falling_loss_is_no_alarm_and_has_a_pace(tmp_path):
    run = plateau(write_events(tmp_path / "events.out.tfevents.1", losses("falling")), status=0)
    assert run["state"] == "falling"
    pace = run["further_1_percent"]
    assert 0 < pace["at_least"] < pace["steps"]
    assert any(sentence.startswith("At this pace, a further 1% takes about") for sentence in run["sentences"])


def test_a_loss_that_stands_after_it_has_fallen_is_named_but_is_no_alarm(tmp_path):
    run = plateau(write_csv(tmp_path / "metrics.csv", losses("settled")), status=0)
    assert run["state"] == "still"
    assert not any(stretch["stuck"] for stretch in run["stretches"])


def test_a_plateau_that_the_run_has_left_is_named_but_is_no_alarm(tmp_path):
    run = plateau(write_csv(tmp_path / "metrics.csv", losses("escaping")), status=0)
    stuck = [stretch for stretch in run["stretches"] if stretch["stuck"]]
    assert stuck[0]["since"] < 0.1 * STEPS
    assert 0.4 * STEPS < stuck[0]["until"] < 0.7 * STEPS


def test_a_loss_that_is_no_number_has_diverged(tmp_path):
    run = plateau(write_csv(tmp_path / "metrics.csv", losses("diverging")), status=1)
    assert (run["state"], run["cause"]) == ("diverged", "diverged")
    assert run["since"] == pytest.approx(0.7 * STEPS, abs=2)


def test_a_loss_that_is_logged_every_50_steps_is_judged_in_those_steps(tmp_path):
    run = plateau(write_csv(tmp_path / "metrics.csv", losses("flat", 400), every=50), status=1)
    assert (run["every"], run["last_step"]) == (50, 399 * 50)
    assert run["test"]["window"] > 1000


def test_the_loss_that_it_came_from_is_the_first_value_of_the_log_and_no_mean(tmp_path):
    values = [2.0 * 0.97**i for i in range(200)]
    run = plateau(write_csv(tmp_path / "metrics.csv", values, every=40), status=0)
    assert "it came from 2 to " in run["sentences"][0]
    assert run["loss"]["start"] < 1.8


def test_a_single_step_is_no_plural(tmp_path):
    run = plateau(write_csv(tmp_path / "metrics.csv", [100.0 * 0.98**i for i in range(200)]), status=0)
    assert run["sentences"][-1].startswith("At this pace, a further 1% takes about 1 step")
    assert "1 steps" not in " ".join(run["sentences"])


def test_all_runs_of_a_directory_are_judged_alarms_first(tmp_path):
    write_examples(tmp_path)
    (tmp_path / "short").mkdir()
    write_csv(tmp_path / "short" / "metrics.csv", losses("flat", 10))
    found = document("plateau", tmp_path, status=1)
    assert found["runs"][0]["run"] == "flat"
    assert {run["run"] for run in found["runs"]} == {"flat", "falling", "escaping", tmp_path.name}
    (failed,) = found["not_judged"]
    assert failed["run"] == "short"
    assert "the loss has 10 values; the test needs at least 40" in failed["reason"]
    shown = landscape("plateau", tmp_path)
    assert "Not judged" in shown.out or "not judged" in shown.out


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("\n".join(map(str, losses("flat", 400))), "loss"),
        ("\n".join(json.dumps({"loss": v, "_step": i}) for i, v in enumerate(losses("flat", 400))), "loss"),
        (
            "\n".join(["Step,r1 - train/loss,r1 - train/loss__MIN"])
            + "\n"
            + "\n".join(f'"{i}","{v}","0.1"' for i, v in enumerate(losses("flat", 400))),
            "r1 - train/loss",
        ),
        (
            "run_id,key,value,step,timestamp\n"
            + "\n".join(f"abc,train_loss,{v},{i},1700" for i, v in reversed([*enumerate(losses("flat", 400))])),
            "train_loss",
        ),
        ("Wall time,Step,Value\n" + "\n".join(f"1.5,{i},{v}" for i, v in enumerate(losses("flat", 400))), "loss"),
    ],
    ids=["numbers", "json-lines", "wandb", "mlflow", "tensorboard-csv"],
)
def test_standard_input_may_be_any_kind_of_table(text, tag):
    (run,) = document("plateau", "-", status=1, stdin=text)["runs"]
    assert (run["run"], run["tag"], run["values"]) == ("standard input", tag, 400)


def test_the_picture_is_drawn(tmp_path):
    path = write_csv(tmp_path / "metrics.csv", losses("escaping"))
    done = landscape("plateau", path, "-o", tmp_path / "loss.png")
    assert done.status == 0
    assert f"The picture is {tmp_path / 'loss.png'}." in done.out
    assert (tmp_path / "loss.png").stat().st_size > 5000


def test_of_a_tag_that_is_not_there_the_nearest_are_named(tmp_path):
    path = write_csv(tmp_path / "metrics.csv", losses("flat"))
    assert refusal("plateau", path, "--tag", "trian_loss") == (
        "there is no tag 'trian_loss'; the nearest is train_loss"
    )


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: folder / "none.csv", "does not exist"),
        (lambda folder: folder, "holds no event file, CSV or JSON lines, nor does any directory below it"),
        (lambda folder: written(folder / "empty.csv", ""), "empty.csv is empty"),
        (lambda folder: written(folder / "a.csv", "x,y\na,b\n"), "has no column of numbers"),
        (lambda folder: written(folder / "a.jsonl", "{broken\n"), "has no line that is a JSON object with a number"),
        (lambda folder: written(folder / "a.csv", "step,val_loss,a\n1,2,3\n"), "no tag is a training loss"),
        (lambda folder: written(folder / "a.csv", "step,loss_a,loss_b\n1,2,3\n"), "several tags may be the training"),
        (lambda folder: written(folder / "a.csv", "step,loss\n1,2\n"), "has 1 value; the test needs at least 40"),
        (lambda folder: written(folder / "tfevents.1", "garbage" * 9), "holds no number that can be read"),
    ],
    ids=["missing", "folder", "empty", "words", "json", "validation", "several", "short", "garbage"],
)  # fmt: skip
def test_bad_input_is_one_sentence_and_status_2(tmp_path, make, said, capsys):
    assert main(["plateau", str(make(tmp_path))]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_a_picture_of_several_runs_and_a_horizon_of_zero_are_refused(tmp_path, capsys):
    write_examples(tmp_path)
    assert main(["plateau", str(tmp_path), "-o", str(tmp_path / "loss.png")]) == 2
    assert "-o draws one run" in capsys.readouterr().err
    assert main(["plateau", str(tmp_path), "--horizon", "0"]) == 2
    assert "--horizon" in capsys.readouterr().err


def test_a_file_that_is_cut_off_while_it_is_read_is_refused(tmp_path, capsys, monkeypatch):
    path = write_csv(tmp_path / "metrics.csv", losses("flat"))
    monkeypatch.setattr("lightning_landscape.logs.reading.read_table", lambda *args: os.truncate(path, 100))
    assert main(["plateau", str(path)]) == 2
    assert "metrics.csv was rewritten or cut off while it was read; run the command again" in capsys.readouterr().err


def test_a_file_that_grows_while_it_is_read_is_fine_and_one_that_is_replaced_is_not(tmp_path):
    from lightning_landscape.errors import LogError

    path = write_csv(tmp_path / "metrics.csv", losses("flat", 100))
    with unchanged.unchanged(path), path.open("a") as file:
        file.write("0,101,2.3\n")
    other = write_csv(tmp_path / "other.csv", losses("falling", 400))
    with pytest.raises(LogError, match="was rewritten"), unchanged.unchanged(path):
        other.replace(path)
    with pytest.raises(LogError, match="was removed"), unchanged.unchanged(path):
        path.unlink()


def test_an_event_file_that_ends_in_the_middle_of_a_record_is_read_up_to_it(tmp_path):
    path = write_events(tmp_path / "events.out.tfevents.1", losses("flat"))
    os.truncate(path, path.stat().st_size * 3 // 4 + 3)
    assert plateau(path, status=1)["values"] == pytest.approx(0.75 * STEPS, abs=3)


def test_names_with_control_characters_are_harmless(tmp_path):
    hostile = "loss\x1b[2J\x07<script>"
    path = write_csv(tmp_path / "metrics.csv", losses("flat"), tag=hostile)
    done = landscape("plateau", path, "--tag", hostile)
    assert done.status == 1
    assert "\x1b" not in done.out
    assert plateau(path, status=1)["tag"] == hostile


def test_a_million_values_are_read_in_bounded_time_and_memory(tmp_path):
    path = write_csv(tmp_path / "metrics.csv", losses("flat", 1000) * 1000)
    run = plateau(path, status=1)
    assert run["values"] == 1_000_000
