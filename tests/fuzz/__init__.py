"""Malformed object files: any bytes give an ObjectSpec or a FormatError.

`python tests/fuzz/run.py --count 100000` runs it by hand.
"""
