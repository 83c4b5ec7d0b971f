"""A plain reference for any architecture: one example at a time, eager attention, double precision, whole-weight gradients.

It takes from HeadPrune only where the projections of each row are and which features a head has; `check_features` tests
that by changing weights and watching which head outputs change. Nothing else is shared with the package.
"""

import copy

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers.pytorch_utils import Conv1D

PARTS = ("q", "k", "v", "out")


class Double(TorchFunctionMode):
    """Keeps double tensors in double precision where models cast to single precision (norms, softmax, rotary embeddings)."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if args and isinstance(args[0], torch.Tensor) and args[0].dtype is torch.double:
            function = torch.Tensor.double if function is torch.Tensor.float else function
            args = [torch.double if value is torch.float else value for value in args]
            kwargs = {name: torch.double if value is torch.float else value for name, value in kwargs.items()}
        return function(*args, **kwargs)


class Reference:
    """A copy of a model in double precision with eager attention.

    Args:
        model: the model as built by the library.
        wrapped: the `PrunableModel` of another copy, which has the head grid.
    """

    def __init__(self, model, wrapped):
        self.model = copy.deepcopy(model).double()
        self.model.set_attn_implementation("eager")
        self.model.requires_grad_(True)
        modules = dict(self.model.named_modules())
        paths = {module: path for path, module in wrapped.model.named_modules()}
        self.rows = [
            {part: (modules[paths[getattr(row, part).module]], getattr(row, part).features) for part in PARTS}
            | {"module": modules[row.name], "group": row.kv_group}
            for row in wrapped.grid.rows
        ]
        self._options = {"use_cache": False} if wrapped.generates else {}

    def inputs(self, example: dict) -> dict[str, torch.Tensor]:
        """Keyword arguments for one example; decoder inputs are made by the library's own rule."""
        if "pixel_values" in example:
            return {"pixel_values": torch.tensor([example["pixel_values"]], dtype=torch.double)}
        given = {"input_ids": torch.tensor([example["input_ids"]])}
        if "target_ids" in example:
            targets = torch.tensor([example["target_ids"]])
            rule = getattr(self.model, "prepare_decoder_input_ids_from_labels", None)
            start = torch.tensor([[self.model.config.decoder_start_token_id]])
            given["decoder_input_ids"] = rule(labels=targets) if rule else torch.cat([start, targets[:, :-1]], 1)
        return given

    def run(self, example: dict):
        """The logits, and for each row the inputs of its output projection and its attention probabilities, by call.

        Some models with attention sinks return probabilities without them, so there they are the derivatives of the head
        outputs with respect to the values.
        """
        outputs, probabilities, values = ([[] for _ in self.rows] for _ in range(3))

        def keep(row, number):
            def on_input(module, args):
                outputs[number].append(args[0])

            def on_result(module, args, result):
                parts = result if isinstance(result, tuple) else ()
                found = [p for p in parts if isinstance(p, torch.Tensor) and p.dim() == 4 and 0 <= p.min() <= p.max() <= 1]
                probabilities[number].extend(found[-1:])

            def on_value(module, args, result):
                values[number].append(result)

            yield row["out"][0].register_forward_pre_hook(on_input)
            yield row["module"].register_forward_hook(on_result)
            yield row["v"][0].register_forward_hook(on_value)

        hooks = [hook for number, row in enumerate(self.rows) for hook in keep(row, number)]
        with Double():
            logits = self.model(**self.inputs(example), **self._options, output_attentions=True).logits
        for hook in hooks:
            hook.remove()
        for number, row in enumerate(self.rows):
            whole = all(bool(((a.sum(-1) - 1).abs() < 1e-6).all()) for a in probabilities[number])
            if whole and getattr(row["module"], "sinks", None) is not None and torch.is_grad_enabled():
                calls = zip(outputs[number], values[number], strict=True)
                probabilities[number] = [self._derivatives(row, output, value) for output, value in calls]
        return logits, outputs, probabilities

    @staticmethod
    def _derivatives(row, output, value):
        """(1, H, T, S), the derivatives of the first feature of each head's output with respect to the same of its value."""
        heads = []
        for head, features in enumerate(row["out"][1]):
            own = row["v"][1][row["group"][head]][0]
            rows = [torch.autograd.grad(y, value, retain_graph=True)[0][0, :, own] for y in output[0, :, features[0]]]
            heads.append(torch.stack(rows))
        return torch.stack(heads)[None].detach()

    def scores(self, examples):
        """Return his (N, R, H), ae (N, R, H), gnorm (N, 3, R, H) and the logits of each example."""
        results = [self._one(example) for example in examples]
        return [np.stack(part) for part in zip(*(result[:3] for result in results), strict=True)]

    def _one(self, example):
        logits, outputs, probabilities = self.run(example)
        flat = [call for calls in outputs for call in calls]
        gradients = iter(torch.autograd.grad(loss(logits, example), flat, retain_graph=True))
        his, ae = [], []
        for row, calls, attentions in zip(self.rows, outputs, probabilities, strict=True):
            products = sum((call * next(gradients)).flatten(0, -2).sum(0) for call in calls)
            features = torch.as_tensor(row["out"][1])
            his.append(products[features].sum(1).abs())
            entropies = [-torch.special.xlogy(a, a).sum(-1)[0].mean(-1) for a in attentions]
            ae.append(torch.stack(entropies).mean(0) if entropies else torch.full((len(features),), torch.nan))
        norms = self._block_norms(torch.linalg.vector_norm(logits))
        return [torch.stack(his).detach().numpy(), torch.stack(ae).detach().numpy(), norms]

    def _block_norms(self, value):
        weights = list({id(row[part][0]): row[part][0].weight for row in self.rows for part in "qkv"}.values())
        gradients = dict(zip(map(id, weights), torch.autograd.grad(value, weights), strict=True))
        norms = np.empty((3, len(self.rows), len(self.rows[0]["q"][1])))
        for number, row in enumerate(self.rows):
            for part, name in enumerate("qkv"):
                layer, features = row[name]
                blocks = _outputs_first(layer, gradients[id(layer.weight)])[torch.as_tensor(features)]
                own = blocks.flatten(1).norm(dim=1).numpy()
                norms[part, number] = own if name == "q" else own[row["group"]]
        return norms

    @torch.no_grad()
    def zeroed_logits(self, examples, mask):
        """Logits of each example after the output weights of pruned heads are set to zero."""
        changed = copy.copy(self)
        changed.model = copy.deepcopy(self.model)
        modules = dict(changed.model.named_modules())
        names = {module: name for name, module in self.model.named_modules()}
        for row, kept in zip(self.rows, mask, strict=True):
            layer, features = row["out"]
            weight = modules[names[layer]].weight
            _outputs_first(layer, weight)[:, torch.as_tensor(features[~kept].ravel())] = 0
        with Double():
            return [changed.model(**self.inputs(e), **self._options).logits[0].numpy() for e in examples]

    @torch.no_grad()
    def check_features(self, example, per_row: int = 2) -> str | None:
        """Change the weights of some heads and name the first head whose change reaches the output of another head."""
        generator = torch.Generator().manual_seed(0)
        before = self.run(example)[1]
        for number, row in enumerate(self.rows):
            out = torch.as_tensor(row["out"][1])
            for name in "qkv":
                layer, features = row[name]
                chosen = torch.randperm(len(features), generator=generator)[:per_row].tolist()
                for head in chosen:
                    block = _outputs_first(layer, layer.weight)
                    index = torch.as_tensor(features[head])
                    kept = block[index].clone()
                    block[index] = kept + 0.01 * torch.randn(kept.shape, generator=generator, dtype=kept.dtype)
                    after = self.run(example)[1][number][0]
                    block[index] = kept
                    moved = (after - before[number][0]).abs().flatten(0, -2).amax(0)[out].amax(1)
                    own = [head] if name == "q" else np.flatnonzero(row["group"] == head).tolist()
                    found = (moved > 1e-9 * max(1.0, float(before[number][0].abs().max()))).nonzero().flatten().tolist()
                    if not (set(found) <= set(own) or _has_common_norm(row, features)):
                        return f"weights of {name} head {head} in row {number} change the outputs of heads {found}"
        return None


def _has_common_norm(row: dict, features: np.ndarray) -> bool:
    """Whether the module has a norm over all heads, which passes a change of one head on to the others (OLMo 2)."""
    return any(p.shape == (features.size,) for name, p in row["module"].named_parameters() if "norm" in name)


def _outputs_first(layer: nn.Module, weight: torch.Tensor) -> torch.Tensor:
    """A view (outputs, inputs) of a weight or its gradient; a Conv1D stores it transposed."""
    return weight.T if isinstance(layer, Conv1D) else weight


def loss(logits: torch.Tensor, example: dict) -> torch.Tensor:
    """Cross-entropy of one example: of its label, or the mean over its labeled or predicted tokens."""
    if logits.dim() == 2:
        return torch.nn.functional.cross_entropy(logits, torch.tensor([example["label"]]))
    if "labels" in example:
        return torch.nn.functional.cross_entropy(logits[0], torch.tensor(example["labels"]))
    if "target_ids" in example:
        return torch.nn.functional.cross_entropy(logits[0], torch.tensor(example["target_ids"]))
    return torch.nn.functional.cross_entropy(logits[0, :-1], torch.tensor(example["input_ids"][1:]))
