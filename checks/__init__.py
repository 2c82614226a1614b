"""Measures of the whole: numeric parity, speed, quality."""
