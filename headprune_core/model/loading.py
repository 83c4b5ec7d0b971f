"""Loading of unpruned models and tokenizers.

Weights are read from safetensors only (SmolLM2's from a GGUF file), and no code from a repository is executed. Failures of
the libraries are translated to one sentence in `formats.library_calls`.
"""

import copy
import os
import re
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedModel

from headprune_core.errors import HeadPruneError

from . import builtin, smollm2
from .formats.adapter import WAY_OUT, Adapter, find_adapter
from .formats.config_checks import check_settings, checked_config
from .formats.library_calls import no_safetensors, silence_transformers, translate_errors
from .formats.load_progress import begin_step, download_reports
from .formats.tasks import loader_for
from .formats.weight_checks import check_sizes, checked_weights

TOKENIZER_FILES = ("tokenizer*", "vocab*", "*.model", "*.bpe", "spiece*")


def load(source: str, revision: str | None, dtype: torch.dtype):
    """Load a model and its tokenizer.

    Args:
        source: "embedded", "smollm2", a local folder or a Hub model ID.
        revision: branch, tag or commit of a Hub model; None for the default branch.
        dtype: precision of the weights.

    Returns:
        The Transformers model, and its tokenizer or image processor or None.

    Raises:
        HeadPruneError: if the model cannot be loaded.
    """
    with silence_transformers():
        if source == "embedded":
            model, tokenizer = builtin.load_model()
            return model.to(dtype), tokenizer
        if source == smollm2.SMOLLM2:
            with translate_errors("SmolLM2", is_folder=True):
                return smollm2.load_smollm2(dtype)
        return _load(source, revision, dtype)


def _load(source: str, revision: str | None, dtype: torch.dtype):
    """Load the configuration, which determines the class, then the weights, then the tokenizer."""
    local = Path(os.path.expanduser(source))
    is_folder = bool(source) and os.path.isdir(local)  # False for names that are too long for a path
    if is_folder:
        source = str(local)
    elif not is_hub_id(source):
        raise HeadPruneError(f"folder not found: {source!r}; use 'embedded', a Hub model ID such as user/model, or a folder")
    safe = {"revision": revision, "trust_remote_code": False}
    with translate_errors(source, is_folder):
        adapter = find_adapter(source, safe)
        if adapter is not None:
            return _merged(adapter, dtype, is_folder)
        return _plain_model(source, is_folder, safe, dtype)


def _plain_model(source: str, is_folder: bool, safe: dict, dtype: torch.dtype, adapter: Adapter | None = None):
    """Load a complete model, or the base model of an adapter, which may lack what the adapter has."""
    if is_folder:
        check_settings(checked_folder(Path(source)))
    config = checked_config(source, safe)
    loader = adapter.loader if adapter is not None and adapter.loader is not None else loader_for(source, config)
    if adapter is not None:
        adapter.fit_classes(config, loader)
    added = {} if adapter is None else adapter.tensors
    stored = checked_weights(source, safe, getattr(config, "transformers_weights", None))
    if stored:
        with torch.device("meta"):
            check_sizes(source, loader.from_config(copy.deepcopy(config)), stored | added, dtype)
    begin_step("Loading the weights")
    options = {"config": config, "use_safetensors": True, "dtype": dtype, "attn_implementation": "eager", **safe}
    options |= {"ignore_mismatched_sizes": True, "output_loading_info": True, "tqdm_class": download_reports()}
    model, report = loader.from_pretrained(source, **options)
    _check_complete(source, report, set(added))
    return model, processor(source, model, is_folder, safe)


def _merged(adapter: Adapter, dtype: torch.dtype, in_folder: bool):
    """The base model of an adapter with the adapter's changes, and the tokenizer of the adapter or of the base model.

    Only an adapter in a folder can name a folder; one from the Hub would reach into the user's files.
    """
    base = os.path.expanduser(adapter.base) if in_folder else adapter.base
    is_folder = in_folder and os.path.isdir(base)
    safe = {"revision": None if is_folder else adapter.revision, "trust_remote_code": False}
    try:
        if not is_folder and not has_hub_form(base):
            raise HeadPruneError("folder not found" if in_folder else "this is no Hub model ID")
        if not is_folder:
            check_not_local(base, adapter.revision)
        with translate_errors(base, is_folder):
            model, tokenizer = _plain_model(base, is_folder, safe, dtype, adapter)
    except HeadPruneError as error:
        raise HeadPruneError(
            f"{adapter.folder} contains a PEFT adapter for {adapter.base}, which cannot be loaded ({error}); make the "
            f"base model available, or merge the adapter where it is: {WAY_OUT}"
        ) from error
    check_settings(adapter.folder)
    own = processor(str(adapter.folder), model, True, {"trust_remote_code": False})
    return adapter.merge_into(model), own or tokenizer


