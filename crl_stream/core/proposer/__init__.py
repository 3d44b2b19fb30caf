"""What the monitor's snapshots of a task suggest to people."""
