"""A job that takes long enough to be killed: python tests/helpers/killable_job.py KIND FOLDER

KIND is "curves" or "greedy", and FOLDER the folder of the result cache.
"""

import sys
import time

import numpy as np
from helpers.tiny_models import SMALL, random_examples, randomized
from transformers import BertConfig, BertForSequenceClassification

import headprune_core as hp

PAUSE = 0.05  # seconds before each forward pass, which makes the job slow on any machine


def work(kind, cache):
    """The DataFrame of a curve (40 masks, 40 examples), or (order, scores, accuracy) of 8 greedy steps."""
    size = SMALL | {"hidden_size": 64, "num_hidden_layers": 4}
    model = hp.PrunableModel(randomized(lambda: BertForSequenceClassification(BertConfig(**size, num_labels=3))))
    if kind == "curves":
        return hp.sparsity_curves(
            model,
            random_examples(count=40, longest=40, seed=1),
            hp.HeadScores(model.grid, {}),
            methods=["random"],
            sparsities=np.linspace(0, 0.9, 8),
            n_random=5,
            batch_size=8,
            cache=cache,
        )
    evaluation = random_examples(count=16, seed=2)
    found = hp.greedy_gnorm(model, random_examples(count=16), evaluation=evaluation, steps=8, batch_size=4, cache=cache)
    return found.order, found.scores, found.accuracy


def main(kind, folder):
    logits = hp.PrunableModel.logits

    def slowly(self, *arguments, **options):
        time.sleep(PAUSE)
        return logits(self, *arguments, **options)

    hp.PrunableModel.logits = slowly
    work(kind, hp.ResultCache(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
