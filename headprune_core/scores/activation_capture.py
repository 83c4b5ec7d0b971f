"""What one forward pass leaves behind for the scores: the heads' outputs, and the inputs and outputs of q, k and v.

Gradients are taken with respect to these, never to weights, and by `torch.autograd.grad`, never into `parameter.grad`: the
model stays frozen and can be shared. A module that several layers share has one entry a layer.
"""

import torch
from torch import Tensor, nn

from headprune_core.model.attention_hooks import AttentionCall
from headprune_core.model.head_layout import HeadGrid


class ActivationCapture:
    """Keeps heads' outputs (`heads`) and what went through the q, k and v projections (`projections`), where asked to."""

    def __init__(self, grid: HeadGrid, *, heads: bool, projections: bool):
        self.outputs: dict[nn.Module, list[Tensor]] = {row.module: [] for row in grid.rows} if heads else {}
        modules = {p.module for row in grid.rows for p in (row.q, row.k, row.v)} if projections else ()
        self.inputs: dict[nn.Module, list[Tensor]] = {module: [] for module in modules}
        self.results: dict[nn.Module, list[Tensor]] = {module: [] for module in modules}

    def on_attention(self, call: AttentionCall) -> None:
        if self.outputs:
            self.outputs[call.module].append(_differentiable(call.output))

    def on_projection(self, module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        if self.inputs:
            self.inputs[module].append(x)
            self.results[module].append(_differentiable(y))
        return y

    def gradients(
        self, objective: Tensor, *kinds: dict[nn.Module, list[Tensor]], retain_graph: bool = False
    ) -> tuple[dict[nn.Module, list[Tensor]], ...]:
        """By one backward pass from the examples' objectives (N,): the gradients at .outputs, .results or both.

        Zero where there is no way from a tensor to the objectives, as in a row that has lost all its heads.
        """
        flat = [tensor for kind in kinds for tensors in kind.values() for tensor in tensors]
        if objective.requires_grad:
            options = {"retain_graph": retain_graph, "materialize_grads": True}
            found = iter(torch.autograd.grad(objective.sum(), flat, **options))
        else:  # no way at all, as when an encoder's heads are left and none that look at it
            found = map(torch.zeros_like, flat)
        return tuple({module: [next(found) for _ in tensors] for module, tensors in kind.items()} for kind in kinds)


def _differentiable(tensor: Tensor) -> Tensor:
    """Something that a gradient can be taken by; nothing below the first row needs one."""
    return tensor if tensor.requires_grad else tensor.requires_grad_()
