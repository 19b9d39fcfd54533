"""What `steptrail sql` is made of: statements, the store that answers them, formats, and the interactive shell."""
