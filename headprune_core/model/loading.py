"""From the name of a source to a model and its tokenizer, every failure in one sentence.

Weights are read from safetensors only (SmolLM2's from a GGUF file), and no code from a repository is run.
"""

import os
import re
from contextlib import contextmanager
from pathlib import Path

import torch
from huggingface_hub.utils import logging as hub_logging
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from headprune_core.errors import HeadPruneError

from . import builtin, smollm2

LOADERS = {  # by the ending of the architecture's name
    "ForSequenceClassification": AutoModelForSequenceClassification,
    "ForCausalLM": AutoModelForCausalLM,
    "LMHeadModel": AutoModelForCausalLM,
    "ForConditionalGeneration": AutoModelForSeq2SeqLM,
    "MTModel": AutoModelForSeq2SeqLM,
    "ForImageClassification": AutoModelForImageClassification,
}
TOKENIZER_FILES = ("tokenizer*", "vocab*", "*.model", "*.bpe", "spiece*")


def load(source: str, revision: str | None, dtype: torch.dtype):
    """(model, tokenizer or None) of "embedded", "smollm2", a folder or a Hub id."""
    with silence_transformers():
        if source == "embedded":
            model, tokenizer = builtin.load_model()
            return model.to(dtype), tokenizer
        if source == smollm2.SMOLLM2:
            with translate_errors("SmolLM2", is_folder=True):
                return smollm2.load_smollm2(dtype)
        return _load(source, revision, dtype)


def _load(source: str, revision: str | None, dtype: torch.dtype):
    """Config first (cheap, and it says which class), then weights, then tokenizer."""
    local = Path(os.path.expanduser(source))
    is_folder = bool(source) and os.path.isdir(local)  # a name that is too long for one is none
    if is_folder:
        source = str(checked_folder(local))
    elif not is_hub_id(source):
        raise HeadPruneError(f"there is no folder {source!r}; expected 'embedded', a Hub id such as user/model, or a folder")
    safe = {"revision": revision, "trust_remote_code": False}
    with translate_errors(source, is_folder):
        config = AutoConfig.from_pretrained(source, **safe)
        loader = loader_for(source, config)
        options = {"config": config, "use_safetensors": True, "dtype": dtype, **safe}
        model, report = loader.from_pretrained(source, ignore_mismatched_sizes=True, output_loading_info=True, **options)
        _check_complete(source, report)
        return model, processor(source, model, is_folder, safe)


def is_hub_id(source: str) -> bool:
    """Whether `source` can only be the name of a model on the Hub: it looks like one, and there is no such folder."""
    looks = re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", source)
    return bool(looks) and not os.path.isdir(source)


def checked_folder(folder: Path) -> Path:
    """`folder`, if it holds a configuration and weights that can be opened without running code."""
    if not (folder / "config.json").is_file():
        raise HeadPruneError(f"the folder {folder} holds no config.json; expected a folder that save_pretrained wrote")
    if not any(folder.glob("*.safetensors")):
        others = sorted(p.name for p in folder.iterdir() if p.suffix in {".bin", ".pt", ".pth", ".ckpt"})
        raise HeadPruneError(_no_safetensors(f"the folder {folder}", others))
    return folder


def processor(source: str, model: PreTrainedModel, is_folder: bool, safe: dict):
    """The tokenizer, or the image processor of a vision model; None where the folder has none."""
    images = model.main_input_name == "pixel_values"
    kinds = ("preprocessor_config.json", "processor_config.json") if images else TOKENIZER_FILES
    files = {file.name for kind in kinds for file in Path(source).glob(kind)} if is_folder else set()
    if is_folder and not files:
        return None
    found = (AutoImageProcessor if images else AutoTokenizer).from_pretrained(source, **safe)
    # without its words the library makes up a tokenizer that knows none; those of bytes or letters need no such file
    made_up = files == {"tokenizer_config.json"} and getattr(found, "vocab_files_names", None)
    return None if made_up else found


def _check_complete(source: str, report: dict) -> None:
    """Weights that are not in the file, or have another shape there, would be random."""
    random = sorted({*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])})
    if random:
        raise HeadPruneError(
            f"{source} has no fitting weights for {len(random)} of the parameters that its config.json asks for "
            f"({', '.join(random[:3])}); expected a complete model"
        )


def loader_for(source, config):
    """The library's loader for the task of that configuration; HeadPruneError where we have none."""
    names = config.architectures or ["no architecture"]
    for ending, loader in LOADERS.items():
        if names[0].endswith(ending):
            return loader
    raise HeadPruneError(
        f"{source} holds {names[0]}; expected a model for text or image classification, a causal language model, or one "
        "that translates text to text"
    )


@contextmanager
def translate_errors(source: str, is_folder: bool):
    """Turn what the libraries raise while loading into one sentence each."""
    try:
        yield
    except HeadPruneError:
        raise
    except Exception as error:  # the libraries raise OSError, ValueError, KeyError, httpx and safetensors errors alike
        text = " ".join(str(error).split())
        if "trust_remote_code" in text:
            reason = (
                f"{source} needs code of its own to be run, which HeadPrune never does; choose a model whose architecture "
                "is part of Transformers"
            )
        elif "safetensors" in text and re.search("does not appear to have|no file named|not found", text):
            reason = _no_safetensors(source, ["pickle files"] if ".bin" in text else [])
        elif is_folder:
            reason = f"{source} could not be loaded as a Transformers model: {text[:200]}"
        elif re.search("[Oo]ffline|[Cc]onnect|resolve|timed out|[Mm]ax retries|traffic", text):
            reason = (
                f"the Hub could not be reached to look for {source}; check the network, or give a local folder or 'embedded'"
            )
        elif re.search("not a valid model identifier|Repository Not Found|is not a local folder|404|401", text):
            reason = (
                f"the Hub has no model {source} that can be read without signing in; check the spelling, or run "
                "`hf auth login` for a private one"
            )
        else:
            reason = f"{source} could not be loaded as a Transformers model: {text[:200]}"
        raise HeadPruneError(reason) from error


def _no_safetensors(where: str, others: list[str]) -> str:
    found = f"holds {', '.join(others)} but no safetensors file" if others else "holds no safetensors file"
    return (
        f"{where} {found}; expected weights in safetensors, since pickled files can run code when opened: "
        "convert it where you trust it with model.save_pretrained(folder)"
    )


@contextmanager
def silence_transformers():
    """The library's progress bars and notes on fresh classifier weights are not for our users."""
    level = transformers_logging.get_verbosity()
    hub_level = hub_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    hub_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        hub_logging.set_verbosity(hub_level)
        if bars:
            transformers_logging.enable_progress_bar()
