"""What mirrors images or files to another cluster: tokens of clusters, schedules of snapshots, and daemons."""
