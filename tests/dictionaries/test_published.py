"""Files of other libraries, made by hand from their keys, against their conventions written out as they are."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from compgraph.dictionaries import Dictionary, Transcoder, convert, from_published, read_published
from compgraph.errors import ModelError

D, F, K = 5, 9, 2


def numbers(seed=0):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    return random


def topk(y, k=K):
    return y.relu() * (y >= y.topk(k, -1).values[..., -1:])


def saelens(random, architecture):
    """(tensors, config, reference) with reference x -> (features, x̂)."""
    t = {"W_enc": random(D, F), "b_enc": random(F), "W_dec": random(F, D), "b_dec": random(D)}
    config = {"architecture": architecture, "apply_b_dec_to_input": True, "normalize_activations": "none"}
    if architecture == "gated":
        del t["b_enc"]
        t |= {"b_gate": random(F), "b_mag": random(F), "r_mag": random(F) / 2}
    if architecture == "jumprelu":
        t["threshold"] = random(F).abs()
        config["apply_b_dec_to_input"] = False
    if architecture == "topk":
        config |= {"k": K, "rescale_acts_by_decoder_norm": True}

    def reference(x):
        read = x - t["b_dec"] if config["apply_b_dec_to_input"] else x
        y = read @ t["W_enc"]
        if architecture == "standard":
            f = (y + t["b_enc"]).relu()
        elif architecture == "topk":
            length = t["W_dec"].norm(dim=-1)
            f = topk((y + t["b_enc"]) * length) / length
            # Here features stay multiplied by the length, which the decoder's rows lose.
            return f * length, f @ t["W_dec"] + t["b_dec"]
        elif architecture == "jumprelu":
            y = y + t["b_enc"]
            f = y.relu() * (y > t["threshold"])
        else:
            gate = (y + t["b_gate"]) > 0
            f = gate * (read @ (t["W_enc"] * t["r_mag"].exp()) + t["b_mag"]).relu()
        return f, f @ t["W_dec"] + t["b_dec"]

    return t, config, reference


def linear(random, name, inner, outer):
    return {f"{name}.weight": random(outer, inner)}


def dictionary_learning(random, name):
    t = linear(random, "encoder", D, F) | linear(random, "decoder", F, D)
    config = {"trainer": {"dict_class": name, "activation_dim": D, "dict_size": F}}
    if name == "GatedAutoEncoder":
        t |= {"decoder_bias": random(D), "r_mag": random(F) / 2, "gate_bias": random(F), "mag_bias": random(F)}
    elif name in ("MatryoshkaBatchTopKSAE", "JumpReluAutoEncoder"):
        t = {"W_enc": random(D, F), "b_enc": random(F), "W_dec": random(F, D), "b_dec": random(D)}
    else:
        t["encoder.bias"] = random(F)
    t |= {
        "AutoEncoder": lambda: {"bias": random(D)},
        "AutoEncoderNew": lambda: {"decoder.bias": random(D)},
        "AutoEncoderTopK": lambda: {"b_dec": random(D), "k": torch.tensor(K)},
        "BatchTopKSAE": lambda: {"b_dec": random(D), "k": torch.tensor(K), "threshold": torch.tensor(0.4)},
        "MatryoshkaBatchTopKSAE": lambda: {"threshold": torch.tensor(0.4), "group_sizes": torch.tensor([4, 5])},
        "JumpReluAutoEncoder": lambda: {"threshold": random(F).abs()},
    }.get(name, dict)()

    def reference(x):
        if name in ("AutoEncoder", "AutoEncoderNew"):
            bias = t["bias" if name == "AutoEncoder" else "decoder.bias"]
            read = x - bias if name == "AutoEncoder" else x
            f = torch.nn.functional.linear(read, t["encoder.weight"], t["encoder.bias"]).relu()
            return f, torch.nn.functional.linear(f, t["decoder.weight"]) + bias
        if name == "GatedAutoEncoder":
            y = torch.nn.functional.linear(x - t["decoder_bias"], t["encoder.weight"])
            f = ((y + t["gate_bias"]) > 0) * (t["r_mag"].exp() * y + t["mag_bias"]).relu()
            return f, torch.nn.functional.linear(f, t["decoder.weight"]) + t["decoder_bias"]
        if name == "JumpReluAutoEncoder":
            y = x @ t["W_enc"] + t["b_enc"]
            f = y.relu() * (y > t["threshold"])
            return f, f @ t["W_dec"] + t["b_dec"]
        if name == "MatryoshkaBatchTopKSAE":
            y = ((x - t["b_dec"]) @ t["W_enc"] + t["b_enc"]).relu()
            f = y * (y > t["threshold"])
            return f, f @ t["W_dec"] + t["b_dec"]
        y = torch.nn.functional.linear(x - t["b_dec"], t["encoder.weight"], t["encoder.bias"])
        f = topk(y) if name == "AutoEncoderTopK" else y.relu() * (y.relu() > t["threshold"])
        return f, torch.nn.functional.linear(f, t["decoder.weight"]) + t["b_dec"]

    return t, config, reference


def sparsify(random, _):
    t = linear(random, "encoder", D, F) | {"encoder.bias": random(F), "W_dec": random(F, D), "b_dec": random(D)}

    def reference(x):
        f = topk(torch.nn.functional.linear(x - t["b_dec"], t["encoder.weight"], t["encoder.bias"]))
        return f, f @ t["W_dec"] + t["b_dec"]

    return t, {"activation": "topk", "k": K, "d_in": D, "expansion_factor": 32, "num_latents": 0}, reference


MADE = {
    **{f"saelens {name}": (saelens, name) for name in ("standard", "topk", "jumprelu", "gated")},
    **{
        f"dictionary-learning {name}": (dictionary_learning, name)
        for name in (
            "AutoEncoder",
            "AutoEncoderNew",
            "GatedAutoEncoder",
            "AutoEncoderTopK",
            "BatchTopKSAE",
            "MatryoshkaBatchTopKSAE",
            "JumpReluAutoEncoder",
        )
    },
    "sparsify": (sparsify, ""),
}


def write(folder, tensors, config, layout):
    folder.mkdir(exist_ok=True)
    name = {"saelens": "sae_weights", "sparsify": "sae"}.get(layout, "ae")
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors")
    (folder / ("config.json" if name == "ae" else "cfg.json")).write_text(json.dumps(config))


def check(one, reference, x):
    features, decoded = reference(x)
    assert 0 < (features > 0).double().mean() < 1
    torch.testing.assert_close(one.encode(x), features, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(one.decode(one.encode(x)), decoded, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", MADE)
def test_features_are_those_of_the_layout(case, tmp_path):
    build, name = MADE[case]
    random = numbers()
    tensors, config, reference = build(random, name)
    write(tmp_path, tensors, config, case.split()[0])
    found = read_published(tmp_path)
    assert found.layout == case.split()[0]
    one = from_published(found, "write", "mlp.0")
    assert isinstance(one, Dictionary) and one.site == "mlp.0"
    check(one, reference, random(50, D))


def test_flat_configs_of_early_saelens(tmp_path):
    random = numbers()
    tensors, _, _ = saelens(random, "standard")
    old = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}, "apply_b_dec_to_input": True}
    write(tmp_path, tensors, old, "saelens")

    def reference(x):
        f = topk((x - tensors["b_dec"]) @ tensors["W_enc"] + tensors["b_enc"])
        return f, f @ tensors["W_dec"] + tensors["b_dec"]

    check(from_published(read_published(tmp_path), "write"), reference, random(50, D))


def test_scaled_inputs_are_folded_in(tmp_path):
    random = numbers()
    tensors, config, reference = saelens(random, "jumprelu")
    write(tmp_path, tensors, config | {"normalize_activations": "expected_average_only_in"}, "saelens")
    found = read_published(tmp_path)
    assert found.needs_mean_norm
    with pytest.raises(ModelError, match="must be measured"):
        from_published(found, "write")
    c = D**0.5 / 3.0

    def scaled(x):
        features, decoded = reference(x * c)
        return features, decoded / c

    check(from_published(found, "write", mean_norm=3.0), scaled, random(50, D))


def test_thresholds_that_were_never_set(tmp_path):
    random = numbers()
    tensors, config, _ = dictionary_learning(random, "BatchTopKSAE")
    write(tmp_path, tensors | {"threshold": torch.tensor(-1.0)}, config, "dictionary-learning")

    def reference(x):
        y = torch.nn.functional.linear(x - tensors["b_dec"], tensors["encoder.weight"], tensors["encoder.bias"])
        return y.relu(), torch.nn.functional.linear(y.relu(), tensors["decoder.weight"]) + tensors["b_dec"]

    check(from_published(read_published(tmp_path), "write"), reference, random(50, D))


def test_transcoders_are_read_and_not_dictionaries(tmp_path):
    random = numbers()
    tensors, config, _ = sparsify(random, "")
    tensors["W_skip"] = random(D, D)
    write(tmp_path, tensors, config | {"transcode": True, "skip_connection": True}, "sparsify")
    one = from_published(read_published(tmp_path), "write", "mlp.0")
    assert isinstance(one, Transcoder) and one.site == "mlp.0"
    x = random(50, D)
    features = topk(torch.nn.functional.linear(x, tensors["encoder.weight"], tensors["encoder.bias"]))
    out = features @ tensors["W_dec"] + tensors["b_dec"] + torch.nn.functional.linear(x, tensors["W_skip"])
    torch.testing.assert_close(one.encode(x), features)
    torch.testing.assert_close(one.predict(x), out)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"architecture": "temporal"}, "architecture 'temporal' cannot be expressed .* valid: standard, topk"),
        ({"normalize_activations": "layer_norm"}, "normalize_activations 'layer_norm' cannot be expressed"),
        ({"activation_fn": "tanh-relu"}, "activation_fn 'tanh-relu' cannot be expressed"),
    ],
)
def test_what_is_not_linear_in_x_is_refused(config, message, tmp_path):
    tensors, _, _ = saelens(numbers(), "standard")
    write(tmp_path, tensors, config, "saelens")
    with pytest.raises(ModelError, match=message):
        from_published(read_published(tmp_path), "write")


def test_files_that_are_not_what_they_should_be(tmp_path):
    with pytest.raises(ModelError, match="there is no file or folder"):
        read_published(tmp_path / "nowhere")
    torch.save({"W_enc": torch.zeros(2, 2)}, tmp_path / "ae.pt")
    with pytest.raises(ModelError, match=r"make one with: compgraph convert-dictionary .*ae\.pt"):
        read_published(tmp_path)
    save_file({"weights": torch.zeros(2)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="layout of tensors weights is not known"):
        read_published(tmp_path)
    save_file({"W_enc": torch.zeros(2, 3)}, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match="there is no tensor 'W_dec'; it has W_enc"):
        from_published(read_published(tmp_path), "write")


class Malice:
    def __reduce__(self):
        return (print, ("code was run",))


def test_conversion_of_plain_tensors(tmp_path, capsys):
    random = numbers()
    tensors, config, reference = dictionary_learning(random, "AutoEncoder")
    torch.save(tensors, tmp_path / "ae.pt")
    (tmp_path / "config.json").write_text(json.dumps(config))
    out = convert(tmp_path / "ae.pt", tmp_path / "new" / "ae.safetensors")
    check(from_published(read_published(out.parent), "write"), reference, random(50, D))
    torch.save({"weights": Malice()}, tmp_path / "bad.pt")
    with pytest.raises(ModelError, match="does not hold plain tensors alone"):
        convert(tmp_path / "bad.pt")
    torch.save({"weights": torch.zeros(2), "epoch": 3}, tmp_path / "more.pt")
    with pytest.raises(ModelError, match="these are no tensors: epoch"):
        convert(tmp_path / "more.pt")
    assert "code was run" not in capsys.readouterr().out


def test_conversion_of_arrays(tmp_path):
    import numpy as np

    random = numbers()
    tensors, _, reference = saelens(random, "jumprelu")
    np.savez(tmp_path / "params.npz", **{name: value.numpy() for name, value in tensors.items()})
    out = convert(tmp_path / "params.npz")
    check(from_published(read_published(out), "write"), reference, random(50, D))  # no config: those of Gemma Scope
    np.savez(tmp_path / "bad.npz", weights=np.array([Malice()], dtype=object))
    with pytest.raises(ModelError, match="does not hold plain arrays alone"):
        convert(tmp_path / "bad.npz")
