"""Engine messages and names as text on a page: sentence case without changing a file name, and no accidental markup."""

import re


def sentence(text: str) -> str:
    """`text` with a capital and a final period; a first word that is a name, as in "reviews.csv", stays as it is."""
    text = text.strip()
    if re.match(r"[a-z]+(?:'s)?,?(?=\s|$)", text):
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def plain(text: str) -> str:
    """`text` with every character escaped that Markdown would read as markup, addresses included, in one line."""
    text = re.sub(r"^\s+|\s*[\n\r\f\v\x85\u2028\u2029]\s*", " ", text)  # a paragraph, heading, list or code needs a new line
    text = re.sub(r"^( ?\d+)\.", r"\1\u2060.", text)  # a word joiner, so that a number does not begin a list,
    text = re.sub(r"(?i)(:)(?=//)|(www)(?=\.)|(@)", "\\g<0>\u2060", text)  # and an address does not become a link
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-!|~:$" else c for c in text)
