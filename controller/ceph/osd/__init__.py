"""OSDs: devices chosen, prepared, served, drained and given back."""
