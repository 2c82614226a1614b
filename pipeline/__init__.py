"""IndexTTS2 inference: text and a reference voice in, waveform out."""
