"""Training, from a workflow to a model package."""
