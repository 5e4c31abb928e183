"""Methods: what a unit contributes to a metric, per example and position.

Write a for a unit's value in the clean run, b for its value in the baseline run, g for the gradient of the example's
metric by the unit, total: through all that reads the unit's write, directly and later.

- `activation-x-gradient`: a · g. Gradient times input (Shrikumar et al. 2016, arXiv 1605.01713), at internal units;
  without a baseline, and in the sign of that literature: positive where the unit's value raises the metric.
- `attribution-patching`: (b - a) · g (Nanda 2023, neelnanda.io/mechanistic-interpretability/attribution-patching;
  Syed et al. 2023, arXiv 2310.10348). First-order estimate of the metric's change when the unit is ablated, in the sign
  of the project's edge scores (design, section 9): positive where ablating raises the metric. With baseline zero it
  is the negative of `activation-x-gradient`.
- `integrated-gradients`: (b - a) times the mean of g over runs in which all units of the site are a + (k / m)(b - a),
  k = 0 … m - 1, and what follows is recomputed (Sundararajan et al. 2017, arXiv 1703.01365, at internal sites as Marks
  et al. 2024, arXiv 2403.19647, do; their points, which start from the clean run). The sum over a site's units and
  positions tends to the metric with the site at its baseline minus the clean metric, with an error of O(1/m). One step
  is `attribution-patching`.

Cost: one forward and backward pass for all sites together, and the baseline's forward pass;
`integrated-gradients` takes (m - 1) more passes for each site. The backward pass ends at the first site.
"""

from __future__ import annotations

import torch

from compgraph.ablation.baselines import Baseline, Units
from compgraph.attribution.probe import Probe


def activation_x_gradient(probe: Probe, baseline: Baseline | None) -> Units:
    """Units times gradient; takes no baseline."""
    units, slopes = probe.gradients(probe.sites)
    return {site: units[site] * slopes[site] for site in probe.sites}


def attribution_patching(probe: Probe, baseline: Baseline | None) -> Units:
    """Change of the units times gradient at the clean run."""
    return integrated_gradients(probe, baseline, steps=1)


def integrated_gradients(probe: Probe, baseline: Baseline | None, *, steps: int = 10) -> Units:
    """Change of the units times mean gradient along the straight line of the site's units.

    Parameters
    ----------
    steps
        m, at least 1.
    """
    if baseline is None:
        raise ValueError("this method needs a baseline")
    ends = baseline.units(probe.net, probe.batch, probe.sites)
    units, totals = probe.gradients(probe.sites)  # k = 0 is the clean run, for all sites alike
    found: Units = {}
    for site in probe.sites:
        total = totals.pop(site)
        for k in range(1, steps):
            point = {site: torch.lerp(units[site], ends[site], k / steps)}
            total = total + probe.gradients([site], point)[1][site]
        found[site] = (ends[site] - units[site]) * (total / steps)
    return found
