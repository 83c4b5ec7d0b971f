"""The command line: parser, inputs and one function per command.

Commands call the public API and print its results. Nothing outside this package imports it, except `__main__`.
"""
