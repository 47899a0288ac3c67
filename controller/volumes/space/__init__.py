"""Space that volumes take and do not need: given back when a claim asks for it, or at the times of a schedule."""
