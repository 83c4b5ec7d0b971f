"""A trained vision model for the tests: a small ViT, trained on scikit-learn's 1,797 handwritten digits in a few seconds.

`python tests/helpers/vision.py` trains it and prints its accuracy on held-out digits.
"""

import datasets
import numpy as np
import torch
import transformers as t
from sklearn.datasets import load_digits

HELD_OUT = 360
CONFIG = {
    "image_size": 8,
    "patch_size": 2,
    "num_channels": 1,
    "hidden_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 96,
    "num_labels": 10,
}


def digits() -> tuple[datasets.Dataset, datasets.Dataset]:
    """(training, held-out) images of 8 x 8 pixels from -1 to 1, with labels 0 to 9, in a fixed random order."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    pixels = (images.reshape(-1, 1, 8, 8) / 8.0 - 1.0).astype(np.float32)[order]
    table = {"pixel_values": list(pixels), "label": labels[order].tolist()}
    dataset = datasets.Dataset.from_dict(table)
    return dataset.select(range(HELD_OUT, len(dataset))), dataset.select(range(HELD_OUT))


def train(epochs: int = 8, seed: int = 0) -> t.ViTForImageClassification:
    """Train the model and return it in eval mode."""
    torch.manual_seed(seed)
    model = t.ViTForImageClassification(t.ViTConfig(**CONFIG)).train()
    training, _ = digits()
    pixels = torch.tensor(np.array(training["pixel_values"], dtype=np.float32))
    labels = torch.tensor(training["label"])
    steps = epochs * (len(labels) // 64 + 1)
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for _ in range(epochs):
        for some in torch.randperm(len(labels)).split(64):
            optimizer.zero_grad()
            model(pixel_values=pixels[some], labels=labels[some]).loss.backward()
            optimizer.step()
            schedule.step()
    return model.eval()


if __name__ == "__main__":
    import headprune_core as hp

    model, (_, held_out) = hp.PrunableModel(train()), digits()
    scores = hp.score_heads(model, held_out.select(range(64)))
    unpruned = np.ones((1, *model.grid.shape), bool)
    print(f"accuracy on {HELD_OUT} held-out digits: {hp.evaluate_masks(model, held_out, unpruned).accuracy[0]:.3f}")
    print("HIS by layer and head:", scores.his.round(3), sep="\n")
