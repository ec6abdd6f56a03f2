"""Segmentation models: the only home of torch, which loads when a model does, not before."""
