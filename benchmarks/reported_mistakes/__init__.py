"""Small programs that rebuild mistakes which people report, and healthy programs that only look suspicious.

The programs are a test that is scored once: their authors have not read the code that is tested.
``python -m benchmarks.reported_mistakes`` trains them with ``LandscapeMonitor()`` and prints what was said.
``python -m benchmarks.reported_mistakes --verify`` trains them without it and shows that the mistakes matter.
"""
