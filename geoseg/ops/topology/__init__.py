"""Boundaries that are made simpler or smoother without losing their neighbours."""
