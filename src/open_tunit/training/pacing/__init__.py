"""Minutes to steps and steps to seconds, and where the time of a run goes."""
