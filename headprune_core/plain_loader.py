"""The code that loads a pruned model's folder without this package: torch, transformers and safetensors are enough.

The library loads the weights itself (names, shards, tied and shared ones, precision) into its own class, whose constructor
is followed by what head_map.json says of sizes (`plain_sizes.py`); so the whole weights are at no time there.
"""

from .models import PrunableModel
from .plain_sizes import plain_sizes

_START = """\
folder = "pruned-model"
{imports}

plain = json.loads(pathlib.Path(folder, "head_map.json").read_text())["plain"]
config = transformers.AutoConfig.from_pretrained(folder)
Whole = getattr(transformers, config.architectures[0])
"""
_BY_HEADS = """\

def attention(module, query, key, value, mask, position_bias=None, **more):
    if position_bias is not None and position_bias.shape[1] > 1:  # one for all heads that there were
        position_bias = position_bias[:, module.heads_left]
    return sdpa_attention_forward(module, query, key, value, mask, position_bias=position_bias, **more)

transformers.AttentionInterface.register("heads_left", attention)
transformers.AttentionMaskInterface.register("heads_left", sdpa_mask)
"""
_CONSTRUCTOR = """\

def narrow(self, config):
    Whole.__init__(self, config)
    for path, numbers in plain["attributes"].items():
        vars(self.get_submodule(path)).update(numbers)
{config}\
    for name, shape in {shapes}.items():
        path, _, last = name.rpartition(".")
        setattr(self.get_submodule(path), last, torch.nn.Parameter(torch.zeros(shape)))
{unsaved}\

Narrow = type(Whole.__name__, (Whole,), {{"__init__": narrow, "__module__": Whole.__module__}})
model = Narrow.from_pretrained(folder, use_safetensors=True, dtype="auto"{options})
"""
_CONFIG = """\
    for path, numbers in plain["config"].items():
        module = self.get_submodule(path)
        module.config = copy.copy(module.config)
        module.config.update(numbers)
"""
_UNSAVED = """\
    self._keys_to_ignore_on_load_missing.update(plain["zeros"])  # a head of zeros for a row without heads
"""
_ZEROS = """\
for name in plain["zeros"]:
    torch.nn.init.zeros_(model.get_parameter(name))
"""


def plain_loader(model: PrunableModel) -> str:
    """Python code that loads the folder to which the pruned `model` was saved, as `model`, without headprune_core.

    14 lines, more where rows have no heads and for T5. The first names the folder. The model is the library's own class in
    all but its constructor, smaller, in eval mode and the file's precision.
    """
    sizes = plain_sizes(model)
    by_heads = any("heads_left" in numbers for numbers in sizes["attributes"].values())
    imports = ["json", "pathlib", "torch", "transformers"]
    if sizes["config"]:
        imports.insert(0, "copy")
    lines = f"import {', '.join(imports)}"
    if by_heads:
        lines += (
            "\nfrom transformers.integrations.sdpa_attention import sdpa_attention_forward"
            "\nfrom transformers.masking_utils import sdpa_mask"
        )
    code = _START.format(imports=lines) + (_BY_HEADS if by_heads else "")
    code += _CONSTRUCTOR.format(
        config=_CONFIG if sizes["config"] else "",
        shapes='(plain["shapes"] | plain["zeros"])' if sizes["zeros"] else 'plain["shapes"]',
        unsaved=_UNSAVED if sizes["zeros"] else "",
        options=', attn_implementation="heads_left"' if by_heads else "",
    )
    return code + (_ZEROS if sizes["zeros"] else "")
