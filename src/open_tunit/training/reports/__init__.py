"""What is made at a report: the model as it is, its samples, and alarms."""
