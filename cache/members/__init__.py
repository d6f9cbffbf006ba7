"""Who is in the cluster, and how long what a node knows may be trusted without asking."""
