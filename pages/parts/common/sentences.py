"""Engine messages and names as text on a page: sentence case without changing a file name, and no accidental markup."""

import re


def sentence(text: str) -> str:
    """`text` with a capital and a final period; a first word that is a name, as in "reviews.csv", stays as it is."""
    text = text.strip()
    if re.match(r"[a-z]+(?:'s)?,?(?=\s|$)", text):
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


def plain(text: str) -> str:
    """`text` with every character escaped that Markdown would read as markup, addresses included."""
    text = text.replace("://", ":\u2060//")  # a word joiner, so that an address does not become a link
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-!|~:$" else c for c in text)
