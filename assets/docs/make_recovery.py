"""Create recovery.csv and the numbers of RECOVERY.md: prune the built-in model, then fine-tune it.

    python -m assets.docs.make_recovery [FOLDER]        (FOLDER: finished runs, so that an interrupted run can resume)

Masks come from the scores of 32 tweets. Fine-tuning takes 200 steps of 32 training tweets with bfloat16 products; accuracy
uses the 960 evaluation tweets. Controls: the unpruned model with the same training, and random masks. Prints the numbers of
RECOVERY.md; 11 minutes on one processor core.
"""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import headprune_core as hp
from headprune_core.measure.curves import wilson
from headprune_core.measure.paired_tests import holm, mcnemar
from headprune_core.prune.recovery import LEARNING_RATE, recover

HERE = Path(__file__).parent
STEPS, BATCH, TRAINING, EVALUATION = 200, 32, 3888, 960  # 3 x 1296 tweets: the rarest class has 1296
RANDOM = 3


@dataclass(frozen=True)
class Run:
    """One fine-tuning run: criterion, sparsity, objective, and the seeds of mask and training."""

    choice: str
    sparsity: float
    objective: str = "labels"
    mask_seed: int = 0
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.choice}-{100 * self.sparsity:.0f}-{self.objective}-{self.mask_seed}-{self.seed}"


RUNS = [
    Run("none", 0.0),
    Run("HIS", 0.5),
    Run("HIS", 0.7),
    *(Run("random", 0.5, mask_seed=seed) for seed in range(RANDOM)),
    Run("HIS", 0.5, "teacher"),
    Run("HIS", 0.7, "teacher"),
    Run("HIES 0.5", 0.5),
    Run("HIES 0.5", 0.7),
    Run("HIS", 0.5, seed=1),
]


def main(folder: str | None = None) -> None:
    kept = None if folder is None else Path(folder)
    model = hp.PrunableModel.from_pretrained(device="cpu")
    few, many = hp.load_examples(size=32), hp.load_examples(split="evaluation", size=EVALUATION)
    rows = hp.load_examples(split="training", size=TRAINING)
    scores = hp.score_heads(model, few, metrics=("his", "ae"))
    cache = None if kept is None else hp.ResultCache(kept)
    masks = [mask_of(run, scores, model.grid.shape) for run in RUNS]
    before = hp.evaluate_masks(model, many, np.array(masks), cache=cache)
    found = []
    for run, mask in zip(RUNS, masks, strict=True):
        file = None if kept is None else kept / f"{run.name}.npz"
        if file is not None and file.exists():
            found.append(dict(np.load(file)))
            continue
        found.append(recovered(model, run, mask, rows, many))
        print(run.name, f"{found[-1]['right'].mean():.4f}, {found[-1]['seconds']:.0f} s", flush=True)
        if file is not None:
            np.savez(file, **found[-1])
    table = judged(before, found)
    table.to_csv(HERE / "recovery.csv", index=False, float_format="%.6g")
    print(markdown(table))


def mask_of(run: Run, scores: hp.HeadScores, shape: tuple[int, int]) -> np.ndarray:
    if run.choice == "random":
        return hp.prune_mask(np.random.default_rng(run.mask_seed).random(shape), run.sparsity)
    return hp.prune_mask(scores.hies(0.5) if run.choice.startswith("HIES") else scores.his, run.sparsity)


def recovered(model: hp.PrunableModel, run: Run, mask: np.ndarray, rows, many) -> dict[str, np.ndarray]:
    """Prune and fine-tune; return the results as arrays."""
    pruned, processor = hp.prune_heads(model, mask), time.process_time()
    options = {"steps": STEPS, "batch_size": BATCH, "dtype": "bfloat16", "seed": run.seed}
    tuned, took = recover(pruned, rows, **options, objective=run.objective, teacher=model)
    processor = time.process_time() - processor
    after = hp.evaluate_masks(tuned, many, np.ones((1, *mask.shape), bool))
    results = {"right": after.right[0] > 0, "decided": after.logits[0].argmax(-1), "after_loss": after.loss[0]}
    return results | {"loss": took.loss, "seconds": took.seconds, "processor_seconds": processor}


