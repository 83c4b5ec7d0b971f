"""Pruned models by their Hub id: whether one is there, and its files in the library's own cache.

A pruned model is told by its head map. Asking for it is one small request, and none where all is known to be offline; every
other answer than "here it is" leaves the id to the ordinary loading, which says what is wrong with it.
"""

from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import HfHubHTTPError

from . import smollm2
from .head_map import HEAD_MAP
from .loading import is_hub_id, silence_transformers, translate_errors

FILES = ["*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.jinja", "*.bpe"]  # nothing that is code, or pickled


def pruned_on_hub(source: str, revision: str | None) -> Path | None:
    """The folder in the cache with the pruned model of that Hub id; None where the id is of no pruned model, or of none.

    Raises HeadPruneError, in one sentence, where the Hub cannot be reached and the cache holds nothing of the model, and
    where a pruned model cannot be fetched in full.
    """
    if source in ("embedded", smollm2.SMOLLM2) or not is_hub_id(source):
        return None
    with silence_transformers(), translate_errors(source, is_folder=False):
        try:
            file = Path(hf_hub_download(source, HEAD_MAP, revision=revision))
        except HfHubHTTPError:  # no such file, model or revision, or not for everyone
            return None
        except Exception:  # offline, or no way there: the libraries raise OSError and errors of httpx alike
            if _known(source, revision):  # an ordinary model that was fetched earlier
                return None
            raise
        # the very commit that the head map is of
        return Path(snapshot_download(source, revision=file.parent.name, allow_patterns=FILES, ignore_patterns=["*/*"]))


def _known(source: str, revision: str | None) -> bool:
    return isinstance(try_to_load_from_cache(source, "config.json", revision=revision), str)
