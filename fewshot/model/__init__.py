"""CMNet, module by module."""
