"""Particle tracks from detector hits: candidate graphs, a network and clustering."""
