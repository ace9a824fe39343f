"""What is done to the output of a benchmark before it stands on the page of all."""

from benchmarks.all import lowered, set_apart


def test_no_heading_stands_as_high_as_that_of_a_section():
    assert lowered("## A\ntext\n### B") == "### A\ntext\n### B"


def test_tables_stand_between_empty_lines_and_what_has_them_stays():
    table = "| a |\n|---|\n| 1 |"
    assert set_apart(f"before\n{table}\nafter") == f"before\n\n{table}\n\nafter"
    assert set_apart(f"before\n\n{table}\n\nafter") == f"before\n\n{table}\n\nafter"
