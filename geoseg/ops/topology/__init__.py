"""Boundaries made simpler and smoother, each arc once, so that neighbours go on sharing it."""
