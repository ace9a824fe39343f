"""Measurements against other tools; each is `python -m benchmarks.<name>`."""
