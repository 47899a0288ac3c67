"""The node's block devices, and the report that tells the operator of them."""
