"""Mel to waveform."""
