"""The code that loads a pruned model's folder without this package: torch, transformers and safetensors are enough.

The library loads the weights itself (names, shards, tied and shared ones, precision) into its own class, whose constructor
is followed by what head_map.json says of sizes (`standalone_sizes.py`); so the whole weights are at no time there.
"""

from headprune_core.model.prunable_model import PrunableModel
from headprune_core.model.standalone_sizes import standalone_sizes

_START = """\
folder = "pruned-model"
{imports}

plain = json.loads(pathlib.Path(folder, "head_map.json").read_text())["plain"]
Whole = getattr(transformers, transformers.AutoConfig.from_pretrained(folder).architectures[0])
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
    for path, name, size in plain["sizes"]:
        size = size if isinstance(size, int) else torch.nn.Parameter(torch.zeros(size))
        setattr(self.get_submodule(path), name, size)
{more}\

Narrow = type(Whole.__name__, (Whole,), {{"__init__": narrow, "__module__": Whole.__module__}})
model = Narrow.from_pretrained(folder, use_safetensors=True, dtype="auto"{options})
"""
_CONFIG = """\
    for path, numbers in plain["config"].items():
        module = self.get_submodule(path)
        module.config = copy.copy(module.config)
        module.config.update(numbers)
"""
_HEADS_LEFT = """\
    for path, heads in plain["heads_left"].items():
        self.get_submodule(path).heads_left = heads
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

    Ten lines after the folder's name; more where rows have no heads, for Phi-3 and for T5. The model is the library's own
    class in all but its constructor, smaller, in eval mode and the file's precision.
    """
    sizes = standalone_sizes(model)
    by_heads, config, zeros = (bool(sizes[kind]) for kind in ("heads_left", "config", "zeros"))
    imports = f"import {'copy, ' if config else ''}json, pathlib, torch, transformers"
    if by_heads:
        imports += (
            "\nfrom transformers.integrations.sdpa_attention import sdpa_attention_forward"
            "\nfrom transformers.masking_utils import sdpa_mask"
        )
    code = _START.format(imports=imports) + (_BY_HEADS if by_heads else "")
    code += _CONSTRUCTOR.format(
        more=(_CONFIG if config else "") + (_HEADS_LEFT if by_heads else "") + (_UNSAVED if zeros else ""),
        options=', attn_implementation="heads_left"' if by_heads else "",
    )
    return code + (_ZEROS if zeros else "")
