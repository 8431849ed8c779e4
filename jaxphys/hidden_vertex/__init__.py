"""Unsupervised anomaly detection on jets as graphs: graph autoencoders."""
