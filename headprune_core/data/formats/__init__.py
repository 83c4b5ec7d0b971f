"""Formats of text files and cells: encodings, delimited rows, one word per line, and lists in cells."""
