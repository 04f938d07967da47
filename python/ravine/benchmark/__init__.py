"""What `ravine bench` and the suites in bench/ measure: workloads, rules, layers, NumPy's forms, the memory limit."""
