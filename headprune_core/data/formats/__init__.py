"""Formats of text files and cells: encodings, delimited rows, one word per line, and lists in cells.

Each file detects one format by its content. Which file is read in which format belongs to `table_io`.
"""
