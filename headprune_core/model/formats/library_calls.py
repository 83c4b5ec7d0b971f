"""Calls of the Transformers and Hub libraries: without their messages, and with every failure translated to one sentence."""

import re
from contextlib import contextmanager

from huggingface_hub.utils import logging as hub_logging
from transformers.utils import logging as transformers_logging

from headprune_core.errors import HeadPruneError


@contextmanager
def translate_errors(source: str, is_folder: bool):
    """Translate errors that the libraries raise in this block to one sentence.

    Args:
        source: name of the model, for the message.
        is_folder: whether it is a local folder.

    Raises:
        HeadPruneError: in place of any other exception.
    """
    try:
        yield
    except HeadPruneError:
        raise
    except Exception as error:  # OSError, ValueError, KeyError, httpx and safetensors errors all occur
        text = " ".join(str(error).split())
        failed = (
            f"{source} could not be loaded as a Transformers model ({type(error).__name__}: {text[:200]}); use the files "
            "that save_pretrained wrote together"
        )
        if "trust_remote_code" in text:
            reason = (
                f"{source} requires trust_remote_code, which HeadPrune does not support; use an architecture built into "
                "Transformers"
            )
        elif "safetensors" in text and re.search("does not appear to have|no file named|not found", text):
            reason = no_safetensors(source, ["pickle files"] if ".bin" in text else [])
        elif is_folder:
            reason = failed
        elif re.search("[Oo]ffline|[Cc]onnect|resolve|timed out|[Mm]ax retries|traffic", text):
            reason = f"could not reach the Hub to load {source}; check the network, or use a local folder or 'embedded'"
        elif re.search("not a valid model identifier|Repository Not Found|is not a local folder|404|401", text):
            reason = (
                f"model {source} not found on the Hub, or it is private; check the name, or run `hf auth login` for a "
                "private model"
            )
        else:
            reason = failed
        raise HeadPruneError(reason) from error


def no_safetensors(where: str, others: list[str]) -> str:
    """Return the message about a source without safetensors weights.

    Args:
        where: the source.
        others: weight files or kinds of them that it contains instead.
    """
    content = f"contains {', '.join(others)} but no safetensors file" if others else "contains no safetensors file"
    return (
        f"{where} {content}; only safetensors weights are loaded, since pickle files can execute code: if you trust the "
        "model, convert it with model.save_pretrained(folder)"
    )


@contextmanager
def silence_transformers():
    """Turn off the progress bars and messages of Transformers and the Hub in this block."""
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
