"""Padding, and a trial run at load: do logits depend on padding, or on the other examples of a batch?

Padding is masked out, but some models ignore the mask (convolutions, recurrent layers, classifiers of the last position),
and some experts have a capacity that all examples of a batch share. Such models run on batches without padding, or on
single examples, and `PrunableModel.note` says so.
"""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from headprune_core.errors import HeadPruneError

from .attention_hooks import AttentionHooks, use_hooks
from .head_discovery import NO_PAD, sample_inputs
from .head_tracing import run_model

BATCHING = ("padded", "equal lengths", "single")
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-4}  # relative to the largest logit; half precision: 0.05
SHORT = 3  # length of the second sample text
NOTES = {
    "padded": None,
    "no padding token": "the configuration of {name} has no padding token, so all batches hold examples of one length; set "
    "config.pad_token_id to the token that the model was trained with to make this faster",
    "equal lengths": "logits of {name} depend on padding, so all batches hold examples of one length; this takes longer",
    "single": "logits of {name} depend on the other examples of a batch, so examples run one at a time; this takes longer",
}


def batching_note(model: PreTrainedModel, batching: str, name: str) -> str | None:
    """Return a sentence about batches other than padded ones, with the reason; None for padded ones.

    Args:
        model: the Transformers model.
        batching: what `find_batching` returned.
        name: display name of the model.
    """
    no_pad = batching == "equal lengths" and getattr(model.config.get_text_config(), "pad_token_id", None) == NO_PAD
    note = NOTES["no padding token" if no_pad else batching]
    return note and note.format(name=name)


def find_batching(model: PreTrainedModel, pad: int) -> str:
    """Run a sample alone and in batches, and return the largest kind of batch that gives the same logits.

    Args:
        model: the Transformers model, not on the meta device.
        pad: padding token.

    Returns:
        "padded", "equal lengths" (batches without padding) or "single" (one example per batch).

    Raises:
        HeadPruneError: if the model fails on a single example.
    """
    first = sample_inputs(model)
    second = {name: value.flip(-1) for name, value in first.items()}
    if model.main_input_name == "pixel_values":
        return "padded" if _agrees(model, [first, second], pad) else "single"
    ids = first["input_ids"]
    second["input_ids"] = torch.cat([ids[:, :-1].flip(-1), ids[:, -1:]], -1)  # some classifiers require the last token
    shorter = {name: value[:, -SHORT:] for name, value in second.items()}
    if _agrees(model, [first, shorter], pad) and not _computes_masks(model, first):
        return "padded"
    return "equal lengths" if _agrees(model, [first, second], pad) else "single"


def _computes_masks(model: PreTrainedModel, inputs: dict[str, Tensor]) -> bool:
    """Whether masks depend on q, k or v; such a mask may count padding in texts longer than the sample (Doge)."""
    masks = []
    hooks = AttentionHooks(
        on_attention=lambda call: masks.append(call.mask),
        on_projection=lambda module, x, y: y.detach().requires_grad_().clone(),
    )
    with use_hooks(hooks), torch.enable_grad():
        run_model(model, inputs)
    return any(mask is not None and mask.requires_grad for mask in masks)


@torch.no_grad()
def _agrees(model: PreTrainedModel, examples: list[dict[str, Tensor]], pad: int) -> bool:
    """Whether a batch of the examples gives each the logits that it has alone."""
    alone = [run_model(model, _batch([example], pad)) for example in examples]
    try:
        together = run_model(model, _batch(examples, pad))
    except HeadPruneError:  # some models take one example, or no padding
        return False
    largest = max(float(logits.abs().max()) for logits in alone)
    finite = [bool(logits.isfinite().all()) for logits in (*alone, together)]
    if not all(finite[:-1]) or (not finite[-1] and not all(weight.isfinite().all() for weight in model.parameters())):
        return True  # nothing can be compared; the scores name the weights that are not finite
    allowed = TOLERANCE.get(together.dtype, 0.05) * max(largest, 1e-3)
    pairs = zip(together, alone, strict=True)
    return all(float((row[: len(own[0])] - own[0]).abs().max()) <= allowed for row, own in pairs)


def _batch(examples: list[dict[str, Tensor]], pad: int) -> dict[str, Tensor]:
    """One batch of examples of one text each, padded on the right."""
    if "pixel_values" in examples[0]:
        return {"pixel_values": torch.cat([example["pixel_values"] for example in examples])}
    columns = {name: [example[name][0] for example in examples] for name in examples[0]}
    batch = {name: _padded(rows, pad) for name, rows in columns.items()}
    return batch | {"attention_mask": _padded([torch.ones_like(ids) for ids in columns["input_ids"]], 0)}


def _padded(rows: list[Tensor], value: int) -> Tensor:
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)


def check_length_limit(tokenizer) -> None:
    """Check that the maximum length of a tokenizer is a number of tokens.

    Args:
        tokenizer: the tokenizer, image processor or None.

    Raises:
        HeadPruneError: if it is no number, or less than 1.
    """
    limit = getattr(tokenizer, "model_max_length", 1)
    if type(limit) not in (int, float) or not limit >= 1:
        raise HeadPruneError(
            f"model_max_length of the tokenizer must be a number of at least 1, got {limit!r}; correct tokenizer_config.json"
        )


def length_limit(model: PreTrainedModel, tokenizer) -> int | None:
    """Return the maximum sequence length of a text model in tokens, or None if it is unlimited.

    Args:
        model: the Transformers model.
        tokenizer: its tokenizer, or None.
    """
    limits = [] if tokenizer is None else [tokenizer.model_max_length]
    table = next((m for n, m in model.named_modules() if n.endswith("position_embeddings")), None)
    if isinstance(table, torch.nn.Embedding):
        # RoBERTa and related models number positions from the padding index on.
        limits.append(table.num_embeddings - (0 if table.padding_idx is None else table.padding_idx + 1))
    elif getattr(model.config, "max_position_embeddings", None):
        limits.append(model.config.max_position_embeddings)
    return min((int(limit) for limit in limits if limit < 10**9), default=None)


def name_padding(model: PreTrainedModel, tokenizer) -> None:
    """Set the padding token of a classifier without one.

    Decoder classifiers read the logits of the last token that is not the padding token. A token that texts may contain, such
    as the end of the text, is none: without a token of its own, no token is padding.

    Args:
        model: the Transformers model; its configuration is changed.
        tokenizer: its tokenizer, or None.
    """
    config = model.config.get_text_config()
    if _first_id(getattr(config, "pad_token_id", None)) is None:
        named = {kind: getattr(tokenizer, f"{kind}_token_id", None) for kind in ("pad", "eos", "bos", "unk", "sep", "cls")}
        pad = _first_id(named.pop("pad"))
        own = pad is not None and pad < model.get_input_embeddings().num_embeddings and pad not in named.values()
        config.pad_token_id = pad if own else NO_PAD


def pad_token(model: PreTrainedModel, tokenizer) -> int:
    """Return the padding token of batches; 0 if none is defined within the vocabulary, since padding is masked out.

    Args:
        model: the Transformers model.
        tokenizer: its tokenizer, or None.
    """
    named = (getattr(owner, "pad_token_id", None) for owner in (model.config.get_text_config(), tokenizer))
    vocabulary = model.get_input_embeddings().num_embeddings
    return next((token for token in map(_first_id, named) if token is not None and token < vocabulary), 0)


def _first_id(token) -> int | None:
    """The first of one or several token IDs of a configuration; None if there is none, which some models write as -1."""
    token = token[0] if isinstance(token, list) else token
    return None if token is None or token < 0 else token
