"""How much fits: CSIStorageCapacity objects, by which the scheduler chooses nodes for pods with new volumes."""
