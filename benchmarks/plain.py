"""Plain computation of the three scores: one sentence at a time, eager attention weights, gradients of all weights.

One forward pass per sentence serves all layers. `layer_by_layer` reads the data once per layer, as the published notebooks
do. Written for BERT classifiers; it shares no code with the package.
"""

import torch
from torch.nn.functional import cross_entropy


class PlainBert:
    """A BERT classifier with eager attention and gradients of every weight."""

    def __init__(self, model):
        self.model = model
        model.set_attn_implementation("eager")
        model.requires_grad_(True)
        self.layers = [layer.attention for layer in model.bert.encoder.layer]
        self.heads = model.config.num_attention_heads

    def scores(self, sentences, labels, layers=None):
        """Return (his, ae, gnorm), each (rows, heads), of some layers; of all if None."""
        chosen = self.layers if layers is None else [self.layers[i] for i in layers]
        totals = torch.zeros(3, 3, len(chosen), self.heads, dtype=torch.double)  # his, ae, norms of q, k, v
        for ids, label in zip(sentences, labels, strict=True):
            totals += self._sentence(ids, label, chosen)
        means = totals / len(sentences)
        return means[0, 0], means[1, 0], means[2].prod(0)

    def layer_by_layer(self, sentences, labels, layers):
        """Return the same scores, reading the data once per layer."""
        return [self.scores(sentences, labels, [i]) for i in layers]

    def gnorm(self, sentences, every_weight=True):
        """Return Gnorm (rows, heads), from gradients of every weight of the model or of the Q, K and V weights only."""
        chosen = [[part.weight for part in (a.self.query, a.self.key, a.self.value)] for a in self.layers]
        self.model.requires_grad_(every_weight)
        for weight in (weight for row in chosen for weight in row):
            weight.requires_grad_(True)
        total = torch.zeros(len(chosen), 3, self.heads, dtype=torch.double)
        for ids in sentences:
            torch.linalg.vector_norm(self.model(input_ids=ids[None]).logits).backward()
            total += torch.stack([torch.stack([self._blocks(w.grad) for w in row]) for row in chosen]).double().cpu()
            self.model.zero_grad()
        return (total / len(sentences)).prod(1)

    @torch.no_grad()
    def mask_head(self, row, head):
        """Set the head's columns of the output projection to zero."""
        self.layers[row].output.dense.weight.unflatten(1, (self.heads, -1))[:, head] = 0

    def _sentence(self, ids, label, chosen):
        outputs = []
        hooks = [a.output.dense.register_forward_pre_hook(lambda _, inputs: outputs.append(inputs[0])) for a in chosen]
        result = self.model(input_ids=ids[None], output_attentions=True)
        for hook in hooks:
            hook.remove()
        for z in outputs:
            z.retain_grad()
        cross_entropy(result.logits, label[None]).backward(retain_graph=True)
        his = [(z * z.grad).detach().unflatten(-1, (self.heads, -1)).sum((0, 1, 3)).abs() for z in outputs]
        self.model.zero_grad()
        torch.linalg.vector_norm(result.logits).backward()
        norms = [[self._blocks(p.weight.grad) for p in (a.self.query, a.self.key, a.self.value)] for a in chosen]
        self.model.zero_grad()
        numbers = [self.layers.index(a) for a in chosen]
        attention = [result.attentions[i].detach()[0] for i in numbers]
        entropy = [-(a * a.clamp_min(1e-12).log()).sum(-1).mean(-1) for a in attention]
        norms = torch.stack([torch.stack(row) for row in norms], dim=1)
        his, entropy = torch.stack(his), torch.stack(entropy)
        return torch.stack([his.expand(3, -1, -1), entropy.expand(3, -1, -1), norms]).double().cpu()

    def _blocks(self, gradient):
        return gradient.unflatten(0, (self.heads, -1)).square().sum((1, 2)).sqrt()
