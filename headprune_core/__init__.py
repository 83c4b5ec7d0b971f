"""HeadPrune's engine: score the attention heads of a transformer, choose which to keep, measure what that costs."""

from .alpha import AlphaInterval, alpha_path
from .anatomy import AttentionRow, HeadGrid
from .cost import Estimate, estimate_scoring
from .criteria import CRITERIA, Criterion, criterion
from .curves import sparsity_curves, verdicts
from .errors import Cancelled, HeadPruneError, HeadPruneWarning
from .evaluation import MaskEvaluation, evaluate_masks
from .examples import load_examples
from .masks import prune_mask
from .models import PrunableModel
from .scores.agreement import Orthogonality, orthogonality
from .scores.hies import hies
from .scores.run import HeadScores, score_heads

__version__ = "0.1.0"

__all__ = [
    "CRITERIA",
    "AlphaInterval",
    "AttentionRow",
    "Cancelled",
    "Criterion",
    "Estimate",
    "HeadGrid",
    "HeadPruneError",
    "HeadPruneWarning",
    "HeadScores",
    "MaskEvaluation",
    "Orthogonality",
    "PrunableModel",
    "alpha_path",
    "criterion",
    "estimate_scoring",
    "evaluate_masks",
    "hies",
    "load_examples",
    "orthogonality",
    "prune_mask",
    "score_heads",
    "sparsity_curves",
    "verdicts",
]
