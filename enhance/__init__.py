"""Waveform in, waveform out: reference audio made fit to clone from."""
