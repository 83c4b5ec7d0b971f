"""Engine messages and names as text on a page: sentence case without changing a file name, and no accidental markup."""

import re


def sentence(text: str) -> str:
    """`text` with a capital and a final period; a first word that is a name, as in "reviews.csv", stays as it is."""
    text = text.strip()
    if re.match(r"[a-z]+(?:'s)?,?(?=\s|$)", text):
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "!", "?")) else f"{text}."


# Streamlit looks for addresses, icons and emojis after Markdown has removed the escapes, so these need an invisible joiner.
JOIN = "\N{WORD JOINER}"
JOINED = re.compile(r"^ ?\d+(?=\.)|:(?=//|[\w+/-]+:)|www(?=\.)|@", re.IGNORECASE)  # the first begins a list
BREAK = re.compile(r"^\s+|\s*[\n\r\f\v\x85\u2028\u2029]\s*")


def plain(text: str) -> str:
    """`text` in one line, with every character escaped that Markdown would read as markup, addresses included."""
    text = BREAK.sub(" ", text)  # headings, lists, quotations and code need a line of their own
    text = JOINED.sub(rf"\g<0>{JOIN}", text)
    return "".join(f"\\{c}" if c in "\\`*_{}[]<>()#+-!|~:$" else c for c in text)
