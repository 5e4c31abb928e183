"""Open a network by folder or hub name, or refuse it with one clear sentence before any heavy work.

The order of the checks is the order of their cost: names and configuration, file headers against the
configuration, one pass over the weights (finite? what digest?), and only then `transformers` loads them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from compgraph.errors import ModelError
from compgraph.models.checkpoint import (
    CONFIG,
    ITEM_SIZES,
    TOKENIZER_EXTRAS,
    TOKENIZERS,
    Checkpoint,
    TensorHeader,
    listed,
    open_checkpoint,
    read_headers,
    read_json,
)
from compgraph.models.families import find_family, rotary_frequencies, spec_of
from compgraph.models.network import Network
from compgraph.models.parameters import checkpoint_names, from_transformers
from compgraph.models.sequential import load_sequential
from compgraph.models.transformer import Transformer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

DTYPES = {
    "float32": torch.float32,
    "float64": torch.float64,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def load_network(
    path_or_hub_name: str | Path, revision: str | None = None, device: str = "auto", dtype: str = "float32"
) -> Network:
    """Open a network.

    Parameters
    ----------
    path_or_hub_name
        A folder in Hugging Face format (config.json and safetensors), a folder of a saved sequential network,
        or the name of a model on the hub.
    revision
        Branch, tag or commit of a hub name.
    device
        `auto` (CUDA where there is one, else the processor), `cpu`, `cuda` or `cuda:N`.
    dtype
        `float32`, `float64`, `bfloat16` or `float16`: what weights are converted to and computed in.

    Returns
    -------
    The network; its `tokenizer` is read when first asked for. Its digest covers the tensors of the checkpoint
    (names, shapes, bytes in the dtype of the file) and what the engine reads from the configuration; it depends
    on neither device, dtype nor sharding.

    Raises
    ------
    ModelError
        One sentence that names the file or field, the value and what would be valid.
    """
    torch_dtype, torch_device = find_dtype(dtype), find_device(device)
    checkpoint = open_checkpoint(path_or_hub_name, revision)
    if "compgraph_model" in checkpoint.config:
        return load_sequential(checkpoint.folder, device=torch_device, dtype=torch_dtype)
    with _config_errors_name(checkpoint):
        find_family(checkpoint.config.get("model_type"))
    headers = read_headers(checkpoint)
    with quiet_transformers():
        config = _read_config(checkpoint)
        with _config_errors_name(checkpoint):
            spec = spec_of(config)
        targets = _check_tensors(checkpoint, config, headers)
        digest = _digest(config, headers, targets, torch_dtype)
        model = _load(checkpoint, config, torch_device, torch_dtype)
    _, weights = from_transformers(model)
    return Transformer(spec, weights, digest, open_tokenizer=lambda: load_tokenizer(path_or_hub_name, revision))


def load_tokenizer(path_or_hub_name: str | Path, revision: str | None = None) -> PreTrainedTokenizerBase:
    """Open the tokenizer of a model folder or hub name.

    Raises
    ------
    ModelError
        The model has no tokenizer, or one that needs code of its own.
    """
    checkpoint = open_checkpoint(path_or_hub_name, revision)
    files = {file: checkpoint.fetch(file) for file in (*TOKENIZERS, *TOKENIZER_EXTRAS)}
    if not any(files[file] for file in TOKENIZERS):
        raise ModelError(
            f"{checkpoint.name} has no tokenizer; expected {', '.join(TOKENIZERS[:-1])} or {TOKENIZERS[-1]}."
        )
    settings = files["tokenizer_config.json"]
    if settings is not None and "auto_map" in read_json(settings):
        raise ModelError(
            f"{settings}: auto_map asks to run code that comes with the tokenizer; compgraph runs none, only "
            "the tokenizers of transformers."
        )
    from transformers import AutoTokenizer

    with quiet_transformers():
        try:
            found = AutoTokenizer.from_pretrained(checkpoint.folder, trust_remote_code=False, local_files_only=True)
            found("a word")  # odd settings show only when they are used
            return found
        except Exception as error:  # the tokenizers library raises bare Exception for a malformed file
            reason = " ".join(str(error).split())[:200]
            raise ModelError(f"{checkpoint.name}: its tokenizer cannot be read ({reason}).") from error


def find_dtype(name: str) -> torch.dtype:
    """The dtype of that name; ModelError lists the valid names."""
    if name not in DTYPES:
        raise ModelError(f"dtype is {name!r}; valid are {', '.join(DTYPES)}.")
    return DTYPES[name]


def find_device(name: str) -> torch.device:
    """The device of that name, which must be present.

    Raises
    ------
    ModelError
        The name is not valid, or the machine has no such device.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    kind, colon, number = name.partition(":")
    if name == "cpu":
        return torch.device("cpu")
    if kind != "cuda" or (colon and not number.isdigit()):
        raise ModelError(f"device is {name!r}; valid are auto, cpu, cuda and cuda:N.")
    if int(number or 0) >= count:
        found = f"it has {count} (cuda:0 to cuda:{count - 1})" if count else "it has none; use cpu or auto"
        raise ModelError(f"device is {name!r}, but torch finds no such CUDA device on this machine: {found}.")
    return torch.device(name)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """No warnings and progress bars of `transformers` inside; the user's own settings afterwards."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


# ---------------------------------------------------------------- the checks


@contextlib.contextmanager
def _config_errors_name(checkpoint: Checkpoint) -> Iterator[None]:
    """Errors inside begin with `config.json`: put the folder in front."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{checkpoint.name.rstrip('/')}/{error}") from error


