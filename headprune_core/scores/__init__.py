"""What every head is worth, by several criteria."""
