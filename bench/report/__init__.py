"""What people see of a run: the bar while it runs, the table after it, the plot of it."""
