"""Selection of alpha: the accuracy of every distinct mask, the recommended alpha, cross-validation and successive halving.

The masks come from `masks`, their evaluation from `measure`. Other selection problems do not belong here.
"""
