"""Hessian-vector products of a loss, and its extreme eigenvalues, trace and spectral density from such products."""
