"""The thresholds of all detectors, grouped by the quantity that they apply to.

No threshold depends on the unit of the loss. Values without a named origin were chosen by hand, to tell stuck from
healthy runs in `benchmarks/stuck_runs`; docs/stuck_runs.md says which of these runs were used for that and which were
kept for testing.
"""

# Share of the start: present loss over starting loss, without a unit; below 1 if the loss fell.

SHARE_OF_START_RISEN = 1.2
"""Above this share, the run is worse than at its start: whatever it had learned is lost."""
SHARE_OF_START_HIGH = 0.9
"""Above this share of a loss on fixed batches, the run has learned nothing. The share tells stuck from settled runs
with an area under the ROC curve of 0.96, over 1296 checkpoints of stalled runs."""
SHARE_OF_START_HIGH_IN_NOISE = 0.85
"""Above this share, the run has learned nothing, if only the training losses of changing batches are known."""
SHARE_OF_START_MIDDLE = 0.8
"""Above this share, large updates have lowered the loss too little for their size."""
SHARE_OF_START_HALFWAY = 0.6
"""Above this share, large updates have lowered the loss too little if smaller steps clearly lower it further."""
SHARE_OF_START_LOW = 0.3
"""Below this share, a run that has risen since is still far below its start."""

# Changes of the loss that are no share of the start.

FALL_IN_STANDARD_DEVIATIONS = 3.0
"""A loss that has fallen by more standard deviations of single batches than this has clearly fallen. An added constant
does not change this number."""
RISE_OF_FIRST_STEPS = 2.0
"""If the first losses are higher than the loss before any step by more than this factor, the first steps did damage."""
RISE_BEYOND_CHANCE = 10.0
"""From this factor on they did, however much the losses of single batches scatter, and if only one batch is known."""
RISE_IN_STANDARD_ERRORS = 2.5
"""Chance does not explain a difference of two means of more standard errors than this; `functional.trend` uses the same
number, which covers 98.8% of a normal distribution."""
RISE_FROM_BEST = 2.0
"""If the present loss is more than this multiple of the lowest, the run has lost what it had learned."""
FIRST_LOSSES = 10
"""number of losses that `LossLevel.start` averages over; no threshold, but the standard error of that mean needs it"""

# Gain: relative fall of the held-out loss by a trial, without a unit; 0.15 is a fall by 15%.

GAIN_WITHOUT_END = 100.0
"""If a trial gains more than this, where the lowest loss is not known, the loss falls without end. The loss of a
density falls with the logarithm of its outputs, and gains about 1 at most."""
GAIN_LARGE = 0.4
"""A run that has learned and still gains more than this from Adam was far from done."""
GAIN_OF_RESTART_AFTER_LEARNING = 0.2
"""From this gain on, over that of going on, a restart shows that a run that has learned stands where it need not. It
leaves room for the noise of a loss on a few held-out batches, and for the luck of one draw of the weights."""
GAIN_OF_RESTART_IN_NOISE = 0.3
"""From this gain on, over that of going on, a restart with the run's own optimizer at its own rate shows the same where
noise hides whether the loss still falls."""
GAIN_CLEAR = 0.15
"""A larger gain is not due to chance."""
GAIN_ADVISED = 0.15
"""A trial is advised if its gain exceeds that of the unchanged run by more than this."""
GAIN_OF_RESTART = 0.1
"""From this gain on, a restart shows that the run is held back by its present weights."""
GAIN_WAY_DOWN = 0.05
"""A larger fall along the direction of most negative curvature shows that the run is at a saddle (Dauphin 2014)."""
GAIN_SMALL = 0.02
"""A run whose own optimizer gains more than this is not standing still, although noise hides the trend."""
GAIN_NONE = 0.01
"""At a minimum, no trial gains more than this. On a slope that continues, a gain of this size is enough."""
TENFOLD_RATE_OVER_OWN_GAIN = (5.0, 20.0)
"""If the gain at ten times the learning rate over the gain at the run's own rate lies between these numbers, the gain
is proportional to the step: the steps are too short to reach any curvature of the loss."""

# Relative gradient: κ = |g|·max(|w|, 1)/|loss|, the relative change of the loss per relative change of the weights.

RELATIVE_GRADIENT_LARGE = 0.3
"""From this κ on, the run is on a slope; at minima and saddles κ is far smaller."""
RELATIVE_GRADIENT_SMALL = 0.1
"""Below this κ, the run is near a critical point."""
RELATIVE_GRADIENT_NONE = 1e-3
"""Below this κ, the gradient is too small to move the weights."""

