"""What changed between two maps, and why two runs differ."""
