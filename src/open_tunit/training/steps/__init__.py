"""One training step of every recipe: state, losses, descent, CUDA graphs."""
