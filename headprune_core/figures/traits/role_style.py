"""How every figure draws a role: its color, symbol and dash. Colors never carry a meaning alone."""

ROLE_STYLES = {
    "previous": ("#0072b2", "triangle-left", "solid"),
    "next": ("#56b4e9", "triangle-right", "solid"),
    "self": ("#009e73", "diamond", "solid"),
    "first": ("#e69f00", "star-triangle-up", "dash"),
    "delimiter": ("#d55e00", "square", "dash"),
    "same_token": ("#cc79a7", "hexagon", "dot"),
    "induction": ("#c04b86", "star", "dot"),
    "segment": ("#999933", "bowtie", "dashdot"),
    "local": ("#44aa99", "pentagon", "dashdot"),
    "sink": ("#9467bd", "cross", "longdash"),
    "broad": ("#5b8ba0", "circle-open", "longdashdot"),
    "mixed": ("#8c8c8c", "circle", "longdashdot"),
}
ROLE_TITLES = {
    "previous": "Previous token",
    "next": "Next token",
    "self": "Token itself",
    "first": "First token",
    "delimiter": "Delimiters",
    "same_token": "Same token elsewhere",
    "induction": "Induction",
    "segment": "Same text of the pair",
    "local": "Within 3 positions",
    "sink": "Single token (sink)",
    "broad": "Broad",
    "mixed": "Mixed",
}
STYLES_BY_TITLE = {ROLE_TITLES[role]: style for role, style in ROLE_STYLES.items()}
