"""The output that docs/command_line.md shows is that of the commands; ``LANDSCAPE_WRITE_PAGE=1`` writes it anew."""

import os
import re
import shlex
import shutil

import pytest

from lightning_landscape.command_line import main
from tests.clocks import DAY
from tests.command_line.examples import write_examples
from tests.command_line.shell import PAGE

EXAMPLES = re.compile(r"^```console\n(.*?)^```", re.M | re.S)


@pytest.mark.slow
def test_the_page_shows_what_the_commands_print(tmp_path, monkeypatch, capsys):
    write_examples(tmp_path / "logs")
    for path in sorted((tmp_path / "logs").rglob("*")):
        os.utime(path, (DAY.timestamp(), DAY.timestamp()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lightning_landscape.clock.Clock.date", lambda clock: DAY)

    def shown(block):
        lines = []
        for command in re.findall(r"^\$ landscape (.*)$", block.group(1), re.M):
            status = main(shlex.split(command))
            said = capsys.readouterr()
            assert status in (0, 1) or said.err
            lines += [f"$ landscape {command}", said.out + said.err]
        return "```console\n" + "\n".join(lines).rstrip() + "\n```"

    page = PAGE.read_text("utf-8")
    fresh = EXAMPLES.sub(shown, page)
    if os.environ.get("LANDSCAPE_WRITE_PAGE"):
        PAGE.write_text(fresh, "utf-8")
        shutil.copy("loss.png", PAGE.parent / "images" / "plateau_command.png")
    else:
        assert fresh == page
