"""One text: the prediction for it, the attention of heads on it, and each head's share in the prediction."""

from pages.parts.common.shared_ui import page_header

page_header("one_text")
