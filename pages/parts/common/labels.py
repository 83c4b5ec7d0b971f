"""Labels that several pages share: page names, widget labels and acronyms, so that one setting has one name everywhere."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Page:
    """A page of the app: script in pages/views, navigation label and heading, the question it answers, icon, URL path."""

    view: str
    title: str
    question: str
    icon: str
    path: str

    @property
    def script(self) -> str:
        """The path that `st.page_link` and `st.switch_page` take."""
        return f"pages/views/{self.view}.py"


PAGES = {
    page.view: page
    for page in (
        Page("model_and_data", "Model & data", "Which attention heads matter?", ":material/description:", "model"),
        Page("head_scores", "Head scores", "How important is each head?", ":material/grid_on:", "scores"),
        Page("inspector", "Head inspector", "What does a head do?", ":material/search:", "head"),
        Page("one_text", "One text", "What does the model do with one text?", ":material/short_text:", "text"),
        Page(
            "finder",
            "Head finder",
            "Which heads stand out, and which roles do they have?",
            ":material/manage_search:",
            "finder",
        ),
        Page(
            "orthogonality",
            "Orthogonality",
            "Are importance and entropy correlated?",
            ":material/scatter_plot:",
            "orthogonality",
        ),
        Page("uncertainty", "Uncertainty", "How stable are scores and rankings?", ":material/rule:", "uncertainty"),
        Page("alpha", "Alpha", "Which heads are pruned at each alpha?", ":material/tune:", "alpha"),
        Page("alpha_choice", "Choice of alpha", "Which alpha gives the best mask?", ":material/balance:", "alpha_choice"),
        Page(
            "greedy",
            "Greedy-Gnorm",
            "What changes if heads are rescored after each step?",
            ":material/low_priority:",
            "greedy",
        ),
        Page(
            "accuracy",
            "Accuracy vs. sparsity",
            "How much accuracy does each criterion keep?",
            ":material/show_chart:",
            "accuracy",
        ),
        Page("prune", "Prune & export", "How small and accurate is the pruned model?", ":material/content_cut:", "prune"),
    )
}

ALPHA = "Alpha (α)"
HIES_ALPHA = "HIES alpha"
SPARSITY = "Sparsity"
MAX_SPARSITY = "Maximum sparsity"
CALIBRATION_EXAMPLES = "Calibration examples"
EVALUATION_EXAMPLES = "Evaluation examples"
RANDOM_RANKINGS = "Random rankings"
RANDOM_MASKS = "Random masks"
DTYPE = "Precision"
SCORE_SCALING = "Score scaling"
MIN_HEADS = "Minimum heads per layer"
UNIFORM = "Uniform sparsity per layer"
WHOLE_GROUPS = "Keep KV groups whole"
SPARSITY_UNIT = "Sparsity unit"
DOWNLOAD = "Download"

# expanded at first use on each page
HIS = "head importance score (HIS)"
AE = "attention entropy (AE)"
HIES = "head importance–entropy score (HIES)"
GNORM = "gradient-norm score (Gnorm)"
GQA = "grouped-query attention (GQA)"
KV = "key-value (KV)"
CI = "95% confidence interval (95% CI)"
