"""HeadPrune's engine: score the attention heads of a transformer, choose which to keep, measure what that costs."""

from .alpha import AlphaInterval, alpha_path, at, distinct, survival
from .anatomy import AttentionRow, HeadGrid
from .comparison import AgreementMatrix, against_ablation, agreement_matrix, criterion_rankings
from .cost import Estimate, estimate_scoring
from .criteria import CRITERIA, Criterion, criterion
from .curves import Curves, measure_curves, sparsity_curves
from .errors import Cancelled, HeadPruneError, HeadPruneWarning
from .evaluation import MaskEvaluation, evaluate_masks
from .examples import load_examples
from .gradient_shift import gradient_shift
from .greedy import GreedyTrajectory, greedy_gnorm
from .judgements import verdicts
from .masks import nested_masks, prune_mask
from .models import PrunableModel
from .scores.ablation import LeaveOneOut, leave_one_out
from .scores.agreement import Orthogonality, orthogonality
from .scores.hies import hies
from .scores.run import HeadScores, score_heads
from .scores.stability import RankStability, rank_stability, split_half
from .store import Store

__version__ = "0.1.0"

__all__ = [
    "CRITERIA",
    "AgreementMatrix",
    "AlphaInterval",
    "AttentionRow",
    "Cancelled",
    "Criterion",
    "Curves",
    "Estimate",
    "GreedyTrajectory",
    "HeadGrid",
    "HeadPruneError",
    "HeadPruneWarning",
    "HeadScores",
    "LeaveOneOut",
    "MaskEvaluation",
    "Orthogonality",
    "PrunableModel",
    "RankStability",
    "Store",
    "against_ablation",
    "agreement_matrix",
    "alpha_path",
    "at",
    "criterion",
    "criterion_rankings",
    "distinct",
    "estimate_scoring",
    "evaluate_masks",
    "gradient_shift",
    "greedy_gnorm",
    "hies",
    "leave_one_out",
    "load_examples",
    "measure_curves",
    "nested_masks",
    "orthogonality",
    "prune_mask",
    "rank_stability",
    "score_heads",
    "sparsity_curves",
    "split_half",
    "survival",
    "verdicts",
]
