"""Dead letters after they were set aside: reading, explaining, sending again, dropping."""