# Gradient along the depth: norm of the first group of parameters over that of the last, without a unit.

FIRST_TO_LAST_VANISHED = 1e-4
"""Below this ratio, the gradient vanishes on its way back and the first layers learn nothing (Hochreiter 1991)."""

# Travel: Σ|Δw|/max(|w|, 1) over 5% of the run, all updates as a multiple of the weights.

TRAVEL_LARGE = 0.3
"""Above this travel, the weights move far, so the loss should fall."""
TRAVEL_SMALL = 5e-3
"""Below this travel, the weights hardly move."""
TRAVEL_NONE = 1e-4
"""Below this travel, the run shows nothing about the data, since the weights do not move enough to use them."""

# Curvature: smallest over largest eigenvalue of the Hessian, without a unit.

CURVATURE_RATIO_NEGATIVE = 0.01
"""If -λ_min/λ_max is below this number, the loss bends upward in all directions, up to the error of the estimate."""

# Use of the inputs: relative rise of the loss when targets are exchanged between samples.

INPUT_USE_NONE = 0.02
"""Below this rise, the model does not use its inputs."""

SAMPLES_TO_LEARN_FROM = 64
"""Fewer samples are learned by heart within a trial, which then shows nothing about other samples."""

LOSS_SCALED_DOWN = 0.05
"""Below this multiple of the loss function that it is made of, a loss was multiplied by a small factor."""

CONSTANT_TOLERANCE = 0.02
"""A loss above the best constant's, less this share, is no better than a constant."""

# Agreement of targets: by how many standard errors similar samples have more similar targets than any two samples.

TARGETS_AGREE = 5.0
"""From this number of standard errors on, chance does not explain that similar samples have similar targets: it would
in one of three million runs."""
TARGETS_AGREE_BY_CHANCE = 2.0
"""Up to this number, chance explains it: in one of forty runs it is more."""

# Way to go: the fall of a trial as a share of the whole fall, from the start of the run to the end of that trial.

WAY_TO_GO_SMALL = 0.1
"""If less than this share of the way is left, the run is nearly there, however large the rest is beside the loss."""

UNMOVED = 0.02
"""If a run from new weights changes the loss of its own batches by a smaller share than this, its rate is not too
large: a smaller one would change it even less."""

# Time, as a share of the planned run and in optimizer steps.

LENGTH_UNDECIDED = 0.1
"""A loss must stand still for this share of the run before that alone is an alarm, and nothing is called settled or
slow before this share has passed: many runs pause for less."""
STEPS_EARLY = 200
"""the same for runs of unknown length, in optimizer steps"""

# Shares of units, activations and parameters, in [0, 1].

UNITS_DEAD = 0.99
"""From this share of dead units in a layer on, the layer passes nothing on."""
UNITS_DUPLICATE = 0.5
"""Above this share of duplicate units, a layer is effectively less than half as wide as it is declared."""
ACTIVATIONS_SATURATED = 0.9
"""From this share of saturated activations in a layer on, almost no gradient passes (Glorot and Bengio 2010)."""
PARAMETERS_UNREACHED = 0.3
"""Above this share of parameters without gradient, or in no optimizer, a large part of the model is not trained."""
PARAMETERS_FROZEN = 0.9
"""Above this share of parameters with `requires_grad=False`, hardly anything is trained."""

PARAMETERS_STILL = 0.01
"""Above this share of parameters that should move and do not, a loss is not called settled; less may be a bias that is
of no use, such as one before a normalisation layer."""

# Weights: their norm over that of the initial weights, without a unit.

WEIGHTS_BLOWN_UP = 10.0
"""Above this ratio, two layers together pass on more than a hundredfold signal."""
MOST_OF_THE_MODEL = 0.5
"""Weights count as shrunk or blown up if the parts in which they are have more than this share of the model."""

# Learning-rate schedule: shares of the peak learning rate and of the planned run, in [0, 1].

SHARE_OF_PEAK_SMALL = 0.05
"""Below this share of its peak, the learning rate has been decayed."""
ELAPSED_LATE = 0.6
"""After this share of the run, a decayed learning rate is taken as the end of the schedule."""

# Weight decay.

DECAY_PULL_BALANCED = 0.3
"""The weight decay and the gradient are in balance if the ratio of their sizes lies between this number and its
inverse."""
LEFT_BY_DECAY_SMALL = 0.1
"""If less than this share of the gradient is left after weight decay, weights that do not move are in balance."""
