"""Parts of a reading plan: what the label column contains, the rows that can be used, and the plan in words."""
