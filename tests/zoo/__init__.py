"""LightningModules as people write them, each here for one thing that makes it hard to evaluate without a trace."""

from tests.zoo import batches, generative, layers, manual, plain, refused, sequences, stateful, steps  # noqa: F401 - they register
from tests.zoo.specimen import SPECIMENS as SPECIMENS
from tests.zoo.specimen import Specimen as Specimen
from tests.zoo.training import Trace as Trace
from tests.zoo.training import train as train
