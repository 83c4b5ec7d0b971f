"""The documentation table of all criteria, as Markdown: assets/docs/CRITERIA.md is written from it."""

from . import ALL

INTRODUCTION = """# Pruning criteria

A criterion ranks the attention heads of a model; the head with the lowest value in the ranking is pruned first. This table
is generated from `headprune_core/masks/criteria/`, where each criterion has one file that gives its formula. To update it,
run `python -m headprune_core.masks.criteria.table > assets/docs/CRITERIA.md`.

*Needs* names the scores that a criterion reads, or the call that produces its ranking. *Labels* says whether that needs a
labeled calibration set with the default options. *Cost* is the cost class: one backward pass over the calibration set,
forward passes only, many runs, or none.
"""
SCORES = {"his": "HIS", "ae": "AE", "gnorm": "Gnorm"}
HEADER = ("Name", "Label", "Paper", "Needs", "Labels", "Cost", "Direction")


def criteria_table() -> str:
    """Return the documentation of all criteria: an introduction and one table row per entry of `ALL`."""
    rows = [HEADER, tuple("---" for _ in HEADER)]
    for entry in ALL:
        needs = (
            f"`{entry.produced_by}`" if entry.produced_by else ", ".join(SCORES[name] for name in entry.needs) or "nothing"
        )
        labels = "yes" if entry.needs_labels else "no"
        rows.append((f"`{entry.name}`", entry.label, entry.paper, needs, labels, entry.cost, entry.direction))
    return INTRODUCTION + "\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


if __name__ == "__main__":
    print(criteria_table(), end="")
