"""The primitives a solver is made of: plain tensors in and out, no problem, no autograd, no validation."""
