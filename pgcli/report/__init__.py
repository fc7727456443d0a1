"""What runs say together: statistics over seeds, tables, pictures."""
