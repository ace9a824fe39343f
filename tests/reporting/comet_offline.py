"""Run a stuck training with a real Comet experiment on disk: ``python -m tests.reporting.comet_offline FOLDER``.

Lightning's logger disables an experiment that is not online, so this script gives it one of Comet's offline
experiments. It runs in a process of its own, since Comet patches other libraries when it is imported.
"""

import sys

import comet_ml
from lightning.pytorch.loggers import CometLogger

from lightning_landscape import LandscapeMonitor
from tests.reporting.test_loggers import fit

if __name__ == "__main__":
    logger = CometLogger(project="landscape", online=False, offline_directory=sys.argv[1])
    logger._experiment = comet_ml.OfflineExperiment(
        project_name="landscape", offline_directory=sys.argv[1], log_code=False, log_env_details=False
    )
    monitor = LandscapeMonitor(max_batches=1)
    fit(logger, monitor)
    logger.experiment.end()
    assert monitor._reporter.failures == [0], monitor.report
