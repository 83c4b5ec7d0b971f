"""Create roles.csv and print the tables of ROLES.md: the roles of the heads of three models, and what they do not tell.

    python -m assets.docs.make_roles

The models are the built-in one, SmolLM2-135M-Instruct (needs requirements-llm.txt), and a BERT-base with random weights and
the built-in vocabulary. All read the 32 calibration tweets. Leave-one-out ablation is that of leave_one_out.csv, on the 960
evaluation tweets.
"""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from transformers import BertConfig, BertForSequenceClassification

import headprune_core as hp
from headprune_core.figures.traits.role_style import ROLE_TITLES

HERE = Path(__file__).parent
COLUMNS = ["row", "head", "primary", "largest", "score", "null", "lift", "low", "entropy", "evidence"]
THRESHOLDS = (0.1, 0.25, 0.5)


def random_bert_base() -> hp.PrunableModel:
    """A BERT-base as at the beginning of training, with the vocabulary of the built-in tokenizer."""
    tokenizer = hp.PrunableModel.from_pretrained("embedded").tokenizer
    torch.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), num_labels=3)).eval()
    return hp.PrunableModel(model, tokenizer)


MODELS = {
    "Built-in model": lambda: hp.PrunableModel.from_pretrained("embedded"),
    "SmolLM2-135M-Instruct": lambda: hp.PrunableModel.from_pretrained("smollm2"),
    "BERT-base with random weights": random_bert_base,
}


def traits_of(name: str) -> hp.HeadTraits:
    """Return the traits of one of MODELS on the calibration tweets."""
    return hp.head_traits(MODELS[name](), hp.load_examples("embedded"), dtype="float32")


def main() -> None:
    found = {}
    for name in MODELS:
        start = time.perf_counter()
        found[name] = traits_of(name)
        print(f"{name}: {time.perf_counter() - start:.0f} s, with loading")
    tables = [traits.roles()[COLUMNS].assign(model=name) for name, traits in found.items()]
    everything = pd.concat(tables, ignore_index=True)
    everything[["model", *COLUMNS]].to_csv(HERE / "roles.csv", index=False, float_format="%.4g")
    print("\n" + counts_table({name: traits.roles() for name, traits in found.items()}))
    for threshold in THRESHOLDS:
        stable = [f"{name} {traits.label_stability(threshold):.0%}" for name, traits in found.items()]
        named = [(~traits.roles(threshold).primary.isin(["mixed", "broad"])).mean() for traits in found.values()]
        print(f"threshold {threshold:.0%}: same role in both halves: {stable}; heads with a role: {np.round(named, 3)}")
    print("\n" + grid_table(found["Built-in model"].roles()))
    for measure in ("abs_loss_change", "loss_change"):
        compared = effect_by_role(found["Built-in model"], measure)
        print(f"\n{measure}: all heads {compared.mean:.4f}. {compared.verdict}\n{effect_table(compared)}")
    model = MODELS["Built-in model"]()
    start = time.perf_counter()
    distances = hp.head_distances(model, hp.load_examples("embedded"))
    print(f"\ndistances of the built-in model: {time.perf_counter() - start:.1f} s")
    for head in ((0, 2), (1, 8)):
        print(head, distances.nearest(*head, 3).round(3).to_dict("records"))


def effect_by_role(traits: hp.HeadTraits, measure: str) -> hp.RoleAblation:
    """Return the effect of masking a head of the built-in model, by role."""
    effects = pd.read_csv(HERE / "leave_one_out.csv")[f"{measure}_evaluation"].to_numpy().reshape(traits.grid.shape)
    means = hp.LeaveOneOut(traits.grid, effects[None], np.zeros_like(effects), float("nan"), "loss")
    return hp.role_ablation(means, traits.roles(), measure=measure)


def counts_table(tables: dict[str, pd.DataFrame]) -> str:
    """Return a Markdown table of the number of heads per role and model."""
    counts = pd.DataFrame({name: table.primary.value_counts() for name, table in tables.items()}).fillna(0).astype(int)
    heads = [f"{name} ({len(table)} heads)" for name, table in tables.items()]
    lines = ["| Role | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    lines += [
        f"| {title} | " + " | ".join(str(counts[name].get(role, 0)) for name in tables) + " |"
        for role, title in ROLE_TITLES.items()
        if role in counts.index
    ]
    return "\n".join(lines)


def grid_table(table: pd.DataFrame) -> str:
    """Return a Markdown table of the roles by layer and head."""
    grid = table.pivot(index="row", columns="head", values="primary")
    lines = ["| Layer | " + " | ".join(map(str, grid.columns)) + " |", "|---" * (len(grid.columns) + 1) + "|"]
    return "\n".join(lines + [f"| {row} | " + " | ".join(grid.loc[row]) + " |" for row in grid.index])


def effect_table(compared: hp.RoleAblation) -> str:
    """Return a Markdown table of the effect of masking a head, by role."""
    lines = ["| Role | Heads | Mean (95% CI) | Difference | p | p, Holm |", "|---|---|---|---|---|---|"]
    for line in compared.table.itertuples():
        interval = f" ({line.low:.4f} to {line.high:.4f})" if np.isfinite(line.low) else ""
        difference = f"{line.difference:+.4f}".replace("-", "−")
        numbers = f"{line.mean:.4f}{interval} | {difference} | {line.p_value:.3f} | {line.p_holm:.2f}"
        lines.append(f"| {ROLE_TITLES[line.role]} | {line.heads} | {numbers} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
