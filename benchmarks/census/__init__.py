"""Census: a tiny random model of every architecture in the installed Transformers, checked against a plain reference.

`python -m benchmarks.census` runs it and writes assets/docs/ARCHITECTURES.md.
"""