def is_hub_id(source: str) -> bool:
    """Return True if `source` has the form of a Hub model ID and no folder has that name.

    Args:
        source: model ID or path.
    """
    return has_hub_form(source) and not os.path.isdir(source)


def has_hub_form(source: str) -> bool:
    """Return True if `source` has the form of a Hub model ID: name or owner/name, never a path or an address.

    Args:
        source: model ID or path.
    """
    part = r"[A-Za-z0-9_-](?:[\w-]|\.(?!\.))*"
    return re.fullmatch(rf"{part}(?:/{part})?", source, re.ASCII) is not None


def check_not_local(source: str, revision: str | None) -> None:
    """Check that a Hub model ID does not also name a folder, which the library would load instead.

    Args:
        source: Hub model ID.
        revision: branch, tag or commit, or None.

    Raises:
        HeadPruneError: if it does, with the error of an ID that the Hub does not have if it has none.
    """
    if os.path.exists(source):
        with silence_transformers(), translate_errors(source, is_folder=False):
            hf_hub_download(source, "config.json", revision=revision)
        raise HeadPruneError(f"{source} cannot be loaded by its Hub model ID here; use another model")


def checked_folder(folder: Path) -> Path:
    """Check that a folder contains a configuration and safetensors weights.

    Args:
        folder: folder of a model.

    Returns:
        The folder.

    Raises:
        HeadPruneError: if one of them is missing.
    """
    if not (folder / "config.json").is_file():
        raise HeadPruneError(f"the folder {folder} contains no config.json; use a folder that save_pretrained wrote")
    if not any(folder.glob("*.safetensors")):
        others = sorted(p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".ckpt"})
        raise HeadPruneError(no_safetensors(f"the folder {folder}", others))
    return folder


def processor(source: str, model: PreTrainedModel, is_folder: bool, safe: dict):
    """Load the tokenizer, or the image processor of a vision model.

    Args:
        source: folder or Hub model ID.
        model: the loaded model.
        is_folder: whether `source` is a folder.
        safe: keyword arguments for loading without executing code.

    Returns:
        The tokenizer or image processor, or None if the folder has none.
    """
    begin_step("Loading the tokenizer")
    images = model.main_input_name == "pixel_values"
    kinds = ("preprocessor_config.json", "processor_config.json") if images else TOKENIZER_FILES
    files = {file.name for kind in kinds for file in Path(source).glob(kind)} if is_folder else set()
    if is_folder and not files:
        return None
    kind = AutoImageProcessor if images else AutoTokenizer
    loaded = kind.from_pretrained(source, config=model.config, **safe)  # otherwise it would read config.json again
    # Without a vocabulary file the library creates a tokenizer with an empty vocabulary; byte-level ones need no such file.
    is_empty = files == {"tokenizer_config.json"} and getattr(loaded, "vocab_files_names", None)
    return None if is_empty else loaded


def _check_complete(source: str, report: dict, known: set[str]) -> None:
    """Raise HeadPruneError if weights other than `known` are missing or misshapen: they would be initialized randomly."""
    random = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])} - known)
    if random:
        raise HeadPruneError(
            f"{source} is missing weights for {len(random)} parameters ({', '.join(random[:3])}); the checkpoint is "
            "incomplete or does not match its config.json"
        )


def display_name(source: str) -> str:
    """Return the display name of a model source.

    Args:
        source: source as in `from_pretrained`.
    """
    names = {"embedded": "MiniLM-L6 (built-in, tweet sentiment)", smollm2.SMOLLM2: "SmolLM2 135M Instruct"}
    return names.get(source, source)


def find_device(device) -> torch.device:
    """Return a device by name.

    Args:
        device: "auto" (CUDA, else MPS, else CPU), or a name or device of PyTorch.

    Raises:
        HeadPruneError: if the device is unknown or not available.
    """
    if device != "auto":
        try:
            return torch.empty(0, device=device).device
        except (RuntimeError, AssertionError) as error:  # unknown name, or not supported by this build
            reason = str(error).splitlines()[0][:120]
            raise HeadPruneError(f"device {device!r} is not available ({reason}); use 'auto', 'cpu', 'cuda', ...") from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
