from __future__ import annotations

import json
from pathlib import Path

import pytest

from compgraph.config.study import Study
from compgraph.errors import ConfigError
from tests.config.studies import small

MODELS = """
models:
  net: {source: trained, architecture: cnn, steps: 40, checkpoints: 2}
  tf: {source: trained, architecture: transformer, tasks: [induction, ioi], steps: 100, checkpoints: 3}
"""
DATA = """\
datasets:
  digits: {kind: images}
  mix: {kind: mixture, tasks: [induction, ioi]}
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (DATA, "models: the file names no models"),
        (MODELS + "effective: {a: {}}", "datasets: the file names no datasets"),
        (MODELS + DATA + "structural: {a: {method: composition, models: [net]}}",
         "structural.a.models[0] (line 8): the method 'composition' does not serve a sequential network such as 'net'"),
        (MODELS + DATA + "structural: {a: {method: virtual-circuits}}",
         "virtual-circuits describes heads: partition must be heads, not modules"),
        (MODELS + DATA + "structural: {a: {method: path-norm, rotated: 1}}",
         "rotated is 1; it must be 0, or at least 2"),
        (MODELS + DATA + "structural: {a: {method: weight-norm, models: [tf]}}",
         "'weight-norm' does not serve a transformer such as 'tf'"),
        (MODELS + DATA + "effective: {a: {partition: heads, models: [net]}}",
         "the partition 'heads' does not serve a sequential network such as 'net'"),
        (MODELS + DATA + "effective: {a: {partition: channels, models: [tf]}}",
         "the partition 'channels' does not serve a transformer such as 'tf'"),
        (MODELS + DATA + "effective: {a: {partition: heads}, b: {}}\n"
         "comparison: {c: {graphs: [effective.a, effective.b]}}",
         "comparison.c.graphs[1] (line 9): 'effective.b' has the partition 'modules' and 'effective.a' has 'heads'; "
         "compare graphs over the same nodes"),
        (MODELS + DATA + "effective: {a: {}}\ncomparison: {c: {graphs: [effective.a]}}",
         "comparison.c.graphs (line 9): at least 2 graphs are compared; there are 1"),
        (MODELS + DATA + "effective: {a: {}}\ncomparison: {c: {graphs: [effective.a, effective.z]}}",
         "comparison.c.graphs[1] (line 9): there is no graph 'effective.z'"),
        (MODELS + DATA + "effective: {a: {models: [nett]}}",
         "effective.a.models[0] (line 8): there is no model 'nett' (did you mean 'net'?); valid: net, tf"),
        (MODELS + DATA + "effective: {a: {dictionaries: dd}}\ndictionaries: {d: {}}",
         "effective.a.dictionaries (line 8): there is no entry of dictionaries 'dd' (did you mean 'd'?); valid: d"),
        (MODELS + DATA + "effective: {a: {dictionaries: d, models: [net]}}\ndictionaries: {d: {}}",
         "effective.a.models[0] (line 8): the dictionaries 'd' are not made for 'net': the method 'sae'"),
        (MODELS + DATA + "activations: {sites: ['attn.*']}\nfunctional: {a: {sites: [attn.0, mlp.1]}}",
         "functional.a.sites[1] (line 9): site 'mlp.1' of 'tf' is not recorded; add it to activations.sites"),
        (MODELS + DATA + "activations: {sites: ['attn.*', 'conv.*']}\nfunctional: {a: {sites: ['mlp.*', 'conv.*']}}",
         "functional.a.sites (line 9): none of its sites of 'tf' is recorded; add some of them to activations.sites"),
        (MODELS + DATA + "attributions: {b: {sites: ['mlp.*']}}\n"
         "functional: {a: {buffer: attributions.b, sites: [attn.0], datasets: [mix]}}",
         "functional.a.sites[0] (line 9): site 'attn.0' of 'tf' is not recorded; add it to attributions.b.sites"),
        (MODELS + DATA + "functional: {a: {pool: [digit]}}",
         "functional.a.pool[0] (line 8): there is no dataset 'digit' (did you mean 'digits'?)"),
        (MODELS + DATA + "functional: {a: {datasets: [digits], pool: [digits]}}",
         "functional.a.datasets[0] (line 8): the dataset 'digits' is one of those that are read besides"),
        (MODELS + DATA + "functional: {a: {method: contrast}}",
         "functional.a.against (line 8): this key is missing: the method 'contrast' needs it"),
        (MODELS + DATA + "functional: {a: {method: contrast, against: [mix]}}",
         "functional.a (line 8): it applies to no dataset"),
        (MODELS + DATA + "functional: {a: {parts: 4, confounds: [position], keep: 3}}",
         "parts is 4, and sums over parts do not do for keep: 3, confounds: ['position']; they do for pearson"),
        (MODELS + DATA + "functional: {a: {method: partial, parts: 4}}", "do not do for estimator: ledoit-wolf"),
        (MODELS + DATA + "functional: {a: {method: spearman, parts: 4}}", "do not do for method: spearman"),
        (MODELS + DATA + "functional: {a: {method: lagged, part: between}}",
         "part is between, which leaves class means, and the method 'lagged' needs rows"),
        (MODELS + DATA + "functional: {a: {matrix: float16}}",
         "matrix writes scores that the graph does not keep; give keep"),
        (MODELS + DATA + "dictionaries: {d: {activation: topkk}}", "topkk"),
        (MODELS + DATA + "dictionaries: {d: {method: load}}",
         "dictionaries.d.path (line 8): this key is missing: the method 'load' reads a folder or file"),
        (MODELS + DATA + "dictionaries: {d: {method: load, path: 'nowhere/{site}'}}", "no dictionary at 'nowhere/"),
        (MODELS + DATA + "dictionaries: {d: {}}\nrois: {r: {n_rois: 2, models: [tf]}}\n"
         "effective: {a: {dictionaries: d, partition: rois.r}}",
         "the ROIs 'r' are not of the features of 'd'"),
        (MODELS + DATA + "dictionaries: {d: {}}\nattributions: {b: {models: [tf]}}\n"
         "functional: {a: {dictionaries: d, buffer: attributions.b}}",
         "attributions.b are of the units themselves; both must name the same dictionaries"),
        (MODELS + DATA + "dictionaries: {d: {}}\nattributions: {b: {models: [tf], dictionaries: d}}\n"
         "rois: {a: {buffer: attributions.b, n_rois: 2}}",
         "rois.a.dictionaries (line 10): attributions.b are of the features of 'd'; both must name"),
        (MODELS + DATA + "attributions: {b: {dictionaries: d}}", "there is no entry of dictionaries 'd'"),
        (MODELS + DATA + "dictionaries: {d: {}}\nrois: {a: {buffer: weights, dictionaries: d, n_rois: 2}}",
         "features have no weights of their own; leave weights out"),
        (MODELS + DATA + "effective: {a: {datasets: [mixx]}}", "there is no dataset 'mixx' (did you mean 'mix'?)"),
        (MODELS + DATA + "effective: {a: {models: [net], datasets: [mix]}}",
         "effective.a.datasets[0] (line 8): 'net' reads images, not the mixture of 'mix'"),
        (MODELS + DATA + "effective: {a: {checkpoints: [step-5]}}", "there is no checkpoint 'step-5'"),
        (MODELS + DATA + "effective: {a: {metric: accuracy}}", "a.metric (line 8): 'accuracy' has no gradient"),
        (MODELS + DATA + "effective: {a: {metric: kl}}", "'kl' is flat in the clean run"),
        (MODELS + DATA + "effective: {a: {metric: kl, method: node-ig, steps: 1, edge_steps: 2}}",
         "a.metric (line 8): 'kl' is flat in the clean run, all that node-ig looks at with steps: 1; take steps of"),
        (MODELS + DATA + "attributions: {a: {metric: kl, method: integrated-gradients, steps: 1}}", "with steps: 1; "),
        (MODELS + DATA + "attributions: {a: {metric: kl}}", "a.metric (line 8): 'kl' is flat in the clean run"),
        (MODELS + DATA + "attributions: {a: {metric: accuracy, method: integrated-gradients}}", "has no gradient"),
        (MODELS + DATA + "attributions: {a: {sites: [attn.1, attn.7]}}",
         "attributions.a.sites[1] (line 8): there is no site of 'tf'"),
        (MODELS + DATA + "attributions: {a: {}}\nfunctional: {f: {buffer: attributions.b}}",
         "functional.f.buffer (line 9): there is no buffer 'attributions.b' (did you mean 'attributions.a'?)"),
        (MODELS + DATA + "rois: {f: {buffer: attributions.b, n_rois: 2}}", "there is no buffer 'attributions.b'"),
        (MODELS + DATA + "functional: {f: {buffer: effective.b}}",
         "functional.f.buffer (line 8): there is no buffer 'effective.b'; valid: activations, attributions.<name"),
        (MODELS + DATA + "attributions: {a: {models: [net]}}\nfunctional: {f: {buffer: attributions.a, models: [tf]}}",
         "functional.f.models[0] (line 9): the attributions 'a' are not made for 'tf'"),
        (MODELS + DATA + "attributions: {a: {datasets: [mix]}}\n"
         "functional: {f: {buffer: attributions.a, datasets: [digits]}}",
         "functional.f.datasets[0] (line 9): the attributions 'a' are not made for 'digits'"),
        (MODELS + DATA + "effective: {a: {partition: rois.x}}", "there is no partition 'rois.x'; valid: none"),
        (MODELS + DATA + "rois: {y: {}}", "rois.y.n_rois (line 8): this key is missing: the method 'kmeans' needs it"),
        (MODELS + DATA + "rois: {y: {n_rois: 2}, z: {n_rois: 2}}\n"
         "effective: {a: {partition: {'attn.*': rois.y, 'mlp.*': rois.z}}}",
         "it mixes the ROIs of y and z"),
        (MODELS + DATA + "rois: {y: {n_rois: 2, models: [net]}}\neffective: {a: {partition: rois.y, models: [tf]}}",
         "the ROIs 'y' are not found for the model 'tf'"),
        (MODELS + DATA + "effective: {a: {}}\nablation: {b: {graphs: [effective.c]}}",
         "ablation.b.graphs[0] (line 9): there is no graph 'effective.c' (did you mean 'effective.a'?)"),
        (MODELS + DATA + "structural: {a: {method: composition}}\nablation: {b: {graphs: [structural.a]}}",
         "there is no graph 'structural.a'"),
        (MODELS + DATA + "ablation: {b: {}}", "ablation.b (line 8): the study makes no effective graphs"),
        (MODELS + DATA + "effective: {a: {}}\nsbm: {b: {checkpoints: [step-000000]}}",
         "sbm.b (line 9): the study makes no graphs"),
        (MODELS + DATA + "activations: {sites: [attn.1, attn.7]}",
         "activations.sites[1] (line 8): there is no site of 'tf'"),
        (MODELS + DATA + "effective: {a: {partition: {attn.7: heads}, models: [tf]}}", "matches no site of 'tf'"),
        (MODELS + DATA + "activations: {sites: [mlp.5]}", "none of the sites mlp.5 is in 'net'"),
        (MODELS + DATA + "figures: {checkpoints: [step-000001]}", "figures.checkpoints[0]"),
        (MODELS + "datasets: {d: {kind: task, task: docstring}}",
         "datasets.d (line 5): no model can read it: 'net' reads images"),
        (MODELS + "datasets: {d: {kind: task, task: ioi, models: [net]}}",
         "datasets.d.models[0] (line 5): 'net' reads images, not the task of 'd'"),
        (MODELS + "datasets: {d: {kind: images, images: mnist}}", "datasets.d.path (line 5): this key is missing"),
        (MODELS + "datasets: {d: {kind: images, images: mnist, path: /nowhere}}", "there is no folder '/nowhere'"),
        (MODELS + "datasets: {d: {kind: pairs, path: /nowhere.csv}}", "there is no file '/nowhere.csv'"),
        ("models: {m: {source: pretrained, path: ./nowhere}}", "models.m.path (line 1): there is no folder 'nowhere'"),
        ("models: {m: {source: pretrained, path: a/b, revisions: [x, X]}}", "would share a folder name"),
    ],
)  # fmt: skip
def test_between_sections(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        small(text)
    assert said in str(caught.value)


TEXT_DATA = "models: {hub: {source: pretrained, path: owner/model}}\ndatasets: {d: {kind: text, path: owner/text}}\n"


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("effective: {a: {datasets: [d]}}", "effective.a.datasets[0] (line 3): it needs counterfactuals"),
        ("effective: {a: {datasets: [d], baseline: zero}}", "'logit_difference' needs answers, and the dataset 'd'"),
        ("effective: {a: {}}", "effective.a (line 3): it applies to no dataset: it needs counterfactuals"),
        ("attributions: {a: {}}", "attributions.a (line 3): it applies to no dataset: it needs counterfactuals"),
        ("attributions: {a: {method: activation-x-gradient}}", "'logit_difference' needs answers, and the dataset 'd'"),
    ],
)
def test_a_text_has_neither_counterfactuals_nor_answers(entry: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        small(TEXT_DATA + entry)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("data", "entry", "place"),
    [
        (DATA, "confusion: true, datasets: [digits, mix]", "evaluation.a.datasets[1]"),
        ("datasets: {mix: {kind: mixture, tasks: [induction, ioi]}}\n", "confusion: true", "evaluation.a (line"),
    ],
)
def test_confusion_is_of_images(data: str, entry: str, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        small(f"{MODELS}{data}evaluation: {{a: {{{entry}}}}}")
    assert place in str(caught.value)
    assert "confusion of classes needs images, and the dataset 'mix' has none" in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("baseline: mean, baseline_options: {steps: 3}", "'mean' has no option 'steps'; its options: none"),
        ("baseline: optimal, baseline_options: {steps: 0}", "steps is 0; it must be at least 1"),
        ("baseline: optimal, baseline_options: {learning_rate: a}", "learning_rate is 'a'; it must be of type float"),
        ("baseline: optimal, baseline_options: {metric: accuracy}", "there is no loss 'accuracy'"),
    ],
)
def test_options_of_a_baseline(entry: str, said: str) -> None:
    for section in ("effective", "ablation"):
        with pytest.raises(ConfigError) as caught:
            small(f"{MODELS}{DATA}{section}: {{a: {{{entry}}}}}")
        assert said in str(caught.value)


def test_attributions_have_no_nodes_to_learn_a_baseline_for() -> None:
    with pytest.raises(ConfigError, match="there is no baseline 'optimal'"):
        small(MODELS + DATA + "attributions: {a: {baseline: optimal}}")


def test_all_mistakes_between_sections_are_reported_together() -> None:
    with pytest.raises(ConfigError, match="3 errors"):
        small(MODELS + DATA + "effective: {a: {models: [x], metric: accuracy}}\nsbm: {b: {graphs: [effective.c]}}")


def test_a_saved_model_tells_its_sites(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    text = f"models: {{m: {{source: pretrained, path: {folder}}}}}\n"
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        small(text)
    (folder / "config.json").write_text("{")
    with pytest.raises(ConfigError, match="cannot be read"):
        small(text)
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ConfigError, match="has model_type 'bert'; supported: gpt2"):
        small(text)
    shape = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 50, **shape}))
    (folder / "pytorch_model.bin").touch()
    with pytest.raises(ConfigError, match=r"holds no \.safetensors weights"):
        small(text)
    (folder / "model.safetensors").touch()
    study = Study(small(text))
    assert study.facts["m"].kind == "transformer"
    assert study.facts["m"].sites == {
        "embed": 8, "attn.0": 8, "mlp.0": 16, "resid.0": 8, "attn.1": 8, "mlp.1": 16, "resid.1": 8, "logits": 50,
    }  # fmt: skip
