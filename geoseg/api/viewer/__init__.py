"""A map of products in the browser: what is shown, and who serves it to whom."""
