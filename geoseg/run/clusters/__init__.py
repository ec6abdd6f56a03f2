"""The kinds of clusters, a module for each family; :func:`geoseg.run.cluster.connect` picks one."""
