"""Alerts of forest loss: what a pixel's history of observations says, one date after the other."""
