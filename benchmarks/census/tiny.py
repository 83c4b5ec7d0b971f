"""Tiny random models of any architecture: the default configuration with every size replaced by a small one."""

import copy
import math
import re

import datasets
import numpy as np
import torch
import transformers

from headprune_core.model.formats.tasks import LOADERS, task_classes

VOCABULARY, CLASSES, IMAGE = 120, 3, 16
LAYERS = 2
SIZES = {  # the first pattern that matches the whole name decides; None keeps the value
    r"num_labels|num_channels|.*_std|.*_range|.*initializer.*|.*dropout.*|.*_eps|.*epsilon|type_vocab_size": None,
    r"mamba_(d_head|headdim|head_dim)": 16,
    r".*(topk_group|n_group|num_expert_groups?|n_shared_experts|num_shared_experts)": 1,
    r".*(experts_per_tok|moe_topk|top_k|num_selected_experts|moe_k|experts_top_k|router_topk|num_experts_per_token)": 2,
    r".*(moe_intermediate_size|expert_hidden_size|expert_intermediate_size|shared_expert_intermediate_size)": 16,
    r".*(num_.*experts|n_routed_experts|n_experts|num_experts|moe_num_experts)": 4,
    r"first_k_dense_replace|moe_layer_start_index|num_dense_layers|num_zero_experts?": 1,
    r".*(num_key_value_heads|num_kv_heads|n_kv_heads|num_key_value_head)": 2,
    r"(qk_rope_head_dim|qk_nope_head_dim|rotary_dim|rope_head_dim)": 4,
    r".*(head_dim|head_size|d_kv|v_head_dim|attention_key_size|hidden_size_per_attention_head)": 8,
    r".*(kv_lora_rank|q_lora_rank|.*_lora_rank|lora_rank|.*_low_rank.*)": 8,
    r".*(num_.*heads?|n_heads?|encoder_attention_heads|decoder_attention_heads|attention_heads|n_heads?)": 4,
    r".*(layers|n_layer|num_hidden_groups|num_blocks|n_blocks)": LAYERS,
    r".*(intermediate_size.*|ffn_dim|d_ff|d_inner|n_inner|ffn_hidden_size|ff_dim|hidden_dim|mlp_dim|ffn_hidden_dim)": 48,
    r".*(vocab_size|num_embeddings)": VOCABULARY,
    r".*(max_position_embeddings|n_positions|max_seq_len|max_sequence_length|n_ctx|seq_length|max_source_positions)": 64,
    r".*(sliding_window|attention_window|local_attention|window_size|attention_chunk_size|chunk_size)": 6,
    r"image_size|img_size|input_size": IMAGE,
    r"patch_size": 4,
    r".*hidden_size.*|d_model|n_embd|dim|embed_dim|.*(proj|projection|embedding)_dim|.*(embedding|bottleneck)_size": 32,
    r"state_size|ssm_state_size|mamba_d_state|time_step_rank|linear_.*_dim": 8,
    r"query_pre_attn_scalar": 8,
}
LISTS = {r"mrope_section": [2, 1, 1], r"image_size|img_size": [IMAGE, IMAGE], r"num_(attention_)?heads": [2, 2, 2, 2]}
DROPPED = re.compile(r"_?out_(features|indices)|stage_names|transformers_version|architectures|per_layer_config")
UNSET = {
    "vocab_size": VOCABULARY,
    "head_dim": 8,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
}  # in place of None
ROPE = {"rope_type": "default", "rope_theta": 10000.0}
WINDOWS = {"image_size": 16, "patch_size": 2, "window_size": 2, "depths": [1, 1], "num_heads": [2, 4]}
SPECIAL = {  # values that the default configuration lacks, or that do not fit together when shrunk
    **dict.fromkeys(("SwinConfig", "Swinv2Config", "DonutSwinConfig"), WINDOWS),
    "BigBirdPegasusConfig": {"attention_type": "original_full"},
    "Mamba2Config": {"num_heads": 8, "head_dim": 8, "n_groups": 1},
    "FalconH1Config": {"mamba_d_ssm": 32},
    "Zamba2Config": {"n_mamba_heads": 4, "mamba_headdim": 16, "attention_head_dim": 16, "hybrid_layer_ids": [1]},
    "NemotronHConfig": {"n_groups": 1},
    "SegformerConfig": {"num_encoder_blocks": 4, "image_size": 64},
    "XmodConfig": {"default_language": "en_XX"},
    "Lfm2MoeConfig": {"layer_types": ["full_attention", "conv"]},
    "CohereCompassTextConfig": {"rope_parameters": {"full_attention": ROPE, "sliding_attention": ROPE}},
    "DbrxConfig": {"attn_config": {"clip_qkv": 8.0, "kv_n_heads": 2, "rope_theta": 10000.0}},
}


def architectures() -> list[tuple[str, str]]:
    """Return (task, class name) of every architecture, in the order of the library; each class has its first task."""
    found: dict[str, str] = {}
    for task in LOADERS:
        for name in task_classes(task):
            found.setdefault(name, task)
    return [(task, name) for name, task in found.items()]


