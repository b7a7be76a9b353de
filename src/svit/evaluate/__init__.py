"""Scores: tracks, detections, and whole runs over a data set."""
