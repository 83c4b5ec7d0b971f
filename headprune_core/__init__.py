"""HeadPrune's engine: score the attention heads of a transformer, choose which to keep, measure what that costs."""

from headprune_core.alpha_choice.alpha_accuracy import AlphaAccuracy, alpha_accuracy, random_masks
from headprune_core.alpha_choice.alpha_surface import AlphaSurface, alpha_surface
from headprune_core.alpha_choice.recommendation import AlphaRecommendation, recommend_alpha
from headprune_core.alpha_choice.successive_halving import HalvingResult, successive_halving
from headprune_core.comparison.score_comparison import Comparison, compare
from headprune_core.data.examples import load_examples
from headprune_core.data.reading_plan import ReadingPlan, plan_examples
from headprune_core.errors import Cancelled, HeadPruneError, HeadPruneWarning
from headprune_core.inspection.attention_html import attention_html
from headprune_core.inspection.attention_widget import show_attention
from headprune_core.inspection.gate_dial import GateDial, gate_dial
from headprune_core.inspection.head_traits import HeadTraits, head_traits
from headprune_core.inspection.masking_effect import MaskingEffect, masking_effect
from headprune_core.inspection.nearest_heads import HeadDistances, head_distances
from headprune_core.inspection.one_text import HeadShares, TextPrediction, head_shares, predict_text
from headprune_core.inspection.role_ablation import RoleAblation, role_ablation
from headprune_core.inspection.text_attention import TextAttention, text_attention
from headprune_core.masks.alpha_path import AlphaInterval, alpha_path, distinct_masks, interval_at, keep_fraction
from headprune_core.masks.criteria import CRITERIA, Criterion, register_criterion
from headprune_core.masks.prune_mask import nested_masks, prune_mask
from headprune_core.measure.ablation import LeaveOneOut, leave_one_out
from headprune_core.measure.accuracy_budget import AccuracyBudget, max_sparsity
from headprune_core.measure.curve_verdicts import compare_with_random
from headprune_core.measure.curves import Curves, measure_curves, sparsity_curves
from headprune_core.measure.evaluation import MaskEvaluation, evaluate_masks
from headprune_core.measure.gradient_shift import gradient_shift
from headprune_core.measure.greedy import GreedyTrajectory, greedy_gnorm
from headprune_core.measure.random_baseline import RandomBaseline, random_baseline
from headprune_core.measure.ranking_agreement import (
    AgreementMatrix,
    agreement_matrix,
    compare_with_ablation,
    criterion_rankings,
)
from headprune_core.model.forward_cost import CostEstimate
from headprune_core.model.head_layout import AttentionRow, HeadGrid
from headprune_core.model.prunable_model import PrunableModel
from headprune_core.prune.finetuning_cost import estimate_recovery
from headprune_core.prune.flops import flops_per_token
from headprune_core.prune.latency import measure_latency
from headprune_core.prune.latency_text import describe_latency
from headprune_core.prune.logit_comparison import LogitComparison, compare_logits
from headprune_core.prune.onnx_export import OnnxExport, export_onnx
from headprune_core.prune.parameter_table import parameter_table
from headprune_core.prune.recovery import Recovery, recover
from headprune_core.prune.structural_pruning import PruningPlan, plan_pruning, prune_heads
from headprune_core.prune.verification import PruningVerification, verify_pruning
from headprune_core.report.bundle import write_bundle
from headprune_core.report.card import card_files, model_card
from headprune_core.report.pruning_record import PruningRecord
from headprune_core.report.report import html_report
from headprune_core.result_cache import ResultCache
from headprune_core.scores.evaluation_cost import estimate_evaluation
from headprune_core.scores.head_scores import HeadScores, score_heads
from headprune_core.scores.hies import hies
from headprune_core.scores.orthogonality import Orthogonality, orthogonality
from headprune_core.scores.scoring_cost import estimate_scoring
from headprune_core.scores.stability import RankStability, rank_stability, split_half
from headprune_core.version import __version__ as __version__

PrunableModel.card_files = staticmethod(card_files)  # saving lies below the report room, so the card is handed in here

__all__ = [
    "CRITERIA",
    "AccuracyBudget",
    "AgreementMatrix",
    "AlphaAccuracy",
    "AlphaInterval",
    "AlphaRecommendation",
    "AlphaSurface",
    "AttentionRow",
    "Cancelled",
    "Comparison",
    "CostEstimate",
    "Criterion",
    "Curves",
    "GateDial",
    "GreedyTrajectory",
    "HalvingResult",
    "HeadDistances",
    "HeadGrid",
    "HeadPruneError",
    "HeadPruneWarning",
    "HeadScores",
    "HeadShares",
    "HeadTraits",
    "LeaveOneOut",
    "LogitComparison",
    "MaskEvaluation",
    "MaskingEffect",
    "OnnxExport",
    "Orthogonality",
    "PrunableModel",
    "PruningPlan",
    "PruningRecord",
    "PruningVerification",
    "RandomBaseline",
    "RankStability",
    "ReadingPlan",
    "Recovery",
    "ResultCache",
    "RoleAblation",
    "TextAttention",
    "TextPrediction",
    "agreement_matrix",
    "alpha_accuracy",
    "alpha_path",
    "alpha_surface",
    "attention_html",
    "compare",
    "compare_logits",
    "compare_with_ablation",
    "compare_with_random",
    "criterion_rankings",
    "describe_latency",
    "distinct_masks",
    "estimate_evaluation",
    "estimate_recovery",
    "estimate_scoring",
    "evaluate_masks",
    "export_onnx",
    "flops_per_token",
    "gate_dial",
    "gradient_shift",
    "greedy_gnorm",
    "head_distances",
    "head_shares",
    "head_traits",
    "hies",
    "html_report",
    "interval_at",
    "keep_fraction",
    "leave_one_out",
    "load_examples",
    "masking_effect",
    "max_sparsity",
    "measure_curves",
    "measure_latency",
    "model_card",
    "nested_masks",
    "orthogonality",
    "parameter_table",
    "plan_examples",
    "plan_pruning",
    "predict_text",
    "prune_heads",
    "prune_mask",
    "random_baseline",
    "random_masks",
    "rank_stability",
    "recommend_alpha",
    "recover",
    "register_criterion",
    "role_ablation",
    "score_heads",
    "show_attention",
    "sparsity_curves",
    "split_half",
    "successive_halving",
    "text_attention",
    "verify_pruning",
    "write_bundle",
]
