"""Data: clean and corrupted pairs of prompts or images, and the buffers recorded from them."""
