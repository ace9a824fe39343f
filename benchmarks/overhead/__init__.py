"""What watching a run costs, against what people use today: ``python -m benchmarks.overhead --help``."""
