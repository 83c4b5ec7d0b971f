"""Capture the activations of one forward pass that scores need: head outputs, and inputs and outputs of Q, K and V.

Gradients are taken with respect to these activations, never to weights, with `torch.autograd.grad`, never into
`parameter.grad`: the model stays frozen and can be shared. A module that several layers share has one entry per layer.
"""

import torch
from torch import Tensor, nn

from headprune_core.model.attention_hooks import AttentionCall
from headprune_core.model.head_layout import HeadGrid


class ActivationCapture:
    """Activations of one forward pass, by module, with one tensor per layer that uses the module.

    Pass `on_attention` and `on_projection` to `AttentionHooks` to fill it.

    Attributes:
        outputs: Head outputs (N, T, H, D) of each attention module, if `heads` is set.
        inputs: Inputs (N, T, d_in) of each Q, K and V projection, if `projections` is set.
        results: Outputs (N, T, d_out) of each Q, K and V projection, if `projections` is set.
    """

    def __init__(self, grid: HeadGrid, *, heads: bool, projections: bool):
        self.outputs: dict[nn.Module, list[Tensor]] = {row.module: [] for row in grid.rows} if heads else {}
        modules = {p.module for row in grid.rows for p in (row.q, row.k, row.v)} if projections else ()
        self.inputs: dict[nn.Module, list[Tensor]] = {module: [] for module in modules}
        self.results: dict[nn.Module, list[Tensor]] = {module: [] for module in modules}

    def on_attention(self, call: AttentionCall) -> None:
        """Capture the head outputs of an attention call."""
        if self.outputs:
            self.outputs[call.module].append(_differentiable(call.output))

    def on_projection(self, module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Capture the input and output of a projection, and return the output unchanged."""
        if self.inputs:
            self.inputs[module].append(x)
            self.results[module].append(_differentiable(y))
        return y

    def gradients(
        self, objective: Tensor, *kinds: dict[nn.Module, list[Tensor]], retain_graph: bool = False
    ) -> tuple[dict[nn.Module, list[Tensor]], ...]:
        """Compute gradients with one backward pass.

        Args:
            objective: (N,) objective of each example.
            *kinds: `outputs`, `results` or both.
            retain_graph: Whether a later backward pass needs the graph.

        Returns:
            For each of `kinds`, gradients of the same structure. They are zero if the objective does not depend on a
            tensor, as in a row without heads.
        """
        flat = [tensor for kind in kinds for tensors in kind.values() for tensor in tensors]
        if objective.requires_grad:
            options = {"retain_graph": retain_graph, "materialize_grads": True}
            gradients = iter(torch.autograd.grad(objective.sum(), flat, **options))
        else:  # no tensor affects the objective, for example if only encoder heads are left, which nothing reads
            gradients = map(torch.zeros_like, flat)
        return tuple({module: [next(gradients) for _ in tensors] for module, tensors in kind.items()} for kind in kinds)


def _differentiable(tensor: Tensor) -> Tensor:
    """Return the tensor with gradient tracking; below the first row, nothing needs it."""
    return tensor if tensor.requires_grad else tensor.requires_grad_()
