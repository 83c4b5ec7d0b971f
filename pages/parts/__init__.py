"""What several pages draw or share."""
