"""Images on the processes of a dask cluster: where one machine is not enough."""
