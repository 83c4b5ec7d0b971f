"""Effects of masks on a model: accuracy, curves, paired tests, Greedy-Gnorm, leave-one-out ablation and random baselines.

Weights are never changed here: heads are only masked. Selecting alpha belongs to `alpha_choice`, removing heads to `prune`.
"""
