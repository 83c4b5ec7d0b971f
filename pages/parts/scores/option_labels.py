"""Options of the scores in words: what each is called, what it is for, and what differs from the papers' own way."""

from pages.parts.common.workspace import ScoreOptions

NAMES = {  # what people read, and one sentence on each
    "example": ("By text", "The paper's formula: the absolute value is taken of each text's sum over its tokens."),
    "token": ("By token", "The absolute value is taken of every token, as in Michel's own code: nothing cancels in a text."),
    "batch": (
        "By batch",
        "The absolute value is taken of a batch's sum, as in several public codes: texts cancel.",
    ),
    "loss": ("Task loss", "The cross-entropy of the right answer (for a language model, of the next tokens)."),
    "prediction": ("The model's own answer", "The same with the model's answer in place of the label: needs no labels."),
    "logit_norm": ("Norm of the logits", "How large the output is as a whole, whatever the right answer may be."),
    "exact": ("Exact", "In nats, as in the paper: over how many tokens a head spreads its attention."),
    "normalized": (
        "Normalized",
        "Divided by the entropy of even attention over the tokens in sight.",
    ),
    "A": ("Variant A", "The sum of -a log a written out: the same as exact, for comparison."),
    "B": ("Variant B", "The sum of -a log(a + 1e-8), as in some codes: inside the logarithm alone."),
    "C": ("Variant C", "The sum of -(a + 1e-8) log(a + 1e-8), as in other codes: on both sides."),
    True: ("Counted", "Marks such as [CLS] and [SEP] count as tokens that look and are looked at."),
    False: ("Left out", "Entropy is over words alone; what heads park on [CLS] and [SEP] does not count."),
    "float32": ("float32", "The precision that the model is loaded in."),
    "bfloat16": ("bfloat16", "Matrix products with 8 bits of precision: faster where the hardware has them."),
}
FIELDS = {  # option -> what it is called, and why it is there
    "his_reduction": ("HIS", "How products of single tokens become one number for a text"),
    "objective": ("HIS of", "What is differentiated for HIS"),
    "gnorm_objective": ("Gnorm of", "What is differentiated for Gnorm; the paper's is the norm of the logits"),
    "entropy": ("Entropy", "How the spread of a head's attention is measured"),
    "special_tokens": ("Special tokens", "Whether the tokenizer's marks count in the entropy"),
    "dtype": ("Precision", "Of matrix products; scores are added up in double precision either way"),
}


def describe_options(options: ScoreOptions) -> str:
    """What differs from the papers' own way, in a few words; empty where nothing does."""
    usual = ScoreOptions()
    there = [(FIELDS[name][0], getattr(options, name)) for name in FIELDS if getattr(options, name) != getattr(usual, name)]
    return " · ".join(f"{what}: {NAMES[value][0]}" for what, value in there)
