"""Every monitor on two ranks: both finish, equal to the bit to a run without it, and publish the same scalars."""

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
from tests.ranks import TIMEOUT_SECONDS

pytestmark = pytest.mark.distributed
ROOT = Path(__file__).parents[2]


@functools.cache
def ranks(kind: str) -> list[dict[str, Any]]:
    """Return the results of each rank in all settings of one kind; the processes are started once for all monitors."""
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
            errors = [process.communicate(timeout=TIMEOUT_SECONDS)[1] for process in started]
        finally:
            for process in started:
                process.kill()
        assert [process.returncode for process in started] == [0, 0], errors[0][-2000:] + errors[1][-2000:]
        return [json.loads((Path(folder) / f"{rank}.json").read_text(encoding="utf-8")) for rank in (0, 1)]


@pytest.mark.parametrize("watcher", WATCHERS)
@pytest.mark.parametrize("name", SETTINGS)
def test_both_ranks_train_identically_and_publish_the_same_scalars(name, watcher):
    both = [rank[name] for rank in ranks(name.partition(",")[0])]
    for rank in both:
        for key in ("digest", "user metrics", "rows"):
            assert rank[watcher][key] == rank["alone"][key], key
        # The run alone comes first, and some warnings are given only once per process.
        assert set(rank[watcher]["other warnings"]) <= set(rank["alone"]["other warnings"])
        assert rank[watcher]["steps"] == (12 if "accumulate" in name else 24)
    first, second = (rank[watcher] for rank in both)
    assert first["landscape metrics"] == second["landscape metrics"]
    assert second["messages"] == []
    # The one warning that is allowed says that the curvature of sharded weights is not measured.
    assert all("LL407" in text for text in first["messages"]) if name == "FSDP2" else first["messages"] == []
    assert not [note for note in first["notes"] if "failed" in note]
    published = {name.removeprefix("landscape/") for name in first["landscape metrics"]}
    assert "FSDP2" in name or published >= WATCHERS[watcher].scalars
