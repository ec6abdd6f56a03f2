"""Minimum mapping units: small regions are given to their neighbours, holes are filled."""