def judged(before: hp.MaskEvaluation, found: list[dict]) -> pd.DataFrame:
    """Return one row per run: accuracy before and after with CIs, and paired differences.

    The differences are from the same model before, from the unpruned model, and from the unpruned model with the same
    training. Their p values are Holm-corrected over the pruned models.
    """
    lines, unpruned, trained = [], before.right[0] > 0, found[0]["right"]
    expected = before.logits[0].argmax(-1)
    for number, (run, result) in enumerate(zip(RUNS, found, strict=True)):
        line = {"choice": run.choice, "sparsity": run.sparsity, "objective": run.objective, "mask_seed": run.mask_seed}
        line |= {"seed": run.seed, "steps": STEPS, "batch_size": BATCH, "rate": LEARNING_RATE}
        line |= {name: float(result[name]) for name in ("seconds", "processor_seconds")}
        line |= {"first_losses": result["loss"][:20].mean(), "last_losses": result["loss"][-20:].mean()}
        was, now = before.right[number] > 0, result["right"]
        for when, right in (("before", was), ("after", now)):
            low, high = wilson(right.sum(), len(right))
            line |= {when: right.mean(), f"{when}_low": float(low), f"{when}_high": float(high)}
        line |= {"loss_before": before.loss[number], "loss_after": float(result["after_loss"])}
        line |= {"agreement_before": before.agreement[number], "agreement_after": (result["decided"] == expected).mean()}
        for name, other in (("gain", was), ("to_unpruned", unpruned), ("to_trained", trained)):
            test = mcnemar(now, other)
            line |= {name: test.difference, f"{name}_low": test.low, f"{name}_high": test.high, f"{name}_p": test.p_value}
        lines.append(line)
    table = pd.DataFrame(lines)
    for name in ("gain", "to_unpruned", "to_trained"):
        table.loc[1:, f"{name}_p_holm"] = holm(table[f"{name}_p"][1:])
    his = next(result["right"] for run, result in zip(RUNS, found, strict=True) if run == Run("HIS", 0.5))
    for number, (run, result) in enumerate(zip(RUNS, found, strict=True)):
        if run.sparsity == 0.5 and run != Run("HIS", 0.5):
            test = mcnemar(his, result["right"])
            differences = {
                "his_less_this": test.difference,
                "his_low": test.low,
                "his_high": test.high,
                "his_p": test.p_value,
            }
            table.loc[number, list(differences)] = list(differences.values())
    return table


def markdown(table: pd.DataFrame) -> str:
    """Return the tables of RECOVERY.md."""
    lines = ["| Criterion | Sparsity | Objective | Before | After | Gain | vs. unpruned | vs. unpruned, fine-tuned |"]
    lines.append("|---" * 8 + "|")
    for _, line in table.iterrows():
        cells = [line.choice, f"{line.sparsity:.0%}", line.objective]
        cells += [
            f"{100 * line[when]:.1f} ({100 * line[f'{when}_low']:.1f} to {100 * line[f'{when}_high']:.1f})"
            for when in ("before", "after")
        ]
        for name in ("gain", "to_unpruned", "to_trained"):
            low, high = line[f"{name}_low"], line[f"{name}_high"]
            p = line[f"{name}_p" if np.isnan(line[f"{name}_p_holm"]) else f"{name}_p_holm"]
            cells.append(f"{100 * line[name]:+.1f} ({100 * low:+.1f} to {100 * high:+.1f}), p {p:.2g}")
        lines.append("| " + " | ".join(cells) + " |")
    against = table[table.his_p.notna()]
    lines += [
        f"HIS at 50% minus {line.choice} (mask seed {line.mask_seed}, {line.objective}, seed {line.seed}), both fine-tuned: "
        f"{100 * line.his_less_this:+.1f} ({100 * line.his_low:+.1f} to {100 * line.his_high:+.1f}), p {line.his_p:.2g}"
        for _, line in against.iterrows()
    ]
    shown = ["choice", "sparsity", "objective", "seconds", "processor_seconds", "first_losses", "last_losses"]
    shown += ["loss_before", "loss_after", "agreement_before", "agreement_after"]
    return "\n".join([*lines, "", table[shown].round(3).to_string(index=False)])


if __name__ == "__main__":
    main(*sys.argv[1:2])
