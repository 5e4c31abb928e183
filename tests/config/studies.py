"""Configs that several tests use."""

from __future__ import annotations

from compgraph.config.config import Config, validate
from compgraph.config.reading import parse

SMALL = """
models:
  net: {source: trained, architecture: cnn, steps: 40, checkpoints: 2}
  tf: {source: trained, architecture: transformer, tasks: [induction, ioi], steps: 100, checkpoints: 3}
datasets:
  digits: {kind: images, n: 32}
  mix: {kind: mixture, tasks: [induction, ioi], n: 32}
attributions:
  patched: {datasets: [mix]}
  product: {method: activation-x-gradient, positions: scored, checkpoints: all}
structural:
  comp: {method: composition, partition: heads}
  norm: {method: weight-norm, partition: channels}
functional: {units: {partition: units}, influence: {buffer: attributions.patched}}
effective:
  heads: {partition: heads, checkpoints: all}
  channels: {partition: channels}
  roi: {partition: {"attn.*": rois.km}, models: [tf]}
rois: {km: {n_rois: 4}}
ablation: {edge: {}, node: {ablation: node, graphs: [effective.heads]}}
evaluation: {curves: {}}
communities: {louvain: {graphs: [effective.heads, effective.channels]}}
sbm: {nested: {graphs: [effective.heads]}}
statistics: {basic: {checkpoints: all}}
tracking: {training: {models: [tf]}}
"""


def small(text: str = SMALL) -> Config:
    """The study above, validated."""
    return validate(parse(text))
