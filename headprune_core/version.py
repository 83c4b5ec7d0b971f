"""The version of HeadPrune."""

__version__ = "0.1.0"
