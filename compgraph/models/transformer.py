"""The transformer engine: a residual stream that sites read and add to.

One pass of a block reads

    attention:  q, k, v = norm(x) W_q + b_q, …       units z = softmax(q kᵀ) v       write = z W_O (+ b_O)
    MLP:        pre = norm(x) W_in + b_in            units u = act(pre) (* gate)      write = u W_out + b_out

and every method of the library is built from these pieces: `embed_units`, `normalise`, `read_attention`,
`attend`, `read_mlp`, `mlp_units`, `write`, `read_logits`. `Transformer.run` puts them together for an ordinary
forward pass; `edit` replaces a site's units on the way, `tape` keeps what each site read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 (the name every torch user knows)
from torch import Tensor

from compgraph.architecture import Architecture, transformer_architecture
from compgraph.models.counting import count_backward, count_forward
from compgraph.models.last_block import last_block
from compgraph.models.network import Run
from compgraph.models.positions import Context, make_context, rotate
from compgraph.models.spec import BlockWeights, NormWeights, TransformerSpec, Weights
from compgraph.models.tape import Hooks, Reading, Tape

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "relu": F.relu,
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
}


class Transformer:
    """A decoder-only transformer (`compgraph.models.network.Network`).

    Parameters
    ----------
    spec, weights
        As made by `compgraph.models.parameters`; all floating tensors of one dtype on one device.
    digest
        Content digest of the weights file, for provenance.
    open_tokenizer
        Reads the model's tokenizer when it is first asked for.
    """

    kind = "transformer"

    def __init__(
        self,
        spec: TransformerSpec,
        weights: Weights,
        digest: str = "",
        open_tokenizer: Callable[[], Any] | None = None,
    ) -> None:
        self._open_tokenizer = open_tokenizer
        self.spec = spec
        self.weights = weights
        self.digest = digest
        self.steps = [
            f"{kind}.{layer}" for layer in range(spec.n_layers) for kind in ("attn", "mlp")[: 1 + spec.has_mlp]
        ]
        self.architecture: Architecture = transformer_architecture(
            spec.family,
            n_layers=spec.n_layers,
            n_heads=spec.n_heads,
            d_head=spec.d_head,
            d_model=spec.d_model,
            d_mlp=spec.d_mlp,
            vocabulary=spec.vocabulary,
            parallel=spec.parallel,
            mlp=spec.has_mlp,
        )

    @property
    def family(self) -> str:
        return self.spec.family

    @cached_property
    def tokenizer(self) -> Any:
        """The tokenizer that came with the model, or None.

        Raises
        ------
        ModelError
            The model's folder has none.
        """
        return None if self._open_tokenizer is None else self._open_tokenizer()

    @property
    def device(self) -> torch.device:
        return self.weights.embedding.device

    @property
    def dtype(self) -> torch.dtype:
        return self.weights.embedding.dtype

    # ---------------------------------------------------------------- the forward pass

    def run(
        self,
        values: Tensor,
        mask: Tensor | None = None,
        *,
        capture: Collection[str] = (),
        positions: Tensor | None = None,
        edit: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
        silent: Collection[str] = (),
        tape: Tape | None = None,
    ) -> Run:
        """One forward pass (see `Network.run`).

        Parameters
        ----------
        edit
            Site -> function of its units [batch, time, n_units] that returns what to use in their place.
            `embed` edits the token embedding, before learned positions are added. `<site>/write` edits what
            an attention or MLP site adds to the stream, [batch, time, d_model]. `attn.<layer>.pattern`, which can
            be captured too, stands for the attention patterns [batch, heads, query, key].
        silent
            Sites whose output bias is withheld too: a whole MLP ablated to zero writes nothing.
        tape
            Filled with what each site read, for attribution.
        """
        hooks = Hooks(edit or {}, frozenset(capture), frozenset(silent), tape)
        context = self.context(values, mask)
        x = self.add_positions(hooks.pass_through("embed", self.embed_units(values)), context)
        out = self.finish(self.advance(x, x, self.steps, context, hooks), positions, hooks)
        count_backward(out.logits)
        return out

    def capture(self, values: Tensor, mask: Tensor | None, sites: Collection[str]) -> dict[str, Tensor]:
        """Units of sites (`logits` not among them) as `run(capture=sites)` gives them, without the cost of logits."""
        hooks = Hooks({}, frozenset(sites), frozenset(), None)
        context = self.context(values, mask)
        x = self.add_positions(hooks.pass_through("embed", self.embed_units(values)), context)
        self.advance(x, x, self.steps, context, hooks)
        return hooks.units

    def resume(self, after: str, stream: Tensor, before: Tensor, context: Context, positions: Tensor | None) -> Tensor:
        """Logits of a pass that starts behind a site.

        Parameters
        ----------
        after
            The attention or MLP site behind which the pass starts, or `embed`.
        stream
            [batch, time, d_model], the site's write included.
        before
            The stream that the site's block started from (a parallel block's MLP reads it).
        """
        steps = self.steps if after == "embed" else self.steps[self.steps.index(after) + 1 :]
        hooks = Hooks({}, frozenset(), frozenset(), None)
        if positions is None:
            logits = self.finish(self.advance(stream, before, steps, context, hooks), None, hooks).logits
        else:
            last = [site for site in steps if site.endswith(f".{self.spec.n_layers - 1}")]
            x = self.advance(stream, before, steps[: len(steps) - len(last)], context, hooks)
            logits = self.logits(self.read_logits(last_block(self, x, before, last, context, positions)).pre[""])
        count_backward(logits, len(steps) / len(self.steps))
        return logits

    def advance(self, x: Tensor, before: Tensor, steps: Sequence[str], context: Context, hooks: Hooks) -> Tensor:
        """Run sites in order; `before` is the stream at the start of the current block."""
        count_forward(len(x), len(steps) / len(self.steps))
        last_kind = "mlp" if self.spec.has_mlp else "attn"
        for site in steps:
            kind, layer = site.split(".")[0], int(site.split(".")[1])
            if kind == "attn":
                before = x
                reading = hooks.keep(site, self.read_attention(layer, hooks.stream(site, x)), self.spec.n_heads)
                q, k, v = self.rotated(layer, reading.pre, context)
                pattern = hooks.pass_through(f"{site}.pattern", self.pattern(layer, q, k, context))
                units = self.mix(pattern, v)
            else:
                stream = hooks.stream(site, before if self.spec.parallel else x)
                reading = hooks.keep(site, self.read_mlp(layer, stream))
                units = self.mlp_units(layer, reading.pre)
            units = hooks.pass_through(site, self.represent(site, units))
            write = self.write(site, units, reading, silent=site in hooks.silent)
            x = x + hooks.pass_through(f"{site}/write", write)
            if kind == last_kind:
                x = hooks.pass_through(f"resid.{layer}", x)
        return x

    def finish(self, x: Tensor, positions: Tensor | None, hooks: Hooks) -> Run:
        """Logits of the final stream [.., time, d_model], or of it at the scored positions."""
        if positions is not None:
            x = x[torch.arange(len(x), device=x.device), positions]
        reading = hooks.keep("logits", self.read_logits(hooks.stream("logits", x)))
        logits = hooks.pass_through("logits", self.logits(reading.pre[""]))
        return Run(logits, hooks.units)

    # ---------------------------------------------------------------- pieces: start

    def context(self, tokens: Tensor, mask: Tensor | None = None) -> Context:
        """Positions, rotary tables and attention masks of a batch (`compgraph.models.positions`)."""
        return make_context(self.spec, self.weights, tokens, mask)

    def embed_units(self, tokens: Tensor) -> Tensor:
        """Token embedding [batch, time, d_model], scaled as the family does."""
        x = self.weights.embedding[tokens]
        scale = self.spec.embed_scale
        return x if scale == 1 else x * torch.tensor(scale, dtype=x.dtype, device=x.device)

    def add_positions(self, x: Tensor, context: Context) -> Tensor:
        """Add learned position embeddings, a constant that belongs to no node (design, section 9)."""
        if self.weights.positions is None:
            return x
        return x + self.weights.positions[context.position_ids]

    # ---------------------------------------------------------------- pieces: norms

    def normalise(self, x: Tensor, *, centred: bool | None = None) -> tuple[Tensor, Tensor | None]:
        """(xhat, inverse scale): LayerNorm's or RMSNorm's normalised stream before gain and bias."""
        kind = self.spec.norm
        if kind == "none":
            return x, None
        low = x.dtype in (torch.float16, torch.bfloat16)
        wide = x.float() if low else x
        if kind == "layer" if centred is None else centred:
            wide = wide - wide.mean(-1, keepdim=True)
        inverse = self.inverse_scale(wide)
        xhat = wide * inverse
        return (xhat.to(x.dtype), inverse.to(x.dtype)) if low else (xhat, inverse)

    def inverse_scale(self, x: Tensor) -> Tensor:
        """One over the root mean square [.., 1]."""
        return torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.spec.norm_eps)

    @staticmethod
    def gain(xhat: Tensor, weights: NormWeights) -> Tensor:
        """Apply a norm's gain and bias."""
        if weights.gain is not None:
            xhat = xhat * weights.gain
        return xhat if weights.bias is None else xhat + weights.bias

    # ---------------------------------------------------------------- pieces: attention

    def read_attention(self, layer: int, x: Tensor) -> Reading:
        """Queries, keys, values of the stream x [.., time, d_model], without their biases."""
        block = self.weights.blocks[layer]
        xhat, inverse = self.normalise(x)
        y = self.gain(xhat, block.attn_norm)
        pre = {c: self.project(y, w) for c, w in (("q", block.w_q), ("k", block.w_k), ("v", block.w_v))}
        return Reading(xhat, inverse, pre)

    @staticmethod
    def project(y: Tensor, reader: Tensor) -> Tensor:
        """[.., d_model] times a reader [heads, d_model, d_head] -> [.., heads, d_head], as one product."""
        heads, d_model, d_head = reader.shape
        return (y @ reader.transpose(0, 1).reshape(d_model, heads * d_head)).unflatten(-1, (heads, d_head))

    def attend(self, layer: int, pre: Mapping[str, Tensor], context: Context, heads: Tensor | None = None) -> Tensor:
        """Units z [batch, time, heads * d_head] from raw q, k, v [batch, time, heads, d_head].

        Keys and values may have one head per key-value group or one per query head.

        Parameters
        ----------
        heads
            [m] int64: `pre` holds these query heads only (each with a key and value of its own); None for all.
        """
        q, k, v = self.rotated(layer, pre, context, heads)
        return self.mix(self.pattern(layer, q, k, context), v)

    @staticmethod
    def mix(pattern: Tensor, v: Tensor) -> Tensor:
        """Values weighted by patterns: [b, heads, query, key], [b, key, heads, d_head] -> [b, query, units]."""
        return torch.einsum("bhqk,bkhe->bqhe", pattern, v).flatten(-2)

    def values(self, layer: int, pre: Tensor, heads: Tensor | None = None) -> Tensor:
        """Values with their bias, one per query head, from raw ones [.., heads, d_head]."""
        return self.per_query_head(self._biased(pre, self.weights.blocks[layer].b_v, heads), heads)

    def rotated(
        self, layer: int, pre: Mapping[str, Tensor], context: Context, heads: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys (biased, normed, rotated) and values (biased), one head per query head."""
        block = self.weights.blocks[layer]
        q = self.finish_head(pre["q"], block.b_q, block.q_norm, context, heads)
        k = self.finish_head(pre["k"], block.b_k, block.k_norm, context, heads)
        return q, self.per_query_head(k, heads), self.values(layer, pre["v"], heads)

    def per_query_head(self, value: Tensor, heads: Tensor | None = None) -> Tensor:
        """Repeat grouped keys or values [.., n_kv_heads, d_head] to one per query head."""
        repeat = 1 if heads is not None else self.spec.n_heads // value.shape[-2]
        return value if repeat == 1 else value.repeat_interleave(repeat, dim=-2)

    def _biased(self, x: Tensor, bias: Tensor | None, heads: Tensor | None) -> Tensor:
        if bias is None:
            return x
        if heads is not None:
            return x + bias[heads * len(bias) // self.spec.n_heads]
        return x + bias.repeat_interleave(x.shape[-2] // len(bias), dim=0)

    def finish_head(
        self, x: Tensor, bias: Tensor | None, norm: NormWeights | None, context: Context, heads: Tensor | None
    ) -> Tensor:
        """Heads with their bias, norm and rotation, from raw queries or keys [.., heads, d_head]."""
        x = self._biased(x, bias, heads)
        if norm is not None:
            x = self.gain(self.normalise(x, centred=False)[0], norm)
        if context.cos is None or context.sin is None:
            return x
        return rotate(x, context.cos, context.sin, self.spec.rotary_dim)

    def pattern(self, layer: int, q: Tensor, k: Tensor, context: Context) -> Tensor:
        """Attention pattern [batch, heads, query, key]."""
        spec = self.spec
        scores = torch.einsum("bqhe,bkhe->bhqk", q, k) * spec.attn_scale[layer]
        if spec.attn_softcap is not None:
            scores = spec.attn_softcap * torch.tanh(scores / spec.attn_softcap)
        allowed = self.allowed(layer, context, scores.shape[-1])
        scores = scores.masked_fill(~allowed, torch.finfo(scores.dtype).min)
        low = scores.dtype in (torch.float16, torch.bfloat16)
        return torch.softmax(scores.float(), -1).to(q.dtype) if low else torch.softmax(scores, -1)

    def allowed(self, layer: int, context: Context, time: int) -> Tensor:
        """Which keys a query can look at: bool, to be broadcast to [batch, heads, query, key]."""
        allowed = context.allowed[self.spec.windows[layer]]
        return torch.ones(time, time, dtype=torch.bool, device=self.device).tril() if allowed is None else allowed

    # ---------------------------------------------------------------- pieces: MLP

    def read_mlp(self, layer: int, x: Tensor) -> Reading:
        """Pre-activations (and gate) of the stream x [.., d_model], without their biases."""
        block = self.weights.blocks[layer]
        assert block.mlp_norm is not None and block.w_in is not None
        xhat, inverse = self.normalise(x)
        y = self.gain(xhat, block.mlp_norm)
        pre = {"": y @ block.w_in}
        if block.w_gate is not None:
            pre["gate"] = y @ block.w_gate
        return Reading(xhat, inverse, pre)

    def mlp_units(self, layer: int, pre: Mapping[str, Tensor]) -> Tensor:
        """Neurons after the non-linearity (gated: act(gate) * up)."""
        block = self.weights.blocks[layer]
        up = pre[""] if block.b_in is None else pre[""] + block.b_in
        if "gate" not in pre:
            return self.activation(up)
        gate = pre["gate"] if block.b_gate is None else pre["gate"] + block.b_gate
        return self.gated(gate, up)

    def activation(self, x: Tensor) -> Tensor:
        """The MLP's non-linearity."""
        return ACTIVATIONS[self.spec.activation](x)

    def gated(self, gate: Tensor, up: Tensor) -> Tensor:
        """The product of a gated MLP."""
        return self.activation(gate) * up

    # ---------------------------------------------------------------- pieces: writes and logits

    def represent(self, site: str, units: Tensor) -> Tensor:
        """The units of a site, from the coordinates that it computes: the same (`compgraph.dictionaries`: features)."""
        return units

    def decoder(self, site: str) -> tuple[Tensor, Tensor | None, NormWeights | None]:
        """(rows [n_units, d_model], bias [d_model], post-norm) of an attention or MLP site."""
        kind, _, layer = site.partition(".")
        block: BlockWeights = self.weights.blocks[int(layer)]
        if kind == "attn":
            return block.w_o.reshape(-1, self.spec.d_model), block.b_o, block.attn_post_norm
        assert block.w_out is not None
        return block.w_out, block.b_out, block.mlp_post_norm

    def write(self, site: str, units: Tensor, reading: Reading | None = None, *, silent: bool = False) -> Tensor:
        """What the site adds to the stream: [.., n_units] -> [.., d_model]; `silent` withholds its bias.

        With a post-norm (Gemma-2) the write is units · s · W γ with s the inverse root mean square of the
        un-normed write; s is kept in `reading.write_scale`, so that attribution can split it by unit.
        """
        rows, bias, post = self.decoder(site)
        out = units @ rows
        if bias is not None and not silent:
            out = out + bias
        if post is None:
            return out
        xhat, scale = self.normalise(out, centred=False)
        if reading is not None:
            reading.write_scale = scale
        return self.gain(xhat, post)

    def read_logits(self, x: Tensor) -> Reading:
        """Raw logits (before bias and soft-cap) of the stream x [.., d_model]."""
        xhat, inverse = self.normalise(x)
        y = self.gain(xhat, self.weights.final_norm)
        return Reading(xhat, inverse, {"": F.linear(y, self.weights.unembedding)})

    def logits(self, pre: Tensor) -> Tensor:
        """Bias and soft-cap on raw logits."""
        if self.weights.logit_bias is not None:
            pre = pre + self.weights.logit_bias
        cap = self.spec.logit_softcap
        return pre if cap is None else cap * torch.tanh(pre / cap)
