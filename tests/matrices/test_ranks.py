"""Every callback on two ranks: both end, are the same to the bit as without it, and publish the same numbers."""

from __future__ import annotations

import functools
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.matrices.two_ranks import SETTINGS
from tests.matrices.watchers import WATCHERS
from tests.ranks import PATIENCE

pytestmark = pytest.mark.distributed
ROOT = Path(__file__).parents[2]


@functools.cache
def ranks(kind: str) -> list[dict[str, Any]]:
    """What each rank saw of all settings of one kind: the processes are started once for all callbacks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "NODE_RANK": "0",
    }
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.matrices.two_ranks", kind, folder]
        started = [
            subprocess.Popen(
                command,
                cwd=ROOT,
                env={**common, "LOCAL_RANK": str(rank)},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in (0, 1)
        ]
        try:
            said = [process.communicate(timeout=PATIENCE)[1] for process in started]
        finally:
            for process in started:
                process.kill()
        assert [process.returncode for process in started] == [0, 0], said[0][-2000:] + said[1][-2000:]
        return [json.loads((Path(folder) / f"{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]


@pytest.mark.parametrize("watcher", WATCHERS)
@pytest.mark.parametrize("name", SETTINGS)
def test_both_ranks_end_identical_to_the_bit_and_publish_the_same(name, watcher):
    both = [rank[name] for rank in ranks(name.partition(",")[0])]
    for rank in both:
        for what in ("digest", "theirs", "rows"):
            assert rank[watcher][what] == rank["alone"][what], what
        assert set(rank[watcher]["warnings"]) <= set(rank["alone"]["warnings"])  # some come once for each process
        assert rank[watcher]["steps"] == (12 if "accumulate" in name else 24)
    first, second = (rank[watcher] for rank in both)
    assert first["ours"] == second["ours"]
    assert second["said"] == []
    # Curvature of shards is not measured, and that is said; everything else is as silent as anywhere.
    assert all("LL407" in text for text in first["said"]) if name == "FSDP2" else first["said"] == []
    assert not [note for note in first["notes"] if "failed" in note]
    published = {name.removeprefix("landscape/") for name in first["ours"]}
    assert "FSDP2" in name or published >= WATCHERS[watcher].scalars
