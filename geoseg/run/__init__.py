"""Where and when blocks run: the only home of dask."""
