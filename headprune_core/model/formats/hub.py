"""Pruned models on the Hugging Face Hub, found by head map or configuration and downloaded to the library's cache.

Looking for them takes two small requests, and none in offline mode. Any other model ID is left to the ordinary loading,
which reports what is wrong with it.
"""

from pathlib import Path

from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

from headprune_core.model import smollm2
from headprune_core.model.head_map import HEAD_MAP
from headprune_core.model.loading import is_hub_id

from .adapter import CONFIG
from .library_calls import silence_transformers, translate_errors
from .load_progress import download_reports
from .v4_pruned import heads_pruned_by_v4
from .weight_checks import FILES


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
            file = _head_map(source, revision) or Path(hf_hub_download(source, "config.json", revision=revision))
        except (HfHubHTTPError, EntryNotFoundError):  # the file, model or revision does not exist or is private
            return None
        if file.name != HEAD_MAP and not heads_pruned_by_v4(file.parent):
            return None
        # Download the commit that the head map belongs to.
        patterns = {"allow_patterns": FILES, "ignore_patterns": ["*/*"]}
        return Path(snapshot_download(source, revision=file.parent.name, tqdm_class=download_reports(), **patterns))


def _head_map(source: str, revision: str | None) -> Path | None:
    """The head map in the cache; None if the repository has none or is in the cache without one."""
    try:
        return Path(hf_hub_download(source, HEAD_MAP, revision=revision))
    except HfHubHTTPError:
        return None
    except Exception:  # offline: the libraries raise OSError as well as httpx errors
        known = (try_to_load_from_cache(source, name, revision=revision) for name in ("config.json", CONFIG))
        if any(isinstance(path, str) for path in known):
            return None  # an ordinary model or an adapter that was downloaded earlier
        raise
