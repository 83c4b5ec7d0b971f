"""From examples to what a model reads: tokens of texts (and of their targets), pixels of images, label numbers."""

import re
import warnings

import datasets
import numpy as np
import torch

from headprune_core.errors import HeadPruneError, HeadPruneWarning
from headprune_core.model.head_discovery import image_shape
from headprune_core.model.prunable_model import PrunableModel

from .batches import Encoded

_READY = ("input_ids", "token_type_ids", "target_ids")


def encode(model: PrunableModel, examples: datasets.Dataset) -> Encoded:
    """Model inputs and label numbers for `model`; a Dataset with input_ids or pixel_values is taken as it is.

    A model that translates needs a target: column target (text), target_ids (ready), or label, whose name is the target.
    Texts longer than the model's positions are cut, with a warning. Raises HeadPruneError for labels that the model does
    not have and for examples with too few tokens.
    """
    if len(examples) == 0:
        raise HeadPruneError("there are no examples; expected at least one")
    labels = _labels(model, examples) if model.task == "classification" and "label" in examples.column_names else None
    if model.reads_images:
        return Encoded(_images(model, examples), labels, cut=0, longest=1, pad=0)
    if "input_ids" in examples.column_names:
        rows, cut, longest = _ready(model, examples)
    elif "text" in examples.column_names:
        rows, cut, longest = _tokens(model, examples)
    else:
        found = ", ".join(examples.column_names)
        raise HeadPruneError(f"the examples have columns {found}; expected text, or ready input_ids")
    _check(model, rows)
    config = model.model.config
    if model.task == "translation":
        rows = [row | {"decoder_input_ids": _shifted(model, row["target_ids"])} for row in rows]
    return Encoded(
        rows,
        labels,
        cut,
        longest,
        pad_id(model),
        two_streams=bool(config.is_encoder_decoder),
        predicts_next=model.task == "language",
        special=frozenset(special_ids(model)),
    )


def pad_id(model: PrunableModel) -> int:
    """The token that fills up short rows: the model's own, by which some find the last real token; masked out, so that
    any will do where it names none."""
    named = (getattr(owner, "pad_token_id", None) for owner in (model.model.config, model.tokenizer))
    return next((token for token in named if token is not None and token >= 0), 0)


def special_ids(model: PrunableModel) -> set[int]:
    """The tokens that mark and do not mean: those of the tokenizer, without one those that the config names."""
    if model.tokenizer is not None:
        return set(model.tokenizer.all_special_ids) - {model.tokenizer.unk_token_id}
    names = ("pad", "bos", "eos", "cls", "sep", "decoder_start")
    named = (getattr(model.model.config, f"{name}_token_id", None) for name in names)
    return {i for token in named if token is not None for i in (token if isinstance(token, list) else [token]) if i >= 0}


def truncation_note(cut: int, total: int, longest: int, limit: int) -> str:
    """What to tell about texts that do not fit the model."""
    return (
        f"{cut} of {total} texts are longer than the {limit} tokens that the model can read (the longest has {longest}); "
        "their ends are left out."
    )


def _check(model, rows) -> None:
    least = 2 if model.task == "language" else 1
    vocabulary = model.model.get_input_embeddings().num_embeddings
    for name, fewest in (("input_ids", least), ("target_ids", 1)):
        for i, ids in enumerate(row.get(name) for row in rows):
            if ids is None:
                continue
            what = "target" if name == "target_ids" else "real"
            if len(ids) < fewest:
                tokens = "token" if len(ids) == 1 else "tokens"
                raise HeadPruneError(f"example {i} has {len(ids)} {what} {tokens}; expected at least {fewest}")
            if min(ids) < 0 or max(ids) >= vocabulary:
                raise HeadPruneError(
                    f"example {i} has a token that the model does not have; expected ids from 0 to {vocabulary - 1}: "
                    "use the tokenizer that belongs to the model"
                )


def _tokens(model, examples):
    if model.tokenizer is None:
        raise HeadPruneError(f"{model.name} has no tokenizer; give one, or a Dataset with ready input_ids")
    pairs = (examples["text_pair"],) if "text_pair" in examples.column_names else ()
    pairs = tuple(list(column) for column in pairs)
    limit = model.max_tokens
    encoded = model.tokenizer(list(examples["text"]), *pairs, verbose=False)
    lengths = [len(ids) for ids in encoded["input_ids"]]
    longest, cut = max(lengths), sum(limit is not None and length > limit for length in lengths)
    if cut:
        encoded = model.tokenizer(list(examples["text"]), *pairs, truncation=True, max_length=limit)
        warnings.warn(truncation_note(cut, len(lengths), longest, limit), HeadPruneWarning, stacklevel=4)
    names = [name for name in ("input_ids", "token_type_ids") if name in encoded]
    rows = [{name: list(encoded[name][i]) for name in names} for i in range(len(lengths))]
    if model.task == "translation":
        targets = model.tokenizer(text_target=_targets(model, examples), truncation=limit is not None, max_length=limit)
        rows = [row | {"target_ids": list(ids)} for row, ids in zip(rows, targets["input_ids"], strict=True)]
    return rows, cut, longest


