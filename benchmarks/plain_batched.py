"""Plain batched scores: the same three scores as a careful script without HeadPrune would compute them on a GPU.

Examples are padded into batches and run with eager attention, one forward and two backward passes per batch. Gnorm forms
every per-example weight gradient from the inputs and output gradients of the Q, K and V layers, as differential-privacy
libraries do. Written for BERT classifiers and LLaMA language models; it shares no code with the package.
"""

import copy

import torch
from torch.nn.functional import cross_entropy


def share_weights(model):
    """A copy of a model with modules of its own that uses the same parameters and buffers."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


class PlainBatched:
    """HIS, AE and Gnorm of a BERT classifier or a LLaMA language model, in padded batches.

    Attributes:
        model: the model, with eager attention and frozen weights.
        layers: (q, k, v, output projection) of each layer.
        heads: query heads per layer.
    """

    def __init__(self, model):
        self.model = model
        model.set_attn_implementation("eager")
        model.requires_grad_(False)
        if hasattr(model, "bert"):
            attentions = [layer.attention for layer in model.bert.encoder.layer]
            self.layers = [(a.self.query, a.self.key, a.self.value, a.output.dense) for a in attentions]
        else:
            attentions = [layer.self_attn for layer in model.model.layers]
            self.layers = [(a.q_proj, a.k_proj, a.v_proj, a.o_proj) for a in attentions]
        self.heads = model.config.num_attention_heads
        self.groups = getattr(model.config, "num_key_value_heads", None) or self.heads

    def scores(self, sentences, labels=None, batch_size=32):
        """Return (his, ae, gnorm), each a float64 tensor (rows, heads) on the CPU.

        Args:
            sentences: token ids of each example, lists of integers.
            labels: class of each example; None for a language model, whose loss is the mean over its predicted tokens.
            batch_size: examples per batch, in the order given.
        """
        total = 0.0
        for start in range(0, len(sentences), batch_size):
            part = slice(start, start + batch_size)
            total = total + self._batch(sentences[part], None if labels is None else labels[part])
        means = total / len(sentences)
        return means[0], means[1], means[2:].prod(0)

    def _batch(self, sentences, labels):
        device = self.model.device
        longest = max(map(len, sentences))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in sentences], device=device)
        real = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in sentences], device=device)
        inputs, outputs, heads = [], [], []
        hooks = [self.model.get_input_embeddings().register_forward_hook(lambda _, __, output: output.requires_grad_())]
        for *qkv, projection in self.layers:
            hooks.append(qkv[0].register_forward_pre_hook(lambda _, given: inputs.append(given[0])))
            hooks += [layer.register_forward_hook(lambda _, __, output: outputs.append(output)) for layer in qkv]
            hooks.append(projection.register_forward_pre_hook(lambda _, given: heads.append(given[0])))
        result = self.model(input_ids=ids, attention_mask=real, output_attentions=True)
        for hook in hooks:
            hook.remove()
        loss, norm = self._objectives(result.logits, ids, real, labels)
        gradients = torch.autograd.grad(loss.sum(), heads, retain_graph=True)
        his = [self._importance(z, gradient) for z, gradient in zip(heads, gradients, strict=True)]
        ae = [self._entropy(attention.detach(), real) for attention in result.attentions]
        norms = self._norms(inputs, torch.autograd.grad(norm.sum(), outputs))
        return torch.stack([torch.stack(his), torch.stack(ae), *norms]).double().cpu()

    def _objectives(self, logits, ids, real, labels):
        """Loss and norm of the logits of each example, (N,) each."""
        if labels is not None:
            return cross_entropy(logits, torch.tensor(labels, device=ids.device), reduction="none"), logits.norm(dim=-1)
        predicted = real[:, 1:]
        losses = cross_entropy(logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(predicted.shape)
        norm = (logits.square().sum(-1) * real).sum(-1).sqrt()
        return (losses * predicted).sum(-1) / predicted.sum(-1), norm

    def _importance(self, z, gradient):
        return (z * gradient).detach().unflatten(-1, (self.heads, -1)).sum((1, 3)).abs().sum(0)

    def _entropy(self, attention, real):
        entropy = -(attention * attention.clamp_min(1e-12).log()).sum(-1)  # (N, H, T)
        return ((entropy * real[:, None]).sum(-1) / real.sum(-1)[:, None]).sum(0)

    def _norms(self, inputs, gradients):
        """Three tensors (rows, heads): norms of the Q, K and V blocks, summed over the examples."""
        norms = [[], [], []]
        for row, x in enumerate(inputs):
            for part, gradient in enumerate(gradients[3 * row : 3 * row + 3]):
                weights = torch.einsum("nto,nti->noi", gradient, x.detach())
                blocks = weights.unflatten(1, (self.groups if part else self.heads, -1)).square().sum((2, 3)).sqrt().sum(0)
                norms[part].append(blocks.repeat_interleave(self.heads // len(blocks)))
        return [torch.stack(part) for part in norms]
