"""Each fault from F01 to F46 is in the name of a test."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_every_fault_from_1_to_46_has_a_test():
    names = re.findall(r"^def (test_f\d\d\w*)", "\n".join(p.read_text("utf-8") for p in TESTS.rglob("test_*.py")), re.M)
    tested = {int(number) for name in names for number in re.findall(r"_f(\d\d)(?=_)", name)}
    assert tested == set(range(1, 47))


def test_every_file_in_the_table_of_promises_exists():
    table = (TESTS.parent / "docs" / "promises.md").read_text(encoding="utf-8")
    paths = set(re.findall(r"`((?:tests|benchmarks)/[\w./]*)`", table))
    assert len(paths) > 20
    assert {path for path in paths if not (TESTS.parent / path).exists()} == set()