def _targets(model, examples) -> list[str]:
    """The texts that a model is to write: column target, else the labels' names."""
    if "target" in examples.column_names:
        return [str(target) for target in examples["target"]]
    if "label" not in examples.column_names:
        raise HeadPruneError(
            f"{model.name} writes a target text for each text, and the examples have none; give a column named target"
        )
    feature = examples.features["label"]
    return [feature.int2str(v) if isinstance(feature, datasets.ClassLabel) else str(v) for v in examples["label"]]


def _shifted(model, target: list[int]) -> list[int]:
    """What the decoder reads while it writes `target`: by the model's own rule, mostly the target one place on."""
    rule = getattr(model.model, "prepare_decoder_input_ids_from_labels", None)
    if rule is not None:
        return rule(labels=torch.tensor([target]))[0].tolist()
    start = model.model.config.decoder_start_token_id
    if start is None:
        raise HeadPruneError(
            f"{model.name} names no decoder_start_token_id in its config; expected one to begin targets with"
        )
    return [start, *target[:-1]]


def _ready(model, examples):
    names = [name for name in _READY if name in examples.column_names]
    if model.task == "translation" and "target_ids" not in names:
        raise HeadPruneError(f"{model.name} writes a target, and the ready inputs have none; give a column target_ids")
    if model.task != "translation":
        names = [name for name in names if name != "target_ids"]
    rows = [{name: list(example[name]) for name in names} for example in examples]
    if "attention_mask" in examples.column_names:  # padding in ready inputs is taken out again
        for row, mask in zip(rows, examples["attention_mask"], strict=True):
            for name in row.keys() - {"target_ids"}:
                row[name] = [value for value, real in zip(row[name], mask, strict=True) if real]
    longest = max(len(row["input_ids"]) for row in rows)
    if model.max_tokens and longest > model.max_tokens:
        raise HeadPruneError(f"an example has {longest} tokens; expected at most the model's {model.max_tokens}")
    return rows, 0, longest


def _images(model, examples) -> list[dict[str, np.ndarray]]:
    """The pixels of each example, (channels, height, width) in the model's own number format."""
    if "pixel_values" in examples.column_names:
        pixels = [np.asarray(values, np.float32) for values in examples["pixel_values"]]
    elif "image" in examples.column_names:
        if model.tokenizer is None:
            raise HeadPruneError(f"{model.name} has no image processor; give one, or a Dataset with ready pixel_values")
        colours = "L" if image_shape(model.model)[0] == 1 else "RGB"
        images = [image.convert(colours) if hasattr(image, "convert") else image for image in examples["image"]]
        pixels = list(model.tokenizer(images=images, return_tensors="np")["pixel_values"])
    else:
        found = ", ".join(examples.column_names)
        raise HeadPruneError(f"the examples have columns {found}; expected image, or ready pixel_values")
    expected = image_shape(model.model)
    strange = next((i for i, image in enumerate(pixels) if image.shape != expected), None)
    if strange is not None:
        raise HeadPruneError(f"image {strange} has shape {pixels[strange].shape}; the model expects {expected}")
    bad = next((i for i, image in enumerate(pixels) if not np.isfinite(image).all()), None)
    if bad is not None:
        raise HeadPruneError(f"image {bad} has pixels that are not finite numbers; expected finite ones")
    return [{"pixel_values": image} for image in pixels]


def _labels(model, examples) -> list[int]:
    """Label numbers of the model: by name where names are given and known, else the numbers as they are."""
    numbers = {str(name).casefold(): i for i, name in enumerate(model.labels)}
    feature, values = examples.features["label"], list(examples["label"])
    if isinstance(feature, datasets.ClassLabel) and all(name.casefold() in numbers for name in feature.names):
        # -1 and None stand for "no label" and stay as they are
        values = [feature.names[v] if v is not None and v >= 0 else v for v in values]
    if all(_is_number(v) for v in values) and not all(str(v) in numbers for v in values):
        numbers = {}  # numbers that are not all names (of a model whose classes are "1" to "5", say) count from 0
    found = [numbers.get(str(v).casefold(), int(v) if _is_number(v) else None) for v in values]
    unknown = [v for v, i in zip(values, found, strict=True) if i is None or not 0 <= i < len(model.labels)]
    if unknown:
        shown = ", ".join(dict.fromkeys(repr(v) for v in unknown[:200]))
        classes = ", ".join(f"{i} = {name}" for i, name in enumerate(model.labels))
        raise HeadPruneError(
            f"{len(unknown)} of {len(values)} examples have labels that the model does not have ({shown[:120]}); "
            f"expected {classes[:300]}"
        )
    return found


def _is_number(label) -> bool:
    return re.fullmatch(r"-?\d+", str(label)) is not None
