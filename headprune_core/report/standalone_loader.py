"""Generate code that loads a pruned model without HeadPrune; it needs torch, transformers and safetensors.

The code subclasses the model's own Transformers class and sets the sizes of pruned layers from head_map.json
(`formats.standalone_sizes`) in its constructor. Transformers then loads the weights as usual, so the unpruned weights are
never allocated.
"""

from headprune_core.model.formats.standalone_sizes import standalone_sizes
from headprune_core.model.prunable_model import PrunableModel

_START = """\
folder = "pruned-model"
{imports}

plain = json.loads(pathlib.Path(folder, "head_map.json").read_text())["plain"]
Whole = getattr(transformers, transformers.AutoConfig.from_pretrained(folder).architectures[0])
"""
_BY_HEADS = """\

def attention(module, query, key, value, mask, position_bias=None, **more):
    if position_bias is not None and position_bias.shape[1] > 1:  # computed for the original heads
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
    self._keys_to_ignore_on_load_missing.update(plain["zeros"])  # zero placeholder heads of layers without heads
"""
_ZEROS = """\
for name in plain["zeros"]:
    torch.nn.init.zeros_(model.get_parameter(name))
"""


def standalone_code(model: PrunableModel) -> str:
    """Return Python code that loads a saved pruned model without headprune_core.

    Args:
        model: pruned model that was saved to the folder "pruned-model".

    Returns:
        Code that defines `folder` and `model`: a subclass of the Transformers class with smaller layers, in eval mode and
        the precision of the file.
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
