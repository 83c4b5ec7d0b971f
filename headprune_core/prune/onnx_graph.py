"""Trace a model as an ONNX graph with PyTorch's exporter: named inputs with dynamic sizes, and the logits.

Tracing uses the attention function of `model.attention_hooks`, which supports layers with removed heads. It sets
process-wide flags that change how Transformers builds masks, so `onnx_export` runs `main` in a process of its own.
"""

import json
import sys
from pathlib import Path

import datasets
import numpy as np
import torch
from torch import Tensor, nn

from headprune_core.data.batches import Batch
from headprune_core.data.encoding import encode, pad_id, special_ids
from headprune_core.model.head_discovery import image_shape, sample_inputs
from headprune_core.model.prunable_model import PrunableModel

OPSET = 18
EXAMPLES, TOKENS = 2, 7  # Size of the batch that is traced.
MAX_BYTES = 2**31 - 2**27  # Largest weights in a single file: the format is limited to 2 GiB, and the graph needs space too.
EXPERTS = "batched_mm"  # The only mixture-of-experts implementation of the library that can be traced.


def graph_inputs(model: PrunableModel) -> tuple[str, ...]:
    """Return the names of the graph's inputs in order.

    token_type_ids is included if the model has more than one token type and its tokenizer, if there is one, produces them.

    Args:
        model: model to export.

    Returns:
        Names of the inputs of the model's forward method.
    """
    if model.reads_images:
        return ("pixel_values",)
    names = ["input_ids", "attention_mask"]
    tables = [module for name, module in model.model.named_modules() if name.endswith("token_type_embeddings")]
    given = model.tokenizer is None or "token_type_ids" in model.tokenizer.model_input_names
    if given and any(table.num_embeddings > 1 for table in tables):
        names.append("token_type_ids")
    return (*names, *(["decoder_input_ids"] if model.task == "translation" else []))


def random_batch(model: PrunableModel, count: int, tokens: int) -> Batch:
    """Return a batch of random tokens or pixels; the first example has `tokens` tokens, the others are shorter and padded.

    Args:
        model: model that reads the batch.
        count: number of examples.
        tokens: tokens of the longest example; ignored for images.

    Returns:
        The batch on the model's device.
    """
    generator = np.random.default_rng([count, tokens])
    if model.reads_images:
        pixels = generator.standard_normal((count, *image_shape(model.model))).astype(np.float32)
        columns = {"pixel_values": pixels.tolist()}
    else:
        vocabulary = np.arange(model.model.get_input_embeddings().num_embeddings)
        ordinary = np.setdiff1d(vocabulary, [*special_ids(model), pad_id(model)])
        lengths = [max(2, tokens * (count - number) // count) for number in range(count)]
        rows = [generator.choice(ordinary, length) for length in lengths]
        if model.model.config.is_encoder_decoder:  # Encoder-decoder classifiers require the end token.
            for row in rows:
                row[-1] = sample_inputs(model.model)["input_ids"][0, -1]
        columns = {"input_ids": [row.tolist() for row in rows]}
        if "token_type_ids" in graph_inputs(model):
            columns["token_type_ids"] = [generator.integers(0, 2, length).tolist() for length in lengths]
        if model.task == "translation":  # The longest input has the shortest target, so that both are padded.
            columns["target_ids"] = [generator.choice(ordinary, length).tolist() for length in lengths[::-1]]
    return encode(model, datasets.Dataset.from_dict(columns)).batch(np.arange(count), model.device)


def within(model: PrunableModel, tokens: int) -> int:
    """Return the number of tokens, limited to the model's maximum sequence length."""
    return min(tokens, model.max_tokens or tokens)


def write_graph(model: PrunableModel, file: Path) -> None:
    """Trace `model` and write its graph and weights to `file`; nothing else may use the model.

    The graph has opset 18. The first axis of all inputs (examples) and the second axis of token inputs are dynamic. Weights
    above about 2 GiB go to a second file. The file contains no paths of this machine.

    Args:
        model: model to export, in float32.
        file: path of the .onnx file.
    """
    if model.model._can_set_experts_implementation():
        model.model.set_experts_implementation(EXPERTS)
    names = graph_inputs(model)
    inputs = random_batch(model, EXAMPLES, within(model, TOKENS)).inputs
    with torch.no_grad():
        program = torch.onnx.export(
            _Logits(model, names),
            tuple(inputs[name] for name in names),
            input_names=names,
            output_names=("logits",),
            dynamic_shapes=(tuple(_free(name) for name in names),),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    _forget_origin(program.model)
    weights = sum(p.numel() * p.element_size() for p in model.model.parameters())
    program.save(file, external_data=weights > MAX_BYTES)


class _Logits(nn.Module):
    """Module that maps positional inputs to the logits of the model."""

    def __init__(self, model: PrunableModel, names: tuple[str, ...]):
        super().__init__()
        self.model = model.model
        self._names, self._options = names, {"use_cache": False} if model.generates else {}

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model(**dict(zip(self._names, inputs, strict=True)), **self._options).logits


def _free(name: str) -> dict[int, str]:
    """Return the dynamic axes of an input by index."""
    if name == "pixel_values":
        return {0: "examples"}
    return {0: "examples", 1: "target_tokens" if name.startswith("decoder_") else "tokens"}


def _forget_origin(graph_model) -> None:
    """Remove the exporter's metadata, which contains source paths of this machine."""
    graph = graph_model.graph
    for part in (graph_model, graph, *graph.all_nodes(), *graph.inputs, *graph.initializers.values()):
        part.metadata_props.clear()
    for node in graph.all_nodes():
        for value in node.outputs:
            value.metadata_props.clear()


def main() -> None:
    """Export the model folder of the first command-line argument to the file of the second.

    On failure, the last line of standard output is a JSON object with the keys reason and writing (whether the file could
    not be written).
    """
    folder, file = sys.argv[1:]
    try:
        write_graph(PrunableModel.from_pretrained(folder, device="cpu"), Path(file))
    except Exception as error:  # The exporter and the models raise exceptions of any class.
        while error.__cause__ is not None:  # The exporter wraps the cause in advice on how to report it.
            error = error.__cause__
        reason = " ".join(str(error).split()) or type(error).__name__
        print(json.dumps({"reason": reason[:120], "writing": isinstance(error, OSError)}))
        sys.exit(1)
