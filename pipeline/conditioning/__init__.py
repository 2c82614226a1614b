"""What the stages need of a reference clip: semantic features, codes, style, emotion, the Voice."""
