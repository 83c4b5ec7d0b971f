"""Conversion of examples to model inputs: tokens of texts and targets, pixels of images, and class numbers."""

import warnings

import datasets
import numpy as np
import torch

from headprune_core.errors import HeadPruneError, HeadPruneWarning
from headprune_core.model.head_discovery import image_shape
from headprune_core.model.prunable_model import PrunableModel

from .encoded import Encoded
from .labels import all_labels, map_labels, plain_label
from .targets import example_targets
from .tasks import has_targets, task_of
from .token_targets import token_inputs

_INPUT_COLUMNS = ("input_ids", "token_type_ids", "target_ids")


def encode(model: PrunableModel, examples: datasets.Dataset) -> Encoded:
    """Convert examples to unpadded model inputs.

    Args:
        model: the model.
        examples: Dataset with a column text (and text_pair) or image, or with model inputs (input_ids or pixel_values),
            which are used unchanged. A sequence-to-sequence model also needs a column target (text), target_ids or
            label (the name of the label is the target). For labels of multi-label and regression models see
            `example_targets`, for words and tags of a token classifier `token_inputs`.

    Returns:
        The inputs and class numbers. Texts beyond the maximum sequence length are truncated with a HeadPruneWarning.

    Raises:
        HeadPruneError: if columns are missing, labels are unknown to the model, or an example has too few tokens.
    """
    examples = _checked(examples, task_of(model).by_token)
    if len(examples) == 0:
        raise HeadPruneError("the dataset has no examples; at least 1 is needed")
    task, labels = task_of(model), None
    if "label" in examples.column_names and not task.by_token:
        labels = _labels(model, examples) if model.task == "classification" else example_targets(model, examples)
    if model.reads_images:
        return Encoded(_images(model, examples), labels, truncated=0, longest=1, pad=0, batching=model.batching, task=task)
    tags_known = task.name == "token_classification" and has_targets(model, examples.column_names)
    if task.name == "token_classification":
        rows, truncated, longest = token_inputs(model, examples, _tokens, _given_inputs)
    elif "input_ids" in examples.column_names:
        rows, truncated, longest = _given_inputs(model, examples)
    elif "text" in examples.column_names:
        rows, truncated, longest = _tokens(model, examples)
    else:
        columns = ", ".join(examples.column_names)
        raise HeadPruneError(f"the dataset has the columns {columns}; expected a column text or input_ids")
    _check(model, rows)
    config = model.model.config
    if model.task == "translation":
        rows = [row | {"decoder_input_ids": _shifted(model, row["target_ids"])} for row in rows]
    return Encoded(
        rows,
        labels,
        truncated,
        longest,
        pad_id(model),
        two_streams=bool(config.is_encoder_decoder),
        predicts_next=model.task == "language",
        special=frozenset(special_ids(model)),
        batching=model.batching,
        task=task,
        tags_known=tags_known,
    )


def _checked(examples, by_token: bool) -> datasets.Dataset:
    """The Dataset with plain Python values; unless tokens have labels, a column labels becomes the column label."""
    if not isinstance(examples, datasets.Dataset):
        splits = f" ({', '.join(examples)}); choose one" if isinstance(examples, datasets.DatasetDict) else ""
        raise HeadPruneError(
            f"examples must be a Dataset, got {type(examples).__name__}{splits}; load_examples makes one from lists, "
            "DataFrames and files"
        )
    if examples.format["type"] is not None:
        examples = examples.with_format(None)
    if not by_token and "labels" in examples.column_names and "label" not in examples.column_names:
        examples = examples.rename_column("labels", "label")
    return examples


def pad_id(model: PrunableModel) -> int:
    """Return the padding token.

    Args:
        model: the model.
    """
    return model.pad_token


def special_ids(model: PrunableModel) -> set[int]:
    """Return the special tokens of the tokenizer, or of the configuration if there is no tokenizer.

    Args:
        model: the model.
    """
    if model.tokenizer is not None:
        return set(model.tokenizer.all_special_ids) - {model.tokenizer.unk_token_id}
    names = ("pad", "bos", "eos", "cls", "sep", "decoder_start")
    named = (getattr(model.model.config, f"{name}_token_id", None) for name in names)
    return {i for token in named if token is not None for i in (token if isinstance(token, list) else [token]) if i >= 0}


def truncation_note(truncated: int, total: int, longest: int, limit: int) -> str:
    """Return a sentence about truncated texts.

    Args:
        truncated: number of truncated texts.
        total: number of texts.
        longest: length of the longest text in tokens.
        limit: maximum sequence length of the model in tokens.
    """
    return (
        f"{truncated} of {total} examples exceed the model's maximum length of {limit} tokens (longest: {longest}) and were "
        "truncated."
    )


def _check(model, rows) -> None:
    minimum = 2 if model.task == "language" else 1
    vocabulary = model.model.get_input_embeddings().num_embeddings
    for name, fewest in (("input_ids", minimum), ("target_ids", 1)):
        for i, ids in enumerate(row.get(name) for row in rows):
            if ids is None:
                continue
            kind = "target" if name == "target_ids" else "real"
            if len(ids) < fewest:
                tokens = "token" if len(ids) == 1 else "tokens"
                raise HeadPruneError(f"example {i} has {len(ids)} {kind} {tokens}, but needs at least {fewest}")
            if min(ids) < 0 or max(ids) >= vocabulary:
                raise HeadPruneError(
                    f"example {i} has a token outside the model's vocabulary (IDs 0 to {vocabulary - 1}); use the "
                    "tokenizer of this model"
                )


