"""Labels and descriptions of the scoring options, and a short text on the options that differ from the defaults."""

from pages.parts.common import labels
from pages.parts.common.workspace import ScoreOptions

NAMES = {  # value of an option -> (label, description)
    "example": ("Per example", "Default (paper): sum over tokens, then absolute value per example."),
    "token": (
        "Per token",
        "Absolute value per token, as in Michel et al.'s code; signs do not cancel within an example.",
    ),
    "batch": (
        "Per batch",
        "Absolute value of the batch sum, as in several public implementations; signs cancel across examples.",
    ),
    "loss": ("Task loss", "Loss with the labels, such as cross-entropy (for a language model, with the next tokens)."),
    "prediction": ("Model prediction", "Loss with the model's own prediction as the target. Needs no labels."),
    "logit_norm": ("Logit norm", "L2 norm of the logits. Needs no labels."),
    "exact": ("Exact", "Default (paper): entropy of the attention distribution in nats."),
    "normalized": ("Normalized", "Divided by log(number of visible keys), so uniform attention scores 1."),
    "A": ("Variant A", "The sum of −a log a written out: equal to the exact entropy, for comparison."),
    "B": ("Variant B", "The sum of −a log(a + 1e-8), as in several implementations."),
    "C": ("Variant C", "The sum of −(a + 1e-8) log(a + 1e-8), as in other implementations."),
    True: ("Included", "Special tokens such as [CLS] and [SEP] count as queries and keys."),
    False: ("Excluded", "Special tokens are excluded; attention over the remaining tokens is renormalized."),
    "float32": ("float32", "Default: the precision that the model is loaded in."),
    "bfloat16": ("bfloat16", "Matrix multiplications with 8 bits of precision: faster on hardware that supports them."),
}
FIELDS = {  # option -> (label, help)
    "his_reduction": ("HIS reduction", "How per-token products are reduced to one score per example"),
    "objective": ("HIS objective", "The function that HIS differentiates"),
    "gnorm_objective": ("Gnorm objective", "The function that Gnorm differentiates; in the paper, the norm of the logits"),
    "entropy": ("Entropy", "How the entropy of the attention distribution is computed"),
    "special_tokens": ("Special tokens", "Whether special tokens are included in the entropy"),
    "dtype": (
        labels.DTYPE,
        "Precision of matrix multiplications. Scores are always accumulated in float64.",
    ),
}


def describe_options(options: ScoreOptions) -> str:
    """Return the options that differ from the defaults, as in "HIS reduction: Per token"; empty if none does."""
    default = ScoreOptions()
    changed = [name for name in FIELDS if getattr(options, name) != getattr(default, name)]
    return " · ".join(f"{FIELDS[name][0]}: {NAMES[getattr(options, name)][0]}" for name in changed)
