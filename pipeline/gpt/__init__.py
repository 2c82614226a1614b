"""Text and conditioning to mel codes and latents."""
