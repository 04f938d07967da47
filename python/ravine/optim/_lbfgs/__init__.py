"""The parts of LBFGS."""
