"""Labels of the traits of heads, as tables and menus show them."""

TRAITS = {  # label of each trait; shares of attention are in percent
    "previous": "Attention on the previous token",
    "next": "Attention on the next token",
    "self": "Attention on the token itself",
    "first": "Attention on the first token",
    "delimiter": "Attention on delimiters",
    "same_token": "Attention on the same token elsewhere",
    "induction": "Attention on the token after an earlier occurrence",
    "segment": "Attention in the same text of the pair",
    "local": "Attention within 3 positions",
    "sink": "Attention on a single token (sink)",
    "entropy": "Normalized entropy (share of the maximum)",
    "output_norm": "Output norm",
    "relative_output_norm": "Output norm (× layer mean)",
    "special": "Attention on special tokens",
    "weighted_special": "Value-weighted attention on special tokens",
}
NO_SHARES = ("output_norm", "relative_output_norm")
