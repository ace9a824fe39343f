"""`benchmarks.all` changes the headings and tables of a benchmark's output so that they fit into one page."""

from benchmarks.all import lower_headings, separate_tables


def test_second_level_headings_become_third_level_and_others_stay():
    assert lower_headings("## A\ntext\n### B") == "### A\ntext\n### B"


def test_a_table_gets_an_empty_line_before_and_after_it_unless_it_has_them():
    table = "| a |\n|---|\n| 1 |"
    assert separate_tables(f"before\n{table}\nafter") == f"before\n\n{table}\n\nafter"
    assert separate_tables(f"before\n\n{table}\n\nafter") == f"before\n\n{table}\n\nafter"
