"""Pruned models on the Hugging Face Hub, recognized by their head map and downloaded to the library's cache.

Looking for a head map takes one small request, and none in offline mode. Any other model ID is left to the ordinary loading,
which reports what is wrong with it.
"""

from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

from . import smollm2
from .head_map import HEAD_MAP
from .loading import is_hub_id, silence_transformers, translate_errors

FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja", "*.bpe"]  # no code and no pickled data


def pruned_on_hub(source: str, revision: str | None) -> Path | None:
    """Download a pruned model from the Hub.

    Args:
        source: model ID.
        revision: branch, tag or commit; None for the default branch.

    Returns:
        The folder of the model in the cache, or None if the ID does not belong to a pruned model.

    Raises:
        HeadPruneError: if the Hub cannot be reached and the model is not in the cache, or if the download is incomplete.
    """
    if source in ("embedded", smollm2.SMOLLM2) or not is_hub_id(source):
        return None
    with silence_transformers(), translate_errors(source, is_folder=False):
        try:
            file = Path(hf_hub_download(source, HEAD_MAP, revision=revision))
        except HfHubHTTPError:  # the file, model or revision does not exist or is private
            return None
        except Exception:  # offline: the libraries raise OSError as well as httpx errors
            if _in_cache(source, revision):  # an ordinary model that was downloaded earlier
                return None
            raise
        # Download the commit that the head map belongs to.
        return Path(snapshot_download(source, revision=file.parent.name, allow_patterns=FILES, ignore_patterns=["*/*"]))


def _in_cache(source: str, revision: str | None) -> bool:
    return isinstance(try_to_load_from_cache(source, "config.json", revision=revision), str)
