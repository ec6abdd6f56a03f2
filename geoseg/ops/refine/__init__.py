"""Making a map of classes smoother than the model left it, block by block without a trace of blocks."""
