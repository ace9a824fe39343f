"""Probes: each takes a `LossSurface` and returns one reading, or None where it has nothing to say."""
