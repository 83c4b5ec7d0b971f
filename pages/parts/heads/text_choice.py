"""The text to look at: typed, or an example of the calibration set, chosen freely or by the importance of a head."""

from dataclasses import dataclass

import numpy as np
import streamlit as st

from headprune_core import HeadPruneError
from headprune_core.inspection.one_text import encode_text
from pages.parts.common.failures import show_error
from pages.parts.common.hosting import hosting
from pages.parts.common.sentences import plain
from pages.parts.common.session import remember, setting
from pages.parts.common.settings import MAX_TEXT
from pages.parts.common.workspace import Workspace

from .selection import Head

DECILES = 10
SHOWN = 80  # characters of an example in a list


@dataclass(frozen=True)
class ChosenText:
    """A text, or its token IDs for a model without a tokenizer; the second text of a pair, or the target, or None."""

    text: str | tuple[int, ...]
    pair: str | None = None
    target: str | None = None

    @property
    def token_ids(self) -> tuple[int, ...] | None:
        """The token IDs; None for a text."""
        return None if isinstance(self.text, str) else self.text


def text_choice(loaded: Workspace, head: Head | None = None) -> ChosenText | None:
    """Draw the text and the list of examples; return the text, or None if it cannot be used.

    Args:
        loaded: The workspace.
        head: The head by whose importance examples can be chosen.
    """
    if "text_offered" not in st.session_state and not setting("text"):
        _take(loaded, 0)
    st.session_state["text_offered"] = True
    st.session_state["text_box"] = setting("text")
    has_ids = loaded.model.tokenizer is None
    label = "Token IDs" if has_ids else "Text"
    st.text_area(label, key="text_box", height=80, on_change=_typed, help="Press Ctrl+Enter to apply.")
    second, translates = None, loaded.model.task == "translation" and not has_ids
    if translates or "text_pair" in loaded.calibration.column_names:
        st.session_state["pair_box"] = setting("text_pair")
        name = "Target text" if translates else "Second text"
        second = st.text_area(name, key="pair_box", height=80, on_change=_typed).strip() or None
    _examples(loaded, head)
    if len(setting("text")) > MAX_TEXT:
        st.caption(f"The URL does not contain this text, because it is longer than {MAX_TEXT:,} characters.")
    text = setting("text")
    if not text.strip():
        st.info("Enter a text, or choose an example.", icon=":material/edit:")
        return None
    if not has_ids:
        return _allowed(loaded, ChosenText(text, target=second) if translates else ChosenText(text, second))
    try:
        return _allowed(loaded, ChosenText(tuple(int(part) for part in text.replace(",", " ").split())))
    except ValueError:
        st.error("The model has no tokenizer. Enter whole numbers, separated by spaces.", icon=":material/error:")
        return None


def _allowed(loaded: Workspace, chosen: ChosenText) -> ChosenText | None:
    """The text, or None with an error if it cannot be read or has more tokens than this server allows."""
    try:
        encoded, _ = encode_text(loaded.model, chosen.text, chosen.pair)
    except HeadPruneError as error:
        show_error(str(error))
        return None
    most, found = hosting().tokens, int(encoded.lengths[0])
    if most is not None and found > most:
        show_error(f"The text has {found:,} tokens, but this server allows {most:,}; use a shorter text.")
        return None
    return chosen


def _typed() -> None:
    for name, key in (("text", "text_box"), ("text_pair", "pair_box")):
        if key in st.session_state:
            remember(name, st.session_state[key])


def _take(loaded: Workspace, number: int) -> None:
    """Use an example of the calibration set."""
    example = loaded.calibration[int(number)]
    remember("text", _as_text(example))
    second = example.get("text_pair") or example.get("target")
    if second is None and loaded.model.task == "translation" and loaded.labelled:
        second = loaded.label_names([example["label"]])[0]  # the name of a label is the target
    remember("text_pair", str(second or ""))


def _as_text(example: dict) -> str:
    if "text" in example:
        return example["text"]
    words = example.get("tokens") or example.get("words")
    return " ".join(words) if words else " ".join(map(str, example.get("input_ids", ())))


def _examples(loaded: Workspace, head: Head | None) -> None:
    """Let the user choose an example, all of them or those of one decile of the head's importance."""
    with st.popover("Choose an example", icon=":material/format_list_bulleted:"):
        numbers, decile = np.arange(len(loaded.calibration)), "all"
        if head is not None:
            his = loaded.scores.per_example["his"][:, head[0], head[1]]
            decile = st.select_slider(
                "Decile of this head's importance",
                ["all", *range(1, DECILES + 1)],
                key="decile",
                help="1: the examples on which the head matters least. 10: those on which it matters most.",
            )
            if decile != "all":
                order = np.argsort(his, kind="stable")
                numbers = np.array_split(order, DECILES)[decile - 1]
                if not len(numbers):
                    st.caption("No example lies in this decile: there are fewer than 10 examples.")
                    return
        texts = {int(number): plain(_as_text(loaded.calibration[int(number)])) for number in numbers}
        chosen = st.selectbox(
            "Example",
            list(texts),
            format_func=lambda number: f"{number}: {texts[number][:SHOWN]}",
            key=f"example_number {decile}",
        )
        if head is not None:
            st.caption(f"HIS of this head on the example: {his[chosen]:.3g} (mean {his.mean():.3g}).")
        st.button("Use example", icon=":material/check:", on_click=_take, args=(loaded, chosen))
