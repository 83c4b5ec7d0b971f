"""The attention view in a notebook."""

import importlib
import importlib.util
from collections.abc import Iterable, Sequence
from functools import cache

from headprune_core.errors import HeadPruneError
from headprune_core.model.prunable_model import PrunableModel

from .attention_html import page_template
from .text_attention import Head, text_attention
from .view import SCRIPT, STYLE

INSTALL = 'pip install "headprune[notebook]"'


def show_attention(
    model: PrunableModel,
    text: str | None,
    *,
    heads: Iterable[Head],
    pair: str | None = None,
    token_ids: Sequence[int] | tuple[Sequence[int], Sequence[int]] | None = None,
):
    """Show the attention of some heads on one text as a notebook widget.

    Args:
        model: The model.
        text: The text; None if token_ids are passed.
        heads: The heads as (row, head); (row, "mean") is the mean over a row's heads. Four are shown side by side.
        pair: The second text of a pair, or the target of a sequence-to-sequence model.
        token_ids: Tokens in place of the text; see `text_attention`.

    Returns:
        An anywidget widget. Its trait `pinned` is None or a dictionary with side ("query" or "key"), start and stop.

    Raises:
        HeadPruneError: If anywidget is not installed, or as in `text_attention`.

    Example:
        >>> show_attention(model, "The flight was late.", heads=[(3, 5), (4, 9)])
    """
    if importlib.util.find_spec("anywidget") is None:
        raise HeadPruneError(f"show_attention needs anywidget, which is not installed; run: {INSTALL}")
    found = text_attention(model, text, pair=pair, heads=heads, token_ids=token_ids)
    return _widget_class()(document=found.document())


@cache
def _widget_class() -> type:
    """The class of the widget; anywidget is optional, so it is imported on first use."""
    anywidget, traitlets = (importlib.import_module(name) for name in ("anywidget", "traitlets"))

    class AttentionWidget(anywidget.AnyWidget):
        _esm = SCRIPT
        _css = STYLE
        document = traitlets.Dict().tag(sync=True)
        page = traitlets.Unicode(page_template()).tag(sync=True)
        pinned = traitlets.Dict(default_value=None, allow_none=True).tag(sync=True)

    return AttentionWidget
