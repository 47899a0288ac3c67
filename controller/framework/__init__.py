"""What every storage system shares: plans and their execution, placement, resources, devices, deletion."""
