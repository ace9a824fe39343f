"""LightningModules like those that people write; each has one property that makes it hard to evaluate without a trace.

"Without a trace" means that the training goes on as if the module had not been evaluated.
"""

from tests.zoo import batches, generative, layers, manual, plain, refused, sequences, stateful, steps  # noqa: F401 - they register
from tests.zoo.specimen import SPECIMENS as SPECIMENS
from tests.zoo.specimen import Specimen as Specimen
from tests.zoo.training import Trace as Trace
from tests.zoo.training import train as train
