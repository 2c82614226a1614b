"""Codes and latents to mel: length regulator and flow matching."""
