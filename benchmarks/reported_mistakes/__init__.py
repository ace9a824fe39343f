"""Small programs that rebuild mistakes which people report, and healthy programs that only look suspicious.

There are two splits. ``unread`` is a test that is scored once: its author has not read the code that is tested.
``reports`` has one program for each of twenty public reports, and is for developing the verdicts.
``python -m benchmarks.reported_mistakes`` trains a split with ``LandscapeMonitor()`` and prints what was said.
``python -m benchmarks.reported_mistakes --verify`` trains it without a monitor and shows that the mistakes matter.
"""
