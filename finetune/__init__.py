"""Fine-tuning on somebody's recordings: a data set in, an adapter, a voice file and a report out."""
