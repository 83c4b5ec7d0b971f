"""Tables as CSV in which no cell acts as a formula when a spreadsheet opens the file.

Source: OWASP, CSV Injection, https://owasp.org/www-community/attacks/CSV_Injection.
"""

import pandas as pd

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def spreadsheet_csv(frame: pd.DataFrame) -> str:
    """Return a table as CSV.

    Texts and column names that begin with =, +, -, @, a tab or a carriage return get an apostrophe in front, which
    spreadsheets do not show. Numbers are written as they are.

    Args:
        frame: the table; its index is not written.

    Returns:
        The CSV text, whose lines end in CRLF, so that a cell with either character is quoted.
    """
    escaped = frame.map(_not_a_formula).rename(columns=_not_a_formula)
    return escaped.to_csv(index=False, lineterminator="\r\n")


def _not_a_formula(cell):
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
