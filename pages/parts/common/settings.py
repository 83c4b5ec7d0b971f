"""The settings that pages share and URLs carry: how each is read from a URL, and its default."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from headprune_core.scores.entropy import KINDS
from headprune_core.scores.importance import REDUCTIONS
from headprune_core.scores.objectives import OBJECTIVES
from pages.parts.alpha_grid import ManualOverrides

MAX_TEXT = 2_000  # characters of a text in a URL


@dataclass(frozen=True)
class Setting:
    """A value that pages share and URLs carry.

    Attributes:
        default: The value without a URL parameter.
        parse: Reads a URL parameter; raises ValueError with a reason for a value that cannot be used.
        longest: Number of characters up to which a URL carries the value.
    """

    default: object
    parse: Callable[[str], object]
    longest: int = 100_000


def _between(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{text!r} is not a number; expected {low:g} to {high:g}") from None
        if not low <= value <= high:
            raise ValueError(f"{value:g} is out of range; expected {low:g} to {high:g}")
        return value

    return parse


def _one_of(*names: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"{text!r} is unknown; expected {' or '.join(names)}")
        return text

    return parse


def _min_heads(text: str) -> int:
    if not text.isdecimal() or int(text) > 1024:
        raise ValueError(f"{text!r} is out of range; expected 0 to 1,024")
    return int(text)


def _overrides(text: str) -> str:
    return str(ManualOverrides.parse(text))


def _heads(text: str) -> tuple[tuple[int, int], ...]:
    parts = text.split(",") if text else []
    for part in parts:
        if re.fullmatch(r"\d{1,6}\.\d{1,6}", part) is None:
            raise ValueError(f"{part!r} is not a head; expected layer.head, as in 3.5 or 3.5,4.1")
    return tuple(dict.fromkeys(tuple(map(int, part.split("."))) for part in parts))


def _text(text: str) -> str:
    if len(text) > MAX_TEXT:
        raise ValueError(f"it has {len(text):,} characters; expected at most {MAX_TEXT:,}")
    return text


SETTINGS = {
    "alpha": Setting(0.5, _between(0.0, 1.0)),
    "sparsity": Setting(0.3, _between(0.0, 1.0)),
    "entropy_direction": Setting("low", _one_of("low", "high")),
    "normalize": Setting("layer", _one_of("layer", "global")),
    "min_heads": Setting(0, _min_heads),
    "uniform": Setting("no", _one_of("no", "yes")),
    "whole_groups": Setting("no", _one_of("no", "yes")),
    "sparsity_unit": Setting("heads", _one_of("heads", "parameters")),
    "overrides": Setting("", _overrides),
    "heads": Setting((), _heads),
    "text": Setting("", _text, MAX_TEXT),
    "text_pair": Setting("", _text, MAX_TEXT),
    "role_threshold": Setting(0.25, _between(0.05, 0.75)),
    "his_reduction": Setting("example", _one_of(*REDUCTIONS)),
    "objective": Setting("loss", _one_of(*OBJECTIVES)),
    "gnorm_objective": Setting("logit_norm", _one_of(*OBJECTIVES)),
    "entropy": Setting("exact", _one_of(*KINDS)),
    "special_tokens": Setting("in", _one_of("in", "out")),
    "dtype": Setting("float32", _one_of("float32", "bfloat16")),
}
ALPHA = (  # the settings that determine a mask along alpha
    "alpha",
    "sparsity",
    "entropy_direction",
    "normalize",
    "min_heads",
    "uniform",
    "whole_groups",
    "sparsity_unit",
    "overrides",
)
OPTIONS = ("his_reduction", "objective", "gnorm_objective", "entropy", "special_tokens", "dtype")
