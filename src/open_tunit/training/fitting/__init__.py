"""What is computed from features in closed form, between phases: domains, statistics, pretrained heads."""
