"""Two-layer models whose heads are constructed for one role each, and inputs that show every role.

The residual stream is made of blocks of one-hot features: token, position and, for GPT-2, the previous token, which a head
of the first layer writes for the induction head of the second. Feed-forward layers add nothing. All vectors have the same
mean and the same variance before the first layer, so layer norms scale them alike.
"""

import datasets
import numpy as np
import torch
import transformers as t

VOCABULARY, LENGTH, SIZE, HEADS = 12, 16, 64, 4
TOKEN, POSITION, PREVIOUS = (slice(0, 12), slice(12, 28), slice(28, 40))
END, MARK = 1, 2  # the delimiter, and a token that is in every text
STRENGTH = 8.0
CAUSAL = [["previous", "first", "self", "delimiter"], ["induction", "same_token", "local", "sink"]]
BIDIRECTIONAL = [["previous", "next", "segment", "self"], ["first", "delimiter", "broad", "local"]]


def causal_model() -> t.PreTrainedModel:
    """A GPT-2 with a head for each role that a causal model can have."""
    config = t.GPT2Config(
        vocab_size=VOCABULARY,
        n_positions=LENGTH,
        n_embd=SIZE,
        n_layer=2,
        n_head=HEADS,
        bos_token_id=0,
        eos_token_id=END,
        pad_token_id=0,
    )
    model = zeroed(t.GPT2LMHeadModel(config))
    with torch.no_grad():
        model.transformer.wte.weight[:, TOKEN] = torch.eye(VOCABULARY)
        model.transformer.wpe.weight[:, POSITION] = torch.eye(LENGTH)
        for block, roles in zip(model.transformer.h, CAUSAL, strict=True):
            weight, bias = block.attn.c_attn.weight, block.attn.c_attn.bias  # (inputs, 3 outputs)
            for head, role in enumerate(roles):
                q, k = pattern(role)
                part = slice(16 * head, 16 * head + 16)
                weight[:, :SIZE][:, part], weight[:, SIZE : 2 * SIZE][:, part] = q[0], k[0]
                bias[:SIZE][part], bias[SIZE : 2 * SIZE][part] = q[1], k[1]
                if role == "previous":  # it copies the token into the block of the previous token
                    weight[TOKEN, 2 * SIZE + 16 * head : 2 * SIZE + 16 * head + VOCABULARY] = torch.eye(VOCABULARY)
                    block.attn.c_proj.weight[16 * head : 16 * head + VOCABULARY, PREVIOUS] = torch.eye(VOCABULARY)
    return model.eval()


def bidirectional_model() -> t.PreTrainedModel:
    """A BERT with a head for each role that an encoder can have, and one with uniform attention."""
    config = t.BertConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=LENGTH,
        hidden_size=SIZE,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        intermediate_size=8,
        pad_token_id=0,
        eos_token_id=END,
    )
    model = zeroed(t.BertForSequenceClassification(config))
    with torch.no_grad():
        embeddings = model.bert.embeddings
        embeddings.word_embeddings.weight[:, TOKEN] = torch.eye(VOCABULARY)
        embeddings.position_embeddings.weight[:, POSITION] = torch.eye(LENGTH)
        embeddings.token_type_embeddings.weight[:, 40:42] = torch.eye(2)
        for layer, roles in zip(model.bert.encoder.layer, BIDIRECTIONAL, strict=True):
            attention = layer.attention.self
            for head, role in enumerate(roles):
                part = slice(16 * head, 16 * head + 16)
                for projection, (weight, bias) in zip((attention.query, attention.key), pattern(role), strict=True):
                    projection.weight[part], projection.bias[part] = weight.T, bias
    return model.eval()


def pattern(role: str):
    """(weight (64, 16), bias (16,)) of the query and of the key of a head of this role."""
    q, k = [(torch.zeros(SIZE, 16), torch.zeros(16)) for _ in range(2)]
    place, token = torch.eye(LENGTH), torch.eye(VOCABULARY)
    if role in ("previous", "next", "self", "local"):
        reach = {"previous": [1], "next": [-1], "self": [0], "local": range(-3, 4)}[role]
        q[0][POSITION], k[0][POSITION] = STRENGTH * sum(moved(place, by) for by in reach), place
    elif role in ("first", "delimiter", "sink"):
        where = {"first": POSITION.start, "delimiter": END, "sink": MARK}[role]
        q[1][0], k[0][where, 0] = STRENGTH, 1.0
    elif role == "induction":
        q[0][TOKEN, :VOCABULARY], k[0][PREVIOUS, :VOCABULARY] = STRENGTH * token, token
    elif role == "same_token":
        q[0][TOKEN, :VOCABULARY], k[0][TOKEN, :VOCABULARY] = STRENGTH * token, token
        bits = (torch.arange(LENGTH)[:, None] >> torch.arange(4) & 1) * 2.0 - 1.0  # less for the position itself
        q[0][POSITION, VOCABULARY:], k[0][POSITION, VOCABULARY:] = -STRENGTH / 12 * bits, bits
    elif role == "segment":
        q[0][40:42, :2], k[0][40:42, :2] = STRENGTH * torch.eye(2), torch.eye(2)
    return q, k


def moved(identity, by: int):
    """A matrix that maps the position i to the position i - by."""
    return torch.diag(torch.ones(LENGTH - abs(by)), -by)


def zeroed(model):
    """All weights 0; layer norms change nothing but mean and variance."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(1.0 if ("ln_" in name or "LayerNorm" in name) and name.endswith("weight") else 0.0)
    return model


def texts(count: int = 24, seed: int = 0) -> datasets.Dataset:
    """Random words that repeat in the second half, with delimiters and the mark among them."""
    generator, rows = np.random.default_rng(seed), []
    for _ in range(count):
        words = [*generator.permutation(np.arange(3, VOCABULARY))[:6], END]
        rows.append([3, MARK, *words, *words][:LENGTH])
    return datasets.Dataset.from_dict({"input_ids": [[int(token) for token in row] for row in rows]})


def pairs(count: int = 24, seed: int = 0) -> datasets.Dataset:
    """Pairs of random texts with delimiters."""
    generator, rows, types = np.random.default_rng(seed), [], []
    for _ in range(count):
        size = int(generator.integers(6, 10))
        words = generator.integers(2, VOCABULARY, LENGTH).tolist()
        words[size - 1] = words[-1] = END
        rows.append(words)
        types.append([0] * size + [1] * (LENGTH - size))
    return datasets.Dataset.from_dict({"input_ids": rows, "token_type_ids": types})