def tiny_model(task: str, name: str, seed: int = 0) -> transformers.PreTrainedModel:
    """Build a tiny model with random weights that make attention far from uniform.

    Args:
        task: task of the library, a key of LOADERS.
        name: class of the library.
        seed: seed of the weights.
    """
    kind = getattr(transformers, name)
    torch.manual_seed(seed)
    config = tiny_config(kind.config_class)
    if task == "CAUSAL_LM" and hasattr(config, "is_decoder"):
        config.is_decoder = True
    model = kind(config).float().eval()
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if not parameter.requires_grad:  # computed positions, which are not saved
                continue
            if parameter.dim() > 1:
                parameter.normal_(std=(0.3 if "embed" in path else 1.3 / math.sqrt(parameter[0].numel())))
            elif path.endswith("bias"):
                parameter.normal_(std=0.1)
    return model


def tiny_config(kind: type) -> transformers.PreTrainedConfig:
    """Return a tiny configuration of a configuration class; sub-configurations are shrunk too."""
    default = kind()
    layers = getattr(default.get_text_config(), "num_hidden_layers", None)
    values = _shrunk(default.to_dict(), layers)
    values |= SPECIAL.get(kind.__name__, {})
    values |= {"id2label": {i: f"class {i}" for i in range(CLASSES)}, "label2id": {f"class {i}": i for i in range(CLASSES)}}
    config = kind.from_dict(values)
    for part in {id(config): config, id(config.get_text_config()): config.get_text_config()}.values():
        for token, number in (("pad", 0), ("bos", 1), ("eos", 2), ("decoder_start", 0), ("cls", 3), ("sep", 4)):
            if (
                hasattr(part, f"{token}_token_id")
                or token == "pad"
                or (token == "decoder_start" and part.is_encoder_decoder)
            ):
                setattr(part, f"{token}_token_id", number)
        part.use_cache = False
    config._experts_implementation = "eager"  # the others do not compute in double precision
    return config


def _shrunk(values: dict, layers: int | None) -> dict:
    """A configuration as a dictionary with small sizes."""
    small = {}
    for name, value in values.items():
        if DROPPED.fullmatch(name):
            continue
        if isinstance(value, dict) and name not in ("id2label", "label2id"):
            small[name] = _shrunk(value, value.get("num_hidden_layers", layers))
        elif isinstance(value, list):
            small[name] = _shrunk_list(name, value, layers)
        elif type(value) is int:
            small[name] = _shrunk_number(name, value)
        else:
            small[name] = UNSET.get(name) if value is None else copy.deepcopy(value)
    if "qk_rope_head_dim" in values and "head_dim" in values:
        small["head_dim"] = small["qk_rope_head_dim"]
    if {"num_key_value_heads", "num_attention_heads"} <= values.keys():
        same = values["num_key_value_heads"] in (None, values["num_attention_heads"])
        small["num_key_value_heads"] = 4 if same else 2
    return small


def _shrunk_number(name: str, value: int) -> int:
    if name.endswith(("_token_id", "_token_index", "_token")) and value >= VOCABULARY:
        return VOCABULARY - 1
    size = next((size for pattern, size in SIZES.items() if re.fullmatch(pattern, name)), None)
    return value if size is None or value == 0 else min(size, value)


def _shrunk_list(name: str, value: list, layers: int | None) -> list:
    known = next((new for pattern, new in LISTS.items() if re.fullmatch(pattern, name)), None)
    if known is not None:
        return known
    if layers is not None and len(value) == layers:  # one entry for each layer: keep the kinds, attention first
        kinds = sorted(dict.fromkeys(map(str, value)), key=lambda kind: "attention" not in kind)[:LAYERS]
        chosen = [next(v for v in value if str(v) == kind) for kind in kinds]
        return (chosen * LAYERS)[:LAYERS]
    if name == "depths":
        return [1] * len(value)
    if name in ("hidden_sizes", "embed_dims", "dims", "widths"):
        return [16 * 2**i for i in range(len(value))]
    return [_shrunk_number(name, v) if type(v) is int else v for v in value]


def random_inputs(model: transformers.PreTrainedModel, task: str, count: int = 5) -> datasets.Dataset:
    """Return random examples of mixed lengths, or random images, with labels or targets.

    Args:
        model: the model that reads them.
        task: task of the library, a key of LOADERS.
        count: number of examples.
    """
    generator = np.random.default_rng(0)
    columns: dict[str, list] = {}
    if model.main_input_name == "pixel_values":
        config = getattr(model.config, "vision_config", model.config)
        size = getattr(config, "image_size", IMAGE)
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        shape = count, getattr(config, "num_channels", 3), height, width
        columns["pixel_values"] = generator.standard_normal(shape).astype(np.float32).tolist()
    else:
        lengths = generator.permutation([3, 4, 6, 9, 10])[:count]
        top = getattr(model.get_input_embeddings(), "num_embeddings", VOCABULARY) - 2
        rows = [generator.integers(5, top, n).tolist() for n in lengths]
        if model.config.is_encoder_decoder:
            rows = [[*row[:-1], 2] for row in rows]  # its classifiers read the end-of-sequence token
        columns["input_ids"] = rows
        if task == "SEQ_TO_SEQ_CAUSAL_LM" and model.config.is_encoder_decoder:
            columns["target_ids"] = [generator.integers(5, top, n).tolist() for n in lengths[::-1]]
    if task == "TOKEN_CLASSIFICATION":
        columns["labels"] = [generator.integers(0, CLASSES, len(row)).tolist() for row in columns["input_ids"]]
    elif task.endswith("CLASSIFICATION"):
        columns["label"] = generator.integers(0, CLASSES, count).tolist()
    return datasets.Dataset.from_dict(columns)
