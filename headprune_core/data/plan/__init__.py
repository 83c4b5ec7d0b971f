"""Parts of a reading plan: what the label column contains, the rows that can be used, and the plan in words.

Labels are read for a model's task and then mapped to its classes. `reading_plan` puts the parts together.
"""
