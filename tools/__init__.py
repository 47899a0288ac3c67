"""What developers run, beside what is shipped."""
