"""Cosmic-ray muon bundles: conditional Wasserstein GAN on ragged sets of muons."""
