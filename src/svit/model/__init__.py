"""The streaming video model: pure tensor code, no files, no clock, no per-stream attributes."""
