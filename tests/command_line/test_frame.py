"""What all verbs share: exit statuses, ``--json``, refusals, text with and without a terminal, the progress bar."""

import io
import json
import re
import sys

import pytest

from lightning_landscape.command_line import main, verbs
from lightning_landscape.command_line.answer import Answer, CannotLookError, Example, Panel, Table, Verb
from lightning_landscape.command_line.output import plain_text
from lightning_landscape.command_line.program import parser
from lightning_landscape.command_line.progress import Progress, with_progress
from tests.clocks import ManualClock
from tests.command_line.shell import ROOT, documented_schema, landscape

HOSTILE = "a\x1b[31mred\x07\n[bold]b"


def answering(answer=None, error=None):
    """Return a verb that gives this answer or raises this error."""

    def run(options):
        if error is not None:
            raise error
        return answer

    return Verb("look", "look", "Looks.", [Example("landscape look", "look")], lambda parser: None, run)


@pytest.fixture
def status_of(monkeypatch):
    """Return a function that runs the only verb, which gives this answer or raises this error."""

    def run(*arguments, answer=None, error=None):
        monkeypatch.setattr("lightning_landscape.command_line.program.VERBS", (answering(answer, error),))
        return main(["look", *arguments])

    return run


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.mark.parametrize("verb", verbs.VERBS, ids=lambda verb: verb.name)
def test_the_help_of_every_verb_has_its_examples_and_the_exit_statuses(verb, capsys):
    with pytest.raises(SystemExit) as ended:
        main([verb.name, "--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    assert all(example.command in shown for example in verb.examples)
    assert "--json" in shown
    assert "2 if the command could not look" in shown


@pytest.mark.parametrize("verb", verbs.VERBS, ids=lambda verb: verb.name)
def test_every_example_is_a_command_line_that_its_verb_accepts(verb):
    for example in verb.examples:
        command = re.sub(r"^.*\| ", "", example.command).split()
        assert command[:2] == ["landscape", verb.name]
        assert parser().parse_args(command[1:]).verb is verb


@pytest.mark.parametrize("verb", verbs.VERBS, ids=lambda verb: verb.name)
def test_the_document_of_every_verb_has_a_schema_in_the_docs_that_allows_nothing_else(verb):
    schema = documented_schema(verb.name)
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == set(schema["properties"])


@pytest.mark.parametrize(("alarm", "status"), [(False, 0), (True, 1)])
def test_an_alarm_is_the_exit_status_1(status_of, capsys, alarm, status):
    answer = Answer({"number": float("nan")}, ["text"], alarm=alarm)
    assert status_of(answer=answer) == status
    assert capsys.readouterr().out == "text\n"
    assert status_of("--json", answer=answer) == status
    assert json.loads(capsys.readouterr().out) == {"number": None}


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (CannotLookError("the file is empty"), "the file is empty"),
        (FileNotFoundError(2, "No such file or directory", "a.csv"), "a.csv: No such file or directory"),
        (PermissionError(13, "Permission denied", b"b.csv"), "b.csv: Permission denied"),
    ],
)
def test_a_command_that_cannot_look_says_why_in_one_line_and_as_json(status_of, capsys, error, sentence):
    assert status_of(error=error) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"landscape: {sentence}\n")
    assert status_of("--json", error=error) == 2
    assert json.loads(capsys.readouterr().out) == {"error": sentence}


def test_a_mistake_of_the_library_is_no_refusal(status_of):
    with pytest.raises(ZeroDivisionError):
        status_of(error=ZeroDivisionError())


def test_an_interrupted_command_ends_quietly(status_of, capsys):
    assert status_of(error=KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == ""


def test_wrong_arguments_are_a_refusal(capsys):
    assert main(["nothing"]) == 2
    assert "invalid choice: 'nothing'" in capsys.readouterr().err
    assert main(["report", "--json"]) == 2
    said = capsys.readouterr()
    assert json.loads(said.out)["error"].startswith("the following arguments are required: RUN")
    assert main([]) == 2
    assert "examples:" in capsys.readouterr().err


def test_plain_text_has_aligned_columns_and_no_control_characters_of_names():
    table = Table(["run", "loss"], [[HOSTILE, "0.5"], ["b", "12.25"]], title="Runs", numbers=frozenset([1]))
    text = plain_text([table, Panel("  Try: this\nthen", title="LL202")])
    assert text.splitlines() == [
        "Runs",
        "run                  loss",
        "a [31mred  [bold]b    0.5",
        "b                   12.25",
        "",
        "── LL202",
        "  Try: this",
        "then",
    ]


def test_a_terminal_gets_tables_of_rich_in_which_no_name_is_markup(status_of, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "60")
    table = Table(["run", "state"], [[HOSTILE, "stuck"]], alarms=frozenset([0]))
    assert status_of(answer=Answer({}, ["text " * 30, table, Panel("first\nsecond", alarm=True)], alarm=True)) == 1
    shown = terminal.getvalue()
    plain = re.sub(r"\x1b\[[\d;]*m", "", shown)
    assert "a [31mred  [bold]b" in plain
    assert "─" in plain
    assert all(len(line) <= 60 for line in plain.splitlines())
    assert "\x1b[" in shown


def test_a_terminal_without_rich_gets_plain_text_that_is_wrapped(status_of, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setitem(sys.modules, "rich.console", None)
    monkeypatch.setenv("COLUMNS", "60")
    assert status_of(answer=Answer({}, ["text " * 30, Table(["run"], [["a"]])])) == 0
    assert all(len(line) <= 60 for line in terminal.getvalue().splitlines())
    assert terminal.getvalue().endswith("run\na\n")


@pytest.mark.parametrize("rich", [True, False], ids=["rich", "without"])
def test_a_bar_appears_after_two_seconds_of_work_and_disappears_at_its_end(monkeypatch, rich):
    terminal, clock = Terminal(), ManualClock()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    if not rich:
        monkeypatch.setitem(sys.modules, "rich.progress", None)
    with Progress("Reading", total=4, clock=clock) as progress:
        progress.advance()
        clock.move(1.9)
        progress.advance()
        assert terminal.getvalue() == ""
        clock.move(0.2)
        progress.advance()
        assert "Reading" in terminal.getvalue()
    assert "75%" in terminal.getvalue()
    if not rich:
        assert terminal.getvalue().endswith("\r")


def test_without_a_terminal_there_is_no_bar(monkeypatch, capsys):
    clock = ManualClock()
    with Progress("Reading", clock=clock) as progress:
        clock.move(10)
        progress.advance()
    assert list(with_progress([1, 2], "Reading")) == [1, 2]
    assert capsys.readouterr().err == ""


def test_the_installed_command_is_this_one():
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    assert 'landscape = "lightning_landscape.command_line:main"' in text


def test_help_loads_neither_torch_nor_tensorboard_nor_matplotlib():
    done = landscape("--help", python=("-X", "importtime"))
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.err.splitlines()}
    assert done.status == 0
    assert "lightning_landscape" in loaded
    assert not loaded & {"torch", "tensorboard", "matplotlib", "numpy", "rich"}
