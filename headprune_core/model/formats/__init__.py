"""Formats of models on disk and on the Hub: early checks, adapters, folders of Transformers v4, and the class that is saved.

Nothing here executes code of a repository or reads pickled data. `loading.py` and `model_io.py` choose the format and build
the model.
"""
