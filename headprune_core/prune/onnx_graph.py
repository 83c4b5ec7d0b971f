"""A model as an ONNX graph: what it reads, by name and with free sizes, and its logits, as PyTorch's exporter traces them.

The attention function that is traced is our own (`probe.py`), which knows rows that have lost heads. Tracing sets flags of
the whole process, by which Transformers builds its masks in another way, so it has a process of its own: `main`, which
`onnx_export.py` starts.
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
EXAMPLES, TOKENS = 2, 7  # of what is traced
LARGEST = 2**31 - 2**27  # bytes of weights in one file: its format ends at 2 GB, and the graph takes some
EXPERTS = "batched_mm"  # the one of the library's ways with a mixture of experts that can be traced


def graph_inputs(model: PrunableModel) -> tuple[str, ...]:
    """What the graph reads, in order: what the model's own forward takes of a text (and its target), or pixels.

    token_type_ids are among them where the model tells texts of a pair apart and its tokenizer, if it has one, numbers them.
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
    """`count` examples of random words (pixels), the first of `tokens` tokens, the others shorter and padded."""
    generator = np.random.default_rng([count, tokens])
    if model.reads_images:
        pixels = generator.standard_normal((count, *image_shape(model.model))).astype(np.float32)
        columns = {"pixel_values": pixels.tolist()}
    else:
        vocabulary = np.arange(model.model.get_input_embeddings().num_embeddings)
        words = np.setdiff1d(vocabulary, [*special_ids(model), pad_id(model)])
        lengths = [max(2, tokens * (count - number) // count) for number in range(count)]
        rows = [generator.choice(words, length) for length in lengths]
        if model.model.config.is_encoder_decoder:  # its classifiers look for the end of the text
            for row in rows:
                row[-1] = sample_inputs(model.model)["input_ids"][0, -1]
        columns = {"input_ids": [row.tolist() for row in rows]}
        if "token_type_ids" in graph_inputs(model):
            columns["token_type_ids"] = [generator.integers(0, 2, length).tolist() for length in lengths]
        if model.task == "translation":  # the longest input has the shortest target
            columns["target_ids"] = [generator.choice(words, length).tolist() for length in lengths[::-1]]
    return encode(model, datasets.Dataset.from_dict(columns)).batch(np.arange(count), model.device)


def within(model: PrunableModel, tokens: int) -> int:
    """So many tokens, or as many as the model can read."""
    return min(tokens, model.max_tokens or tokens)


def write_graph(model: PrunableModel, file: Path) -> None:
    """Trace `model`, which has to be nobody else's, and write its graph with its weights to `file`.

    The graph is of opset 18, all its inputs have a free first axis (examples) and, where they are tokens, a free second one.
    More than about 2 GB of weights go to a file beside it. Nothing in it tells of this machine or its folders.
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
    program.save(file, external_data=weights > LARGEST)


class _Logits(nn.Module):
    """The model's logits from inputs in order."""

    def __init__(self, model: PrunableModel, names: tuple[str, ...]):
        super().__init__()
        self.model = model.model
        self._names, self._options = names, {} if model.task == "classification" else {"use_cache": False}

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.model(**dict(zip(self._names, inputs, strict=True)), **self._options).logits


def _free(name: str) -> dict[int, str]:
    """The axes of an input that may have any size, by name."""
    if name == "pixel_values":
        return {0: "examples"}
    return {0: "examples", 1: "target_tokens" if name.startswith("decoder_") else "tokens"}


def _forget_origin(graph_model) -> None:
    """Take out the exporter's notes on where in which file of this machine each operation came from."""
    graph = graph_model.graph
    for part in (graph_model, graph, *graph.all_nodes(), *graph.inputs, *graph.initializers.values()):
        part.metadata_props.clear()
    for node in graph.all_nodes():
        for value in node.outputs:
            value.metadata_props.clear()


def main() -> None:
    """Write the graph of the model in the folder that is given first to the file that is given second.

    What goes wrong is told as the last line of standard output, a JSON object: reason, and whether writing was what failed.
    """
    folder, file = sys.argv[1:]
    try:
        write_graph(PrunableModel.from_pretrained(folder, device="cpu"), Path(file))
    except Exception as error:  # the exporter and the models raise whatever they like
        while error.__cause__ is not None:  # the exporter wraps what went wrong in advice on how to report it
            error = error.__cause__
        reason = " ".join(str(error).split()) or type(error).__name__
        print(json.dumps({"reason": reason[:120], "writing": isinstance(error, OSError)}))
        sys.exit(1)
