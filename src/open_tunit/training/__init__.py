"""Training: schedule, objectives, the step, the loop and what it writes."""
