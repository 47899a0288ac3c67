"""What every storage system shares: plans and their execution, timers, placement, resources, labels."""
