"""What each picture says, in a sentence: the PNG files, the Landscape tab and the report share these titles."""

from lightning_landscape.captions.caption import Caption as Caption
from lightning_landscape.captions.curvature import descent_caption as descent_caption
from lightning_landscape.captions.curvature import spectrum_caption as spectrum_caption
from lightning_landscape.captions.gradients import gradient_caption as gradient_caption
from lightning_landscape.captions.line import SMALL_RISE as SMALL_RISE
from lightning_landscape.captions.line import Rise as Rise
from lightning_landscape.captions.line import distinct_anchors as distinct_anchors
from lightning_landscape.captions.line import end_name as end_name
from lightning_landscape.captions.line import line_caption as line_caption
from lightning_landscape.captions.line import rise_of as rise_of
from lightning_landscape.captions.line import start_name as start_name
from lightning_landscape.captions.of_readings import caption_of as caption_of
from lightning_landscape.captions.order import order_for as order_for
from lightning_landscape.captions.order import ordered_for as ordered_for
from lightning_landscape.captions.plane import is_lower as is_lower
from lightning_landscape.captions.plane import lowest_point as lowest_point
from lightning_landscape.captions.plane import plane_caption as plane_caption
from lightning_landscape.captions.run import STATES as STATES
from lightning_landscape.captions.run import run_caption as run_caption
from lightning_landscape.captions.trials import GOING_ON as GOING_ON
from lightning_landscape.captions.trials import TrialBar as TrialBar
from lightning_landscape.captions.trials import TrialChart as TrialChart
from lightning_landscape.captions.trials import TrialGroup as TrialGroup
from lightning_landscape.captions.trials import trial_chart as trial_chart
