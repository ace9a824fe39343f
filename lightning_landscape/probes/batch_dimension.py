"""Which layers take the dimension that counts the samples for that of time."""

from __future__ import annotations

from lightning_landscape.evidence.wiring import SamplesAsSequence
from lightning_landscape.probes.data_flow import first_argument
from lightning_landscape.trace import ATTENTION, Operation, Trace

RECURRENT = ("gru", "lstm", "rnn_tanh", "rnn_relu")
BATCH_FIRST = 8
"""position of `batch_first` among the arguments of a recurrent operation"""


def samples_as_sequence(trace: Trace) -> tuple[SamplesAsSequence, ...]:
    """Return the layers for sequences that get (batch, time, features) where they take (time, batch, features).

    It is certain that the first dimension counts the samples where there is one number for each of them, such as a
    label: then a batch that begins with time would have as many labels as steps.
    """
    if trace.samples is None or not _has_number_per_sample(trace, trace.samples):
        return ()
    found = []
    for operation in trace.operations:
        shape = _shape_of_sequences(trace, operation)
        if len(shape) == 3 and shape[0] == trace.samples != shape[1] and trace.with_gradient(operation):
            found.append(SamplesAsSequence(operation.name, operation.module, shape))
    return tuple(found)


def _has_number_per_sample(trace: Trace, samples: int) -> bool:
    return any(value.source == "entry" and value.shape in ((samples,), (samples, 1)) for value in trace.values)


def _shape_of_sequences(trace: Trace, operation: Operation) -> tuple[int, ...]:
    """Return the shape of what a layer takes as (time, batch, features); empty for any other operation."""
    recurrent = operation.name in RECURRENT and operation.plain.get(BATCH_FIRST) is False
    value = first_argument(operation) if recurrent else None
    if operation.name == ATTENTION:
        value = operation.argument(0, "query")
    return () if value is None else trace.values[value].shape
