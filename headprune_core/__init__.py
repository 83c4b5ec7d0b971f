"""HeadPrune's engine: score the attention heads of a transformer, choose which to keep, measure what that costs."""

from .accounting import parameter_table
from .alpha import AlphaInterval, alpha_path, distinct_masks, interval_at, survival
from .alpha_choice import AlphaAccuracy, alpha_accuracy, random_masks
from .alpha_surface import AlphaSurface, alpha_surface
from .anatomy import AttentionRow, HeadGrid
from .budget import AccuracyBudget, sparsity_within
from .bundle import write_bundle
from .card import model_card
from .comparison import AgreementMatrix, against_ablation, agreement_matrix, criterion_rankings
from .control import RandomControl, random_control
from .cost import Estimate, estimate_scoring
from .criteria import CRITERIA, Criterion, criterion
from .curves import Curves, measure_curves, sparsity_curves
from .errors import Cancelled, HeadPruneError, HeadPruneWarning
from .evaluation import MaskEvaluation, evaluate_masks
from .examples import load_examples
from .flops import flops_per_token
from .gradient_shift import gradient_shift
from .greedy import GreedyTrajectory, greedy_gnorm
from .halving import Halving, successive_halving
from .judgements import verdicts
from .latency import measure_latency
from .latency_words import latency_words
from .masks import nested_masks, prune_mask
from .models import PrunableModel
from .onnx_export import OnnxExport, export_onnx
from .proof import Proof, prove
from .recommendation import Recommendation, recommend
from .record import PruningRecord
from .recovery import Recovery, recover
from .recovery_cost import estimate_recovery
from .report import html_report
from .scores.ablation import LeaveOneOut, leave_one_out
from .scores.agreement import Orthogonality, orthogonality
from .scores.hies import hies
from .scores.run import HeadScores, score_heads
from .scores.stability import RankStability, rank_stability, split_half
from .side_by_side import SideBySide, side_by_side
from .store import Store
from .surgery import Cut, plan_cut, prune_heads

__version__ = "0.1.0"

__all__ = [
    "CRITERIA",
    "AccuracyBudget",
    "AgreementMatrix",
    "AlphaAccuracy",
    "AlphaInterval",
    "AlphaSurface",
    "AttentionRow",
    "Cancelled",
    "Criterion",
    "Curves",
    "Cut",
    "Estimate",
    "GreedyTrajectory",
    "Halving",
    "HeadGrid",
    "HeadPruneError",
    "HeadPruneWarning",
    "HeadScores",
    "LeaveOneOut",
    "MaskEvaluation",
    "OnnxExport",
    "Orthogonality",
    "Proof",
    "PrunableModel",
    "PruningRecord",
    "RandomControl",
    "RankStability",
    "Recommendation",
    "Recovery",
    "SideBySide",
    "Store",
    "against_ablation",
    "agreement_matrix",
    "alpha_accuracy",
    "alpha_path",
    "alpha_surface",
    "criterion",
    "criterion_rankings",
    "distinct_masks",
    "estimate_recovery",
    "estimate_scoring",
    "evaluate_masks",
    "export_onnx",
    "flops_per_token",
    "gradient_shift",
    "greedy_gnorm",
    "hies",
    "html_report",
    "interval_at",
    "latency_words",
    "leave_one_out",
    "load_examples",
    "measure_curves",
    "measure_latency",
    "model_card",
    "nested_masks",
    "orthogonality",
    "parameter_table",
    "plan_cut",
    "prove",
    "prune_heads",
    "prune_mask",
    "random_control",
    "random_masks",
    "rank_stability",
    "recommend",
    "recover",
    "score_heads",
    "side_by_side",
    "sparsity_curves",
    "sparsity_within",
    "split_half",
    "successive_halving",
    "survival",
    "verdicts",
    "write_bundle",
]
