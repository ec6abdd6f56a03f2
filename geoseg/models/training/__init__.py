"""Training: from labelled chips to a model package. Needs torch; reads no files but its own."""
