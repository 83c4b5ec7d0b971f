"""References to the papers that model cards and reports cite."""

REFERENCES = {
    "michel": "P. Michel, O. Levy and G. Neubig: Are Sixteen Heads Really Better than One? NeurIPS 2019. arXiv:1905.10650.",
    "hies": "M. Choi, H. Son, C. Kim and Y. G. Kim: Entropy Meets Importance: A Unified Head Importance-Entropy Score for "
    "Stable and Efficient Transformer Pruning. 2025. arXiv:2510.13832.",
    "greedy": "Y. Guo and P. Sheridan: Greedy-Gnorm: A Gradient Matrix Norm-Based Alternative to Attention Entropy for Head "
    "Pruning. 2026. arXiv:2602.04491.",
    "wilson": "E. B. Wilson: Probable inference, the law of succession, and statistical inference. Journal of the American "
    "Statistical Association 22, 209-212, 1927.",
    "mcnemar": "Q. McNemar: Note on the sampling error of the difference between correlated proportions or percentages. "
    "Psychometrika 12, 153-157, 1947.",
    "newcombe": "R. G. Newcombe: Improved confidence intervals for the difference between binomial proportions based on "
    "paired data. Statistics in Medicine 17, 2635-2650, 1998 (method 10).",
}