def _tokens(model, examples):
    if model.tokenizer is None:
        raise HeadPruneError(f"{model.name} has no tokenizer; pass one, or a Dataset with input_ids")
    pairs = (examples["text_pair"],) if "text_pair" in examples.column_names else ()
    pairs = tuple(list(column) for column in pairs)
    limit = model.max_tokens
    encoded = model.tokenizer(list(examples["text"]), *pairs, verbose=False)
    lengths = [len(ids) for ids in encoded["input_ids"]]
    longest, truncated = max(lengths), sum(limit is not None and length > limit for length in lengths)
    if truncated:
        encoded = model.tokenizer(list(examples["text"]), *pairs, truncation=True, max_length=limit)
        warnings.warn(truncation_note(truncated, len(lengths), longest, limit), HeadPruneWarning, stacklevel=4)
    names = [name for name in ("input_ids", "token_type_ids") if name in encoded]
    rows = [{name: list(encoded[name][i]) for name in names} for i in range(len(lengths))]
    if model.task == "translation":
        targets = model.tokenizer(text_target=_targets(model, examples), truncation=limit is not None, max_length=limit)
        rows = [row | {"target_ids": list(ids)} for row, ids in zip(rows, targets["input_ids"], strict=True)]
    return rows, truncated, longest


def _targets(model, examples) -> list[str]:
    """The target texts: column target, else the names of the labels."""
    if "target" in examples.column_names:
        return [str(target) for target in examples["target"]]
    if "label" not in examples.column_names:
        raise HeadPruneError(
            f"{model.name} is a sequence-to-sequence model, but the dataset has no targets; add a target column"
        )
    feature = examples.features["label"]
    return [feature.int2str(v) if isinstance(feature, datasets.ClassLabel) else str(v) for v in examples["label"]]


def _shifted(model, target: list[int]) -> list[int]:
    """The decoder inputs for a target, by the model's own rule, which usually shifts the target by one position."""
    rule = getattr(model.model, "prepare_decoder_input_ids_from_labels", None)
    if rule is not None:
        return rule(labels=torch.tensor([target]))[0].tolist()
    settings = (model.model.config, getattr(model.model, "generation_config", None))
    starts = (getattr(owner, "decoder_start_token_id", None) for owner in settings)
    start = next((token for token in starts if token is not None), None)
    if start is None:
        raise HeadPruneError(
            f"{model.name} has no decoder_start_token_id in its configuration; set the token that targets start with"
        )
    return [start, *target[:-1]]


def _given_inputs(model, examples):
    names = [name for name in _INPUT_COLUMNS if name in examples.column_names]
    if model.task == "translation" and "target_ids" not in names:
        raise HeadPruneError(
            f"{model.name} is a sequence-to-sequence model, but its inputs lack target_ids; add that column"
        )
    if model.task != "translation":
        names = [name for name in names if name != "target_ids"]
    rows = [{name: list(example[name]) for name in names} for example in examples]
    if "attention_mask" in examples.column_names:  # remove padding from the given inputs
        for row, mask in zip(rows, examples["attention_mask"], strict=True):
            for name in row.keys() - {"target_ids"}:
                row[name] = [value for value, real in zip(row[name], mask, strict=True) if real]
    longest = max(len(row["input_ids"]) for row in rows)
    if model.max_tokens and longest > model.max_tokens:
        raise HeadPruneError(f"an example has {longest} tokens, but the model's maximum is {model.max_tokens}; shorten it")
    return rows, 0, longest


def _images(model, examples) -> list[dict[str, np.ndarray]]:
    """The pixels of each example, (channels, height, width), normalized for the model."""
    if "pixel_values" in examples.column_names:
        pixels = [np.asarray(values, np.float32) for values in examples["pixel_values"]]
    elif "image" in examples.column_names:
        if model.tokenizer is None:
            raise HeadPruneError(f"{model.name} has no image processor; pass one, or a Dataset with pixel_values")
        color_mode = "L" if image_shape(model.model)[0] == 1 else "RGB"
        images = [image.convert(color_mode) if hasattr(image, "convert") else image for image in examples["image"]]
        pixels = list(model.tokenizer(images=images, return_tensors="np")["pixel_values"])
    else:
        columns = ", ".join(examples.column_names)
        raise HeadPruneError(f"the dataset has the columns {columns}; expected a column image or pixel_values")
    expected = image_shape(model.model)
    wrong = next((i for i, image in enumerate(pixels) if image.shape != expected), None)
    if wrong is not None:
        raise HeadPruneError(f"shape of image {wrong} must be {expected}, got {pixels[wrong].shape}")
    bad = next((i for i, image in enumerate(pixels) if not np.isfinite(image).all()), None)
    if bad is not None:
        raise HeadPruneError(f"image {bad} contains NaN or infinite pixel values; all must be finite")
    return [{"pixel_values": image} for image in pixels]


def _labels(model, examples) -> list[int] | None:
    """Class numbers of the model; None if no example has a label."""
    feature, values = examples.features["label"], list(examples["label"])
    plain = [plain_label(value) for value in values]
    if all(label is None for label in plain):
        return None
    missing = sum(label is None for label in plain)
    if missing:
        raise HeadPruneError(
            f"{missing} of {len(values)} examples have no label (-1, None or empty); remove them, as load_examples does, or "
            "remove the label column"
        )
    if isinstance(feature, datasets.ClassLabel):
        plain = [feature.int2str(label) for label in plain]
    labels, names, whole_column = all_labels(examples)
    mapping = map_labels(labels, model.labels, ordered=names, whole_column=whole_column)
    return [mapping.classes[str(label)] for label in plain]
