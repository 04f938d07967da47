"""What `ravine bench` and the suites in bench/ measure: workloads, rules, the NumPy competitor and the memory limit."""
