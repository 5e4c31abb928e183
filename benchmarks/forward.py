"""Time of the engine's forward pass as a multiple of that of `transformers`, one thread.

    python -m benchmarks.forward [--repeats 15]

Both run the same weights on the same tokens, in turn, without gradients, `transformers` with its default
attention. The figure is the median over repeats of the ratio within a repeat, so that other work cancels.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from compgraph.models.parameters import from_transformers
from compgraph.models.transformer import Transformer

LLAMA = {
    "hidden_size": 256,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "intermediate_size": 688,
    "vocab_size": 1000,
    "pad_token_id": None,
}
SHAPES = {
    "gpt2, 4 layers, 8 heads, width 256": (
        "gpt2",
        {"n_layer": 4, "n_head": 8, "n_embd": 256},
        (64, 16),
    ),
    "llama, 4 layers, 8 heads, width 256": ("llama", LLAMA, (64, 16)),
    "gpt2-small (12 layers, 12 heads, width 768)": ("gpt2", {}, (4, 16)),
}
"""Name -> (model type, configuration, (batch, time))."""


def seconds(call: Callable[[], object]) -> float:
    """Duration of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(model_type: str, fields: dict, shape: tuple[int, int], repeats: int) -> dict[str, float]:
    """Median duration of `transformers`, and the engine's as multiples of it."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(model_type, **fields)
    model = AutoModelForCausalLM.from_config(config).eval()
    net = Transformer(*from_transformers(model))
    tokens = torch.randint(0, config.vocab_size, shape)
    last = torch.full((shape[0],), shape[1] - 1)
    calls = {
        "transformers": lambda: model(tokens, use_cache=False),
        "all positions": lambda: net.run(tokens),
        "scored positions": lambda: net.run(tokens, positions=last),
    }
    with torch.no_grad():
        for call in calls.values():
            call()
        rounds = [{name: seconds(call) for name, call in calls.items()} for _ in range(repeats)]
    ratios = {
        name: statistics.median(times[name] / times["transformers"] for times in rounds)
        for name in ("all positions", "scored positions")
    }
    return {"milliseconds": 1e3 * statistics.median(times["transformers"] for times in rounds)} | ratios


def main() -> None:
    """Print one line per shape."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print(f"{'shape':46}{'tokens':>8}{'transformers':>15}{'all positions':>16}{'scored positions':>18}")
    for name, (model_type, fields, shape) in SHAPES.items():
        row = compare(model_type, fields, shape, repeats)
        tokens = f"{shape[0]}x{shape[1]}"
        print(
            f"{name:46}{tokens:>8}{row['milliseconds']:>12.1f} ms"
            f"{row['all positions']:>15.2f}x{row['scored positions']:>17.2f}x"
        )


if __name__ == "__main__":
    main()
