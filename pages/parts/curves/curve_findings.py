"""What the curves show, computed once per table: a page is drawn often, and each of these takes a tenth of a second."""

import hashlib

import pandas as pd
import streamlit as st

from headprune_core.measure import curve_metrics, curve_verdicts
from headprune_core.measure.failure_signatures import failure_signatures as find_signatures


def content_hash(frame: pd.DataFrame) -> str:
    """A hash of every value of a table; Streamlit's own hash of a large table reads a sample."""
    total = hashlib.sha256(repr((list(frame.columns), list(map(str, frame.dtypes)))).encode())
    total.update(pd.util.hash_pandas_object(frame).to_numpy().tobytes())
    return total.hexdigest()


_per_table = st.cache_data(max_entries=64, show_spinner=False, hash_funcs={pd.DataFrame: content_hash})
summary = _per_table(curve_metrics.summary)
compare_with_random = _per_table(curve_verdicts.compare_with_random)
describe_verdict = _per_table(curve_verdicts.describe_verdict)
describe_stability = _per_table(curve_verdicts.describe_stability)
failure_signatures = _per_table(find_signatures)
