"""Ways to run a point on Ray: in this process, or in a worker group; and what a cluster has room for."""
