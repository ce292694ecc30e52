"""From a config to a run that has begun, or goes on: data, checkpoint, consent, log, interrupts."""
