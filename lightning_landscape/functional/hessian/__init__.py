"""Hessian-vector products of a loss, and what is estimated from them: eigenvalues, trace, density."""
