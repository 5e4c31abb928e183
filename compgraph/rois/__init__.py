"""Regions of interest: parts of sites' units that act alike, and evidence that they are real.

`recordings` and `weights` are signals, `signals` the units that are divided together, `graphs` names the graphs of
them, each method is one file, and `find` is the call. `responses` and `describe` say what regions do, `stability`
whether they are found again, `checkpoints` whether at the next checkpoint too, `overlap` whether they are the attention
heads.
"""

from compgraph.rois.checkpoints import roi_agreement
from compgraph.rois.describe import describe_rois
from compgraph.rois.find import find_rois
from compgraph.rois.responses import roi_responses
from compgraph.rois.stability import roi_stability
from compgraph.rois.weights import weight_signals

__all__ = ["describe_rois", "find_rois", "roi_agreement", "roi_responses", "roi_stability", "weight_signals"]