def _read_config(checkpoint: Checkpoint) -> PreTrainedConfig:
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    if checkpoint.config.get("transformers_weights") is not None:
        raise ModelError(f"{checkpoint.name}: transformers_weights in {CONFIG} is set; only the usual names are read.")
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(
            checkpoint.folder, trust_remote_code=False, local_files_only=True
        )
        return config
    except (
        StrictDataclassError,
        ValueError,
        TypeError,
        KeyError,
        AttributeError,
        ZeroDivisionError,
    ) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{checkpoint.name}: {CONFIG} is not a valid configuration ({reason}).") from error


def _check_tensors(
    checkpoint: Checkpoint, config: PreTrainedConfig, headers: Mapping[str, TensorHeader]
) -> dict[str, str]:
    """Compare the checkpoint's tensors with those that its configuration implies.

    `transformers` fills missing tensors with random numbers and drops unexpected ones; neither may pass.

    Returns
    -------
    Tensor name in the checkpoint -> name of the parameter it fills.
    """
    skeleton = _skeleton(checkpoint, config)
    expected = {name: tuple(value.shape) for name, value in skeleton.state_dict().items()}
    targets = checkpoint_names(skeleton, list(headers))
    found = set(targets.values())
    missing = sorted(set(expected) - found)
    for target, source in skeleton.all_tied_weights_keys.items():
        if target in found or source in found:  # either one stands for both
            missing = [name for name in missing if name not in (target, source)]
    unexpected = sorted(name for name, target in targets.items() if target not in expected)
    shapes: dict[tuple[tuple[int, ...], tuple[int, ...]], list[str]] = {}
    for name, target in sorted(targets.items()):
        if target in expected and headers[name].shape != expected[target]:
            shapes.setdefault((headers[name].shape, expected[target]), []).append(name)
    problems = [f"{listed(missing)} missing"] if missing else []
    problems += [f"{listed(unexpected)} unexpected"] if unexpected else []
    problems += [f"{listed(names)} of shape {got} instead of {want}" for (got, want), names in shapes.items()]
    if problems:
        raise ModelError(f"{checkpoint.name}: {CONFIG} and the weights disagree: {'; '.join(problems)}.")
    for name in targets:
        if headers[name].dtype not in ITEM_SIZES:
            valid = ", ".join(ITEM_SIZES)
            raise ModelError(f"{headers[name].file}: {name} is stored as {headers[name].dtype}; valid are {valid}.")
    return targets


def _skeleton(checkpoint: Checkpoint, config: PreTrainedConfig) -> PreTrainedModel:
    """The model that a configuration describes, without memory for its weights."""
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            skeleton: PreTrainedModel = AutoModelForCausalLM.from_config(
                config, attn_implementation="eager", trust_remote_code=False
            )
            return skeleton
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError, ZeroDivisionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"{checkpoint.name}: {CONFIG} does not describe a model ({reason}).") from error


def _digest(
    config: PreTrainedConfig,
    headers: Mapping[str, TensorHeader],
    targets: Mapping[str, str],
    dtype: torch.dtype,
) -> str:
    """Digest of a checkpoint's tensors, in the order of their parameters' names, and of its specification.

    The pass over the weights also refuses values that are not finite, as stored or in the dtype asked for.
    """
    from safetensors import safe_open

    frequencies, _ = rotary_frequencies(config)
    settings = asdict(spec_of(config)) | {"frequencies": None if frequencies is None else frequencies.tolist()}
    state = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    with contextlib.ExitStack() as stack:
        files: dict[Path, Any] = {}
        for name, target in sorted(targets.items(), key=lambda pair: pair[1]):
            header = headers[name]
            if header.file not in files:
                files[header.file] = stack.enter_context(safe_open(header.file, framework="pt"))
            tensor = files[header.file].get_tensor(name)
            if not bool(torch.isfinite(tensor).all()):
                raise ModelError(f"{header.file}: {name} holds NaN or infinite values; weights must be finite.")
            if dtype == torch.float16 and not bool(torch.isfinite(tensor.to(dtype)).all()):
                raise ModelError(f"{header.file}: {name} overflows in float16; use bfloat16 or float32.")
            state.update(f"{target} {header.dtype} {header.shape}\n".encode())
            state.update(tensor.contiguous().flatten().view(torch.uint8).numpy())
    return f"sha256:{state.hexdigest()}"


def _load(
    checkpoint: Checkpoint, config: PreTrainedConfig, device: torch.device, dtype: torch.dtype
) -> PreTrainedModel:
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(
        checkpoint.folder,
        config=config,
        dtype=dtype,
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        attn_implementation="eager",
        output_loading_info=True,
    )
    model: PreTrainedModel = loaded[0]
    info: dict[str, Any] = loaded[1]
    # The headers were compared before; this guards against rules of transformers that the comparison lacks.
    info["unexpected_keys"] = checkpoint_names(model, sorted(info["unexpected_keys"]))
    wrong = [f"{key}: {listed(sorted(map(str, names)))}" for key, names in info.items() if names]
    if wrong:
        raise ModelError(f"{checkpoint.name}: transformers could not place all tensors ({'; '.join(wrong)}).")
    model.eval()
    torch.nn.Module.to(model, device)
    return model
